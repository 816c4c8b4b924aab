package consul

import (
	"context"
	"fmt"
	"testing"

	"alps/mesh"
)

func TestEvents(t *testing.T) {
	c, far, ctx := agentClient(t), serverClient(t), t.Context()
	_, err := c.Fire(ctx, "alps-test", make([]byte, MaxEventPayload+1))
	wantCode(t, "Fire of too much", err, mesh.TooLarge)

	old, err := c.Fire(ctx, "alps-test", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent knows the old event", func() error { return knows(ctx, c, old) })

	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	got := make(chan Event, 1000)
	done := make(chan struct{})
	kick := make(chan struct{})
	go func() {
		defer close(done)
		c.WatchEvents(watchCtx, "alps-test", WatchOptions{Kick: kick}, func(e Event) { got <- e })
	}()
	// The first kick may be taken before the first read, the second only
	// after it: then the watch knows which events are old.
	kick <- struct{}{}
	kick <- struct{}{}

	const burst = 20
	fired := map[string]string{}
	for i := range burst {
		payload := fmt.Sprintf("%0*d", MaxEventPayload, i)
		id, err := far.Fire(ctx, "alps-test", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		fired[id] = payload
		if _, err := far.Fire(ctx, "another-name", nil); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for len(seen) < burst {
		e := within(t, "all events of the burst", got)
		if e.ID == old {
			t.Error("an event older than the watch was handed on")
		}
		if seen[e.ID] {
			t.Errorf("event %s was handed on twice", e.ID)
		}
		seen[e.ID] = true
		if e.Name != "alps-test" || string(e.Payload) != fired[e.ID] {
			t.Errorf("event %+v, want payload %q", e, fired[e.ID])
		}
	}
	stop()
	within(t, "the watch ends", done)
	if n := len(got); n != 0 {
		t.Errorf("%d events more than were fired", n)
	}
}

func knows(ctx context.Context, c *Client, id string) error {
	es, _, err := c.Events(ctx, "", Query{})
	if err != nil {
		return err
	}
	for _, e := range es {
		if e.ID == id {
			return nil
		}
	}
	return fmt.Errorf("%s is not among %d events", id, len(es))
}

func TestSeenForgetsTheOldest(t *testing.T) {
	s := newSeen()
	n := len(s.ring)
	id := func(i int) string { return fmt.Sprint("id", i) }
	for i := range n {
		if !s.add(id(i)) {
			t.Fatalf("%s is new and was not taken", id(i))
		}
	}
	if s.add(id(0)) || s.add(id(n-1)) {
		t.Error("an id was taken twice")
	}
	s.add(id(n)) // takes the place of the first.
	if !s.add(id(0)) {
		t.Error("the oldest id was not forgotten")
	}
	if len(s.ids) != n {
		t.Errorf("%d ids are remembered, want %d", len(s.ids), n)
	}
}
