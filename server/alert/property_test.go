package alert_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
	"alps/server/alert"
	"alps/server/alert/alerttest"
)

// op is one thing that happens.
type op struct {
	What    string
	Node    string
	Check   string
	Health  mesh.Health
	Flaps   bool
	Lost    bool
	Catalog bool
	Disks   string // separated by spaces.
	For     time.Duration
	Which   int
}

var histories = []string{
	"set", "set", "set", "set", "set", "set", "pass", "pass", "ack", "close", "reopen", "comment", "escalate", "rules", "gone",
}

// history draws what happens.
func history(rt *rapid.T, more ...string) []op {
	whats := append(slices.Clone(histories), more...)
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) op {
		return op{
			What:    rapid.SampledFrom(whats).Draw(rt, "what"),
			Node:    rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node"),
			Check:   rapid.SampledFrom([]string{"web", "web", "db", mesh.AgentCheck}).Draw(rt, "check"),
			Health:  rapid.SampledFrom([]mesh.Health{passing, passing, warning, critical, critical, unknown}).Draw(rt, "health"),
			Flaps:   rapid.IntRange(0, 9).Draw(rt, "flaps") == 0,
			Lost:    rapid.IntRange(0, 5).Draw(rt, "lost") == 0,
			Catalog: rapid.IntRange(0, 3).Draw(rt, "catalog") == 0,
			Disks:   rapid.SampledFrom([]string{"", "", "sda1", "sda1", "sdb1", "sda1 sdb1"}).Draw(rt, "disks"),
			For:     time.Duration(rapid.SampledFrom([]int{1, 5, 20, 70}).Draw(rt, "for")) * time.Second,
			Which:   rapid.IntRange(0, 9).Draw(rt, "which"),
		}
	}), 1, 40).Draw(rt, "history")
}

// variants are the rule sets that come and go.
func variants() [][]mesh.Rule {
	slow := webDown
	slow.For, slow.Notify = 15*time.Second, []string{"ops", "boss"}
	db := mesh.Rule{Name: "db-bad", Check: "db", Status: []mesh.Health{warning, critical, unknown}, Notify: []string{"boss"}}
	return [][]mesh.Rule{{webDown, db}, {slow, db}, {db}, {webDown, {Name: "any", Check: "*", Target: "name=n1"}}}
}

// play lets one op happen.
func (r *rig) play(o op) {
	pass(time.Millisecond)
	switch o.What {
	case "set":
		s := state(o.Node, o.Check, o.Health)
		s.Result.Flapping = o.Flaps
		if o.Check != mesh.AgentCheck {
			s.Result.Disks = strings.Fields(o.Disks)
		}
		if o.Lost {
			s.Status, s.AgentLost = unknown, true
		}
		if o.Catalog {
			s.Source = mesh.SourceCatalog
		}
		r.set(s)
	case "pass":
		pass(o.For)
	case "rules":
		r.rules(variants()[o.Which%4]...)
		synctest.Wait()
	case "gone":
		r.checks.mu.Lock()
		delete(r.checks.states, [2]string{o.Node, o.Check})
		r.checks.mu.Unlock()
		r.engine.Gone(dc, mesh.NodeName(o.Node), o.Check)
		synctest.Wait()
	case "restart":
		r.restart()
	case "ack", "close", "reopen", "comment", "escalate":
		r.person(o)
	}
}

func (r *rig) restart() {
	r.stop()
	r.start(r.engine.Rules()[3:]...)
}

// person does something about one of the incidents. It may be refused.
func (r *rig) person(o op) {
	list := r.incidents()
	if len(list) == 0 {
		return
	}
	// By age: the order of the list depends on what is open.
	slices.SortStableFunc(list, func(a, b mesh.Incident) int {
		return strings.Compare(a.Opened.Format(time.RFC3339Nano)+a.Key(), b.Opened.Format(time.RFC3339Nano)+b.Key())
	})
	i := list[o.Which%len(list)]
	var err error
	ctx := r.t.Context()
	switch o.What {
	case "ack":
		_, err = r.engine.Ack(ctx, i.ID, "ann", "")
	case "close":
		_, err = r.engine.Close(ctx, i.ID, "ann", "enough")
	case "reopen":
		_, err = r.engine.Reopen(ctx, i.ID, "ann", "look")
	case "comment":
		_, err = r.engine.Comment(ctx, i.ID, "ann", "hm")
	case "escalate":
		err = r.engine.Escalate(ctx, i.ID, []string{"boss"}, "help")
	}
	if code := mesh.CodeOf(err); code != "" && code != mesh.Conflict && code != mesh.Unavailable {
		r.t.Errorf("%s: %v", o.What, err)
	}
	synctest.Wait()
}

// drawer is rapid's T with the context of a bubble, which its own is not from.
type drawer struct {
	*rapid.T

	bubble *testing.T
}

func (d drawer) Context() context.Context { return d.bubble.Context() }

// inBubble runs fn in a bubble of its own. What ends a property is a panic,
// which must leave the bubble first.
func inBubble(t *testing.T, rt *rapid.T, fn func(drawer)) {
	t.Helper()
	var failure any
	synctest.Test(t, func(b *testing.T) {
		defer func() { failure = recover() }()
		fn(drawer{rt, b})
	})
	if failure != nil {
		panic(failure)
	}
}

// TestInvariants lets anything happen, losses of the lease and restarts and
// faults of the store as well, and looks at every write.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := history(rt, "restart", "lapse", "lapse", "lead", "lead", "depose", "away", "back", "fault", "forget")
		inBubble(t, rt, func(d drawer) {
			r := newRig(d)
			w := &watch{Store: r.store, rig: r, told: make(map[string]string), last: make(map[mesh.IncidentID]int)}
			r.opts = func(o *alert.Options) { o.Store, o.Reopen, o.Repeat = w, time.Minute, 2*time.Minute }
			r.start(variants()[0]...)
			defer func() { r.stop() }()
			term := uint64(1)
			for _, o := range ops {
				switch o.What {
				case "lapse":
					r.lease(term, false)
				case "lead":
					r.lease(term, true)
				case "depose": // another one leads for a while.
					r.store.Fence(term + 1)
					r.lease(term, false)
					term += 2
				case "away":
					r.engine.ConsulAway(time.Now())
				case "back":
					r.engine.Back()
				case "fault":
					once := true
					r.store.FailWith(func() error {
						if !once {
							return nil
						}
						once = false
						return mesh.Errorf(mesh.Unavailable, "i/o error")
					})
				case "forget": // as a server that has just started.
					r.checks.mu.Lock()
					clear(r.checks.states)
					r.checks.mu.Unlock()
					r.restart()
				default:
					r.play(o)
				}
				synctest.Wait()
			}
			r.store.FailWith(nil)
			r.lease(term, true)
			r.engine.Back()
			pass(2 * time.Minute)
			r.settled()
		})
	})
}

// settled compares what is open with what holds: no incident that holds is
// missed, none that is over is left.
func (r *rig) settled() {
	r.t.Helper()
	open := make(map[string]mesh.Incident)
	closedAt := make(map[string]mesh.Incident)
	for _, i := range r.incidents() {
		if i.Status != mesh.IncidentClosed {
			open[i.Key()] = i
		} else if was := closedAt[i.Key()]; i.Closed.After(was.Closed) {
			closedAt[i.Key()] = i
		}
	}
	rules := r.engine.Rules()
	r.checks.Each(func(s mesh.CheckState) bool {
		for _, rule := range rules {
			if s.AgentLost || rule.Check != s.Result.Check && rule.Check != "*" || rule.Check == "*" && s.Result.Check == mesh.AgentCheck ||
				rule.Target != "" && rule.Target != "name="+string(s.Node) {
				continue
			}
			check := s.Result.Check
			if check == mesh.AgentCheck {
				check = ""
			}
			i := mesh.Incident{Rule: rule.Name, DC: s.DC, Node: s.Node, Check: check}
			was, isOpen := open[i.Key()]
			bad := slices.Contains(rule.Status, s.Status)
			byHand := closedAt[i.Key()].ClosedBy == "ann"
			switch {
			case bad && !isOpen && !byHand && !r.joined(&s, rule.Name):
				r.t.Errorf("nothing is open, and nothing was joined, although %s of %s is %s for rule %s", s.Result.Check, s.Node, s.Status, rule.Name)
			case !bad && s.Status != unknown && isOpen && !s.Result.Flapping && s.Received.After(was.Updated):
				r.t.Errorf("still open although %s of %s is %s: %+v", s.Result.Check, s.Node, s.Status, was)
			}
		}
		return true
	})
}

// joined reports whether a problem is told in an open incident that names one
// of its disks.
func (r *rig) joined(s *mesh.CheckState, rule string) bool {
	r.t.Helper()
	list, err := r.store.OpenIncidents(r.t.Context(), time.Now().Add(time.Hour))
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(rec alert.Record) bool {
		return rec.Status != mesh.IncidentClosed && rec.DC == s.DC && rec.Node == s.Node && share(rec.Disks, s.Result.Disks) &&
			slices.Contains(rec.Joined, mesh.JoinedProblem{Rule: rule, Check: s.Result.Check})
	})
}

func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(d string) bool { return slices.Contains(b, d) })
}

// watch is a store that looks at what is written.
type watch struct {
	*alerttest.Store

	rig  *rig
	told map[string]string // by incident and receiver: the last kind.
	last map[mesh.IncidentID]int
}

func (w *watch) SaveIncidents(ctx context.Context, term uint64, changes []alert.Change) error {
	before := w.naming()
	err := w.Store.SaveIncidents(ctx, term, changes)
	t := w.rig.t
	if err != nil {
		if strings.Contains(err.Error(), "for the same problem") {
			t.Errorf("two open incidents: %v", err)
		}
		return err
	}
	if _, leads := w.rig.engineLease(); !leads {
		for _, c := range changes {
			if c.Record.Rule != alert.RuleConsulUnavailable {
				t.Errorf("written without the lease: %+v", c.Record)
			}
		}
	}
	for _, c := range changes {
		w.look(c)
	}
	w.oneOfADisk(changes, before)
	return nil
}

// naming returns the incidents that are open and name disks.
func (w *watch) naming() map[mesh.IncidentID]alert.Record {
	list, err := w.OpenIncidents(context.Background(), time.Now().Add(time.Hour))
	if err != nil {
		w.rig.t.Errorf("read the open incidents: %v", err)
	}
	out := make(map[mesh.IncidentID]alert.Record)
	for _, r := range list {
		if r.Status != mesh.IncidentClosed && len(r.Disks) > 0 {
			out[r.ID] = r
		}
	}
	return out
}

// oneOfADisk sees that nothing was opened, by whomever, of a disk that an
// incident named before and still does, and no two of one disk at once.
func (w *watch) oneOfADisk(changes []alert.Change, before map[mesh.IncidentID]alert.Record) {
	after := w.naming()
	fresh := make(map[mesh.IncidentID]bool)
	for _, c := range changes {
		if slices.ContainsFunc(c.Events, func(l mesh.IncidentEvent) bool { return l.Kind == mesh.EventOpened || l.Kind == mesh.EventReopened }) {
			fresh[c.Record.ID] = true
		}
	}
	for id := range fresh {
		r, open := after[id]
		for other, o := range after {
			if !open || other == id || o.DC != r.DC || o.Node != r.Node || !share(o.Disks, r.Disks) {
				continue
			}
			if was, named := before[other]; fresh[other] || named && share(was.Disks, r.Disks) {
				w.rig.t.Errorf("%q was opened of %v, of which %q is", r.Key(), r.Disks, o.Key())
			}
		}
	}
}

func (r *rig) engineLease() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term, r.leads
}

func (w *watch) look(c alert.Change) {
	t, r := w.rig.t, c.Record
	for _, d := range c.Deliveries {
		if w.last[r.ID]++; d.N != w.last[r.ID] {
			t.Errorf("delivery %d after %d", d.N, w.last[r.ID]-1)
		}
		k := string(r.ID) + " " + d.Receiver
		was := w.told[k]
		switch d.Kind {
		case alert.DeliveryFiring:
			if was == "open" {
				t.Errorf("told twice that %s is open", r.Key())
			}
			w.told[k] = "open"
		case alert.DeliveryEscalation, alert.DeliveryRepeat:
			if d.Incident.Status != mesh.IncidentClosed {
				w.told[k] = "open"
			}
		case alert.DeliveryResolved:
			if was != "open" {
				t.Errorf("told that %s is resolved, which it did not know of", r.Key())
			}
			w.told[k] = "resolved"
		}
	}
	if r.Rule == alert.RuleConsulUnavailable {
		return
	}
	for _, l := range c.Events {
		if l.Kind != mesh.EventClosed || !strings.HasPrefix(l.Text, "recovered") {
			continue
		}
		s, ok := w.rig.checks.Get(r.DC, r.Node, r.CheckID)
		if !ok || s.Status == unknown || s.AgentLost || s.Result.Flapping || !s.Received.After(r.Fired) {
			t.Errorf("closed %s without a good result: %+v", r.Key(), s)
		}
	}
}

// TestRestartsChangeNothing plays one history twice, once with restarts in it,
// and compares the stories.
func TestRestartsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := history(rt)
		at := rapid.SliceOfN(rapid.Bool(), len(ops), len(ops)).Draw(rt, "restart")
		var stories [2][]string
		for n := range stories {
			inBubble(t, rt, func(d drawer) {
				r := newRig(d)
				// The phase of repeats is that of the process.
				r.opts = func(o *alert.Options) { o.Reopen, o.Repeat = time.Minute, -1 }
				r.start(variants()[0]...)
				defer func() { r.stop() }()
				for k, o := range ops {
					r.play(o)
					if n == 1 && at[k] {
						r.restart()
					}
				}
				pass(2 * time.Minute)
				stories[n] = r.stories()
			})
		}
		if diff := cmp.Diff(stories[0], stories[1]); diff != "" {
			rt.Errorf("stories (-without +with restarts):\n%s", diff)
		}
	})
}

// stories prints every incident without its id and without times.
func (r *rig) stories() []string {
	var out []string
	names := make(map[mesh.IncidentID]string)
	for _, i := range r.incidents() {
		text := fmt.Sprintf("%q %s %s reopened %d acked %q closed %q", i.Key(), i.Status, i.Health, i.Reopened, i.AckedBy, i.ClosedBy)
		names[i.ID] = fmt.Sprintf("%q %s", i.Key(), i.Opened.Format(time.RFC3339Nano))
		for _, l := range i.Timeline {
			text += "\n  " + string(l.Kind) + " " + l.Actor + " " + l.Text
		}
		out = append(out, text)
	}
	for _, d := range r.store.Deliveries() {
		out = append(out, fmt.Sprintf("%s %d %s %s", names[d.Incident.ID], d.N, d.Kind, d.Receiver))
	}
	slices.Sort(out)
	return out
}
