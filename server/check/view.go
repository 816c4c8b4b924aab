package check

import (
	"cmp"
	"slices"

	"alps/mesh"
)

// Ready reports whether the inventory was looked at once. Before, there are no
// states at all.
func (s *Store) Ready() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ready
}

// Get returns the state of one check, false when nothing is known of it, which
// is not the same as passing.
func (s *Store) Get(dc string, name mesh.NodeName, check string) (mesh.CheckState, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.nodes[place{dc, name}]
	if n == nil {
		return mesh.CheckState{}, false
	}
	b := n.find(check)
	if b == nil {
		return mesh.CheckState{}, false
	}
	return n.state(b), true
}

// Node returns the states of one node's checks by id, none for a node that is
// not known.
func (s *Store) Node(dc string, name mesh.NodeName) []mesh.CheckState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.nodes[place{dc, name}]
	if n == nil {
		return nil
	}
	return n.states(make([]mesh.CheckState, 0, len(n.beliefs)))
}

func (n *node) states(out []mesh.CheckState) []mesh.CheckState {
	for _, b := range n.beliefs {
		out = append(out, n.state(b))
	}
	return out
}

// Each calls fn with every state, by datacenter, node and id, until it returns
// false. No lock is held while fn runs; what changes meanwhile may be seen as
// it was or as it is.
func (s *Store) Each(fn func(mesh.CheckState) bool) {
	var buf []mesh.CheckState
	for _, n := range s.sorted() {
		s.mu.RLock()
		buf = n.states(buf[:0])
		s.mu.RUnlock()
		for i := range buf {
			if !fn(buf[i]) {
				return
			}
		}
	}
}

// sorted lists the nodes by datacenter and name.
func (s *Store) sorted() []*node {
	s.mu.RLock()
	order := s.order
	s.mu.RUnlock()
	if order != nil {
		return order
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	order = make([]*node, 0, len(s.nodes))
	for _, n := range s.nodes {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b *node) int { return cmp.Or(cmp.Compare(a.dc, b.dc), cmp.Compare(a.name, b.name)) })
	s.order = order
	return order
}

// Filter says which states to list. The zero Filter asks for the first page of
// all.
type Filter struct {
	// Match chooses nodes; nil takes all. It must not call the Store.
	Match  func(dc string, node mesh.NodeName) bool
	Check  string      // id or name; empty takes all.
	Status mesh.Health // empty takes all.
	After  string      // the Next of the page before; empty for the first.
	Limit  int         // at most MaxLimit; zero means DefaultLimit.
}

// DefaultLimit is how long a page is when nobody says, MaxLimit how long it
// may be.
const (
	DefaultLimit = 500
	MaxLimit     = 10_000
)

// List is one page of states, by datacenter, node and id.
type List struct {
	Checks []mesh.CheckState
	Total  int    // over all pages.
	Next   string // Filter.After of the next page; empty when this is the last.
}

// List returns a page of states. Pages may be of different moments: a check
// that stays is on exactly one of them.
func (s *Store) List(f Filter) List {
	limit := f.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	out, after, more := List{Checks: []mesh.CheckState{}}, parseCursor(f.After), false
	for _, n := range s.sorted() {
		if f.Match != nil && !f.Match(n.dc, n.name) {
			continue
		}
		s.mu.RLock()
		for _, b := range n.beliefs {
			if !f.takes(b) {
				continue
			}
			out.Total++
			switch {
			case f.After != "" && (cursor{n.place, b.id}).compare(after) <= 0:
			case len(out.Checks) < limit:
				out.Checks = append(out.Checks, n.state(b))
			default:
				more = true
			}
		}
		s.mu.RUnlock()
	}
	if more {
		last := &out.Checks[len(out.Checks)-1]
		out.Next = cursor{place{last.DC, last.Node}, last.Result.Check}.String()
	}
	return out
}

func (f *Filter) takes(b *belief) bool {
	if f.Check != "" && f.Check != b.id && f.Check != b.result.Name {
		return false
	}
	return f.Status == "" || f.Status == b.status
}
