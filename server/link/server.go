package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// Server accepts links and requests of agents. Its methods may be called from
// any goroutine.
type Server struct {
	o     Options
	log   hclog.Logger
	tls   *tls.Config
	web   *handoff
	marks *marks
	slots chan struct{} // one taken per connection that is not yet known.
	count counters

	mu    sync.Mutex
	links map[mesh.NodeID]*link // the newest of each node; being opened or open.
}

// counters are the sums behind Stats.
type counters struct {
	accepted, failed, resumed, messages, repeated, commits, refused, replaced, clones atomic.Int64
}

// Stats is how a Server is doing. All but Links and Handshakes are sums since
// it started.
type Stats struct {
	Links      int   // open now.
	Handshakes int   // connections now that are not yet a link or a request.
	Accepted   int64 // connections.
	Failed     int64 // connections that did not get past TLS and hello.
	Resumed    int64 // TLS sessions that an agent took up again by its ticket.
	Messages   int64 // committed.
	Repeated   int64 // messages that had been committed before and were dropped.
	Commits    int64 // calls of Commit that returned nil.
	Refused    int64 // messages that will never be taken.
	Replaced   int64 // links pushed out by a second one of the same node.
	Clones     int64 // replacements that only two machines with one identity explain.
}

// New checks the options. The listener is not touched before Run.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	cfg, err := pki.ServerTLS(pki.ServerOptions{
		CA:          o.CA,
		Certificate: o.Certificate,
		Revoked:     o.Revoked,
		Protocols:   []string{frame.Protocol, "http/1.1"},
	})
	if err != nil {
		return nil, fmt.Errorf("new link server: %w", err)
	}
	return &Server{
		o:     o,
		log:   o.Logger,
		tls:   cfg,
		web:   newHandoff(o.Listener.Addr()),
		marks: newMarks(),
		slots: make(chan struct{}, maxHandshakes),
		links: make(map[mesh.NodeID]*link),
	}, nil
}

// Run accepts connections until ctx ends or the listener fails, then says
// good-bye to every agent and waits for what it started. It may be called
// once. It returns nil when ctx ended.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	web := s.webServer()
	wg.Go(func() { _ = web.Serve(s.web) }) // returns when the handoff is closed.
	wg.Go(func() {
		<-ctx.Done()
		_ = s.o.Listener.Close() // ends the accept loop below.
	})

	err := s.accept(ctx, &wg)
	cancel()
	s.closeLinks()
	shutdownWeb(context.WithoutCancel(ctx), web)
	wg.Wait()
	return err
}

// accept takes connections and gives each a goroutine of its own.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup) error {
	for pause := time.Duration(0); ; {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.o.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept agents: %w", err)
		case err != nil:
			// Out of file descriptors, most likely: they come back.
			<-s.slots
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", "error", err, "pause", pause)
			sleep(ctx, pause)
			continue
		}
		pause = 0
		s.count.accepted.Add(1)
		wg.Go(func() {
			defer func() { <-s.slots }()
			s.serve(ctx, wg, conn)
		})
	}
}

// serve makes the handshake and passes the connection on. The goroutine that
// it runs in ends then: its stack has grown large, and a link may last for
// months.
func (s *Server) serve(ctx context.Context, wg *sync.WaitGroup, raw net.Conn) {
	conn := tls.Server(raw, s.tls)
	l, hello, err := s.open(ctx, conn)
	switch {
	case err != nil:
		s.count.failed.Add(1)
		s.log.Debug("connection refused", "from", raw.RemoteAddr().String(), "error", err)
		_ = conn.Close()
		s.turnedAway(conn, err)
	case l == nil:
		s.web.give(conn)
	default:
		s.start(ctx, wg, l, hello)
	}
}

// turnedAway tells of a connection that has failed if that is because of its
// certificate: one that broke, or that has shown none, is no news.
func (s *Server) turnedAway(conn *tls.Conn, why error) {
	if s.o.OnTurnedAway == nil {
		return
	}
	state, code := conn.ConnectionState(), mesh.CodeOf(why)
	_, unbelieved := errors.AsType[*tls.CertificateVerificationError](why)
	known := len(state.PeerCertificates) > 0 && (code == mesh.Denied || code == mesh.Unauthorized)
	if !unbelieved && !known {
		return
	}
	p := frame.Peer{Addr: conn.RemoteAddr().String()}
	if id, err := pki.PeerOf(state); err == nil && known {
		p.NodeID = id.NodeID
	}
	s.o.OnTurnedAway(p, why)
}

// open makes the TLS handshake and, on the link's protocol, reads the hello.
// It returns no link for a connection that speaks HTTP.
func (s *Server) open(ctx context.Context, conn *tls.Conn) (*link, frame.HelloPayload, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, frame.HelloPayload{}, err
	}
	if conn.ConnectionState().DidResume {
		s.count.resumed.Add(1)
	}
	if conn.ConnectionState().NegotiatedProtocol != frame.Protocol {
		return nil, frame.HelloPayload{}, nil
	}
	l := &link{s: s, conn: conn, r: frame.NewReader(conn), done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	hello, err := s.hello(l)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.refuse(err)
	}
	return l, hello, err
}

// start gives a link its goroutine, which then owns the connection.
func (s *Server) start(ctx context.Context, wg *sync.WaitGroup, l *link, hello frame.HelloPayload) {
	ctx, l.cancel = context.WithCancel(ctx)
	old, ok := s.register(l)
	if !ok {
		l.end(errStopping())
		return
	}
	wg.Go(func() { l.run(ctx, hello, old) })
}

// hello reads and checks the first message of a link.
func (s *Server) hello(l *link) (frame.HelloPayload, error) {
	var h frame.HelloPayload
	id, err := pki.PeerOf(l.conn.ConnectionState())
	if err != nil {
		return h, err
	}
	if id.Kind != pki.Agent {
		return h, mesh.Errorf(mesh.Denied, "open link: %s is not an agent", id)
	}
	m, err := l.r.Next()
	if err != nil {
		return h, fmt.Errorf("open link of node %s: %w", id.NodeID, err)
	}
	if m.Kind != frame.Hello {
		return h, mesh.Errorf(mesh.Invalid, "open link: the first message is %s, want hello", m.Kind)
	}
	if err := m.Decode(&h); err != nil {
		return h, err
	}
	if h.Version != frame.Version {
		return h, mesh.Errorf(mesh.Invalid, "open link: the agent speaks version %d, this server version %d", h.Version, frame.Version).
			WithHint("run the same release of alps on both")
	}
	if _, err := frame.ParseBootID(string(h.Boot)); err != nil {
		return h, mesh.Errorf(mesh.Invalid, "open link: %w", err)
	}
	if len(h.Name) > maxName {
		return h, mesh.Errorf(mesh.Invalid, "open link: a node name of %d bytes, at most %d are taken", len(h.Name), maxName)
	}
	l.peer = frame.Peer{NodeID: id.NodeID, Name: h.Name, Addr: l.conn.RemoteAddr().String(), Boot: h.Boot}
	return h, nil
}

// register puts a link in the place of the node's older one, which it ends
// and returns. It reports false when the server is stopping.
func (s *Server) register(l *link) (old *link, ok bool) {
	s.mu.Lock()
	if s.links == nil {
		s.mu.Unlock()
		return nil, false
	}
	old = s.links[l.peer.NodeID]
	s.links[l.peer.NodeID] = l
	s.mu.Unlock()

	back := s.marks.hello(l.peer.NodeID, l.peer.Boot)
	if old == nil {
		return nil, true
	}
	old.end(mesh.Errorf(mesh.Conflict, "another link of this node, from %s, has taken the place of this one", l.peer.Addr).
		WithHint("two agents may share one identity: was the disk cloned? Remove identity/ from the copy and enrol it"))
	rep := Replacement{Node: l.peer.NodeID, Old: old.peer, New: l.peer, Count: s.marks.replace(l.peer.NodeID), Clone: back}
	s.count.replaced.Add(1)
	if back {
		s.count.clones.Add(1)
		s.log.Warn("two agents use one identity", "node", l.peer.NodeID, "one", old.peer.Addr, "other", l.peer.Addr, "count", rep.Count)
	}
	if s.o.OnReplaced != nil {
		s.o.OnReplaced(rep)
	}
	return old, true
}

// unregister forgets a link, unless another has taken its place.
func (s *Server) unregister(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[l.peer.NodeID] == l {
		delete(s.links, l.peer.NodeID)
	}
}

// closeLinks ends every link and lets no further one in.
func (s *Server) closeLinks() {
	s.mu.Lock()
	links := s.links
	s.links = nil
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() { l.end(errStopping()) })
	}
	wg.Wait()
}

func errStopping() *mesh.Error { return mesh.Errorf(mesh.Unavailable, "the server is stopping") }

// Stats returns how the server is doing.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.links)
	s.mu.Unlock()
	return Stats{
		Links:      n,
		Handshakes: len(s.slots),
		Accepted:   s.count.accepted.Load(),
		Failed:     s.count.failed.Load(),
		Resumed:    s.count.resumed.Load(),
		Messages:   s.count.messages.Load(),
		Repeated:   s.count.repeated.Load(),
		Commits:    s.count.commits.Load(),
		Refused:    s.count.refused.Load(),
		Replaced:   s.count.replaced.Load(),
		Clones:     s.count.clones.Load(),
	}
}

// webServer serves what is not a link.
func (s *Server) webServer() *http.Server {
	return &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: handshakeTime,
		ReadTimeout:       5 * time.Minute, // 3 MiB over a poor line.
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// shutdownWeb lets requests under way end, for a short while.
func shutdownWeb(ctx context.Context, web *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		_ = web.Close() // what hangs is cut off.
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
