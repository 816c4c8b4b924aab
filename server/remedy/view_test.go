package remedy_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/remedy"
)

// TestPolicyTakenAway says that a run ends well without its policy.
func TestPolicyTakenAway(t *testing.T) {
	tell(t, nil, func(s *story) {
		s.open("i1", "web1")
		s.turn(0)
		if err := s.e.SetPolicies(nil, s.library(s), mesh.RemedyAuto); err != nil {
			t.Fatal(err)
		}
		s.end(mesh.OK, 0)
		s.turn(time.Second)
		s.want("without its policy", "verifying")
		time.Sleep(time.Second)
		s.result("web1", mesh.HealthPassing)
		s.turn(0)
		s.want("proven", "succeeded")
	})
}

func TestViews(t *testing.T) {
	tell(t, nil, func(s *story) {
		view := func() remedy.View {
			t.Helper()
			list, _, err := s.e.Policies(s.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("policies %+v, %v", list, err)
			}
			return list[0]
		}
		if v := view(); v.Blocked != "" || v.Last != nil || v.LastHour != 0 || v.Name != "restart-web" {
			t.Errorf("at first: %+v", v)
		}
		s.open("i1", "web1")
		s.turn(0)
		if v := view(); !strings.HasPrefix(v.Blocked, "concurrency: ") || v.LastHour != 1 || v.Last.State != mesh.RemedyRunning {
			t.Errorf("while it acts: %+v", v)
		}
		verdicts, err := s.e.Explain(s.Context(), "restart-web", "i1")
		refusing := make(map[remedy.Guard]bool)
		for _, v := range verdicts {
			if v.Reason != "" {
				refusing[v.Guard] = true
			}
		}
		want := map[remedy.Guard]bool{remedy.GuardCooldown: true, remedy.GuardConcurrency: true}
		if diff := cmp.Diff(want, refusing); err != nil || diff != "" {
			t.Errorf("explain: %+v, %v", verdicts, err)
		}
		s.end(mesh.Expired, 0)
		s.turn(time.Second)
		if v := view(); v.Failures != 1 || v.Blocked != "" {
			t.Errorf("after a failure: %+v", v)
		}
		if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, "rack 11"); err != nil {
			t.Fatal(err)
		}
		list, pause, err := s.e.Policies(s.Context())
		if err != nil || pause == nil || pause.By != "ann" || !strings.Contains(list[0].Blocked, "paused by ann") {
			t.Errorf("paused: %+v, %+v, %v", list, pause, err)
		}
		runs, err := s.e.Runs(s.Context(), remedy.Filter{Limit: 1, Acts: true})
		if err != nil || len(runs) != 1 || runs[0].State != mesh.RemedyFailed {
			t.Errorf("runs %+v, %v", runs, err)
		}
		if r, err := s.e.Get(s.Context(), runs[0].ID); err != nil || r.ID != runs[0].ID {
			t.Errorf("get: %+v, %v", r, err)
		}
		for what, err := range map[string]error{
			"get":            second(s.e.Get(s.Context(), "nope")),
			"resume":         s.e.Resume(s.Context(), "ann", mesh.RemedyScope{Policy: "nope"}, ""),
			"pause policy":   s.e.Pause(s.Context(), "ann", mesh.RemedyScope{Policy: "nope"}, ""),
			"pause group":    s.e.Pause(s.Context(), "ann", mesh.RemedyScope{Group: "nope"}, ""),
			"explain policy": second(s.e.Explain(s.Context(), "nope", "i1")),
			"explain":        second(s.e.Explain(s.Context(), "restart-web", "nope")),
		} {
			if mesh.CodeOf(err) != mesh.NotFound {
				t.Errorf("%s of what does not exist: %v", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestSetPoliciesErrors(t *testing.T) {
	w := newWorld(t)
	e := w.engine(t)
	for name, tt := range map[string]struct {
		change func(*mesh.Policy)
		want   string
	}{
		"no script":     {func(p *mesh.Policy) { p.Script = "restart-wbe"; p.Origin = "rules.d/web.hcl:12" }, `policy "restart-web" at rules.d/web.hcl:12: there is no script "restart-wbe": no file ` + w.dir + "/restart-wbe/run"},
		"too many args": {func(p *mesh.Policy) { p.Args = []string{"a", "b"} }, `script "restart-web": 2 arguments are given, it takes 1`},
		"too little":    {func(p *mesh.Policy) { p.Timeout = 19 * time.Second }, `timeout: the script "restart-web" may need 20s, and gets 19s`},
		"a bad target":  {func(p *mesh.Policy) { p.Target = "role=" }, "target: "},
		"no rule":       {func(p *mesh.Policy) { p.Rule = "" }, "a name and a rule"},
	} {
		p := policy()
		tt.change(&p)
		err := e.SetPolicies([]mesh.Policy{policy(), p}, w.library(t), mesh.RemedyAuto)
		if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := e.SetPolicies([]mesh.Policy{policy(), policy()}, w.library(t), mesh.RemedyAuto); err == nil || !strings.Contains(err.Error(), "two of that name") {
		t.Errorf("twice: %v", err)
	}
	if list, _, err := e.Policies(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("after errors: %+v, %v, want what was before", list, err)
	}
	if _, err := remedy.New(remedy.Options{}); err == nil {
		t.Error("an engine of nothing was made")
	}
}

// TestRun says that Run looks at once when it is told of an incident, notices
// what it was not told of, and ends with its context.
func TestRun(t *testing.T) {
	tell(t, nil, func(s *story) {
		ctx, cancel := context.WithCancel(s.Context())
		done := make(chan error, 1)
		go func() { done <- s.e.Run(ctx) }()
		synctest.Wait()
		if err := s.PauseRemedy(ctx, remedy.Pause{By: "ann"}); err != nil { // on another server.
			t.Fatal(err)
		}
		began := time.Now()
		s.e.OnIncident(s.open("i1", "web1"))
		synctest.Wait()
		s.want("told", "refused:paused")
		if time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
		if err := s.ResumeRemedy(ctx, remedy.Pause{By: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		s.want("not told", "refused:paused running")
		s.theJob().state = mesh.JobState{State: mesh.OK}
		s.e.Kick()
		synctest.Wait()
		s.want("the job has ended", "refused:paused verifying")
		time.Sleep(time.Second)
		synctest.Wait()
		s.result("web1", mesh.HealthPassing)
		s.e.Kick()
		synctest.Wait()
		s.want("proven", "refused:paused succeeded")
		if len(done) != 0 {
			t.Error("it ended by itself")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}
