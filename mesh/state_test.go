package mesh

import (
	"testing"

	"pgregory.net/rapid"
)

func TestNext(t *testing.T) {
	tests := []struct {
		name           string
		from, to, want State
	}{
		{"first word", Pending, Acked, Acked},
		{"result without an ack", Pending, OK, OK},
		{"late ack", Running, Acked, Running},
		{"end", Running, Failed, Failed},
		{"an end is final", Failed, OK, Failed},
		{"an end is not undone", OK, Running, OK},
		{"the node's word replaces an inference", Unknown, OK, OK},
		{"even after it expired", Expired, Failed, Failed},
		{"an inference replaces no end", OK, Unknown, OK},
		{"nor another inference", Expired, Unknown, Expired},
		{"an inference is not reopened", Expired, Acked, Expired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.from.Next(tt.to); got != tt.want {
				t.Errorf("%s.Next(%s) = %s, want %s", tt.from, tt.to, got, tt.want)
			}
		})
	}
}

// TestNextIsOrderFree delivers a node's reports lost, doubled and shuffled:
// wherever its end arrives, the target is in that end.
func TestNextIsOrderFree(t *testing.T) {
	ends := []State{OK, Failed, Signaled, Timeout, Cancelled, Rejected}
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.SampledFrom(ends).Draw(t, "end")
		reports := rapid.SliceOf(rapid.SampledFrom([]State{Acked, Queued, Running, Unknown, Expired, end})).Draw(t, "reports")
		reports = append(reports, end)
		reports = rapid.Permutation(reports).Draw(t, "order")
		s := Pending
		for _, r := range reports {
			next := s.Next(r)
			if next.Next(r) != next {
				t.Fatalf("%s.Next(%s) is not idempotent", s, r)
			}
			if s.Ended() && !next.Ended() {
				t.Fatalf("%s.Next(%s) = %s reopens an end", s, r, next)
			}
			s = next
		}
		if s != end {
			t.Fatalf("after %v the state is %s, want %s", reports, s, end)
		}
	})
}

func TestStatesParse(t *testing.T) {
	for _, s := range States() {
		if got, err := ParseState(string(s)); err != nil || got != s {
			t.Errorf("ParseState(%s) = %s, %v", s, got, err)
		}
	}
	if s, err := ParseState("FINE"); err == nil || s != Unknown {
		t.Errorf("ParseState(FINE) = %s, %v; want %s and an error", s, err, Unknown)
	}
}
