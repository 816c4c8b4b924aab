package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// fixture is a running server and the CA to make clients with.
type fixture struct {
	t    testing.TB
	ca   *pki.CA
	addr string
	s    *Server
	stop func()
	rec  *recorder
}

func start(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	text, err := ca.IssueServer(pki.ServerRequest{ID: pki.Identity{Cluster: "test", Kind: pki.Server, NodeID: mesh.NewNodeID()}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pki.NewLive(text)
	if err != nil {
		t.Fatal(err)
	}
	b := &fixture{t: t, ca: ca, addr: ln.Addr().String(), rec: new(recorder)}
	o := Options{
		Listener: ln, Name: "s1", CA: ca.Certificate(), Certificate: cert,
		Revoked:   func(mesh.NodeID) bool { return false },
		Consumers: map[frame.Kind]Consumer{frame.Exec: b.rec},
	}
	if change != nil {
		change(&o)
	}
	if b.s, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.s.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

type recorder struct {
	mu  sync.Mutex
	got []string
}

func (r *recorder) Commit(_ context.Context, _ frame.Peer, ms []frame.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range ms {
		r.got = append(r.got, fmt.Sprintf("%d:%s", m.Seq, m.Payload))
	}
	return nil
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, " ")
}

// client is an agent whose every frame the test decides.
type client struct {
	*tls.Conn
	t testing.TB
	r *frame.Reader
}

// config makes the TLS configuration of a new holder.
func (b *fixture) config(id pki.Identity) *tls.Config {
	b.t.Helper()
	var text []byte
	if id.Kind == pki.Server {
		var err error
		if text, err = b.ca.IssueServer(pki.ServerRequest{ID: id}, time.Now()); err != nil {
			b.t.Fatal(err)
		}
	} else {
		key, err := pki.NewKey()
		if err != nil {
			b.t.Fatal(err)
		}
		csr, err := pki.NewRequest(key)
		if err != nil {
			b.t.Fatal(err)
		}
		if text, err = b.ca.SignAgent(csr, id, time.Now()); err != nil {
			b.t.Fatal(err)
		}
		keyPEM, err := pki.EncodeKey(key)
		if err != nil {
			b.t.Fatal(err)
		}
		text = append(text, keyPEM...)
	}
	cert, err := pki.NewLive(text)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg, err := pki.ClientTLS(pki.ClientOptions{CA: b.ca.Certificate(), Certificate: cert, Protocols: []string{frame.Protocol}})
	if err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

func (b *fixture) dial(cfg *tls.Config) *client {
	b.t.Helper()
	d := tls.Dialer{Config: cfg}
	c, err := d.DialContext(context.Background(), "tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		b.t.Fatal(err)
	}
	return &client{Conn: c.(*tls.Conn), t: b.t, r: frame.NewReader(c)}
}

func agent() pki.Identity {
	return pki.Identity{Cluster: "test", Kind: pki.Agent, NodeID: mesh.NewNodeID()}
}

func (c *client) send(ms ...frame.Message) {
	c.t.Helper()
	if err := frame.Write(c, ms...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() frame.Message {
	c.t.Helper()
	m, err := c.r.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func hello(t testing.TB, boot frame.BootID) frame.Message {
	t.Helper()
	m, err := frame.JSON(frame.Hello, 0, frame.HelloPayload{Version: frame.Version, Boot: boot, Name: "n1", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// link dials, says hello and returns what it was answered.
func (b *fixture) link(cfg *tls.Config, boot frame.BootID) (*client, frame.HelloOKPayload) {
	b.t.Helper()
	c := b.dial(cfg)
	c.send(hello(b.t, boot))
	m := c.next()
	var ok frame.HelloOKPayload
	if m.Kind != frame.HelloOK || m.Decode(&ok) != nil {
		b.t.Fatalf("hello was answered by %s: %s", m.Kind, m.Payload)
	}
	return c, ok
}

// refusal reads until the server refuses the link.
func (c *client) refusal() mesh.Code {
	c.t.Helper()
	for {
		if m := c.next(); m.Kind == frame.Refuse && m.Seq == 0 {
			var r frame.Refusal
			if err := m.Decode(&r); err != nil {
				c.t.Fatal(err)
			}
			return r.Code
		}
	}
}

const boot1, boot2 = frame.BootID("00000001aaaaaaaa"), frame.BootID("00000002bbbbbbbb")

func exec(seq uint64, text string) frame.Message {
	return frame.Message{Kind: frame.Exec, Seq: seq, Payload: []byte(text)}
}

func wantAck(t testing.TB, m frame.Message, seq uint64, boot frame.BootID) {
	t.Helper()
	if m.Kind != frame.Ack || m.Seq != seq || string(m.Payload) != string(boot) {
		t.Errorf("got %s(%d) %q, want ack(%d) %q", m.Kind, m.Seq, m.Payload, seq, boot)
	}
}

func TestAckAndRepetition(t *testing.T) {
	b := start(t, nil)
	cfg := b.config(agent())
	c, _ := b.link(cfg, boot2)
	c.send(exec(1, "a"), exec(2, "b"))
	wantAck(t, c.next(), 2, boot2)
	c.send(exec(2, "b"), exec(5, "c")) // 3 and 4 were dropped by the agent.
	wantAck(t, c.next(), 5, boot2)
	_ = c.Close()

	c, ok := b.link(cfg, boot2)
	if ok.Acked != 5 || ok.Server != "s1" {
		t.Errorf("hello-ok = %+v, want acked 5 by s1", ok)
	}
	c.send(exec(5, "c"))
	wantAck(t, c.next(), 5, boot2)
	c.send(frame.Message{Kind: frame.Boot, Payload: []byte(boot1)}, exec(1, "old"),
		frame.Message{Kind: frame.Boot, Payload: []byte(boot2)}, exec(6, "d"))
	wantAck(t, c.next(), 1, boot1)
	wantAck(t, c.next(), 6, boot2)
	if got, want := b.rec.all(), "1:a 2:b 5:c 1:old 6:d"; got != want {
		t.Errorf("committed %q, want %q", got, want)
	}
	if n := b.s.Stats().Repeated; n != 2 {
		t.Errorf("%d repetitions, want 2", n)
	}
}

func TestBadBeginnings(t *testing.T) {
	b := start(t, nil)
	version, err := frame.JSON(frame.Hello, 0, frame.HelloPayload{Version: 99, Boot: boot1})
	if err != nil {
		t.Fatal(err)
	}
	long, err := frame.JSON(frame.Hello, 0, frame.HelloPayload{Version: frame.Version, Boot: boot1, Name: mesh.NodeName(strings.Repeat("x", 256))})
	if err != nil {
		t.Fatal(err)
	}
	server := pki.Identity{Cluster: "test", Kind: pki.Server, NodeID: mesh.NewNodeID()}
	for name, tc := range map[string]struct {
		id    pki.Identity
		first frame.Message
		want  mesh.Code
	}{
		"data first":      {agent(), exec(1, "a"), mesh.Invalid},
		"not JSON":        {agent(), frame.Message{Kind: frame.Hello, Payload: []byte("{")}, mesh.Invalid},
		"no boot":         {agent(), hello(t, ""), mesh.Invalid},
		"another version": {agent(), version, mesh.Invalid},
		"a long name":     {agent(), long, mesh.Invalid},
		"a server":        {server, hello(t, boot1), mesh.Denied},
	} {
		c := b.dial(b.config(tc.id))
		c.send(tc.first)
		if got := c.refusal(); got != tc.want {
			t.Errorf("%s: refused with %q, want %q", name, got, tc.want)
		}
	}
	// Without a certificate the protocol alone does not open a link.
	tok := b.ca.NewJoinToken()
	c := b.dial(pki.JoinTLS(tok, frame.Protocol))
	if got := c.refusal(); got != mesh.Unauthorized {
		t.Errorf("a stranger was refused with %q, want %q", got, mesh.Unauthorized)
	}
	if n := b.s.Stats().Links; n != 0 {
		t.Errorf("%d links are open", n)
	}
}

func TestBadMiddles(t *testing.T) {
	for name, tc := range map[string]struct {
		send []frame.Message
		want mesh.Code
	}{
		"second hello":     {[]frame.Message{hello(t, boot1)}, mesh.Invalid},
		"boot of nonsense": {[]frame.Message{{Kind: frame.Boot, Payload: []byte("x")}}, mesh.Invalid},
		"numbers fall":     {[]frame.Message{exec(2, "a"), exec(1, "b")}, mesh.Invalid},
		"refuse, no JSON":  {[]frame.Message{{Kind: frame.Refuse, Seq: 1}}, mesh.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, nil)
			c, _ := b.link(b.config(agent()), boot1)
			c.send(tc.send...)
			if got := c.refusal(); got != tc.want {
				t.Errorf("refused with %q, want %q", got, tc.want)
			}
		})
	}
}

func TestUnknownKindsDoNotEndTheLink(t *testing.T) {
	b := start(t, nil)
	c, _ := b.link(b.config(agent()), boot1)
	c.send(frame.Message{Kind: 9}, frame.Message{Kind: 60, Seq: 1}, frame.Message{Kind: 200, Seq: 2}, exec(3, "a"), frame.Message{Kind: frame.Ping})
	waiting := []string{"refuse(1)", "refuse(2)", "ack(3)", "pong(0)"}
	for len(waiting) > 0 { // the client's deadline ends it.
		m := c.next()
		s := fmt.Sprintf("%s(%d)", m.Kind, m.Seq)
		waiting = slices.DeleteFunc(waiting, func(w string) bool { return w == s })
	}
	if b.rec.all() != "3:a" {
		t.Errorf("committed %q, want 3:a", b.rec.all())
	}
}

func TestSilence(t *testing.T) {
	b := start(t, func(o *Options) { o.silence = 50 * time.Millisecond })
	c, _ := b.link(b.config(agent()), boot1)
	if got := c.refusal(); got != mesh.Unavailable {
		t.Errorf("refused with %q, want %q", got, mesh.Unavailable)
	}
}

func TestRevokedLinkEndsAtItsNextWord(t *testing.T) {
	id := agent()
	var mu sync.Mutex
	revoked := false
	b := start(t, func(o *Options) {
		o.Revoked = func(n mesh.NodeID) bool { mu.Lock(); defer mu.Unlock(); return revoked && n == id.NodeID }
	})
	c, _ := b.link(b.config(id), boot1)
	mu.Lock()
	revoked = true
	mu.Unlock()
	c.send(exec(1, "late"))
	if got := c.refusal(); got != mesh.Denied {
		t.Errorf("refused with %q, want %q", got, mesh.Denied)
	}
	if b.rec.all() != "" {
		t.Errorf("committed %q of a revoked node", b.rec.all())
	}
}

func TestHooksArePaired(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(s string) { mu.Lock(); defer mu.Unlock(); got = append(got, s) }
	b := start(t, func(o *Options) {
		o.OnConnect = func(p frame.Peer, _ frame.HelloPayload) { note("+" + string(p.Boot)) }
		o.OnDisconnect = func(p frame.Peer, err error) { note(fmt.Sprintf("-%s %s", p.Boot, mesh.CodeOf(err))) }
	})
	cfg := b.config(agent())
	first, _ := b.link(cfg, boot1)
	second, _ := b.link(cfg, boot2) // pushes out the first.
	if got := first.refusal(); got != mesh.Conflict {
		t.Errorf("the first link ended with %q, want %q", got, mesh.Conflict)
	}
	b.stop()
	if got := second.refusal(); got != mesh.Unavailable {
		t.Errorf("the second link ended with %q, want %q", got, mesh.Unavailable)
	}
	want := []string{"+" + string(boot1), "-" + string(boot1) + " conflict", "+" + string(boot2), "-" + string(boot2) + " unavailable"}
	if !slices.Equal(got, want) {
		t.Errorf("hooks were called as %v, want %v", got, want)
	}
}

func TestMarks(t *testing.T) {
	m := newMarks()
	for i := range uint64(10) {
		m.set("n", frame.BootID(fmt.Sprintf("%016x", i)), 100+i)
	}
	if got := m.get("n", "0000000000000009"); got != 109 {
		t.Errorf("newest boot: %d, want 109", got)
	}
	if got := m.get("n", "0000000000000000"); got != 0 {
		t.Errorf("a boot long gone: %d, want 0", got)
	}
	m.set("n", "0000000000000009", 5)
	if got := m.get("n", "0000000000000009"); got != 109 {
		t.Errorf("a mark went back to %d", got)
	}
	for i, tc := range []struct {
		boot frame.BootID
		want bool
	}{{"a", false}, {"a", false}, {"b", false}, {"b", false}, {"a", true}, {"b", true}, {"c", false}} {
		if got := m.hello("n", tc.boot); got != tc.want {
			t.Errorf("hello %d of %s: came back %v, want %v", i, tc.boot, got, tc.want)
		}
	}
}

// BenchmarkIdleLink reports what one idle link takes of this process, which
// holds both its ends, and the part of it that goes when the server stops.
func BenchmarkIdleLink(b *testing.B) {
	const n = 500
	for b.Loop() {
		be := start(b, nil)
		ids := make([]*tls.Config, n)
		for i := range ids {
			ids[i] = be.config(agent())
		}
		clients := make([]*client, n)
		before := memory()
		for i := range clients {
			clients[i], _ = be.link(ids[i], boot1)
		}
		both := memory()
		be.stop()
		client := memory()
		b.ReportMetric(float64(both-client)/n, "server-B/link")
		b.ReportMetric(float64(both-before)/n, "both-B/link")
		runtime.KeepAlive(clients)
	}
}

func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
