package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"alps/server/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHub(t interface{ Fatal(...any) }, keep int) *stream.Hub {
	h, err := stream.New(keep)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// event is the n-th event; its Data says so.
func event(topic string, n int) stream.Event {
	return stream.Event{Topic: topic, Type: "changed", Data: json.RawMessage(strconv.Itoa(n))}
}

// drain reads what a subscription has now, as "type topic data".
func drain(s *stream.Subscription) (out []string, lastID string) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := s.Next(ended)
		if err != nil {
			return out, lastID
		}
		lastID = e.ID
		if e.Type == stream.Reset {
			out = append(out, "reset")
			continue
		}
		out = append(out, e.Topic+" "+string(e.Data))
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	if _, err := stream.New(-1); err == nil {
		t.Error("a ring of -1 events was made")
	}
}

func TestSubscribe(t *testing.T) {
	tests := []struct {
		name   string
		topics []string
		after  func(ids []string) string
		want   []string
	}{
		{"a new client begins with a reset", nil, func([]string) string { return "" }, []string{"reset"}},
		{"from the newest: nothing", nil, func(ids []string) string { return ids[5] }, nil},
		{"from the middle: the rest", nil, func(ids []string) string { return ids[3] }, []string{"node 5", "job/ab 6"}},
		{"one before the oldest kept: all that is kept", nil, func(ids []string) string { return ids[1] }, []string{"job/a 3", "job/ab 4", "node 5", "job/ab 6"}},
		{"older than the ring", nil, func(ids []string) string { return ids[0] }, []string{"reset"}},
		{"another boot", nil, func(ids []string) string { return "x" + ids[3][1:] }, []string{"reset"}},
		{"from the future", nil, func(ids []string) string { return ids[5] + "0" }, []string{"reset"}},
		{"not an id", nil, func([]string) string { return "1; drop table" }, []string{"reset"}},
		{"a negative number", nil, func(ids []string) string { return ids[5][:13] + "-1" }, []string{"reset"}},
		{"one topic", []string{"node"}, func(ids []string) string { return ids[1] }, []string{"node 5"}},
		{"a topic covers what lies below", []string{"job"}, func(ids []string) string { return ids[1] }, []string{"job/a 3", "job/ab 4", "job/ab 6"}},
		{"and not what begins like it", []string{"job/a"}, func(ids []string) string { return ids[1] }, []string{"job/a 3"}},
		{"several topics", []string{"job/a", "node"}, func(ids []string) string { return ids[1] }, []string{"job/a 3", "node 5"}},
		{"the empty topic covers no other", []string{""}, func(ids []string) string { return ids[1] }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t, 4)
			all := h.Subscribe(nil, "")
			if _, err := all.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for i, topic := range []string{"job/a", "node", "job/a", "job/ab", "node", "job/ab"} {
				h.Publish(event(topic, i+1))
				e, err := all.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, e.ID)
			}
			got, _ := drain(h.Subscribe(tt.topics, tt.after(ids)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPositionMovesOverOtherTopics(t *testing.T) {
	h := newHub(t, 4)
	s := h.Subscribe([]string{"alert"}, "")
	drain(s)
	for i := range 100 {
		h.Publish(event("node", i))
		drain(s)
	}
	got, _ := drain(h.Subscribe([]string{"alert"}, s.Position()))
	if got != nil {
		t.Errorf("a quiet topic resumed with %v, want nothing", got)
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, 4)
		s := h.Subscribe([]string{"job"}, "")
		drain(s)
		got := make(chan stream.Event, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			e, err := s.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- e
		})
		synctest.Wait()
		h.Publish(event("node", 1))
		synctest.Wait()
		if len(got) != 0 {
			t.Error("an event of another topic ended the wait")
		}
		h.Publish(event("job/1", 2))
		wg.Wait()
		if e := <-got; e.Topic != "job/1" || string(e.Data) != "2" {
			t.Errorf("got %+v, want job/1 2", e)
		}
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	h := newHub(t, 4)
	s := h.Subscribe(nil, "")
	drain(s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	h.Publish(event("node", 1))
	if got, _ := drain(s); len(got) != 1 {
		t.Errorf("after that it gave %v, want the one event", got)
	}
}

// TestNothingIsMissedSilently plays clients that read, lag, lose their
// connection and resume. Each keeps a copy of the log: a reset reads it anew,
// an event must be the next one of its topic. At the end every copy is whole.
func TestNothingIsMissedSilently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := []string{"job/1", "job/2", "node"}
		h := newHub(t, rapid.IntRange(1, 8).Draw(t, "keep"))
		count := map[string]int{} // published, by topic.
		type client struct {
			topic  string
			sub    *stream.Subscription
			lastID string
			have   int
		}
		clients := make([]*client, 3)
		for i := range clients {
			clients[i] = &client{topic: topics[i]}
		}
		read := func(c *client, most int) {
			if c.sub == nil {
				c.sub = h.Subscribe([]string{c.topic}, c.lastID)
			}
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			for range most {
				e, err := c.sub.Next(ended)
				if err != nil {
					return
				}
				c.lastID = e.ID
				if e.Type == stream.Reset {
					c.have = count[c.topic]
					continue
				}
				c.have++
				if want := fmt.Sprint(c.have); string(e.Data) != want || e.Topic != c.topic {
					t.Fatalf("client of %s got %s %s, want number %s", c.topic, e.Topic, e.Data, want)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				topic := rapid.SampledFrom(topics).Draw(t, "topic")
				count[topic]++
				h.Publish(event(topic, count[topic]))
			},
			"read": func(t *rapid.T) {
				read(rapid.SampledFrom(clients).Draw(t, "client"), rapid.IntRange(1, 5).Draw(t, "most"))
			},
			"lose the connection": func(t *rapid.T) {
				rapid.SampledFrom(clients).Draw(t, "client").sub = nil
			},
			"resume from the position": func(t *rapid.T) {
				c := rapid.SampledFrom(clients).Draw(t, "client")
				if c.sub != nil {
					c.lastID, c.sub = c.sub.Position(), nil
				}
			},
		})
		for _, c := range clients {
			read(c, 1000)
			if c.have != count[c.topic] {
				t.Fatalf("client of %s has %d of %d events", c.topic, c.have, count[c.topic])
			}
		}
	})
}

// TestManyPublishersOneOrder shows that all subscribers see one order, and
// that publishing never waits for a subscriber that does not read.
func TestManyPublishersOneOrder(t *testing.T) {
	const publishers, each = 4, 200
	h := newHub(t, publishers*each)
	h.Subscribe(nil, "") // never reads.
	subs := make([]*stream.Subscription, 3)
	for i := range subs {
		subs[i] = h.Subscribe(nil, "")
		drain(subs[i])
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				h.Publish(event("p/"+strconv.Itoa(p), i))
			}
		})
	}
	got := make([][]string, len(subs))
	for i, s := range subs {
		wg.Go(func() {
			for range publishers * each {
				e, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], e.ID+" "+e.Topic+" "+string(e.Data))
			}
		})
	}
	wg.Wait()
	for i := range got {
		if diff := cmp.Diff(got[0], got[i]); diff != "" {
			t.Errorf("subscriber %d saw another order:\n%s", i, diff)
		}
	}
	for n, line := range got[0] {
		if !strings.Contains(line, "-"+strconv.Itoa(n+1)+" ") {
			t.Fatalf("event %d is %q: the numbers have a gap", n+1, line)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	h := newHub(b, 0)
	e := event("job/1", 1)
	for b.Loop() {
		h.Publish(e)
	}
}
