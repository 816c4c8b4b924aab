package dispatch

import (
	"fmt"
	"strconv"
	"strings"

	"alps/mesh"
)

// EventName is the name of the one user event that ALPS fires. Consul makes a
// telemetry counter of each name, so names must be few.
const EventName = "alps"

// MaxEvent is the most bytes of an event's payload. Consul takes 300; small
// events survive bursts better.
const MaxEvent = 64

// Event is the payload of the user event: which shards have something new,
// and the newest sequence that was written. It only says "look now": losing
// it, doubling it or forging it changes nothing but when a node looks.
type Event struct {
	Shards uint16 // bit n is set when head n has changed.
	Seq    uint64
}

// Touches reports whether a node's own head has changed.
func (e Event) Touches(node mesh.NodeID) bool { return e.Shards&(1<<node.Shard()) != 0 }

// String is the payload: version, bitmap in hexadecimal, sequence.
func (e Event) String() string { return fmt.Sprintf("1 %04x %d", e.Shards, e.Seq) }

// ParseEvent reads a payload. Anything else than version 1 is an error: the
// caller may treat it as "look now" all the same.
func ParseEvent(s string) (Event, error) {
	if len(s) > MaxEvent {
		return Event{}, fmt.Errorf("event of %d bytes is over the limit of %d", len(s), MaxEvent)
	}
	f := strings.Split(s, " ")
	if len(f) != 3 || f[0] != "1" {
		return Event{}, fmt.Errorf("event %q is not of version 1", s)
	}
	shards, err := strconv.ParseUint(f[1], 16, 16)
	if err != nil {
		return Event{}, fmt.Errorf("event %q: bitmap: %w", s, err)
	}
	seq, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return Event{}, fmt.Errorf("event %q: sequence: %w", s, err)
	}
	return Event{Shards: uint16(shards), Seq: seq}, nil
}
