package fact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// CollectorName is what this package's observations give as their collector.
const CollectorName = "agent/fact"

// DefaultInterval is how often a machine looks at itself. Hardware, addresses
// and versions change a few times a year; ten minutes keeps the cost below
// what can be measured and the inventory younger than a coffee.
const DefaultInterval = 10 * time.Minute

const (
	// retryEvery lies between two attempts to learn the node's name or to hand
	// over an observation.
	retryEvery = 10 * time.Second
	// patience is how many collections in a row may fail in part before their
	// incomplete facts replace complete ones.
	patience = 3
	// bootJitter is how far the kernel's idea of the boot time may move by
	// clock adjustments alone.
	bootJitter = 60
)

// Sender takes an observation for delivery to a server. It may keep it and
// deliver later; a later observation makes an earlier one superfluous. It is
// called from one goroutine.
type Sender interface {
	SendObservation(ctx context.Context, o mesh.Observation) error
}

// Options are what a Collector is made of. Node, Self and Sender are required.
type Options struct {
	Node    mesh.NodeID
	Version string // of the agent.
	// Root is where the machine's file system is mounted; empty means "/".
	Root string
	// Self names the Consul node and the datacenter that the agent lives
	// beside. It is asked before each observation until it has answered once;
	// later failures leave the last answer.
	Self   func(ctx context.Context) (mesh.NodeName, string, error)
	Sender Sender
	// Domains are those that the agent answers names in.
	Domains []string
	// Interval lies between two collections, a tenth more or less so that a
	// thousand agents started by one deploy part ways; 0 means
	// DefaultInterval.
	Interval time.Duration
	Logger   hclog.Logger // nil is silent.
}

// Collector observes its machine now and then and sends what has changed.
type Collector struct {
	o        Options
	log      hclog.Logger
	interval atomic.Int64 // nanoseconds; Options.Interval at first.
	collect  func(context.Context) (mesh.Facts, error)
	resend   chan struct{}

	// What follows belongs to Run's goroutine.
	name     mesh.NodeName
	dc       string
	last     mesh.Facts
	sent     []byte // the encoded facts that were handed over last.
	failures int    // collections that failed in part, in a row.
	unread   complaint
	unsent   complaint
}

// New returns a Collector that has not begun to collect.
func New(o Options) (*Collector, error) {
	switch {
	case o.Node == "":
		return nil, errors.New("fact collector: no node id is given")
	case o.Self == nil:
		return nil, errors.New("fact collector: nobody tells the node's name")
	case o.Sender == nil:
		return nil, errors.New("fact collector: no sender is given")
	case o.Interval < 0:
		return nil, fmt.Errorf("fact collector: interval %v is negative", o.Interval)
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	c := &Collector{o: o, log: o.Logger, resend: make(chan struct{}, 1)}
	c.interval.Store(int64(o.Interval))
	c.collect = func(ctx context.Context) (mesh.Facts, error) { return Collect(ctx, o.Root) }
	return c, nil
}

// Resend makes Run observe and send at once, even if nothing has changed. The
// link calls it after each connection: the server may be another one, or an
// emptied one. It never blocks and may be called from any goroutine, also
// before Run.
func (c *Collector) Resend() {
	select {
	case c.resend <- struct{}{}:
	default: // one is asked for already.
	}
}

// SetInterval changes the time between two collections, from the next one on.
// It may be called from any goroutine.
func (c *Collector) SetInterval(d time.Duration) { c.interval.Store(int64(d)) }

// Run collects at once and then every Interval, until ctx ends; then it
// returns nil. It may be called once.
func (c *Collector) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.resend:
			c.sent = nil
		case <-timer.C:
		}
		if err := c.round(ctx); err != nil {
			if ctx.Err() == nil && c.unsent.isNew(err) {
				c.log.Warn("facts cannot be sent; trying again", "error", err)
			}
			timer.Reset(splay(retryEvery))
			continue
		}
		c.unsent.clear()
		timer.Reset(splay(time.Duration(c.interval.Load())))
	}
}

// round observes once and sends if there is something new.
func (c *Collector) round(ctx context.Context) error {
	name, dc, err := c.o.Self(ctx)
	switch {
	case err == nil:
		c.name, c.dc = name, dc
	case c.name == "":
		return fmt.Errorf("learn the name of this node: %w", err)
	}
	f, err := c.collect(ctx)
	if err != nil {
		c.failures++
		if ctx.Err() == nil && c.unread.isNew(err) {
			c.log.Warn("some facts of this machine cannot be read", "error", err)
		}
		if c.last.OS != "" && c.failures < patience {
			f = c.last // a gap now would be a change, and the next round another.
		}
	} else {
		c.failures = 0
		c.unread.clear()
	}
	f.Agent, f.Name, f.DC, f.Domains = c.o.Version, c.name, c.dc, c.o.Domains
	if d := f.BootTime - c.last.BootTime; -bootJitter <= d && d <= bootJitter {
		f.BootTime = c.last.BootTime
	}
	return c.send(ctx, f)
}

func (c *Collector) send(ctx context.Context, f mesh.Facts) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode facts: %w", err)
	}
	if bytes.Equal(b, c.sent) {
		return nil
	}
	o := mesh.Observation{Node: c.o.Node, Collector: CollectorName, At: time.Now().UTC(), Facts: f}
	if err := c.o.Sender.SendObservation(ctx, o); err != nil {
		return fmt.Errorf("send facts: %w", err)
	}
	c.sent, c.last = b, f
	return nil
}

// splay moves d by up to a tenth in either direction.
func splay(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// complaint remembers what was last complained about, so that it is said once
// and not every round.
type complaint struct{ text string }

func (c *complaint) isNew(err error) bool {
	fresh := err.Error() != c.text
	c.text = err.Error()
	return fresh
}

func (c *complaint) clear() { c.text = "" }
