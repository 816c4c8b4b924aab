package linktest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	agentlink "alps/agent/link"
	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
	serverlink "alps/server/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something that must happen may take on a machine that
// is busy with other things.
const patience = 20 * time.Second

// world is one cluster: a CA, a server that may be stopped and started again
// on its address, and what the server has committed.
type world struct {
	t    testing.TB
	ca   *pki.CA
	addr string
	opts func(*serverlink.Options) // changes the options of the next server; may be nil.

	mu       sync.Mutex
	revoked  map[mesh.NodeID]bool
	enrolled int
	signAt   time.Time // when certificates are made; zero: now.

	server *serverlink.Server
	stop   func()
	log    recorder
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, ca: ca, addr: "127.0.0.1:0", revoked: make(map[mesh.NodeID]bool)}
}

// start runs a server until stop or the end of the test.
func (w *world) start() {
	w.t.Helper()
	var ln net.Listener
	eventually(w.t, "the port is free", func() bool {
		var err error
		ln, err = new(net.ListenConfig).Listen(context.Background(), "tcp", w.addr)
		return err == nil
	})
	if w.addr != ln.Addr().String() { // agents read it while a server is started again.
		w.addr = ln.Addr().String()
	}
	text, err := w.ca.IssueServer(pki.ServerRequest{ID: pki.Identity{Cluster: "test", Kind: pki.Server, NodeID: mesh.NewNodeID()}}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := pki.NewLive(text)
	if err != nil {
		w.t.Fatal(err)
	}
	o := serverlink.Options{
		Listener: ln, Name: "s1", CA: w.ca.Certificate(), Certificate: cert,
		Revoked:   w.isRevoked,
		Consumers: map[frame.Kind]serverlink.Consumer{frame.Exec: &w.log, frame.Fact: &w.log},
		Enroller:  w,
	}
	if w.opts != nil {
		w.opts(&o)
	}
	s, err := serverlink.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server, w.stop = s, run(w.t, s.Run)
}

// run runs something until the returned func is called, at the latest at the
// end of the test.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func (w *world) isRevoked(id mesh.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revoked[id]
}

func (w *world) revoke(id mesh.NodeID) {
	w.mu.Lock()
	w.revoked[id] = true
	w.mu.Unlock()
	w.server.Disconnect(id)
}

// Enrol lets everybody in.
func (w *world) Enrol(_ context.Context, r frame.EnrolRequest) (frame.EnrolResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enrolled++
	at := w.signAt
	if at.IsZero() {
		at = time.Now()
	}
	id := mesh.NewNodeID()
	cert, err := w.ca.SignAgent([]byte(r.CSR), pki.Identity{Cluster: "test", Kind: pki.Agent, NodeID: id}, at)
	return frame.EnrolResponse{
		NodeID: id, Cluster: "test", Cert: string(cert), CA: string(w.ca.PEM()), Servers: []string{w.addr}, TrustRoot: "root",
	}, err
}

// Renew signs what it is shown.
func (w *world) Renew(_ context.Context, id pki.Identity, csr []byte) ([]byte, error) {
	return w.ca.SignAgent(csr, id, time.Now())
}

// enrol makes a node with a data directory of its own.
func (w *world) enrol() *agentlink.Identity {
	w.t.Helper()
	id, err := agentlink.Enrol(w.t.Context(), agentlink.EnrolOptions{
		DataDir: w.t.TempDir(), Token: w.ca.NewJoinToken().String(), Servers: []string{w.addr},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// agent makes a link that comes back within milliseconds.
func (w *world) agent(id *agentlink.Identity, dir string, change func(*agentlink.Options)) *agentlink.Link {
	w.t.Helper()
	o := agentlink.Options{
		Identity: id, SpoolDir: dir, Name: "n1", Spread: 20 * time.Millisecond,
		Servers: func(context.Context) ([]string, error) { return []string{w.addr}, nil },
	}
	if change != nil {
		change(&o)
	}
	l, err := agentlink.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// recorder is a Consumer that keeps what it commits.
type recorder struct {
	mu     sync.Mutex
	got    []string // "<boot> <seq> <payload>"
	calls  int
	busy   map[mesh.NodeID]bool
	doubly bool                                                     // two calls at once for a node.
	before func(context.Context, frame.Peer, []frame.Message) error // an error is returned instead of committing.
}

func (r *recorder) Commit(ctx context.Context, from frame.Peer, ms []frame.Message) error {
	r.mu.Lock()
	if r.busy == nil {
		r.busy = make(map[mesh.NodeID]bool)
	}
	r.doubly = r.doubly || r.busy[from.NodeID]
	r.busy[from.NodeID] = true
	before := r.before
	r.mu.Unlock()
	var err error
	if before != nil {
		err = before(ctx, from, ms)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[from.NodeID] = false
	r.calls++
	if err != nil {
		return err
	}
	for _, m := range ms {
		r.got = append(r.got, fmt.Sprintf("%s %d %s", from.Boot, m.Seq, m.Payload))
	}
	return nil
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// eventually waits until ok, or fails the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not after %s: %s", patience, what)
		}
	}
}

func send(t testing.TB, l *agentlink.Link, k frame.Kind, text string) {
	t.Helper()
	if err := l.Send(k, []byte(text), true); err != nil {
		t.Fatal(err)
	}
}

// stranger returns a client that believes the server and shows nothing.
func (w *world) stranger() *http.Client {
	tok := w.ca.NewJoinToken()
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: pki.JoinTLS(tok, "http/1.1"),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.addr)
		},
	}}
}
