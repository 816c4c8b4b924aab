package check_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/agent/check"
	"alps/mesh"
)

func TestConsulIsToldAtOnceAndRaw(t *testing.T) {
	bubble(t, func(r *rig) {
		a := probe("a", 10*time.Second)
		a.Attempts, a.Initial = 3, mesh.HealthWarning
		r.o.Spread = 5 * time.Second
		r.start(web(&a), a)
		r.pass(0)
		r.wantConsul(mesh.AgentCheck, mesh.HealthPassing, "the ALPS agent runs")
		r.pass(30 * time.Second)
		r.wantConsul("a", mesh.HealthPassing, "it is passing")

		r.probes.set("a", mesh.HealthCritical)
		if err := r.RunNow("a"); err != nil {
			t.Fatal(err)
		}
		r.pass(0)
		r.wantConsul("a", mesh.HealthCritical, "it is critical")
		if s := r.state("a"); s.Hard != mesh.HealthPassing {
			t.Errorf("hard is %q after one bad result of 3", s.Hard)
		}
		r.probes.set("a", mesh.HealthUnknown)
		if err := r.RunNow("a"); err != nil {
			t.Fatal(err)
		}
		r.pass(0)
		r.wantConsul("a", mesh.HealthWarning, "UNKNOWN: it is unknown")
		c, _ := r.consul.Check("a")
		if h, _ := mesh.CatalogHealth(c.Status, c.Output); h != mesh.HealthUnknown {
			t.Errorf("who reads the catalog takes it for %q", h)
		}
	})
}

// TestTTLsHold lets checks of many intervals run and looks, second by second,
// whether one of them has expired, and then whether they are written too often.
func TestTTLsHold(t *testing.T) {
	bubble(t, func(r *rig) {
		intervals := []time.Duration{200 * time.Millisecond, time.Second, 7 * time.Second, 10 * time.Second, 25 * time.Second, 90 * time.Second, 10 * time.Minute}
		var defs []mesh.CheckDef
		for _, iv := range intervals {
			d := probe(iv.String(), iv)
			d.Initial = mesh.HealthPassing
			defs = append(defs, d)
		}
		r.start(nil, defs...)
		const span = 40 * time.Minute
		for range int(span / time.Second) {
			r.pass(time.Second)
			for _, d := range append(defs, mesh.CheckDef{ID: mesh.AgentCheck}) {
				if c, _ := r.consul.Check(d.ID); c.Status != mesh.HealthPassing {
					t.Fatalf("check %s is %q: %q", d.ID, c.Status, c.Output)
				}
			}
		}
		writes := map[string]int{}
		for _, l := range r.consul.Calls("update") {
			writes[l.ID]++
		}
		for _, d := range defs {
			// A third of the TTL, or each result where results are rarer.
			every := max(d.Interval, 15*time.Second)
			if most := int(span/every) + 2; writes[d.ID] > most {
				t.Errorf("check %s was written %d times in %s, want at most %d", d.ID, writes[d.ID], span, most)
			}
		}
	})
}

func TestConsulAwayAndBack(t *testing.T) {
	bubble(t, func(r *rig) {
		a := probe("a", 5*time.Second)
		r.start(nil, a)
		r.pass(time.Minute)
		r.consul.SetAway(true)
		r.pass(time.Minute)
		r.probes.set("a", mesh.HealthCritical)
		r.pass(10 * time.Minute)
		if s := r.state("a"); s.Status != mesh.HealthCritical {
			t.Errorf("while Consul is away it is %q, want critical", s.Status)
		}
		if mesh.CodeOf(r.CatalogError()) != mesh.Unavailable {
			t.Errorf("CatalogError = %v, want unavailable", r.CatalogError())
		}
		calls := len(r.consul.Calls(""))
		r.pass(10 * time.Minute)
		if n := len(r.consul.Calls("")) - calls; n > 60 {
			t.Errorf("it was asked %d times in 10 minutes while it was away", n)
		}
		r.consul.SetAway(false)
		r.pass(40 * time.Second)
		r.wantConsul("a", mesh.HealthCritical, "it is critical")
		r.wantConsul(mesh.AgentCheck, mesh.HealthPassing, "")
		if e, i := r.logs.count("ERROR"), r.logs.count("INFO"); e != 1 || i != 1 {
			t.Errorf("%d errors and %d infos were logged, want one each:\n%s", e, i, r.logs)
		}
		if err := r.CatalogError(); err != nil {
			t.Errorf("CatalogError = %v after it is back", err)
		}
	})
}

func TestConsulAwayAtTheStart(t *testing.T) {
	bubble(t, func(r *rig) {
		a := probe("a", 5*time.Second)
		r.consul.SetAway(true)
		r.start(web(&a), a)
		r.pass(5 * time.Minute)
		r.consul.SetAway(false)
		r.pass(40 * time.Second)
		r.wantConsul("a", mesh.HealthPassing, "it is passing")
	})
}

func TestConsulForgets(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := probe("a", 5*time.Second), probe("b", time.Hour)
		ttl := mesh.CheckDef{ID: "t", Name: "t", Kind: mesh.CheckTTL, TTL: time.Hour, Attempts: 1}
		services := append(web(&a), mesh.ServiceDef{ID: "bare", Name: "bare"})
		r.start(services, a, b, ttl)
		r.pass(time.Minute)
		r.consul.Forget()
		r.pass(20 * time.Second)
		r.wantConsul("a", mesh.HealthPassing, "it is passing")
		r.wantConsul("b", mesh.HealthPassing, "it is passing")
		if _, ok := r.consul.Check("t"); !ok {
			t.Error("the check that others feed was not registered again")
		}
		if _, ok := r.consul.Service("bare"); !ok {
			t.Error("the service without checks was not registered again")
		}
	})
}

func TestARegistrationBeginsWithWhatIsKnown(t *testing.T) {
	tests := map[string]struct {
		ran  bool          // it has run before.
		down time.Duration // so long ago.
		want mesh.Health
	}{
		"nobody ever ran it": {false, 0, mesh.HealthCritical},
		"a restart":          {true, time.Second, mesh.HealthWarning},
		"too long ago":       {true, time.Hour, mesh.HealthCritical},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				a := probe("a", time.Minute)
				r.probes.set("a", mesh.HealthUnknown)
				if tc.ran {
					r.start(web(&a), a)
					r.pass(time.Minute)
					r.stop()
					r.pass(tc.down)
					r.consul.Forget()
				}
				// What is seen is what was registered: a run says nothing for long.
				r.probes.does("a", func(context.Context) mesh.Health {
					time.Sleep(4 * time.Second)
					return mesh.HealthPassing
				})
				r.start(web(&a), a)
				r.pass(0)
				if c, ok := r.consul.Check("a"); !ok || c.Status != tc.want {
					t.Errorf("Consul begins with %q, want %q", c.Status, tc.want)
				}
			})
		})
	}
}

func TestARefusalDelaysNobodyElse(t *testing.T) {
	for name, err := range map[string]error{
		"denied":            mesh.Errorf(mesh.Denied, "no write on service web"),
		"a fault of Consul": mesh.Errorf(mesh.Unavailable, "500"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				a, b := probe("a", 5*time.Second), probe("b", 5*time.Second)
				r.consul.Refuse("web", err)
				r.start(web(&a), a, b)
				r.pass(10 * time.Minute)
				r.wantConsul("b", mesh.HealthPassing, "it is passing")
				r.wantConsul(mesh.AgentCheck, mesh.HealthPassing, "")
				if e := r.logs.count("ERROR"); e != 1 {
					t.Errorf("%d errors were logged, want one:\n%s", e, r.logs)
				}
				if r.CatalogError() == nil {
					t.Error("nobody is told that web is not registered")
				}
				r.consul.Refuse("web", nil)
				r.pass(time.Minute)
				r.wantConsul("a", mesh.HealthPassing, "it is passing")
			})
		})
	}
}

func TestAServiceThatConsulRemovedStaysAwayWhileItIsCritical(t *testing.T) {
	bubble(t, func(r *rig) {
		a := probe("a", 5*time.Second)
		a.DeregisterAfter = time.Hour
		r.start(web(&a), a)
		r.probes.set("a", mesh.HealthCritical)
		r.pass(time.Hour)
		r.consul.Reap("web")
		r.pass(10 * time.Minute)
		if _, ok := r.consul.Service("web"); ok {
			t.Fatal("it was registered again while it is critical")
		}
		r.probes.set("a", mesh.HealthPassing)
		r.pass(time.Minute)
		r.wantConsul("a", mesh.HealthPassing, "it is passing")
	})
}

func TestOnlyWhatIsOursIsDeregistered(t *testing.T) {
	foreign := func(r *rig) {
		r.consul.AddService(mesh.ServiceDef{ID: "theirs", Name: "theirs"})
		r.consul.Set("their-check", mesh.HealthPassing, "")
	}
	wantForeign := func(r *rig) {
		r.t.Helper()
		if _, ok := r.consul.Service("theirs"); !ok {
			r.t.Error("a service of somebody else's is gone")
		}
		r.wantConsul("their-check", mesh.HealthPassing, "")
	}
	has := func(r *rig) (service, check bool) {
		_, service = r.consul.Service("web")
		_, check = r.consul.Check("b")
		return service, check
	}
	for name, tc := range map[string]struct {
		between func(r *rig)
		stays   bool
	}{
		"removed while the agent was down":      {func(*rig) {}, false},
		"removed, and the list of ours is lost": {func(r *rig) { _ = os.Remove(filepath.Join(r.o.Dir, "registered.json")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				foreign(r)
				a, b := probe("a", 5*time.Second), probe("b", 5*time.Second)
				r.start(web(&a), a, b)
				r.pass(time.Minute)
				r.stop()
				if s, c := has(r); !s || !c {
					t.Error("the end of the agent deregistered what it had registered")
				}
				tc.between(r)
				r.start(nil)
				r.pass(time.Minute)
				if s, c := has(r); s != tc.stays || c != tc.stays {
					t.Errorf("the service is there: %v, the check: %v; want %v", s, c, tc.stays)
				}
				wantForeign(r)
			})
		})
	}
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(filepath.Join(r.o.Dir, "registered.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := check.New(r.o); err == nil || !strings.Contains(err.Error(), "registered.json") {
		t.Errorf("New = %v, want an error that names the file", err)
	}
}

func TestChecksThatOthersRun(t *testing.T) {
	bubble(t, func(r *rig) {
		ttl := mesh.CheckDef{ID: "ttl", Name: "ttl", Kind: mesh.CheckTTL, TTL: time.Minute, Attempts: 3}
		tcp := mesh.CheckDef{ID: "tcp", Name: "tcp", Kind: mesh.CheckTCP, Address: "127.0.0.1:1", Runner: mesh.RunnerConsul, Interval: 10 * time.Second, Timeout: time.Second, Attempts: 3}
		r.start(nil, ttl, tcp)
		r.pass(5 * time.Second)
		for _, id := range []string{"ttl", "tcp"} {
			if s := r.state(id); s.Seq != 0 || s.Status != mesh.HealthUnknown {
				t.Errorf("before anybody has said anything %s is %q", id, s.Status)
			}
			if k, _ := r.consul.Check(id); !k.Native {
				t.Errorf("%s is not registered as Consul's own", id)
			}
		}
		r.consul.Set("ttl", mesh.HealthPassing, "fed")
		r.consul.Set("tcp", mesh.HealthCritical, "connection refused")
		r.pass(3 * time.Second)
		if s := r.state("ttl"); s.Status != mesh.HealthPassing || s.Hard != mesh.HealthPassing || s.Output != "fed" {
			t.Errorf("ttl is %q %q, want passing as fed", s.Status, s.Output)
		}
		if s := r.state("tcp"); s.Hard != mesh.HealthCritical || s.Attempts != 1 {
			t.Errorf("tcp is %q hard of %d attempts, want critical of 1: Consul counts for itself", s.Hard, s.Attempts)
		}
		r.consul.Set("tcp", mesh.HealthWarning, "UNKNOWN: cannot say")
		r.pass(2*time.Minute + 3*time.Second)
		if s := r.state("ttl"); s.Status != mesh.HealthCritical || !s.Timeout {
			t.Errorf("ttl that nobody feeds is %q, timeout %v; want critical by timeout", s.Status, s.Timeout)
		}
		if s := r.state("tcp"); s.Status != mesh.HealthUnknown || s.Output != "cannot say" {
			t.Errorf("tcp is %q %q, want unknown", s.Status, s.Output)
		}

		// Results go on coming although nothing changes, within the period.
		r.reports.take()
		r.pass(5 * time.Minute)
		wantNoSilence(r, "ttl", "tcp")

		// While Consul is away nobody says anything, and nothing recovers.
		seq := r.state("tcp").Seq
		r.consul.SetAway(true)
		r.pass(10 * time.Minute)
		if got := r.state("tcp").Seq; got != seq {
			t.Errorf("%d results came while Consul was away", got-seq)
		}
	})
}

// TestTheFirstThatOthersRun is defined while the agent runs, and looked at
// soon: there was nothing to look at before.
func TestTheFirstThatOthersRun(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("own", 10*time.Second))
		r.pass(5 * time.Second)
		r.define(nil, probe("own", 10*time.Second), mesh.CheckDef{
			ID: "tcp", Name: "tcp", Kind: mesh.CheckTCP, Address: "127.0.0.1:1", Runner: mesh.RunnerConsul, Interval: 10 * time.Second, Timeout: time.Second,
		})
		r.pass(time.Second)
		r.consul.Set("tcp", mesh.HealthPassing, "connected")
		r.pass(3 * time.Second)
		if s := r.state("tcp"); s.Status != mesh.HealthPassing {
			t.Errorf("tcp is %q %q, want passing", s.Status, s.Output)
		}
	})
}

// wantNoSilence fails the test when the reports that came have a gap which a
// server takes for silence: two periods.
func wantNoSilence(r *rig, ids ...string) {
	r.t.Helper()
	got := r.reports.take()
	for _, id := range ids {
		last := time.Time{}
		for _, d := range got {
			if len(results([]delivery{d}, id)) == 0 {
				continue
			}
			if gap, most := d.at.Sub(last), 2*r.state(id).Period; !last.IsZero() && gap > most {
				r.t.Errorf("nothing came of %s for %s, want at most %s", id, gap, most)
			}
			last = d.at
		}
		if last.IsZero() {
			r.t.Errorf("nothing came of %s", id)
		}
	}
}

func TestServersHearOfEachCheckInTime(t *testing.T) {
	bubble(t, func(r *rig) {
		var defs []mesh.CheckDef
		var ids []string
		for _, iv := range []time.Duration{200 * time.Millisecond, 3 * time.Second, 10 * time.Second, 35 * time.Second, 7 * time.Minute} {
			d := probe(iv.String(), iv)
			d.Timeout = 100 * time.Millisecond
			defs, ids = append(defs, d), append(ids, d.ID)
		}
		r.start(nil, defs...)
		r.pass(time.Hour)
		wantNoSilence(r, ids...)
	})
}

func TestAFirstWordThatConsulInventedIsTakenInTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		d := mesh.CheckDef{ID: "s", Name: "s", Kind: mesh.CheckScript, Command: []string{"x"}, Runner: mesh.RunnerConsul, Interval: 10 * time.Second, Timeout: time.Second}
		r.start(nil, d)
		r.pass(time.Minute) // a script in Consul that is critical and prints nothing.
		if s := r.state("s"); s.Status != mesh.HealthCritical {
			t.Errorf("it is %q, want critical", s.Status)
		}
	})
}

func TestManyChecksAtOneService(t *testing.T) {
	bubble(t, func(r *rig) {
		var defs []mesh.CheckDef
		for i := range 50 {
			d := probe(fmt.Sprintf("c%02d", i), 10*time.Second)
			d.Service = mesh.AgentService
			defs = append(defs, d)
		}
		r.start(nil, defs...)
		r.pass(30 * time.Second)
		for _, d := range defs {
			r.wantConsul(d.ID, mesh.HealthPassing, "")
		}
		if n := len(r.consul.Calls("register")); n != 1 {
			t.Errorf("%d registrations for one service, want 1", n)
		}
	})
}
