package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/agent/check"
	"alps/mesh"
)

func TestRunsOnAGridThatDoesNotDrift(t *testing.T) {
	for _, interval := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 10 * time.Second, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			bubble(t, func(r *rig) {
				began := time.Now()
				// Each run takes a little longer than the one before.
				took := time.Millisecond
				r.probes.does("a", func(context.Context) mesh.Health {
					time.Sleep(took)
					took += time.Millisecond
					return mesh.HealthPassing
				})
				r.start(nil, probe("a", interval))
				r.pass(20 * interval)
				runs := r.probes.runs("a")
				if len(runs) < 18 || len(runs) > 21 {
					t.Fatalf("%d runs in 20 intervals", len(runs))
				}
				if wait := runs[0].Sub(began); wait >= min(interval, check.DefaultSpread) {
					t.Errorf("the first run came after %s", wait)
				}
				for i := 2; i < len(runs); i++ {
					if gap := runs[i].Sub(runs[i-1]); gap != interval {
						t.Errorf("run %d began %s after the one before", i, gap)
					}
				}
			})
		})
	}
}

func TestASlowCheckDelaysOnlyItselfAndNeverOverlaps(t *testing.T) {
	bubble(t, func(r *rig) {
		active := 0
		r.probes.does("slow", func(context.Context) mesh.Health {
			if active++; active > 1 {
				t.Error("it overlaps itself")
			}
			time.Sleep(3500 * time.Millisecond)
			active--
			return mesh.HealthPassing
		})
		r.o.Concurrency = 2
		r.start(nil, probe("slow", time.Second), probe("fast", time.Second))
		r.pass(time.Minute)
		if n := len(r.probes.runs("fast")); n < 59 {
			t.Errorf("the fast one ran %d times in a minute, want each second", n)
		}
		slow := r.probes.runs("slow")
		if n := len(slow); n < 14 || n > 16 {
			t.Errorf("the slow one ran %d times in a minute, want every four seconds", n)
		}
		for i := 2; i < len(slow); i++ {
			if slow[i].Sub(slow[i-1])%time.Second != 0 {
				t.Errorf("run %d left the grid", i)
			}
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		var defs []mesh.CheckDef
		for i := range 30 {
			id := fmt.Sprintf("c%d", i)
			defs = append(defs, probe(id, time.Minute))
			r.probes.does(id, func(context.Context) mesh.Health {
				time.Sleep(time.Second)
				return mesh.HealthPassing
			})
		}
		r.o.Concurrency, r.o.Spread = 4, time.Nanosecond
		r.start(nil, defs...)
		r.pass(9 * time.Second)
		if r.probes.most != 4 {
			t.Errorf("%d ran at once, want 4", r.probes.most)
		}
		for _, d := range defs {
			if n := len(r.probes.runs(d.ID)); n != 1 {
				t.Errorf("%s ran %d times, want once", d.ID, n)
			}
		}
		r.SetConcurrency(10)
		r.pass(2 * time.Minute)
		r.define(nil) // all at once, and back at once.
		r.define(nil, defs...)
		r.pass(time.Minute)
		if r.probes.most != 10 {
			t.Errorf("%d ran at once, want 10", r.probes.most)
		}
	})
}

func TestRunNow(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Hour), probe("b", time.Hour))
		r.pass(time.Minute)
		if got := mesh.CodeOf(r.RunNow("a", "nothing")); got != mesh.NotFound {
			t.Errorf("RunNow of an unknown check has code %q, want not_found", got)
		}
		r.pass(0)
		if n := len(r.probes.runs("a")); n != 1 {
			t.Errorf("a ran %d times although b is unknown, want once", n)
		}
		r.reports.take()
		if err := r.RunNow("a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := results(r.reports.take(), "a"); len(got) != 1 || got[0].Seq != 2 {
			t.Errorf("at once came %+v, want the second result", got)
		}
		if n := len(r.probes.runs("b")); n != 1 {
			t.Errorf("b ran %d times, want once", n)
		}
		if err := r.RunNow(); err != nil {
			t.Fatal(err)
		}
		r.pass(0)
		if a, b := len(r.probes.runs("a")), len(r.probes.runs("b")); a != 3 || b != 2 {
			t.Errorf("a and b ran %d and %d times, want 3 and 2", a, b)
		}
	})
}

func TestRunNowBehindARunThatGoesOn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.probes.does("a", func(context.Context) mesh.Health { time.Sleep(2 * time.Second); return mesh.HealthPassing })
		r.o.Spread = time.Nanosecond
		r.start(nil, probe("a", time.Hour))
		r.pass(time.Second)
		for range 3 {
			if err := r.RunNow("a"); err != nil {
				t.Fatal(err)
			}
		}
		r.pass(time.Minute)
		if n := len(r.probes.runs("a")); n != 2 {
			t.Errorf("it ran %d times, want once more", n)
		}
	})
}

func TestAProbeThatHangs(t *testing.T) {
	bubble(t, func(r *rig) {
		free := make(chan struct{})
		r.probes.does("a", func(context.Context) mesh.Health { <-free; return mesh.HealthPassing })
		r.start(nil, probe("a", 10*time.Second))
		r.pass(time.Minute)
		s := r.state("a")
		if s.Status != mesh.HealthUnknown || !s.Timeout {
			t.Errorf("it is %q, timeout %v; want unknown by timeout", s.Status, s.Timeout)
		}
		if n := len(r.probes.runs("a")); n != 1 {
			t.Errorf("it was started %d times while it hangs, want once", n)
		}
		r.probes.set("a", mesh.HealthPassing)
		close(free)
		r.pass(20 * time.Second)
		if s := r.state("a"); s.Status != mesh.HealthPassing {
			t.Errorf("when it is free it is %q (%s), want passing", s.Status, s.Output)
		}
	})
}

// TestDisks has what a probe says of disks arrive at the server, in the form
// that it takes, and still known after a restart.
func TestDisks(t *testing.T) {
	bubble(t, func(r *rig) {
		r.probes.set("a", mesh.HealthCritical)
		r.probes.disks = []string{"sdc1", "sdb1", "a\x00b", "sdb1", ""}
		want := []string{"sdb1", "sdc1"}
		r.start(nil, probe("a", 10*time.Second))
		r.pass(time.Minute)
		sent := results(r.reports.take(), "a")
		if len(sent) == 0 {
			t.Fatal("nothing was sent")
		}
		b, err := json.Marshal(sent[0])
		if err != nil {
			t.Fatal(err)
		}
		var got mesh.CheckResult
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Disks); diff != "" {
			t.Errorf("disks (-want +got):\n%s", diff)
		}
		r.stop()
		r.start(nil, probe("a", 10*time.Second)) // it has not run yet.
		if diff := cmp.Diff(want, r.state("a").Disks); diff != "" {
			t.Errorf("disks after a restart (-want +got):\n%s", diff)
		}
	})
}

func TestAProbeThatPanics(t *testing.T) {
	bubble(t, func(r *rig) {
		r.probes.does("a", func(context.Context) mesh.Health { panic("oh") })
		r.start(nil, probe("a", 10*time.Second))
		r.pass(20 * time.Second)
		if s := r.state("a"); s.Status != mesh.HealthUnknown || s.Output != "probe test.a has a fault: oh" {
			t.Errorf("it is %q %q, want unknown with the fault", s.Status, s.Output)
		}
	})
}

func TestReload(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b, c := probe("a", 10*time.Second), probe("b", 10*time.Second), probe("c", 10*time.Second)
		r.start(web(&a), a, b, c)
		r.pass(35 * time.Second)
		before := r.state("a")
		registrations := len(r.consul.Calls("register"))
		r.reports.take()

		c.Interval = 20 * time.Second
		b.Name = "B"
		r.define(web(&a), a, b, c)
		r.pass(0)
		if got := r.state("a"); got.Seq != before.Seq || !got.At.Equal(before.At) {
			t.Errorf("a is another one after a reload that did not touch it")
		}
		if got := r.state("b").Name; got != "B" {
			t.Errorf("b is called %q, want its new name", got)
		}
		// Consul is told of the new name and of the new TTL, and of nothing else.
		if n := len(r.consul.Calls("register")) - registrations; n != 2 {
			t.Errorf("%d registrations after the reload, want 2", n)
		}
		r.pass(time.Minute)
		runs := r.probes.runs("a")
		for i := 2; i < len(runs); i++ {
			if gap := runs[i].Sub(runs[i-1]); gap != 10*time.Second {
				t.Errorf("the reload moved a: a gap of %s", gap)
			}
		}

		was := len(r.probes.runs("b"))
		r.define(nil, ofNode(a))
		r.pass(time.Minute)
		if n := len(r.probes.runs("b")); n != was {
			t.Error("b runs although it is gone")
		}
		var gone []string
		for _, d := range r.reports.take() {
			if len(d.Gone) > 0 && !d.durable {
				t.Error("that a check is gone was not durable")
			}
			gone = append(gone, d.Gone...)
		}
		if len(gone) != 2 {
			t.Errorf("gone are %v, want b and c", gone)
		}
		for _, id := range []string{"b", "c"} {
			if _, ok := r.consul.Check(id); ok {
				t.Errorf("Consul still has %s", id)
			}
		}
		if _, ok := r.consul.Service("web"); ok {
			t.Error("Consul still has the service")
		}
		r.wantConsul("a", mesh.HealthPassing, "it is passing")

		// What comes back goes on counting.
		seq := r.state("a").Seq
		r.define(nil)
		r.pass(time.Second)
		r.define(nil, ofNode(a))
		r.pass(20 * time.Second)
		if got := r.state("a").Seq; got <= seq {
			t.Errorf("a counts from %d after it came back, want more than %d", got, seq)
		}
	})
}

func ofNode(d mesh.CheckDef) mesh.CheckDef {
	d.Service = ""
	return d
}

func TestDefinitionsAreTakenWhollyOrNotAtAll(t *testing.T) {
	good := probe("a", time.Second)
	tests := map[string]struct {
		services []mesh.ServiceDef
		check    func(*mesh.CheckDef)
	}{
		"an id twice":          {nil, func(d *mesh.CheckDef) { d.ID = "a" }},
		"no id":                {nil, func(d *mesh.CheckDef) { d.ID = "" }},
		"the agent's own":      {nil, func(d *mesh.CheckDef) { d.ID = mesh.AgentCheck }},
		"gossip's":             {nil, func(d *mesh.CheckDef) { d.ID = mesh.SerfCheck }},
		"an id too long":       {nil, func(d *mesh.CheckDef) { d.ID = strings.Repeat("x", 300) }},
		"an id of two lines":   {nil, func(d *mesh.CheckDef) { d.ID = "a\nb" }},
		"no such service":      {nil, func(d *mesh.CheckDef) { d.Service = "db" }},
		"no interval":          {nil, func(d *mesh.CheckDef) { d.Interval = 0 }},
		"no command":           {nil, func(d *mesh.CheckDef) { d.Kind = mesh.CheckScript }},
		"no ttl":               {nil, func(d *mesh.CheckDef) { d.Kind = mesh.CheckTTL }},
		"no such kind":         {nil, func(d *mesh.CheckDef) { d.Kind = "ping" }},
		"a probe in Consul":    {nil, func(d *mesh.CheckDef) { d.Runner = mesh.RunnerConsul }},
		"the agent's service":  {[]mesh.ServiceDef{{ID: mesh.AgentService, Name: "x"}}, func(*mesh.CheckDef) {}},
		"a service twice":      {[]mesh.ServiceDef{{ID: "x", Name: "x"}, {ID: "x", Name: "x"}}, func(*mesh.CheckDef) {}},
		"a service without id": {[]mesh.ServiceDef{{Name: "x"}}, func(*mesh.CheckDef) {}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.start(nil, good)
				bad := probe("b", time.Second)
				tc.check(&bad)
				if got := mesh.CodeOf(r.SetDefinitions(tc.services, []mesh.CheckDef{bad, good})); got != mesh.Invalid {
					t.Errorf("SetDefinitions has code %q, want invalid", got)
				}
				if n := len(r.States()); n != 1 {
					t.Errorf("%d checks after a refusal, want the one before", n)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	whole := newRig(t).o
	for name, change := range map[string]func(*check.Options){
		"no node":              func(o *check.Options) { o.Node = "" },
		"no directory":         func(o *check.Options) { o.Dir = "" },
		"no catalog":           func(o *check.Options) { o.Catalog = nil },
		"no reports":           func(o *check.Options) { o.Reports = nil },
		"negative concurrency": func(o *check.Options) { o.Concurrency = -1 },
	} {
		o := whole
		change(&o)
		if _, err := check.New(o); err == nil {
			t.Errorf("New with %s succeeded", name)
		}
	}
}
