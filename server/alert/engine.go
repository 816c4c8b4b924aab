package alert

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	// reconcileEvery is how often all checks are read again.
	reconcileEvery = 30 * time.Second
	// pollEvery is how often an idle engine looks whether it leads.
	pollEvery = time.Second
	// settle is how long after Consul's return its catalog is not believed:
	// TTLs have expired meanwhile, and agents need a moment to say otherwise.
	settle = 10 * time.Second
	// batchSize bounds the incidents of one transaction: the first of a storm
	// are told while the rest is still written.
	batchSize = 500
	// DefaultReopen is how soon a problem must come back to be the same one.
	DefaultReopen = 10 * time.Minute
	// DefaultRepeat is how often an open incident is told of again until
	// somebody acknowledges it: twice in a working day.
	DefaultRepeat = 4 * time.Hour
)

// Checks is how all checks are. Its methods are called from any goroutine, and
// must not wait for one that is in Observe.
type Checks interface {
	// Each calls fn for every check until it returns false. fn does not call
	// back.
	Each(fn func(mesh.CheckState) bool)
	// Get returns false for a check of which nothing is known.
	Get(dc string, node mesh.NodeName, check string) (mesh.CheckState, bool)
}

// Options configure an Engine.
type Options struct {
	Store  Store  // required.
	Checks Checks // required.
	// Node finds a node for the target of a rule. Required.
	Node func(dc string, name mesh.NodeName) (mesh.Node, bool)
	// Lease returns the term in which this server leads, and whether it may
	// act in it now. Required; called often, from any goroutine.
	Lease func() (term uint64, ok bool)
	// DC is the server's own datacenter, where an incident of the site is.
	DC string
	// Reopen is how soon after its closing a problem that comes back opens
	// the same incident again. Zero means DefaultReopen, less than zero never.
	Reopen time.Duration
	// Repeat is how often an open incident is told of again until it is
	// acknowledged. Zero means DefaultRepeat, less than zero never.
	Repeat time.Duration
	// OnIncident is told of every change after it was stored, in order, of a
	// copy without timeline. It must not block nor call the Engine. May be nil.
	OnIncident func(mesh.Incident)
	// OnOutbox is told that there is something to deliver. It must not block.
	// May be nil.
	OnOutbox func()
	Logger   hclog.Logger // nil means silence.
}

func (o *Options) validate() error {
	if o.Store == nil || o.Checks == nil || o.Node == nil || o.Lease == nil {
		return errors.New("make the alert engine: store, checks, node and lease are required")
	}
	if o.Reopen == 0 {
		o.Reopen = DefaultReopen
	}
	if o.Repeat == 0 {
		o.Repeat = DefaultRepeat
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.OnIncident == nil {
		o.OnIncident = func(mesh.Incident) {}
	}
	if o.OnOutbox == nil {
		o.OnOutbox = func() {}
	}
	return nil
}

// Engine turns checks into incidents. Its methods may be called from any
// goroutine, also before Run.
type Engine struct {
	o     Options
	log   hclog.Logger
	rules atomic.Pointer[ruleSet]
	inbox *inbox

	// mu is the turn: whoever decides and writes holds it.
	mu      sync.Mutex
	term    uint64 // of what is in memory; 0: this server has not led yet.
	loaded  bool   // records is what the store has.
	lapsed  bool   // the lease was not held at the last look.
	frozen  bool   // Consul's catalog was not believed at the last look.
	failing bool   // the store fails, and that was said.
	records map[key]*Record
	byID    map[mesh.IncidentID]key
	wakes   wakes
	absent  map[key]bool // the check was missing at the last full read.
	full    time.Time    // when all checks are read again.
}

// New returns an Engine with the built-in rules, which tell nobody until
// SetRules was called. It starts nothing.
func New(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{o: o, log: o.Logger, inbox: newInbox()}
	set, err := compile(nil, nil)
	if err != nil {
		return nil, err
	}
	e.rules.Store(set)
	e.forget()
	return e, nil
}

// forget empties the memory: the store is the truth.
func (e *Engine) forget() {
	e.records, e.byID = make(map[key]*Record), make(map[mesh.IncidentID]key)
	e.wakes, e.absent = wakes{}, make(map[key]bool)
	e.loaded = false
}

// SetRules puts rules in force, and receivers, which they may name. An
// incident whose rule is gone is closed and says so; one whose rule has
// changed goes on. On an error, mesh.Invalid with everything that is wrong,
// the rules before stay.
func (e *Engine) SetRules(rules []mesh.Rule, receivers []string) error {
	set, err := compile(rules, receivers)
	if err != nil {
		return err
	}
	e.rules.Store(set)
	e.inbox.all()
	return nil
}

// Rules returns the rules in force: the built-in ones that were not replaced,
// then the configured ones in their order.
func (e *Engine) Rules() []mesh.Rule {
	set := e.rules.Load()
	out := make([]mesh.Rule, len(set.list))
	for i, r := range set.list {
		out[i] = r.Rule
	}
	return out
}

// Problems says in words what may be wrong with the rules: those for a check
// that nobody has.
func (e *Engine) Problems() []string {
	set := e.rules.Load()
	asked := make(map[string]bool)
	e.o.Checks.Each(func(s mesh.CheckState) bool {
		set.about(&s.Result, func(r *rule) { asked[r.Name] = true })
		return true
	})
	var out []string
	for _, r := range set.list {
		if !asked[r.Name] && !ofNode(r.Check) && r.Check != "*" && r.Name != RuleConsulUnavailable {
			out = append(out, "rule "+r.Name+": no node has a check "+r.Check)
		}
	}
	return out
}

// Observe tells how a check has become. It is cheap and does not block; what
// it leads to has its time in Run.
func (e *Engine) Observe(s mesh.CheckState) { e.inbox.put(note{state: s}) }

// Gone tells that a check is no longer defined: its incidents are closed and
// say so. It does not block.
func (e *Engine) Gone(dc string, node mesh.NodeName, check string) {
	e.inbox.put(note{gone: true, state: mesh.CheckState{DC: dc, Node: node, Result: mesh.CheckResult{Check: check}}})
}

// ConsulAway tells that Consul has not answered since a time. It may be called
// again, and does not block.
func (e *Engine) ConsulAway(since time.Time) { e.inbox.consul(since, time.Time{}) }

// Back tells that Consul answers. It may be called again, and does not block.
func (e *Engine) Back() { e.inbox.consul(time.Time{}, time.Now()) }

// Incident finds an incident by its id or the unique beginning of it, with its
// timeline.
func (e *Engine) Incident(ctx context.Context, id string) (mesh.Incident, error) {
	return e.o.Store.Incident(ctx, id)
}

// Incidents lists incidents without their timelines: open ones first, then the
// newest.
func (e *Engine) Incidents(ctx context.Context, f Filter) ([]mesh.Incident, error) {
	return e.o.Store.Incidents(ctx, f)
}

// Recent returns every incident that is not closed, and every one that was
// opened at since or later, without timelines and the oldest first. It costs
// no more than those, however long the history is.
func (e *Engine) Recent(ctx context.Context, since time.Time) ([]mesh.Incident, error) {
	list, err := e.o.Store.OpenIncidents(ctx, since)
	var out []mesh.Incident
	for i := range list {
		if list[i].open() || !list[i].Opened.Before(since) {
			out = append(out, list[i].Incident)
		}
	}
	return out, err
}

// Run decides until ctx ends. It returns nil then, and may be called once.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.inbox.kick:
		case <-timer.C:
		}
		timer.Reset(e.turn(ctx))
	}
}
