package alert_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/alert"
)

const (
	passing  = mesh.HealthPassing
	warning  = mesh.HealthWarning
	critical = mesh.HealthCritical
	unknown  = mesh.HealthUnknown
)

func wantTold(t *testing.T, r *rig, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestLifeOfAnIncident(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(passing)
		before := time.Now()
		r.web(critical)
		i := r.only(mesh.IncidentOpen)
		if i.Opened.Sub(before) != time.Second || i.Check != "web" || i.Node != "n1" || i.DC != dc || i.Summary != "web is critical on n1" {
			t.Errorf("got %+v", i)
		}
		r.web(passing)
		i = r.only(mesh.IncidentClosed)
		want := []mesh.IncidentEventKind{mesh.EventCheck, mesh.EventOpened, mesh.EventRecovered, mesh.EventClosed}
		if diff := cmp.Diff(want, kinds(i)); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
		if i.ClosedBy != "alps" || i.Health != passing {
			t.Errorf("closed by %q with health %s", i.ClosedBy, i.Health)
		}
		wantTold(t, r, "firing ops", "resolved ops")
		if len(r.events) != 2 || r.events[0].Status != mesh.IncidentOpen || r.events[1].Status != mesh.IncidentClosed {
			t.Errorf("told of %d changes", len(r.events))
		}
		if r.kicks != 2 {
			t.Errorf("the outbox was kicked %d times", r.kicks)
		}
	}, webDown)
}

func TestWhatOpensAndCloses(t *testing.T) {
	lost := func(s mesh.CheckState) mesh.CheckState { s.AgentLost = true; return s }
	is := func(h mesh.Health) mesh.CheckState { return state("n1", "web", h) }
	rule := func(h ...mesh.Health) mesh.Rule { r := webDown; r.Status = h; return r }
	for name, tt := range map[string]struct {
		rule  mesh.Rule
		steps []func() mesh.CheckState
		want  mesh.IncidentStatus // empty: there is none.
	}{
		"critical opens":                        {rule(), seq(is, critical), mesh.IncidentOpen},
		"warning does not":                      {rule(), seq(is, warning), ""},
		"warning closes":                        {rule(), seq(is, critical, warning), mesh.IncidentClosed},
		"warning opens if listed":               {rule(warning, critical), seq(is, warning), mesh.IncidentOpen},
		"warning keeps open if listed":          {rule(warning, critical), seq(is, critical, warning), mesh.IncidentOpen},
		"unknown does not open":                 {rule(), seq(is, unknown), ""},
		"unknown does not close":                {rule(), seq(is, critical, unknown), mesh.IncidentOpen},
		"unknown opens if listed":               {rule(unknown), seq(is, unknown), mesh.IncidentOpen},
		"agent lost does not, even if listed":   {rule(unknown), then(lost(is(unknown))), ""},
		"agent lost does not close":             {rule(), append(seq(is, critical), then(lost(is(unknown)))...), mesh.IncidentOpen},
		"nor for a rule with unknown":           {rule(unknown), append(seq(is, unknown), then(lost(is(unknown)))...), mesh.IncidentOpen},
		"agent back and good closes":            {rule(), append(append(seq(is, critical), then(lost(is(unknown)))...), seq(is, passing)...), mesh.IncidentClosed},
		"another check":                         {rule(), then(state("n1", "db", critical)), ""},
		"a rule for any":                        {mesh.Rule{Name: "any", Check: "*"}, then(state("n1", "db", critical)), mesh.IncidentOpen},
		"a rule for any and a node":             {mesh.Rule{Name: "node-failed", Check: "*"}, then(state("n1", mesh.SerfCheck, critical)), ""},
		"in the target":                         {mesh.Rule{Name: "web-down", Check: "web", Target: "name=n1"}, seq(is, critical), mesh.IncidentOpen},
		"not in the target":                     {mesh.Rule{Name: "web-down", Check: "web", Target: "name=n2"}, seq(is, critical), ""},
		"a node that the inventory lacks":       {mesh.Rule{Name: "web-down", Check: "web", Target: "all"}, then(state("stranger", "web", critical)), ""},
		"a node that failed":                    {webDown, then(state("n1", mesh.SerfCheck, critical)), mesh.IncidentOpen},
		"an agent that is lost":                 {webDown, then(state("n1", mesh.AgentCheck, critical)), mesh.IncidentOpen},
		"an agent that is lost on a lost node":  {webDown, then(lost(state("n1", mesh.AgentCheck, unknown))), ""},
		"a built-in rule that was replaced":     {mesh.Rule{Name: "agent-lost", Check: mesh.AgentCheck, For: time.Hour}, then(state("n1", mesh.AgentCheck, critical)), ""},
		"flapping stays open when it is good":   {rule(), append(seq(is, critical), then(flapping(is(passing)))...), mesh.IncidentOpen},
		"and closes when it is quiet":           {rule(), append(append(seq(is, critical), then(flapping(is(passing)))...), seq(is, passing)...), mesh.IncidentClosed},
		"flapping opens when it is bad":         {rule(), then(flapping(is(critical))), mesh.IncidentOpen},
		"a passing check of which none is open": {rule(), seq(is, passing), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				for _, s := range tt.steps {
					pass(time.Second)
					now := s()
					now.Received, now.Result.At, now.Since, now.Result.HardSince = time.Now(), time.Now(), time.Now(), time.Now()
					r.set(now)
				}
				pass(time.Minute)
				if tt.want == "" {
					if list := r.incidents(); len(list) > 0 {
						t.Errorf("got %+v", list)
					}
					return
				}
				r.only(tt.want)
			}, tt.rule)
		})
	}
}

func seq(is func(mesh.Health) mesh.CheckState, list ...mesh.Health) []func() mesh.CheckState {
	var out []func() mesh.CheckState
	for _, h := range list {
		out = append(out, func() mesh.CheckState { return is(h) })
	}
	return out
}

func then(s mesh.CheckState) []func() mesh.CheckState {
	return []func() mesh.CheckState{func() mesh.CheckState { return s }}
}

func flapping(s mesh.CheckState) mesh.CheckState {
	s.Result.Flapping = true
	return s
}

func TestFor(t *testing.T) {
	slow := webDown
	slow.For = 10 * time.Second
	t.Run("opens when its time has come", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.web(critical)
			start := time.Now()
			pass(9990 * time.Millisecond)
			if n := len(r.incidents()); n != 0 {
				t.Fatalf("%d incidents before the time", n)
			}
			pass(20 * time.Millisecond)
			i := r.only(mesh.IncidentOpen)
			if got := i.Opened.Sub(start); got < slow.For || got > slow.For+time.Millisecond {
				t.Errorf("opened after %s", got)
			}
		}, slow)
	})
	t.Run("begins anew after a good result", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.web(critical)
			pass(6 * time.Second)
			r.web(passing)
			r.web(critical)
			pass(6 * time.Second)
			if n := len(r.incidents()); n != 0 {
				t.Fatalf("%d incidents", n)
			}
			pass(5 * time.Second)
			r.only(mesh.IncidentOpen)
		}, slow)
	})
	t.Run("counts by the node's clock up to the result", func(t *testing.T) {
		bubble(t, func(r *rig) {
			s := state("n1", "web", critical)
			s.Result.At = s.Result.At.Add(-time.Hour) // the node's clock is late.
			s.Result.HardSince = s.Result.At.Add(-8 * time.Second)
			s.Since = s.Result.HardSince
			r.set(s)
			if n := len(r.incidents()); n != 0 {
				t.Fatalf("%d incidents although it is bad for 8 s only", n)
			}
			pass(3 * time.Second)
			i := r.only(mesh.IncidentOpen)
			if !i.Began.Equal(s.Result.HardSince) {
				t.Errorf("began %s", i.Began)
			}
		}, slow)
	})
}

func TestReopen(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		r.web(passing)
		pass(9 * time.Minute)
		r.web(critical)
		if i := r.only(mesh.IncidentOpen); i.Reopened != 1 || !i.Closed.IsZero() || i.ClosedBy != "" {
			t.Errorf("got %+v", i)
		}
		r.web(passing)
		pass(11 * time.Minute)
		r.web(critical)
		if list := r.incidents(); len(list) != 2 || list[0].Status != mesh.IncidentOpen || list[1].Reopened != 1 {
			t.Errorf("got %+v", list)
		}
		wantTold(t, r, "firing ops", "resolved ops", "firing ops", "resolved ops", "firing ops")
	}, webDown)
}

func TestPeople(t *testing.T) {
	bubble(t, func(r *rig) {
		e, ctx := r.engine, t.Context()
		r.web(critical)
		id := r.only(mesh.IncidentOpen).ID
		if i, err := e.Ack(ctx, id, "ann", "on it"); err != nil || i.Status != mesh.IncidentAcked || i.AckedBy != "ann" || i.Timeline[2].Text != "on it" {
			t.Errorf("ack: %+v, %v", i, err)
		}
		if _, err := e.Ack(ctx, id, "bob", ""); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("a second ack: %v", err)
		}
		if _, err := e.Reopen(ctx, id, "bob", ""); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("reopen an open one: %v", err)
		}
		if _, err := e.Comment(ctx, id, "bob", " "); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("an empty comment: %v", err)
		}
		if _, err := e.Ack(ctx, "00000000000000ff", "bob", ""); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("ack of nothing: %v", err)
		}
		if _, err := e.Close(ctx, id, "ann", "known"); err != nil {
			t.Error(err)
		}
		for range 3 { // it is still bad, and stays closed.
			r.web(critical)
			pass(time.Minute)
		}
		r.only(mesh.IncidentClosed)
		r.web(passing)
		r.web(critical)
		if i := r.only(mesh.IncidentOpen); i.Reopened != 1 || i.AckedBy != "" {
			t.Errorf("got %+v", i)
		}
		r.web(passing)
		r.only(mesh.IncidentClosed)
		pass(time.Second)
		if i, err := e.Reopen(ctx, id, "ann", "not so fast"); err != nil || i.Status != mesh.IncidentOpen {
			t.Errorf("reopen: %+v, %v", i, err)
		}
		pass(time.Minute) // what is good was so before: somebody wants to look at it.
		r.only(mesh.IncidentOpen)
		r.web(passing)
		r.only(mesh.IncidentClosed)
	}, webDown)
}

func TestRepeat(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		pass(alert.DefaultRepeat + time.Minute)
		wantTold(t, r, "firing ops", "repeat ops")
		if _, err := r.engine.Ack(t.Context(), r.only(mesh.IncidentOpen).ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		pass(2 * alert.DefaultRepeat)
		wantTold(t, r, "firing ops", "repeat ops")
	}, webDown)
}

func TestEscalateAndNote(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		id := r.only(mesh.IncidentOpen).ID
		ev := mesh.IncidentEvent{Kind: mesh.EventRemedy, Actor: "policy/x", Text: "refused", Data: map[string]string{"guard": "storm"}}
		if err := r.engine.Note(t.Context(), id, ev); err != nil {
			t.Fatal(err)
		}
		if err := r.engine.Escalate(t.Context(), id, []string{"boss", "nobody"}, "it did not help"); err != nil {
			t.Fatal(err)
		}
		i := r.only(mesh.IncidentOpen)
		if got := i.Timeline[2]; got.Kind != mesh.EventRemedy || got.Data["guard"] != "storm" || got.At.IsZero() {
			t.Errorf("note: %+v", got)
		}
		if got := i.Timeline[3]; got.Kind != mesh.EventEscalated || got.Data["receivers"] != "boss" {
			t.Errorf("escalation: %+v", got)
		}
		r.web(passing)
		wantTold(t, r, "firing ops", "escalation boss", "resolved ops", "resolved boss")
	}, webDown)
}

func TestRulesChange(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		id := r.only(mesh.IncidentOpen).ID
		changed := webDown
		changed.Severity, changed.Target = "warning", "name=n9"
		r.rules(changed)
		pass(time.Minute)
		if i := r.only(mesh.IncidentOpen); i.ID != id {
			t.Error("a changed rule did not keep its incident")
		}
		r.rules()
		synctest.Wait()
		i := r.only(mesh.IncidentClosed)
		if last := i.Timeline[len(i.Timeline)-1]; last.Text != "there is no rule web-down any more" {
			t.Errorf("closed with %q", last.Text)
		}
		for name, bad := range map[string][]mesh.Rule{
			"an unknown receiver": {{Name: "a", Check: "b", Notify: []string{"nobody"}}},
			"two of a name":       {webDown, webDown},
			"a bad target":        {{Name: "a", Check: "b", Target: "role="}},
			"no check":            {{Name: "a"}},
			"no name":             {{Check: "a"}},
			"passing":             {{Name: "a", Check: "b", Status: []mesh.Health{passing}}},
			"a negative time":     {{Name: "a", Check: "b", For: -1}},
		} {
			if err := r.engine.SetRules(bad, []string{"ops"}); mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if got := len(r.engine.Rules()); got != 3 {
			t.Errorf("%d rules in force, want the built-in ones", got)
		}
	}, webDown)
}

// TestRuleAboutAnotherCheck sees that an open incident follows its check also
// when its rule is about another one by now.
func TestRuleAboutAnotherCheck(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		changed := webDown
		changed.Check = "web2"
		r.rules(changed)
		pass(time.Minute)
		r.only(mesh.IncidentOpen)
		r.web(passing)
		pass(time.Minute)
		r.only(mesh.IncidentClosed)
	}, webDown)
}

// TestLateNews sees that what was queued before all checks were read does not
// open what has recovered since.
func TestLateNews(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		late := state("n1", "web", critical)
		r.web(passing)
		r.only(mesh.IncidentClosed)
		r.engine.Observe(late)
		pass(time.Second)
		r.only(mesh.IncidentClosed)
	}, webDown)
}

func TestGone(t *testing.T) {
	bubble(t, func(r *rig) {
		drop := func() {
			r.checks.mu.Lock()
			delete(r.checks.states, [2]string{"n1", "web"})
			r.checks.mu.Unlock()
		}
		r.web(critical)
		drop()
		r.lease(1, false) // what is gone is gone also for who leads later.
		pass(5 * time.Second)
		r.engine.Gone(dc, "n1", "web")
		pass(5 * time.Second)
		r.only(mesh.IncidentOpen)
		r.lease(2, true)
		pass(5 * time.Second)
		r.only(mesh.IncidentClosed)

		pass(time.Hour)
		r.set(state("n1", "web", critical))
		drop() // as after a restart of the server: nobody says Gone.
		pass(5 * time.Minute)
		if list := r.incidents(); len(list) != 2 || list[0].Status != mesh.IncidentOpen {
			t.Fatalf("silence closed it: %+v", list)
		}
		r.set(state("n1", "db", passing)) // the agent has told everything.
		pass(2 * time.Minute)
		if list := r.incidents(); list[0].Status != mesh.IncidentClosed || list[1].Status != mesh.IncidentClosed {
			t.Errorf("got %+v", list)
		}
	}, webDown)
}

func TestFlappingIsFolded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		for range 20 {
			pass(time.Second)
			r.set(flapping(state("n1", "web", passing)))
			pass(time.Second)
			r.set(flapping(state("n1", "web", critical)))
		}
		r.web(passing)
		i := r.only(mesh.IncidentClosed)
		var lines []string
		for _, l := range i.Timeline {
			lines = append(lines, l.Text)
		}
		text := strings.Join(lines, "\n")
		if len(lines) > 8 || !strings.Contains(text, "it flaps no more, after 40 changes") {
			t.Errorf("%d lines:\n%s", len(lines), text)
		}
		wantTold(t, r, "firing ops", "resolved ops")
	}, webDown)
}

func TestRecent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		r.set(state("n2", "web", critical))
		pass(time.Second)
		r.web(passing)
		pass(time.Minute)
		since := time.Now()
		pass(time.Second)
		r.set(state("n3", "web", critical))
		pass(time.Second)
		r.set(state("n3", "web", passing))
		list, err := r.engine.Recent(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		var got []mesh.NodeName
		for _, i := range list {
			got = append(got, i.Node)
		}
		if diff := cmp.Diff([]mesh.NodeName{"n2", "n3"}, got); diff != "" {
			t.Errorf("open, or opened since (-want +got):\n%s", diff)
		}
	}, webDown)
}

func TestProblems(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(passing)
		want := []string{"rule disk-full: no node has a check disk"}
		if diff := cmp.Diff(want, r.engine.Problems()); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	}, webDown, mesh.Rule{Name: "disk-full", Check: "disk"})
}

func TestManyAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.checks.mu.Lock()
		for n := range 30_000 { // more than wait for their turn.
			s := state("n"+strings.Repeat("x", 1+n%7)+string(rune('a'+n/7%26))+time.Duration(n).String(), "web", critical)
			r.checks.states[[2]string{string(s.Node), "web"}] = s
			r.engine.Observe(s)
		}
		r.checks.mu.Unlock()
		pass(time.Second)
		if n := len(r.store.Deliveries()); n != 30_000 {
			t.Errorf("told of %d", n)
		}
	}, webDown)
}
