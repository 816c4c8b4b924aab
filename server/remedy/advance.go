package remedy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"alps/mesh"
)

// begin stores a decision and carries it out. That another leader, or a pause,
// was first is not an error of this one's.
func (w *work) begin(ctx context.Context, r Record) error {
	if err := w.put(ctx, r); err != nil {
		return err
	}
	w.fresh = r.ID
	defer func() { w.fresh = "" }()
	return w.carryOn(ctx, w.open[w.openAt(r.ID)])
}

// advance takes every open run as far as it goes now. One that cannot go on does
// not keep the others back, unless nothing that is known holds any more.
func (w *work) advance(ctx context.Context) error {
	var errs []error
	for _, r := range w.open {
		err := w.carryOn(ctx, r)
		if lapsed(err) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// carryOn takes one of the open runs as far as it goes now.
func (w *work) carryOn(ctx context.Context, open *Record) error {
	for open.State.Open() {
		r, moved, err := w.move(ctx, *open)
		if err != nil {
			return err
		}
		if !moved {
			open.Job, open.After, open.Steps, open.Reason = r.Job, r.After, r.Steps, r.Reason // how the jobs fare is not stored.
			return nil
		}
		if err := w.put(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// move does the next thing in r, and reports whether there was one.
func (w *work) move(ctx context.Context, r Record) (_ Record, moved bool, err error) {
	if len(r.Plan) > 0 {
		r.Steps = slices.Clone(r.Steps)
		moved, err = w.carry(ctx, &r)
		return r, moved, err
	}
	was := r.State
	r, err = w.step(ctx, r)
	return r, r.State != was, err
}

// step returns what becomes of an open run; its old State when it has to wait.
func (w *work) step(ctx context.Context, r Record) (Record, error) {
	switch r.State {
	case mesh.RemedyDecided:
		return w.submit(ctx, r)
	case mesh.RemedyRunning:
		job, found, err := w.e.o.Jobs.State(ctx, r.ID)
		if err != nil {
			return r, fmt.Errorf("ask for job %s: %w", r.ID, err)
		}
		// The check need not be known now; its period is then a guess.
		check := w.e.check(&r)
		return r.followed(job, found, time.Now(), w.verify(r.Policy)+period(check)), nil
	case mesh.RemedyVerifying:
		return r.verified(w.e.check(&r), time.Now()), nil
	case mesh.RemedyProposed, mesh.RemedyUndoing, mesh.RemedySucceeded, mesh.RemedyFailed, mesh.RemedyRefused, mesh.RemedyObserved:
	}
	return r, nil
}

func (e *Engine) check(r *Record) *mesh.CheckState {
	s, ok := e.o.Checks.Get(r.DC, r.Node, r.Check)
	if !ok {
		return nil
	}
	return &s
}

// verify is how long a policy waits for its check.
func (w *work) verify(name string) time.Duration {
	if p := w.setup.byName[name]; p != nil {
		return p.Verify
	}
	return orphanVerify
}

// submit makes the job of a run that was decided, unless it exists: by an
// earlier attempt, or by the leader before.
func (w *work) submit(ctx context.Context, r Record) (Record, error) {
	p := w.setup.byName[r.Policy]
	timeout := orphanTimeout
	if p != nil {
		timeout = p.timeout()
	}
	if r.ID != w.fresh {
		job, found, err := w.e.o.Jobs.State(ctx, r.ID)
		switch {
		case err != nil:
			return r, fmt.Errorf("ask for job %s: %w", r.ID, err)
		case found:
			told, err := w.e.o.Jobs.Announced(ctx, r.ID)
			if err != nil {
				return r, fmt.Errorf("ask for job %s: %w", r.ID, err)
			}
			if told {
				r.Job = job
				return r.submitted(time.Now(), timeout), nil
			}
		}
	}
	if v, c := w.reconsider(p, &r); v.Reason != "" {
		return r.refused(v, c), nil
	}
	if now := time.Now(); now.After(r.Deadline) && w.trouble[r.ID] == nil {
		return r.refused(Verdict{GuardStale, "decided at " + clock(r.Decided) + " and not carried out in time"}, now), nil
	} else if now.After(r.Deadline) {
		return r.failed(now, "the job could not be submitted: %v", w.trouble[r.ID]), nil
	}
	if !w.leads() {
		return r, errDeposed
	}
	i, _ := w.e.incident(r.Incident)
	i, _ = w.setup.about(p, i)
	n, _ := w.e.o.Node(r.DC, r.Node)
	within, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	_, err := w.e.o.Jobs.Submit(within, Submission{
		ID: r.ID, Author: author(r.Policy), DC: r.DC, Node: r.Node, NodeID: n.ID,
		Script: p.script.Name, Body: p.script.Body, Args: p.Args, Env: p.env(&i),
		RunAs: p.runAs(), Timeout: timeout, Expires: startWithin,
	})
	switch {
	case err == nil:
		return r.submitted(time.Now(), timeout), nil
	case final(err):
		return r.failed(time.Now(), "the job was not accepted: %v", err), nil
	}
	w.trouble[r.ID] = err
	w.fresh = "" // it may exist now.
	return r, fmt.Errorf("submit job %s: %w", r.ID, err)
}

// author is on whose behalf a policy acts.
func author(policy string) string { return "policy/" + policy }

// final reports an answer that trying again does not change.
func final(err error) bool {
	switch mesh.CodeOf(err) {
	case mesh.Invalid, mesh.NotFound, mesh.Denied, mesh.Unauthorized, mesh.NoTargets, mesh.NeedsKey, mesh.TooLarge:
		return true
	case mesh.Internal, mesh.Conflict, mesh.Unavailable:
	}
	return false
}

// reconsider asks again whether a run that was decided is still wanted. A pause
// that has come since, a storm that has shown itself, a check that has
// recovered: nothing was done yet, and nothing will be.
func (w *work) reconsider(p *policy, r *Record) (Verdict, time.Time) {
	now := time.Now()
	if p == nil {
		return Verdict{GuardMode, "the policy was taken away"}, now
	}
	i, ok := w.e.incident(r.Incident)
	if !ok {
		return Verdict{GuardStale, "the incident is closed"}, now
	}
	i, about := w.setup.about(p, i)
	if !about {
		return Verdict{GuardMode, "the incident is for other policies now"}, now
	}
	c, applies := w.e.newCase(p, &i, w.setup.limit)
	if !applies {
		return Verdict{GuardMode, "the policy is not for this node any more"}, now
	}
	switch mode := effective(p.Mode, w.setup.limit); {
	case mode == mesh.RemedyAuto, mode == mesh.RemedyApprove && r.Approved != "":
	default:
		return Verdict{GuardMode, "the policy does not act any more"}, now
	}
	c.Leads, c.Paused, c.Resumed = true, w.sw.Holds(p.Name, p.Group), w.sw.Resumed[p.Name].At
	c.Burst = w.e.bursts(w.setup, w.e.list(), now)[p.Name]
	w.e.count(c, p)
	return judge(c, truths()), now
}
