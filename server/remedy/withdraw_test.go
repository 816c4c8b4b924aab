package remedy_test

import (
	"strings"
	"testing"
	"time"

	"alps/mesh"
)

// TestWithdrawn says that what was decided and not submitted is dropped when it
// is not wanted any more.
func TestWithdrawn(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*story)
		want   string // of the first run.
		reason string
	}{
		"paused": {func(s *story) {
			if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
				s.Fatal(err)
			}
		}, "refused:paused", "paused by ann"},
		"the policy was taken away": {func(s *story) { s.load() }, "refused:mode", "taken away"},
		"the policy observes":       {func(s *story) { s.p.Mode = mesh.RemedyObserve; s.load(s.p) }, "refused:mode", "does not act"},
		"it is for others":          {func(s *story) { s.p.Target = "web2"; s.load(s.p) }, "refused:mode", "not for this node"},
		"acked":                     {func(s *story) { s.e.OnIncident(s.set("i1", mesh.IncidentAcked)) }, "refused:acked", "acked"},
		"closed":                    {func(s *story) { s.e.OnIncident(s.set("i1", mesh.IncidentClosed)) }, "refused:acked", "closed"},
		"gone":                      {func(s *story) { delete(s.incidents, "i1"); time.Sleep(5 * time.Second) }, "refused:stale", "the incident is closed"},
		"recovered":                 {func(s *story) { s.result("web1", mesh.HealthPassing) }, "refused:stale", "passing"},
		"the agent is lost": {func(s *story) {
			n := s.nodes["web1"]
			n.Agent = mesh.AgentLost
			s.nodes["web1"] = n
		}, "refused:lost", "not linked"},
		"the job exists": {func(s *story) {
			id := s.stored(s)[0].ID
			s.jobs[id] = &job{state: mesh.JobState{State: mesh.Running}}
		}, "running", ""},
		"it is wanted": {func(*story) {}, "running", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, nil, func(s *story) {
				s.submitErr = mesh.Errorf(mesh.Unavailable, "Consul is away")
				s.open("i1", "web1")
				if err := s.e.Turn(s.Context()); err == nil {
					t.Fatal("it was submitted")
				}
				s.want("not submitted", "decided")
				s.submitErr = nil
				tt.change(s)
				s.turn(time.Second)
				first, _, _ := strings.Cut(s.states(), " ")
				if r := s.stored(s)[0]; first != tt.want || !strings.Contains(r.Reason, tt.reason) {
					t.Errorf("the run is %s: %s; want %s: %s", first, r.Reason, tt.want, tt.reason)
				}
				if submitted := len(s.jobs) > 0; submitted != (tt.want == "running") {
					t.Errorf("submitted %v", submitted)
				}
			})
		})
	}
}

// load replaces the policies.
func (s *story) load(policies ...mesh.Policy) {
	s.Helper()
	if err := s.e.SetPolicies(policies, s.library(s), mesh.RemedyAuto); err != nil {
		s.Fatal(err)
	}
}

// TestJobGone says that a job that nobody knows any more is a failure.
func TestJobGone(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		clear(s.jobs)
		s.turn(time.Second)
		if r := s.stored(s)[0]; r.State != mesh.RemedyFailed || !strings.Contains(r.Reason, "is gone") || len(s.cries) != 1 {
			t.Errorf("%s: %s, calls %q", r.State, r.Reason, s.cries)
		}
	})
}

// TestNextStorm says that a second storm is a second call, and a storm that
// goes on is not.
func TestNextStorm(t *testing.T) {
	tell(t, nil, func(s *story) {
		for n, tt := range []struct {
			after time.Duration
			nodes string
			cries int
		}{
			{0, "abc", 1},
			{50 * time.Second, "de", 1},  // with the three before.
			{50 * time.Second, "fg", 1},  // with the two before, and still refusing.
			{time.Hour, "h", 1},          // alone: it is acted on.
			{time.Hour, "ijk", 2},        // another storm.
			{10 * time.Second, "lmn", 2}, // that goes on.
		} {
			time.Sleep(tt.after)
			for _, c := range tt.nodes {
				s.e.OnIncident(s.open(mesh.IncidentID("i"+string(c)), mesh.NodeName("web"+string(c))))
			}
			s.turn(0)
			if got := strings.Count(strings.Join(s.cries, "\n"), "does nothing"); got != tt.cries {
				t.Errorf("wave %d: %d calls, want %d: %q", n, got, tt.cries, s.cries)
			}
			for id := range s.incidents {
				s.set(id, mesh.IncidentClosed)
			}
		}
	})
}

// TestLateList says that what was said while the incidents were read is newer
// than what was read.
func TestLateList(t *testing.T) {
	tell(t, nil, func(s *story) {
		i := s.open("i1", "web1")
		s.listed = func() {
			s.e.OnIncident(s.set("i1", mesh.IncidentAcked))
			s.e.OnIncident(s.open("i2", "web2"))
			s.incidents["i1"] = i
			delete(s.incidents, "i2")
		}
		s.turn(time.Second)
		s.want("after a late list", "running refused:acked")
		if r := s.stored(s)[0]; r.Incident != "i2" {
			t.Errorf("acted on %s", r.Incident)
		}
	})
}
