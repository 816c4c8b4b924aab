package exec

import (
	"testing"

	"alps/mesh/dispatch"
)

// TestEvent says which user events make a node look.
func TestEvent(t *testing.T) {
	const node = "00000000000000000000000000000001"
	mine := uint16(1)
	for !(dispatch.Event{Shards: mine}).Touches(node) {
		mine <<= 1
	}
	tests := map[string]struct {
		payload string
		want    bool
	}{
		"something new":             {dispatch.Event{Shards: mine, Seq: 11}.String(), true},
		"new for all shards":        {dispatch.Event{Shards: 0xffff, Seq: 11}.String(), true},
		"the watch has shown it":    {dispatch.Event{Shards: mine, Seq: 10}.String(), false},
		"late, and passed long ago": {dispatch.Event{Shards: mine, Seq: 3}.String(), false},
		"new for other shards":      {dispatch.Event{Shards: ^mine, Seq: 11}.String(), false},
		"of a version to come":      {"2 anything", true},
		"nothing":                   {"", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &Engine{o: Options{Node: node}, kick: make(chan struct{}, 1)}
			e.status.Cursor = 10
			e.event(tt.payload)
			if got := len(e.kick) == 1; got != tt.want {
				t.Errorf("event(%q) makes the node look: %v, want %v", tt.payload, got, tt.want)
			}
		})
	}
}
