package remedy

import (
	"context"
	"slices"
	"time"

	"alps/mesh"
)

// approveWithin is how long a person may think it over. What was true an hour
// ago may be so no more, and whoever says yes has not looked again.
const approveWithin = time.Hour

// Approve has a run that was proposed carried out. Every guard is asked again:
// mesh.Conflict says which refuses, or that there is nothing to approve.
func (e *Engine) Approve(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return e.answer(ctx, id, func(r Record) (Record, error) {
		verdicts, err := e.Explain(ctx, r.Policy, r.Incident)
		if err != nil {
			return r, err
		}
		for _, v := range verdicts {
			if v.Reason != "" {
				return r, mesh.Errorf(mesh.Conflict, "approve run %s: the guard %s refuses: %s", id, v.Guard, v.Reason)
			}
		}
		r.State, r.Approved, r.Reason, r.Deadline = mesh.RemedyDecided, signed(actor, reason), "", time.Now().Add(submitWithin)
		return r, nil
	})
}

// Reject has a run that was proposed not carried out. It is not proposed again
// for its incident, unless that is reopened.
func (e *Engine) Reject(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return e.answer(ctx, id, func(r Record) (Record, error) {
		return r.refused(Verdict{GuardApproval, "rejected by " + signed(actor, reason)}, time.Now()), nil
	})
}

// Reach lists, sorted, the nodes that a run acts on when its plan is carried
// out: that of its incident, and those that its steps are taken on, as the
// inventory has them now. mesh.Conflict says that nobody can tell,
// mesh.Unavailable that nobody can yet.
func (e *Engine) Reach(ctx context.Context, id mesh.RemedyRunID) ([]mesh.NodeName, error) {
	if err := e.unread(); err != nil {
		return nil, err
	}
	r, err := e.record(ctx, id)
	if err != nil {
		return nil, err
	}
	out := []mesh.NodeName{r.Node}
	for _, rung := range r.Plan {
		for _, s := range rung.Steps {
			if s.Kind != mesh.StepAct {
				continue
			}
			nodes, err := e.where(r.DC, r.Node, s.On)
			if err != nil {
				return nil, mesh.Errorf(mesh.Conflict, "say where run %s would act: %s %s: %w", id, s.Kind, s.Name, err)
			}
			for _, n := range nodes {
				out = append(out, n.Node)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func signed(actor, reason string) string {
	if reason == "" {
		return actor
	}
	return actor + ": " + reason
}

// answer stores what becomes of a run that a person was asked about. No turn is
// under way meanwhile: Run would not know that the question was answered.
func (e *Engine) answer(ctx context.Context, id mesh.RemedyRunID, decide func(Record) (Record, error)) error {
	e.turning.Lock()
	defer e.turning.Unlock()
	term, leads := e.o.Lease()
	if !leads {
		return mesh.Errorf(mesh.Unavailable, "answer run %s: this server does not lead", id)
	}
	asked, err := e.record(ctx, id)
	switch {
	case err != nil:
		return err
	case asked.State != mesh.RemedyProposed:
		return mesh.Errorf(mesh.Conflict, "run %s asks nothing: it is %s", id, asked.State).WithHint("`alps remedy runs` shows what is proposed")
	}
	r, err := decide(asked)
	if err != nil {
		return err
	}
	r.Told = false
	if err := e.o.Store.PutRemedyRuns(ctx, term, []Record{r}); err != nil {
		return err
	}
	e.w = nil // it is read again, with what was answered.
	e.o.OnRun(r.RemedyRun)
	e.Kick()
	return nil
}

// withdraw takes back proposals that nobody has answered in time, and those
// whose incident is over.
func (w *work) withdraw(ctx context.Context) error {
	now := time.Now()
	var said []Record
	for _, r := range w.asked {
		i, ok := w.e.incident(r.Incident)
		switch {
		case !ok || i.Status == mesh.IncidentClosed:
			said = append(said, r.refused(Verdict{GuardApproval, "the incident is closed"}, now))
		case now.After(r.Deadline):
			said = append(said, r.refused(Verdict{GuardApproval, "nobody has said yes within " + approveWithin.String()}, now))
		}
	}
	return w.put(ctx, said...)
}

// Simulation is what a policy would do about an incident now.
type Simulation struct {
	Verdicts []Verdict // of every guard; one that agrees has no reason.
	// Run has the steps of the first rung that fits: those that ask with their
	// answers, those that act with that of their dry run, if they have one.
	Run    mesh.RemedyRun
	Would  bool   // it would act.
	Reason string // why not.
}

// Simulate asks everything that is asked before a policy acts, on the nodes as
// well, and changes nothing: a script that acts is run only when it has a dry
// run. It takes as long as the scripts take.
func (e *Engine) Simulate(ctx context.Context, name string, id mesh.IncidentID) (Simulation, error) {
	verdicts, err := e.Explain(ctx, name, id)
	if err != nil {
		return Simulation{}, err
	}
	s := e.current()
	p := s.byName[name]
	i, ok := e.incident(id)
	if p == nil || !ok {
		return Simulation{}, noPolicy(name)
	}
	i, _ = s.about(p, i)
	c, _ := e.newCase(p, &i, s.limit)
	r := newRecord(p, c)
	if len(r.Plan) == 0 {
		act := mesh.PlanStep{Kind: mesh.StepAct, Name: p.Script, Script: p.Script, Args: p.Args, RunAs: p.RunAs, Timeout: p.Timeout}
		r.Plan = []mesh.Rung{{Name: "main", Steps: []mesh.PlanStep{act}}}
	}
	out := Simulation{Verdicts: verdicts, Would: true}
	for _, v := range verdicts {
		if v.Reason != "" && out.Would {
			out.Would, out.Reason = false, string(v.Guard)+": "+v.Reason
		}
	}
	// Whoever asks what would happen wants to hear the nodes as well.
	sim := &work{e: e, setup: s, sw: Switch{}}
	why, err := sim.rehearse(ctx, &r)
	if err != nil {
		return Simulation{}, err
	}
	if why != "" && out.Would {
		out.Would, out.Reason = false, why
	}
	r.State, r.Ended = mesh.RemedyObserved, time.Now()
	if !out.Would {
		r.State, r.Reason = mesh.RemedyRefused, out.Reason
	}
	out.Run = r.RemedyRun
	return out, nil
}

// rehearse goes through a plan until something would have to be proven. It says
// why it would not come there.
func (w *work) rehearse(ctx context.Context, r *Record) (why string, err error) {
	for {
		m := next(r.Plan, r.Steps)
		switch {
		case m.end == mesh.RemedySucceeded, m.step.Kind == mesh.StepProve:
			return "", nil
		case m.end != "":
			return m.guard + ": " + m.reason, nil
		case m.step.Kind == mesh.StepUndo:
			last := r.Steps[len(r.Steps)-1]
			return string(last.Kind) + " " + last.Name + ": " + last.Reason, nil
		}
		s := mesh.RemedyStep{Rung: m.rung.Name, Kind: m.step.Kind, Name: m.step.Name, Script: m.step.Script, Started: time.Now()}
		if s.Nodes, err = w.where(r, m.step.On); err != nil {
			return err.Error(), nil //nolint:nilerr // that nobody is there is what the simulation says.
		}
		if err := w.rehearseStep(ctx, r, &s); err != nil {
			return "", err
		}
		r.Steps = append(r.Steps, s)
		if s.State == mesh.StepWaiting {
			return string(s.Kind) + " " + s.Name + " has to wait: " + s.Reason, nil
		}
	}
}

// rehearseStep makes one attempt at a step, without any effect.
func (w *work) rehearseStep(ctx context.Context, r *Record, s *mesh.RemedyStep) error {
	p, _ := planned(r.Plan, s)
	script, err := w.setup.scripts.Script(s.Script)
	if err != nil {
		return err
	}
	w.attempt(r, s)
	if s.Kind == mesh.StepAct && !script.Manifest.DryRun {
		w.over(r, s, conclusion{state: mesh.StepOK, reason: "not run: it has no dry run"})
		s.Job = ""
		return nil
	}
	env := stepEnv(r, s)
	env["ALPS_DRY_RUN"] = "1"
	sub := w.submission(r, s, p, script)
	sub.Author, sub.Env = "simulate/"+r.Policy, env
	if _, err := w.e.o.Jobs.Submit(ctx, sub); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		results, _, err := w.e.o.Jobs.Results(ctx, s.Job)
		if err != nil {
			return err
		}
		pending := w.e.collect(s, results)
		c := conclude(s, r.Facts)
		late := time.Now().After(s.Deadline)
		switch {
		case c.state == mesh.StepRunning && late:
			c = conclusion{state: mesh.StepNo, reason: "the job has not ended by " + clock(s.Deadline)}
			fallthrough
		case c.state != mesh.StepRunning && (!pending || late):
			w.over(r, s, c)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
