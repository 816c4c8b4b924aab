package cmdb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/query"
)

// How often things are looked at.
const (
	// buildEvery is the least time between two snapshots: a person cannot tell
	// it from at once, and a burst of changes costs four builds a second.
	buildEvery = 250 * time.Millisecond
	// rosterEvery is how often enrolments made by another server are noticed;
	// this server's own are told by RosterChanged.
	rosterEvery = 30 * time.Second
	// datacentersEvery is how soon a datacenter that has been joined is fed.
	datacentersEvery = time.Minute
	// retryEvery lies between two attempts at what has failed.
	retryEvery = 5 * time.Second
	// rememberWritten is how long a record that was written is believed before
	// KV has shown it.
	rememberWritten = 5 * time.Minute
)

// Options are what a CMDB is made of. All but OnSnapshot and Logger are
// required.
type Options struct {
	Datacenter string // the server's own.
	Source     Source
	Links      Links
	Roster     Roster
	Writer     Writer
	History    History
	// OnSnapshot, if not nil, is called with every new snapshot, from one
	// goroutine and in order. The next one waits for it.
	OnSnapshot func(*Snapshot)
	Logger     hclog.Logger // nil is silent.
}

// CMDB keeps the inventory. Its methods may be called from any goroutine,
// before and while Run runs.
type CMDB struct {
	o    Options
	log  hclog.Logger
	snap atomic.Pointer[Snapshot]

	ready   chan struct{} // closed with the first snapshot.
	dirty   chan struct{} // a build is due.
	reread  chan struct{} // the roster is to be read.
	arrived chan struct{} // something is pending.

	mu       sync.Mutex
	sites    map[string]*site
	listed   bool // the datacenters were listed once.
	roster   []Enrolment
	enrolled map[mesh.NodeID]bool             // the roster's ids; nil before it was read.
	pending  map[mesh.NodeID]mesh.Observation // received and not yet in KV.
	written  map[mesh.NodeID]written
}

// written is a record that was just written to KV.
type written struct {
	*record
	at time.Time
}

// New returns a CMDB that knows nothing yet.
func New(o Options) (*CMDB, error) {
	switch {
	case o.Datacenter == "":
		return nil, errors.New("cmdb: the server's datacenter is not named")
	case o.Source == nil, o.Links == nil, o.Roster == nil, o.Writer == nil, o.History == nil:
		return nil, errors.New("cmdb: a dependency is missing")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	c := &CMDB{
		o: o, log: o.Logger,
		ready: make(chan struct{}), dirty: make(chan struct{}, 1), reread: make(chan struct{}, 1), arrived: make(chan struct{}, 1),
		sites:   map[string]*site{o.Datacenter: newSite(o.Datacenter, time.Now())},
		pending: make(map[mesh.NodeID]mesh.Observation), written: make(map[mesh.NodeID]written),
	}
	c.snap.Store(&Snapshot{own: o.Datacenter})
	return c, nil
}

// Snapshot returns the newest inventory, an empty one before Ready.
func (c *CMDB) Snapshot() *Snapshot { return c.snap.Load() }

// Ready reports whether there is an inventory: the server's own datacenter and
// the roster were read in full, and so was every other datacenter that
// answered.
func (c *CMDB) Ready() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// Age is for how long Consul, in the server's own datacenter, has not
// answered: how old the inventory may be. It is 0 while Consul answers.
func (c *CMDB) Age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sites[c.o.Datacenter]
	if s.contact == nil {
		return 0
	}
	return time.Since(s.awayFrom)
}

// Node finds a node as Snapshot.Node does.
func (c *CMDB) Node(ref string) (mesh.Node, bool) { return c.Snapshot().Node(ref) }

// Resolve returns the nodes that an expression is about now, none if it
// matches none. It returns mesh.Unavailable before Ready, and mesh.Invalid for
// an expression with a field that no node has: "rol!=canary" would otherwise
// be everybody.
func (c *CMDB) Resolve(expr *query.Expr) ([]mesh.Node, error) {
	if err := c.check(expr); err != nil {
		return nil, err
	}
	return c.Snapshot().Match(expr), nil
}

// List returns a page of what Resolve would, with the same errors.
func (c *CMDB) List(expr *query.Expr, p Page) (List, error) {
	if err := c.check(expr); err != nil {
		return List{}, err
	}
	return c.Snapshot().List(expr, p), nil
}

func (c *CMDB) check(expr *query.Expr) error {
	if !c.Ready() {
		return c.loading()
	}
	known := mesh.FieldNames()
	for _, f := range expr.FieldNames() {
		if !slices.Contains(known, f) && !strings.HasPrefix(f, "meta.") {
			return mesh.Errorf(mesh.Invalid, "no node has a field %q", f).WithHint("fields are %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// loading says what the inventory is waiting for.
func (c *CMDB) loading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := mesh.Errorf(mesh.Unavailable, "the inventory is still loading")
	if s := c.sites[c.o.Datacenter]; s.told {
		return e.WithHint("Consul cannot be read: %v", s.contact)
	}
	return e.WithHint("try again in a moment")
}

// LinkChanged makes the next snapshot follow what Links says of an agent. The
// link calls it when one has connected or is gone. It never blocks.
func (c *CMDB) LinkChanged(id mesh.NodeID) {
	c.mu.Lock()
	stranger := !c.enrolled[id]
	c.mu.Unlock()
	if stranger {
		c.RosterChanged()
	}
	signal(c.dirty)
}

// RosterChanged makes the CMDB read the roster at once: somebody has enrolled
// or was revoked. It never blocks.
func (c *CMDB) RosterChanged() { signal(c.reread) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is on its way already.
	}
}

// Run keeps the inventory until ctx ends; then it returns nil. It may be
// called once.
func (c *CMDB) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.followRoster(ctx) })
	wg.Go(func() { c.build(ctx) })
	wg.Go(func() { c.write(ctx) })
	c.feed(ctx, &wg)
	return nil
}

// feed starts one feed for each datacenter there is, and for each that joins.
// The server's own does not wait for the list.
func (c *CMDB) feed(ctx context.Context, wg *sync.WaitGroup) {
	fed := make(map[string]bool)
	begin := func(dc string) {
		if !fed[dc] {
			fed[dc] = true
			wg.Go(func() { c.follow(ctx, dc) })
		}
	}
	begin(c.o.Datacenter)
	for {
		dcs, err := c.o.Source.Datacenters(ctx)
		if err != nil {
			c.log.Debug("datacenters cannot be listed", "error", err)
			if !sleep(ctx, retryEvery) {
				return
			}
			continue
		}
		c.mu.Lock()
		for _, dc := range dcs {
			if c.sites[dc] == nil {
				c.sites[dc] = newSite(dc, time.Now())
			}
		}
		c.listed = true
		c.mu.Unlock()
		signal(c.dirty)
		for _, dc := range dcs {
			begin(dc)
		}
		if !sleep(ctx, datacentersEvery) {
			return
		}
	}
}

// follow feeds one datacenter, over again should the feed break.
func (c *CMDB) follow(ctx context.Context, dc string) {
	for {
		err := c.o.Source.Feed(ctx, dc, func(u Update) { c.update(dc, u) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("the feed has ended")
		}
		c.update(dc, Contact{err})
		if !sleep(ctx, retryEvery) {
			return
		}
	}
}

func (c *CMDB) update(dc string, u Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sites[dc]
	answered := s.contact == nil
	if !u.apply(s) {
		return
	}
	signal(c.dirty)
	if _, ok := u.(Contact); !ok {
		return
	}
	switch {
	case s.contact == nil && s.told:
		s.told = false
		c.log.Info("Consul can be read again", "dc", dc, "away", time.Since(s.awayFrom).Round(time.Second))
	case s.contact != nil && !s.told:
		s.told = true
		if answered {
			s.awayFrom = time.Now()
		}
		c.log.Warn("Consul cannot be read; the inventory stays as it was", "dc", dc, "error", s.contact)
	}
}

// followRoster reads the roster now and then, and when it is told to.
func (c *CMDB) followRoster(ctx context.Context) {
	failing := false
	for {
		l, err := c.o.Roster.Enrolled(ctx)
		wait := rosterEvery
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				c.log.Error("the roster of agents cannot be read; trying again", "error", err)
			}
			wait = retryEvery
		default:
			c.setRoster(l)
		}
		failing = err != nil
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.reread:
			timer.Stop()
			// What comes in a crowd is read once.
			if !sleep(ctx, buildEvery) {
				return
			}
		case <-timer.C:
		}
	}
}

func (c *CMDB) setRoster(l []Enrolment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enrolled != nil && slices.Equal(c.roster, l) {
		return
	}
	c.roster = l
	c.enrolled = make(map[mesh.NodeID]bool, len(l))
	for _, e := range l {
		c.enrolled[e.ID] = true
	}
	signal(c.dirty)
}

// build makes a snapshot whenever something has changed.
func (c *CMDB) build(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirty:
		}
		if s, ok := c.next(); ok {
			c.snap.Store(s)
			if !c.Ready() {
				close(c.ready)
				c.log.Info("the inventory is loaded", "nodes", len(s.nodes), "datacenters", len(s.dcs))
			}
			if c.o.OnSnapshot != nil {
				c.o.OnSnapshot(s)
			}
		}
		if !sleep(ctx, buildEvery) {
			return
		}
	}
}

// next builds a snapshot if enough was read for one.
func (c *CMDB) next() (*Snapshot, bool) {
	linked := c.connected()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.Ready() && !c.complete() {
		return nil, false
	}
	now := time.Now()
	in := input{
		own: c.o.Datacenter, sites: c.sites, roster: c.roster, linked: linked, written: make(map[mesh.NodeID]*record),
		prev: c.Snapshot(), now: now,
	}
	for id, w := range c.written {
		if r := newest(c.sites, nil, id); (r != nil && !r.At.Before(w.At)) || now.Sub(w.at) > rememberWritten {
			delete(c.written, id)
			continue
		}
		in.written[id] = w.record
	}
	return build(in), true
}

// connected asks Links about every agent, without the lock: the link may hold
// its own when it calls LinkChanged.
func (c *CMDB) connected() map[mesh.NodeID]time.Time {
	c.mu.Lock()
	roster := c.roster
	c.mu.Unlock()
	out := make(map[mesh.NodeID]time.Time, len(roster))
	for _, e := range roster {
		if since, ok := c.o.Links.Connected(e.ID); ok {
			out[e.ID] = since
		}
	}
	return out
}

// complete reports whether the first snapshot can be built. A foreign
// datacenter is waited for until it answers or turns out not to.
func (c *CMDB) complete() bool {
	if !c.listed || c.enrolled == nil {
		return false
	}
	for dc, s := range c.sites {
		if !s.loaded && (dc == c.o.Datacenter || !s.told) {
			return false
		}
	}
	return true
}

// sleep waits for d, and returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
