package exec

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/agent/exec/exectest"
	"alps/mesh"
	"alps/mesh/dispatch"
)

// chaos is one life of a node among everything that may go wrong around it.
type chaos struct {
	*rig

	t    *rapid.T
	jobs []mesh.Spec
	gens map[mesh.JobID]int
}

// Whatever is lost, doubled, delayed or killed: a job is started at most once
// (one that is idempotent, once more for each death of the agent), and ends.
func TestJobsStartOnceAndEndWhateverHappens(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		// Each check has a bubble of its own: its clock begins anew. What
		// rapid throws must leave it to be caught.
		var thrown any
		synctest.Test(t, func(*testing.T) {
			defer func() { thrown = recover() }()
			c := &chaos{
				rig: newRig(rt, filepath.Join(dir, fmt.Sprint(n), "exec")), t: rt,
				gens: map[mesh.JobID]int{},
			}
			c.runner.Do = exectest.Sleep(time.Duration(rapid.IntRange(0, 90).Draw(rt, "seconds a job takes")) * time.Second)
			c.change = func(o *Options) { o.Limits = Limits{Slots: 2, Queue: 6} }
			c.start()
			defer func() { c.end() }()
			c.clerk.Quiet = rapid.Bool().Draw(rt, "no events")
			for range rapid.IntRange(1, 25).Draw(rt, "steps") {
				c.step()
			}
			c.heal()
			c.check()
		})
		if thrown != nil {
			panic(thrown)
		}
	})
}

func (c *chaos) step() {
	steps := map[string]func(){
		"publish": c.publishOne,
		"again":   func() { c.announce(c.any()...) },
		"steer":   c.steer,
		"crash":   func() { c.crash(); c.start() },
		"restart": func() { c.end(); c.start() },
		"deaf":    func() { c.board.Deaf(rapid.Bool().Draw(c.t, "deaf")) },
		"away":    func() { c.board.Away(rapid.Bool().Draw(c.t, "away")) },
		"epoch":   func() { c.must(c.clerk.NewEpoch(c.refs(c.jobs)...)) },
		"spool":   func() { c.reports.Fail(rapid.SampledFrom([]error{nil, errors.New("full")}).Draw(c.t, "spool")) },
		"event":   func() { c.board.Fire("1 ffff 99999") },
		"wait":    func() { time.Sleep(time.Duration(rapid.IntRange(1, 120).Draw(c.t, "seconds")) * time.Second) },
	}
	name := rapid.SampledFrom(append(slices.Sorted(maps.Keys(steps)), "publish", "publish", "wait")).Draw(c.t, "step")
	steps[name]()
	synctest.Wait()
}

func (c *chaos) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// any returns a job that was published, if there is one.
func (c *chaos) any() []mesh.Spec {
	if len(c.jobs) == 0 {
		return nil
	}
	return []mesh.Spec{rapid.SampledFrom(c.jobs).Draw(c.t, "job")}
}

func (c *chaos) refs(specs []mesh.Spec) []dispatch.Ref {
	refs := make([]dispatch.Ref, len(specs))
	for i, s := range specs {
		refs[i] = exectest.Ref(s)
	}
	return refs
}

func (c *chaos) announce(specs ...mesh.Spec) {
	if len(specs) > 0 {
		c.must(c.clerk.Announce(c.refs(specs)...))
	}
}

func (c *chaos) publishOne() {
	s := c.clerk.Spec(c.node)
	s.Idempotent = rapid.Bool().Draw(c.t, "idempotent")
	s.Targets.Inline[0].Wave = rapid.IntRange(0, 1).Draw(c.t, "wave")
	s.Expires = s.NotBefore + int64(rapid.IntRange(60, 600).Draw(c.t, "expires"))
	s.Window = rapid.SampledFrom([]int{0, 5000}).Draw(c.t, "window")
	c.jobs = append(c.jobs, s)
	c.must(c.clerk.Publish(s))
	if rapid.Bool().Draw(c.t, "announced twice") {
		c.announce(s)
	}
}

func (c *chaos) steer() {
	for _, s := range c.any() {
		c.gens[s.Job]++
		phase := rapid.SampledFrom([]dispatch.Phase{dispatch.PhaseRun, dispatch.PhasePause, dispatch.PhaseCancel}).Draw(c.t, "phase")
		c.must(c.clerk.Steer(s, c.gens[s.Job], phase, rapid.IntRange(0, 1).Draw(c.t, "open wave")))
	}
}

// heal lets everything work again for as long as the last job may take.
func (c *chaos) heal() {
	c.board.Deaf(false)
	c.board.Away(false)
	c.reports.Fail(nil)
	synctest.Wait()
	settle(20 * time.Minute)
}

func (c *chaos) check() {
	for _, s := range c.jobs {
		starts, states := c.runner.Starts(s.Job), c.reports.States(s.Job)
		if starts > 1 && !s.Idempotent {
			c.t.Fatalf("job %s was started %d times: %v", s.Job, starts, states)
		}
		if len(states) == 0 || !states[len(states)-1].Ended() {
			c.t.Fatalf("job %s did not end: %v", s.Job, states)
		}
		end := states[len(states)-1]
		never := end == mesh.Expired || end == mesh.Rejected
		if never && starts > 0 {
			c.t.Fatalf("job %s was started and says %s", s.Job, end)
		}
		if end == mesh.OK && starts == 0 {
			c.t.Fatalf("job %s was not started and says OK", s.Job)
		}
		for _, st := range states {
			if st.Ended() && st != end {
				c.t.Fatalf("job %s ended twice: %v", s.Job, states)
			}
		}
	}
	if got := c.runner.Most(); got > 2 {
		c.t.Fatalf("%d jobs ran at once, the limit is 2", got)
	}
}
