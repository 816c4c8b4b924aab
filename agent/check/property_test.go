package check_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
)

// TestBothReadersSeeTheTruthInTheEnd lets anything happen, in any order, and
// then some minutes of calm: Consul holds what the checks say and nothing else of
// ours, and a server that has taken every report knows the same.
func TestBothReadersSeeTheTruthInTheEnd(t *testing.T) {
	steps := []string{
		"flip", "flip", "flip", "flip", "redefine", "redefine", "restart", "away", "frozen", "back", "forget", "lose",
		"full disk", "room", "unlink", "link", "link", "run now", "refuse", "allow", "wait", "wait",
	}
	rapid.Check(t, func(rt *rapid.T) {
		// Everything is drawn before: what fails in the bubble is said outside.
		plan := rapid.SliceOfN(rapid.SampledFrom(steps), 1, 40).Draw(rt, "steps")
		numbers := rapid.SliceOfN(rapid.IntRange(0, 1<<20), len(plan), len(plan)).Draw(rt, "numbers")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			for i, step := range plan {
				w.step(step, numbers[i])
			}
			wrong = w.calm()
		})
		if len(wrong) > 0 {
			rt.Fatalf("in the end: %q", wrong)
		}
	})
}

// world is a rig in which things happen.
type world struct {
	*rig
	services []mesh.ServiceDef
	defs     []mesh.CheckDef
	says     map[string]mesh.Health
	boot     int
	server   map[string]mesh.CheckResult // what a server knows.
	heard    map[string]int              // in which boot it was said.
}

func newWorld(t *testing.T) *world {
	w := &world{rig: newRig(t), says: map[string]mesh.Health{}, server: map[string]mesh.CheckResult{}, heard: map[string]int{}}
	w.consul.AddService(mesh.ServiceDef{ID: "theirs", Name: "theirs"})
	w.consul.Set("theirs", mesh.HealthPassing, "")
	w.decide(1<<7 | 0b1011) // web with check a, and c beside it.
	w.start(w.services, w.defs...)
	return w
}

// decide makes the definitions that the bits of n say.
func (w *world) decide(n int) {
	w.services, w.defs = nil, nil
	if n&1 != 0 {
		w.services = []mesh.ServiceDef{{ID: "web", Name: "web", Port: 80 + n>>10&1}}
	}
	for i, id := range []string{"a", "b", "c"} {
		if n>>(i+1)&1 == 0 {
			continue
		}
		d := probe(id, []time.Duration{time.Second, 15 * time.Second, time.Minute}[i])
		if n>>(i+4)&1 != 0 {
			d.Attempts = 3
		}
		if n>>(i+7)&1 != 0 && len(w.services) > 0 {
			d.Service = "web"
		}
		w.defs = append(w.defs, d)
	}
}

func (w *world) step(what string, n int) {
	switch what {
	case "flip":
		id := string(rune('a' + n%3))
		h := []mesh.Health{mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown}[n/3%4]
		w.says[id] = h
		w.probes.set(id, h)
	case "redefine":
		w.decide(n)
		w.define(w.services, w.defs...)
	case "restart":
		w.stop()
		w.hear()
		w.boot++
		w.start(w.services, w.defs...)
		w.Resend()
	case "away", "back":
		w.consul.SetAway(what == "away")
		w.consul.SetFrozen(false)
	case "frozen":
		w.consul.SetFrozen(true)
	case "forget":
		w.consul.Forget()
		w.consul.AddService(mesh.ServiceDef{ID: "theirs", Name: "theirs"})
		w.consul.Set("theirs", mesh.HealthPassing, "")
	case "lose":
		// One without checks that is taken away alone is missed by nobody.
		if slices.ContainsFunc(w.defs, func(d mesh.CheckDef) bool { return d.Service == "web" }) {
			w.consul.Reap("web")
		}
	case "full disk":
		w.reports.setFail(errFull)
	case "room":
		w.reports.setFail(nil)
	case "unlink":
		w.linked.Store(false)
	case "link":
		w.linked.Store(true)
		w.Resend()
	case "run now":
		_ = w.RunNow(string(rune('a' + n%3))) // it may be none of the node.
	case "refuse":
		w.consul.Refuse("web", mesh.Errorf(mesh.Unavailable, "500"))
	case "allow":
		w.consul.Refuse("web", nil)
	}
	w.pass(time.Duration(n%20000) * time.Millisecond)
	w.hear()
}

// hear has the server take what was reported, by its rules.
func (w *world) hear() {
	for _, d := range w.reports.take() {
		if d.Full {
			clear(w.server)
		}
		for _, r := range d.Results {
			if old, ok := w.server[r.Check]; !ok || w.heard[r.Check] != w.boot || r.Seq >= old.Seq {
				w.server[r.Check], w.heard[r.Check] = r, w.boot
			}
		}
		for _, id := range d.Gone {
			delete(w.server, id)
		}
	}
}

// calm lets everything work for some minutes and says what is wrong then.
func (w *world) calm() (wrong []string) {
	for _, what := range []string{"back", "allow", "room", "link"} {
		w.step(what, 0)
	}
	w.pass(6 * time.Minute)
	w.hear()
	want := map[string]bool{"theirs": true, mesh.AgentCheck: true}
	for _, d := range w.defs {
		want[d.ID] = true
		says := w.says[d.ID]
		if says == "" {
			says = mesh.HealthPassing
		}
		inConsul := says
		if says == mesh.HealthUnknown {
			inConsul = mesh.HealthWarning
		}
		if c, _ := w.consul.Check(d.ID); c.Status != inConsul || c.Service != d.Service {
			wrong = append(wrong, fmt.Sprintf("Consul has %s as %q of service %q, want %q of %q", d.ID, c.Status, c.Service, inConsul, d.Service))
		}
		if s := w.server[d.ID]; s.Status != says || s.Hard != says {
			wrong = append(wrong, fmt.Sprintf("the server has %s as %q, hard %q, want %q", d.ID, s.Status, s.Hard, says))
		}
	}
	for _, id := range []string{"a", "b", "c", "theirs", mesh.AgentCheck} {
		if _, ok := w.consul.Check(id); ok != want[id] {
			wrong = append(wrong, fmt.Sprintf("Consul has check %s: %v, want %v", id, ok, want[id]))
		}
	}
	for id := range w.server {
		if !want[id] {
			wrong = append(wrong, "the server still has "+id)
		}
	}
	if _, ok := w.consul.Service("web"); ok != (len(w.services) > 0) {
		wrong = append(wrong, fmt.Sprintf("Consul has the service: %v", ok))
	}
	if _, ok := w.consul.Service("theirs"); !ok {
		wrong = append(wrong, "the service of somebody else's is gone")
	}
	w.stop()
	return wrong
}

func TestAFrozenConsulDelaysNothingElse(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Second))
		r.pass(30 * time.Second)
		r.consul.SetFrozen(true)
		r.pass(30 * time.Second)
		r.reports.take()
		var flipped time.Time
		r.probes.does("a", func(context.Context) mesh.Health {
			if flipped.IsZero() {
				flipped = time.Now()
			}
			return mesh.HealthCritical
		})
		r.pass(3 * time.Second)
		got := r.reports.take()
		if len(got) == 0 || !got[0].at.Equal(flipped) {
			t.Errorf("the change was reported as %+v, want it at once at %v", got, flipped)
		}
	})
}

func TestWhatDoesNotRunHasNoGoroutine(t *testing.T) {
	count := func(checks int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var defs []mesh.CheckDef
			for i := range checks {
				defs = append(defs, probe(fmt.Sprintf("c%d", i), time.Hour))
			}
			r.start(nil, defs...)
			r.pass(time.Minute)
			n = runtime.NumGoroutine()
			r.stop()
		})
		return n
	}
	if one, many := count(1), count(500); many > one+2 {
		t.Errorf("%d goroutines for 500 checks that wait, %d for one", many, one)
	}
}
