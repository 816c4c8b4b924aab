package remedy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/server/remedy/library"
)

const (
	// tickEvery is how soon a pause, a lost lease and a passed deadline are
	// noticed when nobody says anything.
	tickEvery = time.Second
	// rereadEvery is how often the incidents are read again: what OnIncident
	// was never told of waits no longer.
	rereadEvery = 5 * time.Second
	// submitTimeout bounds one attempt to submit: shorter than the rest of a
	// lease, so that no submission of a deposed leader is under way for long.
	submitTimeout = 5 * time.Second
)

// Engine carries out policies. Its methods may be called from any goroutine,
// before and while Run runs.
type Engine struct {
	o    Options
	log  hclog.Logger
	kick chan struct{}

	mu        sync.Mutex
	setup     *setup
	incidents map[mesh.IncidentID]mesh.Incident // those to act on, and those that count for a storm.
	census    map[subject]census

	turning sync.Mutex // held while what follows is used.
	w       *work
	blind   time.Time // since when a server that leads has read nothing yet; zero: it has.
}

// New returns an Engine without policies. It starts nothing.
func New(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Engine{
		o: o, log: o.Logger, kick: make(chan struct{}, 1), setup: &setup{},
		incidents: make(map[mesh.IncidentID]mesh.Incident), census: make(map[subject]census),
	}, nil
}

// SetPolicies replaces the policies, with the scripts that they name and the
// upper bound of their modes. A run that is under way goes on, also when its
// policy is gone. The error is mesh.Invalid, tells all that is wrong, names the
// file of a script that does not exist, and leaves everything as it was.
func (e *Engine) SetPolicies(policies []mesh.Policy, scripts *library.Library, limit mesh.RemedyMode) error {
	s, err := newSetup(policies, scripts, limit)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.setup = s
	clear(e.census)
	e.mu.Unlock()
	e.Kick()
	return nil
}

// CheckPolicies says what SetPolicies would find wrong.
func CheckPolicies(policies []mesh.Policy, scripts *library.Library) error {
	_, err := newSetup(policies, scripts, mesh.RemedyAuto)
	return err
}

// OnIncident takes a change of an incident. It does not block.
func (e *Engine) OnIncident(i mesh.Incident) {
	i.Timeline = nil
	e.mu.Lock()
	if old, ok := e.incidents[i.ID]; !ok || !i.Updated.Before(old.Updated) {
		e.incidents[i.ID] = i
	}
	e.mu.Unlock()
	e.Kick()
}

// Kick has Run look at once: a job or a check may have changed. It does not
// block.
func (e *Engine) Kick() {
	select {
	case e.kick <- struct{}{}:
	default: // it is on its way already.
	}
}

// Run acts until ctx ends; then it returns nil, when nothing is under way any
// more but the jobs on the nodes. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	complained := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
		case <-tick.C:
		}
		err := e.turn(ctx)
		switch {
		case err == nil:
			complained = ""
		case ctx.Err() == nil && err.Error() != complained:
			complained = err.Error() // it is tried again every second, and said once.
			e.log.Warn("remediation waits", "error", err)
		}
	}
}

var errDeposed = errors.New("the lease was lost")

// unread says why nobody can tell what a policy may do now; nil: it can be told.
func (e *Engine) unread() error {
	if e.o.Ready() {
		return nil
	}
	return mesh.Errorf(mesh.Unavailable, "the nodes and their configuration were not read from Consul yet").WithHint("try again in a moment")
}

// quietFor is how long it goes without saying that nothing was read yet: a
// server that begins to lead reads it in a second.
const quietFor = 10 * time.Second

// turn looks at everything once and does what can be done now.
func (e *Engine) turn(ctx context.Context) error {
	e.turning.Lock()
	defer e.turning.Unlock()
	term, leads := e.o.Lease()
	s := e.current()
	e.prune(time.Now().Add(-s.window()))
	if !leads {
		e.w = nil
		return nil
	}
	if err := e.unread(); err != nil {
		if e.blind = cmp.Or(e.blind, time.Now()); time.Since(e.blind) < quietFor {
			err = nil
		}
		return err
	}
	e.blind = time.Time{}
	if e.w == nil || e.w.term != term || e.w.setup != s {
		w, err := e.load(ctx, term, s)
		if err != nil {
			return err
		}
		e.w = w
	}
	err := e.w.turn(ctx)
	if lapsed(err) {
		e.w = nil // whatever another has written is read before the next step.
	}
	return err
}

func (e *Engine) current() *setup {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.setup
}

// prune forgets incidents that are closed and count for no storm any more.
func (e *Engine) prune(before time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, i := range e.incidents {
		if i.Status == mesh.IncidentClosed && i.Opened.Before(before) {
			delete(e.incidents, id)
		}
	}
}

// reread replaces what is known of the incidents. What OnIncident was told
// while the list was made is newer than the list.
func (e *Engine) reread(ctx context.Context, s *setup) error {
	began := time.Now().Truncate(time.Millisecond) // as incidents are stamped.
	list, err := e.o.Incidents.Incidents(ctx, began.Add(-s.window()))
	if err != nil {
		return fmt.Errorf("read the incidents: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := make(map[mesh.IncidentID]mesh.Incident, len(list))
	for _, i := range list {
		i.Timeline = nil
		fresh[i.ID] = i
	}
	for id, old := range e.incidents {
		if i, ok := fresh[id]; ok && old.Updated.After(i.Updated) || !ok && !old.Updated.Before(began) {
			fresh[id] = old
		}
	}
	e.incidents = fresh
	return nil
}

// list returns the incidents in the order in which they are acted on: the
// oldest first.
func (e *Engine) list() []mesh.Incident {
	e.mu.Lock()
	out := make([]mesh.Incident, 0, len(e.incidents))
	for _, i := range e.incidents {
		out = append(out, i)
	}
	e.mu.Unlock()
	slices.SortFunc(out, func(a, b mesh.Incident) int {
		if c := a.Opened.Compare(b.Opened); c != 0 {
			return c
		}
		return compare(a.ID, b.ID)
	})
	return out
}

// concerns reports whether there is an incident that a policy is for.
func (e *Engine) concerns(s *setup) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.incidents {
		if i.Status == mesh.IncidentClosed {
			continue
		}
		for _, p := range s.policies {
			if _, ok := s.about(p, i); ok {
				return true
			}
		}
	}
	return false
}

func (e *Engine) incident(id mesh.IncidentID) (mesh.Incident, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, ok := e.incidents[id]
	return i, ok
}

// bursts counts the incidents that each rule has opened within the windows of
// its policies, and those that it is about to open: of many that fail at once
// one is the first, and must not be acted on before the others are seen.
func (e *Engine) bursts(s *setup, incidents []mesh.Incident, now time.Time) map[string]int {
	out := make(map[string]int, len(s.policies))
	foresight, _ := e.o.Incidents.(Foresight)
	for _, p := range s.policies {
		for i := range incidents {
			if concerns(&incidents[i], p.Rule) && now.Sub(incidents[i].Opened) < p.StormWindow {
				out[p.Name]++
			}
		}
		if foresight != nil {
			out[p.Name] += foresight.Pending(p.Rule, now.Add(-p.StormWindow))
		}
	}
	return out
}
