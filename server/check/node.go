package check

import (
	"cmp"
	"slices"
	"time"

	"alps/mesh"
)

// place is a name in a datacenter.
type place struct {
	dc   string
	name mesh.NodeName
}

// node is one node with what is believed of its checks.
type node struct {
	place

	// As the inventory has it.
	known   bool
	round   uint64 // of the inventory that listed it last.
	id      mesh.NodeID
	member  mesh.MemberStatus
	agent   mesh.AgentStatus
	catalog []mesh.Check // by id; shared with the inventory.

	// said is what its agent has said by the link, nil for a node without one
	// or before its first word.
	said *agent
	// away is since when the node is not listed, or is unknown to Consul.
	away time.Time
	// doubt is since when nobody vouches for the agent; lost that it was too
	// long; turned when that was last different.
	doubt  time.Time
	lost   bool
	turned time.Time
	// unlinked is since when the agent has no link here; zero: it has.
	unlinked time.Time

	beliefs []*belief // by id.
	// seen is when a check was first seen in the catalog alone, for those that
	// are not believed yet.
	seen map[string]time.Time
	// buried are checks that the agent has said to be no more, and since when.
	buried map[string]time.Time
	// due is when to judge again though nothing has come; zero: never.
	due time.Time
}

// belief is what is believed of one check.
type belief struct {
	id       string
	status   mesh.Health
	since    time.Time
	source   mesh.CheckSource
	lost     bool
	received time.Time
	result   *mesh.CheckResult // never changed.
	owner    mesh.NodeID
}

// same reports whether nobody has to be told of the step from b to c.
func (b *belief) same(c *belief) bool {
	return b.status == c.status && b.source == c.source && b.lost == c.lost && b.owner == c.owner &&
		b.result.Status == c.result.Status && b.result.Service == c.result.Service && b.result.Flapping == c.result.Flapping &&
		slices.Equal(b.result.Disks, c.result.Disks)
}

func (n *node) state(b *belief) mesh.CheckState {
	return mesh.CheckState{
		Node: n.name, NodeID: b.owner, DC: n.dc, Status: b.status, Since: b.since, Source: b.source,
		AgentLost: b.lost, Received: b.received, Result: *b.result,
	}
}

func (n *node) index(id string) (int, bool) {
	return slices.BinarySearchFunc(n.beliefs, id, func(b *belief, id string) int { return cmp.Compare(b.id, id) })
}

func (n *node) find(id string) *belief {
	if i, ok := n.index(id); ok {
		return n.beliefs[i]
	}
	return nil
}

// listed returns a check as the catalog has it, nil when it has not.
func (n *node) listed(id string) *mesh.Check {
	i, ok := slices.BinarySearchFunc(n.catalog, id, func(c mesh.Check, id string) int { return cmp.Compare(c.ID, id) })
	if !ok {
		return nil
	}
	return &n.catalog[i]
}

// heard returns the newest result of a check, nil when there is none.
func (n *node) heard(id string) *heard {
	if n.said == nil || !n.enrolled() {
		return nil
	}
	return n.said.checks[id]
}

// bury remembers that a check is no more: the catalog may list it for a while.
func (n *node) bury(id string, now time.Time) {
	if n.listed(id) == nil {
		return
	}
	if n.buried == nil {
		n.buried = make(map[string]time.Time)
	}
	n.buried[id] = now
}

// enrolled reports whether the node has an agent of this cluster.
func (n *node) enrolled() bool {
	return n.id != "" && (n.agent == mesh.AgentLinked || n.agent == mesh.AgentLost)
}

// manned reports whether an agent runs the node's checks: one that has
// enrolled here or, in another datacenter, with servers of its own.
func (n *node) manned() bool { return n.enrolled() || n.listed(mesh.AgentCheck) != nil }

// linkedFor is how long a report proves that there is a link: the inventory
// is a moment behind.
const linkedFor = 5 * time.Second

func (n *node) linked(now time.Time) bool {
	return n.enrolled() && (n.agent == mesh.AgentLinked || n.said != nil && now.Sub(n.said.last) < linkedFor)
}

// serfAlive reports whether gossip reaches the node.
func (n *node) serfAlive() bool {
	if n.member != mesh.MemberAlive && n.member != mesh.MemberLeaving {
		return false
	}
	c := n.listed(mesh.SerfCheck)
	return c == nil || c.Status != mesh.HealthCritical
}

// vouched reports whether the catalog shows that the agent lives. Its check
// expires by the clock of the node's Consul agent; where that is gone as well,
// the catalog shows what was. The inventory shows a check that has left the
// lists of bad ones as passing, without output, even one that was deleted: an
// agent that was lost is not found again by that.
func (n *node) vouched() bool {
	c := n.listed(mesh.AgentCheck)
	return c != nil && c.Status == mesh.HealthPassing && n.serfAlive() && (!n.lost || c.Output != "")
}

// assess works out whether the agent is lost, and reports whether that is
// different from before.
func (n *node) assess(now time.Time, after time.Duration, frozen bool) bool {
	switch {
	case n.linked(now):
		n.unlinked = time.Time{}
	case n.unlinked.IsZero():
		n.unlinked = now
	}
	alive := !n.manned() || n.linked(now) || n.vouched()
	was, doubted := n.lost, !n.doubt.IsZero()
	switch {
	case alive:
		n.doubt, n.lost = time.Time{}, false
		if doubted {
			n.turned = now
		}
	case frozen:
		// Silence proves nothing now; the time starts anew afterwards.
		if !n.lost {
			n.doubt = now
		}
	case !doubted:
		n.doubt, n.turned = now, now
	}
	if !alive && !frozen && now.Sub(n.doubt) >= after {
		n.lost = true
	}
	return n.lost != was
}

// place takes over a node from the inventory, and returns it if anything that
// matters here is different.
func (s *Store) place(m *mesh.Node, now time.Time) *node {
	p := place{m.DC, m.Name}
	n := s.nodes[p]
	if n == nil {
		n = &node{place: p}
		s.nodes[p] = n
		s.order = nil
		if _, ok := s.thaw[p.dc]; !ok {
			s.thaw[p.dc] = time.Time{}
		}
	}
	n.round = s.round
	said := s.agents[m.ID]
	if m.ID == "" {
		said = nil
	}
	if n.known && n.id == m.ID && n.member == m.Status && n.agent == m.Agent && n.said == said && sameChecks(n.catalog, m.Checks) {
		n.catalog = m.Checks // let go of an older inventory.
		return nil
	}
	s.identify(n, m.ID)
	if n.said != said && n.said != nil && n.said.node == n {
		n.said.node = nil
	}
	n.known, n.id, n.member, n.agent, n.catalog, n.said = true, m.ID, m.Status, m.Agent, m.Checks, said
	if said != nil {
		said.node = n
	}
	for id := range n.buried {
		if n.listed(id) == nil || now.Sub(n.buried[id]) > buriedFor {
			delete(n.buried, id)
		}
	}
	for id := range n.seen {
		if n.listed(id) == nil {
			delete(n.seen, id)
		}
	}
	return n
}

// identify notes by which agent a node is found.
func (s *Store) identify(n *node, id mesh.NodeID) {
	if n.id != id && s.byID[n.id] == n {
		delete(s.byID, n.id)
	}
	if id != "" {
		s.byID[id] = n
	}
}

// buriedFor is how long the catalog may list a check that is no more: the
// inventory reads all checks again every five minutes.
const buriedFor = 10 * time.Minute

// sameChecks reports whether two lists say the same: most often they are one,
// since the inventory shares those that have not changed.
func sameChecks(a, b []mesh.Check) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// silentAgent is how long the results of an agent that no node is known of
// are kept.
const silentAgent = time.Hour

func (s *Store) forgetAgents(now time.Time) {
	for id, a := range s.agents {
		if a.node != nil && (a.node.said != a || !a.node.known) {
			a.node = nil
		}
		if a.node == nil && now.Sub(a.last) > silentAgent {
			delete(s.agents, id)
		}
	}
}
