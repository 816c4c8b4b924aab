package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// incident is the nth, with an id that begins with n in four digits.
func incident(n int, node mesh.NodeName, status mesh.IncidentStatus) mesh.Incident {
	return mesh.Incident{
		ID: mesh.IncidentID(fmt.Sprintf("%04x%012x", n, 1)), Rule: "disk-full", Severity: "critical", Summary: "full",
		DC: "dc1", Node: node, Check: "disk", Status: status, Health: mesh.HealthCritical, Opened: apitest.AsOf(), Updated: apitest.AsOf(),
		Timeline: []mesh.IncidentEvent{{At: apitest.AsOf(), Kind: mesh.EventOpened, Actor: "alps", Text: "opened"}},
	}
}

func someIncidents() []mesh.Incident {
	list := []mesh.Incident{
		incident(1, "web1", mesh.IncidentOpen),
		incident(2, "", mesh.IncidentOpen), // of the whole site.
		incident(3, "db1", mesh.IncidentAcked),
		incident(4, "left", mesh.IncidentOpen), // of no node that is known.
		incident(5, "web2", mesh.IncidentClosed),
		incident(6, "web1", mesh.IncidentClosed),
	}
	list[5].DC = "dc2" // a namesake.
	list[4].Rule = "other"
	return list
}

// numbers are what incident was given.
func numbers(list []mesh.Incident) []int {
	out := []int{}
	for _, i := range list {
		n, err := strconv.ParseInt(string(i.ID[:4]), 16, 0)
		if err != nil {
			n = -1 // none of ours.
		}
		out = append(out, int(n))
	}
	return out
}

func TestIncidents(t *testing.T) {
	e := estate(t)
	e.Loop.Change(func(s *apitest.LoopState) { s.Incidents = someIncidents() })
	all, web := e.Client(t, auth.Viewer, ""), e.Client(t, auth.Viewer, "role=web")
	const open, acked, closed = mesh.IncidentOpen, mesh.IncidentAcked, mesh.IncidentClosed
	tests := []struct {
		name   string
		c      *client.Client
		filter v1.IncidentFilter
		want   []int
	}{
		{"all", all, v1.IncidentFilter{}, []int{1, 2, 3, 4, 5, 6}},
		{"a status", all, v1.IncidentFilter{Status: []mesh.IncidentStatus{open}}, []int{1, 2, 4}},
		{"two statuses", all, v1.IncidentFilter{Status: []mesh.IncidentStatus{acked, closed}}, []int{3, 5, 6}},
		{"a rule", all, v1.IncidentFilter{Rule: "other"}, []int{5}},
		{"a rule that is none", all, v1.IncidentFilter{Rule: "nope"}, []int{}},
		{"a query leaves out what is of no node", all, v1.IncidentFilter{Query: "all"}, []int{1, 3, 5}},
		{"a query and a status", all, v1.IncidentFilter{Query: "role=web", Status: []mesh.IncidentStatus{open}}, []int{1}},
		{"a scope", web, v1.IncidentFilter{}, []int{1, 5}},
		{"a query that reaches for more", web, v1.IncidentFilter{Query: "all"}, []int{1, 5}},
		{"a query outside the scope", web, v1.IncidentFilter{Query: "role=db"}, []int{}},
		{"after one", all, v1.IncidentFilter{Before: someIncidents()[3].ID}, []int{5, 6}},
		{"after one in a scope", web, v1.IncidentFilter{Before: someIncidents()[0].ID, Limit: 1}, []int{5}},
		{"a page that ends with the list", all, v1.IncidentFilter{Limit: 6}, []int{1, 2, 3, 4, 5, 6}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.Incidents(t.Context(), tt.filter)
			if diff := cmp.Diff(tt.want, numbers(got.Incidents)); diff != "" || err != nil || got.Next != "" {
				t.Errorf("next %q, %v (-want +got):\n%s", got.Next, err, diff)
			}
			for _, i := range got.Incidents {
				if i.Timeline != nil {
					t.Errorf("%s comes with its story", i.ID)
				}
			}
		})
	}
	_, err := all.Incidents(t.Context(), v1.IncidentFilter{Status: []mesh.IncidentStatus{"solved"}})
	wantCode(t, "a status that is none", err, mesh.Invalid)
	_, err = all.Incidents(t.Context(), v1.IncidentFilter{Query: "role="})
	wantCode(t, "a broken query", err, mesh.Invalid)
}

// TestIncidentsPageByPage spreads the incidents of a scope over several pages
// of the store.
func TestIncidentsPageByPage(t *testing.T) {
	e := estate(t)
	var list []mesh.Incident
	var every, inside []int
	for n := range 1700 {
		node := mesh.NodeName("db1")
		if n%250 == 0 || n > 1690 {
			node, inside = "web1", append(inside, n)
		}
		list, every = append(list, incident(n, node, mesh.IncidentOpen)), append(every, n)
	}
	e.Loop.Change(func(s *apitest.LoopState) { s.Incidents = list })
	for _, tt := range []struct {
		name, scope string
		limit       int
		want        []int
	}{
		{"a scope", "role=web", 3, inside},
		{"a scope in one page", "role=web", 1000, inside},
		{"a scope in as many as there are", "role=web", len(inside), inside},
		{"all", "", 500, every},
		{"all, by the standard", "", 0, every},
		{"all, in odd pages", "", 999, every},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := e.Client(t, auth.Viewer, tt.scope)
			got := []int{}
			f := v1.IncidentFilter{Limit: tt.limit}
			for range 20 {
				page, err := c.Incidents(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				if most := max(tt.limit, 100*(1-min(tt.limit, 1))); len(page.Incidents) > most {
					t.Errorf("a page of %d, want at most %d", len(page.Incidents), most)
				}
				got = append(got, numbers(page.Incidents)...)
				if f.Before = page.Next; f.Before == "" {
					break
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("all pages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIncidentKeepsToTheScope(t *testing.T) {
	e := estate(t)
	list := append(someIncidents(), incident(7, "web1", mesh.IncidentOpen), incident(7, "web1", mesh.IncidentOpen))
	list[7].ID = "0007ffffffffffff"
	e.Loop.Change(func(s *apitest.LoopState) { s.Incidents = list })
	c := as(t, e, auth.Operator, "role=web")
	for _, hidden := range []string{"0002", "0003", "0004", "0006"} {
		for _, route := range []string{"GET ", "POST /ack", "POST /close", "POST /reopen", "POST /comment"} {
			method, rest, _ := strings.Cut(route, " ")
			body := map[string]string{"POST": `{"text":"x"}`}[method]
			a, none := c.do(method, "/v1/incidents/"+hidden+rest, body), c.do(method, "/v1/incidents/9999"+rest, body)
			if got, want := a.problem.Detail, strings.Replace(none.problem.Detail, "9999", hidden, 1); a.status != http.StatusNotFound || got != want {
				t.Errorf("%s of a hidden one: %d %q, of a missing one %q", route, a.status, got, want)
			}
		}
	}
	if diff := cmp.Diff(list, e.Loop.State().Incidents); diff != "" {
		t.Errorf("what is hidden was changed (-want +got):\n%s", diff)
	}
	all := e.Client(t, auth.Viewer, "")
	for id, code := range map[string]mesh.Code{
		"0001": "", string(list[0].ID): "", "0002": "", "0007": mesh.Conflict, "00070": "", "abcd": mesh.NotFound,
		"000": mesh.Invalid, "": mesh.Invalid, "0001/../0002": mesh.Invalid, "ABCD": mesh.Invalid,
	} {
		got, err := all.Incident(t.Context(), id)
		wantCode(t, "the incident "+id, err, code)
		if code == "" && (!strings.HasPrefix(string(got.ID), id) || len(got.Timeline) != 1) {
			t.Errorf("%s is %+v", id, got)
		}
	}
}

func TestIncidentsAreChanged(t *testing.T) {
	e := estate(t)
	e.Loop.Change(func(s *apitest.LoopState) { s.Incidents = someIncidents() })
	c := e.Client(t, auth.Operator, "role=web")
	id := someIncidents()[0].ID
	steps := []struct {
		what   v1.IncidentChange
		text   string
		code   mesh.Code
		status mesh.IncidentStatus
	}{
		{v1.IncidentReopen, "", mesh.Conflict, mesh.IncidentOpen},
		{v1.IncidentComment, "", mesh.Invalid, mesh.IncidentOpen},
		{v1.IncidentComment, " \n\t", mesh.Invalid, mesh.IncidentOpen},
		{v1.IncidentComment, strings.Repeat("x", 2001), mesh.Invalid, mesh.IncidentOpen},
		{v1.IncidentComment, "looking", "", mesh.IncidentOpen},
		{v1.IncidentAck, "mine", "", mesh.IncidentAcked},
		{v1.IncidentAck, "mine too", mesh.Conflict, mesh.IncidentAcked},
		{v1.IncidentClose, "", "", mesh.IncidentClosed},
		{v1.IncidentClose, "", mesh.Conflict, mesh.IncidentClosed},
		{v1.IncidentAck, "", mesh.Conflict, mesh.IncidentClosed},
		{v1.IncidentComment, "it was the log", "", mesh.IncidentClosed},
		{v1.IncidentReopen, "not yet", "", mesh.IncidentOpen},
		{"explode", "", mesh.NotFound, mesh.IncidentOpen},
	}
	var audit []mesh.Audit
	story := 1
	for _, s := range steps {
		got, err := c.ChangeIncident(t.Context(), string(id[:6]), s.what, s.text)
		wantCode(t, string(s.what)+" "+s.text, err, s.code)
		line := mesh.Audit{
			Actor: "operator", From: "127.0.0.1", Action: "incident." + string(s.what), Object: string(id), Outcome: mesh.OutcomeRefused,
			Detail: map[string]string{"rule": "disk-full", "node": "web1", "text": s.text},
		}
		switch {
		case s.code == "":
			story, line.Outcome = story+1, mesh.OutcomeDone
			if last := got.Timeline[len(got.Timeline)-1]; got.ID != id || last.Actor != "operator" || last.Text != s.text {
				t.Errorf("%s: the story ends with %+v", s.what, last)
			}
		case len(s.text) > 2000: // no handler has seen it.
			line.Object, line.Detail = "/v1/incidents/"+string(id[:6])+"/comment", nil
		}
		if s.code != mesh.NotFound {
			audit = append(audit, line)
		}
		if now := e.Loop.State().Incidents[0]; now.Status != s.status || len(now.Timeline) != story {
			t.Errorf("after %s %.20q it is %s with %d lines, want %s with %d", s.what, s.text, now.Status, len(now.Timeline), s.status, story)
		}
	}
	wantAudit(t, e, audit)
}

func TestRules(t *testing.T) {
	e := estate(t)
	c := e.Client(t, auth.Viewer, "role=web")
	none, err := c.Rules(t.Context())
	if diff := cmp.Diff(v1.RuleList{Rules: []mesh.Rule{}, Receivers: []mesh.Receiver{}}, none); diff != "" || err != nil {
		t.Errorf("no rules: %v (-want +got):\n%s", err, diff)
	}
	urls := map[string]string{
		"":                                      "",
		"http://10.0.0.1:9000":                  "http://10.0.0.1:9000",
		"http://10.0.0.1:9000/":                 "http://10.0.0.1:9000/",
		"https://hooks.example/services/T0/s3c": "https://hooks.example/…",
		"https://hooks.example/?key=s3c":        "https://hooks.example/…",
		"https://me:s3c@hooks.example/":         "https://hooks.example/…",
		"https://me:s3c@hooks.example":          "https://hooks.example/…",
		"https://hooks.example#s3c":             "https://hooks.example/…",
		"://s3c":                                "…",
		"s3c":                                   "…",
	}
	set := v1.RuleList{Rules: []mesh.Rule{{Name: "disk-full", Check: "disk"}}, Problems: []string{"no node has a check http"}}
	for u := range urls {
		set.Receivers = append(set.Receivers, mesh.Receiver{Name: "of " + u, URL: u, Header: map[string]string{"Authorization": "s3c"}})
	}
	e.Loop.Change(func(s *apitest.LoopState) { s.Rules = set })
	for range 2 { // what is in force stays as it is.
		got, err := c.Rules(t.Context())
		if err != nil || !cmp.Equal(got.Rules, set.Rules) || !cmp.Equal(got.Problems, set.Problems) || len(got.Receivers) != len(urls) {
			t.Fatalf("got %+v, %v", got, err)
		}
		for i, r := range got.Receivers {
			if want := urls[set.Receivers[i].URL]; r.URL != want || r.Header != nil {
				t.Errorf("%q is shown as %q with the header %v, want %q and none", set.Receivers[i].URL, r.URL, r.Header, want)
			}
		}
	}
}
