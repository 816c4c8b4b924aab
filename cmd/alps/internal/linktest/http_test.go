package linktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	agentlink "alps/agent/link"
	"alps/mesh"
	"alps/mesh/frame"
	serverlink "alps/server/link"
)

// bodies keeps outputs in memory and has one blob.
type bodies struct {
	mu   sync.Mutex
	got  map[string]string
	from mesh.NodeID
}

const script = "#!/bin/sh\ntrue\n"

func (b *bodies) PutOutput(_ context.Context, from frame.Peer, digest string, r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[digest], b.from = string(body), from.NodeID
	return nil
}

func (b *bodies) Blob(_ context.Context, _ frame.Peer, sha string) (io.ReadCloser, int64, error) {
	if sha != digest(script) {
		return nil, 0, mesh.Errorf(mesh.NotFound, "no blob %s", sha)
	}
	return io.NopCloser(strings.NewReader(script)), int64(len(script)), nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// do makes a request and returns its status, its body, and the code that a
// refusal carries.
func do(t *testing.T, c *http.Client, method, path, body string) (int, string, mesh.Code) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, agentlink.BaseURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var r frame.Refusal
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(text, &r); err != nil {
			t.Errorf("%s %s: %d with %q, want a refusal", method, path, resp.StatusCode, text)
		}
	}
	return resp.StatusCode, string(text), r.Code
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	b := &bodies{got: make(map[string]string)}
	w.opts = func(o *serverlink.Options) { o.Bodies = b }
	w.start()
	id := w.enrol()
	l := w.agent(id, t.TempDir(), nil)
	run(t, l.Run)
	eventually(t, "the link is up", func() bool { return l.Status().Connected })

	big := strings.Repeat("x", 3<<20)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code               mesh.Code
	}{
		"output":           {"PUT", "/v1/output/" + digest("out"), "out", 204, ""},
		"largest output":   {"PUT", "/v1/output/" + digest(big), big, 204, ""},
		"too large output": {"PUT", "/v1/output/" + digest(big+"x"), big + "x", 413, mesh.TooLarge},
		"another digest":   {"PUT", "/v1/output/" + digest("lie"), "truth", 400, mesh.Invalid},
		"not a digest":     {"PUT", "/v1/output/zz", "x", 400, mesh.Invalid},
		"upper case":       {"PUT", "/v1/output/" + strings.ToUpper(digest("a")), "x", 400, mesh.Invalid},
		"blob":             {"GET", "/v1/blob/" + digest(script), "", 200, ""},
		"no such blob":     {"GET", "/v1/blob/" + digest("x"), "", 404, mesh.NotFound},
		"renew nonsense":   {"POST", "/v1/renew", "{", 400, mesh.Invalid},
	} {
		status, body, code := do(t, l.HTTP(), tc.method, tc.path, tc.body)
		if status != tc.status || code != tc.code {
			t.Errorf("%s: status %d, code %q (%.200s), want %d, %q", name, status, code, body, tc.status, tc.code)
		}
		if name == "blob" && body != script {
			t.Errorf("the blob came as %q", body)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) != 2 || b.got[digest("out")] != "out" || b.from != id.NodeID() {
		t.Errorf("kept %d outputs of node %s, want the 2 good ones of %s", len(b.got), b.from, id.NodeID())
	}
}

func TestHTTPNeedsTheLinkAndACertificate(t *testing.T) {
	w := newWorld(t)
	w.opts = func(o *serverlink.Options) { o.Bodies = &bodies{} }
	w.start()
	id := w.enrol()
	l := w.agent(id, t.TempDir(), nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, agentlink.BaseURL+"/v1/blob/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := l.HTTP().Do(req); mesh.CodeOf(err) != mesh.Unavailable {
		if err == nil {
			_ = resp.Body.Close()
		}
		t.Errorf("without a link: %v, want code %s", err, mesh.Unavailable)
	}

	stranger := w.stranger()
	for _, r := range [][2]string{{"GET", "/v1/blob/" + digest(script)}, {"PUT", "/v1/output/" + digest("")}, {"POST", "/v1/renew"}} {
		if status, _, code := do(t, stranger, r[0], r[1], ""); status != 401 || code != mesh.Unauthorized {
			t.Errorf("%s %s without a certificate: status %d, code %q, want 401", r[0], r[1], status, code)
		}
	}
	stranger.CloseIdleConnections()

	run(t, l.Run)
	eventually(t, "the link is up", func() bool { return l.Status().Connected })
	if status, _, _ := do(t, l.HTTP(), "GET", "/v1/blob/"+digest(script), ""); status != 200 {
		t.Fatalf("status %d before the revocation", status)
	}
	w.mu.Lock()
	w.revoked[id.NodeID()] = true // and the connection of the request before is still open.
	w.mu.Unlock()
	if status, _, code := do(t, l.HTTP(), "GET", "/v1/blob/"+digest(script), ""); status != 403 || code != mesh.Denied {
		t.Errorf("revoked: status %d, code %q, want 403", status, code)
	}
}

func TestEnrolTwice(t *testing.T) {
	w := newWorld(t)
	w.start()
	o := agentlink.EnrolOptions{DataDir: filepath.Join(t.TempDir(), "a", "b"), Token: w.ca.NewJoinToken().String(), Servers: []string{"127.0.0.1:1", w.addr}}
	first, err := agentlink.Enrol(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := agentlink.Enrol(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if first.NodeID() != again.NodeID() || w.enrolled != 1 {
		t.Errorf("nodes %s and %s by %d enrolments, want one", first.NodeID(), again.NodeID(), w.enrolled)
	}
	if got := again.Servers(); len(got) != 1 || got[0] != w.addr {
		t.Errorf("servers %v, want %s", got, w.addr)
	}
	if root, err := os.ReadFile(again.TrustRootFile()); err != nil || !bytes.Equal(root, []byte("root")) {
		t.Errorf("trust root %q, %v", root, err)
	}
	dir := filepath.Join(o.DataDir, "identity")
	ents, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ents {
		if fi, err := e.Info(); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", e.Name(), fi.Mode(), err)
		}
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v, %v, want 0700", fi.Mode(), err)
	}
}

func TestEnrolFails(t *testing.T) {
	w := newWorld(t)
	w.opts = func(o *serverlink.Options) { o.Enroller = nil }
	w.start()
	token := w.ca.NewJoinToken().String()
	for name, tc := range map[string]struct {
		token   string
		servers []string
		want    mesh.Code
	}{
		"not a token":      {"please", []string{w.addr}, mesh.Invalid},
		"no server known":  {token, nil, mesh.Invalid},
		"nobody listens":   {token, []string{"127.0.0.1:1"}, mesh.Unavailable},
		"server won't":     {token, []string{w.addr}, mesh.Unavailable},
		"several, in vain": {token, []string{"127.0.0.1:1", w.addr}, mesh.Unavailable},
	} {
		_, err := agentlink.Enrol(t.Context(), agentlink.EnrolOptions{DataDir: t.TempDir(), Token: tc.token, Servers: tc.servers})
		if mesh.CodeOf(err) != tc.want {
			t.Errorf("%s: %v, want code %s", name, err, tc.want)
		}
	}
}
