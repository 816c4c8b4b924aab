package leader

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/pki"
)

// Run competes for the lock until ctx ends; then it gives it back, so that
// another server takes over at once, and returns nil. It may be called once.
func (l *Leader) Run(ctx context.Context) error {
	l.old = l.remembered()
	var wg sync.WaitGroup
	wg.Go(func() { l.o.Lock.Follow(ctx, l.observe) })
	timer := time.NewTimer(0) // the first look is at once.
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.kick:
			timer.Reset(l.step(ctx))
		case <-timer.C:
			timer.Reset(l.step(ctx))
		}
	}
	l.mu.Lock()
	l.depose("the server stops")
	l.mu.Unlock()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := l.drop(stop); err != nil {
		l.log.Debug("the lock is not given back; its session will end by itself", "error", err)
	}
	wg.Wait()
	return nil
}

// step does what is to be done now, and returns after how long to look again.
func (l *Leader) step(ctx context.Context) time.Duration {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.o.TTL/4)
	defer cancel()
	err := l.endOld(ctx)
	if err == nil {
		err = l.act(ctx)
	}
	if errors.Is(err, errNotYet) {
		return retryEvery
	}
	l.say(err)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.deaf = lease{began, l.o.TTL}
		l.changed()
		return retryEvery
	}
	// A Consul that takes its time must not cost us the lease.
	return max(0, l.o.TTL/4-time.Since(began))
}

// errNotYet says that the lock is free and Consul does not give it yet.
var errNotYet = errors.New("the lock cannot be taken yet")

// say tells once that Consul does not answer, and once that it does again.
func (l *Leader) say(err error) {
	switch {
	case err != nil && !l.away:
		l.log.Warn("the lock of the leader cannot be reached", "error", err)
	case err == nil && l.away:
		l.log.Info("the lock of the leader can be reached again")
	}
	l.away = err != nil
}

// act renews what this server holds, takes what is free, and looks at what
// another holds.
func (l *Leader) act(ctx context.Context) error {
	l.mu.Lock()
	holds := l.cur != nil && !l.cur.lost
	known, holder := l.known, l.seen.Session
	l.mu.Unlock()
	switch {
	case holds:
		return l.renew(ctx)
	case known && (holder == "" || holder == l.session):
		return l.take(ctx)
	}
	if err := l.drop(ctx); err != nil { // a session that has lost the race.
		return err
	}
	return l.look(ctx)
}

func (l *Leader) look(ctx context.Context) error {
	h, err := l.o.Lock.Read(ctx)
	if err == nil {
		l.observe(h)
	}
	return err
}

// renew lets the session live, looks whether it still holds the lock, and only
// then lets the lease begin again.
func (l *Leader) renew(ctx context.Context) error {
	sent := time.Now()
	if err := l.renewSession(ctx); err != nil || l.session == "" {
		return err
	}
	h, err := l.o.Lock.Read(ctx)
	if err != nil {
		return err
	}
	l.observe(h)
	l.mu.Lock()
	defer l.mu.Unlock()
	// What was read may be older than what Follow has told meanwhile.
	if l.cur != nil && !l.cur.lost && h.Session == l.cur.term.Session && h.Index >= l.seen.Index {
		l.cur.until = lease{sent, l.o.TTL - margin}
		l.changed()
	}
	return nil
}

// renewSession renews the session, if there is one. When it is gone there is
// none after that, and its lock is lost.
func (l *Leader) renewSession(ctx context.Context) error {
	if l.session == "" {
		return nil
	}
	sent := time.Now()
	err := l.o.Sessions.Renew(ctx, l.session)
	switch {
	case err == nil:
		l.renewed = sent
	case mesh.CodeOf(err) == mesh.NotFound:
		l.gone()
		err = nil
	}
	return err
}

// gone notes that the session is no more.
func (l *Leader) gone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = ""
	if l.cur != nil {
		l.lose()
	}
	l.again()
}

// again has the next step begin at once. It never blocks.
func (l *Leader) again() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// take locks the key. What the lock looked like may be old: it is the answer
// that counts.
func (l *Leader) take(ctx context.Context) error {
	if err := l.openSession(ctx); err != nil {
		return err
	}
	since := time.Now().UTC()
	l.mu.Lock()
	base, top := l.base, l.top
	l.mu.Unlock()
	h, err := l.acquire(ctx, base, since)
	switch mesh.CodeOf(err) {
	case "":
	case mesh.Conflict:
		return l.yield(ctx)
	case mesh.NotFound:
		l.gone()
		return nil
	default:
		return err
	}
	floor, err := l.o.Floor(ctx)
	if err != nil {
		return err
	}
	if floor = max(floor, top); base+h.LockIndex <= floor && !l.continues(h, base) {
		base = floor + 1 - h.LockIndex
		if h, err = l.acquire(ctx, base, since); err != nil {
			return err
		}
	}
	return l.begin(h, Term{Index: base + h.LockIndex, Session: l.session, Since: since})
}

// yield looks who has been faster.
func (l *Leader) yield(ctx context.Context) error {
	if err := l.look(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Session == "" {
		return errNotYet
	}
	return nil
}

// continues reports whether h is the lock of the present term itself, which
// was taken again without having been lost.
func (l *Leader) continues(h Holding, base uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur != nil && l.cur.term.Session == h.Session && l.cur.created == h.CreateIndex && l.cur.term.Index == base+h.LockIndex
}

func (l *Leader) acquire(ctx context.Context, base uint64, since time.Time) (Holding, error) {
	me := l.o.Me
	me.Since = since
	text, err := json.Marshal(value{Info: me, Base: base})
	if err != nil {
		return Holding{}, err
	}
	h, err := l.o.Lock.Acquire(ctx, l.session, text)
	h.Value = text
	return h, err
}

// begin begins a term, or goes on with one that was nobody else's meanwhile.
func (l *Leader) begin(h Holding, t Term) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && h.Index < l.seen.Index && l.seen.Session != t.Session {
		// It was lost again before the answer came, or Consul was restored,
		// which Follow is about to tell.
		return errNotYet
	}
	l.see(h)
	until := lease{l.renewed, l.o.TTL - margin}
	if c := l.cur; c != nil && c.created == h.CreateIndex && (t.Index == c.term.Index || t.Index == c.term.Index+1) {
		if t.Index == c.term.Index {
			t.Since = c.term.Since
		}
		c.term, c.lost, c.until = t, false, until
		l.log.Info("this server leads again", "term", t.Index)
	} else {
		l.depose("another server has led meanwhile")
		l.cur = &incumbency{term: t, created: h.CreateIndex, until: until, deposed: make(chan struct{})}
		l.log.Info("this server leads", "term", t.Index)
	}
	l.changed()
	return nil
}

// openSession makes sure of a session that was just renewed.
func (l *Leader) openSession(ctx context.Context) error {
	if err := l.renewSession(ctx); err != nil || l.session != "" {
		return err
	}
	sent := time.Now()
	id, err := l.o.Sessions.Create(ctx, l.o.TTL)
	if err != nil {
		return err
	}
	l.setSession(id)
	l.renewed = sent
	if err := l.remember(id); err != nil {
		// Without it a restart after a kill waits for the session to end.
		l.log.Warn("the session is not kept", "error", err)
	}
	return nil
}

func (l *Leader) setSession(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = id
}

// drop ends the session, and with it the lock, if there is one.
func (l *Leader) drop(ctx context.Context) error {
	if l.session == "" {
		return nil
	}
	if err := l.o.Sessions.Destroy(ctx, l.session); err != nil {
		return err
	}
	l.setSession("")
	if err := l.remember(""); err != nil {
		l.log.Debug("the session is kept although it has ended", "error", err)
	}
	return nil
}

// endOld ends the session of an earlier process of this data directory.
func (l *Leader) endOld(ctx context.Context) error {
	if l.old == "" {
		return nil
	}
	if err := l.o.Sessions.Destroy(ctx, l.old); err != nil {
		return err
	}
	l.log.Debug("ended the session of the process before", "session", l.old)
	l.old = ""
	return nil
}

func (l *Leader) remembered() string {
	if l.o.SessionFile == "" {
		return ""
	}
	b, err := os.ReadFile(l.o.SessionFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("the session of the process before cannot be read", "error", err)
		}
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (l *Leader) remember(id string) error {
	if l.o.SessionFile == "" {
		return nil
	}
	return pki.WriteFile(l.o.SessionFile, []byte(id+"\n"), 0o600)
}
