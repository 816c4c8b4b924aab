package zone_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/frame"
	mzone "alps/mesh/zone"
	"alps/server/zone"
)

const (
	passing  = mesh.HealthPassing
	warning  = mesh.HealthWarning
	critical = mesh.HealthCritical
	unknown  = mesh.HealthUnknown

	alive  = mesh.MemberAlive
	failed = mesh.MemberFailed
	left   = mesh.MemberLeft
	linked = mesh.AgentLinked
	lost   = mesh.AgentLost
	none   = mesh.AgentNone
)

// step is one thing that happens, and what is in the zone then.
type step struct {
	what string
	do   func(*rig)
	want string
}

func list(nodes ...mesh.Node) func(*rig) { return func(r *rig) { r.list(nodes...) } }

func believe(states ...func() mesh.CheckState) func(*rig) {
	return func(r *rig) {
		var l []mesh.CheckState
		for _, s := range states {
			l = append(l, s())
		}
		r.believe("a", l...)
	}
}

func said(h mesh.Health) func() mesh.CheckState {
	return func() mesh.CheckState { return link("web", h) }
}

func seen(h mesh.Health, agentLost bool) func() mesh.CheckState {
	return func() mesh.CheckState { return read("web", h, agentLost) }
}

func wait(d time.Duration) func(*rig) { return func(*rig) { pass(d) } }

func away(d time.Duration) func(*rig) {
	return func(r *rig) {
		r.w.mu.Lock()
		r.w.age = d
		r.w.mu.Unlock()
		pass(2 * time.Second)
	}
}

func TestWhatIsAnswered(t *testing.T) {
	web := machine("a", "web")
	bad := with(web, check("web", critical, "refused"))
	gone := with(web, check("web", critical, expired))
	lostGone := as(gone, alive, lost)
	two := machine("a", "web")
	two.Services = append(two.Services, mesh.Service{ID: "web2", Name: "web", Port: 81})
	for name, steps := range map[string][]step{
		"not before the inventory is loaded": {
			{"a check", believe(said(passing)), "no zone"},
			{"loaded", list(web), "a web=a"},
		},
		"the catalog says it": {
			{"passing", list(web), "a web=a"},
			{"critical", list(bad), "a web="},
			{"warning", list(with(web, check("web", warning, ""))), "a web=a"},
			{"unknown, which Consul shows as warning", list(with(web, check("web", warning, mesh.UnknownOutput))), "a web=a"},
			{"no more", list(machine("a")), "a"},
		},
		"the link says it first": {
			{"passing", list(web), "a web=a"},
			{"critical", believe(said(critical)), "a web="},
			{"the catalog follows", list(bad), "a web="},
			{"passing", believe(said(passing)), "a web=a"},
			{"the catalog is behind", list(bad), "a web=a"},
			{"it follows", list(web), "a web=a"},
		},
		"the catalog says it later than the link": {
			{"listed", list(web), "a web=a"},
			{"passing by link", believe(said(passing)), "a web=a"},
			{"critical by catalog", func(r *rig) { pass(time.Second); r.list(bad) }, "a web="},
			{"passing by link again", believe(said(passing)), "a web=a"},
		},
		"a check that the catalog does not list yet": {
			{"listed", list(machine("a", "db", "web")), "a db=a web=a"},
			{"critical by link, of one service", believe(func() mesh.CheckState {
				s := link("web", critical)
				s.Result.Check = "new"
				return s
			}), "a db=a web="},
			{"critical by link, of the node", believe(func() mesh.CheckState {
				s := link("web", critical)
				s.Result.Check, s.Result.Service = "new", ""
				return s
			}), "a db= web="},
		},
		"a check of the node": {
			{"critical", list(with(machine("a", "db", "web"), mesh.Check{ID: "disk", Status: critical})), "a db= web="},
		},
		"a check of one of two instances": {
			{"critical", list(with(two, mesh.Check{ID: "c2", Status: critical, Service: "web", ServiceID: "web2"})), "a web=a"},
			{"critical, of both", list(with(two, mesh.Check{ID: "c2", Status: critical, Service: "web"})), "a web="},
		},
		"the agent is lost, gossip says that the node lives": {
			{"listed", list(web), "a web=a"},
			{"expired", list(lostGone), "a web=a"},
			{"the server knows", believe(seen(unknown, true)), "a web=a"},
			{"for nine minutes", wait(9 * time.Minute), "a web=a"},
			{"for eleven", wait(2 * time.Minute), "a web="},
			{"the agent is back", func(r *rig) { r.list(gone); r.believe("a", link("web", passing)) }, "a web=a"},
		},
		"the agent is lost after a failure": {
			{"listed", list(web), "a web=a"},
			{"critical by link", believe(said(critical)), "a web="},
			{"expired", func(r *rig) { pass(time.Second); r.list(lostGone) }, "a web="},
			{"the server knows", believe(seen(unknown, true)), "a web="},
		},
		"the agent is lost while Consul is away": {
			{"listed", list(web), "a web=a"},
			{"expired", list(lostGone), "a web=a"},
			{"away", away(11 * time.Second), "a web=a"},
			{"for an hour", wait(time.Hour), "a web=a"},
			{"back", away(0), "a web="},
		},
		"the agent was lost before the server came": {
			{"listed", list(lostGone), "a web=a"},
			{"for eleven minutes", wait(11 * time.Minute), "a web="},
		},
		"somebody else's TTL has expired": {
			{"listed", list(web), "a web=a"},
			{"expired; the server believes it", func(r *rig) { r.believe("a", read("web", critical, false)); r.list(gone) }, "a web="},
		},
		"gossip has lost the node, its agent is there": {
			{"listed", list(web), "a web=a"},
			{"failed", list(as(web, failed, linked)), "a web="},
			{"for an hour", wait(time.Hour), "a web="},
		},
		"gossip and the agent have lost the node": {
			{"listed", list(web), "a web=a"},
			{"failed", list(as(web, failed, linked)), "a web="},
			{"and the agent", list(as(web, failed, lost)), "a web="},
			{"not for long enough", wait(25 * time.Second), "a web="},
			{"long enough", wait(10 * time.Second), "web="},
			{"it is back", list(web), "a web=a"},
		},
		"gossip has lost a node without agent": {
			{"listed", list(as(web, alive, none)), "a web=a"},
			{"failed", list(as(web, failed, none)), "a web="},
			{"long enough", wait(31 * time.Second), "web="},
		},
		"a node that failed before the server came": {
			{"without agent", list(as(web, failed, none)), "web="},
		},
		"a node has left": {
			{"listed", list(web), "a web=a"},
			{"left", list(as(web, left, lost)), "web="},
			{"forgotten", list(machine("b")), "b"},
		},
		"Consul has forgotten a node": {
			{"its agent is linked", list(as(machine("a"), "", linked)), "a"},
			{"it is not", list(as(machine("a"), "", lost)), ""},
		},
		"a node that was registered by hand": {
			{"listed", list(mesh.Node{Name: "a", DC: dc, Address: "10.0.0.1"}), "a"},
		},
		"a rival of a name": {
			{"listed", list(web, as(machine("a~12345678", "web"), "", linked)), "a web=a"},
		},
		"a service that is on every node": {
			{"listed", list(machine("a", mesh.AgentService, "web")), "a web=a"},
		},
		"names that cannot be": {
			{"listed", list(machine("a", "web", "not_a.label", "no way"), machine("b c", "web"), machine(strings.Repeat("x", 64))), "a web=a"},
		},
		"names that differ in case": {
			{"listed", list(machine("Host"), machine("host")), "Host"},
			{"the first is gone", list(machine("host")), "host"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t)
				for _, st := range steps {
					st.do(r)
					if got := r.is(); got != st.want {
						t.Fatalf("%s: the zone is %q, want %q", st.what, got, st.want)
					}
				}
			})
		})
	}
}

func TestInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		n := machine("a")
		n.Facts = &mesh.Facts{Host: "a.example.com"}
		n.Services = []mesh.Service{
			{ID: "web", Name: "web", Port: 80, Tags: []string{"v1", strings.Repeat("x", 300)}},
			{ID: "web-2", Name: "web", Address: "10.9.9.9", Port: 81},
			{ID: "db", Name: "db", Address: "db.example.com.", Port: 70000},
		}
		r.list(n)
		node, _ := r.Zone().Node(dc, "A")
		want := mzone.Node{DC: dc, Name: "a", FQDN: "a.example.com", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
		addr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if d := cmp.Diff(want, node, addr); d != "" {
			t.Errorf("the node (-want +got):\n%s", d)
		}
		web, _ := r.Zone().Service(dc, "web")
		wantWeb := []mzone.Instance{
			{Node: "a", Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Tags: []string{"v1"}, Weight: 1},
			{Node: "a", ID: "web-2", Address: netip.MustParseAddr("10.9.9.9"), Own: true, Port: 81, Weight: 1},
		}
		if d := cmp.Diff(wantWeb, web.Instances, addr); d != "" {
			t.Errorf("the instances (-want +got):\n%s", d)
		}
		db, _ := r.Zone().Service(dc, "db")
		if d := cmp.Diff([]mzone.Instance{{Node: "a", Host: "db.example.com", Own: true, Weight: 1}}, db.Instances, addr); d != "" {
			t.Errorf("an instance with a name and an odd port (-want +got):\n%s", d)
		}
	})
}

func TestFindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.list(machine("Host"), machine("host"), machine("b c", "web"), machine("d", "no way"))
		s := r.Status()
		var got []string
		for _, f := range s.Findings {
			got = append(got, fmt.Sprint(f.Kind, " ", f.Node))
		}
		want := []string{"dns_conflict host", "dns_instance d", "dns_name b c"}
		if d := cmp.Diff(want, got); d != "" || s.Invalid != 3 {
			t.Errorf("findings (-want +got):\n%s\ninvalid %d, want 3", d, s.Invalid)
		}
		if s.Nodes != 3 || s.Serial == 0 {
			t.Errorf("status %+v; want 3 nodes that have offered names and a serial", s)
		}
		r.list(machine("host"), machine("d"))
		if s := r.Status(); len(s.Findings) != 0 || s.Invalid != 0 {
			t.Errorf("findings %+v, want none any more", s.Findings)
		}
	})
}

// fleet is n nodes with a service each; those that drop returns true for are
// left out.
func fleet(n int, drop func(i int) bool) []mesh.Node {
	var out []mesh.Node
	for i := range n {
		if drop == nil || !drop(i) {
			out = append(out, machine(fmt.Sprintf("n%02d", i), "web"))
		}
	}
	return out
}

func half(i int) bool { return i%2 == 0 }

func TestGuard(t *testing.T) {
	each := func(change func(i int, n mesh.Node) mesh.Node) []mesh.Node {
		out := fleet(20, nil)
		for i := range out {
			if half(i) {
				out[i] = change(i, out[i])
			}
		}
		return out
	}
	type size struct{ Nodes, Instances, Held int }
	type then struct {
		what string
		do   func(*rig)
		want size
	}
	full := size{20, 20, 0}
	for name, steps := range map[string][]then{
		"half of the catalog vanishes and is back": {
			{"vanished", list(fleet(20, half)...), size{20, 20, 20}},
			{"for a while", wait(5 * time.Minute), size{20, 20, 20}},
			{"back", list(fleet(20, nil)...), full},
		},
		"all of the catalog vanishes, for good": {
			{"vanished", list(), size{20, 20, 40}},
			{"for nine minutes", wait(9 * time.Minute), size{20, 20, 40}},
			{"for eleven", wait(2 * time.Minute), size{0, 0, 0}},
		},
		"what is new comes in all the same": {
			{"vanished", list(append(fleet(20, half), machine("new", "web"))...), size{21, 21, 20}},
		},
		"a few vanish": {
			{"three", list(fleet(20, func(i int) bool { return i < 3 })...), size{17, 17, 0}},
			{"three more within the minute", list(fleet(20, func(i int) bool { return i < 6 })...), size{14, 14, 0}},
			{"and three more", list(fleet(20, func(i int) bool { return i < 9 })...), size{14, 14, 6}},
			{"most of them are back", list(fleet(20, func(i int) bool { return i < 6 })...), size{14, 14, 0}},
		},
		"slowly": {
			{"six", list(fleet(20, func(i int) bool { return i < 6 })...), size{14, 14, 0}},
			{"a minute later", wait(time.Minute), size{14, 14, 0}},
			{"four more", list(fleet(20, func(i int) bool { return i < 10 })...), size{10, 10, 0}},
		},
		"services alone vanish": {
			{"from half", list(each(func(_ int, n mesh.Node) mesh.Node { n.Services = nil; return n })...), size{20, 20, 10}},
		},
		"gossip alone has lost half": {
			{"failed", list(each(func(_ int, n mesh.Node) mesh.Node { return as(n, failed, linked) })...), size{20, 20, 10}},
			{"the agents as well", list(each(func(_ int, n mesh.Node) mesh.Node { return as(n, failed, lost) })...), size{20, 10, 0}},
			{"long enough", wait(40 * time.Second), size{10, 10, 0}},
		},
		"half has left": {
			{"left", list(each(func(_ int, n mesh.Node) mesh.Node { return as(n, left, lost) })...), size{10, 10, 0}},
		},
		"half is critical": {
			{"critical", list(each(func(_ int, n mesh.Node) mesh.Node { return with(n, check("web", critical, "")) })...), size{20, 10, 0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t)
				r.list(fleet(20, nil)...)
				a := r.join(t, "agent", new(mzone.Zone))
				for _, st := range steps {
					st.do(r)
					s := r.Status()
					if got := (size{s.Nodes, s.Instances, s.Held}); got != st.want {
						t.Fatalf("%s: %+v, want %+v", st.what, got, st.want)
					}
					if raised := len(s.Findings) > 0 && s.Findings[0].Kind == zone.KindShrink; raised != (st.want.Held > 0) {
						t.Fatalf("%s: findings %+v", st.what, s.Findings)
					}
				}
				if len(a.bad) > 0 || a.zone.Sum() != r.Zone().Sum() {
					t.Errorf("an agent has %q, the server %q: %v", describe(a.zone), r.is(), a.bad)
				}
			})
		})
	}
	t.Run("a small zone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t)
			r.list(fleet(9, nil)...)
			r.list(fleet(9, half)...)
			if s := r.Status(); s.Nodes != 4 || s.Held != 0 {
				t.Errorf("%+v, want 4 nodes and nothing held", s)
			}
		})
	})
}

func TestAgentsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		early := r.join(t, "early", new(mzone.Zone))
		pass(time.Minute)
		if early.zone.Serial() != 0 || len(early.sizes) > 0 {
			t.Fatal("an agent was answered before there was a zone")
		}
		var nodes []mesh.Node
		for i := range 3000 {
			nodes = append(nodes, machine(fmt.Sprintf("bj-e-hadoop%02d-%d-%d", i%7, i/250, i%250), "web", "datanode"))
		}
		r.list(nodes...)
		late := r.join(t, "late", new(mzone.Zone))
		again := r.join(t, "again", r.Zone())
		pass(time.Second)
		nodes = append(nodes, machine("another", "web"))
		r.list(nodes...)
		for name, a := range map[string]*agent{"early": early, "late": late, "again": again} {
			if len(a.bad) > 0 {
				t.Errorf("%s: %v", name, a.bad)
			}
			if a.zone.Sum() != r.Zone().Sum() || a.zone.Serial() != r.Zone().Serial() {
				t.Errorf("%s has serial %d, the server %d", name, a.zone.Serial(), r.Zone().Serial())
			}
			for _, n := range a.sizes {
				if n > frame.MaxPayload {
					t.Errorf("%s was sent %d bytes at once, at most %d fit", name, n, frame.MaxPayload)
				}
			}
		}
		if len(late.sizes) < 3 {
			t.Errorf("the whole zone came in %d payloads: the test should be larger", len(late.sizes))
		}
		if sum := again.sizes[0]; len(again.sizes) != 2 || sum > 64 {
			t.Errorf("an agent that holds all was sent %v; want a word and the change", again.sizes)
		}
		if err := r.Have("early", []byte("nonsense")); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("Have of nonsense = %v, want code %s", err, mesh.Invalid)
		}
	})
}

func TestChangesGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.list(fleet(20, nil)...)
		pass(time.Second)
		before, begin := r.sent, time.Now()
		nodes := fleet(20, nil)
		for i := range nodes {
			name := nodes[i].Name
			r.w.mu.Lock()
			r.w.states[dc+"/"+string(name)] = []mesh.CheckState{link("web", critical)}
			r.w.mu.Unlock()
			r.CheckChanged(dc, name)
			if i == 0 {
				synctest.Wait()
				if r.sent != before+1 || !time.Now().Equal(begin) {
					t.Error("the first change was not sent at once")
				}
			}
		}
		pass(50 * time.Millisecond)
		if got := r.sent - before; got != 2 {
			t.Errorf("20 changes were sent in %d documents, want 2: the first at once, the rest together", got)
		}
		if want := "web="; !strings.HasSuffix(r.is(), want) {
			t.Errorf("the zone is %q, want no instance", r.is())
		}
	})
}

func TestSerialGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last uint64
		for range 2 { // a second builder goes on from the first.
			r := start(t)
			for i := range 5 {
				r.list(fleet(3+i, nil)...)
				if got := r.Zone().Serial(); got <= last {
					t.Errorf("serial %d after %d", got, last)
				}
				last = r.Zone().Serial()
			}
		}
	})
}
