package mesh

import "fmt"

// State is how far one target of a job has come. Every target of a job is in
// exactly one State at any time, so the counts over the states always sum to
// the length of the job's list.
type State string

// The states of a target. PENDING to RUNNING are open; the others end the
// attempt. EXPIRED and UNKNOWN may be an inference of the server from
// silence; a later word from the node itself replaces them.
const (
	Pending   State = "PENDING"   // announced; the node has said nothing.
	Acked     State = "ACKED"     // the node has verified it and taken it on.
	Queued    State = "QUEUED"    // waits for a slot or for its wave.
	Running   State = "RUNNING"   // the process was started.
	OK        State = "OK"        // exited 0.
	Failed    State = "FAILED"    // exited with another code, or could not be started.
	Signaled  State = "SIGNALED"  // ended by a signal that ALPS did not send.
	Timeout   State = "TIMEOUT"   // ran too long; the whole tree was stopped.
	Cancelled State = "CANCELLED" // an operator stopped it; the tree is proven empty.
	Rejected  State = "REJECTED"  // the node, or the server for it, refused; the reason says why.
	Expired   State = "EXPIRED"   // its time passed before it started.
	Skipped   State = "SKIPPED"   // its wave was never opened.
	Unknown   State = "UNKNOWN"   // started, and nobody can say how it ended.
)

// States lists every State in the order in which surfaces show them.
func States() []State {
	return []State{
		Pending, Acked, Queued, Running,
		OK, Failed, Signaled, Timeout, Cancelled, Rejected, Expired, Skipped, Unknown,
	}
}

// ParseState returns the State that s names.
func ParseState(s string) (State, error) {
	for _, st := range States() {
		if string(st) == s {
			return st, nil
		}
	}
	return Unknown, fmt.Errorf("unknown state %q", s)
}

// Ended reports whether s ends an attempt.
func (s State) Ended() bool { return s.rank() >= rankEnd }

// Inferred reports whether the server may have set s because a node was
// silent. The node's own word, when it comes, replaces such a state.
func (s State) Inferred() bool { return s == Expired || s == Unknown || s == Skipped }

// Next says in which state a target is that was in s and of which to is now
// reported. Reports may be lost, doubled and reordered: an older state never
// replaces a newer one, and an end is final unless it was inferred from
// silence (see Inferred). It is idempotent: s.Next(t).Next(t) == s.Next(t).
func (s State) Next(to State) State {
	switch {
	case !s.Ended() && to.rank() > s.rank():
		return to
	case s.Inferred() && to.Ended() && !to.Inferred():
		return to
	default:
		return s
	}
}

const rankEnd = 4

func (s State) rank() int {
	switch s {
	case Pending:
		return 0
	case Acked:
		return 1
	case Queued:
		return 2
	case Running:
		return 3
	default:
		return rankEnd
	}
}
