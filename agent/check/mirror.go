package check

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	// callTime bounds one request to the local Consul agent. It stays well
	// below the TTL of the agent's own check.
	callTime = 5 * time.Second
	// beatEvery is how often the agent says in Consul that it lives: three
	// times within mesh.AgentCheckTTL.
	beatEvery = mesh.AgentCheckTTL / 3
	// minTTL keeps a check that runs often from expiring when the machine is
	// busy for a while.
	minTTL = time.Minute
	// firstPause and longestPause bound the pause after a failure.
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// aliveText is what the agent's own check says. It is constant: every new text
// would be an entry in Raft, once per node.
const aliveText = "the ALPS agent runs"

// mirror keeps Consul's picture of the node's checks true. run's goroutine is
// the only one that speaks to Consul; the others leave behind what is to be
// said.
type mirror struct {
	catalog Catalog
	local   Local
	log     hclog.Logger
	claims  *claims
	observe func(map[string]LocalCheck)
	wake    chan struct{}

	mu      sync.Mutex
	defined []*unit // what SetDefinitions wants; nil when run has taken it.
	known   bool    // there have been definitions; before that nothing is deregistered.
	says    map[string]*saying
	lookNow bool
	problem error // what trouble returns.

	// What follows belongs to run's goroutine.
	units   map[string]*unit
	orphans map[string]*unit // registered by us, wanted no more.
	beat    time.Time        // when the agent's own check is written next.
	look    time.Time        // when Consul is looked at next.
	away    bool
	retry   time.Time // while away: when Consul is tried next.
	pause   time.Duration
}

// saying is what a TTL check is to say in Consul.
type saying struct {
	ttl, interval time.Duration
	before        mesh.Health // what it said in the run of the agent before, or empty.
	status        mesh.Health // in our words; empty before the first result.
	output        string
	fresh         bool // there was a result since it was told.
	told          mesh.Health
	toldAt        time.Time // zero: it must be told, whatever was told before.
}

// due reports whether it is to be written: a new status at once, the same one
// after a third of the TTL. Half an interval is taken off so that the result
// that comes closest counts, and not the one after it.
func (s *saying) due(now time.Time) bool {
	switch {
	case s.status == "":
		return false
	case s.toldAt.IsZero() || s.told != s.status:
		return true
	}
	return s.fresh && now.Sub(s.toldAt) >= s.ttl/3-s.interval/2
}

// newMirror reads which registrations are ours.
func newMirror(o *Options, observe func(map[string]LocalCheck)) (*mirror, error) {
	c, err := loadClaims(o.Dir)
	if err != nil {
		return nil, err
	}
	return &mirror{
		catalog: o.Catalog, local: o.Local, log: o.Logger, claims: c, observe: observe,
		wake: make(chan struct{}, 1), says: map[string]*saying{}, units: map[string]*unit{}, orphans: map[string]*unit{},
		defined: unitsOf(nil, nil),
	}, nil
}

// define says what is to be registered, and what a check without a result said
// last. It never blocks.
func (m *mirror) define(services []mesh.ServiceDef, checks []mesh.CheckDef, known func(id string) mesh.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.defined, m.known = unitsOf(services, checks), true
	says := map[string]*saying{}
	for i := range checks {
		d := &checks[i]
		if observed(d) {
			continue
		}
		s := m.says[d.ID]
		if s == nil {
			s = &saying{before: known(d.ID)}
		}
		s.ttl, s.interval = ttl(d), d.Interval
		says[d.ID] = s
	}
	m.says = says
	m.signal()
}

// ttl is how long Consul believes a result.
func ttl(d *mesh.CheckDef) time.Duration {
	return max(3*d.Interval+timeoutOf(d), minTTL)
}

// tell leaves a result behind for Consul. It never blocks.
func (m *mirror) tell(r *mesh.CheckResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.says[r.Check]
	if s == nil {
		return
	}
	s.status, s.output, s.fresh = r.Status, r.Output, true
	if s.due(time.Now()) {
		m.signal()
	}
}

// lookSoon has Consul looked at now.
func (m *mirror) lookSoon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookNow = true
	m.signal()
}

func (m *mirror) trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.problem
}

func (m *mirror) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run keeps Consul up to date until ctx ends.
func (m *mirror) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		m.round(ctx)
		timer.Reset(time.Until(m.next(time.Now())))
	}
}

// round does what is to be done now. While Consul is away that is nothing
// until the next try.
func (m *mirror) round(ctx context.Context) {
	m.takeDefinitions()
	if m.away && time.Now().Before(m.retry) {
		return
	}
	for _, do := range []func(context.Context) error{m.findAgain, m.tellAll, m.deregister, m.register, m.tellAll, m.beatNow, m.lookAt} {
		if err := do(ctx); err != nil {
			if ctx.Err() == nil {
				m.lost(err)
			}
			return
		}
	}
	m.found()
	m.setProblem(m.firstFault())
}

// next is when round has something to do again.
func (m *mirror) next(now time.Time) time.Time {
	if m.away {
		return m.retry
	}
	next := now.Add(beatEvery)
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if m.units[agentUnit].registered {
		earlier(m.beat)
	}
	if m.watches() {
		earlier(m.look)
	}
	for _, u := range m.units {
		if !u.registered && !u.held {
			earlier(u.retry)
		}
	}
	for _, u := range m.orphans {
		earlier(u.retry)
	}
	if next.Before(now) {
		return now.Add(time.Millisecond) // whatever it is, it must not spin.
	}
	return next
}

// call gives one request its time.
func (m *mirror) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return do(ctx)
}

// isAway reports whether an error says that Consul is not there, as opposed to
// that it does not want something; or that we are to end.
func isAway(ctx context.Context, err error) bool {
	return ctx.Err() != nil || mesh.CodeOf(err) == mesh.Unavailable || errors.Is(err, context.DeadlineExceeded)
}

// findAgain asks a Consul that was away whether it is there: the rest may have
// nothing to ask.
func (m *mirror) findAgain(ctx context.Context) error {
	if !m.away {
		return nil
	}
	if err := m.vouch(ctx, m.units[agentUnit]); isAway(ctx, err) {
		return err
	}
	return nil // another error is the beat's to handle.
}

// refused notes that something was not done for a unit. It returns the error
// when Consul is away, as opposed to that it has a fault with this unit alone:
// then the others must not wait for it.
func (m *mirror) refused(ctx context.Context, u *unit, err error) error {
	own := m.units[agentUnit]
	if isAway(ctx, err) && (u == own || m.vouch(ctx, own) != nil) {
		return err
	}
	u.failed(m.log, err)
	return nil
}

// vouch asks Consul for something that is known to work: the agent's own check.
func (m *mirror) vouch(ctx context.Context, own *unit) error {
	return m.call(ctx, func(ctx context.Context) error {
		if !own.registered {
			return m.catalog.Register(ctx, own.service, own.checks)
		}
		return m.catalog.Update(ctx, mesh.AgentCheck, mesh.HealthPassing, aliveText)
	})
}

// lost notes that Consul is away: once in the log, until it is back.
func (m *mirror) lost(err error) {
	if !m.away {
		m.log.Error("Consul is away; checks go on and it is told when it is back", "error", err)
	}
	m.away = true
	m.pause = min(max(2*m.pause, firstPause), longestPause)
	m.retry = time.Now().Add(jitter(m.pause))
	m.setProblem(err)
}

// found notes that Consul answers. What it was told before it was away may be
// what it has forgotten.
func (m *mirror) found() {
	m.pause = 0
	if !m.away {
		return
	}
	m.away = false
	m.log.Info("Consul is back")
	m.repeatAll()
}

// repeatAll has every check told again.
func (m *mirror) repeatAll() {
	m.mu.Lock()
	for _, s := range m.says {
		s.toldAt = time.Time{}
	}
	m.mu.Unlock()
	m.beat = time.Time{}
	m.signal()
}

func (m *mirror) setProblem(err error) {
	m.mu.Lock()
	m.problem = err
	m.mu.Unlock()
}

// beatNow says that the agent lives.
func (m *mirror) beatNow(ctx context.Context) error {
	now := time.Now()
	if now.Before(m.beat) || !m.units[agentUnit].registered {
		return nil
	}
	own := m.units[agentUnit]
	err := m.vouch(ctx, own)
	m.beat = now.Add(beatEvery)
	switch {
	case err == nil:
		return nil
	case mesh.CodeOf(err) == mesh.NotFound:
		m.forgotten(own, err)
		return nil
	}
	return m.refused(ctx, own, err)
}

// tellAll writes what is due. A check that is not registered waits for it.
func (m *mirror) tellAll(ctx context.Context) error {
	for _, u := range m.units {
		if !u.registered {
			continue
		}
		for i := range u.checks {
			if err := m.tellOne(ctx, u, &u.checks[i]); err != nil {
				return err
			}
			if !u.registered {
				break // it has just turned out to be forgotten.
			}
		}
	}
	return nil
}

func (m *mirror) tellOne(ctx context.Context, u *unit, c *CatalogCheck) error {
	id := c.Def.ID
	m.mu.Lock()
	s := m.says[id]
	if s == nil || !s.due(time.Now()) || time.Now().Before(u.retry) {
		m.mu.Unlock()
		return nil
	}
	status, output := s.status, s.output
	s.fresh = false
	m.mu.Unlock()

	inConsul, text := consulsWords(status, output)
	err := m.call(ctx, func(ctx context.Context) error { return m.catalog.Update(ctx, id, inConsul, text) })

	m.mu.Lock()
	if err == nil {
		s.told, s.toldAt = status, time.Now()
	} else {
		s.toldAt = time.Time{}
	}
	m.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case mesh.CodeOf(err) == mesh.NotFound:
		m.forgotten(u, err)
		return nil
	}
	return m.refused(ctx, u, err)
}

// consulsWords says a status as Consul can hold it.
func consulsWords(h mesh.Health, output string) (mesh.Health, string) {
	if h != mesh.HealthUnknown {
		return h, output
	}
	output, _ = tidy(mesh.UnknownOutput + output)
	return mesh.HealthWarning, output
}
