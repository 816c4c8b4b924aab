package remedy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/remedy"
)

// plan is a ladder of two rungs; the steps of each have its letter.
func plan() []mesh.Rung {
	rung := func(name string) mesh.Rung {
		step := func(kind mesh.StepKind, on, undo string) mesh.PlanStep {
			within := time.Minute
			if kind == mesh.StepProve {
				within = time.Hour
			}
			return mesh.PlanStep{Kind: kind, Name: name + "-" + string(kind), Script: "ask", On: on, Undo: undo, Within: within}
		}
		return mesh.Rung{Name: name, Steps: []mesh.PlanStep{
			step(mesh.StepConfirm, "", ""), step(mesh.StepGuard, "service=nn", ""),
			step(mesh.StepAct, "service=nn", "undo"), step(mesh.StepProve, "service=nn", ""),
		}}
	}
	return []mesh.Rung{rung("a"), rung("b")}
}

// climb runs a story of a policy with rungs, on two nodes with the service nn
// beside the incident's.
func climb(t *testing.T, rungs []mesh.Rung, fn func(*story)) {
	t.Helper()
	tell(t, func(p *mesh.Policy) { p.Script, p.Rungs, p.Retry = "", rungs, 5*time.Minute }, func(s *story) {
		for _, name := range []mesh.NodeName{"nn1", "nn2"} {
			s.nodes[name] = mesh.Node{
				ID: mesh.NodeID("id of " + name), Name: name, DC: "dc1", Agent: mesh.AgentLinked, Status: mesh.MemberAlive,
				Services: []mesh.Service{{ID: "nn", Name: "nn"}},
			}
		}
		s.open("i1", "web1")
		s.turn(0)
		fn(s)
	})
}

// say ends the newest job on all of its nodes with one answer, and has the
// engine look.
func (s *story) say(v mesh.Verdict, reason string) {
	s.Helper()
	s.answer(mesh.Answer{Verdict: v, Reason: reason})
}

func (s *story) answer(a mesh.Answer) {
	s.Helper()
	s.unseen(a)
	s.turn(time.Second)
}

// unseen is answer, of which the engine has not heard yet.
func (s *story) unseen(a mesh.Answer) {
	s.Helper()
	j := s.theJob()
	j.state, j.answers = mesh.JobState{State: mesh.OK}, make(map[mesh.NodeID]mesh.Answer)
	for _, n := range j.Nodes {
		j.answers[n] = a
	}
}

// steps are the steps of the newest run, as "name:state".
func (s *story) steps() string {
	s.Helper()
	list := s.stored(s)
	return stepsOf(&list[len(list)-1])
}

func stepsOf(r *remedy.Record) string {
	var out []string
	for _, st := range r.Steps {
		name := st.Name
		if st.Kind == mesh.StepUndo {
			name = "undo " + name
		}
		out = append(out, name+":"+string(st.State))
	}
	return strings.Join(out, " ")
}

func (s *story) wantSteps(what, want string) {
	s.Helper()
	if got := s.steps(); got != want {
		s.Fatalf("%s: steps are %q, want %q", what, got, want)
	}
}

func TestPlanSucceeds(t *testing.T) {
	climb(t, plan(), func(s *story) {
		s.want("at once", "running")
		j := s.theJob()
		if diff := cmp.Diff([]mesh.NodeID{"id of web1"}, j.Nodes); diff != "" || j.Env["ALPS_SUBJECT"] != "web1" || j.Env["ALPS_STEP"] != "a-confirm" {
			t.Errorf("the first job is on %q with %q", j.Nodes, j.Env)
		}
		s.answer(mesh.Answer{Verdict: mesh.VerdictOK, Facts: map[string]string{"datanode": "dn1:9866"}})
		j = s.theJob()
		if diff := cmp.Diff([]mesh.NodeID{"id of nn1", "id of nn2"}, j.Nodes); diff != "" || j.Env["ALPS_FACT_DATANODE"] != "dn1:9866" {
			t.Errorf("the second job is on %q with %q", j.Nodes, j.Env)
		}
		s.say(mesh.VerdictOK, "")
		s.wantSteps("the guard agrees", "a-confirm:ok a-guard:ok a-step:running")
		s.say(mesh.VerdictOK, "")
		s.want("it has acted", "verifying")
		s.say(mesh.VerdictWait, "blocks are left")
		s.turn(2 * time.Second)
		s.wantSteps("not proven yet", "a-confirm:ok a-guard:ok a-step:ok a-prove:running")
		s.say(mesh.VerdictOK, "")
		s.want("proven", "succeeded")
		s.turn(time.Hour)
		s.want("the disk is broken still, and nothing more can be done", "succeeded")
		if len(s.cries) != 0 {
			t.Errorf("somebody was called: %q", s.cries)
		}
	})
}

func TestPlanRefuses(t *testing.T) {
	climb(t, plan(), func(s *story) {
		s.say(mesh.VerdictOK, "")
		s.say(mesh.VerdictNo, "three nodes, three copies")
		s.want("a guard says no", "refused:guard a-guard")
		if len(s.cries) != 1 || !strings.Contains(s.cries[0], "guard a-guard refuses: nn1: three nodes, three copies") {
			t.Errorf("called with %q", s.cries)
		}
		notes := len(s.notes)
		s.turn(4 * time.Minute)
		s.want("too early to ask again", "refused:guard a-guard")
		s.turn(2 * time.Minute)
		s.say(mesh.VerdictOK, "")
		s.say(mesh.VerdictNo, "three nodes, three copies")
		s.want("asked again", "refused:guard a-guard refused:guard a-guard")
		for _, n := range s.notes[notes:] {
			if strings.Contains(n, "refuses (guard") {
				t.Errorf("it is told again: %q", n)
			}
		}
		if len(s.cries) != 1 {
			t.Errorf("called again: %q", s.cries)
		}
	})
}

func TestPlanClimbs(t *testing.T) {
	for name, tt := range map[string]struct {
		says  string // the verdicts in turn.
		state string
		steps string
	}{
		"the first rung is not for it": {"skip ok ok ok ok", "succeeded", "a-confirm:skip b-confirm:ok b-guard:ok b-step:ok b-prove:ok"},
		"no rung is for it":            {"skip ok skip", "refused:guard b-guard", "a-confirm:skip b-confirm:ok b-guard:skip"},
		"the first rung does not help": {
			"ok ok ok no ok ok ok ok ok", "succeeded",
			"a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:ok b-confirm:ok b-guard:ok b-step:ok b-prove:ok",
		},
		"the step fails halfway": {
			"ok ok no ok ok ok ok ok", "succeeded",
			"a-confirm:ok a-guard:ok a-step:no undo a-step:ok b-confirm:ok b-guard:ok b-step:ok b-prove:ok",
		},
		"nothing helps": {
			"ok ok ok no ok ok ok ok no ok", "failed refused:cooldown",
			"a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:ok b-confirm:ok b-guard:ok b-step:ok b-prove:no undo b-step:ok",
		},
		"the next guard refuses": {
			"ok ok ok no ok ok no", "failed refused:cooldown",
			"a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:ok b-confirm:ok b-guard:no",
		},
		"it cannot be taken back": {"ok ok ok no no", "failed refused:cooldown", "a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:no"},
		"there was nothing to do": {"ok ok skip ok", "succeeded", "a-confirm:ok a-guard:ok a-step:skip a-prove:ok"},
		"a proof is not skipped":  {"ok ok skip skip skip", "refused:confirm b-confirm", "a-confirm:ok a-guard:ok a-step:skip a-prove:skip b-confirm:skip"},
	} {
		t.Run(name, func(t *testing.T) {
			climb(t, plan(), func(s *story) {
				for v := range strings.FieldsSeq(tt.says) {
					s.say(mesh.Verdict(v), "because")
				}
				s.want("in the end", tt.state)
				list := s.stored(s)
				if got := stepsOf(&list[0]); got != tt.steps {
					t.Errorf("steps are %q, want %q", got, tt.steps)
				}
				if failed := strings.HasPrefix(tt.state, "failed"); failed != (len(s.cries) == 1) && !strings.HasPrefix(tt.state, "refused") {
					t.Errorf("called with %q", s.cries)
				}
			})
		})
	}
}

func TestPlanHearsEveryNode(t *testing.T) {
	ok := mesh.JobState{State: mesh.OK}
	yes, no := mesh.Answer{Verdict: mesh.VerdictOK}, mesh.Answer{Verdict: mesh.VerdictNo, Reason: "safe mode"}
	fact := func(v string) mesh.Answer {
		return mesh.Answer{Verdict: mesh.VerdictOK, Facts: map[string]string{"active": v}}
	}
	for name, tt := range map[string]struct {
		ends    [2]mesh.JobState
		answers [2]*mesh.Answer
		want    string // of the guard: its state, and part of its reason.
		reason  string
	}{
		"both agree":              {[2]mesh.JobState{ok, ok}, [2]*mesh.Answer{&yes, &yes}, "ok", ""},
		"one refuses":             {[2]mesh.JobState{ok, ok}, [2]*mesh.Answer{&yes, &no}, "no", "nn2: safe mode"},
		"one says nothing":        {[2]mesh.JobState{ok, ok}, [2]*mesh.Answer{&yes, nil}, "no", "without an answer"},
		"one fails, and says yes": {[2]mesh.JobState{{State: mesh.Failed, Code: 3}, ok}, [2]*mesh.Answer{&yes, &yes}, "no", "nn1: the job ended with exit code 3"},
		"one is away":             {[2]mesh.JobState{ok, {State: mesh.Expired}}, [2]*mesh.Answer{&yes, nil}, "waiting", "nn2: the job is EXPIRED"},
		"one refuses to run it":   {[2]mesh.JobState{ok, {State: mesh.Rejected, Reason: "clock"}}, [2]*mesh.Answer{&yes, nil}, "no", "REJECTED: clock"},
		"a person has cancelled":  {[2]mesh.JobState{ok, {State: mesh.Cancelled}}, [2]*mesh.Answer{&yes, nil}, "no", "CANCELLED"},
		"one hangs":               {[2]mesh.JobState{ok, {State: mesh.Timeout}}, [2]*mesh.Answer{&yes, nil}, "waiting", "took too long"},
		"one still runs":          {[2]mesh.JobState{ok, {State: mesh.Running}}, [2]*mesh.Answer{&yes, nil}, "running", ""},
		"they disagree":           {[2]mesh.JobState{ok, ok}, [2]*mesh.Answer{new(fact("nn1")), new(fact("nn2"))}, "no", `disagree on active: "nn1" and "nn2"`},
	} {
		t.Run(name, func(t *testing.T) {
			climb(t, plan(), func(s *story) {
				s.say(mesh.VerdictOK, "")
				j := s.theJob()
				j.ends, j.answers = make(map[mesh.NodeID]mesh.JobState), make(map[mesh.NodeID]mesh.Answer)
				for i, n := range j.Nodes {
					j.ends[n] = tt.ends[i]
					if a := tt.answers[i]; a != nil {
						j.answers[n] = *a
					}
				}
				s.turn(time.Second)
				list := s.stored(s)
				if got := list[len(list)-1].Steps[1]; string(got.State) != tt.want || !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("the guard is %s: %q; want %s: %q", got.State, got.Reason, tt.want, tt.reason)
				}
			})
		})
	}
}

func TestPlanWaitsForSoLong(t *testing.T) {
	climb(t, plan(), func(s *story) {
		s.say(mesh.VerdictOK, "")
		attempts := 0
		for range 100 {
			if s.states() != "running" {
				break
			}
			if j := s.theJob(); !j.state.State.Ended() {
				attempts++
				s.say(mesh.VerdictWait, "a standby is away")
			}
			s.turn(time.Second)
		}
		s.want("after a minute", "refused:guard a-guard")
		list := s.stored(s)
		if r := list[0].Reason; !strings.Contains(r, "asked for 1m0s: nn1: a standby is away") {
			t.Errorf("reason %q", r)
		}
		if attempts < 5 || attempts > 40 {
			t.Errorf("it was asked %d times within a minute", attempts)
		}
	})
}

// TestPlanTakeoverOfAMuteJob kills a server between the job of a step and its
// announcement.
func TestPlanTakeoverOfAMuteJob(t *testing.T) {
	for name, tt := range map[string]struct {
		after time.Duration // until another leads.
		want  string
		jobs  int
	}{
		"soon":     {time.Second, "a-confirm:ok a-guard:running", 2},
		"too late": {40 * time.Second, "a-confirm:ok a-guard:waiting", 2},
	} {
		t.Run(name, func(t *testing.T) {
			climb(t, plan(), func(s *story) {
				s.unseen(mesh.Answer{Verdict: mesh.VerdictOK})
				s.mute = true
				_ = s.e.Turn(s.Context()) // it dies.
				s.term++
				time.Sleep(tt.after)
				s.result("web1", mesh.HealthCritical)
				s.e = s.engine(s, s.p)
				s.turn(0)
				s.wantSteps("by the next one", tt.want)
				mute := 0
				for _, j := range s.jobs {
					if j.mute {
						mute++
					}
				}
				if soon := tt.after == time.Second; len(s.jobs) != tt.jobs || mute == 0 != soon {
					t.Errorf("%d jobs, of %d nobody was told; want %d", len(s.jobs), mute, tt.jobs)
				}
			})
		})
	}
}

// TestPlanTakeoverBeforeTheInventory has another server lead, which has read no
// node yet: a step that begins on every NameNode finds none, and what was done
// must not be taken back for that.
func TestPlanTakeoverBeforeTheInventory(t *testing.T) {
	for name, tt := range map[string]struct {
		told  int // steps that have said ok before.
		after string
	}{
		"before it acted": {1, "a-confirm:ok a-guard:running"},
		"after it acted":  {3, "a-confirm:ok a-guard:ok a-step:ok a-prove:running"},
	} {
		t.Run(name, func(t *testing.T) {
			climb(t, plan(), func(s *story) {
				for range tt.told - 1 {
					s.say(mesh.VerdictOK, "")
				}
				s.unseen(mesh.Answer{Verdict: mesh.VerdictOK})
				nodes, jobs := s.nodes, len(s.jobs)
				s.term++
				s.nodes, s.unread = map[mesh.NodeName]mesh.Node{}, true
				s.e = s.engine(s, s.p)
				for range 5 {
					s.turn(time.Second)
				}
				list, err := s.e.Runs(t.Context(), remedy.Filter{})
				if err != nil || len(list) != 1 {
					t.Fatalf("runs are %+v, %v", list, err)
				}
				run := list[0]
				if !run.State.Open() || len(s.jobs) != jobs {
					t.Errorf("before it has read the nodes the run is %s: %s; %d jobs, want %d", run.State, run.Reason, len(s.jobs), jobs)
				}
				if _, err := s.e.Explain(t.Context(), s.p.Name, "i1"); mesh.CodeOf(err) != mesh.Unavailable {
					t.Errorf("Explain = %v, want %q", err, mesh.Unavailable)
				}
				if _, err := s.e.Reach(t.Context(), run.ID); mesh.CodeOf(err) != mesh.Unavailable {
					t.Errorf("Reach = %v, want %q", err, mesh.Unavailable)
				}
				time.Sleep(10 * time.Second)
				if err := s.e.Turn(t.Context()); mesh.CodeOf(err) != mesh.Unavailable {
					t.Errorf("after a while without Consul it says %v, want %q", err, mesh.Unavailable)
				}
				s.nodes, s.unread = nodes, false
				s.result("web1", mesh.HealthCritical)
				s.turn(time.Second)
				s.wantSteps("after it has", tt.after)
			})
		})
	}
}

// TestPlanWithoutItsNodes has the NameNodes leave the inventory for a while when
// the plan has acted: a proof waits for them, and what was done is taken back
// where it was done.
func TestPlanWithoutItsNodes(t *testing.T) {
	acted := func(t *testing.T, fn func(s *story, gone func())) {
		climb(t, plan(), func(s *story) {
			s.say(mesh.VerdictOK, "")
			s.say(mesh.VerdictOK, "")
			s.unseen(mesh.Answer{Verdict: mesh.VerdictOK})
			fn(s, func() {
				s.nodes = map[mesh.NodeName]mesh.Node{"web1": s.nodes["web1"]}
			})
		})
	}
	t.Run("a proof", func(t *testing.T) {
		acted(t, func(s *story, gone func()) {
			all := s.nodes
			gone()
			s.turn(time.Second)
			s.wantSteps("as long as nobody is there", "a-confirm:ok a-guard:ok a-step:ok a-prove:waiting")
			s.nodes = all
			s.turn(2 * time.Second)
			s.wantSteps("when they are back", "a-confirm:ok a-guard:ok a-step:ok a-prove:running")
			if diff := cmp.Diff([]mesh.NodeID{"id of nn1", "id of nn2"}, s.theJob().Nodes); diff != "" {
				t.Errorf("it asks (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("a proof, for ever", func(t *testing.T) {
		acted(t, func(s *story, gone func()) {
			gone()
			for range 70 {
				s.turn(time.Minute)
			}
			s.wantSteps("when it has waited long enough", "a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:running")
		})
	})
	t.Run("an undo", func(t *testing.T) {
		acted(t, func(s *story, gone func()) {
			s.turn(time.Second)
			gone()
			s.say(mesh.VerdictNo, "a block is missing")
			s.wantSteps("when it is to be taken back", "a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:running")
			if j := s.theJob(); j.Script != "undo" || !slices.Equal(j.Nodes, []mesh.NodeID{"id of nn1", "id of nn2"}) {
				t.Errorf("%s is run on %q", j.Script, j.Nodes)
			}
		})
	})
}

func TestPlanIsPaused(t *testing.T) {
	climb(t, plan(), func(s *story) {
		s.say(mesh.VerdictOK, "")
		if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, "power"); err != nil {
			t.Fatal(err)
		}
		s.say(mesh.VerdictOK, "")
		s.want("before anything has acted", "refused:paused")
		if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
			t.Fatal(err)
		}
	})
	climb(t, plan(), func(s *story) {
		for _, v := range []mesh.Verdict{"ok", "ok", "ok"} {
			s.say(v, "")
		}
		if err := s.e.Pause(s.Context(), "ann", mesh.RemedyScope{}, "power"); err != nil {
			t.Fatal(err)
		}
		s.say(mesh.VerdictNo, "stuck")
		s.say(mesh.VerdictOK, "")
		s.say(mesh.VerdictOK, "")
		s.say(mesh.VerdictOK, "")
		s.wantSteps("it takes back what it did, and acts no more",
			"a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:ok b-confirm:ok b-guard:ok")
		if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Second)
		s.say(mesh.VerdictOK, "")
		s.say(mesh.VerdictOK, "")
		s.want("resumed", "succeeded")
	})
}

func TestPlanNeedsItsNodes(t *testing.T) {
	rungs := plan()
	rungs[0].Steps[1].On = "service=gone"
	climb(t, rungs, func(s *story) {
		s.say(mesh.VerdictOK, "")
		s.want("nobody is there to be asked", "refused:guard a-guard")
		if r := s.stored(s)[0].Reason; !strings.Contains(r, "no node of dc1 is one of service=gone") {
			t.Errorf("reason %q", r)
		}
	})
}

func TestPlanOfAnotherPolicy(t *testing.T) {
	climb(t, plan(), func(s *story) {
		for range 3 {
			s.say(mesh.VerdictOK, "")
		}
		if err := s.e.SetPolicies(nil, s.library(t), mesh.RemedyAuto); err != nil {
			t.Fatal(err)
		}
		s.turn(time.Second)
		s.say(mesh.VerdictNo, "stuck")
		s.say(mesh.VerdictOK, "")
		s.wantSteps("the policy is gone: what was begun is ended", "a-confirm:ok a-guard:ok a-step:ok a-prove:no undo a-step:ok")
		s.want("and nothing else is", "failed")
	})
}

func TestPlanErrors(t *testing.T) {
	w := newWorld(t)
	e := w.engine(t)
	for name, tt := range map[string]struct {
		change func(*mesh.PlanStep)
		want   string
	}{
		"no such script":     {func(s *mesh.PlanStep) { s.Script = "aks" }, `guard a-guard: `},
		"no such undo":       {func(s *mesh.PlanStep) { s.Undo = "aks" }, `there is no script "aks"`},
		"arguments too many": {func(s *mesh.PlanStep) { s.Args = []string{"a"} }, "1 arguments are given, it takes 0"},
		"too short":          {func(s *mesh.PlanStep) { s.Timeout = time.Second }, `the script "ask" may need 20s`},
		"a bad query":        {func(s *mesh.PlanStep) { s.On = "x=" }, "query"},
	} {
		p := policy()
		p.Script, p.Rungs = "", plan()
		tt.change(&p.Rungs[0].Steps[1])
		if err := e.SetPolicies([]mesh.Policy{p}, w.library(t), mesh.RemedyAuto); mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
