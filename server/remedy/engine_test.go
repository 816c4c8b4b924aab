package remedy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/remedy"
)

// story is a test of one incident on web1 under one policy, step by step.
type story struct {
	*testing.T
	*world
	e *remedy.Engine
	p mesh.Policy
}

// tell runs a story in a bubble, where sleeping costs nothing.
func tell(t *testing.T, change func(*mesh.Policy), fn func(*story)) {
	t.Helper()
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		s := &story{T: t, world: w, p: policy()}
		if change != nil {
			change(&s.p)
		}
		s.e = w.engine(t, s.p)
		fn(s)
	})
}

// turn lets some time pass and has the engine look; results of checks go on
// coming as they were.
func (s *story) turn(after time.Duration) {
	s.Helper()
	time.Sleep(after)
	for k, c := range s.checks {
		if time.Since(c.Received) >= c.Result.Period {
			c.Received = time.Now()
			s.checks[k] = c
		}
	}
	if err := s.e.Turn(s.Context()); err != nil {
		s.Errorf("turn: %v", err)
	}
}

func (s *story) states() string {
	s.Helper()
	var out []string
	for _, r := range s.stored(s) {
		text := string(r.State)
		if r.Guard != "" {
			text += ":" + r.Guard
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (s *story) want(what, want string) {
	s.Helper()
	if got := s.states(); got != want {
		s.Fatalf("%s: runs are %q, want %q", what, got, want)
	}
}

// theJob is the newest job.
func (s *story) theJob() *job {
	s.Helper()
	var newest *job
	for _, j := range s.jobs {
		if newest == nil || j.at.After(newest.at) {
			newest = j
		}
	}
	if newest == nil {
		s.Fatal("no job was submitted")
	}
	return newest
}

func (s *story) end(state mesh.State, code int) {
	s.theJob().state = mesh.JobState{State: state, Code: code, Woke: "event"}
}

func TestMends(t *testing.T) {
	tell(t, func(p *mesh.Policy) { p.Args = []string{"/ctl"}; p.RunAs = "root" }, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		s.want("at once", "running")
		j := s.theJob()
		want := remedy.Submission{
			ID: j.ID, Author: "policy/restart-web", DC: "dc1", Node: "web1", NodeID: "id of web1", Script: "restart-web", Body: []byte("#!/bin/sh\n"),
			Args: []string{"/ctl"}, RunAs: "root", Timeout: 30 * time.Second, Expires: time.Minute,
			Env: map[string]string{"ALPS_POLICY": "restart-web", "ALPS_INCIDENT": "i1", "ALPS_NODE": "web1", "ALPS_CHECK": "web", "ALPS_SERVICE": "web"},
		}
		if diff := cmp.Diff(want, j.Submission); diff != "" {
			t.Errorf("submission (-want +got):\n%s", diff)
		}
		s.turn(time.Second)
		s.want("while the job runs", "running")
		s.result("web1", mesh.HealthPassing) // before the job ends: no proof.
		s.turn(time.Second)
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		s.turn(time.Second)
		s.want("with a result from before the end", "verifying")
		s.result("web1", mesh.HealthPassing)
		s.turn(time.Second)
		s.want("with a new result", "succeeded")
		s.set("i1", mesh.IncidentClosed)
		s.turn(time.Minute)
		s.want("after all", "succeeded")

		r := s.stored(s)[0]
		if r.Before.Status != mesh.HealthCritical || r.After.Status != mesh.HealthPassing || r.Job.Woke != "event" || !r.Told || r.ID != j.ID {
			t.Errorf("the evidence: %+v", r)
		}
		wantNotes := []string{
			"i1 policy restart-web will run restart-web on web1: every guard agrees",
			"i1 policy restart-web runs restart-web on web1 as job " + string(j.ID),
			"i1 the job ended with OK; a new result of the check web decides",
			"i1 policy restart-web helped: the check web passes, by a result that came after the job",
		}
		if diff := cmp.Diff(wantNotes, s.notes); diff != "" {
			t.Errorf("the timeline (-want +got):\n%s", diff)
		}
		var actions []string
		for _, a := range s.audits {
			actions = append(actions, a.Actor+" "+a.Action+" "+string(a.Outcome))
		}
		wantActions := []string{
			"policy/restart-web remedy.decided done", "policy/restart-web remedy.running done",
			"policy/restart-web remedy.verifying done", "policy/restart-web remedy.succeeded done",
		}
		if diff := cmp.Diff(wantActions, actions); diff != "" {
			t.Errorf("the audit (-want +got):\n%s", diff)
		}
		if len(s.runs) != 4 || len(s.cries) != 0 {
			t.Errorf("%d events, calls %q; want 4 and none", len(s.runs), s.cries)
		}
	})
}

// TestExitCodeProvesNothing says that the check decides, in both directions.
func TestExitCodeProvesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		state  mesh.State
		code   int
		check  mesh.Health
		want   string
		reason string
		cries  int
	}{
		"well, and passing":          {mesh.OK, 0, mesh.HealthPassing, "succeeded", "", 0},
		"well, and critical":         {mesh.OK, 0, mesh.HealthCritical, "failed", "the check is critical, 40s after the job ended with OK", 1},
		"well, and unknown":          {mesh.OK, 0, mesh.HealthUnknown, "failed", "the check is unknown", 1},
		"well, and silent":           {mesh.OK, 0, "", "failed", "no result of the check came after the job ended", 1},
		"exit 1, and passing":        {mesh.Failed, 1, mesh.HealthPassing, "succeeded", "although the script ended with exit code 1", 0},
		"exit 1, and critical":       {mesh.Failed, 1, mesh.HealthCritical, "failed", "ended with exit code 1", 1},
		"too slow, and passing":      {mesh.Timeout, 0, mesh.HealthPassing, "succeeded", "although the script ended with TIMEOUT", 0},
		"expired, and passing":       {mesh.Expired, 0, mesh.HealthPassing, "failed", "the script was not run: the job is EXPIRED", 1},
		"refused, and passing":       {mesh.Rejected, 0, mesh.HealthPassing, "failed", "the script was not run: the job is REJECTED", 1},
		"nobody knows, and passing":  {mesh.Unknown, 0, mesh.HealthPassing, "failed", "nobody can say what the script did", 1},
		"cancelled by hand, passing": {mesh.Cancelled, 0, mesh.HealthPassing, "failed", "nobody can say what the script did", 1},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, nil, func(s *story) {
				s.open("i1", "web1")
				s.turn(0)
				s.end(tt.state, tt.code)
				s.turn(time.Second)
				time.Sleep(time.Second)
				if tt.check != "" {
					s.result("web1", tt.check)
				}
				for range 2 {
					time.Sleep(time.Second)
					if err := s.e.Turn(s.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if tt.want == "failed" && tt.state == mesh.OK {
					s.want("before the deadline", "verifying")
				}
				time.Sleep(37 * time.Second) // verify and a period, after the job's end.
				if err := s.e.Turn(s.Context()); err != nil {
					t.Fatal(err)
				}
				r := s.stored(s)[0]
				if string(r.State) != tt.want || !strings.Contains(r.Reason, tt.reason) || len(s.cries) != tt.cries {
					t.Errorf("%s: %s, calls %q; want %s: %s and %d calls", r.State, r.Reason, s.cries, tt.want, tt.reason, tt.cries)
				}
			})
		})
	}
}

// TestProof says which results prove something.
func TestProof(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*mesh.CheckState)
		want   string
	}{
		"a good one":            {func(*mesh.CheckState) {}, "succeeded"},
		"of the catalog":        {func(c *mesh.CheckState) { c.Source = mesh.SourceCatalog }, "verifying"},
		"of a lost agent":       {func(c *mesh.CheckState) { c.AgentLost = true }, "verifying"},
		"the last is not":       {func(c *mesh.CheckState) { c.Result.Status = mesh.HealthCritical }, "verifying"},
		"at the very end":       {func(c *mesh.CheckState) { c.Received = c.Received.Add(-time.Second) }, "verifying"},
		"a warning is not well": {func(c *mesh.CheckState) { c.Status = mesh.HealthWarning }, "verifying"},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, nil, func(s *story) {
				s.open("i1", "web1")
				s.turn(0)
				s.end(mesh.OK, 0)
				s.turn(time.Second)
				time.Sleep(time.Second)
				s.result("web1", mesh.HealthPassing)
				c := s.checks["dc1/web1/web"]
				tt.change(&c)
				s.checks["dc1/web1/web"] = c
				s.turn(0)
				s.want(name, tt.want)
			})
		})
	}
}

func TestObserve(t *testing.T) {
	tell(t, func(p *mesh.Policy) { p.Mode = mesh.RemedyObserve }, func(s *story) {
		s.open("i1", "web1")
		for range 5 {
			s.turn(time.Second)
		}
		s.want("observing", "observed")
		if len(s.jobs) != 0 || len(s.notes) != 1 || !strings.Contains(s.notes[0], "would run restart-web on web1") {
			t.Errorf("%d jobs, notes %q", len(s.jobs), s.notes)
		}
		s.e = s.engine(s, s.p)
		s.turn(6 * time.Second)
		s.want("by another leader", "observed")
		i := s.incidents["i1"]
		i.Reopened++
		s.incidents["i1"] = i
		s.turn(6 * time.Second)
		s.want("reopened", "observed observed")
	})
}

func TestNotForIt(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*mesh.Policy)
		incident func(*mesh.Incident)
	}{
		"another rule":           {func(p *mesh.Policy) { p.Rule = "db-down" }, nil},
		"another node":           {func(p *mesh.Policy) { p.Target = "web2" }, nil},
		"off":                    {func(p *mesh.Policy) { p.Mode = mesh.RemedyOff }, nil},
		"a problem of no node":   {nil, func(i *mesh.Incident) { i.Node = "" }},
		"closed before it began": {nil, func(i *mesh.Incident) { i.Status = mesh.IncidentClosed }},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, tt.change, func(s *story) {
				i := s.open("i1", "web1")
				if tt.incident != nil {
					tt.incident(&i)
					s.incidents["i1"] = i
				}
				s.turn(0)
				s.turn(time.Minute)
				s.want(name, "")
			})
		})
	}
}

// TestRecoveredBeforeItWasLookedAt says that nothing is said about a check that
// passes already.
func TestRecoveredBeforeItWasLookedAt(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		s.result("web1", mesh.HealthPassing)
		s.turn(time.Second)
		s.want("recovered", "")
	})
}

// TestRefusalsOnce says that a refusal is stored once, and again when another
// guard refuses, and that the question is asked again.
func TestRefusalsOnce(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		n := s.nodes["web1"]
		n.Agent = mesh.AgentLost
		s.nodes["web1"] = n
		for range 5 {
			s.turn(time.Second)
		}
		s.want("without an agent", "refused:lost")
		s.set("i1", mesh.IncidentAcked)
		s.turn(6 * time.Second)
		s.want("acked", "refused:lost refused:acked")
		n.Agent = mesh.AgentLinked
		s.nodes["web1"] = n
		s.set("i1", mesh.IncidentOpen)
		s.turn(6 * time.Second)
		s.want("when all agree", "refused:lost refused:acked running")
		if len(s.cries) != 0 {
			t.Errorf("calls %q, want none: a refusal is no failure", s.cries)
		}
	})
}

func TestOneAtATime(t *testing.T) {
	tell(t, func(p *mesh.Policy) { p.Storm = 0 }, func(s *story) {
		s.open("i1", "web1")
		s.open("i2", "web2")
		s.turn(0)
		s.turn(time.Second)
		s.want("two incidents", "running refused:concurrency")
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		time.Sleep(time.Second)
		s.result("web1", mesh.HealthPassing)
		s.turn(0)
		s.want("its turn", "succeeded refused:concurrency running")
	})
}

func TestStorm(t *testing.T) {
	tell(t, nil, func(s *story) {
		for n := range 4 {
			s.open(mesh.IncidentID(fmt.Sprint("i", n)), mesh.NodeName(fmt.Sprint("web", n)))
		}
		s.turn(0)
		s.want("a storm", "refused:storm refused:storm refused:storm refused:storm")
		if len(s.cries) != 1 || !strings.Contains(s.cries[0], "policy restart-web does nothing: 4 incidents of the rule web-down within 1m0s") {
			t.Errorf("calls %q, want one", s.cries)
		}
		s.turn(10 * time.Minute)
		s.want("when the window has passed", "refused:storm refused:storm refused:storm refused:storm")
		s.e = s.engine(s, s.p)
		s.turn(time.Second)
		s.want("by another leader", "refused:storm refused:storm refused:storm refused:storm")
		if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{Policy: "restart-web"}, "it was the switch"); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Second)
		if got := s.states(); !strings.HasPrefix(got, "refused:storm refused:storm refused:storm refused:storm running refused:concurrency") {
			t.Errorf("after a person has resumed it: %q", got)
		}
		if len(s.cries) != 1 {
			t.Errorf("calls %q, want one in all", s.cries)
		}
	})
}

// TestStormStopsWhatWasDecided says that what was decided and not yet submitted
// is stopped by a storm as well.
func TestStormStopsWhatWasDecided(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.submitErr = mesh.Errorf(mesh.Unavailable, "Consul is away")
		s.open("i1", "web1")
		if err := s.e.Turn(s.Context()); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("turn: %v", err)
		}
		s.want("not submitted", "decided")
		for _, n := range []mesh.NodeName{"web2", "web3"} {
			s.e.OnIncident(s.open(mesh.IncidentID("i"+n), n))
		}
		s.submitErr = nil
		s.turn(time.Second)
		if got := s.states(); !strings.HasPrefix(got, "refused:storm") || len(s.jobs) != 0 {
			t.Errorf("runs %q, %d jobs", got, len(s.jobs))
		}
	})
}

func TestBreaker(t *testing.T) {
	tell(t, func(p *mesh.Policy) { p.Failures = 2; p.Cooldown = time.Minute }, func(s *story) {
		s.open("i1", "web1")
		for range 300 {
			s.turn(time.Second)
			for _, j := range s.jobs {
				j.state = mesh.JobState{State: mesh.OK}
			}
		}
		s.want("failing", "failed refused:cooldown failed refused:breaker")
		if len(s.cries) != 2 || !strings.Contains(s.cries[1], "`alps remedy resume restart-web`") || strings.Contains(s.cries[0], "resume") {
			t.Errorf("calls %q", s.cries)
		}
		s.e = s.engine(s, s.p)
		s.turn(time.Second)
		s.want("by another leader", "failed refused:cooldown failed refused:breaker")
		if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{Policy: "restart-web"}, ""); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Second)
		s.want("resumed", "failed refused:cooldown failed refused:breaker running")
	})
}

func TestPause(t *testing.T) {
	tell(t, func(p *mesh.Policy) { p.Storm = 0 }, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, " rack 11 "); err != nil {
			t.Fatal(err)
		}
		s.open("i2", "web2")
		s.turn(6 * time.Second)
		s.want("paused", "running refused:paused")
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		time.Sleep(time.Second)
		s.result("web1", mesh.HealthPassing)
		s.turn(0)
		s.want("what ran is verified", "succeeded refused:paused")
		s.e = s.engine(s, s.p)
		s.turn(time.Second)
		s.want("by another leader", "succeeded refused:paused")
		if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Second)
		s.want("resumed", "succeeded refused:paused running")
	})
}

// TestTakeoverOfAMuteJob kills a server between a job and its announcement: the
// next one has the same job announced, unless it is not wanted any more.
func TestTakeoverOfAMuteJob(t *testing.T) {
	for name, tt := range map[string]struct {
		paused bool
		want   string
		count  int
	}{
		"it is wanted": {false, "running", 2},
		"it is paused": {true, "refused:paused", 1},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, nil, func(s *story) {
				s.open("i1", "web1")
				s.mute = true
				_ = s.e.Turn(s.Context()) // it dies.
				s.want("when it died", "decided")
				s.term++
				s.e = s.engine(s, s.p)
				if tt.paused {
					if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
						t.Fatal(err)
					}
				}
				s.turn(time.Second)
				s.want("by the next one", tt.want)
				if j := s.theJob(); j.count != tt.count || j.mute != tt.paused {
					t.Errorf("the job was submitted %d times, want %d; nobody was told: %v", j.count, tt.count, j.mute)
				}
			})
		})
	}
}

// TestTakeover kills a server at each of its effects and has another go on.
func TestTakeover(t *testing.T) {
	for fuel := 1; fuel < 60; fuel++ {
		tell(t, nil, func(s *story) {
			s.open("i1", "web1")
			s.fuel = fuel
			for range 5 {
				if s.dead {
					break
				}
				time.Sleep(time.Second)
				_ = s.e.Turn(s.Context()) // it may die.
				for _, j := range s.jobs {
					j.state = mesh.JobState{State: mesh.OK}
				}
				s.result("web1", mesh.HealthCritical)
				if s.dead {
					break
				}
			}
			s.term++
			s.e = s.engine(s, s.p)
			for range 5 {
				s.turn(time.Second)
				for _, j := range s.jobs {
					j.state = mesh.JobState{State: mesh.OK}
				}
				if st := s.states(); st == "verifying" {
					s.result("web1", mesh.HealthPassing)
				}
			}
			if got := s.states(); got != "succeeded" || len(s.jobs) != 1 || s.theJob().count != 1 {
				t.Errorf("death at effect %d: runs %q, %d jobs", fuel, got, len(s.jobs))
			}
			if n := len(s.cries); n != 0 {
				t.Errorf("death at effect %d: calls %q", fuel, s.cries)
			}
			if r := s.stored(s)[0]; !r.Told {
				t.Errorf("death at effect %d: the end was not told", fuel)
			}
		})
	}
}

// TestCallSurvives says that the call to a human is made by the next leader
// when the first one died before it.
func TestCallSurvives(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		s.end(mesh.Rejected, 0)
		s.fuel = 3 // the store takes the failure; then it dies.
		time.Sleep(time.Second)
		if err := s.e.Turn(s.Context()); err == nil || !s.dead || len(s.cries) != 0 {
			t.Fatalf("it did not die in time: %v, %q", err, s.cries)
		}
		s.term++
		s.e = s.engine(s, s.p)
		s.turn(time.Second)
		s.turn(time.Second)
		if len(s.cries) != 1 || !strings.Contains(s.cries[0], "could not mend web1: the script was not run") {
			t.Errorf("calls %q, want one", s.cries)
		}
	})
}

// TestOldDecision says that a decision that nobody carried out in time is
// dropped and made again.
func TestOldDecision(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		s.fuel = 3 // the decision is stored; then it dies.
		if err := s.e.Turn(s.Context()); err == nil {
			t.Fatal("it did not die")
		}
		s.want("decided", "decided")
		s.e = s.engine(s, s.p)
		s.turn(time.Hour)
		s.want("an hour later", "refused:stale running")
	})
}

// TestLongTelling says that a human is called, and others are acted for, while
// there is still much to write down.
func TestLongTelling(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.slow = 100 * time.Millisecond
		for n := range 20 {
			s.open(mesh.IncidentID(fmt.Sprint("i", n)), mesh.NodeName(fmt.Sprint("web", n)))
		}
		s.turn(0)
		if len(s.cries) != 1 || len(s.notes) == 0 || len(s.notes) > 5 {
			t.Errorf("after one turn: calls %q, %d notes; want one call and a few notes", s.cries, len(s.notes))
		}
		for range 20 {
			s.turn(0)
		}
		if len(s.cries) != 1 || len(s.notes) != 20 || len(s.audits) != 20 {
			t.Errorf("at last: calls %q, %d notes, %d audit lines; want 1, 20, 20", s.cries, len(s.notes), len(s.audits))
		}
	})
}

func TestSubmitRefused(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.submitErr = mesh.Errorf(mesh.Denied, "the grant does not cover the script")
		s.open("i1", "web1")
		s.turn(0)
		s.want("denied", "failed")
		if len(s.cries) != 1 || !strings.Contains(s.cries[0], "the job was not accepted: the grant does not cover the script") {
			t.Errorf("calls %q", s.cries)
		}
	})
}

func TestSubmitUnavailable(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.submitErr = mesh.Errorf(mesh.Unavailable, "Consul is away")
		s.open("i1", "web1")
		for range 32 {
			time.Sleep(time.Second)
			s.result("web1", mesh.HealthCritical)
			_ = s.e.Turn(s.Context()) // it says so each time.
		}
		if got := s.states(); !strings.HasPrefix(got, "failed") || !strings.Contains(s.stored(s)[0].Reason, "could not be submitted: Consul is away") {
			t.Errorf("runs %q: %s", got, s.stored(s)[0].Reason)
		}
	})
}

// TestNoLease says that a server that does not lead does nothing, and begins
// when it does.
func TestNoLease(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.leads = false
		s.e.OnIncident(s.open("i1", "web1"))
		s.turn(time.Second)
		s.want("without a lease", "")
		s.leads = true
		s.turn(time.Second)
		s.want("with a lease", "running")
		s.leads = false
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		s.want("when it is lost", "running")
	})
}

// TestDeposed says that a store that has seen a newer term ends the work of the
// older leader.
func TestDeposed(t *testing.T) {
	tell(t, nil, func(s *story) {
		if err := s.Memory.PutRemedyRuns(s.Context(), 9, nil); err != nil {
			t.Fatal(err)
		}
		s.open("i1", "web1")
		if err := s.e.Turn(s.Context()); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("turn: %v, want a conflict", err)
		}
		s.want("deposed", "")
		if len(s.jobs)+len(s.notes)+len(s.audits) != 0 {
			t.Errorf("%d jobs, %q, %d audit lines; want none", len(s.jobs), s.notes, len(s.audits))
		}
	})
}

// TestNotesWait says that what cannot be told now is told later, in order and
// once, and keeps nobody from acting.
func TestNotesWait(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.noteErr = mesh.Errorf(mesh.Unavailable, "the disk is full")
		s.open("i1", "web1")
		if err := s.e.Turn(s.Context()); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("turn: %v", err)
		}
		s.want("without a timeline", "running")
		s.noteErr = nil
		s.turn(time.Second)
		s.turn(time.Second)
		if len(s.notes) != 2 || !strings.Contains(s.notes[0], "will run") || !strings.Contains(s.notes[1], "as job") || len(s.audits) != 2 {
			t.Errorf("notes %q, %d audit lines", s.notes, len(s.audits))
		}
		s.noteErr = mesh.Errorf(mesh.NotFound, "there is no incident i1")
		s.end(mesh.Rejected, 0)
		s.turn(time.Second)
		if r := s.stored(s)[0]; !r.Told || len(s.cries) != 1 {
			t.Errorf("told %v, calls %q: an incident that is gone keeps nobody waiting", r.Told, s.cries)
		}
	})
}
