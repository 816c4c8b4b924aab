package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/sign"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// estate has two web nodes and one db node.
func estate(t *testing.T) *apitest.Estate {
	t.Helper()
	e := apitest.Start(t)
	e.SetNodes(apitest.Node("web1", "web"), apitest.Node("web2", "web"), apitest.Node("db1", "db"))
	return e
}

// wantCode fails the test when err has another code; the empty code is for no
// error.
func wantCode(t *testing.T, what string, err error, code mesh.Code) {
	t.Helper()
	if mesh.CodeOf(err) != code {
		t.Errorf("%s: got %v (code %q), want code %q", what, err, mesh.CodeOf(err), code)
	}
}

func submit(t *testing.T, c *client.Client, target string) mesh.JobID {
	t.Helper()
	sub, err := c.Submit(t.Context(), v1.JobRequest{Target: target, Command: []string{"uptime"}})
	if err != nil || sub.Job == nil {
		t.Fatalf("submit to %s: %+v, %v", target, sub, err)
	}
	return sub.Job.ID
}

func names(nodes []mesh.Node) []mesh.NodeName {
	var out []mesh.NodeName
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

func TestNodes(t *testing.T) {
	e := estate(t)
	all, web := e.Client(t, auth.Viewer, ""), e.Client(t, auth.Viewer, "role=web")
	tests := []struct {
		name   string
		c      *client.Client
		filter v1.NodeFilter
		want   []mesh.NodeName
		total  int
		next   string
	}{
		{"all", all, v1.NodeFilter{}, []mesh.NodeName{"db1", "web1", "web2"}, 3, ""},
		{"a query", all, v1.NodeFilter{Query: "role=db"}, []mesh.NodeName{"db1"}, 1, ""},
		{"a query that matches none", all, v1.NodeFilter{Query: "role=dns"}, nil, 0, ""},
		{"the first page", all, v1.NodeFilter{Limit: 2}, []mesh.NodeName{"db1", "web1"}, 3, "web1"},
		{"the second page", all, v1.NodeFilter{Limit: 2, After: "web1"}, []mesh.NodeName{"web2"}, 3, ""},
		{"a page after a node that has left", all, v1.NodeFilter{After: "web0"}, []mesh.NodeName{"web1", "web2"}, 3, ""},
		{"a page that ends with the list", all, v1.NodeFilter{Limit: 3}, []mesh.NodeName{"db1", "web1", "web2"}, 3, ""},
		{"a scope", web, v1.NodeFilter{}, []mesh.NodeName{"web1", "web2"}, 2, ""},
		{"a query within a scope", web, v1.NodeFilter{Query: "name=web2"}, []mesh.NodeName{"web2"}, 1, ""},
		{"a query outside a scope", web, v1.NodeFilter{Query: "role=db"}, nil, 0, ""},
		{"a query that reaches for more", web, v1.NodeFilter{Query: "role=web or role=db"}, []mesh.NodeName{"web1", "web2"}, 2, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.Nodes(t.Context(), tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(got.Nodes)); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if got.Total != tt.total || got.Next != tt.next || !got.AsOf.Equal(apitest.AsOf()) {
				t.Errorf("total %d, next %q, as of %v; want %d, %q, %v", got.Total, got.Next, got.AsOf, tt.total, tt.next, apitest.AsOf())
			}
		})
	}
}

func TestNodeKeepsToTheScope(t *testing.T) {
	e := estate(t)
	web := e.Client(t, auth.Admin, "role=web")
	n, err := web.Node(t.Context(), "web1")
	if err != nil || n.Name != "web1" || n.Naming.Role != "web" {
		t.Errorf("a node of the scope: %+v, %v", n, err)
	}
	byID, err := web.Node(t.Context(), string(n.ID))
	if err != nil || byID.Name != "web1" {
		t.Errorf("by its id: %+v, %v", byID, err)
	}
	_, hidden := web.Node(t.Context(), "db1")
	_, missing := web.Node(t.Context(), "db9")
	wantCode(t, "a node outside", hidden, mesh.NotFound)
	if got, want := fmt.Sprint(hidden), strings.Replace(fmt.Sprint(missing), "db9", "db1", 1); got != want {
		t.Errorf("a hidden node is told from a missing one: %q, %q", got, want)
	}
	wantCode(t, "revoking outside", web.Revoke(t.Context(), "db1", "sold"), mesh.NotFound)
	if got := e.Revoked(); got != nil {
		t.Errorf("revoked %v", got)
	}
	wantCode(t, "revoking inside", web.Revoke(t.Context(), "web1", "sold"), "")
	if got := e.Revoked(); !slices.Equal(got, []mesh.NodeID{n.ID}) {
		t.Errorf("revoked %v, want %v", got, n.ID)
	}

	bare := mesh.Node{Name: "bare", DC: "dc1", Naming: mesh.Naming{Role: "web"}}
	e.SetNodes(bare)
	wantCode(t, "revoking a node without an agent", web.Revoke(t.Context(), "bare", "sold"), mesh.NotFound)
}

func TestMembersKeepToTheScope(t *testing.T) {
	e := estate(t)
	for scope, want := range map[string]int{"": 3, "role=web": 2, "role=dns": 0} {
		got, err := e.Client(t, auth.Viewer, scope).Members(t.Context())
		if err != nil || len(got.Members) != want {
			t.Errorf("scope %q: %d members, %v; want %d", scope, len(got.Members), err, want)
		}
	}
}

func TestJobs(t *testing.T) {
	e := estate(t)
	op := e.Client(t, auth.Operator, "")
	id := submit(t, op, "role=web")
	e.Report(id, "web1", mesh.OK, []byte("up 3 days\n"))

	got, err := op.Job(t.Context(), string(id)[:4])
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Job{
		ID: id, Attempt: 1, Author: "operator", Title: "uptime", Target: "role=web",
		Created: apitest.AsOf(), Expires: apitest.AsOf().Add(time.Hour), Phase: "run", Waves: 1,
		Counts: mesh.Counts{mesh.Pending: 1, mesh.OK: 1},
		Groups: []v1.Group{{ID: "PENDING", State: mesh.Pending, Count: 1, Nodes: "web2"}, {ID: "OK", State: mesh.OK, Count: 1, Nodes: "web1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the job (-want +got):\n%s", diff)
	}

	ok, err := op.Targets(t.Context(), string(id), v1.TargetFilter{State: mesh.OK})
	if err != nil || len(ok.Targets) != 1 || ok.Targets[0].Name != "web1" {
		t.Fatalf("targets in OK: %+v, %v; want web1", ok, err)
	}
	group, err := op.Targets(t.Context(), string(id), v1.TargetFilter{Group: got.Groups[0].ID})
	if err != nil || len(group.Targets) != 1 || group.Targets[0].Name != "web2" {
		t.Errorf("targets of the first group: %+v, %v; want web2", group, err)
	}
	var all []mesh.NodeName
	f := v1.TargetFilter{Limit: 1}
	for range 3 {
		page, err := op.Targets(t.Context(), string(id), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range page.Targets {
			all = append(all, target.Name)
		}
		if f.From = page.Next; f.From == 0 {
			break
		}
	}
	if diff := cmp.Diff([]mesh.NodeName{"web1", "web2"}, all); diff != "" {
		t.Errorf("all pages of targets (-want +got):\n%s", diff)
	}
	body, err := op.Output(t.Context(), string(id), ok.Targets[0].Stdout.Digest)
	if err != nil || string(body) != "up 3 days\n" {
		t.Errorf("output %q, %v", body, err)
	}
	_, err = op.Output(t.Context(), string(id), strings.Repeat("0", 64))
	wantCode(t, "an output that is none", err, mesh.NotFound)

	for _, s := range []struct {
		what  v1.Steer
		phase string
		wave  int
	}{{v1.Pause, "pause", 0}, {v1.Resume, "run", 0}, {v1.OpenWave, "run", 1}, {v1.Cancel, "cancel", 1}} {
		sub, err := op.Steer(t.Context(), string(id), s.what)
		if err != nil || sub.Job == nil {
			t.Fatalf("%s: %+v, %v", s.what, sub, err)
		}
		if j := sub.Job; j.Phase != s.phase || j.Wave != s.wave {
			t.Errorf("%s: phase %q, wave %d; want %q, %d", s.what, j.Phase, j.Wave, s.phase, s.wave)
		}
	}
	_, err = op.Steer(t.Context(), string(id), "explode")
	wantCode(t, "an unknown way to steer", err, mesh.NotFound)
}

func TestScriptsTravelWhole(t *testing.T) {
	e := estate(t)
	op := e.Client(t, auth.Operator, "")
	_, err := op.Submit(t.Context(), v1.JobRequest{
		Target: "all",
		Script: &v1.ScriptFile{Name: "x", Body: bytes.Repeat([]byte{0, 0xff, '\n'}, mesh.MaxScript/3)},
		Env:    map[string]string{"A": strings.Repeat("b", 200<<10)},
	})
	wantCode(t, "the largest script", err, "")
	_, err = op.Submit(t.Context(), v1.JobRequest{Target: "all", Script: &v1.ScriptFile{Name: "x", Body: make([]byte, 2*mesh.MaxScript)}})
	wantCode(t, "twice as large", err, mesh.TooLarge)
}

func TestJobsPageByPage(t *testing.T) {
	e := estate(t)
	op := e.Client(t, auth.Operator, "")
	var want []mesh.JobID
	for range 5 {
		want = slices.Insert(want, 0, submit(t, op, "all"))
	}
	var got []mesh.JobID
	f := v1.JobFilter{Limit: 2}
	for range 4 {
		page, err := op.Jobs(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			got = append(got, j.ID)
		}
		if f.Before = page.Next; f.Before == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}
	e.Report(want[1], "web1", mesh.Failed, nil)
	failed, err := op.Jobs(t.Context(), v1.JobFilter{State: mesh.Failed, Open: true, Author: "operator"})
	if err != nil || len(failed.Jobs) != 1 || failed.Jobs[0].ID != want[1] {
		t.Errorf("failed jobs: %+v, %v; want %s", failed, err, want[1])
	}
}

func TestPrefixesMustBeUnique(t *testing.T) {
	e := estate(t)
	op := e.Client(t, auth.Operator, "")
	byPrefix := map[string][]mesh.JobID{}
	for len(byPrefix) < 3000 { // ids are random: soon two share four digits.
		id := submit(t, op, "db1")
		p := string(id)[:4]
		byPrefix[p] = append(byPrefix[p], id)
		if two := byPrefix[p]; len(two) == 2 {
			_, err := op.Job(t.Context(), p)
			wantCode(t, "a prefix of two jobs", err, mesh.Conflict)
			for _, id := range two {
				if j, err := op.Job(t.Context(), string(id)); err != nil || j.ID != id {
					t.Errorf("the whole id %s: %s, %v", id, j.ID, err)
				}
			}
			return
		}
	}
	t.Error("three thousand ids shared no four digits")
}

func TestJobsKeepToTheScope(t *testing.T) {
	e := estate(t)
	admin, web := e.Client(t, auth.Admin, ""), e.Client(t, auth.Operator, "role=web")
	both, db := submit(t, admin, "all"), submit(t, admin, "role=db")
	e.Report(both, "db1", mesh.OK, []byte("secret"))

	list, err := web.Jobs(t.Context(), v1.JobFilter{})
	if err != nil || len(list.Jobs) != 1 || list.Jobs[0].ID != both {
		t.Errorf("the list: %+v, %v; want %s alone", list.Jobs, err, both)
	}
	j, err := web.Job(t.Context(), string(both))
	if diff := cmp.Diff([]v1.Group{{ID: "PENDING", State: mesh.Pending, Count: 2, Nodes: "web[1-2]"}}, j.Groups); diff != "" || err != nil || j.Hidden != 1 {
		t.Errorf("a job that is part outside: %d hidden, %v (-want +got):\n%s", j.Hidden, err, diff)
	}
	if targets, err := web.Targets(t.Context(), string(both), v1.TargetFilter{}); err != nil || len(targets.Targets) != 2 {
		t.Errorf("its targets: %+v, %v; want 2", targets, err)
	}
	_, err = web.Job(t.Context(), string(db))
	wantCode(t, "a job outside", err, mesh.NotFound)
	_, err = web.Job(t.Context(), string(db)[:6])
	wantCode(t, "its prefix", err, mesh.NotFound)
	_, err = web.Output(t.Context(), string(both), mesh.Digest([]byte("secret")))
	wantCode(t, "output of a node outside", err, mesh.NotFound)
	_, err = web.Steer(t.Context(), string(both), v1.Cancel)
	wantCode(t, "cancelling for a node outside", err, mesh.Denied)
	_, err = web.Submit(t.Context(), v1.JobRequest{Target: "all", Command: []string{"x"}})
	wantCode(t, "submitting outside", err, mesh.Denied)
	submit(t, web, "role=web")
}

func TestDrafts(t *testing.T) {
	e := estate(t)
	e.NeedKey(true)
	op := e.Client(t, auth.Operator, "")
	sub, err := op.Submit(t.Context(), v1.JobRequest{Target: "all", Command: []string{"x"}})
	if err != nil || sub.Job != nil || sub.Draft == nil || string(sub.Draft.Payload) != `{"v":1}` || sub.Draft.Type != sign.TypeJob {
		t.Fatalf("got %+v, %v; want a draft", sub, err)
	}
	_, err = op.Sign(t.Context(), sub.Draft.Job, sign.Envelope{Type: sign.TypeJob, Payload: []byte("{}"), Sig: []byte{1}})
	wantCode(t, "an empty signature", err, mesh.Denied)
	key := sign.GenerateKey()
	env := key.Seal(sub.Draft.Type, sub.Draft.Payload, nil)
	signed, err := op.Sign(t.Context(), sub.Draft.Job, env)
	if err != nil || signed.Job == nil || signed.Job.ID != sub.Draft.Job {
		t.Errorf("signed: %+v, %v", signed, err)
	}
	_, err = op.Sign(t.Context(), sub.Draft.Job, env)
	wantCode(t, "a draft that is gone", err, mesh.NotFound)
}

func TestSubmittingTwice(t *testing.T) {
	e := estate(t)
	c := as(t, e, auth.Operator, "")
	post := func(body string) (int, v1.Submission) {
		t.Helper()
		a := c.do(http.MethodPost, "/v1/jobs", body)
		var sub v1.Submission
		if err := json.Unmarshal(a.body, &sub); err != nil {
			t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		return a.status, sub
	}
	const body = `{"target":"all","command":["x"],"submit_token":"once"}`
	first, one := post(body)
	again, two := post(body)
	if first != http.StatusCreated || again != http.StatusOK || one.Job.ID != two.Job.ID || one.Repeated || !two.Repeated {
		t.Errorf("got %d %+v, then %d %+v; want the same job, made once", first, one, again, two)
	}
	e.NeedKey(true)
	if draft, sub := post(`{"target":"all","command":["x"]}`); draft != http.StatusAccepted || sub.Draft == nil {
		t.Errorf("got %d %+v, want 202 and a draft", draft, sub)
	}
}

func TestTokens(t *testing.T) {
	e := estate(t)
	admin := e.Client(t, auth.Admin, "")
	made, err := admin.CreateToken(t.Context(), v1.TokenRequest{Name: "ci", Role: "operator", Scope: "role=web", TTL: 3600})
	if err != nil || made.Text == "" || made.CreatedBy != "admin" || made.Expires.Sub(made.Created) != time.Hour {
		t.Fatalf("made %+v, %v", made, err)
	}
	list, err := admin.Tokens(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(tok v1.Token) bool { return cmp.Equal(tok, made.Token) }) {
		t.Errorf("the list lacks it: %+v, %v", list, err)
	}
	c, err := client.New(client.Options{Address: e.Address, CAPEM: e.CAPEM, Token: made.Text})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Nodes(t.Context(), v1.NodeFilter{}); err != nil || got.Total != 2 {
		t.Errorf("it sees %d nodes, %v; want 2", got.Total, err)
	}
	wantCode(t, "deleting it", admin.DeleteToken(t.Context(), made.ID), "")
	_, err = c.Nodes(t.Context(), v1.NodeFilter{})
	wantCode(t, "using it after that", err, mesh.Unauthorized)
	wantCode(t, "deleting it again", admin.DeleteToken(t.Context(), made.ID), mesh.NotFound)
	_, err = admin.CreateToken(t.Context(), v1.TokenRequest{Name: "ci", Role: "root"})
	wantCode(t, "an unknown role", err, mesh.Invalid)
}

func TestJoinTokens(t *testing.T) {
	e := estate(t)
	admin := e.Client(t, auth.Admin, "")
	made, err := admin.CreateJoinToken(t.Context(), v1.JoinTokenRequest{Role: "datanode", Reusable: true, TTL: 60})
	if err != nil || made.Text == "" || made.CreatedBy != "admin" {
		t.Fatalf("made %+v, %v", made, err)
	}
	list, err := admin.JoinTokens(t.Context())
	if diff := cmp.Diff([]v1.JoinToken{made.JoinToken}, list); diff != "" || err != nil {
		t.Errorf("the list: %v (-want +got):\n%s", err, diff)
	}
	wantCode(t, "ending it", admin.ExpireJoinToken(t.Context(), made.ID), "")
	wantCode(t, "ending another", admin.ExpireJoinToken(t.Context(), "nope"), mesh.NotFound)
}
