package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/exec/journal"
	"alps/agent/exec/run"
	"alps/mesh"
	"alps/mesh/sign"
)

// Board is where jobs are announced: Consul's KV store and its user event.
type Board interface {
	// Read returns the value of a key and whether it exists. A read that is
	// not consistent may lag.
	Read(ctx context.Context, key string, consistent bool) (value []byte, found bool, err error)
	// WatchHead calls fn with the value of key, nil when it does not exist,
	// and again with each change, until ctx ends; reset says that the store
	// went back in time. A kick makes it read at once.
	WatchHead(ctx context.Context, key string, kick <-chan struct{}, fn func(doc []byte, reset bool))
	// WatchEvents calls fn with the payload of each user event until ctx ends.
	WatchEvents(ctx context.Context, fn func(payload string))
}

// Reports takes what a node says of its jobs. Send must not wait for a
// server: it returns when the report is handed over, a durable one when it is
// on disk.
type Reports interface {
	Send(r mesh.Report, durable bool) error
}

// Blobs fetches scripts that are too long for a spec. The engine checks what
// it gets.
type Blobs interface {
	Fetch(ctx context.Context, sha256 string) ([]byte, error)
}

// Runner runs processes; run.Runner is one.
type Runner interface {
	Run(ctx context.Context, t run.Task) run.Result
	StopLeft(mark string, grace time.Duration) run.Stopped
	Allows(user string) error
	Clean(before time.Time) error
}

// Limits bound what runs and what waits on the node.
type Limits struct {
	Slots int // jobs that run at the same time.
	Queue int // jobs that wait; the next one is refused as busy.
}

// DefaultLimits run a few jobs beside the node's real work, and hold as many
// as one head announces.
func DefaultLimits() Limits { return Limits{Slots: 4, Queue: 64} }

// Options configure an Engine.
type Options struct {
	Node    mesh.NodeID // required.
	Cluster string      // required.
	// Dir holds the journal, scripts and outputs. Required.
	Dir string

	Board   Board   // required.
	Reports Reports // required.
	Blobs   Blobs   // required.
	Runner  Runner  // required.

	// Self is the node as it knows itself; a grant's target query is asked of
	// it. Required. It is called by any goroutine.
	Self func() mesh.Node
	// Trust returns the trust root, false while none is installed. Required.
	// It is called by any goroutine, for each document.
	Trust func() (sign.Root, bool)

	// Program is the path of alps, which jobs find in ALPS.
	Program string

	// Disabled refuses all jobs.
	Disabled bool
	// Limits are the first; zero fields mean DefaultLimits. See SetLimits.
	Limits Limits
	// Poll is the mean time between two looks that nothing has caused. Zero
	// means 60 s.
	Poll time.Duration
	// Keep is how long outputs and working directories stay on the node. Zero
	// means 24 h.
	Keep   time.Duration
	Logger hclog.Logger // nil means silence.
}

func (o *Options) validate() error {
	switch {
	case o.Node == "":
		return errors.New("no node id given")
	case o.Cluster == "":
		return errors.New("no cluster given")
	case !filepath.IsAbs(o.Dir):
		return fmt.Errorf("the directory %q is not absolute", o.Dir)
	case o.Board == nil, o.Reports == nil, o.Blobs == nil, o.Runner == nil, o.Self == nil, o.Trust == nil:
		return errors.New("a dependency is missing")
	case o.Limits.Slots < 0, o.Limits.Queue < 0:
		return fmt.Errorf("limits of %d slots and a queue of %d make no sense", o.Limits.Slots, o.Limits.Queue)
	}
	return nil
}

// Engine runs a node's jobs.
type Engine struct {
	o       Options
	log     hclog.Logger
	blobs   store
	outputs store

	journal *journal.Journal // set by Run before anything uses it.
	wg      sync.WaitGroup   // jobs that run.
	poke    chan struct{}    // has the waiting jobs looked at again.
	kick    chan struct{}    // has the head read at once.
	retry   chan struct{}    // has the unresolved references tried soon.

	look struct {
		sync.Mutex // one look at a time.

		cursor     journal.Cursor
		unresolved map[refKey]pending
	}

	mu       sync.Mutex
	limits   Limits
	jobs     map[journal.Key]*job // all that have not ended.
	waiting  []*job               // those of them that do not run, oldest first.
	running  int
	eventSeq uint64 // the highest that an event has told us of.
	status   Status // what is not counted from the above.
}

// New checks the options.
func New(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("new exec engine: %w", err)
	}
	if o.Poll == 0 {
		o.Poll = time.Minute
	}
	if o.Keep == 0 {
		o.Keep = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	e := &Engine{
		o: o, log: o.Logger,
		blobs:   store{dir: filepath.Join(o.Dir, "blobs"), most: maxBlobs},
		outputs: store{dir: filepath.Join(o.Dir, "output"), most: maxOutputs},
		poke:    make(chan struct{}, 1), kick: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		jobs: map[journal.Key]*job{},
	}
	e.look.unresolved = map[refKey]pending{}
	e.SetLimits(o.Limits)
	return e, nil
}

// SetLimits changes the limits at once. Zero fields mean DefaultLimits. What
// runs and what waits already stays.
func (e *Engine) SetLimits(l Limits) {
	def := DefaultLimits()
	if l.Slots == 0 {
		l.Slots = def.Slots
	}
	if l.Queue == 0 {
		l.Queue = def.Queue
	}
	e.mu.Lock()
	e.limits = l
	e.mu.Unlock()
	signal(e.poke)
}

// Run works until ctx ends, then stops what runs and waits for it. It may be
// called once.
func (e *Engine) Run(ctx context.Context) error {
	j, err := journal.Open(filepath.Join(e.o.Dir, "journal"), time.Now())
	if err != nil {
		return fmt.Errorf("run exec engine: %w", err)
	}
	e.mu.Lock()
	e.journal = j
	e.mu.Unlock()
	if n := j.Damaged(); n > 0 {
		e.log.Warn("journal was damaged; jobs issued before now are refused", "records", n)
	}
	e.recover(ctx)

	var wg sync.WaitGroup
	wg.Go(func() { e.steward(ctx) })
	wg.Go(func() { e.watch(ctx) })
	wg.Go(func() { e.o.Board.WatchEvents(ctx, e.event) })
	wg.Go(func() { e.poll(ctx) })
	wg.Go(func() { e.keepHouse(ctx) })
	wg.Wait()
	e.wg.Wait()
	return j.Close()
}

// Output opens the kept bytes of a stream by their digest. It fails with
// mesh.NotFound when they are not here, or not any more. The caller closes
// it. It may be called by any goroutine.
func (e *Engine) Output(digest string) (io.ReadCloser, error) { return e.outputs.open(digest) }

// Status is what a doctor asks an engine for.
type Status struct {
	Enabled   bool
	TrustRoot sign.KeyID // empty without a trust root.
	Running   int
	Waiting   int
	Limits    Limits
	Epoch     string
	Cursor    uint64
	Born      time.Time // of the journal; zero before Run.
	LookedAt  time.Time // of the last look that worked.
	LookedBy  mesh.Woke
	// LastError is what went wrong last, and ErrorAt when. It stays after it
	// was mended.
	LastError string
	ErrorAt   time.Time
}

// Status returns the present state. It may be called by any goroutine.
func (e *Engine) Status() Status {
	root, trusted := e.o.Trust()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Enabled, s.Limits = !e.o.Disabled, e.limits
	s.Running, s.Waiting = e.running, len(e.waiting)
	if trusted {
		s.TrustRoot = root.Key.ID()
	}
	if e.journal != nil {
		s.Born = e.journal.Born()
	}
	return s
}

// fault notes an error that an operator may want to see.
func (e *Engine) fault(what string, err error, args ...any) {
	e.log.Warn(what, append([]any{"error", err}, args...)...)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.LastError, e.status.ErrorAt = what+": "+err.Error(), time.Now()
}

// keepHouse hands over reports that could not be, and forgets what is old.
func (e *Engine) keepHouse(ctx context.Context) {
	const resend, sweep = 10 * time.Second, time.Hour
	e.sweep()
	tick := time.NewTicker(resend)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.resend()
		if time.Since(last) >= sweep {
			last = time.Now()
			e.sweep()
		}
	}
}

func (e *Engine) sweep() {
	now := time.Now()
	old := now.Add(-e.o.Keep)
	err := errors.Join(e.journal.Compact(now), e.o.Runner.Clean(old), e.outputs.sweep(old), e.blobs.sweep(old))
	if err != nil {
		e.fault("old files of jobs not cleaned", err)
	}
}

// signal wakes whoever reads ch; one that is awake already is not woken twice.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
