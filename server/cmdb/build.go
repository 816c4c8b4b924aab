package cmdb

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/nodeset"
)

// input is what a snapshot is built from. Nothing in it is changed.
type input struct {
	own    string
	sites  map[string]*site
	roster []Enrolment
	// linked says since when agents are connected; the others are not.
	linked map[mesh.NodeID]time.Time
	// written are the records that this server has just written and may not
	// have read back yet.
	written map[mesh.NodeID]*record
	prev    *Snapshot
	now     time.Time
}

// build makes the snapshot that follows in.prev.
func build(in input) *Snapshot {
	b := builder{
		input: in,
		out: &Snapshot{
			Version: in.prev.Version + 1, At: in.now, own: in.own, members: make(map[string][]mesh.Member, len(in.sites)),
		},
	}
	b.gatherAgents()
	b.addConsulNodes()
	b.addStrays()
	b.finish()
	return b.out
}

type builder struct {
	input
	out *Snapshot
	// claims are the agents that no node has been made of yet.
	claims map[place][]*agent
}

func (b *builder) find(f Finding) { b.out.findings = append(b.out.findings, f) }

// gatherAgents puts together what is known of each enrolled agent.
func (b *builder) gatherAgents() {
	all := make([]*agent, 0, len(b.roster))
	enrolled := make(map[mesh.NodeID]bool, len(b.roster))
	for _, e := range b.roster {
		enrolled[e.ID] = true
		all = append(all, b.agent(e))
	}
	b.claims = claims(all, b.own)
	b.out.findings = append(b.out.findings, clones(all)...)
	for dc, s := range b.sites {
		for id, err := range s.broken {
			b.find(unreadableFinding(dc, id, err))
		}
	}
	// Another datacenter's agents may have enrolled with servers of its own.
	var strangers []mesh.NodeID
	for id := range b.sites[b.own].records {
		if !enrolled[id] {
			strangers = append(strangers, id)
		}
	}
	if len(strangers) > 0 {
		slices.Sort(strangers)
		b.find(strangerFinding(b.own, strangers))
	}
}

func (b *builder) agent(e Enrolment) *agent {
	a := &agent{Enrolment: e, record: newest(b.sites, b.written, e.ID)}
	a.since, a.linked = b.linked[e.ID]
	if i, known := b.prev.byID[e.ID]; known {
		before := &b.prev.nodes[i]
		a.held = before.Name == a.claim(b.own).name
		switch {
		case a.linked:
		case before.Agent == mesh.AgentLinked:
			a.since = b.now
		default:
			a.since = before.Since
		}
	}
	return a
}

// newest returns the newest record of an agent: datacenters may each have one,
// after a node has moved.
func newest(sites map[string]*site, written map[mesh.NodeID]*record, id mesh.NodeID) *record {
	best := written[id]
	for _, s := range sites {
		if r, ok := s.records[id]; ok && (best == nil || r.At.After(best.At)) {
			best = r.record
		}
	}
	return best
}

// addConsulNodes makes a node of everything that Consul knows.
func (b *builder) addConsulNodes() {
	for _, dc := range b.datacenters() {
		s := b.sites[dc]
		names := s.names()
		members := make([]mesh.Member, 0, len(names))
		for name := range names {
			m, _ := s.member(name)
			members = append(members, m)
			n := mesh.Node{
				Name: name, DC: dc, Address: m.Address, Status: m.Status, Type: m.Type, Build: m.Build, Agent: mesh.AgentNone,
				Services: s.services[name], Checks: s.checks[name], Meta: s.nodes[name].Meta,
			}
			p := place{dc, name}
			if l := b.claims[p]; len(l) > 0 {
				l[0].fill(&n)
				b.addRivals(p, l)
				delete(b.claims, p)
			}
			b.add(n)
		}
		slices.SortFunc(members, func(x, y mesh.Member) int { return nodeset.Compare(string(x.Name), string(y.Name)) })
		b.out.members[dc] = members
		b.datacenter(s, len(members))
	}
}

func (b *builder) datacenter(s *site, nodes int) {
	d := Datacenter{Name: s.dc, Own: s.dc == b.own, Loaded: s.loaded, Nodes: nodes}
	if s.contact != nil {
		d.Away, d.Error = s.awayFrom, s.contact.Error()
		text := fmt.Sprintf("Consul of %s cannot be read; its nodes are shown as they were", s.dc)
		if !s.loaded {
			text = fmt.Sprintf("Consul of %s has not been read yet; its nodes are missing", s.dc)
		}
		b.find(Finding{Kind: KindDatacenter, DC: s.dc, Text: text, Hint: s.contact.Error()})
	}
	b.out.dcs = append(b.out.dcs, d)
}

// addStrays makes nodes of the agents whose place Consul does not know: it has
// forgotten it, or never knew it. A revoked agent of that sort is history.
func (b *builder) addStrays() {
	for p, l := range b.claims {
		switch {
		case l[0].Revoked: // and so are all behind it.
		case p.name == "":
			b.findSilent(l)
		default:
			n := mesh.Node{Name: p.name, DC: p.dc}
			l[0].fill(&n)
			n.Address = firstAddress(n.Facts)
			b.add(n)
			b.addRivals(p, l)
		}
	}
}

// findSilent reports the agents that have not said which node they are on.
// Until they do there is nothing to list, and nothing to aim at.
func (b *builder) findSilent(l []*agent) {
	for _, a := range l {
		if !a.Revoked && b.now.Sub(a.EnrolledAt) > silentAfter {
			b.find(silentFinding(a))
		}
	}
}

// addRivals lists all but the first of the agents that claim p.
func (b *builder) addRivals(p place, l []*agent) {
	for _, a := range l[1:] {
		if !a.Revoked {
			listed := b.addRival(p, a)
			b.find(conflictFinding(p, listed, l[0], a))
		}
	}
}

// addRival lists an agent that has no name to itself.
func (b *builder) addRival(p place, a *agent) mesh.NodeName {
	n := mesh.Node{Name: p.name + rivalMark + mesh.NodeName(shortID(a.ID)), DC: p.dc}
	a.fill(&n)
	n.Address = firstAddress(n.Facts)
	b.add(n)
	return n.Name
}

// fill writes what an agent contributes to a node.
func (a *agent) fill(n *mesh.Node) {
	n.ID, n.Agent, n.Since = a.ID, a.status(), a.since
	if a.record != nil {
		n.Facts, n.FactsAt = &a.record.Facts, a.record.At
	}
}

func (b *builder) add(n mesh.Node) { b.out.nodes = append(b.out.nodes, n) }

// finish sorts and indexes the nodes and derives what their names say.
func (b *builder) finish() {
	s := b.out
	slices.SortFunc(s.nodes, func(x, y mesh.Node) int { return s.compare(placeOf(&x), placeOf(&y)) })
	s.byID = make(map[mesh.NodeID]int, len(s.nodes))
	s.byPlace = make(map[place]int, len(s.nodes))
	s.byName = make(map[mesh.NodeName][]int, len(s.nodes))
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.ID != "" {
			s.byID[n.ID] = i
		}
		s.byPlace[placeOf(n)] = i
		s.byName[n.Name] = append(s.byName[n.Name], i)
		// Nothing is derived for a rival: "role=datanode" must not reach a clone.
		if strings.Contains(string(n.Name), rivalMark) {
			continue
		}
		// Deriving costs more than all the rest, and names do not change.
		if j, ok := b.prev.byPlace[placeOf(n)]; ok {
			n.Naming = b.prev.nodes[j].Naming
		} else {
			n.Naming, _ = mesh.ParseNaming(n.Name)
		}
		if n.Naming == (mesh.Naming{}) {
			b.find(namingFinding(n))
		}
	}
	sortFindings(s.findings)
}

// datacenters lists the sites, the server's own first.
func (b *builder) datacenters() []string {
	return slices.SortedFunc(maps.Keys(b.sites), b.out.compareDC)
}

func (s *Snapshot) compareDC(a, b string) int {
	return cmp.Or(compareBool(a == s.own, b == s.own), cmp.Compare(a, b))
}

// compare is the order of the snapshot.
func (s *Snapshot) compare(a, b place) int {
	if c := s.compareDC(a.dc, b.dc); c != 0 {
		return c
	}
	return nodeset.Compare(string(a.name), string(b.name))
}

// firstAddress is where an agent that is no member of Consul may be reached.
func firstAddress(f *mesh.Facts) string {
	if f == nil {
		return ""
	}
	for _, i := range f.Addresses {
		for _, a := range i.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				return p.Addr().String()
			}
		}
	}
	return ""
}

// silentAfter is how long an agent may take from its enrolment to its first
// facts before that is odd.
const silentAfter = time.Minute

// rivalMark stands between a name and the beginning of the NodeID of an agent
// that claims it in vain. Consul lets no host name contain it.
const rivalMark = "~"

var errNotRead = errors.New("it has not been read yet")
