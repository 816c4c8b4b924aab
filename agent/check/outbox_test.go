package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
)

func TestChangesAreSentAtOnceAndTheRestIsGathered(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Second), probe("b", time.Second))
		r.pass(time.Minute)
		first := results(r.reports.take(), "a")[0]
		if first.Seq != 1 || first.Hard != mesh.HealthPassing || first.At.IsZero() || len(first.Samples) != 2 {
			t.Errorf("the first result is %+v", first)
		}
		r.pass(time.Minute)
		got := r.reports.take()
		if n := len(got); n < 5 || n > 7 {
			t.Errorf("%d reports in a minute without change, want one each 10 s", n)
		}
		for _, d := range got {
			if d.durable || d.Full || len(d.Results) != 2 {
				t.Errorf("routine came as durable %v, full %v, with %d results", d.durable, d.Full, len(d.Results))
			}
		}

		var flipped time.Time
		r.probes.does("a", func(context.Context) mesh.Health {
			if flipped.IsZero() {
				flipped = time.Now()
			}
			return mesh.HealthCritical
		})
		r.pass(2 * time.Second)
		found := false
		for _, d := range r.reports.take() {
			for _, c := range d.Results {
				if c.Check == "a" && c.Status == mesh.HealthCritical && !found {
					found = true
					if !d.durable || !d.at.Equal(flipped) {
						t.Errorf("the change came durable %v, %s after it", d.durable, d.at.Sub(flipped))
					}
				}
			}
		}
		if !found {
			t.Error("the change was not reported")
		}
	})
}

func TestSequenceHasNoResultTwice(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Second))
		flip := false
		r.probes.does("a", func(context.Context) mesh.Health {
			if flip = !flip; flip {
				return mesh.HealthCritical
			}
			return mesh.HealthPassing
		})
		r.pass(2 * time.Minute)
		last := uint64(0)
		flapping := false
		for _, c := range results(r.reports.take(), "a") {
			if c.Seq != last+1 {
				t.Fatalf("result %d came behind %d", c.Seq, last)
			}
			last, flapping = c.Seq, c.Flapping
		}
		if last < 100 || !flapping {
			t.Errorf("%d results, flapping %v", last, flapping)
		}
	})
}

func TestWithoutALinkRoutineIsDropped(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Second))
		r.pass(time.Minute)
		r.linked.Store(false)
		r.reports.take()
		r.pass(10 * time.Minute)
		if got := r.reports.take(); len(got) != 0 {
			t.Errorf("%d reports without a link and without a change", len(got))
		}
		r.probes.set("a", mesh.HealthCritical)
		r.pass(10 * time.Second)
		if got := r.reports.take(); len(got) != 1 || !got[0].durable {
			t.Errorf("a change without a link gave %+v, want one durable report", got)
		}
		r.linked.Store(true)
		r.Resend()
		synctest.Wait()
		got := r.reports.take()
		if len(got) != 1 || !got[0].Full || len(got[0].Results) != 1 || got[0].Results[0].Status != mesh.HealthCritical {
			t.Errorf("a new link began with %+v, want all as it is", got)
		}
	})
}

func TestAFullReportWaitsForFirstResults(t *testing.T) {
	bubble(t, func(r *rig) {
		r.probes.does("b", func(context.Context) mesh.Health { time.Sleep(4 * time.Second); return mesh.HealthWarning })
		r.start(nil, probe("a", time.Minute), probe("b", time.Minute))
		r.Resend()
		r.pass(20 * time.Second)
		for _, d := range r.reports.take() {
			if d.Full {
				if len(d.Results) != 2 || d.Results[1].Status != mesh.HealthWarning {
					t.Errorf("the full report has %+v, want both with what they are", d.Results)
				}
				return
			}
		}
		t.Error("there was no full report")
	})
}

func TestAFullReportDoesNotWaitForEver(t *testing.T) {
	bubble(t, func(r *rig) {
		ttl := mesh.CheckDef{ID: "t", Name: "t", Kind: mesh.CheckTTL, TTL: time.Hour, Attempts: 1}
		r.start(nil, probe("a", time.Minute), ttl)
		r.Resend()
		r.pass(20 * time.Second)
		for _, d := range r.reports.take() {
			if d.Full {
				if len(d.Results) != 2 || d.Results[1].Status != mesh.HealthUnknown || d.Results[1].Hard != mesh.HealthUnknown {
					t.Errorf("the full report has %+v, want the ttl as unknown", d.Results)
				}
				return
			}
		}
		t.Error("there was no full report")
	})
}

func TestAFullReportOfNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil)
		r.Resend()
		r.pass(time.Second)
		if got := r.reports.take(); len(got) != 1 || !got[0].Full {
			t.Errorf("got %+v, want one empty full report", got)
		}
	})
}

func TestReportsFitTheLink(t *testing.T) {
	bubble(t, func(r *rig) {
		var defs []mesh.CheckDef
		for i := range 100 {
			d := probe(fmt.Sprintf("c%03d", i), 10*time.Second)
			d.Notes = strings.Repeat("<&>", 2000) // too long, and grows sixfold in JSON.
			defs = append(defs, d)
		}
		r.start(nil, defs...)
		r.pass(20 * time.Second)
		r.Resend()
		r.pass(20 * time.Second)
		full, seen := 0, map[string]bool{}
		for _, d := range r.reports.take() {
			b, err := json.Marshal(d.CheckReport)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > 64<<10-64 {
				t.Errorf("a report of %d bytes", len(b))
			}
			if d.Full {
				full++
				clear(seen)
			}
			for _, c := range d.Results {
				seen[c.Check] = true
				if len(c.Notes) > 4<<10 {
					t.Errorf("notes of %d bytes: servers refuse them", len(c.Notes))
				}
			}
		}
		if full != 1 || len(seen) != len(defs) {
			t.Errorf("%d full reports with %d checks behind them, want 1 with %d", full, len(seen), len(defs))
		}
	})
}

func TestWhatCannotBeHandedOverIsHandedOverLater(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(nil, probe("a", time.Second), probe("b", time.Second))
		r.pass(20 * time.Second)
		r.reports.take()
		r.reports.setFail(errFull)
		r.probes.set("a", mesh.HealthCritical)
		r.pass(5 * time.Second)
		r.probes.set("a", mesh.HealthPassing)
		r.pass(5 * time.Second)
		r.define(nil, probe("a", time.Second))
		r.pass(5 * time.Second)
		r.reports.setFail(nil)
		r.pass(2 * time.Second)
		got := r.reports.take()
		var said []mesh.Health
		gone := false
		for _, d := range got {
			gone = gone || len(d.Gone) == 1 && d.Gone[0] == "b"
			if d.durable {
				for _, c := range d.Results {
					said = append(said, c.Status)
				}
			}
		}
		if len(said) != 2 || said[0] != mesh.HealthCritical || said[1] != mesh.HealthPassing || !gone {
			t.Errorf("afterwards came %v and gone %v, want critical, passing and b gone", said, gone)
		}
		if n := r.logs.count("ERROR"); n != 1 {
			t.Errorf("%d errors were logged, want one:\n%s", n, r.logs)
		}
	})
}

func TestARestartForgetsNoProblem(t *testing.T) {
	bubble(t, func(r *rig) {
		a := probe("a", 10*time.Second)
		a.Attempts = 3
		r.probes.set("a", mesh.HealthCritical)
		r.start(nil, a)
		r.pass(time.Minute)
		before := r.state("a")
		r.stop()
		r.pass(time.Minute)
		r.reports.take()
		r.o.Spread = 10 * time.Second
		r.start(nil, a)
		r.Resend()
		synctest.Wait()
		got := r.reports.take()
		if len(got) != 1 || !got[0].Full || got[0].Results[0].Hard != mesh.HealthCritical {
			t.Fatalf("the new run began with %+v, want the problem as it was", got)
		}
		r.pass(time.Minute)
		after := r.state("a")
		if after.Hard != mesh.HealthCritical || !after.HardSince.Equal(before.HardSince) || after.Attempt != 3 {
			t.Errorf("after a restart it is hard %q since %v, attempt %d; want critical since %v, 3", after.Hard, after.HardSince, after.Attempt, before.HardSince)
		}
		if after.Seq >= before.Seq+3 || after.Seq == 0 {
			t.Errorf("the new run counts from %d", after.Seq)
		}
	})
}

func TestResultsThatCannotBeReadAreDoneWithout(t *testing.T) {
	bubble(t, func(r *rig) {
		if err := os.WriteFile(filepath.Join(r.o.Dir, "results.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start(nil, probe("a", 10*time.Second))
		r.pass(20 * time.Second)
		if s := r.state("a"); s.Status != mesh.HealthPassing {
			t.Errorf("it is %q, want passing", s.Status)
		}
	})
}
