package check_test

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
	"alps/server/check"
)

// model is what the world has really said, beside what the store believes.
type model struct {
	r    *rig
	s    *speaker
	node mesh.Node
	away bool
	// good is true for a check of which somebody alive has said that it
	// passes, after whatever else was said of it.
	good map[string]bool
	// said are the last hard statuses by the link.
	said map[string]mesh.Health
}

// TestNeverPassingWithoutAGoodResult draws reports, silences, changes of the
// catalog, lost agents, lost machines and absences of Consul. Whatever comes,
// nothing turns passing that nobody alive has called so, and what the
// callbacks were told adds up to what is listed.
func TestNeverPassingWithoutAGoodResult(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// All is drawn first: rapid ends a failed attempt by a panic, which
		// must not leave the bubble.
		acts := rapid.SliceOfN(rapid.Custom(draw), 1, 60).Draw(rt, "acts")
		var fault string
		synctest.Test(t, func(t *testing.T) {
			m := &model{
				r: start(t), s: speak(webID), node: machine(), good: make(map[string]bool), said: make(map[string]mesh.Health),
			}
			m.r.list(m.node)
			for _, a := range acts {
				m.step(t, a)
				if fault = m.fault(); fault != "" {
					return
				}
			}
		})
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// act is one thing that happens; what it needs of the rest depends on Kind.
type act struct {
	Kind    int
	Check   string
	Health  mesh.Health
	Silence time.Duration
	Member  mesh.MemberStatus
	Gone    bool
}

func draw(rt *rapid.T) act {
	return act{
		Kind:    rapid.IntRange(0, 9).Draw(rt, "kind"),
		Check:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "check"),
		Health:  rapid.SampledFrom([]mesh.Health{passing, warning, critical, unknown}).Draw(rt, "health"),
		Silence: rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 40 * time.Second, 10 * time.Minute}).Draw(rt, "silence"),
		Member:  rapid.SampledFrom([]mesh.MemberStatus{mesh.MemberFailed, mesh.MemberAlive}).Draw(rt, "member"),
		Gone:    rapid.Bool().Draw(rt, "gone"),
	}
}

func (m *model) step(t *testing.T, a act) {
	id, h := a.Check, a.Health
	linked := m.node.Agent == mesh.AgentLinked
	switch a.Kind {
	case 0, 1: // a word by the link; the agent tells Consul as well.
		if linked {
			m.heard(id, h)
			m.s.says(t, m.r, id, h)
			m.catalog(id, h)
		}
	case 2: // a full report.
		if linked {
			m.s.full(t, m.r, maps.Clone(m.said))
		}
	case 3: // silence.
		pass(a.Silence)
	case 4: // the agent dies; its checks expire one after the other.
		m.node.Agent = mesh.AgentLost
		m.node = with(m.node, cc(mesh.AgentCheck, critical, expired))
		m.relist()
	case 5: // the link alone is gone.
		m.node.Agent = mesh.AgentLost
		m.relist()
	case 6: // the agent is back, and says what it finds.
		m.node.Agent, m.node.Status = mesh.AgentLinked, mesh.MemberAlive
		m.node = with(m.node, cc(mesh.AgentCheck, passing, ""), cc(mesh.SerfCheck, passing, ""))
		m.relist()
	case 7: // the machine dies, or is back without its agent.
		m.node.Status = a.Member
		m.relist()
	case 8: // Consul goes, or comes.
		m.away = !m.away
		m.r.consulAway(map[bool]time.Duration{true: time.Minute, false: 0}[m.away])
		m.relist()
	case 9: // a check expires, or is gone.
		if a.Gone && linked {
			m.s.reports(t, m.r, mesh.CheckReport{Gone: []string{id}})
			delete(m.said, id)
			delete(m.good, id)
			m.node = without(m.node, id)
			m.relist()
		} else if !linked && m.said[id] != "" {
			m.node = with(m.node, cc(id, critical, expired))
			m.relist()
		}
	}
	synctest.Wait()
}

func (m *model) heard(id string, h mesh.Health) {
	m.said[id] = h
	m.good[id] = h == passing
}

// catalog is what the agent tells Consul; while that is away the server does
// not hear of it.
func (m *model) catalog(id string, h mesh.Health) {
	c := cc(id, h, "")
	if h == unknown {
		c.Status, c.Output = warning, mesh.UnknownOutput
	}
	m.node = with(m.node, c)
	m.relist()
}

func (m *model) relist() {
	if !m.away {
		m.r.list(m.node)
	}
}

// fault says what is wrong, nothing when all is as it must be.
func (m *model) fault() string {
	for id := range map[string]bool{"a": true, "b": true, "c": true} {
		got, ok := m.r.Get(dc, web, id)
		if ok && got.Status == passing && !m.good[id] {
			return fmt.Sprintf("%s is %s; the last that was said of it is %q", id, brief(got), m.said[id])
		}
	}
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	listed := make(map[string]string)
	m.r.Each(func(s mesh.CheckState) bool {
		listed[key(s.DC, s.Node, s.Result.Check)] = brief(s)
		return true
	})
	told := make(map[string]string, len(m.r.fold))
	for k, s := range m.r.fold {
		told[k] = brief(s)
	}
	if d := cmp.Diff(listed, told); d != "" {
		return fmt.Sprintf("what was told does not add up to what is listed (-listed +told):\n%s", d)
	}
	if l := m.r.List(check.Filter{}); l.Total != len(listed) {
		return fmt.Sprintf("List has %d, Each %d", l.Total, len(listed))
	}
	return ""
}
