package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// wantAudit compares the audit, but for what differs between two runs.
func wantAudit(t *testing.T, e *apitest.Estate, want []mesh.Audit) {
	t.Helper()
	if diff := cmp.Diff(want, e.Audited(), cmpopts.IgnoreFields(mesh.Audit{}, "Time", "Reason")); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
}

func check(id string, status mesh.Health, service, output string) mesh.Check {
	c := mesh.Check{ID: id, Name: id, Status: status, Output: output}
	if service != "" {
		c.ServiceID, c.Service = service, "web"
	}
	return c
}

// TestServicesCount puts one node with two instances under every kind of
// checks.
func TestServicesCount(t *testing.T) {
	const pass, warn, crit, unknown = mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown
	tests := []struct {
		name     string
		checks   []mesh.Check
		one, two mesh.Health // of the instances w1 and w2.
	}{
		{"no check", nil, pass, pass},
		{"all pass", []mesh.Check{check("n", pass, "", ""), check("a", pass, "w1", "")}, pass, pass},
		{"one of two instances", []mesh.Check{check("a", warn, "w1", ""), check("b", pass, "w2", "")}, warn, pass},
		{"the node counts for both", []mesh.Check{check("n", crit, "", ""), check("a", pass, "w1", ""), check("b", warn, "w2", "")}, crit, crit},
		{"the worst of its own", []mesh.Check{check("a", warn, "w1", ""), check("b", crit, "w1", ""), check("c", pass, "w1", "")}, crit, pass},
		{"its own is worse than its node", []mesh.Check{check("n", warn, "", ""), check("a", crit, "w1", "")}, crit, warn},
		{"a TTL that has expired", []mesh.Check{check("a", crit, "w1", "TTL expired (last output before timeout follows)")}, unknown, pass},
		{"a warning that says unknown", []mesh.Check{check("a", warn, "w2", "UNKNOWN: cannot ask")}, pass, unknown},
		{"unknown is worse than warning", []mesh.Check{check("n", warn, "", ""), check("a", unknown, "w1", "")}, unknown, warn},
		{"critical is worse than unknown", []mesh.Check{check("n", crit, "", ""), check("a", unknown, "w1", "")}, crit, crit},
		{"a check of another service", []mesh.Check{{ID: "x", Status: crit, ServiceID: "db", Service: "db"}}, pass, pass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := apitest.Start(t)
			n := apitest.Node("web1", "web")
			n.Services = []mesh.Service{
				{ID: "w2", Name: "web", Port: 81, Address: "10.0.0.9", Tags: []string{"blue"}},
				{ID: "w1", Name: "web", Port: 80, Tags: []string{"red", "blue"}},
			}
			n.Checks = tt.checks
			e.SetNodes(n)
			got, err := e.Client(t, auth.Viewer, "").Service(t.Context(), "web", "")
			if err != nil {
				t.Fatal(err)
			}
			want := v1.ServiceSummary{Name: "web", DC: "dc1", Tags: []string{"blue", "red"}, Instances: 2}
			for _, h := range []mesh.Health{tt.one, tt.two} {
				*map[mesh.Health]*int{pass: &want.Passing, warn: &want.Warning, crit: &want.Critical, unknown: &want.Unknown}[h]++
			}
			if diff := cmp.Diff(want, got.ServiceSummary); diff != "" {
				t.Errorf("the summary (-want +got):\n%s", diff)
			}
			instances := []v1.ServiceInstance{
				{ID: "w1", Node: "web1", Address: "127.0.0.1", Port: 80, Tags: []string{"red", "blue"}, Status: tt.one},
				{ID: "w2", Node: "web1", Address: "10.0.0.9", Port: 81, Tags: []string{"blue"}, Status: tt.two},
			}
			if diff := cmp.Diff(instances, got.List, cmpopts.IgnoreFields(v1.ServiceInstance{}, "Checks")); diff != "" {
				t.Errorf("the instances (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"web.service.dc1.alps"}, got.DNS); diff != "" {
				t.Errorf("its names (-want +got):\n%s", diff)
			}
			list, err := e.Client(t, auth.Viewer, "").Services(t.Context(), "dc1")
			if diff := cmp.Diff([]v1.ServiceSummary{want}, list.Services); diff != "" || err != nil || !list.AsOf.Equal(apitest.AsOf()) {
				t.Errorf("the list: as of %v, %v (-want +got):\n%s", list.AsOf, err, diff)
			}
		})
	}
}

func TestServicesKeepToTheScope(t *testing.T) {
	e := apitest.Start(t)
	with := func(dc, name, role string, services ...string) mesh.Node {
		n := apitest.Node(name, role)
		n.DC = dc
		for _, s := range services {
			n.Services = append(n.Services, mesh.Service{ID: s, Name: s})
		}
		return n
	}
	e.SetNodes(with("dc1", "web1", "web", "web", "log"), with("dc1", "db1", "db", "sql", "log"), with("dc2", "web9", "web", "web"), with("dc1", "idle", "web"))
	tests := []struct {
		name, scope, dc string
		want            map[string]int // instances by place.
	}{
		{"all", "", "", map[string]int{"dc1/log": 2, "dc1/sql": 1, "dc1/web": 1, "dc2/web": 1}},
		{"a datacenter", "", "dc2", map[string]int{"dc2/web": 1}},
		{"a datacenter that is none", "", "dc3", map[string]int{}},
		{"a scope", "role=db", "", map[string]int{"dc1/log": 1, "dc1/sql": 1}},
		{"a scope over both datacenters", "role=web", "", map[string]int{"dc1/log": 1, "dc1/web": 1, "dc2/web": 1}},
		{"a scope over nothing", "role=dns", "", map[string]int{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := e.Client(t, auth.Viewer, tt.scope)
			list, err := c.Services(t.Context(), tt.dc)
			got := map[string]int{}
			for _, s := range list.Services {
				got[s.DC+"/"+s.Name] = s.Instances
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			log, err := c.Service(t.Context(), "log", tt.dc)
			if n := tt.want["dc1/log"]; n > 0 && (err != nil || len(log.List) != n) {
				t.Errorf("log has %+v, %v; want %d instances", log.List, err, n)
			} else if n == 0 {
				wantCode(t, "a service outside", err, mesh.NotFound)
			}
		})
	}
	all := e.Client(t, auth.Viewer, "")
	for _, tt := range []struct{ dc, want string }{{"", "dc1"}, {"dc2", "dc2"}} {
		if got, err := all.Service(t.Context(), "web", tt.dc); err != nil || got.DC != tt.want {
			t.Errorf("web in %q is that of %q, %v; want %q", tt.dc, got.DC, err, tt.want)
		}
	}
	_, err := all.Service(t.Context(), "a/b?c", "")
	wantCode(t, "an odd name", err, mesh.NotFound)
	_, err = all.Service(t.Context(), "", "")
	wantCode(t, "no name", err, mesh.Invalid)
}

func TestTomography(t *testing.T) {
	tests := []struct {
		name, scope string
		rtts        map[mesh.NodeName]float64
		want        v1.Tomography
	}{
		{"no coordinates", "", nil, v1.Tomography{Peers: []v1.RTT{}}},
		{"itself is no peer", "", map[mesh.NodeName]float64{"web1": 0}, v1.Tomography{Peers: []v1.RTT{}}},
		{"one peer", "", map[mesh.NodeName]float64{"web1": 0, "a": 2}, v1.Tomography{Min: 2, Median: 2, Max: 2, Peers: []v1.RTT{{Node: "a", MS: 2}}}},
		{"two", "", map[mesh.NodeName]float64{"a": 4, "b": 1}, v1.Tomography{Min: 1, Median: 2.5, Max: 4, Peers: []v1.RTT{{Node: "b", MS: 1}, {Node: "a", MS: 4}}}},
		{"three, two of them alike", "", map[mesh.NodeName]float64{"c": 1, "b": 9, "a": 1}, v1.Tomography{
			Min: 1, Median: 1, Max: 9, Peers: []v1.RTT{{Node: "a", MS: 1}, {Node: "c", MS: 1}, {Node: "b", MS: 9}},
		}},
		{"four", "", map[mesh.NodeName]float64{"a": 8, "b": 4, "c": 2, "d": 1}, v1.Tomography{
			Min: 1, Median: 3, Max: 8, Peers: []v1.RTT{{Node: "d", MS: 1}, {Node: "c", MS: 2}, {Node: "b", MS: 4}, {Node: "a", MS: 8}},
		}},
		{"a scope", "role=web", map[mesh.NodeName]float64{"db1": 1, "web2": 5, "gone": 2}, v1.Tomography{
			Min: 5, Median: 5, Max: 5, Peers: []v1.RTT{{Node: "web2", MS: 5}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := estate(t)
			e.Loop.Change(func(s *apitest.LoopState) { s.RTTs = tt.rtts })
			got, err := e.Client(t, auth.Viewer, tt.scope).NodeRTT(t.Context(), "web1")
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPagesOfANodeKeepToTheScope(t *testing.T) {
	e := estate(t)
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Sessions = map[mesh.NodeName][]v1.LockSession{
			"web1": {{Session: mesh.Session{ID: "s1", Node: "web1", Behavior: "release"}}, {Session: mesh.Session{ID: "s2", Node: "web1"}, Keys: []string{"lock"}}},
		}
		s.Settings = []mesh.Setting{{Name: "log", Value: "debug", From: "alps/config/role/web/log", Over: []string{"alps/config/global/log"}}}
	})
	web := e.Client(t, auth.Viewer, "role=web")
	sessions, err := web.NodeSessions(t.Context(), "web1")
	if err != nil || len(sessions.Sessions) != 2 || sessions.Sessions[0].Keys == nil || len(sessions.Sessions[1].Keys) != 1 {
		t.Errorf("sessions: %+v, %v", sessions, err)
	}
	if none, err := web.NodeSessions(t.Context(), "web2"); err != nil || none.Sessions == nil || len(none.Sessions) != 0 {
		t.Errorf("sessions of a node without: %+v, %v", none, err)
	}
	config, err := web.NodeConfig(t.Context(), "web1")
	if diff := cmp.Diff(e.Loop.State().Settings, config.Settings); diff != "" || err != nil {
		t.Errorf("configuration: %v (-want +got):\n%s", err, diff)
	}
	c := as(t, e, auth.Viewer, "role=web")
	for _, page := range []string{"checks", "sessions", "rtt", "config"} {
		hidden, missing := c.do(http.MethodGet, "/v1/nodes/db1/"+page, ""), c.do(http.MethodGet, "/v1/nodes/db9/"+page, "")
		if got, want := hidden.problem.Detail, strings.Replace(missing.problem.Detail, "db9", "db1", 1); hidden.status != http.StatusNotFound || got != want {
			t.Errorf("%s of a hidden node: %d %q, of a missing one %q", page, hidden.status, got, want)
		}
	}
}

func TestDatacentersAndACL(t *testing.T) {
	e := estate(t)
	admin := e.Client(t, auth.Admin, "")
	dcs, err := admin.Datacenters(t.Context())
	if err != nil || dcs == nil || len(dcs) != 0 {
		t.Errorf("no datacenters: %#v, %v; want an empty list", dcs, err)
	}
	acl, err := admin.ACL(t.Context(), "")
	if diff := cmp.Diff(v1.ACL{Tokens: []v1.ACLEntry{}, Policies: []v1.ACLEntry{}}, acl); diff != "" || err != nil {
		t.Errorf("no ACL: %v (-want +got):\n%s", err, diff)
	}
	want := []v1.Datacenter{{Name: "dc1", Own: true, Nodes: 3, Loaded: true}, {Name: "dc2", Away: apitest.AsOf(), Error: "no path"}}
	full := v1.ACL{Enabled: true, Tokens: []v1.ACLEntry{{ID: "1", Policies: []string{"p"}}}, Policies: []v1.ACLEntry{{ID: "2", Name: "p"}}}
	e.Loop.Change(func(s *apitest.LoopState) { s.Datacenters, s.ACL = want, full })
	if dcs, err = admin.Datacenters(t.Context()); err != nil || !cmp.Equal(dcs, want) {
		t.Errorf("datacenters: %+v, %v", dcs, err)
	}
	if acl, err = admin.ACL(t.Context(), ""); err != nil || !cmp.Equal(acl, full) {
		t.Errorf("ACL: %+v, %v", acl, err)
	}
}

func TestUI(t *testing.T) {
	e := apitest.Start(t)
	nobody := newCaller(t, e, "")
	for _, tt := range []struct {
		name, method, path string
		status             int
		ui                 bool
	}{
		{"the bare address", "GET", "/", 200, true},
		{"the pages", "GET", "/ui/", 200, true},
		{"a page within", "GET", "/ui/nodes/web1?tab=checks", 200, true},
		{"without its body", "HEAD", "/ui/", 200, true},
		{"writing a page", "POST", "/ui/", 405, false},
		{"the API, unknown", "GET", "/v1/ui/", 404, false},
		{"the API", "GET", "/v1/nodes", 401, false},
		{"beside both", "GET", "/uix", 404, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nobody.t = t
			a := nobody.do(tt.method, tt.path, "")
			path, _, _ := strings.Cut(tt.path, "?")
			if page := string(a.body) == "<!doctype html>"+path || tt.method == http.MethodHead; a.status != tt.status || page != tt.ui {
				t.Errorf("got %d %q, want %d, of the UI: %v", a.status, a.body, tt.status, tt.ui)
			}
			policy := map[bool]string{true: apitest.UIPolicy}[tt.ui]
			if got := a.header.Get("Content-Security-Policy"); got != policy {
				t.Errorf("the policy is %q, want %q", got, policy)
			}
		})
	}
	forged := newCaller(t, e, "alps.0123abcd."+strings.Repeat("A", 43))
	if a := forged.do(http.MethodGet, "/ui/", ""); a.status != http.StatusUnauthorized {
		t.Errorf("with a forged token: %d, want 401", a.status)
	}
}
