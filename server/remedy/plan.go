package remedy

import (
	"fmt"
	"slices"

	"alps/mesh"
)

// A move is what comes next in a plan: a step that is begun, or the end of the
// run.
type move struct {
	rung mesh.Rung
	step mesh.PlanStep // its Kind is StepUndo when a step is taken back.

	end    mesh.RemedyState // empty while there is a step.
	guard  string
	reason string
}

// next says what comes after the steps that were taken, all of which are over.
// It is pure: whoever leads next comes to the same conclusion.
//
//	confirm, guard   ok: go on; skip: the next rung; no: refused
//	step             ok: go on; no: what the rung has done is taken back
//	prove            ok: go on; no: what the rung has done is taken back
//	undo             ok: the step before it; no: a human
//
// A rung whose steps were taken back has failed, and the next one is tried:
// its own guards say whether it still should be. A rung is proven by all its
// proofs, and then the run has succeeded.
func next(plan []mesh.Rung, done []mesh.RemedyStep) move {
	c := climb{plan: plan}
	for i := range done {
		if end := c.take(&done[i]); end != "" {
			return c.finish(end)
		}
	}
	return c.move()
}

// A climb is how far a plan was carried out.
type climb struct {
	plan []mesh.Rung
	rung int // of plan; its length when none is left.
	step int // of the rung's.
	// undo are the steps of the rung that have acted and were not taken back.
	undo  []mesh.PlanStep
	acted bool   // something has, ever.
	fails bool   // the rung is being taken back.
	guard string // who has said no or skip at last, and why.
	why   string
}

func (c *climb) take(d *mesh.RemedyStep) (end mesh.RemedyState) {
	if d.State != mesh.StepOK {
		c.guard, c.why = string(d.Kind)+" "+d.Name, d.Reason
	}
	switch d.Kind {
	case mesh.StepConfirm, mesh.StepGuard:
		return c.ask(d.State)
	case mesh.StepAct:
		c.act(d.State)
	case mesh.StepProve:
		if c.step++; d.State != mesh.StepOK {
			c.fails = true
		}
	case mesh.StepUndo:
		if d.State == mesh.StepNo {
			c.why = "it could not be taken back: " + d.Reason
			return mesh.RemedyFailed
		}
		c.undo = c.undo[:max(0, len(c.undo)-1)]
	}
	c.settle()
	return ""
}

// ask takes what a step said that changes nothing.
func (c *climb) ask(said mesh.StepState) mesh.RemedyState {
	switch {
	case said == mesh.StepOK:
		c.step++
	case said == mesh.StepSkip:
		c.up()
	case c.acted:
		return mesh.RemedyFailed
	default:
		return mesh.RemedyRefused
	}
	return ""
}

func (c *climb) act(said mesh.StepState) {
	s := c.current()
	c.step++
	if said == mesh.StepSkip {
		return // there was nothing to do.
	}
	c.acted = true
	if s.Undo != "" { // one that has failed may have done half of it.
		c.undo = append(c.undo, s)
	}
	c.fails = said != mesh.StepOK
}

// settle leaves a rung that was taken back as far as it can be.
func (c *climb) settle() {
	if c.fails && len(c.undo) == 0 {
		c.up()
	}
}

func (c *climb) up() {
	c.rung, c.step, c.undo, c.fails = c.rung+1, 0, nil, false
}

func (c *climb) current() mesh.PlanStep {
	if c.rung < len(c.plan) && c.step < len(c.plan[c.rung].Steps) {
		return c.plan[c.rung].Steps[c.step]
	}
	return mesh.PlanStep{}
}

func (c *climb) move() move {
	switch {
	case c.fails:
		return move{rung: c.plan[c.rung], step: undoOf(c.undo[len(c.undo)-1])}
	case c.rung < len(c.plan) && c.step < len(c.plan[c.rung].Steps):
		return move{rung: c.plan[c.rung], step: c.current()}
	case c.rung < len(c.plan):
		return move{end: mesh.RemedySucceeded}
	case c.acted:
		return c.finish(mesh.RemedyFailed)
	}
	return c.finish(mesh.RemedyRefused)
}

func (c *climb) finish(end mesh.RemedyState) move {
	m := move{end: end, reason: c.why}
	switch {
	case end == mesh.RemedyRefused && c.rung == len(c.plan) && len(c.plan) > 1:
		m.guard, m.reason = c.guard, "no rung fits; the last one: "+c.why
	case end == mesh.RemedyRefused:
		m.guard = c.guard
	case c.guard != "":
		m.reason = c.guard + ": " + c.why
	}
	return m
}

// undoOf is the step that takes s back: on the same nodes, with the same
// arguments, and as long as its own script says.
func undoOf(s mesh.PlanStep) mesh.PlanStep {
	s.Kind, s.Script, s.Undo, s.Timeout, s.Within = mesh.StepUndo, s.Undo, "", 0, undoWithin
	return s
}

// acted reports whether a step of a run has acted, or may have.
func acted(steps []mesh.RemedyStep) bool {
	return slices.ContainsFunc(steps, func(s mesh.RemedyStep) bool {
		return s.Kind == mesh.StepAct && s.State != mesh.StepSkip
	})
}

// A conclusion is what the answers of a step's nodes come to.
type conclusion struct {
	state  mesh.StepState // running while somebody has not answered.
	reason string
	facts  map[string]string
}

// conclude joins what the nodes of a step say: the worst of it holds. known is
// what was found out before.
func conclude(s *mesh.RemedyStep, known map[string]string) conclusion {
	out := conclusion{state: mesh.StepSkip, facts: make(map[string]string)}
	rank := []mesh.StepState{mesh.StepSkip, mesh.StepOK, mesh.StepWaiting, mesh.StepNo}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !n.Job.State.Ended() {
			return conclusion{state: mesh.StepRunning}
		}
		state, reason := said(s.Kind, n)
		if slices.Index(rank, state) > slices.Index(rank, out.state) || out.reason == "" && state == out.state {
			out.state, out.reason = state, reason
			if reason != "" && len(s.Nodes) > 1 {
				out.reason = string(n.Node) + ": " + reason
			}
		}
		if n.Answer == nil {
			continue
		}
		for name, v := range n.Answer.Facts {
			if old, ok := out.facts[name]; ok && old != v {
				return conclusion{state: mesh.StepNo, reason: fmt.Sprintf("the nodes disagree on %s: %q and %q", name, old, v)}
			}
			out.facts[name] = v
		}
	}
	size := 0
	for name, v := range known {
		if _, ok := out.facts[name]; !ok {
			size += len(name) + len(v)
		}
	}
	for name, v := range out.facts {
		size += len(name) + len(v)
	}
	if size > maxFacts {
		return conclusion{state: mesh.StepNo, reason: fmt.Sprintf("%d bytes of facts were found, at most %d can be passed on", size, maxFacts)}
	}
	return out
}

// maxFacts is how many bytes of facts fit into a signed job beside the rest.
const maxFacts = 4 << 10

// said is what one node of a step says, when its job has ended. Only a script
// that ran to its end has said anything.
func said(kind mesh.StepKind, n *mesh.StepNode) (mesh.StepState, string) {
	changes := kind == mesh.StepAct || kind == mesh.StepUndo
	switch {
	case n.Job.State == mesh.OK && n.Answer == nil:
		return mesh.StepNo, "the script has ended without an answer"
	case n.Job.State == mesh.OK:
		return states()[n.Answer.Verdict], n.Answer.Reason
	case n.Job.State == mesh.Expired, n.Job.State == mesh.Unknown:
		// The node was away; a script of a plan may run twice.
		return mesh.StepWaiting, "the job is " + string(n.Job.State) + because(n.Job.Reason)
	case n.Job.State == mesh.Timeout && !changes:
		return mesh.StepWaiting, "the script took too long"
	}
	return mesh.StepNo, "the job ended with " + outcome(n.Job) + because(n.Job.Reason)
}

func states() map[mesh.Verdict]mesh.StepState {
	return map[mesh.Verdict]mesh.StepState{
		mesh.VerdictOK: mesh.StepOK, mesh.VerdictNo: mesh.StepNo, mesh.VerdictSkip: mesh.StepSkip, mesh.VerdictWait: mesh.StepWaiting,
	}
}
