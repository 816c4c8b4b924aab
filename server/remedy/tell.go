package remedy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// tale is what is to be told of one state of a run. What was told of it already
// is not told again while its server leads.
type tale struct {
	r    Record
	call bool // a human is called.

	called, noted, audited bool
}

// tellFor bounds how long one turn tells: after a storm there is much to say,
// and whoever is acted for meanwhile must not wait for it.
const tellFor = 250 * time.Millisecond

// fewErrors are enough to say what is wrong.
const fewErrors = 3

// tell tells what is waiting and notes that it was: first to those who are
// called, then to the record. What cannot be told now is told later, and the
// states of one run in their order.
func (w *work) tell(ctx context.Context) error {
	var errs []error
	for i := range w.tales {
		if err := w.call(ctx, &w.tales[i]); err != nil && len(errs) < fewErrors {
			errs = append(errs, err)
		}
	}
	var told []Record
	waits := make(map[mesh.RemedyRunID]bool)
	rest := w.tales[:0]
	began := time.Now()
	for _, t := range w.tales {
		if late := time.Since(began) > tellFor; late || waits[t.r.ID] {
			rest = append(rest, t)
			if late {
				w.e.Kick() // it goes on in the next turn.
			}
			continue
		}
		if err := w.record(ctx, &t); err != nil {
			if len(errs) < fewErrors {
				errs = append(errs, err)
			}
			waits[t.r.ID] = true
			rest = append(rest, t)
			continue
		}
		t.r.Told = true
		told = append(told, t.r)
	}
	w.tales = rest
	return errors.Join(append(errs, w.noteTold(ctx, told))...)
}

// noteTold stores that what is to be told of runs was, where the run has not
// gone on since.
func (w *work) noteTold(ctx context.Context, told []Record) error {
	told = slices.DeleteFunc(told, func(r Record) bool { return !w.stands(&r) })
	if len(told) == 0 {
		return nil
	}
	if !w.leads() {
		return errDeposed
	}
	return w.e.o.Store.PutRemedyRuns(ctx, w.term, told)
}

// stands reports whether a record is what was last stored of its run.
func (w *work) stands(r *Record) bool {
	switch {
	case r.State.Open():
		at := w.openAt(r.ID)
		return at >= 0 && w.open[at].State == r.State && same(w.open[at].Steps, r.Steps)
	case r.State == mesh.RemedyProposed:
		_, ok := w.asked[r.ID]
		return ok
	}
	return true
}

// same reports whether two lists of steps are as far.
func same(a, b []mesh.RemedyStep) bool {
	if len(a) == 0 || len(a) != len(b) {
		return len(a) == len(b)
	}
	x, y := &a[len(a)-1], &b[len(b)-1]
	return x.Job == y.Job && x.State == y.State
}

// call calls the human that a tale is for.
func (w *work) call(ctx context.Context, t *tale) error {
	if !t.call {
		return nil
	}
	return w.once(&t.called, "call somebody for", t, func() error {
		return w.e.o.Incidents.Escalate(ctx, t.r.Incident, w.receivers(t.r.Policy), w.cry(&t.r))
	})
}

// record writes a tale down, when whoever it is for was called.
func (w *work) record(ctx context.Context, t *tale) error {
	if t.call && !t.called {
		return errUncalled
	}
	err := w.once(&t.noted, "note", t, func() error { return w.e.o.Incidents.Note(ctx, t.r.Incident, event(&t.r)) })
	if err != nil {
		return err
	}
	return w.once(&t.audited, "audit", t, func() error { return w.e.o.Audit(ctx, audit(&t.r)) })
}

// errUncalled is about a tale that waits; why was said when it was called.
var errUncalled = errors.New("a human is not called yet")

// once does one part of a tale that was not done before.
func (w *work) once(done *bool, what string, t *tale, do func() error) error {
	if *done {
		return nil
	}
	if !w.leads() {
		return errDeposed
	}
	// An incident that is no more has no story, and nobody is called for it.
	if err := do(); err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return fmt.Errorf("%s run %s: %w", what, t.r.ID, err)
	}
	*done = true
	return nil
}

func (w *work) receivers(name string) []string {
	if p := w.setup.byName[name]; p != nil {
		return p.Notify
	}
	return nil
}

// cry is what a human is called with.
func (w *work) cry(r *Record) string {
	switch {
	case r.State == mesh.RemedyProposed:
		return fmt.Sprintf("policy %s %s. Say yes within %s: `alps remedy approve %s`, or no: `alps remedy reject %s`",
			r.Policy, r.Reason, approveWithin, r.ID, r.ID)
	case r.State == mesh.RemedyRefused && len(r.Steps) > 0:
		return fmt.Sprintf("policy %s does nothing for %s: %s refuses: %s", r.Policy, r.Node, r.Guard, r.Reason)
	case r.State == mesh.RemedyRefused:
		return fmt.Sprintf("policy %s does nothing: %s. `alps remedy resume %s` has it act again", r.Policy, r.Reason, r.Policy)
	}
	text := fmt.Sprintf("policy %s could not mend %s: %s", r.Policy, r.Node, r.Reason)
	if p := w.setup.byName[r.Policy]; p != nil && p.Failures > 0 && failures(w.past[r.Policy], w.sw.Resumed[r.Policy].At) >= p.Failures {
		text += fmt.Sprintf(". It will not act any more until `alps remedy resume %s`", r.Policy)
	}
	return text
}

// lastStep is the newest step of a run that is under way, or nil.
func lastStep(r *Record) *mesh.RemedyStep {
	if !r.State.Open() || len(r.Steps) == 0 {
		return nil
	}
	return &r.Steps[len(r.Steps)-1]
}

// moment is when a run came into its state.
func moment(r *Record) time.Time {
	if s := lastStep(r); s != nil {
		return later(s.Tried, s.Ended)
	}
	switch r.State {
	case mesh.RemedyRunning:
		return r.Started
	case mesh.RemedyVerifying:
		return r.JobEnded
	case mesh.RemedySucceeded, mesh.RemedyFailed:
		return r.Ended
	case mesh.RemedyRefused:
		return later(r.Decided, r.Ended)
	case mesh.RemedyProposed, mesh.RemedyDecided, mesh.RemedyUndoing, mesh.RemedyObserved:
	}
	return r.Decided
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// event is the line of the incident's timeline.
func event(r *Record) mesh.IncidentEvent {
	data := map[string]string{"policy": r.Policy, "run": string(r.ID), "script": r.Script, "state": string(r.State)}
	if r.Guard != "" {
		data["guard"] = r.Guard
	}
	if r.Reason != "" {
		data["reason"] = r.Reason
	}
	if !r.Started.IsZero() {
		data["job"] = string(r.ID)
	}
	if s := lastStep(r); s != nil {
		data["script"], data["step"], data["verdict"] = s.Script, string(s.Kind)+" "+s.Name, string(s.State)
		if s.Job != "" {
			data["job"] = string(s.Job)
		}
		if s.Reason != "" {
			data["reason"] = s.Reason
		}
	}
	return mesh.IncidentEvent{At: moment(r), Kind: mesh.EventRemedy, Actor: author(r.Policy), Text: sentence(r), Data: data}
}

func sentence(r *Record) string {
	if s := lastStep(r); s != nil {
		return stepSentence(r, s)
	}
	switch r.State {
	case mesh.RemedyProposed:
		return fmt.Sprintf("policy %s %s: a person has to say yes", r.Policy, r.Reason)
	case mesh.RemedyDecided:
		if len(r.Plan) > 0 {
			return fmt.Sprintf("policy %s begins for %s: every guard agrees%s", r.Policy, r.Node, approvedBy(r))
		}
		return fmt.Sprintf("policy %s will run %s on %s: every guard agrees", r.Policy, r.Script, r.Node)
	case mesh.RemedyRunning:
		return fmt.Sprintf("policy %s runs %s on %s as job %s", r.Policy, r.Script, r.Node, r.ID)
	case mesh.RemedyVerifying:
		return fmt.Sprintf("the job ended with %s; a new result of the check %s decides", outcome(r.Job), r.Check)
	case mesh.RemedySucceeded:
		if len(r.Plan) > 0 {
			return fmt.Sprintf("policy %s helped: every proof was given", r.Policy)
		}
		if r.Reason != "" {
			return fmt.Sprintf("policy %s helped: %s", r.Policy, r.Reason)
		}
		return fmt.Sprintf("policy %s helped: the check %s passes, by a result that came after the job", r.Policy, r.Check)
	case mesh.RemedyFailed:
		return fmt.Sprintf("policy %s did not help: %s", r.Policy, r.Reason)
	case mesh.RemedyRefused:
		return fmt.Sprintf("policy %s refuses (%s): %s", r.Policy, r.Guard, r.Reason)
	case mesh.RemedyObserved:
		return fmt.Sprintf("policy %s observes: it %s", r.Policy, r.Reason)
	case mesh.RemedyUndoing:
	}
	return fmt.Sprintf("policy %s is %s", r.Policy, r.State)
}

func approvedBy(r *Record) string {
	if r.Approved == "" {
		return ""
	}
	return ", approved by " + r.Approved
}

// stepSentence says how a step stands.
func stepSentence(r *Record, s *mesh.RemedyStep) string {
	what := string(s.Kind) + " " + s.Name
	switch {
	case s.State == mesh.StepRunning && s.Kind == mesh.StepUndo:
		return fmt.Sprintf("policy %s takes %s back: %s on %s as job %s", r.Policy, s.Name, s.Script, onNodes(s), s.Job)
	case s.State == mesh.StepRunning:
		return fmt.Sprintf("policy %s, %s: %s on %s as job %s", r.Policy, what, s.Script, onNodes(s), s.Job)
	case s.State == mesh.StepWaiting:
		return fmt.Sprintf("policy %s, %s has to wait: %s", r.Policy, what, s.Reason)
	case s.State == mesh.StepOK && s.Reason != "":
		return fmt.Sprintf("policy %s, %s: ok, %s", r.Policy, what, s.Reason)
	case s.State == mesh.StepOK:
		return fmt.Sprintf("policy %s, %s: ok", r.Policy, what)
	}
	return fmt.Sprintf("policy %s, %s says %s: %s", r.Policy, what, s.State, s.Reason)
}

// onNodes names the nodes of a step, or how many they are.
func onNodes(s *mesh.RemedyStep) string {
	const few = 3
	if len(s.Nodes) > few {
		return fmt.Sprintf("%d nodes", len(s.Nodes))
	}
	names := make([]string, len(s.Nodes))
	for i := range s.Nodes {
		names[i] = string(s.Nodes[i].Node)
	}
	return strings.Join(names, ", ")
}

// audit is the line in the record of who did what.
func audit(r *Record) mesh.Audit {
	a := mesh.Audit{
		Time: moment(r), Actor: author(r.Policy), Action: "remedy." + string(r.State), Object: string(r.ID),
		Outcome: mesh.OutcomeDone, Reason: r.Reason,
		Detail: map[string]string{"incident": string(r.Incident), "node": string(r.Node), "check": r.Check, "script": r.Script},
	}
	if s := lastStep(r); s != nil {
		a.Action, a.Reason = "remedy."+string(s.Kind), s.Reason
		a.Detail["script"], a.Detail["step"], a.Detail["state"], a.Detail["job"] = s.Script, s.Name, string(s.State), string(s.Job)
		if s.State == mesh.StepNo {
			a.Outcome = mesh.OutcomeFailed
		}
	}
	switch r.State {
	case mesh.RemedyRefused:
		a.Outcome = mesh.OutcomeRefused
		a.Detail["guard"] = r.Guard
	case mesh.RemedyFailed:
		a.Outcome = mesh.OutcomeFailed
	case mesh.RemedyProposed, mesh.RemedyDecided, mesh.RemedyRunning, mesh.RemedyVerifying, mesh.RemedyUndoing,
		mesh.RemedySucceeded, mesh.RemedyObserved:
	}
	return a
}
