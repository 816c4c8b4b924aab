package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/notify"
	"alps/server/notify/notifytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// phone is a Sender whose behaviour a test sets.
type phone struct {
	mu     sync.Mutex
	answer func(ctx context.Context, m notify.Message) error // nil takes it.
	calls  []string                                          // every delivery that it was asked to take.
	taken  []string
	busy   int
	most   int // at once.
}

func (p *phone) Send(ctx context.Context, m notify.Message) error {
	p.mu.Lock()
	p.calls = append(p.calls, m.ID)
	p.busy++
	p.most = max(p.most, p.busy)
	answer := p.answer
	p.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(ctx, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if err == nil {
		p.taken = append(p.taken, m.ID)
	}
	return err
}

func (p *phone) set(answer func(context.Context, notify.Message) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *phone) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.taken)
}

func (p *phone) atOnce() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func (p *phone) tried() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// rig is an engine in a bubble with two receivers. ops wants resolutions, boss
// does not.
type rig struct {
	t         *testing.T
	outbox    *notifytest.Outbox
	ops, boss *phone
	engine    *notify.Engine
	mu        sync.Mutex
	term      uint64
	leads     bool
	lines     int
	stop      func()
}

func bubble(t *testing.T, fn func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, outbox: new(notifytest.Outbox), ops: new(phone), boss: new(phone), term: 1, leads: true}
		r.start()
		defer func() { r.stop() }()
		fn(r)
	})
}

func (r *rig) start() {
	r.t.Helper()
	e, err := notify.New(notify.Options{
		Outbox: r.outbox,
		Lease: func() (uint64, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.term, r.leads
		},
		OnLine: func(mesh.IncidentID, mesh.IncidentEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines++
		},
		NewSender: func(m mesh.Receiver) (notify.Sender, error) {
			switch m.Name {
			case "ops":
				return r.ops, nil
			case "boss":
				return r.boss, nil
			}
			return nil, errors.New("who is that")
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.engine = e
	r.receivers("ops", "boss")
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
	synctest.Wait()
}

func (r *rig) receivers(names ...string) {
	r.t.Helper()
	var list []mesh.Receiver
	for _, n := range names {
		list = append(list, mesh.Receiver{Name: n, Resolved: n == "ops"})
	}
	if err := r.engine.SetReceivers(list); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) lease(term uint64, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term, r.leads = term, leads
}

// put writes into the outbox as of now, kicks and waits until all is quiet.
func (r *rig) put(list ...notify.Delivery) {
	for i := range list {
		list[i].At = time.Now()
	}
	r.outbox.Put(r.t, 1, list...)
	r.engine.Kick()
	synctest.Wait()
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, p *phone, ids ...string) {
	t.Helper()
	if diff := cmp.Diff(ids, p.got()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
}

func id(incident, n int) string { return fmt.Sprintf("%016x/%d", incident, n) }

func firing(incident int) notify.Delivery {
	return notifytest.Delivery(incident, "ops", notify.KindFiring)
}

func resolved(incident int) notify.Delivery {
	return notifytest.Delivery(incident, "ops", notify.KindResolved)
}

func down(context.Context, notify.Message) error { return errors.New("connection refused") }

func TestSentAtOnceAndOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.put(firing(1), notifytest.Delivery(1, "boss", notify.KindFiring))
		want(t, r.ops, id(1, 1)) // no time has passed.
		want(t, r.boss, id(1, 2))
		r.put(resolved(1), notifytest.Delivery(1, "boss", notify.KindResolved))
		want(t, r.ops, id(1, 1), id(1, 3))
		want(t, r.boss, id(1, 2))
		if got := r.outbox.Settled()[id(1, 4)]; got != notify.Unwanted {
			t.Errorf("what boss does not want is %q", got)
		}
		pass(time.Hour)
		r.stop()
		r.lease(2, true)
		r.start()
		pass(time.Hour)
		want(t, r.ops, id(1, 1), id(1, 3))
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lines != 3 {
			t.Errorf("told of %d lines, want one for each that was taken", r.lines)
		}
		if diff := cmp.Diff([]mesh.IncidentEventKind{mesh.EventNotified}, r.outbox.Lines(id(1, 1))); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestDownForAMinute(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(down)
		r.put(firing(1))
		r.put(resolved(1), firing(2))
		pass(time.Minute)
		want(t, r.ops)
		if n := r.ops.tried(); n < 3 || n > 20 {
			t.Errorf("asked %d times", n)
		}
		r.ops.set(nil)
		pass(2 * time.Minute)
		got := r.ops.got()
		slices.Sort(got)
		if diff := cmp.Diff([]string{id(1, 1), id(1, 2), id(2, 1)}, got); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
		if all := r.ops.got(); slices.Index(all, id(1, 1)) > slices.Index(all, id(1, 2)) {
			t.Errorf("resolved before firing: %q", all)
		}
		if diff := cmp.Diff([]mesh.IncidentEventKind{mesh.EventNotifyFailed, mesh.EventNotified}, r.outbox.Lines(id(1, 1))); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestOneSlowReceiver(t *testing.T) {
	bubble(t, func(r *rig) {
		r.boss.set(func(ctx context.Context, _ notify.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		for n := range 20 {
			r.put(notifytest.Delivery(n, "boss", notify.KindFiring), firing(n))
		}
		if n := len(r.ops.got()); n != 20 {
			t.Errorf("ops took %d of 20 while boss hangs", n)
		}
		if n := r.boss.atOnce(); n != 4 {
			t.Errorf("%d sends at once to boss", n)
		}
		pass(5 * time.Minute)
		if n := r.boss.atOnce(); n > 4 {
			t.Errorf("%d sends at once to boss", n)
		}
	})
}

// TestOrderWhileSending sees that what comes while one of its incident is
// being sent waits for it.
func TestOrderWhileSending(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(func(context.Context, notify.Message) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		r.put(firing(1))
		r.put(resolved(1))
		r.put(firing(1))
		pass(4 * time.Second)
		if n := r.ops.tried(); n != 1 {
			t.Errorf("%d sent at once", n)
		}
		pass(time.Minute)
		want(t, r.ops, id(1, 1), id(1, 2), id(1, 3))
		if n := r.ops.tried(); n != 3 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestOneAsksForAll sees that a receiver that is down is asked by one delivery
// at a time.
func TestOneAsksForAll(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(down)
		var list []notify.Delivery
		for n := range 50 {
			list = append(list, firing(n))
		}
		r.put(list...)
		first := r.ops.tried()
		pass(time.Minute)
		if n := r.ops.tried(); first > 4 || n-first < 3 || n-first > 12 {
			t.Errorf("asked %d times at once, then %d times in a minute", first, n-first)
		}
		r.ops.set(nil)
		pass(2 * time.Minute)
		if n := len(r.ops.got()); n != 50 {
			t.Errorf("took %d of 50", n)
		}
	})
}

func TestRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(func(_ context.Context, m notify.Message) error {
			if m.Kind == notify.KindFiring {
				return notify.Refuse(errors.New("it answers 400"))
			}
			return nil
		})
		r.put(firing(1), resolved(1))
		pass(time.Hour)
		want(t, r.ops, id(1, 2))
		if n := r.ops.tried(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		if got := r.outbox.Settled()[id(1, 1)]; got != notify.Refused {
			t.Errorf("the refused one is %q", got)
		}
	})
}

// TestPoison sees that one delivery that always fails does not keep others of
// its receiver back for long.
func TestPoison(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(func(_ context.Context, m notify.Message) error {
			if m.ID == id(1, 1) {
				return errors.New("it answers 500")
			}
			return nil
		})
		r.put(firing(1))
		for n := range 10 {
			r.put(firing(2 + n))
		}
		pass(10 * time.Second)
		if n := len(r.ops.got()); n != 10 {
			t.Errorf("took %d of 10", n)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	bubble(t, func(r *rig) {
		start := time.Now()
		r.ops.set(func(context.Context, notify.Message) error {
			if time.Since(start) < 5*time.Minute {
				return notify.Postpone(errors.New("it answers 429"), 6*time.Minute)
			}
			return nil
		})
		r.put(firing(1))
		r.put(firing(2))
		pass(5 * time.Minute)
		if n := r.ops.tried(); n != 1 {
			t.Errorf("asked %d times although it wants its peace", n)
		}
		pass(3 * time.Minute)
		got := r.ops.got() // one incident does not wait for another.
		slices.Sort(got)
		if diff := cmp.Diff([]string{id(1, 1), id(2, 1)}, got); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
	})
}

func TestGivenUpAfterADay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(down)
		r.put(firing(1))
		pass(25 * time.Hour)
		tried := r.ops.tried()
		if got := r.outbox.Settled()[id(1, 1)]; got != notify.Expired {
			t.Errorf("after a day it is %q", got)
		}
		pass(time.Hour)
		if n := r.ops.tried(); n != tried {
			t.Errorf("asked %d times more", n-tried)
		}
	})
}

func TestRemindersAreNotPiledUp(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(down)
		repeat := func() notify.Delivery { return notifytest.Delivery(1, "ops", notify.KindRepeat) }
		r.put(firing(1), repeat(), repeat(), repeat())
		r.ops.set(nil)
		pass(time.Minute)
		want(t, r.ops, id(1, 1), id(1, 4))
	})
}

func TestReceiversChange(t *testing.T) {
	bubble(t, func(r *rig) {
		if err := r.engine.SetReceivers([]mesh.Receiver{{Name: "ops"}, {Name: "ops"}}); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("two of a name: %v", err)
		}
		if err := r.engine.SetReceivers([]mesh.Receiver{{Name: "stranger"}}); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("one that cannot be: %v", err)
		}
		r.receivers("boss")
		r.put(firing(1))
		pass(time.Minute)
		want(t, r.ops)
		r.receivers("ops", "boss")
		pass(time.Second)
		want(t, r.ops, id(1, 1))
	})
}

func TestMoreThanAPage(t *testing.T) {
	bubble(t, func(r *rig) {
		var list []notify.Delivery
		for n := range 1700 {
			list = append(list, firing(n))
		}
		r.put(list...)
		pass(time.Second)
		got := r.ops.got()
		slices.Sort(got)
		if n := len(slices.Compact(got)); n != 1700 || r.ops.tried() != 1700 {
			t.Errorf("took %d of 1700 in %d calls", n, r.ops.tried())
		}
	})
}
