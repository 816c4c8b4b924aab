package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/api"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

var update = flag.Bool("update", false, "accept what is as what should be")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller sends raw requests to an estate's server.
type caller struct {
	t     *testing.T
	e     *apitest.Estate
	http  *http.Client
	token string
}

func newCaller(t *testing.T, e *apitest.Estate, token string) *caller {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.CAPEM)
	conns := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(conns.CloseIdleConnections)
	return &caller{t: t, e: e, http: &http.Client{Transport: conns}, token: token}
}

// as returns a caller with a fresh token of the role and scope.
func as(t *testing.T, e *apitest.Estate, role auth.Role, scope string) *caller {
	t.Helper()
	return newCaller(t, e, e.Token(t, auth.Request{Name: string(role), Role: role, Scope: scope}))
}

func (c *caller) request(method, path, body string, headers ...string) *http.Request {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+c.e.Address+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// answer is what came back. Status is 0 when the server cut the line.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem v1.Problem
}

// send sends a request and reads the answer; of an event stream only the
// header.
func (c *caller) send(req *http.Request) answer {
	c.t.Helper()
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		c.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	kind := resp.Header.Get("Content-Type")
	if kind == "text/event-stream" {
		return a
	}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	if a.status >= 400 {
		if kind != v1.ProblemType {
			c.t.Errorf("%s %s: %d as %q, want a problem: %s", req.Method, req.URL.Path, a.status, kind, a.body)
		} else if err := json.Unmarshal(a.body, &a.problem); err != nil {
			c.t.Errorf("%s %s: %v: %s", req.Method, req.URL.Path, err, a.body)
		}
		if a.problem.Status != a.status || a.problem.Request != resp.Header.Get("X-Request-Id") || a.problem.Detail == "" {
			c.t.Errorf("%s %s: problem %+v does not fit its answer (%d, request %s)",
				req.Method, req.URL.Path, a.problem, a.status, resp.Header.Get("X-Request-Id"))
		}
	}
	return a
}

func (c *caller) do(method, path, body string) answer {
	c.t.Helper()
	return c.send(c.request(method, path, body))
}

func TestOpenAPI(t *testing.T) {
	e := apitest.Start(t)
	got := newCaller(t, e, "").do(http.MethodGet, "/v1/openapi.json", "").body
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the API has changed; look at the difference, then run with -update (-want +got):\n%s", diff)
	}
	for _, leaked := range []string{"ErrorModel", "ErrorDetail", "$schema"} {
		if bytes.Contains(got, []byte(leaked)) {
			t.Errorf("the document speaks of the framework's %s", leaked)
		}
	}
}

// TestPathParameters finds a handler that does not read what its path names.
func TestPathParameters(t *testing.T) {
	e := apitest.Start(t)
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(newCaller(t, e, "").do(http.MethodGet, "/v1/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, p := range op.Parameters {
				if p.In == "path" {
					path = strings.Replace(path, "{"+p.Name+"}", "", 1)
				}
			}
			if strings.Contains(path, "{") {
				t.Errorf("%s %s: a parameter is not read", method, path)
			}
		}
	}
}

// permission is what a route must ask for. The table below is written apart
// from the one in the product, so that a wrong row needs two mistakes.
type permission struct {
	role  auth.Role // "" for anyone.
	whole bool      // a scope over all nodes is needed.
	body  string    // one that is well-formed.
}

func permissions() map[string]permission {
	viewer, operator := permission{role: auth.Viewer}, permission{role: auth.Operator}
	admin := permission{role: auth.Admin, whole: true}
	with := func(p permission, body string) permission { p.body = body; return p }
	return map[string]permission{
		"GET /v1/status":                    {},
		"GET /v1/openapi.json":              {},
		"GET /v1/members":                   viewer,
		"GET /v1/nodes":                     viewer,
		"GET /v1/nodes/{name}":              viewer,
		"POST /v1/nodes/{name}/revoke":      {role: auth.Admin, body: `{"reason":"sold"}`},
		"POST /v1/jobs":                     with(operator, `{"target":"all","command":["true"]}`),
		"GET /v1/jobs":                      viewer,
		"GET /v1/jobs/{id}":                 viewer,
		"GET /v1/jobs/{id}/targets":         viewer,
		"GET /v1/jobs/{id}/output/{digest}": viewer,
		"POST /v1/jobs/{id}/signature":      with(operator, `{"envelope":{"type":"job","payload":"","sig":""}}`),
		"POST /v1/jobs/{id}/cancel":         operator,
		"POST /v1/jobs/{id}/pause":          operator,
		"POST /v1/jobs/{id}/resume":         operator,
		"POST /v1/jobs/{id}/open-wave":      operator,
		"GET /v1/events":                    viewer,
		"GET /v1/tokens":                    admin,
		"POST /v1/tokens":                   with(admin, `{"name":"x","role":"viewer"}`),
		"DELETE /v1/tokens/{id}":            admin,
		"GET /v1/join-tokens":               admin,
		"POST /v1/join-tokens":              with(admin, `{}`),
		"DELETE /v1/join-tokens/{id}":       admin,
		"GET /v1/audit":                     admin,
		"GET /v1/nodes/{name}/checks":       viewer,
		"GET /v1/nodes/{name}/sessions":     viewer,
		"GET /v1/nodes/{name}/rtt":          viewer,
		"GET /v1/nodes/{name}/config":       viewer,
		"GET /v1/datacenters":               viewer,
		"GET /v1/services":                  viewer,
		"GET /v1/services/{name}":           viewer,
		"GET /v1/checks":                    viewer,
		"POST /v1/checks/run":               with(operator, `{"check":"web"}`),
		"GET /v1/kv":                        {role: auth.Viewer, whole: true},
		"GET /v1/kv/value":                  {role: auth.Operator, whole: true},
		"PUT /v1/kv/value":                  {role: auth.Operator, whole: true, body: `{"value":"","index":0}`},
		"DELETE /v1/kv/value":               {role: auth.Operator, whole: true},
		"GET /v1/acl":                       admin,
		"GET /v1/incidents":                 viewer,
		"GET /v1/incidents/{id}":            viewer,
		"POST /v1/incidents/{id}/ack":       with(operator, `{}`),
		"POST /v1/incidents/{id}/close":     with(operator, `{}`),
		"POST /v1/incidents/{id}/reopen":    with(operator, `{}`),
		"POST /v1/incidents/{id}/comment":   with(operator, `{"text":"x"}`),
		"GET /v1/rules":                     viewer,
		"GET /v1/policies":                  viewer,
		"GET /v1/remedy-runs":               viewer,
		"GET /v1/remedy-runs/{id}":          viewer,
		"POST /v1/remedy-runs/{id}/approve": with(operator, `{"reason":"x"}`),
		"POST /v1/remedy-runs/{id}/reject":  with(operator, `{}`),
		"POST /v1/policies/{name}/simulate": with(operator, `{"incident":"0001"}`),
		"POST /v1/remedy/pause":             {role: auth.Operator, whole: true, body: `{}`},
		"POST /v1/remedy/resume":            {role: auth.Operator, whole: true, body: `{}`},
	}
}

// TestPermissions walks every path of the OpenAPI document.
func TestPermissions(t *testing.T) {
	e := apitest.Start(t)
	e.SetNodes(apitest.Node("web1", "web"))
	nobody := newCaller(t, e, "")
	callers := map[auth.Role]*caller{}
	for _, r := range auth.Roles() {
		callers[r] = as(t, e, r, "")
	}
	limited := as(t, e, auth.Admin, "role=web")
	expired := newCaller(t, e, e.Token(t, auth.Request{Name: "old", Role: auth.Admin, TTL: time.Nanosecond}))
	forged := newCaller(t, e, "alps.0123abcd."+strings.Repeat("A", 43))

	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(nobody.do(http.MethodGet, "/v1/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	want := permissions()
	routes := []string{"GET /v1/openapi.json"} // a row that does not describe itself.
	for path, methods := range doc.Paths {
		for method := range methods {
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	if len(routes) != len(want) {
		t.Errorf("%d routes, and %d are expected", len(routes), len(want))
	}
	fill := strings.NewReplacer("{name}", "web9", "{id}", "00112233aabbccdd", "{digest}", strings.Repeat("ab", 32))
	for _, route := range routes {
		t.Run(route, func(t *testing.T) {
			p, ok := want[route]
			if !ok {
				t.Fatal("a route that nobody expected; add who may use it to the table in this test")
			}
			method, path, _ := strings.Cut(route, " ")
			send := func(c *caller) answer {
				t.Helper()
				c.t = t
				return c.do(method, fill.Replace(path), p.body)
			}
			check := func(who string, c *caller, status int, code mesh.Code) {
				t.Helper()
				if a := send(c); a.status != status || a.problem.Code != code {
					t.Errorf("%s: got %d %q (%s), want %d %q", who, a.status, a.problem.Code, a.problem.Detail, status, code)
				}
			}
			check("an expired token", expired, http.StatusUnauthorized, mesh.Unauthorized)
			check("a forged token", forged, http.StatusUnauthorized, mesh.Unauthorized)
			if p.role == "" {
				check("nobody", nobody, http.StatusOK, "")
				return
			}
			check("nobody", nobody, http.StatusUnauthorized, mesh.Unauthorized)
			for role, c := range callers {
				if !role.Covers(p.role) {
					check("a "+string(role), c, http.StatusForbidden, mesh.Denied)
				} else if a := send(c); a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status >= 500 {
					t.Errorf("a %s: got %d (%s), want to be let in", role, a.status, a.problem.Detail)
				}
			}
			if p.whole {
				check("an administrator of some nodes", limited, http.StatusForbidden, mesh.Denied)
			} else if a := send(limited); a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
				t.Errorf("an administrator of some nodes: got %d (%s), want to be let in", a.status, a.problem.Detail)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	e := apitest.Start(t)
	var bare, full v1.Status
	for _, tt := range []struct {
		c  *caller
		to *v1.Status
	}{{newCaller(t, e, ""), &bare}, {as(t, e, auth.Viewer, ""), &full}} {
		if err := json.Unmarshal(tt.c.do(http.MethodGet, "/v1/status", "").body, tt.to); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(v1.Status{Version: "1.2.3", Cluster: "test"}, bare); diff != "" {
		t.Errorf("without a token (-want +got):\n%s", diff)
	}
	if full.Detail == nil || full.Detail.Name != "srv1" {
		t.Errorf("with a token: got %+v, want the detail", full)
	}
}

func TestRefusals(t *testing.T) {
	e := apitest.Start(t)
	op := as(t, e, auth.Operator, "")
	long := `{"target":"all","command":["` + strings.Repeat("x", api.MaxBody) + `"]}`
	exact := `{"target":"all","args":["` + strings.Repeat("x", api.MaxBody-len(`{"target":"all","args":[""]}`)) + `"]}`
	chunked := op.request(http.MethodPost, "/v1/jobs", "")
	chunked.Body, chunked.ContentLength = io.NopCloser(strings.NewReader(long)), -1
	tests := []struct {
		name   string
		req    *http.Request
		status int
		code   mesh.Code
		says   string
	}{
		{"a path that is none", op.request("GET", "/v1/nope", ""), 404, mesh.NotFound, "/v1/nope"},
		{"a path beside the UI", op.request("GET", "/index.php", ""), 404, mesh.NotFound, "nothing at /"},
		{"a method that is none", op.request("DELETE", "/v1/jobs", ""), 405, mesh.Invalid, "DELETE is not possible"},
		{"a malformed header", op.request("GET", "/v1/nodes", "", "Authorization", "Basic YTpi"), 401, mesh.Unauthorized, "Bearer"},
		{"a malformed token", op.request("GET", "/v1/status", "", "Authorization", "Bearer hunter2"), 401, mesh.Unauthorized, "malformed"},
		{"a foreign page", op.request("POST", "/v1/jobs", "{}", "Sec-Fetch-Site", "cross-site"), 403, mesh.Denied, "another site"},
		{"no body", op.request("POST", "/v1/jobs", ""), 400, mesh.Invalid, "body"},
		{"no JSON", op.request("POST", "/v1/jobs", "target=all"), 400, mesh.Invalid, "body"},
		{"a form", op.request("POST", "/v1/jobs", "target=all", "Content-Type", "application/x-www-form-urlencoded"), 415, mesh.Invalid, "content type"},
		{"an unknown key", op.request("POST", "/v1/jobs", `{"target":"all","comand":["x"]}`), 422, mesh.Invalid, "comand"},
		{"a missing key", op.request("POST", "/v1/jobs", `{"command":["x"]}`), 422, mesh.Invalid, "target"},
		{"a wrong kind of value", op.request("POST", "/v1/jobs", `{"target":7}`), 422, mesh.Invalid, "target"},
		{"an unknown parameter", op.request("GET", "/v1/jobs?limt=3", ""), 422, mesh.Invalid, "limt"},
		{"an unknown parameter of the events", op.request("GET", "/v1/events?topics=job", ""), 422, mesh.Invalid, "topics"},
		{"a limit that is no number", op.request("GET", "/v1/jobs?limit=x", ""), 422, mesh.Invalid, "limit"},
		{"an unknown state", op.request("GET", "/v1/jobs?state=DONE", ""), 422, mesh.Invalid, "state"},
		{"a broken query", op.request("GET", "/v1/nodes?q=role%3D", ""), 422, mesh.Invalid, "query"},
		{"a body too long", op.request("POST", "/v1/jobs", long), 413, mesh.TooLarge, "2 MiB"},
		{"a body too long that does not say so", chunked, 413, mesh.TooLarge, "2 MiB"},
		{"the longest body", op.request("POST", "/v1/jobs", exact), 422, mesh.NoTargets, "no node"},
		{"too short a prefix", op.request("GET", "/v1/jobs/abc", ""), 422, mesh.Invalid, "4 hexadecimal"},
		{"no such job", op.request("GET", "/v1/jobs/abcd", ""), 404, mesh.NotFound, "no job abcd"},
		{"no such node", op.request("GET", "/v1/nodes/web9", ""), 404, mesh.NotFound, `no node "web9"`},
		{"no target", op.request("POST", "/v1/jobs", `{"target":"role=web","command":["x"]}`), 422, mesh.NoTargets, "no node"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			op.t = t
			a := op.send(tt.req)
			if a.status != tt.status || a.problem.Code != tt.code || !strings.Contains(a.problem.Detail, tt.says) {
				t.Errorf("got %d %q %q, want %d %q and %q", a.status, a.problem.Code, a.problem.Detail, tt.status, tt.code, tt.says)
			}
		})
	}
}

func TestProblemsDoNotRepeatSecrets(t *testing.T) {
	e := apitest.Start(t)
	a := as(t, e, auth.Operator, "").do(http.MethodPost, "/v1/jobs", `{"target":"all","comand":["x"],"env":{"PASSWORD":"hunter2"}}`)
	if a.status != http.StatusUnprocessableEntity || bytes.Contains(a.body, []byte("hunter2")) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestCodesAndStatuses(t *testing.T) {
	e := apitest.Start(t)
	c := as(t, e, auth.Viewer, "")
	for _, code := range []mesh.Code{
		mesh.Invalid, mesh.NotFound, mesh.Conflict, mesh.Denied, mesh.Unauthorized,
		mesh.NoTargets, mesh.NeedsKey, mesh.Unavailable, mesh.TooLarge,
	} {
		e.Fail(fmt.Errorf("list things: %w", mesh.Errorf(code, "it is so").WithHint("do that")))
		a := c.do(http.MethodGet, "/v1/jobs", "")
		want := v1.Problem{
			Type: "about:blank", Title: http.StatusText(a.status), Status: v1.HTTPStatus(code),
			Detail: "list things: it is so", Code: code, Hint: "do that", Request: a.problem.Request,
		}
		if diff := cmp.Diff(want, a.problem); diff != "" {
			t.Errorf("%s (-want +got):\n%s", code, diff)
		}
	}
}

func TestFaultsStayInside(t *testing.T) {
	e := apitest.Start(t)
	c := as(t, e, auth.Viewer, "")
	for name, err := range map[string]error{
		"no code":  fmt.Errorf("open /var/lib/alps/secret.db: corrupt"),
		"internal": mesh.Errorf(mesh.Internal, "open /var/lib/alps/secret.db: corrupt"),
	} {
		e.Fail(err)
		a := c.do(http.MethodGet, "/v1/jobs", "")
		if a.status != 500 || a.problem.Code != mesh.Internal || bytes.Contains(a.body, []byte("secret.db")) || !strings.Contains(a.problem.Hint, a.problem.Request) {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	e.Fail(nil)
	e.Panic("secret.db")
	resp, err := c.http.Do(c.request(http.MethodGet, "/v1/status", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 500 || bytes.Contains(body, []byte("secret.db")) {
		t.Errorf("a panic: got %d %s, %v", resp.StatusCode, body, err)
	}
	e.Panic(nil)
	if a := c.do(http.MethodGet, "/v1/status", ""); a.status != 200 {
		t.Errorf("after the panic: got %d, want a server that goes on", a.status)
	}
}

func TestHeaders(t *testing.T) {
	e := apitest.Start(t)
	a := newCaller(t, e, "").do(http.MethodGet, "/v1/nodes", "")
	for k, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Www-Authenticate": `Bearer realm="alps"`,
	} {
		if got := a.header.Get(k); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
}

func TestRunSaysThatItsListenerBroke(t *testing.T) {
	o := apitest.New(t).Options(t)
	s, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	o.Listener.Close()
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), o.Listener.Addr().String()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	_, err := api.New(api.Options{})
	for _, part := range []string{"listener", "TLS", "logger", "version", "cluster", "jobs", "inventory", "enrolment", "tokens", "audit", "status", "events"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("New without the %s says %v", part, err)
		}
	}
}

// listenAt listens at an address that was free a moment ago.
func listenAt(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
