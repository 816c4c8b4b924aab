package remedy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/remedy"
)

// asks is a story of the small policy in mode approve, with one proposal.
func asks(t *testing.T, fn func(s *story, id mesh.RemedyRunID)) {
	t.Helper()
	tell(t, func(p *mesh.Policy) { p.Mode = mesh.RemedyApprove }, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		s.want("at first", "proposed")
		if len(s.jobs) != 0 {
			t.Errorf("it has acted: %+v", s.jobs)
		}
		id := s.stored(s)[0].ID
		if len(s.cries) != 1 || !strings.Contains(s.cries[0], "alps remedy approve "+string(id)) {
			t.Errorf("called with %q", s.cries)
		}
		fn(s, id)
	})
}

func TestApprove(t *testing.T) {
	asks(t, func(s *story, id mesh.RemedyRunID) {
		s.turn(time.Minute)
		s.want("nobody has answered", "proposed")
		if err := s.e.Approve(s.Context(), "ann", id, "go"); err != nil {
			t.Fatal(err)
		}
		s.turn(0)
		s.want("approved", "running")
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		time.Sleep(time.Second)
		s.result("web1", mesh.HealthPassing)
		s.turn(0)
		s.want("in the end", "succeeded")
		if r := s.stored(s)[0]; r.Approved != "ann: go" {
			t.Errorf("approved by %q", r.Approved)
		}
		if err := s.e.Approve(s.Context(), "ann", id, ""); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("a second yes: %v", err)
		}
	})
}

// TestReach says on which nodes a run would act: where it asks does not count.
func TestReach(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(rungs []mesh.Rung)
		want   []mesh.NodeName
		fault  string
	}{
		"on its node":       {func([]mesh.Rung) {}, []mesh.NodeName{"web1"}, ""},
		"where it asks":     {func(r []mesh.Rung) { r[0].Steps[1].On = "service=nn" }, []mesh.NodeName{"web1"}, ""},
		"on others":         {func(r []mesh.Rung) { r[1].Steps[2].On = "service=nn" }, []mesh.NodeName{"nn1", "nn2", "web1"}, ""},
		"nobody can say it": {func(r []mesh.Rung) { r[0].Steps[2].On = "service=gone" }, nil, "no node of dc1 is one of service=gone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			rungs := plan()
			for i := range rungs {
				for j := range rungs[i].Steps {
					rungs[i].Steps[j].On = ""
				}
			}
			tt.change(rungs)
			for _, n := range []mesh.NodeName{"nn2", "nn1"} {
				w.nodes[n] = mesh.Node{ID: mesh.NodeID("id of " + n), Name: n, DC: "dc1", Services: []mesh.Service{{ID: "nn", Name: "nn"}}}
			}
			r := remedy.Record{RemedyRun: mesh.RemedyRun{ID: "a", DC: "dc1", Node: "web1", State: mesh.RemedyProposed}, Plan: rungs}
			w.open("i1", "web1")
			if err := w.PutRemedyRuns(t.Context(), 1, []remedy.Record{r}); err != nil {
				t.Fatal(err)
			}
			got, err := w.engine(t, policy()).Reach(t.Context(), "a")
			switch {
			case tt.fault != "" && (mesh.CodeOf(err) != mesh.Conflict || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("got %v, %v, want a conflict: %s", got, err, tt.fault)
			case tt.fault == "" && (err != nil || !slices.Equal(got, tt.want)):
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	_, err := newWorld(t).engine(t, policy()).Reach(t.Context(), "nope")
	if mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("of no run: %v", err)
	}
}

func TestReject(t *testing.T) {
	asks(t, func(s *story, id mesh.RemedyRunID) {
		if err := s.e.Reject(s.Context(), "ann", id, "the rack is moved"); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Hour)
		s.want("rejected", "refused:approval")
		if r := s.stored(s)[0]; !strings.Contains(r.Reason, "rejected by ann: the rack is moved") {
			t.Errorf("reason %q", r.Reason)
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	asks(t, func(s *story, _ mesh.RemedyRunID) {
		s.turn(time.Hour + time.Second)
		s.want("an hour later", "refused:approval")
		s.turn(time.Hour)
		s.want("it is not asked again", "refused:approval")
		s.e.OnIncident(s.set("i1", mesh.IncidentClosed))
		i := s.incidents["i1"]
		i.Status, i.Reopened, i.Updated = mesh.IncidentOpen, 1, time.Now().Add(time.Second)
		s.incidents["i1"] = i
		s.e.OnIncident(i)
		s.turn(time.Second)
		s.want("reopened", "refused:approval proposed")
	})
}

func TestProposalOfAClosedIncident(t *testing.T) {
	asks(t, func(s *story, id mesh.RemedyRunID) {
		s.e.OnIncident(s.set("i1", mesh.IncidentClosed))
		s.turn(time.Second)
		s.want("closed", "refused:approval")
		if err := s.e.Approve(s.Context(), "ann", id, ""); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("approve: %v", err)
		}
	})
}

func TestApproveAsksTheGuards(t *testing.T) {
	asks(t, func(s *story, id mesh.RemedyRunID) {
		if err := s.e.Pause(s.Context(), "bob", mesh.RemedyScope{}, "power"); err != nil {
			t.Fatal(err)
		}
		if err := s.e.Approve(s.Context(), "ann", id, ""); mesh.CodeOf(err) != mesh.Conflict || !strings.Contains(err.Error(), "the guard paused refuses: paused by bob") {
			t.Errorf("while paused: %v", err)
		}
		s.want("it can be approved later", "proposed")
		s.leads = false
		if err := s.e.Approve(s.Context(), "ann", id, ""); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("without the lease: %v", err)
		}
		if err := s.e.Approve(s.Context(), "ann", "nosuchrun", ""); mesh.CodeOf(err) == "" {
			t.Error("a run that does not exist was approved")
		}
	})
}

// TestProposalSurvives says that another leader knows what is asked, and calls
// nobody again.
func TestProposalSurvives(t *testing.T) {
	asks(t, func(s *story, id mesh.RemedyRunID) {
		s.term++
		s.e = s.engine(t, s.p)
		s.turn(time.Second)
		if s.want("another leader", "proposed"); len(s.cries) != 1 {
			t.Errorf("called with %q", s.cries)
		}
		if err := s.e.Approve(s.Context(), "ann", id, ""); err != nil {
			t.Fatal(err)
		}
		s.turn(0)
		s.want("approved", "running")
	})
}

func TestSimulate(t *testing.T) {
	for name, tt := range map[string]struct {
		says   string
		would  bool
		reason string
		steps  string
		paused bool
	}{
		"it would":          {says: "ok ok ok", would: true, steps: "a-confirm:ok a-guard:ok a-step:ok"},
		"the guard refuses": {says: "ok no", reason: "guard a-guard: nn1: because", steps: "a-confirm:ok a-guard:no"},
		"the second rung":   {says: "skip ok ok ok", would: true, steps: "a-confirm:skip b-confirm:ok b-guard:ok b-step:ok"},
		"it would wait":     {says: "wait", reason: "confirm a-confirm has to wait: because", steps: "a-confirm:waiting"},
		"it is paused":      {says: "ok ok ok", paused: true, reason: "paused: paused by bob", steps: "a-confirm:ok a-guard:ok a-step:ok"},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(p *mesh.Policy) { p.Script, p.Rungs, p.Mode = "", plan(), mesh.RemedyObserve }, func(s *story) {
				for _, n := range []mesh.NodeName{"nn1", "nn2"} {
					s.nodes[n] = mesh.Node{ID: mesh.NodeID("id of " + n), Name: n, DC: "dc1", Services: []mesh.Service{{Name: "nn"}}}
				}
				s.open("i1", "web1")
				s.turn(0)
				if tt.paused {
					if err := s.e.Pause(s.Context(), "bob", mesh.RemedyScope{}, ""); err != nil {
						t.Fatal(err)
					}
				}
				verdicts := strings.Fields(tt.says)
				s.auto = func(sub remedy.Submission) mesh.Answer {
					if sub.Env["ALPS_DRY_RUN"] != "1" || sub.Author != "simulate/restart-web" {
						t.Errorf("a simulation submits %+v", sub)
					}
					v := verdicts[0]
					verdicts = verdicts[1:]
					return mesh.Answer{Verdict: mesh.Verdict(v), Reason: "because"}
				}
				stored := s.states()
				got, err := s.e.Simulate(s.Context(), "restart-web", "i1")
				if err != nil {
					t.Fatal(err)
				}
				if got.Would != tt.would || !strings.HasPrefix(got.Reason, tt.reason) || len(verdicts) != 0 {
					t.Errorf("would %t: %q; want %t: %q; not asked %q", got.Would, got.Reason, tt.would, tt.reason, verdicts)
				}
				if steps := stepsOf(&remedy.Record{RemedyRun: got.Run}); steps != tt.steps {
					t.Errorf("steps %q, want %q", steps, tt.steps)
				}
				if s.states() != stored {
					t.Errorf("a simulation was stored: %s", s.states())
				}
			})
		})
	}
}
