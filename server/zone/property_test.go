package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
	mzone "alps/mesh/zone"
)

// TestZoneFollows draws nodes that come, go, fail and return, checks that
// change by the catalog and by the link, and agents that come back with what
// they had. Whatever happened, serials grow, agents hold what the server
// holds, and when all has been quiet for longer than any hold the zone is what
// the rules say of the last state alone.
func TestZoneFollows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// All is drawn first: rapid ends a failed attempt by a panic, which
		// must not leave the bubble.
		acts := rapid.SliceOfN(rapid.Custom(draw), 1, 50).Draw(rt, "acts")
		var fault string
		synctest.Test(t, func(t *testing.T) {
			m := &model{r: start(t), nodes: make(map[string]*box)}
			for i := range 14 { // enough for the guard to be awake.
				m.nodes[fmt.Sprint("n", i)] = &box{member: alive, agent: linked, catalog: passing, latest: passing}
			}
			m.relist()
			m.agent = m.r.join(t, "agent", new(mzone.Zone))
			synctest.Wait()
			for _, a := range acts {
				m.step(t, a)
				if fault = m.fault(); fault != "" {
					return
				}
			}
			pass(30 * time.Minute)
			if got, want := m.r.is(), m.settled(); got != want {
				fault = fmt.Sprintf("after all holds the zone is\n%s\nwant\n%s", got, want)
			}
			if fault == "" {
				fault = m.fault()
			}
		})
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// box is one node of the model, with one service that has one check.
type box struct {
	member  mesh.MemberStatus
	agent   mesh.AgentStatus
	catalog mesh.Health // of the check; empty stands for a TTL that expired.
	// latest is what was said last, by whomever.
	latest mesh.Health
	unlisted,
	unserved bool
}

type model struct {
	r      *rig
	nodes  map[string]*box
	agent  *agent
	serial uint64
}

type act struct {
	Kind   int
	Nodes  []int
	Health mesh.Health
	Member mesh.MemberStatus
	Agent  mesh.AgentStatus
	Wait   time.Duration
	Yes    bool
}

func draw(rt *rapid.T) act {
	return act{
		Kind:   rapid.IntRange(0, 7).Draw(rt, "kind"),
		Nodes:  rapid.SliceOfNDistinct(rapid.IntRange(0, 13), 1, 14, rapid.ID[int]).Draw(rt, "nodes"),
		Health: rapid.SampledFrom([]mesh.Health{passing, warning, critical}).Draw(rt, "health"),
		Member: rapid.SampledFrom([]mesh.MemberStatus{alive, failed, left}).Draw(rt, "member"),
		Agent:  rapid.SampledFrom([]mesh.AgentStatus{linked, lost, none}).Draw(rt, "agent"),
		Wait:   rapid.SampledFrom([]time.Duration{time.Second, 40 * time.Second, 6 * time.Minute}).Draw(rt, "wait"),
		Yes:    rapid.Bool().Draw(rt, "yes"),
	}
}

func (m *model) step(t *testing.T, a act) {
	pass(time.Second) // no two things are said at one moment.
	for _, i := range a.Nodes {
		name := fmt.Sprint("n", i)
		n := m.nodes[name]
		switch a.Kind {
		case 0:
			n.member = a.Member
		case 1:
			n.agent = a.Agent
		case 2:
			n.unlisted = a.Yes
			if a.Yes { // what was believed of its checks goes with it.
				n.latest = n.catalog
				m.r.believe(mesh.NodeName(name))
			}
		case 3:
			n.unserved = a.Yes
		case 4: // the catalog says something.
			if n.shown() && n.catalog != a.Health {
				n.catalog, n.latest = a.Health, a.Health
			}
		case 5: // the TTL expires.
			if n.shown() && n.catalog != "" {
				n.catalog, n.latest = "", ""
			}
		case 6: // the link says something.
			if n.shown() {
				n.latest = a.Health
				m.r.believe(mesh.NodeName(name), link("web", a.Health))
			}
		}
	}
	if a.Kind == 7 {
		pass(a.Wait)
		// The agent comes back with what it has, or with nothing.
		z := m.held()
		if a.Yes {
			z = new(mzone.Zone)
		}
		m.agent = m.r.join(t, "agent", z)
		synctest.Wait()
	}
	m.relist()
}

// shown reports whether the check is seen at all: what is said of one that is
// not is forgotten.
func (n *box) shown() bool { return !n.unlisted && !n.unserved }

func (m *model) relist() {
	var nodes []mesh.Node
	for i := range len(m.nodes) {
		name := fmt.Sprint("n", i)
		b := m.nodes[name]
		if b.unlisted {
			continue
		}
		n := machine(name, "web")
		c := check("web", b.catalog, "")
		if b.catalog == "" {
			c = check("web", critical, expired)
		}
		n = as(with(n, c), b.member, b.agent)
		if b.unserved {
			n.Services = nil
		}
		nodes = append(nodes, n)
	}
	m.r.list(nodes...)
}

// fault says what is wrong at any moment, nothing when all is as it must be.
func (m *model) fault() string {
	z, held := m.r.Zone(), m.held()
	m.r.mu.Lock()
	bad := m.agent.bad
	m.r.mu.Unlock()
	switch {
	case z.Serial() < m.serial:
		return fmt.Sprintf("serial %d after %d", z.Serial(), m.serial)
	case len(bad) > 0:
		return strings.Join(bad, "; ")
	case held.Sum() != z.Sum():
		return fmt.Sprintf("the agent has %q, the server %q", describe(held), describe(z))
	}
	m.serial = z.Serial()
	if s := m.r.Status(); s.Nodes != z.Nodes() {
		return fmt.Sprintf("%d nodes are counted, the zone has %d", s.Nodes, z.Nodes())
	}
	return ""
}

// held is what the agent holds.
func (m *model) held() *mzone.Zone {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	return m.agent.zone
}

// settled is what the zone is when nothing has happened for long.
func (m *model) settled() string {
	var names, web []string
	served := false
	for i := range len(m.nodes) {
		name := fmt.Sprint("n", i)
		n := m.nodes[name]
		if n.unlisted {
			continue
		}
		served = served || !n.unserved
		if n.agent != linked && n.member != alive {
			continue
		}
		names = append(names, name)
		if !n.unserved && n.member != failed && n.latest != "" && n.latest != critical {
			web = append(web, name)
		}
	}
	slices.Sort(names)
	slices.Sort(web)
	if served {
		names = append(names, "web="+strings.Join(web, "+"))
	}
	return strings.Join(names, " ")
}
