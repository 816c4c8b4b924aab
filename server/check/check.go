package check

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// DefaultAgentLost is how long nobody has to vouch for an agent before it is
// lost: a restart of the agent, or of a server, is over by then.
const DefaultAgentLost = 30 * time.Second

// tickEvery is how often what only time can change is looked at.
const tickEvery = time.Second

// Inventory lists the nodes; package cmdb has it. What it returns is shared
// and is not changed; it is empty before the inventory is loaded.
type Inventory interface {
	Nodes() []mesh.Node
}

// Options are what a Store is made of. Inventory is required.
type Options struct {
	Inventory Inventory
	// ConsulAge is for how long the Consul of a datacenter has not answered, 0
	// while it does; nil: it always does. It is asked about once a second and
	// must not call the Store.
	ConsulAge func(dc string) time.Duration
	// AgentLost is how long nobody vouches for an agent before it is lost;
	// zero: DefaultAgentLost.
	AgentLost time.Duration
	// OnChange is called for every change that a rule or the zone must see:
	// Status, AgentLost, Source, NodeID, and of the result Status, Service and
	// Flapping; also for a check that is new. OnGone is called for one that is
	// no longer defined. Both are called in order, never two at a time, inside
	// Commit or from Run. They must not block: every agent's reports wait. They
	// may read the Store; they must not call Commit. nil is not called.
	OnChange func(mesh.CheckState)
	OnGone   func(dc string, node mesh.NodeName, check string)
	Logger   hclog.Logger // nil is silent.
}

// Store keeps the states. Its methods may be called from any goroutine, before
// and while Run runs.
type Store struct {
	o     Options
	log   hclog.Logger
	dirty chan struct{}

	// turn is held by whoever changes states, over the callbacks too, so that
	// these come in order. mu guards the fields and is never held during a
	// callback. turn is taken before mu.
	turn sync.Mutex
	mu   sync.RWMutex
	// nodes are those that the inventory lists, and those that it has listed
	// until a moment ago; order are the same, sorted, nil when to be sorted.
	nodes  map[place]*node
	order  []*node
	byID   map[mesh.NodeID]*node
	agents map[mesh.NodeID]*agent
	round  uint64               // of the inventory; see node.round.
	thaw   map[string]time.Time // until when the catalog of a datacenter is not believed.
	ready  bool
}

// New returns a Store without states. It starts nothing.
func New(o Options) (*Store, error) {
	if o.Inventory == nil {
		return nil, errors.New("new check store: there is no inventory")
	}
	if o.AgentLost < 0 {
		return nil, errors.New("new check store: AgentLost is negative")
	}
	if o.AgentLost == 0 {
		o.AgentLost = DefaultAgentLost
	}
	if o.ConsulAge == nil {
		o.ConsulAge = func(string) time.Duration { return 0 }
	}
	if o.OnChange == nil {
		o.OnChange = func(mesh.CheckState) {}
	}
	if o.OnGone == nil {
		o.OnGone = func(string, mesh.NodeName, string) {}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &Store{
		o: o, log: o.Logger, dirty: make(chan struct{}, 1),
		nodes: make(map[place]*node), byID: make(map[mesh.NodeID]*node), agents: make(map[mesh.NodeID]*agent), thaw: make(map[string]time.Time),
	}, nil
}

// Changed says that the inventory has changed. It never blocks; Run looks at
// what is different.
func (s *Store) Changed() {
	select {
	case s.dirty <- struct{}{}:
	default: // it is on its way already.
	}
}

// Run follows the inventory and the clock until ctx ends; then it returns nil.
// It may be called once.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	s.Changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty:
			s.follow(time.Now())
		case <-tick.C:
			s.pass(time.Now())
		}
	}
}

// Commit takes what an agent says of its checks, in the order in which it said
// it; boot names the run of the agent's process. The callbacks have returned
// when it does. It may be called twice with the same reports. A report that is
// over the limits, or makes no sense, is mesh.Invalid; then none is taken.
func (s *Store) Commit(_ context.Context, from mesh.NodeID, boot string, reports []mesh.CheckReport) error {
	for i := range reports {
		if err := validate(&reports[i]); err != nil {
			return err
		}
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	now := time.Now()
	s.mu.Lock()
	a := s.agents[from]
	if a == nil {
		a = &agent{checks: make(map[string]*heard)}
		s.agents[from] = a
	}
	if err := a.room(reports); err != nil {
		s.mu.Unlock()
		return err
	}
	if n := s.byID[from]; n != nil && a.node == nil {
		n.said, a.node = a, n
	}
	var out news
	for i := range reports {
		// Each for itself: a change and the change back are two changes.
		s.take(a, boot, &reports[i], now, &out)
	}
	s.mu.Unlock()
	s.tell(out)
	return nil
}

// take lets one report in and judges what it is about.
func (s *Store) take(a *agent, boot string, r *mesh.CheckReport, now time.Time, out *news) {
	first := !a.full
	touched, taken := a.take(boot, r, now)
	n := a.node
	if !taken || n == nil {
		return // it is judged when the inventory says where it is.
	}
	for _, id := range r.Gone {
		n.bury(id, now)
	}
	if n.assess(now, s.o.AgentLost, s.frozen(n.dc, now)) || first && a.full {
		s.judgeNode(n, now, out)
		return
	}
	for _, id := range append(touched, r.Gone...) {
		s.judge(n, id, now, out)
	}
}

// follow takes over what is different in the inventory.
func (s *Store) follow(now time.Time) {
	all := s.o.Inventory.Nodes()
	if len(all) == 0 && !s.Ready() {
		return
	}
	s.locked(func(*news) {
		s.freeze(now)
		s.round++
	})
	for from := 0; from < len(all); from += chunk {
		part := all[from:min(from+chunk, len(all))]
		s.locked(func(out *news) {
			for i := range part {
				if n := s.place(&part[i], now); n != nil {
					s.judgeNode(n, now, out)
				}
			}
		})
	}
	s.locked(func(*news) {
		for _, n := range s.nodes {
			if n.round != s.round && n.known {
				n.known, n.due = false, now
			}
		}
		s.forgetAgents(now)
		s.ready = true
	})
	s.pass(now)
}

// chunk is how many nodes are looked at before reports get their turn: a
// change of the whole inventory must not delay an alert.
const chunk = 256

// pass judges the nodes that are due.
func (s *Store) pass(now time.Time) {
	var due []*node
	s.locked(func(*news) {
		s.freeze(now)
		for _, n := range s.nodes {
			if !n.due.IsZero() && !n.due.After(now) {
				due = append(due, n)
			}
		}
	})
	for from := 0; from < len(due); from += chunk {
		part := due[from:min(from+chunk, len(due))]
		s.locked(func(out *news) {
			for _, n := range part {
				s.judgeNode(n, now, out)
			}
		})
	}
}

// locked runs fn under both locks and then tells what has come of it.
func (s *Store) locked(fn func(out *news)) {
	s.turn.Lock()
	defer s.turn.Unlock()
	var out news
	s.mu.Lock()
	fn(&out)
	s.mu.Unlock()
	s.tell(out)
}

// news is what the callbacks are to be told, in order.
type news []tidings

// tidings are about one check: its new state or, when gone, its end.
type tidings struct {
	state mesh.CheckState
	gone  bool
}

func (s *Store) tell(l news) {
	for i := range l {
		t := &l[i]
		if t.gone {
			s.o.OnGone(t.state.DC, t.state.Node, t.state.Result.Check)
			continue
		}
		s.o.OnChange(t.state)
	}
}

const (
	// awayAfter is how long Consul may be quiet before the catalog is not
	// believed: elections are over by then.
	awayAfter = 10 * time.Second
	// thawAfter is how long the catalog has to be read again before it is
	// believed: its lists come one after the other.
	thawAfter = 5 * time.Second
)

// freeze notes which catalogs cannot be believed.
func (s *Store) freeze(now time.Time) {
	for dc := range s.thaw {
		if s.o.ConsulAge(dc) > awayAfter {
			s.thaw[dc] = now.Add(thawAfter)
		}
	}
}

// frozen reports whether a datacenter's catalog is not to be believed.
func (s *Store) frozen(dc string, now time.Time) bool { return now.Before(s.thaw[dc]) }
