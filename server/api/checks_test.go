package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// loop is an estate with two web nodes, a db node without an agent, and a node
// of the same name as one of them in another datacenter.
func loop(t *testing.T) *apitest.Estate {
	t.Helper()
	e := apitest.Start(t)
	bare, far := apitest.Node("db1", "db"), apitest.Node("web1", "dns")
	bare.ID, far.DC = "", "dc2"
	e.SetNodes(apitest.Node("web1", "web"), apitest.Node("web2", "web"), bare, far)
	return e
}

// idOf is the id of a node.
func idOf(t *testing.T, e *apitest.Estate, dc string, name mesh.NodeName) mesh.NodeID {
	t.Helper()
	list, err := e.Client(t, auth.Viewer, "").Nodes(t.Context(), v1.NodeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(list.Nodes, func(n mesh.Node) bool { return n.DC == dc && n.Name == name })
	if at < 0 {
		t.Fatalf("there is no node %s in %s", name, dc)
	}
	return list.Nodes[at].ID
}

func checkOn(dc string, node mesh.NodeName, id string, status mesh.Health) mesh.CheckState {
	return mesh.CheckState{
		DC: dc, Node: node, NodeID: mesh.NodeID("of " + node), Status: status, Source: mesh.SourceLink,
		Result: mesh.CheckResult{Check: id, Name: "the " + id, Status: status, At: apitest.AsOf()},
	}
}

// someChecks are those of loop, in no order.
func someChecks() []mesh.CheckState {
	bare := checkOn("dc1", "db1", "disk", mesh.HealthCritical)
	bare.NodeID, bare.Source = "", mesh.SourceCatalog
	return []mesh.CheckState{
		checkOn("dc2", "web1", "http", mesh.HealthPassing),
		checkOn("dc1", "web2", "http", mesh.HealthUnknown),
		checkOn("dc1", "web1", "http", mesh.HealthWarning),
		checkOn("dc1", "web1", "disk", mesh.HealthPassing),
		bare,
		checkOn("dc1", "left", "disk", mesh.HealthCritical), // of no node that is known.
	}
}

// rows are checks in one line each.
func rows(list []mesh.CheckState) []string {
	out := []string{}
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s/%s/%s", c.DC, c.Node, c.Result.Check))
	}
	return out
}

func TestChecks(t *testing.T) {
	e := loop(t)
	e.Loop.Change(func(s *apitest.LoopState) { s.Checks = someChecks() })
	all, web := e.Client(t, auth.Viewer, ""), e.Client(t, auth.Viewer, "role=web")
	every := []string{"dc1/db1/disk", "dc1/left/disk", "dc1/web1/disk", "dc1/web1/http", "dc1/web2/http", "dc2/web1/http"}
	tests := []struct {
		name   string
		c      *client.Client
		filter v1.CheckFilter
		want   []string
		total  int
	}{
		{"all", all, v1.CheckFilter{}, every, 6},
		{"by id", all, v1.CheckFilter{Check: "disk"}, []string{"dc1/db1/disk", "dc1/left/disk", "dc1/web1/disk"}, 3},
		{"by name", all, v1.CheckFilter{Check: "the disk"}, []string{"dc1/db1/disk", "dc1/left/disk", "dc1/web1/disk"}, 3},
		{"a check that is none", all, v1.CheckFilter{Check: "dis"}, []string{}, 0},
		{"by status", all, v1.CheckFilter{Status: mesh.HealthCritical}, []string{"dc1/db1/disk", "dc1/left/disk"}, 2},
		{"a query leaves out what the inventory does not know", all, v1.CheckFilter{Query: "all"}, []string{"dc1/db1/disk", "dc1/web1/disk", "dc1/web1/http", "dc1/web2/http", "dc2/web1/http"}, 5},
		{"a query tells datacenters apart", all, v1.CheckFilter{Query: "role=web"}, []string{"dc1/web1/disk", "dc1/web1/http", "dc1/web2/http"}, 3},
		{"a query, a check and a status", all, v1.CheckFilter{Query: "role=web", Check: "http", Status: mesh.HealthUnknown}, []string{"dc1/web2/http"}, 1},
		{"a scope", web, v1.CheckFilter{}, []string{"dc1/web1/disk", "dc1/web1/http", "dc1/web2/http"}, 3},
		{"a query that reaches for more", web, v1.CheckFilter{Query: "role=db or name=web1"}, []string{"dc1/web1/disk", "dc1/web1/http"}, 2},
		{"a query outside a scope", web, v1.CheckFilter{Query: "role=db"}, []string{}, 0},
		{"a page that ends with the list", all, v1.CheckFilter{Limit: 6}, every, 6},
		{"after one that has vanished", all, v1.CheckFilter{After: "dc1/web1/ftp"}, every[3:], 6},
		{"after the last", all, v1.CheckFilter{After: "dc9/x/y"}, []string{}, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.Checks(t.Context(), tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, rows(got.Checks)); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
			if got.Total != tt.total || got.Next != "" {
				t.Errorf("total %d, next %q; want %d and no next", got.Total, got.Next, tt.total)
			}
		})
	}
}

func TestChecksPageByPage(t *testing.T) {
	e := loop(t)
	list := append(someChecks(), checkOn("dc1", "a b/c%", "http://x/?a=b&c", mesh.HealthPassing))
	e.Loop.Change(func(s *apitest.LoopState) { s.Checks = list })
	c := e.Client(t, auth.Viewer, "")
	var got []string
	f := v1.CheckFilter{Limit: 2}
	for range 10 {
		page, err := c.Checks(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Checks) > 2 || page.Total != len(list) {
			t.Errorf("a page of %d of %d, want at most 2 of 7", len(page.Checks), page.Total)
		}
		got = append(got, rows(page.Checks)...)
		if f.After = page.Next; f.After == "" {
			break
		}
		if strings.ContainsFunc(f.After, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("no script can carry %q", f.After)
		}
		// The one that the page ended with has vanished when the next is read.
		last := page.Checks[1]
		e.Loop.Change(func(s *apitest.LoopState) {
			s.Checks = slices.DeleteFunc(slices.Clone(s.Checks), func(x mesh.CheckState) bool { return cmp.Equal(x, last) })
			list = s.Checks
		})
	}
	want := []string{"dc1/a b/c%/http://x/?a=b&c", "dc1/db1/disk", "dc1/left/disk", "dc1/web1/disk", "dc1/web1/http", "dc1/web2/http", "dc2/web1/http"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}
	for _, after := range []string{"x", "a/b", "a/b/c/d", "dc1/%zz/x", "dc1\x00web1\x00disk"} {
		_, err := c.Checks(t.Context(), v1.CheckFilter{After: after})
		wantCode(t, "after "+url.QueryEscape(after), err, mesh.Invalid)
	}
}

func TestChecksOfANode(t *testing.T) {
	e := loop(t)
	e.Loop.Change(func(s *apitest.LoopState) { s.Checks = someChecks() })
	web := e.Client(t, auth.Viewer, "role=web")
	got, err := web.NodeChecks(t.Context(), string(idOf(t, e, "dc1", "web1")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dc1/web1/disk", "dc1/web1/http"}, rows(got.Checks)); diff != "" || got.Total != 2 {
		t.Errorf("total %d (-want +got):\n%s", got.Total, diff)
	}
	_, err = web.NodeChecks(t.Context(), "db1")
	wantCode(t, "a node outside", err, mesh.NotFound)
}

func TestRunCheck(t *testing.T) {
	const elsewhere = "ALPS does not run this check there"
	tests := []struct {
		name, scope string
		ask         v1.RunCheckRequest
		asked       []mesh.NodeName
		missed      map[string]string
		code        mesh.Code
	}{
		{"by id, everywhere", "", v1.RunCheckRequest{Check: "disk"}, []mesh.NodeName{"web1"}, map[string]string{"db1": elsewhere}, ""},
		{"by name", "", v1.RunCheckRequest{Check: "the disk", Target: "role=web"}, []mesh.NodeName{"web1"}, nil, ""},
		{"a node that hears nothing", "role=web", v1.RunCheckRequest{Check: "http"}, []mesh.NodeName{"web1"}, map[string]string{"web2": "its agent has no link"}, ""},
		{"a scope reaches no further", "role=db", v1.RunCheckRequest{Check: "disk", Target: "all"}, []mesh.NodeName{}, map[string]string{"db1": elsewhere}, ""},
		{"outside the scope", "role=db", v1.RunCheckRequest{Check: "http"}, nil, nil, mesh.NotFound},
		{"a target outside the scope", "role=db", v1.RunCheckRequest{Check: "disk", Target: "role=web"}, nil, nil, mesh.NotFound},
		{"of a node that has left", "", v1.RunCheckRequest{Check: "disk", Target: "name=left"}, nil, nil, mesh.NotFound},
		{"a check that is none", "", v1.RunCheckRequest{Check: "nope"}, nil, nil, mesh.NotFound},
		{"a broken query", "", v1.RunCheckRequest{Check: "disk", Target: "role="}, nil, nil, mesh.Invalid},
		{"no check", "", v1.RunCheckRequest{}, nil, nil, mesh.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := loop(t)
			web1, web2, far := idOf(t, e, "dc1", "web1"), idOf(t, e, "dc1", "web2"), idOf(t, e, "dc2", "web1")
			e.Loop.Change(func(s *apitest.LoopState) { s.Checks, s.Deaf = someChecks(), []mesh.NodeID{web2} })
			before := time.Now().UTC()
			got, err := e.Client(t, auth.Operator, tt.scope).RunCheck(t.Context(), tt.ask)
			wantCode(t, "running it", err, tt.code)
			if diff := cmp.Diff(tt.missed, got.Missed); diff != "" || !slices.Equal(tt.asked, got.Asked) {
				t.Errorf("asked %v, want %v; missed (-want +got):\n%s", got.Asked, tt.asked, diff)
			}
			if err == nil && (got.Since.Before(before) || got.Since.After(time.Now())) {
				t.Errorf("since %v, want between %v and now", got.Since, before)
			}
			ran := len(e.Loop.Ran(web1))
			if want := min(1, strings.Count(fmt.Sprint(tt.asked), "web1")); ran != want || e.Loop.Ran(far) != nil {
				t.Errorf("web1 was asked for %d checks, its namesake for %v; want %d and none", ran, e.Loop.Ran(far), want)
			}
		})
	}
}

func TestRunCheckOnMany(t *testing.T) {
	e := apitest.Start(t)
	var nodes []mesh.Node
	var checks []mesh.CheckState
	var want []mesh.NodeName
	for i := range 100 {
		n := apitest.Node(fmt.Sprintf("web%02d", i), "web")
		nodes, want = append(nodes, n), append(want, n.Name)
		checks = append(checks, checkOn("dc1", n.Name, "http", mesh.HealthPassing), checkOn("dc1", n.Name, "https", mesh.HealthPassing))
		checks[len(checks)-1].Result.Name = "the http"
	}
	e.SetNodes(nodes...)
	e.Loop.Change(func(s *apitest.LoopState) { s.Checks = checks })
	op := e.Client(t, auth.Operator, "")
	got, err := op.RunCheck(t.Context(), v1.RunCheckRequest{Check: "the http"})
	if err != nil || !slices.Equal(got.Asked, want) || got.Missed != nil {
		t.Errorf("asked %v, missed %v, %v; want %v", got.Asked, got.Missed, err, want)
	}
	for _, n := range nodes {
		if diff := cmp.Diff([]string{"http", "https"}, e.Loop.Ran(n.ID)); diff != "" {
			t.Errorf("%s ran (-want +got):\n%s", n.Name, diff)
		}
	}

	e.Loop.Change(func(s *apitest.LoopState) { s.RunFault = fmt.Errorf("write /var/lib/alps/secret") })
	got, err = op.RunCheck(t.Context(), v1.RunCheckRequest{Check: "http", Target: "name=web07"})
	if err != nil || len(got.Asked) != 0 || !strings.Contains(got.Missed["web07"], "a fault in the server") || strings.Contains(got.Missed["web07"], "secret") {
		t.Errorf("a fault of ours: %+v, %v", got, err)
	}
	lines := e.Audited()
	if l := lines[len(lines)-1]; l.Action != "check.run" || l.Object != "http" || l.Detail["target"] != "name=web07" || l.Outcome != mesh.OutcomeDone {
		t.Errorf("the audit says %+v", l)
	}
}
