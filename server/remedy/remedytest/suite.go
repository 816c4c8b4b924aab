package remedytest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"alps/mesh"
	"alps/server/remedy"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

func record(id string, state mesh.RemedyState, minute int) remedy.Record {
	return remedy.Record{RemedyRun: mesh.RemedyRun{
		ID: mesh.RemedyRunID(id), Policy: "restart-web", Incident: "i1", DC: "dc1", Node: "web1", Check: "web",
		Script: "restart-web", State: state, Decided: noon.Add(time.Duration(minute) * time.Minute),
		Before: mesh.CheckState{Status: mesh.HealthCritical, Source: mesh.SourceLink, Received: noon, Result: mesh.CheckResult{Output: "refused \u00e9"}},
	}}
}

// TestStore is what a remedy.Store must do; open returns an empty one.
func TestStore(t *testing.T, open func(*testing.T) remedy.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, remedy.Store){
		"runs come back as they were": testRoundTrip,
		"filters":                     testFilters,
		"one is open":                 testOneOpen,
		"one of a group, and a node":  testGroups,
		"proposals":                   testProposed,
		"pause and resume":            testSwitch,
		"a term that is over":         testTerm,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s remedy.Store, term uint64, runs ...remedy.Record) {
	t.Helper()
	if err := s.PutRemedyRuns(t.Context(), term, runs); err != nil {
		t.Fatalf("put in term %d: %v", term, err)
	}
}

func refused(t *testing.T, s remedy.Store, term uint64, runs ...remedy.Record) {
	t.Helper()
	if err := s.PutRemedyRuns(t.Context(), term, runs); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("put in term %d: %v, want a conflict", term, err)
	}
}

func list(t *testing.T, s remedy.Store, f remedy.Filter) []remedy.Record {
	t.Helper()
	got, err := s.RemedyRuns(t.Context(), f)
	if err != nil {
		t.Fatalf("list %+v: %v", f, err)
	}
	return got
}

func ids(runs []remedy.Record) string {
	var out strings.Builder
	for _, r := range runs {
		out.WriteString(string(r.ID))
	}
	return out.String()
}

func testRoundTrip(t *testing.T, s remedy.Store) {
	r := record("a", mesh.RemedyDecided, 0)
	put(t, s, 1, r)
	r.State, r.Started, r.Deadline = mesh.RemedyVerifying, noon.Add(time.Second), noon.Add(time.Minute)
	r.JobEnded, r.Reopened, r.Told = noon.Add(2*time.Second), 2, true
	r.Job = mesh.JobState{State: mesh.Failed, Reason: "it said no", Code: 3, Woke: "event"}
	r.Approved, r.Facts = "ann", map[string]string{"datanode": "dn1:9866"}
	r.Plan = []mesh.Rung{{Name: "main", Steps: []mesh.PlanStep{{Kind: mesh.StepAct, Name: "s", Script: "ask", Args: []string{"x"}, Within: time.Minute}}}}
	r.Steps = []mesh.RemedyStep{{
		Rung: "main", Kind: mesh.StepAct, Name: "s", Script: "ask", Job: "b", Attempts: 2, State: mesh.StepWaiting, Started: noon, Tried: noon,
		Nodes: []mesh.StepNode{{Node: "n", ID: "i", Answer: &mesh.Answer{Verdict: mesh.VerdictWait, Reason: "not yet", Progress: &mesh.Progress{Left: 3}}}},
	}}
	put(t, s, 1, r)
	if diff := cmp.Diff([]remedy.Record{r}, list(t, s, remedy.Filter{})); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func testFilters(t *testing.T, s remedy.Store) {
	a, b, c, d := record("a", mesh.RemedySucceeded, 0), record("b", mesh.RemedyRefused, 1), record("c", mesh.RemedyObserved, 2), record("d", mesh.RemedyDecided, 3)
	a.Told = true
	b.Guard, b.Incident = string(remedy.GuardStorm), "i2"
	c.Policy, c.Told = "other", true
	put(t, s, 1, a, b, c, d)
	for name, tt := range map[string]struct {
		filter remedy.Filter
		want   string
	}{
		"all, the newest first": {remedy.Filter{}, "dcba"},
		"by id":                 {remedy.Filter{ID: "b"}, "b"},
		"by policy":             {remedy.Filter{Policy: "restart-web"}, "dba"},
		"by incident":           {remedy.Filter{Incident: "i2"}, "b"},
		"by guard":              {remedy.Filter{Guard: remedy.GuardStorm}, "b"},
		"that acted":            {remedy.Filter{Acts: true}, "da"},
		"open":                  {remedy.Filter{Open: true}, "d"},
		"untold":                {remedy.Filter{Untold: true}, "db"},
		"since":                 {remedy.Filter{Since: noon.Add(2 * time.Minute)}, "dc"},
		"the newest":            {remedy.Filter{Limit: 1}, "d"},
		"all of it":             {remedy.Filter{Policy: "restart-web", Acts: true, Limit: 2, Since: noon}, "da"},
		"none":                  {remedy.Filter{Policy: "nobody"}, ""},
		"proposed":              {remedy.Filter{Proposed: true}, ""},
	} {
		if got := ids(list(t, s, tt.filter)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func testOneOpen(t *testing.T, s remedy.Store) {
	a, b := record("a", mesh.RemedyDecided, 0), record("b", mesh.RemedyDecided, 1)
	put(t, s, 1, a)
	refused(t, s, 1, record("x", mesh.RemedyRefused, 1), b)
	if got := ids(list(t, s, remedy.Filter{})); got != "a" {
		t.Errorf("after a refused batch: %q, want nothing of it", got)
	}
	a.State = mesh.RemedyFailed
	put(t, s, 1, a, b)
	if got := ids(list(t, s, remedy.Filter{Open: true})); got != "b" {
		t.Errorf("open: %q, want b", got)
	}
}

// testGroups says that runs of two groups are open together, unless they are on
// one node.
func testGroups(t *testing.T, s remedy.Store) {
	of := func(id, group, dc, node string) remedy.Record {
		r := record(id, mesh.RemedyDecided, 0)
		r.Group, r.DC, r.Node = group, dc, mesh.NodeName(node)
		return r
	}
	a := of("a", "", "dc1", "n1")
	put(t, s, 1, a, of("b", "hdfs", "dc1", "n2"), of("c", "kafka", "dc2", "n1"))
	refused(t, s, 1, of("d", "", "dc1", "n3"))
	refused(t, s, 1, of("d", "hdfs", "dc2", "n3"))
	refused(t, s, 1, of("d", "web", "dc1", "n1"))
	refused(t, s, 1, of("d", "web", "dc1", "n4"), of("e", "web", "dc1", "n5"))
	a.State = mesh.RemedyFailed
	put(t, s, 1, a, of("d", "web", "dc1", "n1"))
	if got := ids(list(t, s, remedy.Filter{Open: true})); got != "dcb" {
		t.Errorf("open: %q, want dcb", got)
	}
}

// testProposed says that a proposal keeps nobody out, and that it is open like
// every other run when somebody has said yes.
func testProposed(t *testing.T, s remedy.Store) {
	a, b, c := record("a", mesh.RemedyProposed, 0), record("b", mesh.RemedyDecided, 1), record("c", mesh.RemedyProposed, 2)
	put(t, s, 1, a, b, c)
	for what, f := range map[string]remedy.Filter{"ca": {Proposed: true}, "b": {Open: true}} {
		if got := ids(list(t, s, f)); got != what {
			t.Errorf("%+v: %q, want %q", f, got, what)
		}
	}
	if got := ids(list(t, s, remedy.Filter{Acts: true})); got != "b" {
		t.Errorf("acts: %q, a proposal is none", got)
	}
	a.State = mesh.RemedyDecided
	refused(t, s, 1, a)
	b.State = mesh.RemedySucceeded
	put(t, s, 1, b)
	if err := s.PauseRemedy(t.Context(), remedy.Pause{By: "ann", At: noon}); err != nil {
		t.Fatal(err)
	}
	refused(t, s, 1, a)
	if err := s.ResumeRemedy(t.Context(), remedy.Pause{By: "ann", At: noon}); err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, a)
	if got := ids(list(t, s, remedy.Filter{Proposed: true})); got != "c" {
		t.Errorf("proposed: %q, want c", got)
	}
}

func testSwitch(t *testing.T, s remedy.Store) {
	look := func(want remedy.Switch) {
		t.Helper()
		got, err := s.RemedySwitch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("switch (-want +got):\n%s", diff)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	look(remedy.Switch{})
	put(t, s, 1, record("a", mesh.RemedyDecided, 0))
	first, second := remedy.Pause{By: "ann", At: noon, Reason: "rack 11"}, remedy.Pause{By: "bob", At: noon.Add(time.Hour)}
	do(s.PauseRemedy(t.Context(), first))
	look(remedy.Switch{Paused: []remedy.Pause{first}})
	do(s.PauseRemedy(t.Context(), second))
	look(remedy.Switch{Paused: []remedy.Pause{second}})

	a := record("a", mesh.RemedyRunning, 0)
	put(t, s, 1, a) // what runs goes on.
	a.State = mesh.RemedySucceeded
	put(t, s, 1, a, record("b", mesh.RemedyRefused, 1))
	refused(t, s, 1, record("c", mesh.RemedyDecided, 2))

	mine := remedy.Pause{RemedyScope: mesh.RemedyScope{Policy: "restart-web"}, By: "ann", At: noon}
	theirs := remedy.Pause{RemedyScope: mesh.RemedyScope{Group: "hdfs"}, By: "bob", At: noon}
	do(s.ResumeRemedy(t.Context(), mine))
	look(remedy.Switch{Paused: []remedy.Pause{second}, Resumed: map[string]remedy.Pause{"restart-web": mine}})
	do(s.PauseRemedy(t.Context(), mine))
	do(s.PauseRemedy(t.Context(), theirs))
	look(remedy.Switch{Paused: []remedy.Pause{second, theirs, mine}, Resumed: map[string]remedy.Pause{"restart-web": mine}})
	do(s.ResumeRemedy(t.Context(), second))
	do(s.ResumeRemedy(t.Context(), second))
	look(remedy.Switch{Paused: []remedy.Pause{theirs, mine}, Resumed: map[string]remedy.Pause{"restart-web": mine}})
	refused(t, s, 1, record("c", mesh.RemedyDecided, 2))

	d := record("d", mesh.RemedyDecided, 2)
	d.Policy, d.Group = "drain", "hdfs"
	refused(t, s, 1, d)
	do(s.ResumeRemedy(t.Context(), theirs))
	put(t, s, 1, d)
	later := mine
	later.At = noon.Add(time.Minute)
	do(s.ResumeRemedy(t.Context(), later))
	look(remedy.Switch{Resumed: map[string]remedy.Pause{"restart-web": later}})
	c := record("c", mesh.RemedyDecided, 2)
	c.Node = "web2"
	put(t, s, 1, c)
}

func testTerm(t *testing.T, s remedy.Store) {
	put(t, s, 3, record("a", mesh.RemedyRefused, 0))
	put(t, s, 5, record("b", mesh.RemedyRefused, 1))
	refused(t, s, 3, record("c", mesh.RemedyRefused, 2))
	if got := ids(list(t, s, remedy.Filter{})); got != "ba" {
		t.Errorf("runs %q, want ba", got)
	}
}
