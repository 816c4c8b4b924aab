package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRank(t *testing.T) {
	servers := []string{"s1:1", "s2:1", "s3:1", "s4:1", "s5:1", "s1:1"}
	first := make(map[string]int)
	for range 1000 {
		id := mesh.NewNodeID()
		got := rank(id, servers)
		if len(got) != maxTried || got[0] == got[1] || got[1] == got[2] || got[0] == got[2] {
			t.Fatalf("rank = %v, want %d different servers", got, maxTried)
		}
		reversed := slices.Clone(servers)
		slices.Reverse(reversed)
		if again := rank(id, reversed); !slices.Equal(got, again) {
			t.Fatalf("the order of the list matters: %v, %v", got, again)
		}
		// Without its first server, a node goes to what was its second.
		less := slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == got[0] })
		if after := rank(id, less); after[0] != got[1] {
			t.Fatalf("without %s: %v, want %s first", got[0], after, got[1])
		}
		first[got[0]]++
	}
	for s, n := range first {
		if n < 120 || n > 280 {
			t.Errorf("%s is first for %d of 1000 nodes, want about 200", s, n)
		}
	}
	if got := rank(mesh.NewNodeID(), nil); len(got) != 0 {
		t.Errorf("rank of nothing = %v", got)
	}
}

func TestSpreadOf(t *testing.T) {
	for nodes, want := range map[int]time.Duration{
		-1: DefaultSpread, 0: DefaultSpread, 1: time.Second, 5: time.Second, 166: time.Second,
		1000: 6 * time.Second, 4999: 4999 * 6 * time.Millisecond, 5000: DefaultSpread, 1 << 40: DefaultSpread,
	} {
		if got := spreadOf(nodes); got != want {
			t.Errorf("%d nodes come back over %s, want %s", nodes, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	const spread = 30 * time.Second
	for name, tc := range map[string]struct {
		how      ending
		failures int
		min, max time.Duration
	}{
		"a link broke":        {broke, 0, 0, time.Second},
		"the server left":     {serverLeft, 0, 0, spread},
		"refused":             {refused, 0, spread, 2 * spread},
		"first failure":       {neverBegan, 1, 0, 3 * time.Second},
		"third failure":       {neverBegan, 3, 0, 9 * time.Second},
		"hundredth failure":   {neverBegan, 100, 0, spread + spread/10 + 1},
		"broke, short spread": {broke, 0, 0, time.Second},
	} {
		longest := time.Duration(0)
		for range 2000 {
			d := pause(tc.how, tc.failures, spread)
			if d < tc.min || d <= 0 || d > tc.max {
				t.Fatalf("%s: %s, want within %s and %s", name, d, tc.min, tc.max)
			}
			longest = max(longest, d)
		}
		if longest < tc.max/2 {
			t.Errorf("%s: at most %s, want it spread up to %s", name, longest, tc.max)
		}
	}
	if d := pause(broke, 0, 10*time.Millisecond); d > 10*time.Millisecond+1 {
		t.Errorf("a short spread is not kept: %s", d)
	}
}

func TestExplain(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for name, tc := range map[string]struct {
		err  error
		code mesh.Code
		hint string
	}{
		"refused":     {op(syscall.ECONNREFUSED), mesh.Unavailable, "no alps server listens"},
		"no route":    {op(syscall.EHOSTUNREACH), mesh.Unavailable, "no route"},
		"no network":  {op(syscall.ENETUNREACH), mesh.Unavailable, "no route"},
		"no name":     {&net.DNSError{Name: "s1", IsNotFound: true}, mesh.Unavailable, `"s1" cannot be looked up`},
		"timeout":     {os.ErrDeadlineExceeded, mesh.Unavailable, "nothing came back"},
		"hung up":     {fmt.Errorf("read: %w", io.EOF), mesh.Unavailable, "hung up"},
		"reset":       {op(syscall.ECONNRESET), mesh.Unavailable, "hung up"},
		"our own":     {mesh.Errorf(mesh.Conflict, "x").WithHint("as it was"), mesh.Conflict, "as it was"},
		"by a word":   {refusalError{mesh.Errorf(mesh.Denied, "x").WithHint("as told")}, mesh.Denied, "as told"},
		"revoked":     {errors.New("remote error: tls: bad certificate"), mesh.Denied, "enrol it with a new join token"},
		"unknown CA":  {errors.New("remote error: tls: unknown certificate authority"), mesh.Unauthorized, "enrol again"},
		"something":   {errors.New("something"), mesh.Unavailable, ""},
		"other alert": {errors.New("remote error: tls: internal error"), mesh.Unavailable, ""},
	} {
		got := explain(tc.err, "s1:8781", nil)
		if got.Code != tc.code || !strings.Contains(got.Hint, tc.hint) {
			t.Errorf("%s: %+v, want code %s and the hint %q", name, got, tc.code, tc.hint)
		}
	}
}

func TestNoIdentity(t *testing.T) {
	dir := t.TempDir()
	_, err := LoadIdentity(dir)
	if e, ok := errors.AsType[*mesh.Error](err); !ok || e.Code != mesh.NotFound || e.Hint == "" {
		t.Errorf("no identity: %v, want code %s and a hint", err, mesh.NotFound)
	}
	if err := os.MkdirAll(filepath.Join(dir, identityDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, identityDir, nodeFile), []byte("rubble"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err == nil || mesh.CodeOf(err) == mesh.NotFound {
		t.Errorf("a spoilt identity: %v, want an error that does not make it enrol again", err)
	}
}

func TestPendingKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	a, err := pendingKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pendingKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(b) {
		t.Error("a second try to enrol has another key: a one-time token would be lost")
	}
}

// node enrols by hand and returns its identity and the server's half of TLS.
func node(t *testing.T) (*Identity, *tls.Config) {
	t.Helper()
	now := time.Now()
	ca, err := pki.NewCA("test", now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, err := pendingKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	id := pki.Identity{Cluster: "test", Kind: pki.Agent, NodeID: mesh.NewNodeID()}
	cert, err := ca.SignAgent(csr, id, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := saveIdentity(dir, frame.EnrolResponse{NodeID: id.NodeID, Cert: string(cert), CA: string(ca.PEM())}, key); err != nil {
		t.Fatal(err)
	}
	got, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ca.IssueServer(pki.ServerRequest{ID: pki.Identity{Cluster: "test", Kind: pki.Server, NodeID: mesh.NewNodeID()}}, now)
	if err != nil {
		t.Fatal(err)
	}
	live, err := pki.NewLive(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pki.ServerTLS(pki.ServerOptions{
		CA: ca.Certificate(), Certificate: live, Protocols: []string{frame.Protocol},
		Revoked: func(mesh.NodeID) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, cfg
}

// script runs a server that treats every connection as the test wants, and
// an agent that dials it.
func script(t *testing.T, serve func(net.Conn, *frame.Reader)) *Link {
	t.Helper()
	id, cfg := node(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			serve(c, frame.NewReader(c))
			_ = c.Close()
		}
	}()
	l, err := New(Options{
		Identity: id, SpoolDir: t.TempDir(), Servers: Fixed(ln.Addr().String()),
		Spread: 10 * time.Millisecond, silence: 100 * time.Millisecond, ping: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		<-served
	})
	return l
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func welcome(c net.Conn, r *frame.Reader) {
	if _, err := r.Next(); err != nil {
		return
	}
	m, _ := frame.JSON(frame.HelloOK, 0, frame.HelloOKPayload{Version: 1, Server: "s1", Skew: 300})
	_ = frame.Write(c, m)
}

func TestSilentServer(t *testing.T) {
	pings := make(chan struct{}, 1000)
	l := script(t, func(c net.Conn, r *frame.Reader) {
		welcome(c, r)
		for m, err := r.Next(); err == nil; m, err = r.Next() {
			if m.Kind == frame.Ping {
				pings <- struct{}{}
			}
		}
	})
	eventually(t, "the silence is noticed", func() bool {
		e := l.Status().LastError
		return e != nil && e.Code == mesh.Unavailable && strings.Contains(e.Message, "has said nothing")
	})
	if len(pings) == 0 {
		t.Error("the agent did not ping")
	}
	if got := l.Status().Skew; got != 5*time.Minute {
		t.Errorf("skew = %s, want 5m", got)
	}
}

func TestRefusedAtHello(t *testing.T) {
	l := script(t, func(c net.Conn, r *frame.Reader) {
		if _, err := r.Next(); err == nil {
			m, _ := frame.JSON(frame.Refuse, 0, frame.Refusal{Code: mesh.Invalid, Message: "speaks another version", Hint: "the same release on both"})
			_ = frame.Write(c, m)
		}
	})
	eventually(t, "the reason is known", func() bool {
		e := l.Status().LastError
		return e != nil && e.Message == "speaks another version" && e.Hint == "the same release on both"
	})
	if l.Status().Connected {
		t.Error("connected to a server that refused")
	}
}

func TestNonsenseFromTheServer(t *testing.T) {
	l := script(t, func(c net.Conn, r *frame.Reader) {
		welcome(c, r)
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_, _ = r.Next()
	})
	eventually(t, "the link ends with a reason", func() bool {
		e := l.Status().LastError
		return e != nil && errors.Is(e, frame.ErrMalformed)
	})
}

func TestHello(t *testing.T) {
	hellos := make(chan frame.HelloPayload, 100)
	l := script(t, func(c net.Conn, r *frame.Reader) {
		m, err := r.Next()
		if err != nil {
			return
		}
		var h frame.HelloPayload
		if m.Decode(&h) == nil {
			hellos <- h
		}
		ok, _ := frame.JSON(frame.HelloOK, 0, frame.HelloOKPayload{Version: 1})
		_ = frame.Write(c, ok)
		_, _ = r.Next()
	})
	h := <-hellos
	if h.Version != frame.Version || h.Boot == "" || h.Dropped != 0 || time.Since(h.Time).Abs() > time.Minute {
		t.Errorf("hello = %+v", h)
	}
	eventually(t, "connected", func() bool { return l.Status().Connected })
}

func TestNewChecks(t *testing.T) {
	id, _ := node(t)
	nothing := func(context.Context, []byte) error { return nil }
	for name, o := range map[string]Options{
		"no identity":     {SpoolDir: t.TempDir(), Servers: Fixed()},
		"no directory":    {Identity: id, Servers: Fixed()},
		"no servers":      {Identity: id, SpoolDir: t.TempDir()},
		"handler for up":  {Identity: id, SpoolDir: t.TempDir(), Servers: Fixed(), Handlers: map[frame.Kind]Handler{frame.Exec: nothing}},
		"handler is nil":  {Identity: id, SpoolDir: t.TempDir(), Servers: Fixed(), Handlers: map[frame.Kind]Handler{frame.Want: nil}},
		"spool is a file": {Identity: id, SpoolDir: "/dev/null", Servers: Fixed()},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
