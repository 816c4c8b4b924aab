package zone

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/zone"
)

// The holds when nobody says otherwise.
const (
	DefaultNodeHold      = 30 * time.Second
	DefaultAgentLostHold = 10 * time.Minute
)

const (
	// buildEvery is the least time between two builds: the first change is out
	// at once, a burst goes together.
	buildEvery = 50 * time.Millisecond
	// answersAtOnce is how many agents are answered before a change gets its
	// turn.
	answersAtOnce = 16
	// tickEvery is how often holds are looked at.
	tickEvery = time.Second
	// awayAfter is how long Consul may be quiet before its silence is not
	// counted against a node or a check.
	awayAfter = 10 * time.Second
)

// Inventory lists the nodes; package cmdb has it. What it returns is shared
// and is not changed.
type Inventory interface {
	Ready() bool
	Nodes() []mesh.Node
}

// Checks knows what is believed of the checks of a node; package check does.
type Checks interface {
	Node(dc string, name mesh.NodeName) []mesh.CheckState
}

// Options are what a Builder is made of. Inventory, Checks, Post and Broadcast
// are required.
type Options struct {
	Inventory Inventory
	Checks    Checks
	// Post sends a payload of frame.Zone to one agent, Broadcast to all that
	// have a link. Both are called from the goroutine of Run; when they return,
	// what they were given goes before what they are given next. An agent that
	// misses something asks again.
	Post      func(to mesh.NodeID, payload []byte) error
	Broadcast func(payload []byte) error
	// ConsulAge is for how long the Consul of a datacenter has not answered, 0
	// while it does; nil: it always does.
	ConsulAge func(dc string) time.Duration
	// NodeHold and AgentLostHold are as the package's documentation says; zero
	// means the default.
	NodeHold      time.Duration
	AgentLostHold time.Duration
	// Exclude names services that are left out; nil: mesh.AgentService, which
	// is on every node, so that nobody has to look for it, and would be the
	// largest answer of all.
	Exclude []string
	Logger  hclog.Logger // nil is silent.
}

// Builder keeps the zone. Its methods may be called from any goroutine, before
// and while Run runs, and never block.
type Builder struct {
	o       Options
	log     hclog.Logger
	exclude map[string]bool
	cur     atomic.Pointer[zone.Zone] // nil before there is one.
	status  atomic.Pointer[Status]
	wake    chan struct{}

	mu      sync.Mutex
	listed  bool               // the inventory has changed.
	touched map[place]struct{} // nodes whose checks have changed.
	asks    []ask              // in the order of arrival.
	asked   map[mesh.NodeID]int

	// The rest is Run's alone.
	serial   uint64
	round    uint64
	hosts    map[place]*host
	entries  map[string]*entry // by zone.NodeKey or zone.ServiceKey.
	held     map[*host]bool
	losses   []loss
	counts   counts
	answered answer
	told     bool // the log has it that the guard holds something.
}

// place is a name in a datacenter.
type place struct {
	dc   string
	name mesh.NodeName
}

// New returns a Builder without a zone. It starts nothing.
func New(o Options) (*Builder, error) {
	if o.Inventory == nil || o.Checks == nil || o.Post == nil || o.Broadcast == nil {
		return nil, errors.New("new zone builder: Inventory, Checks, Post and Broadcast are all needed")
	}
	if o.NodeHold < 0 || o.AgentLostHold < 0 {
		return nil, errors.New("new zone builder: a hold is negative")
	}
	if o.NodeHold == 0 {
		o.NodeHold = DefaultNodeHold
	}
	if o.AgentLostHold == 0 {
		o.AgentLostHold = DefaultAgentLostHold
	}
	if o.ConsulAge == nil {
		o.ConsulAge = func(string) time.Duration { return 0 }
	}
	if o.Exclude == nil {
		o.Exclude = []string{mesh.AgentService}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	b := &Builder{
		o: o, log: o.Logger, exclude: make(map[string]bool), wake: make(chan struct{}, 1),
		touched: make(map[place]struct{}), asked: make(map[mesh.NodeID]int),
		hosts: make(map[place]*host), entries: make(map[string]*entry), held: make(map[*host]bool),
	}
	for _, name := range o.Exclude {
		b.exclude[name] = true
	}
	b.status.Store(&Status{})
	return b, nil
}

// Zone returns the newest zone, nil before there is one.
func (b *Builder) Zone() *zone.Zone { return b.cur.Load() }

// Changed says that the inventory has changed.
func (b *Builder) Changed() {
	b.mu.Lock()
	b.listed = true
	b.mu.Unlock()
	b.signal()
}

// CheckChanged says that a check of a node has changed, has come or is gone.
func (b *Builder) CheckChanged(dc string, node mesh.NodeName) {
	b.mu.Lock()
	b.touched[place{dc, node}] = struct{}{}
	b.mu.Unlock()
	b.signal()
}

// Have takes what an agent says that it holds, the payload of frame.Have; it
// is answered by Run with what it lacks, when there is a zone. Only the last
// of one agent counts. The error is mesh.Invalid. It may be called twice.
func (b *Builder) Have(from mesh.NodeID, payload []byte) error {
	have, err := zone.DecodeHave(payload)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if at, ok := b.asked[from]; ok {
		b.asks[at].have = have
	} else {
		b.asked[from] = len(b.asks)
		b.asks = append(b.asks, ask{from, have})
	}
	b.mu.Unlock()
	b.signal()
	return nil
}

func (b *Builder) signal() {
	select {
	case b.wake <- struct{}{}:
	default: // it is on its way already.
	}
}

// Run builds and serves the zone until ctx ends; then it returns nil. It may
// be called once.
func (b *Builder) Run(ctx context.Context) error {
	b.Changed()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	// pause runs while the next build has to wait.
	pause := time.NewTimer(0)
	defer pause.Stop()
	waiting, pending := true, false
	for {
		more := b.Zone() != nil && b.unanswered()
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
			pending = true
		case <-tick.C:
			pending = true
		case <-pause.C:
			waiting = false
		case <-done(more):
		}
		// An agent that has just asked is answered before it gets a change of
		// what it does not hold yet.
		b.answer(answersAtOnce)
		if pending && !waiting {
			b.build(time.Now())
			pending, waiting = false, true
			pause.Reset(buildEvery)
		}
	}
}

// done returns a channel that is ready when yes is true, and never otherwise.
func done(yes bool) <-chan struct{} {
	if !yes {
		return nil
	}
	c := make(chan struct{})
	close(c)
	return c
}

// build brings the zone up to date and sends what has changed.
func (b *Builder) build(now time.Time) {
	b.mu.Lock()
	listed, touched := b.listed, b.touched
	b.listed, b.touched = false, make(map[place]struct{})
	b.mu.Unlock()
	if b.Zone() == nil && !b.o.Inventory.Ready() {
		return
	}
	changed := b.look(listed || b.Zone() == nil, touched, now)
	dirty := b.settle(changed, now)
	u := b.encode(dirty)
	old := b.Zone()
	if old != nil && !u.Changes() {
		b.report(now)
		return
	}
	b.serial = max(b.serial+1, uint64(now.UnixMilli()))
	u.Serial, u.Built = b.serial, now
	if old == nil {
		b.cur.Store(new(zone.Zone).Apply(u))
		b.report(now)
		b.log.Info("the zone is built", "nodes", b.counts.nodes, "instances", b.counts.instances)
		return
	}
	b.publish(old, old.Apply(u), now)
}

// publish puts next in the place of old and tells every agent.
func (b *Builder) publish(old, next *zone.Zone, now time.Time) {
	delta := zone.Between(old, next)
	if !delta.Changes() {
		b.report(now)
		return
	}
	b.cur.Store(next)
	b.report(now)
	for _, payload := range zone.Split(delta) {
		if err := b.o.Broadcast(payload); err != nil {
			// Agents compare sums and ask for what they have missed.
			b.log.Error("a change of the zone cannot be sent", "serial", b.serial, "error", err)
			return
		}
	}
}
