package exec

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"alps/agent/exec/journal"
	"alps/agent/exec/run"
	"alps/mesh"
	"alps/mesh/dispatch"
)

// job is an attempt that the node has taken on. What is not constant is
// guarded by Engine.mu.
type job struct {
	key     journal.Key
	spec    *mesh.Spec
	wave    int
	woke    mesh.Woke
	startAt time.Time
	resumed bool // taken on by an earlier life of the agent.
	again   bool // started by it as well.

	ctl    dispatch.Ctl
	queued bool                    // QUEUED was reported.
	cancel context.CancelCauseFunc // of the run; nil while it waits.
}

func newJob(key journal.Key, spec *mesh.Spec, t mesh.Target, now time.Time) *job {
	return &job{
		key: key, spec: spec, wave: t.Wave, startAt: now,
		ctl: dispatch.Ctl{Phase: dispatch.PhaseRun}, // until one is announced.
	}
}

// refusal is the job's end without a start.
func (j *job) refusal(s mesh.State, reason string) refusal {
	return refusal{key: j.key, state: s, reason: reason, expires: j.spec.Expires}
}

// expired reports whether it is too late to start the job.
func (j *job) expired(now time.Time) bool { return now.Unix() > j.spec.Expires }

// expiry is the first moment at which expired is true.
func (j *job) expiry() time.Time { return time.Unix(j.spec.Expires+1, 0) }

// offset is the node's place in the start window of a job, in milliseconds:
// the same at each try, and evenly spread over the nodes.
func offset(node mesh.NodeID, key journal.Key, window int) time.Duration {
	if window <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s", node, key) // a hash takes everything.
	return time.Duration(h.Sum64()%uint64(window)) * time.Millisecond
}

func (e *Engine) held(k journal.Key) *job {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.jobs[k]
}

// admit takes on what a look has found: journaled first, together with how
// far the node has read, then queued.
func (e *Engine) admit(f *findings, cursor journal.Cursor) {
	e.refuseBusy(f)
	entries := make([]journal.Entry, len(f.jobs))
	for i, j := range f.jobs {
		entries[i] = journal.Entry{Key: j.key, Expires: j.spec.Expires, Idempotent: j.spec.Idempotent, Woke: j.woke}
	}
	for _, r := range f.refusals { // before the cursor passes them.
		e.endUnstarted(r)
	}
	if err := e.journal.Take(cursor, entries...); err != nil {
		e.fault("jobs not journaled", err)
		for _, j := range f.jobs {
			e.endUnstarted(j.refusal(mesh.Rejected, unwritable(err)))
		}
		return
	}
	for _, j := range f.jobs {
		r := e.report(j.key, mesh.Acked, "")
		r.Woke = j.woke
		e.tell(r)
	}
	e.mu.Lock()
	for _, j := range f.jobs {
		e.jobs[j.key] = j
		e.waiting = append(e.waiting, j)
	}
	for _, c := range f.ctls {
		e.steerLocked(c)
	}
	e.mu.Unlock()
	signal(e.poke)
}

func unwritable(err error) string {
	return fmt.Sprintf("this node cannot write down what it starts: %v", err)
}

// refuseBusy moves what the queue has no room for from the jobs to the
// refusals. What was taken on before a restart has its place.
func (e *Engine) refuseBusy(f *findings) {
	e.mu.Lock()
	defer e.mu.Unlock()
	room := e.limits.Queue - len(e.waiting) + max(0, e.limits.Slots-e.running)
	f.jobs = slices.DeleteFunc(f.jobs, func(j *job) bool {
		if room > 0 || j.resumed {
			room--
			return false
		}
		f.refusals = append(f.refusals, j.refusal(mesh.Rejected,
			fmt.Sprintf("busy: %d jobs run and %d wait on this node already", e.running, e.limits.Queue)))
		return true
	})
}

// steerLocked follows a verified ctl, if it is newer. e.mu is held.
func (e *Engine) steerLocked(c dispatch.Ctl) {
	j := e.jobs[journal.Key{Job: c.Job, Attempt: c.Attempt}]
	if j == nil || c.Gen <= j.ctl.Gen || j.ctl.Phase == dispatch.PhaseCancel {
		return
	}
	j.ctl = c
	if c.Phase == dispatch.PhaseCancel && j.cancel != nil {
		j.cancel(run.ErrCancelled)
	}
}

// steward starts what may start until ctx ends. It is the only one who does.
func (e *Engine) steward(ctx context.Context) {
	for {
		t := time.NewTimer(time.Until(e.schedule(ctx)))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-e.poke:
			t.Stop()
		case <-t.C:
		}
	}
}

// schedule starts and ends what it is time for, and returns when to look
// again if nothing else happens.
func (e *Engine) schedule(ctx context.Context) (next time.Time) {
	now := time.Now()
	next = now.Add(time.Hour)
	var over []refusal
	var queued []mesh.Report
	e.mu.Lock()
	e.waiting = slices.DeleteFunc(e.waiting, func(j *job) bool {
		why, until := e.waits(j, now)
		switch {
		case j.ctl.Phase == dispatch.PhaseCancel:
			over = append(over, j.refusal(mesh.Cancelled, cancelledEarly))
			return true
		case j.expired(now):
			over = append(over, j.refusal(mesh.Expired, "its time passed while it waited "+cmp.Or(why, "for a slot")))
			return true
		case why == "":
			e.startLocked(ctx, j)
			return true
		}
		if until.Before(next) {
			next = until
		}
		if !j.queued {
			j.queued = true
			queued = append(queued, e.report(j.key, mesh.Queued, "waits "+why))
		}
		return false
	})
	e.mu.Unlock()
	for _, r := range queued {
		e.tell(r)
	}
	for _, r := range over {
		e.endUnstarted(r)
	}
	return next
}

// waits says what a job waits for, empty if it may start, and when to look
// again. e.mu is held.
func (e *Engine) waits(j *job, now time.Time) (why string, until time.Time) {
	switch {
	case j.ctl.Phase == dispatch.PhasePause:
		return "for the end of a pause", j.expiry()
	case j.wave > j.ctl.Wave:
		return fmt.Sprintf("for wave %d to be opened", j.wave), j.expiry()
	case now.Before(j.startAt):
		return "for its place in the start window", j.startAt
	case e.running >= e.limits.Slots:
		return fmt.Sprintf("for a slot: %d jobs run", e.running), j.expiry()
	}
	return "", time.Time{}
}

// startLocked gives a job a slot and a goroutine. e.mu is held.
func (e *Engine) startLocked(ctx context.Context, j *job) {
	ctx, j.cancel = context.WithCancelCause(ctx)
	e.running++
	e.wg.Go(func() {
		defer j.cancel(nil)
		e.perform(ctx, j)
		e.mu.Lock()
		e.running--
		delete(e.jobs, j.key)
		e.mu.Unlock()
		signal(e.poke)
	})
}
