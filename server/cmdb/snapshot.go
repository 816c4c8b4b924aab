package cmdb

import (
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
)

// Snapshot is the inventory at one moment. It never changes; what its methods
// return is shared and must not be changed either. Its methods may be called
// from any goroutine and neither block nor fail.
type Snapshot struct {
	// Version grows with every snapshot of one process; 0 is the empty one
	// from before the first read.
	Version uint64
	At      time.Time

	own      string
	nodes    []mesh.Node // by datacenter, the own first, then by name.
	byID     map[mesh.NodeID]int
	byPlace  map[place]int
	byName   map[mesh.NodeName][]int // in the order of nodes.
	members  map[string][]mesh.Member
	dcs      []Datacenter
	findings []Finding
}

// Datacenter is how well one datacenter is known.
type Datacenter struct {
	Name   string    `json:"name"`
	Own    bool      `json:"own"`    // the server's own.
	Loaded bool      `json:"loaded"` // it was read in full once.
	Nodes  int       `json:"nodes"`
	Away   time.Time `json:"away,omitzero"`   // since when Consul does not answer.
	Error  string    `json:"error,omitempty"` // why it does not.
}

// Nodes returns all nodes, by datacenter and then by name as people order
// them; the server's own datacenter is the first.
func (s *Snapshot) Nodes() []mesh.Node { return s.nodes }

// Node finds a node by its NodeID, by its name, or by "<name>.<datacenter>".
// Of equal names in several datacenters the one in the server's own is found,
// else the one whose datacenter sorts first.
func (s *Snapshot) Node(ref string) (mesh.Node, bool) {
	if i, ok := s.byID[mesh.NodeID(ref)]; ok {
		return s.nodes[i], true
	}
	if l := s.byName[mesh.NodeName(ref)]; len(l) > 0 {
		return s.nodes[l[0]], true
	}
	for at := range len(ref) {
		if ref[at] != '.' {
			continue
		}
		if i, ok := s.byPlace[place{ref[at+1:], mesh.NodeName(ref[:at])}]; ok {
			return s.nodes[i], true
		}
	}
	return mesh.Node{}, false
}

// Match returns the nodes that an expression is about, in the order of Nodes.
func (s *Snapshot) Match(expr *query.Expr) []mesh.Node {
	var out []mesh.Node
	for i := range s.nodes {
		if expr.Match(&s.nodes[i]) {
			out = append(out, s.nodes[i])
		}
	}
	return out
}

// Members lists the members of a datacenter by name, of the server's own when
// dc is empty; mesh.NotFound for one that is not known.
func (s *Snapshot) Members(dc string) ([]mesh.Member, error) {
	if dc == "" {
		dc = s.own
	}
	m, ok := s.members[dc]
	if !ok {
		return nil, mesh.Errorf(mesh.NotFound, "no datacenter %q is known", dc).
			WithHint("known datacenters: %s", strings.Join(s.dcNames(), ", "))
	}
	return m, nil
}

// Datacenters lists the known datacenters, the server's own first.
func (s *Snapshot) Datacenters() []Datacenter { return s.dcs }

// Findings lists what a person should look at, by kind, datacenter and node.
func (s *Snapshot) Findings() []Finding { return s.findings }

func (s *Snapshot) dcNames() []string {
	var out []string
	for _, d := range s.dcs {
		out = append(out, d.Name)
	}
	return out
}

// Page says which part of a list is wanted. The zero Page is the beginning, as
// long as DefaultLimit.
type Page struct {
	After string // the Next of the page before; empty for the first.
	Limit int    // at most MaxLimit; 0 means DefaultLimit.
}

// DefaultLimit is how long a page is when nobody says, and MaxLimit how long
// it may be: every node of the largest datacenter that Consul carries.
const (
	DefaultLimit = 500
	MaxLimit     = 10_000
)

// List is one page of the nodes that an expression is about.
type List struct {
	Nodes []mesh.Node
	Total int    // over all pages.
	Next  string // Page.After of the next one; empty when this is the last.
}

// List returns a page of what Match would. Pages may come from different
// snapshots: a node that stays is on exactly one of them.
func (s *Snapshot) List(expr *query.Expr, p Page) List {
	limit := p.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	all := s.Match(expr)
	out := List{Total: len(all)}
	from := 0
	if dc, name, ok := strings.Cut(p.After, "/"); ok {
		after := place{dc, mesh.NodeName(name)}
		from, _ = slices.BinarySearchFunc(all, after, func(n mesh.Node, p place) int {
			if placeOf(&n) == p {
				return -1 // what follows is wanted, not p itself.
			}
			return s.compare(placeOf(&n), p)
		})
	}
	to := min(from+limit, len(all))
	out.Nodes = all[from:to]
	if to < len(all) {
		last := placeOf(&all[to-1])
		out.Next = last.dc + "/" + string(last.name)
	}
	return out
}

func placeOf(n *mesh.Node) place { return place{n.DC, n.Name} }
