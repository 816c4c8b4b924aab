package notify_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/notify"
	"alps/server/notify/notifytest"
)

func TestLease(t *testing.T) {
	t.Run("nothing is sent without", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.lease(1, false)
			urgent := firing(2)
			urgent.Unleased = true
			r.put(firing(1), urgent)
			pass(time.Minute)
			want(t, r.ops, id(2, 1))
			r.lease(1, true)
			pass(2 * time.Second)
			want(t, r.ops, id(2, 1), id(1, 1))
		})
	})
	t.Run("who has never led sends nothing at all", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.stop()
			r.lease(0, false)
			r.start()
			urgent := firing(1)
			urgent.Unleased = true
			r.put(urgent)
			pass(time.Minute)
			want(t, r.ops)
		})
	})
	t.Run("a new term sees what others have sent", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.ops.set(down)
			r.put(firing(1), firing(2))
			r.lease(1, false)
			pass(time.Minute)
			// Another leader has told of the first.
			r.outbox.Fence(2)
			list, err := r.outbox.WaitingDeliveries(t.Context(), "ops", 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.outbox.SettleDelivery(t.Context(), 2, notify.Outcome{Seq: list[0].Seq, State: notify.Delivered, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			r.ops.set(nil)
			r.lease(3, true)
			pass(2 * time.Minute)
			want(t, r.ops, id(2, 1))
		})
	})
}

func TestNotRecordedIsNotSentAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.outbox.FailWith(func() error { return errors.New("the disk is full") })
		r.put(firing(1))
		pass(10 * time.Minute)
		want(t, r.ops, id(1, 1))
		r.outbox.FailWith(nil)
		pass(2 * time.Second)
		if got := r.outbox.Settled()[id(1, 1)]; got != notify.Delivered {
			t.Errorf("it is %q", got)
		}
	})
}

// TestStopWhileSending sees that what a receiver takes while we stop is
// recorded, and that one that hangs does not keep us.
func TestStopWhileSending(t *testing.T) {
	bubble(t, func(r *rig) {
		r.ops.set(func(context.Context, notify.Message) error {
			time.Sleep(time.Second)
			return nil
		})
		r.boss.set(func(ctx context.Context, _ notify.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		r.put(firing(1), notifytest.Delivery(1, "boss", notify.KindFiring))
		start := time.Now()
		r.stop()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		if diff := cmp.Diff(map[string]notify.State{id(1, 1): notify.Delivered}, r.outbox.Settled()); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
		r.start()
	})
}

// TestLeaseLostOnTheWay sees that the lease is asked for again right before
// the receiver is.
func TestLeaseLostOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, ops := new(notifytest.Outbox), new(phone)
		outbox.Put(t, 1, firing(1))
		var asked atomic.Int32
		e, err := notify.New(notify.Options{
			Outbox:    outbox,
			NewSender: func(mesh.Receiver) (notify.Sender, error) { return ops, nil },
			Lease: func() (uint64, bool) { // held at the first look alone.
				return 1, asked.Add(1) == 1
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.SetReceivers([]mesh.Receiver{{Name: "ops"}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait()
		if n := ops.tried(); n != 0 {
			t.Errorf("sent %d times without the lease", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
