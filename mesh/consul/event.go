package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// MaxEventPayload is the most that Fire sends. Consul would take more, but an
// event is a hint and no carrier: what matters stands in KV.
const MaxEventPayload = 64

// Event is a user event of Consul: a hint that may be lost, doubled or late.
type Event struct {
	ID      string
	Name    string
	Payload []byte
	LTime   uint64 // the gossip's own clock.
}

// Fire sends a user event to every agent of the datacenter, and returns its
// id. It returns when a server has taken it on; who gets it is never known.
func (c *Client) Fire(ctx context.Context, name string, payload []byte) (id string, err error) {
	if len(payload) > MaxEventPayload {
		return "", mesh.Errorf(mesh.TooLarge, "fire event %q: %d bytes of payload are more than %d", name, len(payload), MaxEventPayload)
	}
	err = c.write(ctx, fmt.Sprintf("fire event %q", name), func(o *api.WriteOptions) (err error) {
		id, _, err = c.api.Event().Fire(&api.UserEvent{Name: name, Payload: payload}, o)
		return err
	})
	return id, err
}

// Events returns what the agent remembers of a name (all names if empty),
// oldest first: the last 256 events of all names together, since it started.
// Their index only says whether something is new.
func (c *Client) Events(ctx context.Context, name string, q Query) ([]Event, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list events %q", name), func(o *api.QueryOptions) ([]Event, *api.QueryMeta, error) {
		es, m, err := c.api.Event().List(name, o)
		if err != nil {
			return nil, m, err
		}
		events := make([]Event, len(es))
		for i, e := range es {
			events[i] = Event{ID: e.ID, Name: e.Name, Payload: e.Payload, LTime: e.LTime}
		}
		return events, m, nil
	})
}

// WatchEvents calls fn with every event of that name that the agent hears
// from now on, each once, until ctx ends. Events that the agent knew when the
// watch began are dropped. So are those that more than 255 others followed
// before they were read: in a burst some are lost.
//
// In o, MinInterval and Burst default to 200 ms and 5, for a hint is of use
// only when it is quick.
func (c *Client) WatchEvents(ctx context.Context, name string, o WatchOptions, fn func(Event)) {
	if o.MinInterval == 0 {
		o.MinInterval = 200 * time.Millisecond
	}
	if o.Burst == 0 {
		o.Burst = 5
	}
	o.unordered = true
	seen := newSeen()
	first := true
	Watch(ctx, o, func(ctx context.Context, q Query) ([]Event, Meta, error) {
		return c.Events(ctx, name, q)
	}, func(es []Event, _ Meta) {
		for _, e := range es {
			if seen.add(e.ID) && !first {
				fn(e)
			}
		}
		first = false
	})
}

// seen remembers the last ids it was given: four rings of Consul's, because a
// restarted agent hears old events again.
type seen struct {
	ids  map[string]bool
	ring []string
	at   int
}

func newSeen() *seen {
	const most = 4 * 256
	return &seen{ids: make(map[string]bool, most), ring: make([]string, most)}
}

// add reports whether id is new.
func (s *seen) add(id string) bool {
	if s.ids[id] {
		return false
	}
	delete(s.ids, s.ring[s.at])
	s.ring[s.at] = id
	s.ids[id] = true
	s.at = (s.at + 1) % len(s.ring)
	return true
}
