package job

import (
	"time"

	"alps/mesh"
)

// How long after its deadline a target may still be heard before its silence
// is concluded from: reports are spooled and travel.
const (
	pendingSlack = 5 * time.Second
	runningSlack = 30 * time.Second
)

// pendingDeadline is when a node that has said nothing will not start any
// more.
func pendingDeadline(j *Job) time.Time { return j.Expires.Add(pendingSlack) }

// runningDeadline is when a node that started at the last moment must have
// ended, its clock being behind as far as it may.
func runningDeadline(j *Job) time.Time {
	return j.Expires.Add(time.Duration(j.Spec.Timeout+j.Spec.Grace)*time.Second + mesh.MaxSkew + runningSlack)
}

// deadlines puts into b what silence means by now.
func (s *Service) deadlines(b *batch) {
	var due []*live
	s.mu.RLock()
	for _, l := range s.live {
		if l.job.Ended.IsZero() && !b.now.Before(l.due) {
			due = append(due, l)
		}
	}
	s.mu.RUnlock()
	for _, l := range due {
		e := b.edit(l)
		e.expire(b.now)
		e.due = runningDeadline(&e.job)
	}
}

// expire ends the targets whose time is over.
func (e *edit) expire(now time.Time) {
	over := !now.Before(runningDeadline(&e.job))
	at := now.UTC().Truncate(time.Millisecond)
	for t := range e.all() {
		switch {
		case t.State == mesh.Pending:
			t.State, t.Reason = mesh.Expired, "no word from the node before the job expired"
		case over && t.State == mesh.Running:
			t.State, t.Reason = mesh.Unknown, "it was started, and the node has not said how it ended"
		case over && !t.State.Ended():
			t.State, t.Reason = mesh.Unknown, "the node took it on and has not been heard since"
		default:
			continue
		}
		t.Inferred, t.At = true, at
		e.set(t)
	}
}
