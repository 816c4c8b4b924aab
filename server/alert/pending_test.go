package alert_test

import (
	"slices"
	"testing"
	"time"

	"alps/mesh"
)

// TestPending counts what is about to be opened, from the first bad result
// until the incident is there or the check is good again.
func TestPending(t *testing.T) {
	slow := webDown
	slow.For, slow.Target = 10*time.Second, "all"
	bubble(t, func(r *rig) {
		began := time.Now()
		want := func(when string, want int) {
			t.Helper()
			if got := r.engine.Pending("web-down", began); got != want {
				t.Errorf("%s: %d are pending, want %d", when, got, want)
			}
		}
		want("at first", 0)
		for n, node := range []string{"n1", "n2", "n3"} {
			pass(time.Second)
			r.set(state(node, "web", mesh.HealthCritical))
			want(node+" is bad", n+1)
		}
		r.set(state("n4", "disk", mesh.HealthCritical))
		want("a check that the rule is not about", 3)
		pass(time.Second)
		r.set(state("n3", "web", mesh.HealthPassing))
		want("n3 is well again", 2)
		pass(7 * time.Second)
		want("the first is open", 1)
		pass(time.Second)
		want("both are open", 0)

		pass(time.Second)
		r.set(state("n1", "web", mesh.HealthPassing))
		pass(time.Second)
		r.set(state("n1", "web", mesh.HealthCritical))
		want("its incident is of this time and counted already", 0)
		if got := r.engine.Pending("web-down", time.Now()); got != 1 {
			t.Errorf("%d are pending of those that were not opened since now, want 1", got)
		}
	}, slow)
}

// TestAGoodResultThatCameBeforeTheDecision has a check fail and recover before
// the engine gets to it: the incident is opened, and closed again at once.
func TestAGoodResultThatCameBeforeTheDecision(t *testing.T) {
	bubble(t, func(r *rig) {
		bad := state("n1", "web", mesh.HealthCritical)
		pass(time.Millisecond)
		good := state("n1", "web", mesh.HealthPassing)
		r.checks.mu.Lock()
		r.checks.states[[2]string{"n1", "web"}] = good
		r.checks.mu.Unlock()
		r.engine.Observe(bad)
		r.engine.Observe(good)
		pass(time.Second)
		r.only(mesh.IncidentClosed)
		if got, want := r.told(), []string{"firing ops", "resolved ops"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}, webDown)
}
