package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/link/spool"
	"alps/mesh"
	"alps/mesh/frame"
)

// Handler takes the messages of one kind that a server sends. They come in
// order, one at a time over all kinds. The server is told when it has
// returned, and what it returned. A message whose link broke meanwhile may
// come again: that is for the server to decide.
type Handler func(ctx context.Context, payload []byte) error

// Options is what a Link is made from. Identity, SpoolDir and Servers are
// needed.
type Options struct {
	Identity *Identity
	SpoolDir string
	// Servers finds the addresses (host:port) of servers, in any order. It is
	// called before each try. While it fails, those known at enrolment are
	// tried.
	Servers  func(ctx context.Context) ([]string, error)
	Handlers map[frame.Kind]Handler

	Name    mesh.NodeName // what the node calls itself.
	Release string        // of alps.
	Spread  time.Duration // zero: as long as suits the number of nodes that a server tells.
	Logger  hclog.Logger  // nil: nothing is logged.

	silence, ping time.Duration // for tests; zero: the constants.
}

// Status is how the link is doing, for `alps doctor`.
type Status struct {
	NodeID    mesh.NodeID
	Connected bool
	Server    string    // the name that the server gave itself.
	Addr      string    // its address.
	Since     time.Time // since when it is connected, or is not.
	// LastError is why there is no link now, or why the last one ended.
	LastError *mesh.Error
	// Skew is how far this node's clock is ahead of the server's, as of the
	// last hello.
	Skew time.Duration
	// Lead is the highest term of a leader that any server has told of.
	Lead         uint64
	Refused      int         // messages that a server will never take.
	LastRefusal  *mesh.Error // the newest of them.
	CertNotAfter time.Time
	RenewError   *mesh.Error // why the certificate could not be renewed; nil when it could.
	Spool        spool.Stats
}

// Link delivers messages to the servers. Its methods may be called from any
// goroutine.
type Link struct {
	o     Options
	log   hclog.Logger
	spool *spool.Spool
	tls   *tls.Config // of the link's protocol; one for all sessions, for its session tickets.
	http  *http.Client
	renew chan struct{} // signalled when a link has begun.
	lead  *lead

	mu     sync.Mutex
	status Status
	nodes  int               // that the last server has told of.
	told   map[string]string // why there is no link, by address.
}

// New opens the spool. The link needs Run to get anywhere; Send works before.
func New(o Options) (*Link, error) {
	if o.Identity == nil || o.SpoolDir == "" || o.Servers == nil {
		return nil, errors.New("new link: Identity, SpoolDir and Servers are all needed")
	}
	for k, h := range o.Handlers {
		if !k.Down() || h == nil {
			return nil, fmt.Errorf("new link: handler for %s: not a kind that servers send, or nil", k)
		}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.silence == 0 {
		o.silence = silence
	}
	if o.ping == 0 {
		o.ping = pingEvery
	}
	l := &Link{o: o, log: o.Logger, renew: make(chan struct{}, 1), lead: readLead(o.Identity.dir), told: make(map[string]string)}
	l.status = Status{NodeID: o.Identity.NodeID(), Since: time.Now()}
	var err error
	if l.tls, err = o.Identity.clientTLS(frame.Protocol); err != nil {
		return nil, fmt.Errorf("new link: %w", err)
	}
	if l.http, err = newHTTP(l); err != nil {
		return nil, fmt.Errorf("new link: %w", err)
	}
	if l.spool, err = spool.Open(spool.Options{Dir: o.SpoolDir}); err != nil {
		return nil, fmt.Errorf("new link: %w", err)
	}
	return l, nil
}

// Send keeps a message until a server has committed it, and returns when it
// is kept. A durable one survives a crash of this machine once Send has
// returned; any other most crashes of this process. See spool.Append for the
// errors.
func (l *Link) Send(k frame.Kind, payload []byte, durable bool) error {
	_, err := l.spool.Append(k, payload, durable)
	return err
}

// HTTP returns a client for BaseURL: the server that holds the link, with
// this node's certificate. Without a link its requests fail at once with
// mesh.Unavailable. The caller sets deadlines by context.
func (l *Link) HTTP() *http.Client { return l.http }

// Status returns how the link is doing.
func (l *Link) Status() Status {
	l.mu.Lock()
	st := l.status
	l.mu.Unlock()
	st.Spool, st.Lead = l.spool.Stats(), l.lead.highest()
	st.CertNotAfter = l.o.Identity.cert.Leaf().NotAfter
	return st
}

// Run keeps a link until ctx ends, and returns nil then. It may be called
// once. A Send that comes later is kept for the next run of the process.
func (l *Link) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { l.keepRenewed(ctx) })
	failures := 0
	for ctx.Err() == nil {
		how := l.try(ctx)
		if how == neverBegan {
			failures++
		} else {
			failures = 0
		}
		l.http.CloseIdleConnections()
		d := pause(how, failures, l.spread())
		l.log.Debug("no link; trying again", "in", d)
		sleep(ctx, d)
	}
	wg.Wait()
	l.http.CloseIdleConnections()
	return l.spool.Close()
}

// try goes through the servers until one holds a link, and returns when that
// has ended, or none would.
func (l *Link) try(ctx context.Context) ending {
	addrs, err := l.o.Servers(ctx)
	if err != nil || len(addrs) == 0 {
		if err == nil {
			err = errors.New("there is none")
		}
		l.failed("", mesh.Errorf(mesh.Unavailable, "find a server: %w", err).
			WithHint("look whether Consul has the service alps-server, or name one: join { servers = [\"host:8781\"] }"))
		addrs = l.o.Identity.Servers()
	}
	how := neverBegan
	for _, addr := range rank(l.o.Identity.NodeID(), addrs) {
		began, err := l.session(ctx, addr)
		if ctx.Err() != nil {
			return how
		}
		e := explain(err, addr, l.o.Identity.cert.Leaf())
		l.failed(addr, e)
		switch {
		case e.Code == mesh.Denied || e.Code == mesh.Conflict:
			return refused
		case began && (goneAway(err) || isRefusal(err)):
			return serverLeft
		case began:
			return broke
		}
	}
	return how
}

// failed notes why there is no link by an address. The same reason is logged
// once for each until there was a link.
func (l *Link) failed(addr string, e *mesh.Error) {
	l.mu.Lock()
	last := l.told[addr]
	l.told[addr] = e.Message
	was := l.status.Connected
	if was {
		l.status.Since = time.Now()
	}
	l.status.Connected, l.status.LastError = false, e
	l.mu.Unlock()
	if was || last != e.Message {
		l.log.Warn("no link to a server", "error", e, "hint", e.Hint)
	}
}

// began notes that a server has taken us.
func (l *Link) began(addr string, h frame.HelloOKPayload) {
	l.mu.Lock()
	l.status.Connected, l.status.Since = true, time.Now()
	l.status.Server, l.status.Addr = h.Server, addr
	l.status.Skew = time.Duration(h.Skew * float64(time.Second))
	l.nodes = h.Nodes
	clear(l.told)
	skew := l.status.Skew
	l.mu.Unlock()
	if skew.Abs() > maxSkew {
		l.log.Warn("this node's clock differs from the server's", "ahead", skew.Round(time.Second), "server", h.Server)
	}
	l.log.Info("linked to a server", "server", h.Server, "addr", addr)
	select {
	case l.renew <- struct{}{}:
	default:
	}
}

// spread is over how long this node and the others come back.
func (l *Link) spread() time.Duration {
	if l.o.Spread != 0 {
		return l.o.Spread
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return spreadOf(l.nodes)
}

// addr returns the address of the server that holds the link, or "".
func (l *Link) addr() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.status.Connected {
		return ""
	}
	return l.status.Addr
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
