package notifytest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"alps/server/notify"
)

// Secret is what a Peer's Sender is made with where a secret goes: no error
// may show it.
const Secret = "s3cr3t-t0k3n"

// Behaviour is how a peer is to answer.
type Behaviour string

// The behaviours that a Sender must know to tell apart.
const (
	Takes   Behaviour = "takes"
	Refuses Behaviour = "refuses"
	Fails   Behaviour = "fails"
	Hangs   Behaviour = "hangs" // for longer than anybody waits.
	Gone    Behaviour = "gone"  // it is not there at all.
	Floods  Behaviour = "floods"
)

// Peer makes the other side of a Sender.
type Peer interface {
	// Sender returns a Sender whose peer behaves so. What must be cleaned up
	// is, at the end of the test.
	Sender(t *testing.T, b Behaviour) notify.Sender
	// Got returns the delivery ids that peers with the behaviour Takes have
	// seen, in any order.
	Got(t *testing.T) []string
}

// TestSender runs the suite of a Sender.
func TestSender(t *testing.T, fresh func(*testing.T) Peer) {
	t.Helper()
	message := func(n int) notify.Message {
		d := Delivery(n, "ops", notify.KindFiring)
		d.ID = fmt.Sprintf("%s/1", d.Incident.ID)
		d.Incident.Output = strings.Repeat("x", 4096) + "\xff" + "\x00"
		d.Text = "why\x00"
		return notify.Message{Delivery: d, URL: "https://alps/ui/incidents/" + string(d.Incident.ID)}
	}
	for b, want := range map[Behaviour]struct{ fails, refused bool }{
		Takes: {}, Refuses: {true, true}, Fails: {true, false}, Gone: {true, false},
	} {
		t.Run(string(b), func(t *testing.T) {
			err := fresh(t).Sender(t, b).Send(t.Context(), message(1))
			if (err != nil) != want.fails || notify.IsRefused(err) != want.refused {
				t.Errorf("got %v, refused %v", err, notify.IsRefused(err))
			}
			noSecret(t, err)
		})
	}
	t.Run("floods", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := fresh(t).Sender(t, Floods).Send(ctx, message(1)); err != nil {
			t.Errorf("a peer that takes it and says too much: %v", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		done := make(chan error, 1)
		s := fresh(t).Sender(t, Hangs)
		go func() { done <- s.Send(ctx, message(1)) }()
		select {
		case err := <-done:
			if err == nil || notify.IsRefused(err) {
				t.Errorf("got %v", err)
			}
			noSecret(t, err)
		case <-time.After(time.Minute):
			t.Fatal("it does not return after its time is over")
		}
	})
	t.Run("many at once", func(t *testing.T) {
		p := fresh(t)
		s := p.Sender(t, Takes)
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				if err := s.Send(t.Context(), message(n)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := make(map[string]bool)
		for _, id := range p.Got(t) {
			got[id] = true
		}
		if len(got) != 8 {
			t.Errorf("the peer has seen %v", got)
		}
	})
}

func noSecret(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), Secret) {
		t.Errorf("the error shows a secret: %v", err)
	}
}
