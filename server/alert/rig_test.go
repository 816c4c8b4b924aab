package alert_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/alert"
	"alps/server/alert/alerttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dc = "bj-e-01"

// checks is an alert.Checks in memory, as server/check is.
type checks struct {
	mu     sync.Mutex
	states map[[2]string]mesh.CheckState
}

func (c *checks) Each(fn func(mesh.CheckState) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.states {
		if !fn(s) {
			return
		}
	}
}

func (c *checks) Get(_ string, node mesh.NodeName, check string) (mesh.CheckState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.states[[2]string{string(node), check}]
	return s, ok
}

// tester is a test, of this kind or rapid's.
type tester interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// rig is an engine in a bubble of synctest with everything that it needs.
type rig struct {
	t      tester
	store  *alerttest.Store
	checks *checks
	engine *alert.Engine
	term   uint64
	leads  bool
	mu     sync.Mutex
	events []mesh.Incident
	kicks  int
	stop   func()
	opts   func(*alert.Options) // changes the options, if set.
}

var webDown = mesh.Rule{Name: "web-down", Check: "web", Severity: "critical", Notify: []string{"ops"}}

// bubble runs fn with an engine that leads and has the rules.
func bubble(t *testing.T, fn func(*rig), rules ...mesh.Rule) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start(rules...)
		defer func() { r.stop() }()
		fn(r)
	})
}

func newRig(t tester) *rig {
	return &rig{t: t, store: new(alerttest.Store), checks: &checks{states: make(map[[2]string]mesh.CheckState)}, term: 1, leads: true}
}

// start makes a new engine over the same store, as a restart does.
func (r *rig) start(rules ...mesh.Rule) {
	r.t.Helper()
	o := alert.Options{
		Store: r.store, Checks: r.checks, DC: dc,
		Node: func(dc string, name mesh.NodeName) (mesh.Node, bool) {
			return mesh.Node{Name: name, DC: dc}, name != "stranger"
		},
		Lease: func() (uint64, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.term, r.leads
		},
		OnIncident: func(i mesh.Incident) { r.events = append(r.events, i) },
		OnOutbox:   func() { r.kicks++ },
	}
	if r.opts != nil {
		r.opts(&o)
	}
	e, err := alert.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.engine = e
	r.rules(rules...)
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
	synctest.Wait()
}

func (r *rig) rules(rules ...mesh.Rule) {
	r.t.Helper()
	if err := r.engine.SetRules(rules, []string{"ops", "boss"}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) lease(term uint64, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term, r.leads = term, leads
}

// state is a hard result of a check as an agent reports it now.
func state(node, check string, h mesh.Health) mesh.CheckState {
	now := time.Now()
	return mesh.CheckState{
		Node: mesh.NodeName(node), DC: dc, Status: h, Since: now, Source: mesh.SourceLink, Received: now,
		Result: mesh.CheckResult{Check: check, Name: check, Status: h, Hard: h, HardSince: now, At: now, Output: check + " " + string(h)},
	}
}

// set changes a check and tells the engine, and waits until it has decided.
func (r *rig) set(s mesh.CheckState) {
	r.checks.mu.Lock()
	r.checks.states[[2]string{string(s.Node), s.Result.Check}] = s
	r.checks.mu.Unlock()
	r.engine.Observe(s)
	synctest.Wait()
}

// pass lets time go by. Every result is followed by the next one after a
// millisecond at least.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) web(h mesh.Health) {
	pass(time.Second)
	r.set(state("n1", "web", h))
}

// incidents returns what the store has, open ones first, then the newest.
func (r *rig) incidents() []mesh.Incident {
	r.t.Helper()
	list, err := r.store.Incidents(r.t.Context(), alert.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	for n := range list {
		if list[n], err = r.store.Incident(r.t.Context(), string(list[n].ID)); err != nil {
			r.t.Fatal(err)
		}
	}
	return list
}

// only returns the one incident that there is.
func (r *rig) only(want mesh.IncidentStatus) mesh.Incident {
	r.t.Helper()
	list := r.incidents()
	if len(list) != 1 {
		r.t.Fatalf("there are %d incidents: %+v", len(list), list)
	}
	if list[0].Status != want {
		r.t.Fatalf("the incident is %s, want %s: %+v", list[0].Status, want, list[0].Timeline)
	}
	return list[0]
}

// told returns "kind receiver" of everything in the outbox.
func (r *rig) told() []string {
	var out []string
	for _, d := range r.store.Deliveries() {
		out = append(out, string(d.Kind)+" "+d.Receiver)
	}
	return out
}

// kinds returns the kinds of an incident's lines.
func kinds(i mesh.Incident) []mesh.IncidentEventKind {
	var out []mesh.IncidentEventKind
	for _, l := range i.Timeline {
		out = append(out, l.Kind)
	}
	return out
}
