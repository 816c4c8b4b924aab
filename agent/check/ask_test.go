package check

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/check/plugin"
	"alps/mesh"
)

func newTestAsker(t *testing.T) *asker {
	t.Helper()
	a := newAsker(&Options{Node: "0123456789abcdef0123456789abcdef"})
	t.Cleanup(a.close)
	return a
}

// silent listens and never takes a connection that it could answer on.
func silent(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestTCP(t *testing.T) {
	a, none, open := newTestAsker(t), closed(t), silent(t)
	for name, tc := range map[string]struct {
		address string
		status  mesh.Health
		say     string
	}{
		"somebody listens": {open, mesh.HealthPassing, "connect to " + open + ": ok"},
		"nobody listens":   {none, mesh.HealthCritical, "connect to " + none + ": connect: connection refused"},
		"no port":          {"127.0.0.1", mesh.HealthCritical, "missing port"},
	} {
		t.Run(name, func(t *testing.T) {
			o := a.ask(t.Context(), &mesh.CheckDef{ID: "t", Kind: mesh.CheckTCP, Address: tc.address, Timeout: 20 * time.Second}, nil)
			if o.status != tc.status || !strings.Contains(o.output, tc.say) || o.timeout {
				t.Errorf("got %q %q, want %q %q", o.status, o.output, tc.status, tc.say)
			}
			if len(o.samples) != 1 || o.samples[0].Name != "latency" || o.samples[0].Value <= 0 {
				t.Errorf("samples %+v, want the latency", o.samples)
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.Host, r.Header.Get("X-One"), body, r.Header.Get("User-Agent"))
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100000)) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/code/200", http.StatusFound) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
	})
	plain, safe := httptest.NewServer(mux), httptest.NewUnstartedServer(mux)
	safe.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil) // of handshakes that are meant to fail.
	safe.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(safe.Close)
	a := newTestAsker(t)
	for name, tc := range map[string]struct {
		def       mesh.CheckDef
		status    mesh.Health
		code      int
		say       string
		truncated bool
	}{
		"200":             {mesh.CheckDef{URL: plain.URL + "/code/200"}, mesh.HealthPassing, 200, "GET " + plain.URL + "/code/200: 200 OK", false},
		"204":             {mesh.CheckDef{URL: plain.URL + "/code/204"}, mesh.HealthPassing, 204, "204 No Content", false},
		"304":             {mesh.CheckDef{URL: plain.URL + "/code/304"}, mesh.HealthCritical, 304, "304", false},
		"429":             {mesh.CheckDef{URL: plain.URL + "/code/429"}, mesh.HealthWarning, 429, "429 Too Many Requests", false},
		"503":             {mesh.CheckDef{URL: plain.URL + "/code/503"}, mesh.HealthCritical, 503, "503 Service Unavailable", false},
		"redirected":      {mesh.CheckDef{URL: plain.URL + "/moved"}, mesh.HealthPassing, 200, "200 OK", false},
		"long":            {mesh.CheckDef{URL: plain.URL + "/long"}, mesh.HealthPassing, 200, strings.Repeat("x", maxBody), true},
		"ends early":      {mesh.CheckDef{URL: plain.URL + "/cut"}, mesh.HealthPassing, 200, "half", false},
		"no certificate":  {mesh.CheckDef{URL: safe.URL + "/code/200"}, mesh.HealthCritical, 0, "certificate", false},
		"any certificate": {mesh.CheckDef{URL: safe.URL + "/code/200", TLSSkipVerify: true}, mesh.HealthPassing, 200, "200 OK", false},
		"nobody listens":  {mesh.CheckDef{URL: "http://" + closed(t)}, mesh.HealthCritical, 0, "connection refused", false},
		"no URL":          {mesh.CheckDef{URL: "http://a b"}, mesh.HealthUnknown, 0, "ask http://a b", false},
		"a secret in it":  {mesh.CheckDef{URL: strings.Replace(plain.URL, "http://", "http://me:secret@", 1) + "/code/200"}, mesh.HealthPassing, 200, "me:xxxxx@", false},
		"everything set": {mesh.CheckDef{
			URL: plain.URL + "/echo", Method: "PUT", Body: "body", Header: map[string][]string{"Host": {"web.example"}, "X-One": {"1"}, "User-Agent": {"me"}},
		}, mesh.HealthPassing, 200, "PUT web.example 1 body me", false},
	} {
		t.Run(name, func(t *testing.T) {
			tc.def.Kind, tc.def.Timeout = mesh.CheckHTTP, 20*time.Second
			o := a.ask(t.Context(), &tc.def, nil)
			if o.status != tc.status || o.code != tc.code || !strings.Contains(o.output, tc.say) || o.truncated != tc.truncated {
				t.Errorf("got %q %d %q truncated %v, want %q %d %q %v", o.status, o.code, o.output, o.truncated, tc.status, tc.code, tc.say, tc.truncated)
			}
		})
	}
}

// TestATimeoutIsCritical asks somebody who takes the connection and then says
// nothing.
func TestATimeoutIsCritical(t *testing.T) {
	a := newTestAsker(t)
	o := a.ask(t.Context(), &mesh.CheckDef{ID: "t", Kind: mesh.CheckHTTP, URL: "http://" + silent(t), Timeout: 50 * time.Millisecond}, nil)
	if o.status != mesh.HealthCritical || !o.timeout || !strings.Contains(o.output, "no answer within 50ms") {
		t.Errorf("got %q timeout %v %q, want critical by timeout", o.status, o.timeout, o.output)
	}
}

// TestEachRequestConnectsAnew asks a server twice and counts connections.
func TestEachRequestConnectsAnew(t *testing.T) {
	seen := make(chan net.Conn, 10)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = func(c net.Conn, st http.ConnState) {
		if st == http.StateNew {
			seen <- c
		}
	}
	s.Start()
	defer s.Close()
	a := newTestAsker(t)
	for range 3 {
		a.ask(t.Context(), &mesh.CheckDef{ID: "t", Kind: mesh.CheckHTTP, URL: s.URL}, nil)
	}
	if n := len(seen); n != 3 {
		t.Errorf("%d connections for 3 requests, want 3", n)
	}
}

func TestScript(t *testing.T) {
	a := newTestAsker(t)
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		command string
		env     map[string]string
		status  mesh.Health
		code    int
		output  string
		samples int
	}{
		"passing":          {"echo 'fine | a=1'", nil, mesh.HealthPassing, 0, "fine", 2},
		"warning":          {"echo so so; exit 1", nil, mesh.HealthWarning, 1, "so so", 1},
		"critical":         {"echo bad; exit 2", nil, mesh.HealthCritical, 2, "bad", 1},
		"unknown":          {"echo who knows; exit 3", nil, mesh.HealthUnknown, 3, "who knows", 1},
		"another code":     {"echo what; exit 4", nil, mesh.HealthCritical, 4, "exit code 4: what", 1},
		"no such command":  {"nosuchcommand 2>/dev/null", nil, mesh.HealthUnknown, 127, "exit code 127: the command cannot be run", 1},
		"a signal":         {"echo oh; kill -KILL $$", nil, mesh.HealthUnknown, 0, "the script was ended by SIGKILL: oh", 1},
		"only stderr":      {"echo bad >&2; exit 2", nil, mesh.HealthCritical, 2, "bad", 1},
		"stderr beside it": {"echo noise >&2; echo fine", nil, mesh.HealthPassing, 0, "fine", 1},
		"its own env":      {`echo "$GREETING $ALPS_CHECK $ALPS_NODE $TERM"`, map[string]string{"GREETING": "hi", "ALPS_NODE": "forged"}, mesh.HealthPassing, 0, "hi t 0123456789abcdef0123456789abcdef", 1},
		"another PATH":     {"/bin/echo $PATH", map[string]string{"PATH": dir}, mesh.HealthPassing, 0, dir, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := &mesh.CheckDef{ID: "t", Kind: mesh.CheckScript, Command: []string{"/bin/sh", "-c", tc.command}, Env: tc.env, Timeout: time.Minute}
			o := a.ask(t.Context(), d, nil)
			if o.status != tc.status || o.code != tc.code || o.output != tc.output || len(o.samples) != tc.samples {
				t.Errorf("got %+v, want %+v", o, tc)
			}
		})
	}
	t.Run("no such script", func(t *testing.T) {
		o := a.ask(t.Context(), &mesh.CheckDef{ID: "t", Kind: mesh.CheckScript, Command: []string{filepath.Join(dir, "none")}}, nil)
		if o.status != mesh.HealthUnknown || o.code != 127 {
			t.Errorf("got %q %d %q, want unknown 127", o.status, o.code, o.output)
		}
	})
	t.Run("a timeout is unknown", func(t *testing.T) {
		d := &mesh.CheckDef{ID: "t", Kind: mesh.CheckScript, Command: []string{"/bin/sh", "-c", "echo wait; sleep 60"}, Timeout: 100 * time.Millisecond}
		o := a.ask(t.Context(), d, nil)
		if o.status != mesh.HealthUnknown || !o.timeout || o.output != "the script did not end within 100ms: wait" {
			t.Errorf("got %q timeout %v %q, want unknown by timeout", o.status, o.timeout, o.output)
		}
	})
}

func TestWhatIsLeftOfARun(t *testing.T) {
	gone := make(chan struct{})
	o := scriptOutcome(&mesh.CheckDef{Kind: mesh.CheckScript}, &plugin.Result{Timeout: true, Left: []string{"7 (dd, waits for a device)"}, Gone: gone})
	if o.left == nil || !strings.Contains(o.output, "7 (dd, waits for a device)") {
		t.Fatalf("got %+v, want what is left", o)
	}
	a := newTestAsker(t)
	d := &mesh.CheckDef{ID: "t", Kind: mesh.CheckScript, Command: []string{"/bin/true"}}
	again := a.ask(t.Context(), d, o.left)
	if again.status != mesh.HealthUnknown || again.left != o.left || !strings.Contains(again.output, "7 (dd") {
		t.Errorf("while it is left the check is %+v, want unknown and not run", again)
	}
	close(gone)
	if o := a.ask(t.Context(), d, o.left); o.status != mesh.HealthPassing || o.left != nil {
		t.Errorf("afterwards it is %+v, want it run", o)
	}
}

func TestTidy(t *testing.T) {
	for name, tc := range map[string]struct {
		in, want string
		cut      bool
	}{
		"plain":              {"fine", "fine", false},
		"space around it":    {"\n fine \n", "fine", false},
		"lines and tabs":     {"a\tb\nc", "a\tb\nc", false},
		"control characters": {"a\x00b\x1b[31mc\r\n", "ab[31mc", false},
		"not UTF-8":          {"a\xffb", "a\uFFFDb", false},
		"long":               {strings.Repeat("x", 5000), strings.Repeat("x", mesh.MaxCheckOutput), true},
		"very long":          {strings.Repeat("x", 5<<20), strings.Repeat("x", mesh.MaxCheckOutput), true},
		"cut in a character": {strings.Repeat("x", mesh.MaxCheckOutput-1) + "磁", strings.Repeat("x", mesh.MaxCheckOutput-1), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, cut := tidy(tc.in); got != tc.want || cut != tc.cut {
				t.Errorf("got %d bytes, cut %v; want %d, %v", len(got), cut, len(tc.want), tc.cut)
			}
		})
	}
}
