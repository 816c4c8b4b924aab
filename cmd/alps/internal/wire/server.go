package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/frame"
	"alps/server/api"
	"alps/server/auth"
	"alps/server/cmdb"
	"alps/server/enrol"
	"alps/server/job"
	"alps/server/link"
	"alps/server/store/sqlite"
	"alps/server/stream"
)

// Server is an ALPS server, put together and not running.
type Server struct {
	closers closers
	parts   []part
	trust   *trust
	agents  *agents
	log     hclog.Logger
}

// NewServer puts a server together. It opens the store and the two listeners
// and waits for Consul to say who we are; what it acquired before an error is
// given back. Run gives back the rest.
func NewServer(ctx context.Context, cfg *config.Server, b Base) (*Server, error) {
	s := &Server{log: b.Logger}
	if err := s.build(ctx, cfg, b); err != nil {
		return nil, errors.Join(err, s.closers.close())
	}
	return s, nil
}

// build is one straight line in the order of dependency. It is long because
// splitting it would hide that order.
func (s *Server) build(ctx context.Context, cfg *config.Server, b Base) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return mesh.Errorf(mesh.Invalid, "make data_dir: %w", err)
	}
	db, err := sqlite.Open(ctx, cfg.Store.Path)
	if err != nil {
		return err
	}
	s.closers.add("store", db.Close)

	s.trust, err = readTrust(cfg, time.Now())
	if err != nil {
		return err
	}
	if err := s.trust.expired(time.Now()); err != nil {
		b.Logger.Warn("the server's own grant is good for nothing: every job needs an operator's key", "error", err)
	}
	ca, live, err := serverIdentity(cfg, time.Now())
	if err != nil {
		return err
	}
	linkListener, err := listen(ctx, "link.listen", cfg.Link.Listen)
	if err != nil {
		return err
	}
	s.closers.add("link listener", linkListener.Close)
	apiListener, err := listen(ctx, "api.listen", cfg.API.Listen)
	if err != nil {
		return err
	}
	s.closers.add("API listener", apiListener.Close)

	cc, err := NewConsul(cfg.Consul)
	if err != nil {
		return err
	}
	s.closers.add("consul client", func() error { cc.Close(); return nil })
	self, err := whoAmI(ctx, cc, b.Logger.Named("consul"))
	if err != nil {
		return err
	}

	hub, err := stream.New(stream.Keep)
	if err != nil {
		return err
	}
	tokens, err := auth.New(auth.Options{Store: db, Logger: b.Logger.Named("auth")})
	if err != nil {
		return err
	}
	if path, err := tokens.Bootstrap(ctx, cfg.DataDir); err != nil {
		return err
	} else if path != "" {
		b.Logger.Info("wrote the first admin token", "path", path)
	}

	// The link, the inventory and the jobs know one another: each is given an
	// adapter that is filled in when the other is there, before any runs.
	agents := &agents{}
	registrar, err := enrol.New(ctx, enrol.Options{
		Store: db, CA: ca, Logger: b.Logger.Named("enrol"), TrustRoot: s.trust.rootText(),
		Servers: advertised(cfg.Link), OnChange: agents.changed,
	})
	if err != nil {
		return err
	}
	source := cmdb.FromConsul(cc, self.Datacenter)
	inventory, err := cmdb.New(cmdb.Options{
		Datacenter: self.Datacenter, Source: source, Writer: source, Links: agents, Roster: db, History: db,
		OnSnapshot: func(*cmdb.Snapshot) { hub.Publish(stream.Event{Topic: "node", Type: "changed"}) },
		Logger:     b.Logger.Named("cmdb"),
	})
	if err != nil {
		return err
	}
	jobs, err := job.New(job.Options{
		Cluster: cfg.Cluster, DC: self.Datacenter, History: db, Resolver: resolver{inventory, registrar.IsRevoked},
		Board:  func(dc string) job.Board { return jobBoard{cc.In(dc)} },
		Stream: publisher{hub}, Asker: agents, Signer: s.trust.signer(), Root: s.trust.root,
		Limits: job.Limits{Timeout: cfg.Job.Timeout, Expiry: cfg.Job.Expiry, MaxTargets: cfg.Job.MaxTargets},
		Logger: b.Logger.Named("job"),
	})
	if err != nil {
		return err
	}
	agents.inventory, agents.jobs, agents.audit, agents.trust, agents.registrar = inventory, jobs, db, s.trust, registrar
	agents.log = b.Logger.Named("link")
	s.agents = agents
	agents.link, err = link.New(link.Options{
		Listener: linkListener, Name: string(self.Name), CA: ca.Certificate(), Certificate: live,
		Revoked: registrar.IsRevoked, Enroller: registrar, Bodies: bodies{jobs},
		Consumers: map[frame.Kind]link.Consumer{
			frame.Exec: reports{jobs},
			frame.Fact: facts{inventory},
		},
		OnConnect: agents.connected, OnDisconnect: agents.disconnected,
		OnRefused: agents.refused, OnReplaced: agents.replaced, OnTurnedAway: agents.turnedAway,
		Logger: b.Logger.Named("link"),
	})
	if err != nil {
		return err
	}
	tlsConfig, err := apiTLS(ca, live)
	if err != nil {
		return err
	}
	web, err := api.New(api.Options{
		Listener: apiListener, TLS: tlsConfig, Logger: b.Logger.Named("api"), Version: b.Version, Cluster: cfg.Cluster,
		Jobs: apiJobs{jobs}, Inventory: nodes{inventory}, Enrolment: enrolment{registrar}, Tokens: tokens,
		Audit: auditor{db}, Events: hub,
		Status: &status{name: string(self.Name), started: time.Now().UTC(), inventory: inventory, agents: agents, jobs: db},
	})
	if err != nil {
		return err
	}
	s.parts = []part{
		{"link", agents.link.Run},
		{"inventory", inventory.Run},
		{"jobs", jobs.Run},
		{"API", web.Run},
		{"service in Consul", announcement(cc, linkListener, cfg.Link, b.Logger.Named("consul")).run},
		{"certificate", renewal{cfg: cfg, ca: ca, live: live, log: b.Logger.Named("tls")}.run},
	}
	b.Logger.Info("server is ready", "api", apiListener.Addr().String(), "link", linkListener.Addr().String(),
		"dc", self.Datacenter, "cluster", cfg.Cluster)
	return nil
}

// Run runs every part until ctx ends or one fails.
func (s *Server) Run(ctx context.Context) error { return runAll(ctx, s.parts, &s.closers) }

// Reload takes over the revocations and tells every node that has a link; the
// others are told when they come. The rest of what may be reloaded is the log
// level, which the command sets.
func (s *Server) Reload(cfg *config.Server) error {
	changed, err := s.trust.reload(cfg)
	if err != nil || !changed {
		return err
	}
	s.log.Info("grants are revoked", "list", s.trust.root().Revoked.Number, "serials", s.trust.root().Revoked.Serials)
	return s.agents.tellAll()
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

// dataFile is a file under the data directory.
func dataFile(cfg *config.Server, name string) string { return filepath.Join(cfg.DataDir, name) }
