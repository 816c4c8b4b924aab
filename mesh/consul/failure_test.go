package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

func statusError(code int, body string) error { return api.StatusError{Code: code, Body: body} }

// restrictedToken makes a token with the rules given and nothing else.
func restrictedToken(t *testing.T, admin *Client, rules string) string {
	t.Helper()
	var token struct{ SecretID string }
	putJSON(t, admin, "/v1/acl/policy", map[string]any{"Name": "restricted", "Rules": rules}, nil)
	putJSON(t, admin, "/v1/acl/token", map[string]any{"Policies": []any{map[string]any{"Name": "restricted"}}}, &token)
	return token.SecretID
}

func putJSON(t *testing.T, c *Client, path string, body, into any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.base+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("put %s: %s: %s, %v", path, resp.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
}

// everyCall runs one call of each way in which we ask Consul.
func everyCall(ctx context.Context, c *Client) map[string]error {
	errs := map[string]error{}
	_, _, errs["Get"] = c.Get(ctx, "k", Query{})
	_, errs["Members"] = c.Members(ctx, true)
	_, errs["Txn"] = c.Txn(ctx, []Op{{Verb: OpSet, Key: "k"}})
	errs["Put"] = c.Put(ctx, "k", nil)
	errs["UpdateTTL"] = c.UpdateTTL(ctx, "k", Passing, "")
	return errs
}

func TestFailuresHaveCodes(t *testing.T) {
	cases := []struct {
		name   string
		status int
		body   string
		want   mesh.Code
	}{
		{"no leader", 500, "No cluster leader", mesh.Unavailable},
		{"gateway", 502, "", mesh.Unavailable},
		{"limited", 429, "too many connections", mesh.Unavailable},
		{"forbidden", 403, "Permission denied: token with AccessorID x lacks permission", mesh.Denied},
		{"forbidden in an error of RPC", 500, "rpc error making call: Permission denied", mesh.Denied},
		{"token unknown", 500, "ACL not found", mesh.Denied},
		{"unauthorized", 401, "", mesh.Denied},
		{"bad request", 400, "Missing\n  name", mesh.Invalid},
		{"too large", 413, "", mesh.TooLarge},
		{"conflict that names no operation", 409, "{}", mesh.Conflict},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, c.body, c.status)
			}))
			defer s.Close()
			for call, err := range everyCall(t.Context(), newClient(t, s.URL)) {
				wantCode(t, call, err, c.want)
				if err == nil || !strings.Contains(err.Error(), "Consul at "+s.URL+": ") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: error %q, want one line that names the agent", call, err)
				}
			}
		})
	}
}

func TestFailuresOfTheConnection(t *testing.T) {
	cases := []struct {
		name string
		do   func(w http.ResponseWriter)
	}{
		{"closed", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		{"cut off within the answer", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `[{"Ke`)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.do(w) }))
			defer s.Close()
			for call, err := range everyCall(t.Context(), newClient(t, s.URL)) {
				if (call == "Put" || call == "UpdateTTL") && c.name != "closed" {
					continue // they do not look at what the answer says.
				}
				wantCode(t, call, err, mesh.Unavailable)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		for call, err := range everyCall(t.Context(), newClient(t, s.URL)) {
			wantCode(t, call, err, mesh.Unavailable)
			if e, ok := errors.AsType[*mesh.Error](err); !ok || !strings.Contains(e.Hint, "consul members") {
				t.Errorf("%s: error %v, want a hint with a command", call, err)
			}
			if n := strings.Count(err.Error(), s.URL); n != 1 {
				t.Errorf("%s: error %q names the agent %d times", call, err, n)
			}
		}
	})
}

func TestCallerEndsARequest(t *testing.T) {
	asked := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := c.Get(ctx, "k", Query{Index: 1})
		failed <- err
	}()
	within(t, "the request arrives", asked)
	cancel()
	err := within(t, "the request ends", failed)
	if !errors.Is(err, context.Canceled) || mesh.CodeOf(err) != mesh.Internal {
		t.Errorf("error %v, want the caller's own reason and no fault of Consul", err)
	}
}

func TestNew(t *testing.T) {
	cases := []struct {
		address, want string
		code          mesh.Code
	}{
		{"", "http://127.0.0.1:8500", ""},
		{"127.20.7.1:8500", "http://127.20.7.1:8500", ""},
		{"http://127.20.7.1:8500/", "http://127.20.7.1:8500", ""},
		{"[::1]:8500", "http://[::1]:8500", ""},
		{"localhost", "", mesh.Invalid},
		{"localhost:", "", mesh.Invalid},
		{"https://localhost:8501/x", "", mesh.Invalid},
	}
	for _, c := range cases {
		t.Run(c.address, func(t *testing.T) {
			got, err := New(Options{Address: c.address})
			wantCode(t, "New", err, c.code)
			if err == nil && got.Address() != c.want {
				t.Errorf("address = %q, want %q", got.Address(), c.want)
			}
		})
	}
}

func TestTokenIsSent(t *testing.T) {
	tokens := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens <- r.Header.Get("X-Consul-Token")
		http.Error(w, "", http.StatusBadRequest)
	}))
	defer s.Close()
	for _, given := range []string{"given", ""} {
		t.Setenv("CONSUL_HTTP_TOKEN", "from the environment")
		c, err := New(Options{Address: s.URL, Token: given})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		calls := everyCall(t.Context(), c)
		want := given
		if want == "" {
			want = "from the environment"
		}
		for range calls {
			if got := within(t, "a request arrives", tokens); got != want {
				t.Errorf("token = %q, want %q", got, want)
			}
		}
	}
}

func TestOneLine(t *testing.T) {
	if got, want := oneLine(" a\n\tb "), "a b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := oneLine(strings.Repeat("é", 400)); len(got) > 310 || !strings.HasSuffix(got, "é…") {
		t.Errorf("a long text became %q", got)
	}
}
