package notify_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/notify"
	"alps/server/notify/notifytest"
)

// sender makes the Sender of a receiver as an Engine does, and returns it.
func sender(t *testing.T, r mesh.Receiver, roots *x509.CertPool) notify.Sender {
	t.Helper()
	s, closeIdle, err := notify.NewSender(r, roots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIdle)
	return s
}

// hook is a web server as the other side of a webhook.
type hook struct {
	mu   sync.Mutex
	got  []string
	docs []notify.Document
}

func (h *hook) Got(*testing.T) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got
}

func (h *hook) Sender(t *testing.T, b notifytest.Behaviour) notify.Sender {
	t.Helper()
	over := make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch b {
		case notifytest.Refuses:
			http.Error(w, "no: "+notifytest.Secret, http.StatusForbidden)
		case notifytest.Fails:
			http.Error(w, "no: "+notifytest.Secret, http.StatusInternalServerError)
		case notifytest.Hangs:
			<-over
		case notifytest.Floods:
			buf := make([]byte, 1<<16)
			for range 1 << 14 { // 1 GiB, if anybody wants it.
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		case notifytest.Takes, notifytest.Gone:
			h.take(t, r)
		}
	}))
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	if b == notifytest.Gone {
		srv.Close()
	}
	t.Cleanup(func() {
		close(over)
		srv.Close()
	})
	return sender(t, mesh.Receiver{
		Name: "ops", URL: srv.URL + "/hook/" + notifytest.Secret, Header: map[string]string{"Authorization": "Bearer " + notifytest.Secret},
	}, roots)
}

func (h *hook) take(t *testing.T, r *http.Request) {
	if got := r.Header.Get("Authorization"); got != "Bearer "+notifytest.Secret || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s with headers %v", r.Method, r.Header)
	}
	var doc notify.Document
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.docs = append(h.docs, doc)
	h.got = append(h.got, r.Header.Get(notify.DeliveryHeader))
}

func TestWebhook(t *testing.T) {
	notifytest.TestSender(t, func(*testing.T) notifytest.Peer { return new(hook) })
}

func TestWebhookDocument(t *testing.T) {
	h := new(hook)
	s := h.Sender(t, notifytest.Takes)
	d := notifytest.Delivery(7, "ops", notify.KindResolved)
	d.ID = "0000000000000007/2"
	d.Incident.Output = strings.Repeat("ü", 4096)
	d.Incident.Disks = []string{"sdb1"}
	if err := s.Send(t.Context(), notify.Message{Delivery: d, URL: "https://alps/7"}); err != nil {
		t.Fatal(err)
	}
	got := h.docs[0]
	if got.Version != 1 || got.Status != notify.StatusResolved || got.Incident != "0000000000000007" || got.Delivery != d.ID ||
		got.Rule != "web-down" || got.Node != "n7" || got.DC != "bj-e-01" || got.Check != "web" || got.URL != "https://alps/7" ||
		got.Closed == nil || got.Began == nil || !slices.Equal(got.Disks, d.Incident.Disks) {
		t.Errorf("got %+v", got)
	}
	if n := len(got.Output); n > notify.MaxOutput || !strings.HasPrefix(got.Output, "üü") || !strings.HasSuffix(got.Output, "ü …") {
		t.Errorf("output of %d bytes: …%q", n, got.Output[len(got.Output)-8:])
	}
}

func TestWebhookAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		code    int
		header  string
		taken   bool
		refused bool
	}{
		"200":                  {code: 200, taken: true},
		"204":                  {code: 204, taken: true},
		"a redirect":           {code: 302},
		"a permanent redirect": {code: 308},
		"400":                  {code: 400, refused: true},
		"404":                  {code: 404, refused: true},
		"410":                  {code: 410, refused: true},
		"408":                  {code: 408},
		"429":                  {code: 429, header: "7"},
		"500":                  {code: 500},
		"503":                  {code: 503, header: "Wed, 21 Oct 2065 07:28:00 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			followed := false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				followed = followed || r.URL.Path != "/"
				w.Header().Set("Location", "/elsewhere")
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.code)
			}))
			defer srv.Close()
			err := sender(t, mesh.Receiver{Name: "ops", URL: srv.URL}, nil).Send(t.Context(), notify.Message{})
			if (err == nil) != tt.taken || notify.IsRefused(err) != tt.refused {
				t.Errorf("got %v, refused %v", err, notify.IsRefused(err))
			}
			if followed {
				t.Error("it followed the redirect")
			}
		})
	}
}

func TestWebhookVerifiesTheCertificate(t *testing.T) {
	asked := false
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	err := sender(t, mesh.Receiver{Name: "ops", URL: srv.URL}, x509.NewCertPool()).Send(t.Context(), notify.Message{})
	if err == nil || asked {
		t.Errorf("got %v, asked %v", err, asked)
	}
}

func TestNewSender(t *testing.T) {
	for name, r := range map[string]mesh.Receiver{
		"neither":       {},
		"both":          {URL: "http://127.0.0.1/", Command: []string{"true"}},
		"another kind":  {URL: "ftp://127.0.0.1/" + notifytest.Secret},
		"no host":       {URL: "http:///" + notifytest.Secret},
		"no url":        {URL: "http://[::1/" + notifytest.Secret},
		"empty command": {Command: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := notify.NewSender(r, nil)
			if err == nil || strings.Contains(err.Error(), notifytest.Secret) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// program is a shell script as the other side of a command.
type program struct{ dir string }

func (p *program) Got(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), "got-"); ok {
			out = append(out, id)
		}
	}
	return out
}

func (p *program) Sender(t *testing.T, b notifytest.Behaviour) notify.Sender {
	t.Helper()
	script := map[notifytest.Behaviour]string{
		notifytest.Takes:   `cat > "$1/got-$ALPS_INCIDENT"`,
		notifytest.Refuses: `echo no; exit 65`,
		notifytest.Fails:   `echo no >&2; exit 1`,
		notifytest.Hangs:   `trap "" TERM; sleep 600 & sleep 600`,
		notifytest.Gone:    `exit 0`,
		notifytest.Floods:  `head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2`,
	}[b]
	argv := []string{"/bin/sh", "-c", script, "sh", p.dir}
	if b == notifytest.Gone {
		argv[0] = filepath.Join(p.dir, "no such program")
	}
	return sender(t, mesh.Receiver{Name: "ops", Command: argv}, nil)
}

func TestCommand(t *testing.T) {
	notifytest.TestSender(t, func(t *testing.T) notifytest.Peer { return &program{dir: t.TempDir()} })
}

func TestCommandGetsTheIncident(t *testing.T) {
	t.Setenv("ALPS_TEST_SECRET", notifytest.Secret)
	dir := t.TempDir()
	s := sender(t, mesh.Receiver{Name: "ops", Command: []string{"/bin/sh", "-c", `cat > "$1/in"; env > "$1/env"`, "sh", dir}}, nil)
	d := notifytest.Delivery(7, "ops", notify.KindFiring)
	d.ID, d.Text = "0000000000000007/1", "why\x00not"
	if err := s.Send(t.Context(), notify.Message{Delivery: d}); err != nil {
		t.Fatal(err)
	}
	in, err := os.ReadFile(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	var doc notify.Document
	if err := json.Unmarshal(in, &doc); err != nil || doc.Incident != "0000000000000007" {
		t.Errorf("stdin: %+v, %v", doc, err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ALPS_STATUS=firing", "ALPS_NODE=n7", "ALPS_DELIVERY=0000000000000007/1", "ALPS_TEXT=whynot", "PATH="} {
		if !strings.Contains("\n"+string(env), "\n"+want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
	if strings.Contains(string(env), notifytest.Secret) {
		t.Error("the server's environment is handed on")
	}
}

// TestCommandLeavesNothing sees that a whole tree is gone after the timeout.
func TestCommandLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := sender(t, mesh.Receiver{Name: "ops", Command: []string{
		"/bin/sh", "-c", `trap "" TERM; sleep 600 & echo $! > "$1/pid.new"; mv "$1/pid.new" "$1/pid"; wait; sleep 600`, "sh", dir,
	}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Send(ctx, notify.Message{}) }()
	pid := 0
	poll(t, "the child's pid", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	cancel()
	if err := <-done; err == nil || notify.IsRefused(err) {
		t.Errorf("got %v", err)
	}
	poll(t, "the end of the child", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return true
		}
		// Killed, but nobody may be there to reap it.
		return strings.Contains(string(stat), ") Z ") || syscall.Kill(pid, 0) != nil
	})
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "7", " 7 ", "-1", "99999999999999999999", "Wed, 21 Oct 2065 07:28:00 GMT", "1e9"} {
		f.Add(s)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := notify.RetryAfter(s, now); d < 0 || !ok && d != 0 {
			t.Errorf("%q gives %s, %v", s, d, ok)
		}
	})
}
