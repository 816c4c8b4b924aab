package job

import (
	"iter"
	"maps"
	"slices"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// A batch collects what one transaction of the ledger writes. Nothing of it is
// visible before it is stored.
type batch struct {
	s     *Service
	now   time.Time
	edits map[mesh.JobID]*edit
	order []mesh.JobID // of the edits, as they were begun.

	outputs map[string][]byte
	wanted  map[string][]mesh.NodeID
	audit   []mesh.Audit
	after   []func() // called when it is stored.
}

// An edit is what a batch does to one job.
type edit struct {
	live    *live
	job     Job
	targets map[int]Target
	due     time.Time
	changed bool // a target has changed, rather than been flushed.
	steered bool // phase or wave was changed.
	ended   bool // the last target has ended.
	flush   bool // progress is stored as well.
	quiet   bool // nothing that anybody has not been told.
}

func (s *Service) newBatch() *batch {
	return &batch{
		s: s, now: time.Now(), edits: make(map[mesh.JobID]*edit),
		outputs: make(map[string][]byte), wanted: make(map[string][]mesh.NodeID),
	}
}

// edit begins to change a job, or goes on with it.
func (b *batch) edit(l *live) *edit {
	e := b.edits[l.job.ID]
	if e == nil {
		e = &edit{live: l, job: l.job, targets: make(map[int]Target), due: l.due}
		e.job.Counts, e.job.Woke = maps.Clone(l.job.Counts), maps.Clone(l.job.Woke)
		b.edits[l.job.ID] = e
		b.order = append(b.order, l.job.ID)
	}
	return e
}

// target returns a target as the batch leaves it so far.
func (e *edit) target(i int) Target {
	if t, ok := e.targets[i]; ok {
		return t
	}
	return e.live.targets[i]
}

// set changes a target and keeps the counts.
func (e *edit) set(t Target) {
	old := e.target(t.Index)
	if old.State != t.State {
		if e.job.Counts[old.State]--; e.job.Counts[old.State] == 0 {
			delete(e.job.Counts, old.State)
		}
		e.job.Counts[t.State]++
	}
	if old.Woke == "" && t.Woke != "" {
		if e.job.Woke == nil {
			e.job.Woke = make(map[mesh.Woke]int)
		}
		e.job.Woke[t.Woke]++
	}
	e.targets[t.Index], e.changed = t, true
}

// stored reports whether t is written with this edit rather than later.
func (e *edit) stored(t Target) bool { return e.flush || t.State.Ended() }

// all walks over the whole list as the batch leaves it so far.
func (e *edit) all() iter.Seq[Target] {
	return func(yield func(Target) bool) {
		for i := range e.live.targets {
			if !yield(e.target(i)) {
				return
			}
		}
	}
}

// conclude opens waves and closes jobs, as the changes of the batch have it.
func (b *batch) conclude() {
	for _, id := range b.order {
		e := b.edits[id]
		if e.changed && e.job.Plan.Waves(e.job.Spec.Targets.Count) > 1 {
			b.advance(e)
		}
		if e.job.Ended.IsZero() && e.job.Counts.Open() == 0 {
			e.job.Ended, e.ended = b.now.UTC().Truncate(time.Millisecond), true
			b.audit = append(b.audit, mesh.Audit{
				Time: b.now, Actor: actorServer, Action: "job.end", Object: string(id), Outcome: mesh.OutcomeDone,
				Detail: countDetail(e.job.Counts),
			})
		}
		if !e.job.Ended.IsZero() {
			e.due = b.now.Add(keepEnded)
		}
	}
}

// change returns what is to be stored, and whether it has to be now: progress
// alone waits.
func (b *batch) change() (Change, bool) {
	c := Change{Targets: make(map[mesh.JobID][]Target), Outputs: b.outputs, Wanted: b.wanted, Audit: b.audit}
	for _, id := range b.order {
		e := b.edits[id]
		for _, i := range slices.Sorted(maps.Keys(e.targets)) {
			if t := e.targets[i]; e.stored(t) {
				c.Targets[id] = append(c.Targets[id], t)
			}
		}
		if len(c.Targets[id]) > 0 || e.steered || e.ended {
			c.Jobs = append(c.Jobs, e.job)
		}
	}
	return c, len(c.Jobs)+len(c.Outputs)+len(c.Wanted)+len(c.Audit) > 0
}

// advance asks the plan whether another wave opens, and steers the job so.
func (b *batch) advance(e *edit) {
	if e.job.Phase != dispatch.PhaseRun || e.job.Stopped != "" {
		return
	}
	next := e.job.Plan.advance(e.all(), e.job.Wave)
	switch {
	case next.stop != "":
		b.stopWaves(e, next.stop)
	case next.open > e.job.Wave:
		if err := b.steer(e, dispatch.PhaseRun, next.open, nil); err != nil {
			b.stopWaves(e, "the server may not open a wave: "+err.Error())
		}
	}
}

// stopWaves opens no further wave: what waits for one is skipped. The nodes
// are told to start nothing more; a node that cannot be told waits for its
// wave until the job expires.
func (b *batch) stopWaves(e *edit, why string) {
	e.job.Stopped = why
	for t := range e.all() {
		if t.Listed && t.Wave > e.job.Wave && !t.State.Ended() {
			t.State, t.Reason, t.Inferred, t.At = mesh.Skipped, why, true, b.now.UTC().Truncate(time.Millisecond)
			e.set(t)
		}
	}
	if err := b.steer(e, dispatch.PhasePause, e.job.Wave, nil); err != nil {
		b.s.log.Warn("nodes are not told that no further wave opens", "job", e.job.ID, "error", err)
	}
	b.audit = append(b.audit, mesh.Audit{
		Time: b.now, Actor: actorServer, Action: "job.stop", Object: string(e.job.ID), Outcome: mesh.OutcomeDone, Reason: why,
	})
}
