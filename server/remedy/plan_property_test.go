package remedy_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
	"alps/server/remedy"
)

// TestPlanProperties lets anything happen to a run with a plan: every answer,
// nodes that are away, a server that dies at any effect or loses its lease, and
// a person who pauses.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		var failure any // what rapid throws belongs to this goroutine.
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			m := &climber{rt: rt, world: w, ctx: t.Context()}
			m.run()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

type climber struct {
	*world

	rt  *rapid.T
	e   *remedy.Engine
	p   mesh.Policy
	ctx context.Context //nolint:containedctx // it lives as long as the test.
}

func (m *climber) run() {
	m.p = policy()
	m.p.Script, m.p.Rungs, m.p.Retry, m.p.Cooldown = "", plan(), time.Hour, 7*24*time.Hour
	for _, name := range []mesh.NodeName{"nn1", "nn2"} {
		m.nodes[name] = mesh.Node{
			ID: mesh.NodeID("id of " + name), Name: name, DC: "dc1", Agent: mesh.AgentLinked, Status: mesh.MemberAlive,
			Services: []mesh.Service{{ID: "nn", Name: "nn"}},
		}
	}
	m.onSubmit = m.submitted
	m.e = m.engine(m.rt, m.p)
	m.open("i1", "web1")
	for range rapid.IntRange(5, 60).Draw(m.rt, "events") {
		m.happen()
	}
	m.calm()
	m.judge()
}

func (m *climber) happen() {
	switch rapid.SampledFrom([]string{"answer", "answer", "answer", "answer", "die", "depose", "pause", "resume", "wait"}).Draw(m.rt, "event") {
	case "answer":
		m.answerOpen(rapid.SampledFrom([]mesh.Verdict{"ok", "ok", "ok", "no", "skip", "wait"}).Draw(m.rt, "verdict"))
	case "die":
		m.fuel = rapid.IntRange(1, 6).Draw(m.rt, "effects")
	case "depose":
		m.depose, m.fuel = true, rapid.IntRange(1, 6).Draw(m.rt, "effects")
	case "pause":
		_ = m.PauseRemedy(m.ctx, remedy.Pause{By: "ann", At: time.Now()})
	case "resume":
		_ = m.ResumeRemedy(m.ctx, remedy.Pause{By: "ann", At: time.Now()})
	case "wait":
		time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, time.Minute}).Draw(m.rt, "long"))
	}
	m.turn()
}

// answerOpen ends every job that has not ended.
func (m *climber) answerOpen(v mesh.Verdict) {
	for _, j := range m.jobs {
		if j.state.State.Ended() {
			continue
		}
		j.state, j.answers = mesh.JobState{State: mesh.OK}, make(map[mesh.NodeID]mesh.Answer)
		for _, n := range j.Nodes {
			j.answers[n] = mesh.Answer{Verdict: v, Reason: "because"}
		}
		if rapid.IntRange(0, 9).Draw(m.rt, "away") == 0 {
			j.state = mesh.JobState{State: mesh.Expired}
		}
	}
}

// turn has whoever leads look, and a new server start when it died.
func (m *climber) turn() {
	time.Sleep(time.Second)
	m.result("web1", mesh.HealthCritical)
	if m.dead || !m.leads {
		m.leads = true
		m.term++
		m.e = m.engine(m.rt, m.p)
	}
	_ = m.e.Turn(m.ctx) // what has died says so.
}

// calm has everything answer that all is well until nothing is open.
func (m *climber) calm() {
	_ = m.ResumeRemedy(m.ctx, remedy.Pause{By: "ann", At: time.Now()})
	m.fuel, m.depose = 0, false
	for range 400 {
		m.answerOpen(mesh.VerdictOK)
		m.turn()
		if list := m.stored(m.rt); len(list) > 0 && !slices.ContainsFunc(list, func(r remedy.Record) bool { return r.State.Open() }) {
			return
		}
	}
	m.rt.Fatalf("it never ends: %+v", m.stored(m.rt))
}

// submitted holds every job against what is stored: nothing acts that was not
// written down, confirmed and guarded.
func (m *climber) submitted(s remedy.Submission) {
	var run *remedy.Record
	for _, r := range m.stored(m.rt) {
		if r.State.Open() {
			run = &r
		}
	}
	if run == nil || len(run.Steps) == 0 {
		m.rt.Fatalf("job %s belongs to no run", s.ID)
	}
	last := run.Steps[len(run.Steps)-1]
	if last.Job != s.ID || last.State != mesh.StepRunning {
		m.rt.Fatalf("job %s is not that of the newest step, %+v", s.ID, last)
	}
	if last.Kind != mesh.StepAct {
		return
	}
	if sw, _ := m.RemedySwitch(m.ctx); sw.All() != nil && last.Attempts == 1 && sw.All().At.Before(last.Started) {
		m.rt.Fatalf("step %s acts while it is paused", last.Name)
	}
	for _, want := range []mesh.StepKind{mesh.StepConfirm, mesh.StepGuard} {
		if !slices.ContainsFunc(run.Steps, func(s mesh.RemedyStep) bool {
			return s.Rung == last.Rung && s.Kind == want && s.State == mesh.StepOK
		}) {
			m.rt.Fatalf("step %s acts without %s: %+v", last.Name, want, run.Steps)
		}
	}
}

// judge holds what has become of the runs against what their steps say.
func (m *climber) judge() {
	if m.usurped > 0 {
		m.rt.Fatalf("%d effects without a lease", m.usurped)
	}
	seen := make(map[mesh.JobID]bool)
	for _, r := range m.stored(m.rt) {
		acted := false
		for _, s := range r.Steps {
			if seen[s.Job] && s.Job != "" {
				m.rt.Fatalf("job %s is that of two steps", s.Job)
			}
			seen[s.Job] = true
			acted = acted || s.Kind == mesh.StepAct && s.State != mesh.StepSkip
		}
		last := mesh.RemedyStep{}
		if n := len(r.Steps); n > 0 {
			last = r.Steps[n-1]
		}
		switch r.State {
		case mesh.RemedySucceeded:
			if last.Kind != mesh.StepProve || last.State != mesh.StepOK {
				m.rt.Fatalf("it has succeeded without a proof: %+v", r.Steps)
			}
			for _, s := range r.Steps {
				if s.Rung == last.Rung && s.State != mesh.StepOK && (s.Kind != mesh.StepAct || s.State != mesh.StepSkip) {
					m.rt.Fatalf("it has succeeded although %s is %s: %+v", s.Name, s.State, r.Steps)
				}
			}
		case mesh.RemedyRefused:
			if acted {
				m.rt.Fatalf("it is refused and has acted: %+v", r.Steps)
			}
		case mesh.RemedyFailed:
			m.undone(&r)
		default:
			m.rt.Fatalf("it is %s in the end", r.State)
		}
	}
}

// undone wants every step of a failed run taken back, or said to be not.
func (m *climber) undone(r *remedy.Record) {
	standing := make(map[string]bool)
	for _, s := range r.Steps {
		switch {
		case s.Kind == mesh.StepAct && s.State != mesh.StepSkip:
			standing[s.Name] = true
		case s.Kind == mesh.StepUndo && s.State == mesh.StepOK, s.Kind == mesh.StepUndo && s.State == mesh.StepSkip:
			delete(standing, s.Name)
		case s.Kind == mesh.StepUndo:
			return // a human was called.
		}
	}
	if len(standing) > 0 {
		m.rt.Fatalf("it has failed and left %v: %+v", standing, r.Steps)
	}
}
