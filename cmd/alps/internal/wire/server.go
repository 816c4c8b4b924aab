package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/pki"
	"alps/server/leader"
	"alps/server/store/sqlite"
)

// Server is an ALPS server. Of several over one store one leads and does the
// work; the others stand by and pass what they are asked on to it.
//
//	Run ──► stand by ──(the lock is ours)──► office: everything a server does
//	           ▲                                │
//	           └──────(another one leads)───────┘
type Server struct {
	closers closers
	base    Base
	db      *sqlite.DB
	consul  *consul.Client
	self    consul.Self
	ca      *pki.CA
	live    *pki.Live
	lead    *leader.Leader
	log     hclog.Logger

	mu     sync.Mutex
	cfg    *config.Server
	office *office // nil while this server stands by.
}

// NewServer puts a server together as far as both who leads and who stands by
// need it. It opens the store, waits for Consul to say who we are, and finds
// out whether its addresses are free; what it acquired before an error is
// given back. Run gives back the rest.
func NewServer(ctx context.Context, cfg *config.Server, b Base) (*Server, error) {
	s := &Server{base: b, cfg: cfg, log: b.Logger}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.closers.close())
	}
	return s, nil
}

// build is one straight line in the order of dependency.
func (s *Server) build(ctx context.Context) error {
	cfg := s.cfg
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return mesh.Errorf(mesh.Invalid, "make data_dir: %w", err)
	}
	unlock, err := leader.LockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	s.closers.add("lock of data_dir", unlock)
	s.db, err = sqlite.Open(ctx, cfg.Store.Path)
	if err != nil {
		return err
	}
	s.closers.add("store", s.db.Close)
	s.ca, s.live, err = serverIdentity(cfg, time.Now())
	if err != nil {
		return err
	}
	if err := s.tryAddresses(ctx); err != nil {
		return err
	}
	if _, err := readTrust(cfg, time.Now()); err != nil {
		return err
	}
	if _, err := loadRules(cfg); err != nil {
		return err
	}
	s.consul, err = NewConsul(cfg.Consul)
	if err != nil {
		return err
	}
	s.closers.add("consul client", func() error { s.consul.Close(); return nil })
	s.self, err = whoAmI(ctx, s.consul, s.log.Named("consul"))
	if err != nil {
		return err
	}
	lock := leader.FromConsul(s.consul, cfg.Leader.Key)
	s.lead, err = leader.New(leader.Options{
		Sessions: lock, Lock: lock, TTL: cfg.Leader.TTL, SessionFile: dataFile(cfg, "leader.session"), Floor: s.db.FencedTerm,
		Me: leader.Info{Name: string(s.self.Name), API: reachable(cfg.API.Listen)}, Logger: s.log.Named("leader"),
	})
	return err
}

// tryAddresses finds out whether the addresses are free, so that a server that
// stands by does not find that out when it is needed.
func (s *Server) tryAddresses(ctx context.Context) error {
	for key, addr := range map[string]string{"link.listen": s.cfg.Link.Listen, "api.listen": s.cfg.API.Listen} {
		l, err := listen(ctx, key, addr)
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Run competes for the lock, and leads or stands by, until ctx ends or this
// server cannot go on. The lock is given back last: when the next server
// leads, this one does nothing any more.
func (s *Server) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	lctx, release := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return s.lead.Run(lctx) })
	g.Go(func() error { return renewal{cfg: s.cfg, ca: s.ca, live: s.live, log: s.log.Named("tls")}.run(gctx) })
	g.Go(func() error {
		defer release()
		for gctx.Err() == nil {
			if err := s.turn(gctx); err != nil && gctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(g.Wait(), s.closers.close())
}

// turn is one time of standing by, and the time of leading that follows. It
// returns nil when another server leads, or ctx has ended.
func (s *Server) turn(ctx context.Context) error {
	term, err := s.standBy(ctx)
	if err != nil {
		return err
	}
	tctx, end := s.termContext(ctx)
	defer end()
	if err := s.fence(tctx, term); err != nil {
		if tctx.Err() != nil || mesh.CodeOf(err) == mesh.Conflict { // a newer term has begun.
			return nil
		}
		return err
	}
	s.mu.Lock()
	o, err := newOffice(tctx, s, s.cfg)
	s.office = o
	s.mu.Unlock()
	if err == nil {
		err = o.run(tctx)
	}
	s.mu.Lock()
	s.office = nil
	s.mu.Unlock()
	if tctx.Err() != nil {
		return nil // it was told to end.
	}
	return err
}

// termContext ends with ctx, and when another server leads. The func that
// comes with it must be called.
func (s *Server) termContext(ctx context.Context) (context.Context, func()) {
	deposed := s.lead.Deposed()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-deposed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		wg.Wait()
	}
}

// fenceRetry lies between two tries to begin a term in a store that does not
// take it.
const fenceRetry = time.Second

// fence shuts the servers of earlier terms out of the store. A store that is
// locked, as by a leader that was stopped while it wrote, is waited for: to
// give up would leave nobody to lead.
func (s *Server) fence(ctx context.Context, term leader.Term) error {
	for told := false; ; {
		err := s.db.Fence(ctx, term.Index)
		if mesh.CodeOf(err) != mesh.Unavailable || ctx.Err() != nil {
			return err
		}
		if !told {
			told = true
			s.log.Warn("this server leads, and waits for the store", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(fenceRetry):
		}
	}
}

// Reload takes over rules, receivers, policies, scripts and revocations.
// The log level is the command's. On an error nothing has changed.
func (s *Server) Reload(cfg *config.Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.office != nil {
		if err := s.office.reload(cfg); err != nil {
			return err
		}
	} else if _, err := loadRules(cfg); err != nil {
		return err
	}
	s.cfg = cfg
	return nil
}

// reachable is where others find what listens on addr: an address that stands
// for all becomes the first one of this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if own := ownAddresses(); len(own) > 0 {
			host = own[0].String()
		}
	}
	return net.JoinHostPort(host, port)
}

func listen(ctx context.Context, key, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, mesh.Errorf(mesh.Unavailable, "listen on %s (%s): %w", addr, key, err).
			WithHint("choose another address, or find who listens there: ss -ltnp")
	}
	return l, nil
}

// whoAmI asks the local Consul agent, and waits for it while it is away.
func whoAmI(ctx context.Context, c *consul.Client, log hclog.Logger) (consul.Self, error) {
	for told := false; ; {
		self, err := c.Self(ctx)
		if err == nil {
			return self, nil
		}
		if mesh.CodeOf(err) == mesh.Denied || ctx.Err() != nil {
			return self, err
		}
		if !told {
			told = true
			log.Warn("waiting for the local Consul agent", "error", err)
		}
		select {
		case <-ctx.Done():
			return self, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// advertised is what new nodes are told; without it they find the servers
// through Consul.
func advertised(cfg config.Link) []string {
	if cfg.Advertise == "" {
		return nil
	}
	return []string{cfg.Advertise}
}

// peerTLS is how one server speaks to the API of another.
func (s *Server) peerTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: pki.ServerName, MinVersion: tls.VersionTLS13}
}

// dataFile is a file under the data directory.
func dataFile(cfg *config.Server, name string) string { return filepath.Join(cfg.DataDir, name) }
