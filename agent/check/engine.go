package check

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// Engine runs the checks of a node. Its methods may be called from any
// goroutine, also before Run.
type Engine struct {
	o      Options
	log    hclog.Logger
	asker  *asker
	mirror *mirror
	outbox *outbox
	wake   chan struct{} // signalled when something may be due earlier than it was.
	runs   sync.WaitGroup

	mu          sync.Mutex
	concurrency int
	checks      map[string]*entry
	due         dueHeap
	ready       []*entry // due, and waiting for one of the others to end.
	active      int      // runs that go on.
	defined     bool     // somebody has said which checks there are.
	// seqs has the numbers of checks that were defined once, so that one which
	// comes back goes on counting.
	seqs  map[string]uint64
	saved map[string]savedCheck // of an earlier run of the agent, by id.
}

// New reads what an earlier run has left in Dir. It starts nothing.
func New(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("new check engine: %w", err)
	}
	e := &Engine{
		o: o, log: o.Logger, asker: newAsker(&o), wake: make(chan struct{}, 1), concurrency: o.Concurrency,
		checks: map[string]*entry{}, seqs: map[string]uint64{}, saved: loadResults(o.Dir, o.Logger),
	}
	var err error
	if e.mirror, err = newMirror(&o, e.observe); err != nil {
		return nil, err
	}
	e.outbox = newOutbox(&o, e.snapshot, e.save)
	return e, nil
}

// Run runs the checks until ctx ends, and returns nil when the last of them
// was stopped. It may be called once. Consul is left as it is.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { e.mirror.run(ctx) })
	wg.Go(func() { e.outbox.run(ctx) })
	e.dispatch(ctx)
	e.runs.Wait()
	wg.Wait()
	e.asker.close()
	e.save()
	return nil
}

// SetDefinitions says which services are registered and which checks run, all
// of them; with an error nothing has changed. What did not change goes on as
// it was, with what is known of it and when it is due. What is gone is stopped
// and deregistered. The definitions are kept, not copied.
func (e *Engine) SetDefinitions(services []mesh.ServiceDef, checks []mesh.CheckDef) error {
	if err := e.o.validateDefinitions(services, checks); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.defined = true
	now := time.Now()
	keep := map[string]bool{}
	for i := range checks {
		keep[checks[i].ID] = true
		e.defineLocked(&checks[i], now)
	}
	for id, c := range e.checks {
		if !keep[id] {
			e.dropLocked(id, c)
		}
	}
	e.mirror.define(services, checks, e.knownLocked)
	e.signal()
	return nil
}

// defineLocked takes over one definition.
func (e *Engine) defineLocked(d *mesh.CheckDef, now time.Time) {
	c := e.checks[d.ID]
	if c == nil {
		c = &entry{pos: -1, seq: e.seqs[d.ID]}
		if s, ok := e.saved[d.ID]; ok && s.Result.Kind == d.Kind {
			c.restore(&s)
		}
		delete(e.saved, d.ID)
		e.checks[d.ID] = c
	} else if sameQuestion(&c.def, d) {
		c.def = *d
		return
	}
	c.def = *d
	c.gen++
	c.seen, c.told = LocalCheck{}, now
	if c.cancel != nil {
		c.cancel()
	}
	if observed(d) {
		e.due.remove(c)
		return
	}
	c.first, c.due = true, firstDue(e.o.Node, d, e.o.Spread, now)
	if !c.running {
		e.due.put(c)
	}
}

// sameQuestion reports whether two definitions ask the same, whatever they are
// called and whatever becomes of the answer.
func sameQuestion(a, b *mesh.CheckDef) bool {
	bare := func(d mesh.CheckDef) mesh.CheckDef {
		d.Name, d.Notes, d.Origin, d.Service = "", "", "", ""
		d.Attempts, d.Initial, d.DeregisterAfter = 0, "", 0
		return d
	}
	return reflect.DeepEqual(bare(*a), bare(*b))
}

// knownLocked is what a check said in the run of the agent before, as long as
// Consul would believe it; empty for nothing.
func (e *Engine) knownLocked(id string) mesh.Health {
	c := e.checks[id]
	if !c.restored || time.Since(c.last.At) > ttl(&c.def) {
		return ""
	}
	return c.last.Status
}

// dropLocked ends a check that is defined no more.
func (e *Engine) dropLocked(id string, c *entry) {
	c.gone = true
	if c.cancel != nil {
		c.cancel()
	}
	e.due.remove(c)
	delete(e.checks, id)
	e.seqs[id] = c.seq
	e.outbox.gone(id)
}

// RunNow has checks run at once, all of them if none is named. One that runs
// already runs once more behind it. The results are reported at once. A
// mesh.NotFound names the ids that are unknown; then nothing is run.
func (e *Engine) RunNow(ids ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var unknown []string
	for _, id := range ids {
		if e.checks[id] == nil {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return mesh.Errorf(mesh.NotFound, "run checks now: this node has no check %s", strings.Join(unknown, ", ")).
			WithHint("alps check list shows what there is on a node")
	}
	if len(ids) == 0 {
		for id := range e.checks {
			ids = append(ids, id)
		}
	}
	now := time.Now()
	for _, id := range ids {
		c := e.checks[id]
		c.asked = true
		switch {
		case observed(&c.def):
			e.mirror.lookSoon()
		case c.cancel != nil:
			c.again = true
		case !c.running:
			c.due = now
			e.due.put(c)
		}
	}
	e.signal()
	return nil
}

// SetConcurrency changes how many checks run at once. What runs goes on; less
// than 1 counts as 1.
func (e *Engine) SetConcurrency(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.concurrency = max(n, 1)
	e.signal()
}

// States returns the newest result of each check, by id. One that has never
// run is unknown and has no time.
func (e *Engine) States() []mesh.CheckResult {
	all, _ := e.snapshot()
	return all
}

// Resend has a full report sent: to be called at each new link. It waits for
// the first results of checks that nothing is known of, a quarter of a minute
// at most: what is not in a full report is taken to be gone.
func (e *Engine) Resend() { e.outbox.resend() }

// CatalogError says why Consul does not know the present state, nil when it
// does.
func (e *Engine) CatalogError() error { return e.mirror.trouble() }

// snapshot returns the newest result of each check, by id, and whether each of
// them has one.
func (e *Engine) snapshot() (all []mesh.CheckResult, complete bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	complete = e.defined
	all = make([]mesh.CheckResult, 0, len(e.checks))
	for _, c := range e.checks {
		r := mesh.CheckResult{
			Seq: c.seq, Status: mesh.HealthUnknown, Hard: mesh.HealthUnknown, Attempt: 1, Output: "it has not run yet",
		}
		if c.last != nil {
			r = *c.last
		} else {
			complete = false
		}
		c.describe(&r)
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b mesh.CheckResult) int { return cmp.Compare(a.Check, b.Check) })
	return all, complete
}

// describe fills in what the definition says.
func (c *entry) describe(r *mesh.CheckResult) {
	d := &c.def
	r.Check, r.Name, r.Kind, r.Service, r.Notes = d.ID, clip(d.Name), d.Kind, d.Service, clip(d.Notes)
	r.Attempts, r.Period = attempts(d), period(d)
}

// clip cuts a text of a definition to what servers take.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// attempts is how many results make a problem hard. Consul counts for itself
// where it runs a check, and a check that others feed has said its word.
func attempts(d *mesh.CheckDef) int {
	if observed(d) {
		return 1
	}
	return max(1, d.Attempts)
}

// period is how long until the next result reaches the reports at the latest.
func period(d *mesh.CheckDef) time.Duration {
	p := d.Interval + timeoutOf(d)
	if d.Kind == mesh.CheckTTL {
		p = d.TTL
	}
	if observed(d) {
		p = max(p, routine(d)+lookEvery)
	}
	return max(p, ReportEvery)
}

func timeoutOf(d *mesh.CheckDef) time.Duration {
	switch {
	case d.Timeout > 0:
		return d.Timeout
	case d.Kind == mesh.CheckScript:
		return 30 * time.Second // Consul's own.
	}
	return defaultTimeout
}

func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
