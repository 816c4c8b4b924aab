package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	// DefaultTimeout bounds one send to a receiver that says nothing else.
	DefaultTimeout = 10 * time.Second
	// pollEvery is how often the lease is looked at when nothing happens.
	pollEvery = time.Second
	// rereadEvery is how often the outbox is looked at although nobody has
	// kicked.
	rereadEvery = 30 * time.Second
	// lastWords is how long what is being sent may take when ctx has ended.
	lastWords = 2 * time.Second
)

// Options configure an Engine.
type Options struct {
	Outbox Outbox // required.
	// Lease returns the term in which this server leads, and whether it may
	// act in it now. Required; called often, from any goroutine.
	Lease func() (term uint64, ok bool)
	// URL returns where a person reads an incident; nil: nowhere.
	URL func(mesh.IncidentID) string
	// OnLine is told that the timeline of an incident has a new line. It is
	// called from any goroutine and must not block. May be nil.
	OnLine func(mesh.IncidentID, mesh.IncidentEvent)
	// Roots are the authorities that sign for webhooks; nil: the system's.
	Roots *x509.CertPool
	// NewSender makes Senders; nil: those of this package.
	NewSender func(mesh.Receiver) (Sender, error)
	Logger    hclog.Logger // nil means silence.
}

func (o *Options) validate() error {
	if o.Outbox == nil || o.Lease == nil {
		return errors.New("make the notify engine: outbox and lease are required")
	}
	if o.URL == nil {
		o.URL = func(mesh.IncidentID) string { return "" }
	}
	if o.OnLine == nil {
		o.OnLine = func(mesh.IncidentID, mesh.IncidentEvent) {}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return nil
}

// target is a receiver that can be told.
type target struct {
	mesh.Receiver

	sender Sender
}

// Engine sends what is in the outbox. Its methods may be called from any
// goroutine, also before Run.
type Engine struct {
	o         Options
	log       hclog.Logger
	transport *http.Transport
	kick      chan struct{}

	mu      sync.Mutex
	targets map[string]*target
	fresh   bool // targets were replaced, and Run has not seen it.

	// Of the goroutine of Run.
	term    uint64 // in which the lanes were read; 0: this server has not led yet.
	lanes   map[string]*lane
	reread  time.Time
	failing bool
	landing chan landing
}

// New returns an Engine without receivers. It starts nothing.
func New(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		o: o, log: o.Logger, transport: newTransport(o.Roots), kick: make(chan struct{}, 1),
		lanes: make(map[string]*lane), landing: make(chan landing),
	}
	if e.o.NewSender == nil {
		e.o.NewSender = e.newSender
	}
	return e, nil
}

// SetReceivers replaces the receivers. What waits for one that is gone waits
// for its return. On an error, mesh.Invalid with everything that is wrong, the
// receivers before stay.
func (e *Engine) SetReceivers(list []mesh.Receiver) error {
	targets := make(map[string]*target, len(list))
	var errs []error
	for _, r := range list {
		sender, err := e.o.NewSender(r)
		switch {
		case r.Name == "":
			err = errors.New("it has no name")
		case targets[r.Name] != nil:
			err = errors.New("there are two of that name")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("receiver %q: %w", r.Name, err))
			continue
		}
		if r.Timeout <= 0 {
			r.Timeout = DefaultTimeout
		}
		targets[r.Name] = &target{Receiver: r, sender: sender}
	}
	if err := errors.Join(errs...); err != nil {
		return mesh.Errorf(mesh.Invalid, "load the receivers: %w", err)
	}
	e.mu.Lock()
	e.targets, e.fresh = targets, true
	e.mu.Unlock()
	e.Kick()
	return nil
}

// Kick says that there may be something new in the outbox. It does not block.
func (e *Engine) Kick() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, and then for a moment lets end what is being sent.
// It returns nil, and may be called once.
func (e *Engine) Run(ctx context.Context) error {
	// What was sent must be recorded also when we are told to stop.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer e.transport.CloseIdleConnections()
	var wg sync.WaitGroup
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			e.drain(&wg, stop)
			return nil
		case l := <-e.landing:
			e.landed(l)
		case <-e.kick:
			e.reread = time.Time{}
		case <-timer.C:
		}
		timer.Reset(e.turn(ctx, func(l *lane, d *Delivery, skip bool) {
			s := send{engine: e, lane: l.name, target: l.target, d: *d, skip: skip, term: e.term}
			wg.Go(func() { e.landing <- s.run(sending) })
		}))
	}
}

// drain waits for what is being sent.
func (e *Engine) drain(wg *sync.WaitGroup, stop func()) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	timer := time.AfterFunc(lastWords, stop)
	defer timer.Stop()
	for {
		select {
		case <-e.landing: // recorded, as far as it could be.
		case <-done:
			return
		}
	}
}

// turn reads what is new and launches what may be sent, and returns how long
// there is time.
func (e *Engine) turn(ctx context.Context, launch func(*lane, *Delivery, bool)) time.Duration {
	now := time.Now()
	term, leads := e.o.Lease()
	if leads && term != e.term {
		e.term, e.reread = term, time.Time{}
		for _, l := range e.lanes { // another server may have sent meanwhile.
			l.reset()
		}
	}
	if e.term == 0 {
		return pollEvery
	}
	e.retarget()
	if err := e.read(ctx, now); err != nil {
		if !e.failing && ctx.Err() == nil {
			e.log.Error("the outbox cannot be read; nothing new is sent until it can", "error", err)
		}
		e.failing = true
	} else if e.failing {
		e.failing = false
		e.log.Info("the outbox is read again")
	}
	next := now.Add(pollEvery)
	for _, l := range e.lanes {
		if l.target == nil {
			continue
		}
		next = l.due(now, next)
		for {
			d, skip := l.take(now, func(d *Delivery) bool { return leads || d.Unleased })
			if d == nil {
				break
			}
			launch(l, d, skip)
		}
	}
	return max(time.Millisecond, next.Sub(now))
}

// retarget gives the lanes their receivers.
func (e *Engine) retarget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.fresh {
		return
	}
	e.fresh, e.reread = false, time.Time{}
	for name, l := range e.lanes {
		l.target = e.targets[name]
		l.failures, l.until = 0, time.Time{} // what was changed may have been mended.
	}
	for name, t := range e.targets {
		if e.lanes[name] == nil {
			e.lanes[name] = newLane(name)
			e.lanes[name].target = t
		}
	}
}

// read fetches what is new in the outbox, as far as there is room for it.
func (e *Engine) read(ctx context.Context, now time.Time) error {
	fresh := !now.Before(e.reread)
	var errs []error
	for _, l := range e.lanes {
		l.more = l.more || fresh
		for l.target != nil && l.more && l.size < pageSize {
			list, err := e.o.Outbox.WaitingDeliveries(ctx, l.name, l.cursor, pageSize)
			if err != nil {
				errs = append(errs, err)
				break
			}
			l.add(list)
			l.more = len(list) == pageSize
		}
	}
	err := errors.Join(errs...)
	switch {
	case err != nil:
		e.reread = now.Add(pollEvery)
	case fresh:
		e.reread = now.Add(rereadEvery)
	}
	return err
}

// landed takes note of what has come of a send.
func (e *Engine) landed(n landing) {
	l := e.lanes[n.lane]
	l.landed(&n.d, n.settled)
	if n.asked {
		l.judged(time.Now(), n.answered, n.after)
	}
}
