package alerttest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"alps/mesh"
	"alps/server/alert"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// sample is an incident with every field set.
func sample(id mesh.IncidentID, node string, status mesh.IncidentStatus) alert.Record {
	r := alert.Record{
		Incident: mesh.Incident{
			ID: id, Rule: "web-down", Severity: "critical", Summary: "web is critical", Owner: "ops", Runbook: "https://runbook",
			DC: "bj-e-01", Node: mesh.NodeName(node), Check: "web", Service: "web-1", Disks: []string{"sdb1"}, Joined: []mesh.JoinedProblem{{Rule: "web-slow", Check: "web-time"}}, Status: status, Health: mesh.HealthCritical,
			Output: "refused", Began: noon, Opened: noon.Add(time.Second), Updated: noon.Add(2 * time.Second), AckedBy: "ann", Reopened: 2,
		},
		CheckID: "web", Fired: noon.Add(time.Second + 5), Told: []string{"ops"}, Sent: 3, LastTold: noon, Lost: true, Flapping: true, Flaps: 4,
	}
	if status == mesh.IncidentClosed {
		r.Closed, r.ClosedBy = noon.Add(time.Minute), "alps"
	}
	return r
}

// seen leaves out what a store need not keep.
var seen = cmpopts.IgnoreUnexported(alert.Record{})

// TestStore runs the suite of an alert.Store. fresh returns an empty one.
func TestStore(t *testing.T, fresh func(*testing.T) alert.Store) {
	t.Helper()
	tests := map[string]func(*testing.T, alert.Store){
		"gives back what it was given": testRoundTrip,
		"loads what a term needs":      testOpen,
		"keeps one open per problem":   testOneOpen,
		"refuses a term that is over":  testFence,
		"finds by the beginning":       testPrefix,
		"lists open ones first":        testList,
		"bounds a timeline":            testTimeline,
		"stores all or nothing":        testAtomic,
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) { run(t, fresh(t)) })
	}
}

func save(t *testing.T, s alert.Store, records ...alert.Record) {
	t.Helper()
	var list []alert.Change
	for _, r := range records {
		list = append(list, alert.Change{Record: r})
	}
	if err := s.SaveIncidents(t.Context(), 1, list); err != nil {
		t.Fatal(err)
	}
}

func testRoundTrip(t *testing.T, s alert.Store) {
	r := sample("0000000000000001", "n1", mesh.IncidentAcked)
	lines := []mesh.IncidentEvent{
		{At: noon, Kind: mesh.EventOpened, Actor: "alps", Text: "rule web-down"},
		{At: noon.Add(time.Second), Kind: mesh.EventRemedy, Actor: "policy/x", Text: "refused", Data: map[string]string{"guard": "storm"}},
	}
	for _, l := range lines {
		if err := s.SaveIncidents(t.Context(), 1, []alert.Change{{Record: r, Events: []mesh.IncidentEvent{l}}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.IncidentRecord(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, seen); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	story, err := s.Incident(t.Context(), string(r.ID))
	if err != nil {
		t.Fatal(err)
	}
	want := r.Incident
	want.Timeline = lines
	if diff := cmp.Diff(want, story); diff != "" {
		t.Errorf("incident (-want +got):\n%s", diff)
	}
	if _, err := s.IncidentRecord(t.Context(), "00000000000000ff"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("an incident that does not exist gives %v", err)
	}
}

func testOpen(t *testing.T, s alert.Store) {
	muted, old := sample("0000000000000004", "n4", mesh.IncidentClosed), sample("0000000000000003", "n3", mesh.IncidentClosed)
	muted.Muted = true
	muted.Closed, old.Closed = noon.Add(-time.Hour), noon.Add(-time.Hour)
	recent := sample("0000000000000005", "n5", mesh.IncidentClosed)
	save(t, s, sample("0000000000000001", "n1", mesh.IncidentOpen), sample("0000000000000002", "n2", mesh.IncidentAcked), old, muted, recent)
	list, err := s.OpenIncidents(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, string(r.Node))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"n1", "n2", "n4", "n5"}, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func testOneOpen(t *testing.T, s alert.Store) {
	first := sample("0000000000000001", "n1", mesh.IncidentOpen)
	second := sample("0000000000000002", "n1", mesh.IncidentAcked)
	save(t, s, first)
	if err := s.SaveIncidents(t.Context(), 1, []alert.Change{{Record: second}}); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("a second open incident of one problem gives %v", err)
	}
	first.Status, first.Closed = mesh.IncidentClosed, noon
	if err := s.SaveIncidents(t.Context(), 1, []alert.Change{{Record: first}, {Record: second}}); err != nil {
		t.Errorf("closing one and opening the next at once gives %v", err)
	}
}

func testFence(t *testing.T, s alert.Store) {
	r := sample("0000000000000001", "n1", mesh.IncidentOpen)
	for _, step := range []struct {
		term uint64
		want mesh.Code
	}{{3, ""}, {3, ""}, {2, mesh.Conflict}, {4, ""}, {3, mesh.Conflict}} {
		r.Reopened = int(step.term)
		err := s.SaveIncidents(t.Context(), step.term, []alert.Change{{Record: r}})
		if got := mesh.CodeOf(err); got != step.want {
			t.Errorf("term %d: got %q, want %q", step.term, got, step.want)
		}
	}
	got, err := s.IncidentRecord(t.Context(), r.ID)
	if err != nil || got.Reopened != 4 {
		t.Errorf("got %d, %v; want what term 4 wrote", got.Reopened, err)
	}
}

func testPrefix(t *testing.T, s alert.Store) {
	save(t, s, sample("ab00000000000001", "n1", mesh.IncidentOpen), sample("ab00000000000012", "n2", mesh.IncidentOpen), sample("ac00000000000001", "n3", mesh.IncidentOpen))
	for _, tt := range []struct {
		typed string
		node  mesh.NodeName
		code  mesh.Code
	}{
		{"ac", "n3", ""},
		{"ab00000000000001", "n1", ""},
		{"ab0000000000001", "n2", ""},
		{"ab", "", mesh.Invalid},
		{"ad", "", mesh.NotFound},
		{"%", "", mesh.NotFound},
	} {
		got, err := s.Incident(t.Context(), tt.typed)
		if mesh.CodeOf(err) != tt.code || got.Node != tt.node {
			t.Errorf("%q: got %q, %v; want %q, code %q", tt.typed, got.Node, err, tt.node, tt.code)
		}
	}
}

func testList(t *testing.T, s alert.Store) {
	other := sample("0000000000000004", "n4", mesh.IncidentOpen)
	other.Rule = "disk-full"
	save(t, s, sample("0000000000000001", "n1", mesh.IncidentOpen), sample("0000000000000003", "n3", mesh.IncidentClosed),
		sample("0000000000000002", "n2", mesh.IncidentAcked), other, sample("0000000000000005", "n5", mesh.IncidentClosed))
	for name, tt := range map[string]struct {
		f    alert.Filter
		want []mesh.NodeName
	}{
		"all":      {alert.Filter{}, []mesh.NodeName{"n4", "n2", "n1", "n5", "n3"}},
		"limited":  {alert.Filter{Limit: 2}, []mesh.NodeName{"n4", "n2"}},
		"the rest": {alert.Filter{Before: "0000000000000002"}, []mesh.NodeName{"n1", "n5", "n3"}},
		"the end":  {alert.Filter{Before: "0000000000000005", Limit: 9}, []mesh.NodeName{"n3"}},
		"open":     {alert.Filter{Status: []mesh.IncidentStatus{mesh.IncidentOpen, mesh.IncidentAcked}}, []mesh.NodeName{"n4", "n2", "n1"}},
		"a rule":   {alert.Filter{Rule: "disk-full"}, []mesh.NodeName{"n4"}},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := s.Incidents(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			var got []mesh.NodeName
			for _, i := range list {
				if len(i.Timeline) > 0 {
					t.Errorf("%s comes with a timeline", i.ID)
				}
				got = append(got, i.Node)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := s.Incidents(t.Context(), alert.Filter{Before: "00000000000000ff"}); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("a page after an incident that does not exist gives %v", err)
	}
}

func testTimeline(t *testing.T, s alert.Store) {
	r := sample("0000000000000001", "n1", mesh.IncidentOpen)
	const all = alert.TimelineHead + alert.TimelineTail + 30
	for i := 0; i < all; i += 10 {
		var lines []mesh.IncidentEvent
		for n := i; n < i+10; n++ {
			lines = append(lines, mesh.IncidentEvent{At: noon.Add(time.Duration(n) * time.Second), Kind: mesh.EventComment, Actor: "ann", Text: fmt.Sprint(n)})
		}
		if err := s.SaveIncidents(t.Context(), 1, []alert.Change{{Record: r, Events: lines}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Incident(t.Context(), string(r.ID))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Timeline); n != alert.TimelineHead+1+alert.TimelineTail {
		t.Fatalf("got %d lines", n)
	}
	for at, want := range map[int]string{
		0: "0", alert.TimelineHead - 1: fmt.Sprint(alert.TimelineHead - 1), alert.TimelineHead: "30 lines are left out here",
		alert.TimelineHead + 1: fmt.Sprint(alert.TimelineHead + 30), alert.TimelineHead + alert.TimelineTail: fmt.Sprint(all - 1),
	} {
		if text := got.Timeline[at].Text; text != want {
			t.Errorf("line %d: got %q, want %q", at, text, want)
		}
	}
}

func testAtomic(t *testing.T, s alert.Store) {
	first, twin := sample("0000000000000001", "n1", mesh.IncidentOpen), sample("0000000000000002", "n1", mesh.IncidentOpen)
	if err := s.SaveIncidents(t.Context(), 1, []alert.Change{{Record: first}, {Record: twin}}); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("two open incidents of one problem at once give %v", err)
	}
	if list, err := s.Incidents(t.Context(), alert.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("got %d incidents, %v; want none", len(list), err)
	}
}
