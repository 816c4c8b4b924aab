package job

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
)

// Cancel stops a job: what waits is not started, what runs is stopped. Nodes
// confirm it one by one; a target that has said nothing stays PENDING until
// its node confirms or the job expires. It may be called twice. When the
// server has no key of its own the error is a *DraftError, as for Submit.
func (s *Service) Cancel(ctx context.Context, who Actor, id mesh.JobID) (Submission, error) {
	return s.control(ctx, who, id, "job.cancel", func(j *Job) (dispatch.Phase, int, error) {
		return dispatch.PhaseCancel, j.Wave, nil
	})
}

// Pause keeps nodes from starting a job and stops nothing.
func (s *Service) Pause(ctx context.Context, who Actor, id mesh.JobID) (Submission, error) {
	return s.control(ctx, who, id, "job.pause", func(j *Job) (dispatch.Phase, int, error) {
		return dispatch.PhasePause, j.Wave, nil
	})
}

// Resume ends a pause.
func (s *Service) Resume(ctx context.Context, who Actor, id mesh.JobID) (Submission, error) {
	return s.control(ctx, who, id, "job.resume", func(j *Job) (dispatch.Phase, int, error) {
		if j.Stopped != "" {
			return "", 0, mesh.Errorf(mesh.Conflict, "job %s cannot go on: %s", j.ID, j.Stopped).
				WithHint("submit it again for the nodes that are left")
		}
		return dispatch.PhaseRun, j.Wave, nil
	})
}

// OpenWave lets the next wave start, as an operator confirms a canary.
func (s *Service) OpenWave(ctx context.Context, who Actor, id mesh.JobID) (Submission, error) {
	return s.control(ctx, who, id, "job.open_wave", func(j *Job) (dispatch.Phase, int, error) {
		last := j.Plan.Waves(j.Spec.Targets.Count) - 1
		switch {
		case j.Stopped != "":
			return "", 0, mesh.Errorf(mesh.Conflict, "job %s opens no further wave: %s", j.ID, j.Stopped)
		case j.Wave >= last:
			return "", 0, mesh.Errorf(mesh.Conflict, "job %s has no further wave", j.ID)
		}
		return j.Phase, j.Wave + 1, nil
	})
}

// A decision says what the phase and the open wave of a job are to be.
type decision func(*Job) (dispatch.Phase, int, error)

// control changes the phase or the wave of a job on somebody's behalf.
func (s *Service) control(ctx context.Context, who Actor, id mesh.JobID, action string, decide decision) (Submission, error) {
	line := mesh.Audit{Actor: who.Name, From: who.From, Action: action, Object: string(id), Outcome: mesh.OutcomeDone}
	err := s.mayControl(ctx, who, id)
	var sub Submission
	if err == nil {
		sub, err = s.change(ctx, line, decide, nil)
	}
	if mesh.CodeOf(err) == mesh.NeedsKey {
		return Submission{}, s.draftControl(ctx, line, decide, err)
	}
	if err != nil {
		line.Reason = err.Error()
		s.auditRefusal(ctx, line, err)
	}
	return sub, err
}

// A signedCtl is a change with the envelope that an operator made for it.
type signedCtl struct {
	doc dispatch.Ctl
	env sign.Envelope
}

// change has the ledger change the job that an audit line is about. signed is
// nil to have the server sign.
func (s *Service) change(ctx context.Context, line mesh.Audit, decide decision, signed *signedCtl) (Submission, error) {
	var sub Submission
	err := s.enter(ctx, func(ctx context.Context, b *batch) error {
		e, err := b.open(ctx, mesh.JobID(line.Object))
		if err != nil {
			return err
		}
		phase, wave, err := decide(&e.job)
		if err != nil {
			return err
		}
		var env *sign.Envelope
		if signed != nil {
			if ctl(&e.job, s.o.Cluster, phase, wave) != signed.doc {
				return mesh.Errorf(mesh.Conflict, "job %s was changed since the draft was made", e.job.ID).WithHint("try again")
			}
			env = &signed.env
		}
		if phase != e.job.Phase || wave != e.job.Wave {
			if err := b.steer(e, phase, wave, env); err != nil {
				return err
			}
			line.Time, line.Detail = b.now, map[string]string{"phase": string(phase), "wave": strconv.Itoa(wave)}
			b.audit = append(b.audit, line)
		}
		sub.Job = e.job
		return nil
	})
	if err != nil {
		return Submission{}, err
	}
	return s.outcome(sub), nil
}

// draftControl keeps a change that an operator must sign.
func (s *Service) draftControl(ctx context.Context, line mesh.Audit, decide decision, why error) error {
	j, _, err := s.snapshot(ctx, mesh.JobID(line.Object))
	if err != nil {
		return err
	}
	phase, wave, err := decide(&j)
	if err != nil {
		return err
	}
	doc := ctl(&j, s.o.Cluster, phase, wave)
	payload, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode the ctl of job %s: %w", j.ID, err)
	}
	return s.addDraft(j.ID, why, &draft{
		who: line.Actor, typ: sign.TypeCtl, payload: payload,
		check: func(sign.Grant) error { return nil }, // whoever may start anything may stop anything.
		accept: func(ctx context.Context, env sign.Envelope, _ sign.Grant) (Submission, error) {
			return s.change(ctx, line, decide, &signedCtl{doc, env})
		},
	})
}

// mayControl checks that a job is there and that every node of it lies in the
// actor's scope: half a job cannot be stopped.
func (s *Service) mayControl(ctx context.Context, who Actor, id mesh.JobID) error {
	_, targets, err := s.snapshot(ctx, id)
	if err != nil {
		return err
	}
	seen := s.visible(who, targets)
	switch {
	case len(seen) == 0:
		return noJob(id)
	case len(seen) < len(targets):
		return mesh.Errorf(mesh.Denied, "job %s has %s outside what the token %q may reach",
			id, word(len(targets)-len(seen), "target", "targets"), who.Name)
	}
	return nil
}

func noJob(id mesh.JobID) error {
	return mesh.Errorf(mesh.NotFound, "no job %q", id).WithHint("alps job list")
}

// open begins to change a job that has not ended.
func (b *batch) open(ctx context.Context, id mesh.JobID) (*edit, error) {
	l, err := b.s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	e := b.edit(l)
	if e.job.Counts.Open() == 0 {
		return nil, mesh.Errorf(mesh.Conflict, "job %s has ended", id).WithHint("alps job show %s", id)
	}
	return e, nil
}

// ctl is the document that the next change of a job writes.
func ctl(j *Job, cluster string, phase dispatch.Phase, wave int) dispatch.Ctl {
	return dispatch.Ctl{Cluster: cluster, Job: j.ID, Attempt: j.Attempt, Gen: j.Gen + 1, Phase: phase, Wave: wave}
}

// steer changes the phase and the wave of a job; its nodes are told when that
// is stored. env is the signed document, nil to have the server sign.
func (b *batch) steer(e *edit, phase dispatch.Phase, wave int, env *sign.Envelope) error {
	if e.job.Phase == dispatch.PhaseCancel {
		return mesh.Errorf(mesh.Conflict, "job %s was cancelled", e.job.ID)
	}
	doc := ctl(&e.job, b.s.o.Cluster, phase, wave)
	if env == nil {
		payload, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("encode the ctl of job %s: %w", e.job.ID, err)
		}
		if _, err := b.s.ownGrant(); err != nil {
			return mesh.Errorf(mesh.NeedsKey, "%w", err)
		}
		sealed := b.s.o.Signer.Key.Seal(sign.TypeCtl, payload, &b.s.o.Signer.Grant)
		env = &sealed
	}
	signed, err := env.Encode()
	if err != nil {
		return err
	}
	e.job.Phase, e.job.Wave, e.job.Gen, e.job.Ctl, e.steered = phase, wave, doc.Gen, signed, true
	l := e.live
	b.after = append(b.after, func() {
		for _, dc := range b.s.datacenters(l) {
			b.s.announce(l, dc, dispatch.KindCtl, nil)
		}
	})
	return nil
}

// datacenters lists where a job is written.
func (s *Service) datacenters(l *live) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(l.places))
	for dc := range l.places {
		out = append(out, dc)
	}
	return out
}

// ctlExpiry is how long a node may need to hear of a change: as long as the
// job may run somewhere.
func ctlExpiry(j *Job) time.Time { return runningDeadline(j) }
