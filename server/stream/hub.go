package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"alps/mesh"
)

// Keep is how many events a Hub keeps unless told otherwise: a client that
// lost its connection for a minute resumes even during a job on ten thousand
// nodes. At about 300 bytes an event it is 5 MB.
const Keep = 16384

// Reset is the Type of the event that tells a client to read the state.
const Reset = "reset"

// Event is one change. Its Data is shared between all subscribers: nobody may
// change it after Publish.
type Event struct {
	// ID is set by Publish.
	ID string
	// Topic says what changed, as a path: "job/<id>", "node", "alert".
	Topic string
	// Type says how, in one word that the topic's readers know.
	Type string
	// Node is the node that the event is about, if it is about one; a
	// subscriber that may see only some nodes is filtered by it.
	Node mesh.NodeName
	// Data is one JSON value.
	Data json.RawMessage
}

// Hub keeps the newest events and hands them to subscribers. Its methods may
// be called from any goroutine.
type Hub struct {
	boot string

	mu   sync.Mutex
	ring []Event       // the event numbered n lies at n % len(ring).
	last uint64        // number of the newest event; the first is 1.
	wake chan struct{} // closed by the next Publish; nil while nobody waits.
}

// New returns a Hub that keeps the newest keep events; 0 means Keep.
func New(keep int) (*Hub, error) {
	if keep < 0 {
		return nil, fmt.Errorf("stream: cannot keep %d events", keep)
	}
	if keep == 0 {
		keep = Keep
	}
	var boot [6]byte
	_, _ = rand.Read(boot[:]) // never fails: crypto/rand ends the process instead.
	return &Hub{boot: hex.EncodeToString(boot[:]), ring: make([]Event, keep)}, nil
}

// Publish numbers e and hands it to all subscribers. It never waits for one
// and cannot fail.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e.ID = h.id(h.last)
	h.ring[h.last%uint64(len(h.ring))] = e
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

func (h *Hub) id(n uint64) string { return h.boot + "-" + strconv.FormatUint(n, 10) }

// Subscribe returns a Subscription to the topics; none means all. A topic
// covers itself and what lies below it: "job" covers "job/<id>". after is the
// ID of the last event that the client has seen, empty for a new client. A
// Subscription needs no closing.
func (h *Hub) Subscribe(topics []string, after string) *Subscription {
	s := &Subscription{hub: h, topics: slices.Clone(topics)}
	boot, num, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(num, 10, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || boot != h.boot || n > h.last || h.overrun(n) {
		s.reset, s.seen = true, h.last
	} else {
		s.seen = n
	}
	return s
}

// overrun reports whether the event after the one numbered seen is no longer
// in the ring.
func (h *Hub) overrun(seen uint64) bool { return h.last-seen > uint64(len(h.ring)) }

// Subscription is one client's place in the stream. It belongs to one
// goroutine.
type Subscription struct {
	hub    *Hub
	topics []string
	seen   uint64 // number of the last event that was looked at.
	reset  bool   // the next event is a Reset.
}

// Next returns the next event of the Subscription's topics, waiting for it if
// need be. It returns the context's error when ctx ends first, and may be
// called again after that.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		e, ok, wake := s.take()
		if ok {
			return e, nil
		}
		select {
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-wake:
		}
	}
}

// Position is the ID from which a client continues without a gap that has
// handled all that Next returned. It moves on over events of other topics, so
// that a quiet topic does not fall out of the ring.
func (s *Subscription) Position() string { return s.hub.id(s.seen) }

// take returns the next event if there is one, and otherwise a channel that
// is closed when there may be.
func (s *Subscription) take() (Event, bool, <-chan struct{}) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.overrun(s.seen) {
		s.reset, s.seen = true, h.last
	}
	if s.reset {
		s.reset = false
		return Event{ID: h.id(s.seen), Type: Reset, Data: json.RawMessage("{}")}, true, nil
	}
	for s.seen < h.last {
		s.seen++
		if e := h.ring[s.seen%uint64(len(h.ring))]; s.wants(e.Topic) {
			return e, true, nil
		}
	}
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	return Event{}, false, h.wake
}

func (s *Subscription) wants(topic string) bool {
	if len(s.topics) == 0 {
		return true
	}
	return slices.ContainsFunc(s.topics, func(t string) bool {
		rest, ok := strings.CutPrefix(topic, t)
		return ok && (rest == "" || rest[0] == '/')
	})
}
