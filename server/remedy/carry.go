package remedy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/remedy/library"
)

// undoWithin is how long a step is tried to be taken back: longer than to take
// it, because half of it may have been done.
const undoWithin = 10 * time.Minute

// carry does the next thing in r, and reports whether there was one.
func (w *work) carry(ctx context.Context, r *Record) (moved bool, err error) {
	n := len(r.Steps)
	if n == 0 || r.Steps[n-1].State.Over() {
		return w.moveOn(r), nil
	}
	s := &r.Steps[n-1]
	if s.State == mesh.StepWaiting {
		if time.Now().Before(s.Deadline) {
			return false, nil
		}
		if p, ok := planned(r.Plan, s); ok && len(s.Nodes) == 0 {
			w.place(r, s, p.On)
			return true, nil
		}
		w.attempt(r, s)
		r.Told = true // the first attempt was told.
		return true, nil
	}
	return w.follow(ctx, r, s)
}

// moveOn begins the next step of r, or ends it.
func (w *work) moveOn(r *Record) (moved bool) {
	now := time.Now()
	m := next(r.Plan, r.Steps)
	r.Told = false
	if m.end != "" {
		r.State, r.Guard, r.Reason, r.Ended, r.Deadline = m.end, m.guard, m.reason, now, time.Time{}
		if c := w.e.check(r); c != nil {
			r.After = *c
		}
		w.quietly(r)
		return true
	}
	if !acted(r.Steps) { // nothing was done yet, and nothing need be.
		if v, at := w.reconsider(w.setup.byName[r.Policy], r); v.Reason != "" {
			*r = r.refused(v, at)
			return true
		}
		if r.State == mesh.RemedyDecided && now.After(r.Deadline) {
			*r = r.refused(Verdict{GuardStale, "decided at " + clock(r.Decided) + " and not carried out in time"}, now)
			return true
		}
	} else if v := w.mayGoOn(r, m.step.Kind); v.Guard == GuardPaused {
		r.Reason = "it goes on when remediation is resumed: " + v.Reason
		return false
	} else if v.Reason != "" {
		*r = r.failed(now, "%s", v.Reason)
		return true
	}
	r.Reason, r.Deadline = "", time.Time{}
	r.State = stateOf(m.step.Kind)
	s := mesh.RemedyStep{Rung: m.rung.Name, Kind: m.step.Kind, Name: m.step.Name, Script: m.step.Script, Started: now}
	w.place(r, &s, m.step.On)
	r.Steps = append(r.Steps, s)
	return true
}

// place looks where s is taken, and begins an attempt there. That nobody is
// there is what the step says; but of what was done nothing is said by a node
// that the inventory lacks for a while: a proof waits for one.
func (w *work) place(r *Record, s *mesh.RemedyStep, on string) {
	var err error
	if s.Nodes = acts(r, s); len(s.Nodes) == 0 {
		s.Nodes, err = w.where(r, on)
	}
	switch {
	case err == nil:
		w.attempt(r, s)
	case s.Kind == mesh.StepProve:
		w.again(r, s, err.Error())
	default:
		now := time.Now()
		s.State, s.Reason, s.Tried, s.Ended = mesh.StepNo, err.Error(), now, now
	}
}

// acts are the nodes of the step that s takes back, whatever else matches by
// now; none when s takes nothing back.
func acts(r *Record, s *mesh.RemedyStep) (nodes []mesh.StepNode) {
	if s.Kind != mesh.StepUndo {
		return nil
	}
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if d := &r.Steps[i]; d.Kind == mesh.StepAct && d.Rung == s.Rung && d.Name == s.Name {
			for _, n := range d.Nodes {
				nodes = append(nodes, mesh.StepNode{Node: n.Node, ID: n.ID})
			}
			break
		}
	}
	return nodes
}

// mayGoOn says why a run that has acted does not begin a step. To prove what was
// done and to take it back is never refused.
func (w *work) mayGoOn(r *Record, kind mesh.StepKind) Verdict {
	switch {
	case kind == mesh.StepProve, kind == mesh.StepUndo:
		return Verdict{}
	case w.setup.byName[r.Policy] == nil:
		return Verdict{GuardMode, "the policy was taken away"}
	case kind != mesh.StepAct:
		return Verdict{}
	}
	if p := w.sw.Holds(r.Policy, r.Group); p != nil {
		return Verdict{GuardPaused, p.String()}
	}
	return Verdict{}
}

// quietly has a refusal that was told before not told again.
func (w *work) quietly(r *Record) {
	said := w.words[pair{r.Policy, r.Incident}]
	r.Told = r.State == mesh.RemedyRefused && said.turned != nil && said.turned.Guard == r.Guard && said.turned.Reopened == r.Reopened
}

func stateOf(kind mesh.StepKind) mesh.RemedyState {
	switch kind {
	case mesh.StepProve:
		return mesh.RemedyVerifying
	case mesh.StepUndo:
		return mesh.RemedyUndoing
	case mesh.StepConfirm, mesh.StepGuard, mesh.StepAct:
	}
	return mesh.RemedyRunning
}

// where are the nodes that a step is taken on.
func (w *work) where(r *Record, on string) ([]mesh.StepNode, error) {
	return w.e.where(r.DC, r.Node, on)
}

func (e *Engine) where(dc string, node mesh.NodeName, on string) ([]mesh.StepNode, error) {
	if on == "" {
		n, ok := e.o.Node(dc, node)
		if !ok || n.ID == "" {
			return nil, fmt.Errorf("no agent has enrolled on %s", node)
		}
		return []mesh.StepNode{{Node: n.Name, ID: n.ID}}, nil
	}
	expr, err := query.Parse(on)
	if err != nil {
		return nil, fmt.Errorf("on: %w", err)
	}
	var out []mesh.StepNode
	all := e.o.Nodes()
	for i := range all {
		n := &all[i]
		if n.DC != dc || !expr.Match(n) {
			continue
		}
		if n.ID == "" {
			return nil, fmt.Errorf("no agent has enrolled on %s, which is one of %s", n.Name, on)
		}
		out = append(out, mesh.StepNode{Node: n.Name, ID: n.ID})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no node of %s is one of %s", dc, on)
	}
	slices.SortFunc(out, func(a, b mesh.StepNode) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return out, nil
}

// attempt begins an attempt at s. Its job has an id before it exists.
func (w *work) attempt(r *Record, s *mesh.RemedyStep) {
	now := time.Now()
	s.Job, s.State, s.Tried, s.Attempts = mesh.NewJobID(), mesh.StepRunning, now, s.Attempts+1
	timeout := orphanTimeout
	if p, ok := planned(r.Plan, s); ok {
		timeout = w.timeoutOf(p)
	}
	s.Deadline = now.Add(submitWithin + startWithin + timeout + endWithin)
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		s.Nodes[i].Job = mesh.JobState{}
	}
	w.fresh = s.Job
}

// planned is the step of a plan that s is an attempt at, or takes back.
func planned(plan []mesh.Rung, s *mesh.RemedyStep) (mesh.PlanStep, bool) {
	for _, rung := range plan {
		if rung.Name != s.Rung {
			continue
		}
		for _, p := range rung.Steps {
			if p.Name != s.Name {
				continue
			}
			switch {
			case p.Kind == s.Kind:
				return p, true
			case p.Kind == mesh.StepAct && s.Kind == mesh.StepUndo:
				return undoOf(p), true
			}
		}
	}
	return mesh.PlanStep{}, false
}

func (w *work) timeoutOf(p mesh.PlanStep) time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	if s, err := w.setup.scripts.Script(p.Script); err == nil {
		return s.Manifest.Timeout
	}
	return orphanTimeout
}

// follow looks after the job of a running step: it submits it, unless it exists,
// and concludes from its results.
func (w *work) follow(ctx context.Context, r *Record, s *mesh.RemedyStep) (moved bool, err error) {
	now := time.Now()
	var results []Result
	found := false
	if s.Job != w.fresh {
		if results, found, err = w.e.o.Jobs.Results(ctx, s.Job); err != nil {
			return false, fmt.Errorf("ask for job %s: %w", s.Job, err)
		}
	}
	if found && w.told[r.ID] != s.Job {
		told, err := w.e.o.Jobs.Announced(ctx, s.Job)
		if err != nil {
			return false, fmt.Errorf("ask for job %s: %w", s.Job, err)
		}
		if told {
			w.told[r.ID] = s.Job
		} else if v := w.mayGoOn(r, s.Kind); v.Reason == "" {
			found = false // whoever made it was deposed before its nodes were told.
		}
	}
	if !found {
		if now.After(s.Tried.Add(submitWithin)) {
			w.again(r, s, w.untold(r))
			return true, nil
		}
		return w.submitStep(ctx, r, s)
	}
	pending := w.e.collect(s, results)
	c := conclude(s, r.Facts)
	if pending {
		c.state = mesh.StepRunning
	}
	switch {
	case c.state == mesh.StepRunning && !now.After(s.Deadline):
		return false, nil
	case c.state == mesh.StepRunning:
		w.again(r, s, "the job has not ended by "+clock(s.Deadline))
	case c.state == mesh.StepWaiting:
		w.again(r, s, c.reason)
	default:
		w.over(r, s, c)
	}
	return true, nil
}

// untold says why the nodes of a step were not told of its job.
func (w *work) untold(r *Record) string {
	if err := w.trouble[r.ID]; err != nil {
		return fmt.Sprintf("the job could not be submitted: %v", err)
	}
	return "the job was not announced: another server led then"
}

// collect takes over how the targets of a job fare, and reports whether an
// answer is still on its way.
func (e *Engine) collect(s *mesh.RemedyStep, results []Result) (pending bool) {
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		at := slices.IndexFunc(results, func(r Result) bool { return r.Node == n.ID })
		if at < 0 {
			continue
		}
		n.Job, pending = results[at].Job, pending || results[at].Pending
		if c := results[at].Complaint; n.Job.Reason == "" {
			n.Job.Reason = c
		}
		if n.Job.State.Ended() && !results[at].Pending {
			n.Answer = results[at].Answer
		}
	}
	return pending
}

// over ends a step.
func (w *work) over(r *Record, s *mesh.RemedyStep, c conclusion) {
	s.State, s.Reason, s.Ended, s.Deadline = c.state, c.reason, time.Now(), time.Time{}
	r.Told = false
	if len(c.facts) > 0 && c.state == mesh.StepOK {
		facts := maps.Clone(r.Facts)
		if facts == nil {
			facts = make(map[string]string)
		}
		maps.Copy(facts, c.facts)
		r.Facts = facts
	}
	delete(w.trouble, r.ID)
}

// again has a step wait for its next attempt, or ends it when it has waited for
// long enough.
func (w *work) again(r *Record, s *mesh.RemedyStep, reason string) {
	now := time.Now()
	within := undoWithin
	if p, ok := planned(r.Plan, s); ok {
		within = p.Within
	}
	if now.Sub(s.Started) >= within {
		w.over(r, s, conclusion{state: mesh.StepNo, reason: fmt.Sprintf("asked for %s: %s", within, reason)})
		return
	}
	r.Told = s.Attempts > 1 || s.Kind == mesh.StepProve // that it waits is told once, and of a proof not at all.
	s.State, s.Reason, s.Deadline = mesh.StepWaiting, reason, now.Add(patience(now.Sub(s.Started)))
}

// The bounds of the time between two attempts: what has just begun changes
// fast, and each attempt is a job.
const (
	leastPatience = time.Second
	mostPatience  = 30 * time.Second
)

// patience is how long to wait for the next attempt after that much waiting.
func patience(waited time.Duration) time.Duration {
	return min(max(waited/8, leastPatience), mostPatience)
}

// submitStep makes the job of a step's attempt.
func (w *work) submitStep(ctx context.Context, r *Record, s *mesh.RemedyStep) (moved bool, err error) {
	p, ok := planned(r.Plan, s)
	script, err := w.setup.scripts.Script(s.Script)
	if !ok || err != nil {
		w.over(r, s, conclusion{state: mesh.StepNo, reason: fmt.Sprintf("the script %s is not there any more", s.Script)})
		return true, nil
	}
	if !w.leads() {
		return false, errDeposed
	}
	within, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	_, err = w.e.o.Jobs.Submit(within, w.submission(r, s, p, script))
	w.fresh = ""
	switch {
	case err == nil:
		delete(w.trouble, r.ID)
		w.told[r.ID] = s.Job
		return false, nil
	case final(err):
		w.over(r, s, conclusion{state: mesh.StepNo, reason: fmt.Sprintf("the job was not accepted: %v", err)})
		return true, nil
	}
	w.trouble[r.ID] = err
	return false, fmt.Errorf("submit job %s: %w", s.Job, err)
}

// submission is the job of a step's attempt.
func (w *work) submission(r *Record, s *mesh.RemedyStep, p mesh.PlanStep, script library.Script) Submission {
	return Submission{
		ID: s.Job, Author: author(r.Policy), DC: r.DC, Nodes: nodeIDs(s.Nodes), Script: script.Name, Body: script.Body,
		Args: p.Args, Env: stepEnv(r, s), RunAs: cmp.Or(p.RunAs, script.Manifest.RunAs), Timeout: w.timeoutOf(p), Expires: startWithin,
	}
}

func nodeIDs(nodes []mesh.StepNode) []mesh.NodeID {
	out := make([]mesh.NodeID, len(nodes))
	for i := range nodes {
		out[i] = nodes[i].ID
	}
	return out
}

// stepEnv is what the script of a step is told.
func stepEnv(r *Record, s *mesh.RemedyStep) map[string]string {
	env := map[string]string{
		"ALPS_POLICY": r.Policy, "ALPS_INCIDENT": string(r.Incident), "ALPS_CHECK": r.Check, "ALPS_SUBJECT": string(r.Node),
		"ALPS_RUN": string(r.ID), "ALPS_RUNG": s.Rung, "ALPS_STEP": s.Name,
	}
	for name, v := range r.Facts {
		env["ALPS_FACT_"+strings.ToUpper(name)] = v
	}
	return env
}
