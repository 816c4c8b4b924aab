package remedy_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
	"alps/server/remedy"
)

// TestAnyOrder opens and closes incidents, lets checks and jobs end in any way,
// pauses, resumes, takes the lease away and kills servers between any two
// effects, in any order. At any time no job is started against a guard; at the
// end every run has ended, every success is proven, and every failure was told.
func TestAnyOrder(t *testing.T) {
	dir := newWorld(t).dir
	rapid.Check(t, func(rt *rapid.T) {
		// A bubble for each: rapid keeps its own time outside of it. What ends
		// a property is a panic, which must leave the bubble first.
		var failure any
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			anyOrder(t.Context(), rt, dir)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// model is a world that looks at what is done in it.
type model struct {
	*world
	rt       *rapid.T
	ctx      context.Context //nolint:containedctx // it lives as long as the test.
	e        *remedy.Engine
	policies []mesh.Policy

	paused  map[mesh.RemedyScope]bool
	resumed map[string]time.Time
	passing map[mesh.NodeName][]time.Time // when good results were received.
}

func anyOrder(ctx context.Context, rt *rapid.T, dir string) {
	w := &world{
		dir: dir, term: 1, leads: true,
		incidents: make(map[mesh.IncidentID]mesh.Incident), checks: make(map[string]mesh.CheckState),
		nodes: make(map[mesh.NodeName]mesh.Node), jobs: make(map[mesh.JobID]*job),
	}
	m := &model{world: w, rt: rt, ctx: ctx, paused: make(map[mesh.RemedyScope]bool), resumed: make(map[string]time.Time), passing: make(map[mesh.NodeName][]time.Time)}
	for _, name := range []string{"first", "second"} {
		p := policy()
		p.Name = name
		p.PerHour = rapid.IntRange(1, 4).Draw(rt, "per hour")
		p.Failures = rapid.IntRange(1, 3).Draw(rt, "failures")
		p.Cooldown = time.Duration(rapid.IntRange(0, 20).Draw(rt, "cooldown")) * time.Minute
		p.Storm = rapid.SampledFrom([]int{0, 2, 4}).Draw(rt, "storm")
		p.Group = rapid.SampledFrom([]string{"", "web"}).Draw(rt, "group")
		m.policies = append(m.policies, p)
	}
	w.onSubmit = m.atSubmit
	m.e = w.engine(rt, m.policies...)
	for range rapid.IntRange(1, 80).Draw(rt, "steps") {
		m.step()
		if err := m.e.Turn(ctx); err != nil && w.dead {
			w.term++
			m.e = w.engine(rt, m.policies...)
		}
		m.check()
	}
	m.settle()
}

func (m *model) node() mesh.NodeName {
	return mesh.NodeName(fmt.Sprint("web", rapid.IntRange(1, 4).Draw(m.rt, "node")))
}

func (m *model) step() {
	switch rapid.IntRange(0, 14).Draw(m.rt, "what") {
	case 0, 1:
		time.Sleep(time.Duration(rapid.IntRange(0, 1000).Draw(m.rt, "seconds")) * time.Second)
		m.fresh()
	case 2, 3:
		time.Sleep(time.Second)
		m.fresh()
	case 4, 5:
		n := m.node()
		if i, ok := m.incidents[mesh.IncidentID("of "+n)]; !ok || i.Status == mesh.IncidentClosed {
			m.e.OnIncident(m.open(mesh.IncidentID("of "+n), n))
		}
	case 6, 7:
		m.answer(m.node(), rapid.SampledFrom([]mesh.Health{mesh.HealthPassing, mesh.HealthCritical, mesh.HealthUnknown}).Draw(m.rt, "health"))
	case 8, 9:
		m.endJobs()
	case 10:
		id := mesh.IncidentID("of " + m.node())
		if _, ok := m.incidents[id]; ok {
			m.e.OnIncident(m.set(id, rapid.SampledFrom([]mesh.IncidentStatus{mesh.IncidentClosed, mesh.IncidentAcked, mesh.IncidentOpen}).Draw(m.rt, "status")))
		}
	case 11:
		m.turnSwitch()
	case 12:
		m.leads = !m.leads
		m.term++
	case 13:
		m.fuel = rapid.IntRange(1, 12).Draw(m.rt, "fuel")
		m.depose = rapid.Bool().Draw(m.rt, "depose")
	case 14:
		m.submitErr = nil
		if rapid.Bool().Draw(m.rt, "away") {
			m.submitErr = mesh.Errorf(mesh.Unavailable, "Consul is away")
		}
	}
}

func (m *model) turnSwitch() {
	scope := mesh.RemedyScope{}
	switch p := rapid.SampledFrom(m.policies).Draw(m.rt, "policy"); rapid.IntRange(0, 2).Draw(m.rt, "scope") {
	case 0:
		scope.Policy = p.Name
	case 1:
		scope.Group = p.Group
	}
	pause := rapid.Bool().Draw(m.rt, "pause")
	turn := m.e.Resume
	if pause {
		turn = m.e.Pause
	} else if scope.Policy != "" {
		m.resumed[scope.Policy] = time.Now()
	}
	m.paused[scope] = pause
	if err := turn(m.ctx, "ann", scope, ""); err != nil {
		m.rt.Fatalf("switch: %v", err)
	}
}

// fresh has every check say again what it said.
func (m *model) fresh() {
	for _, n := range []mesh.NodeName{"web1", "web2", "web3", "web4"} {
		if s, ok := m.Get("dc1", n, "web"); ok {
			m.answer(n, s.Status)
		}
	}
}

func (m *model) answer(n mesh.NodeName, h mesh.Health) {
	m.result(n, h)
	if h == mesh.HealthPassing {
		m.passing[n] = append(m.passing[n], time.Now())
	}
}

func (m *model) endJobs() {
	for _, r := range m.stored(m.rt) {
		if j := m.jobs[r.ID]; j != nil && !j.state.State.Ended() {
			j.state.State = rapid.SampledFrom([]mesh.State{mesh.OK, mesh.OK, mesh.Failed, mesh.Expired, mesh.Unknown, mesh.Running}).Draw(m.rt, "end")
		}
	}
}

// atSubmit holds a submission to what every guard promises.
func (m *model) atSubmit(s remedy.Submission) {
	now := time.Now()
	var mine *remedy.Record
	runs := m.stored(m.rt)
	for i := range runs {
		if runs[i].ID == s.ID {
			mine = &runs[i]
		}
	}
	if mine == nil || mine.State != mesh.RemedyDecided || mine.Policy != s.Env["ALPS_POLICY"] || mine.Node != s.Node {
		m.rt.Fatalf("job %s is submitted for the run %+v", s.ID, mine)
	}
	for scope, paused := range m.paused {
		if paused && scope.Covers(mine.Policy, mine.Group) {
			m.rt.Fatalf("job %s of policy %s is submitted, while %s is paused", s.ID, mine.Policy, scope)
		}
	}
	if !m.leads {
		m.rt.Fatalf("job %s is submitted without the lease", s.ID)
	}
	if i := m.incidents[mine.Incident]; i.Status != mesh.IncidentOpen {
		m.rt.Fatalf("job %s is submitted for an incident that is %s", s.ID, i.Status)
	}
	if c, _ := m.Get("dc1", s.Node, "web"); c.Status != mesh.HealthCritical || now.Sub(c.Received) > 2*c.Result.Period {
		m.rt.Fatalf("job %s is submitted for a check that is %s since %s", s.ID, c.Status, now.Sub(c.Received))
	}
	m.pace(mine, runs)
}

// pace holds a run to what was done before it.
func (m *model) pace(mine *remedy.Record, runs []remedy.Record) {
	p := m.policies[slices.IndexFunc(m.policies, func(p mesh.Policy) bool { return p.Name == mine.Policy })]
	hour, failed := 0, 0
	for _, r := range runs { // the oldest first.
		if r.Policy != p.Name || r.State == mesh.RemedyRefused || r.State == mesh.RemedyObserved {
			continue
		}
		if mine.Decided.Sub(r.Decided) < time.Hour {
			hour++
		}
		switch {
		case r.ID == mine.ID:
			continue
		case r.State == mesh.RemedyFailed && r.Ended.After(m.resumed[p.Name]):
			failed++
		default:
			failed = 0
		}
		if r.Node == mine.Node && mine.Decided.Sub(r.Ended) < p.Cooldown {
			m.rt.Fatalf("run %s on %s, %s after run %s: the cooldown is %s", mine.ID, mine.Node, mine.Decided.Sub(r.Ended), r.ID, p.Cooldown)
		}
	}
	if hour > p.PerHour {
		m.rt.Fatalf("run %s is number %d within an hour, of %d", mine.ID, hour, p.PerHour)
	}
	if failed >= p.Failures {
		m.rt.Fatalf("run %s after %d failures in a row, of %d", mine.ID, failed, p.Failures)
	}
}

// check holds what is stored to what must always be.
func (m *model) check() {
	if m.usurped > 0 {
		m.rt.Fatalf("%d effects of a server that does not lead", m.usurped)
	}
	lanes, places := make(map[string]int), make(map[mesh.NodeName]int)
	seen := make(map[mesh.JobID]bool)
	for _, r := range m.stored(m.rt) {
		if !r.State.Ended() {
			lanes[r.Group]++
			places[r.Node]++
		}
		seen[r.ID] = true
		_, has := m.jobs[r.ID]
		switch r.State {
		case mesh.RemedySucceeded:
			m.checkSuccess(r)
		case mesh.RemedyRunning, mesh.RemedyVerifying:
			if !has {
				m.rt.Fatalf("run %s is %s and has no job", r.ID, r.State)
			}
		case mesh.RemedyRefused, mesh.RemedyObserved:
			if has {
				m.rt.Fatalf("run %s is %s and has a job", r.ID, r.State)
			}
		case mesh.RemedyDecided, mesh.RemedyFailed:
		}
	}
	for group, n := range lanes {
		if n > 1 {
			m.rt.Fatalf("%d runs of the group %q are open", n, group)
		}
	}
	for node, n := range places {
		if n > 1 {
			m.rt.Fatalf("%d runs on %s are open", n, node)
		}
	}
	for id := range m.jobs {
		if !seen[id] {
			m.rt.Fatalf("job %s belongs to no run", id)
		}
	}
}

// checkSuccess says that a success is proven by a good result that really came
// after the job.
func (m *model) checkSuccess(r remedy.Record) {
	proven := slices.ContainsFunc(m.passing[r.Node], func(at time.Time) bool { return at.Equal(r.After.Received) && at.After(r.JobEnded) })
	if !proven || r.After.Status != mesh.HealthPassing || r.JobEnded.IsZero() || !m.jobs[r.ID].state.State.Ended() {
		m.rt.Fatalf("run %s succeeded by %s of %s, its job ended at %s", r.ID, r.After.Status, r.After.Received, r.JobEnded)
	}
}

// settle lets a last server bring everything to an end, and looks at that.
func (m *model) settle() {
	m.term++
	m.leads, m.submitErr = true, nil
	m.e = m.engine(m.rt, m.policies...)
	m.turnOff()
	for range 4 {
		for _, j := range m.jobs {
			j.state.State = j.state.State.Next(mesh.OK)
		}
		time.Sleep(2 * time.Minute)
		if err := m.e.Turn(m.ctx); err != nil {
			m.rt.Fatalf("the last turns: %v", err)
		}
		m.check()
	}
	for _, r := range m.stored(m.rt) {
		if !r.State.Ended() || !r.Told {
			m.rt.Fatalf("at the end run %s is %s, told %v", r.ID, r.State, r.Told)
		}
		if r.State != mesh.RemedyFailed {
			continue
		}
		want := fmt.Sprintf("%s policy %s could not mend %s: %s", r.Incident, r.Policy, r.Node, r.Reason)
		if !slices.ContainsFunc(m.cries, func(got string) bool { return len(got) >= len(want) && got[:len(want)] == want }) {
			m.rt.Fatalf("nobody was called for run %s: %s; %q", r.ID, want, m.cries)
		}
	}
}

func (m *model) turnOff() {
	m.paused[mesh.RemedyScope{}] = true
	if err := m.e.Pause(m.ctx, "ann", mesh.RemedyScope{}, "the end"); err != nil {
		m.rt.Fatalf("pause: %v", err)
	}
}
