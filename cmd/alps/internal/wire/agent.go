package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent"
	"alps/agent/check"
	"alps/agent/dns"
	"alps/agent/exec"
	"alps/agent/exec/run"
	"alps/agent/fact"
	"alps/agent/link"
	"alps/checks"
	"alps/checks/all"
	"alps/checks/hdfs/site"
	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/frame"
)

// Agent is an agent, put together and not running.
type Agent struct {
	closers closers
	parts   []part
	engine  *exec.Engine
	runner  *run.Runner
	facts   *fact.Collector
	checks  *check.Engine
	define  *definer
}

// NewAgent puts an agent together. On the first start it waits for the local
// Consul agent to say which node this is, and for a server to enrol it; later
// it starts without either.
func NewAgent(ctx context.Context, cfg *config.Agent, b Base) (*Agent, error) {
	a := &Agent{}
	if err := a.build(ctx, cfg, b); err != nil {
		return nil, errors.Join(err, a.closers.close())
	}
	return a, nil
}

// build is one straight line in the order of dependency.
func (a *Agent) build(ctx context.Context, cfg *config.Agent, b Base) error {
	if err := os.MkdirAll(cfg.DataDir, 0o711); err != nil { // jobs of other users pass through to their directories.
		return mesh.Errorf(mesh.Invalid, "make data_dir: %w", err)
	}
	cc, err := NewConsul(cfg.Consul)
	if err != nil {
		return err
	}
	a.closers.add("consul client", func() error { cc.Close(); return nil })
	self, err := findPlace(ctx, cc, cfg.DataDir, b.Logger.Named("consul"))
	if err != nil {
		return err
	}
	a.parts = append(a.parts, part{"place in Consul", self.confirm(cc)})
	if cfg.NodeName != "" {
		self.Name = mesh.NodeName(cfg.NodeName)
	}
	found, err := fact.Collect(ctx, "/")
	if err != nil {
		b.Logger.Debug("some facts cannot be read", "error", err)
	}
	servers := finder(cfg.Join, cc)
	id, err := enrolled(ctx, cfg, servers, found, b.Logger.Named("link"))
	if err != nil {
		return err
	}
	pinned, err := openPinned(cfg, id)
	if err != nil {
		return err
	}

	// The link hands over what a server asks for, and the engine and the
	// collector speak through the link: the handlers are filled in before
	// anything runs.
	h := &handlers{pinned: pinned}
	h.link, err = link.New(link.Options{
		Identity: id, SpoolDir: filepath.Join(cfg.DataDir, "spool"), Servers: servers,
		Handlers: map[frame.Kind]link.Handler{
			frame.Want: h.want, frame.Config: h.config, frame.Zone: h.zone, frame.RunCheck: h.runCheck,
		},
		Name: self.Name, Release: b.Version, Logger: b.Logger.Named("link"),
	})
	if err != nil {
		return err
	}
	runner, err := run.New(run.Options{Dir: cfg.Exec.WorkDir, RunAs: cfg.Exec.RunAs, Env: cfg.Exec.Env})
	if err != nil {
		return err
	}
	me := mesh.Node{ID: id.NodeID(), Name: self.Name, DC: self.DC, Facts: &found}
	me.Naming, _ = mesh.ParseNaming(self.Name)
	h.engine, err = exec.New(exec.Options{
		Node: id.NodeID(), Cluster: id.Cluster(), Dir: filepath.Join(cfg.DataDir, "exec"),
		Board: execBoard{cc, b.Logger.Named("consul")}, Reports: sender{h.link}, Blobs: blobs{h.link}, Runner: runner,
		Self: func() mesh.Node { return me }, Trust: pinned.root, Disabled: cfg.Exec.Enabled == config.ExecOff,
		Limits: limits(cfg), Keep: cfg.Exec.OutputKeep, Program: b.Program, Logger: b.Logger.Named("exec"),
	})
	if err != nil {
		return err
	}
	var domains []string
	if cfg.DNS.Listen != "" {
		domains = cfg.DNS.Domains
	}
	h.facts, err = fact.New(fact.Options{
		Node: id.NodeID(), Version: b.Version, Domains: domains, Sender: sender{h.link}, Interval: cfg.Fact.Interval, Logger: b.Logger.Named("fact"),
		Self: func(context.Context) (mesh.NodeName, string, error) { return self.Name, self.DC, nil },
	})
	if err != nil {
		return err
	}
	try, err := TryVolume()
	if err != nil {
		return err
	}
	packs, err := all.Packs(all.Env{
		Consul: asker{cc}, Node: self.Name, HadoopConf: cfg.Exec.Env[site.EnvDir], TryVolume: try,
		Skew: func() (time.Duration, bool) { s := h.link.Status(); return s.Skew, s.Connected },
	})
	if err != nil {
		return err
	}
	probes, err := checks.NewSet(packs)
	if err != nil {
		return err
	}
	registry := checkCatalog{cc}
	linked := func() bool { return h.link.Status().Connected }
	h.checks, err = check.New(check.Options{
		Node: id.NodeID(), Dir: filepath.Join(cfg.DataDir, "check"), Catalog: registry, Local: registry.local,
		Reports: checkSender{sender{h.link}}, Linked: linked, Concurrency: cfg.Check.Concurrency, Logger: b.Logger.Named("check"),
		Probes: func(ctx context.Context, probe string, settings map[string]string) check.Found {
			r := probes.Run(ctx, probe, settings)
			return check.Found{Status: r.Status, Output: r.Output, Samples: r.Samples, Disks: r.Disks}
		},
	})
	if err != nil {
		return err
	}
	if h.define, err = newDefiner(cfg, packs, b.Logger.Named("check")); err != nil {
		return err
	}
	h.define.engine = h.checks
	// Packs that can say at once whether they apply are defined with the rest: a
	// service that is registered first without its checks, and then with them, is
	// written twice.
	soon, cancel := context.WithTimeout(ctx, packTime)
	h.define.ask(soon)
	cancel()
	if err := h.define.define(); err != nil {
		return err
	}
	if cfg.DNS.Listen != "" {
		forward, err := upstreams(cfg.DNS)
		if err != nil {
			return err
		}
		h.names, err = dns.New(dns.Options{
			Listen: cfg.DNS.Listen, Domains: cfg.DNS.Domains, DC: self.DC, Node: self.Name,
			TTL: cfg.DNS.TTL, NegativeTTL: cfg.DNS.NegativeTTL, Forward: forward, BareNames: cfg.DNS.BareNames,
			Dir: filepath.Join(cfg.DataDir, "dns"), Fallback: lookups{cc}, Linked: linked, Logger: b.Logger.Named("dns"),
		})
		if err != nil {
			return err
		}
		a.parts = append(a.parts, part{"names", h.names.Run})
	}
	a.engine, a.runner, a.facts, a.checks, a.define = h.engine, runner, h.facts, h.checks, h.define
	started := time.Now()
	control, err := agent.NewControl(cfg.Control.Socket, func() agent.Status {
		s := agent.Status{
			Version: b.Version, Cluster: id.Cluster(), Node: id.NodeID(), Name: self.Name, DC: self.DC,
			PID: os.Getpid(), Started: started, Link: h.link.Status(), Exec: h.engine.Status(),
			Checks: agent.Count(h.checks.States(), h.checks.CatalogError()),
		}
		if h.names != nil {
			names := h.names.Status()
			s.Names = &names
		}
		if s.Link.Spool.Disk != nil {
			s.SpoolDisk, s.Link.Spool.Disk = s.Link.Spool.Disk.Error(), nil
		}
		return s
	})
	if err != nil {
		return err
	}
	// The link comes last to start and first to matter: what the others say
	// before it is up waits in its spool.
	a.parts = append(a.parts,
		part{"control socket", control.Run},
		part{"exec", h.engine.Run},
		part{"checks", h.checks.Run},
		part{"definitions", h.define.run},
		part{"facts", h.facts.Run},
		part{"link", h.link.Run},
	)
	b.Logger.Info("agent is ready", "node", id.NodeID(), "name", self.Name, "dc", self.DC, "cluster", id.Cluster())
	return nil
}

// Run runs every part until ctx ends or one fails.
func (a *Agent) Run(ctx context.Context) error { return runAll(ctx, a.parts, &a.closers) }

// Reload takes over the definitions of checks, the limits of jobs, the users
// that they may run as, and how often facts are collected.
func (a *Agent) Reload(cfg *config.Agent) error {
	if err := a.define.reload(cfg); err != nil {
		return err
	}
	a.checks.SetConcurrency(cfg.Check.Concurrency)
	a.engine.SetLimits(limits(cfg))
	a.runner.SetRunAs(cfg.Exec.RunAs)
	a.runner.SetEnv(cfg.Exec.Env)
	a.facts.SetInterval(cfg.Fact.Interval)
	return nil
}

func limits(cfg *config.Agent) exec.Limits {
	return exec.Limits{Slots: cfg.Exec.Slots, Queue: cfg.Exec.Queue}
}

// finder finds servers: those of the config, or those that Consul knows.
func finder(cfg config.Join, cc *consul.Client) func(context.Context) ([]string, error) {
	if len(cfg.Servers) > 0 {
		return link.Fixed(cfg.Servers...)
	}
	return func(ctx context.Context) ([]string, error) {
		list, _, err := cc.HealthService(ctx, ServiceName, true, consul.Query{})
		if err != nil {
			return nil, err
		}
		addrs := make([]string, len(list))
		for i, s := range list {
			addrs[i] = hostPort(s.Address, s.Port)
		}
		return addrs, nil
	}
}

// enrolRetry lies between two tries while no server answers.
const enrolRetry = 3 * time.Second

// enrolled returns the node's identity, and enrols first if there is none. It
// waits for a server; a server's refusal is final.
func enrolled(ctx context.Context, cfg *config.Agent, servers func(context.Context) ([]string, error), f mesh.Facts, log hclog.Logger) (*link.Identity, error) {
	for told := false; ; {
		id, err := enrolOnce(ctx, cfg, servers, f)
		if err == nil {
			return id, nil
		}
		if mesh.CodeOf(err) != mesh.Unavailable || ctx.Err() != nil {
			return nil, err
		}
		if !told {
			told = true
			log.Warn("waiting for a server to enrol this node", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(enrolRetry):
		}
	}
}

func enrolOnce(ctx context.Context, cfg *config.Agent, servers func(context.Context) ([]string, error), f mesh.Facts) (*link.Identity, error) {
	id, err := link.LoadIdentity(cfg.DataDir)
	if mesh.CodeOf(err) != mesh.NotFound {
		return id, err
	}
	token := cfg.Join.Token
	if cfg.Join.TokenFile != "" {
		b, err := os.ReadFile(cfg.Join.TokenFile)
		if err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "read join.token_file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	if token == "" {
		return nil, mesh.Errorf(mesh.Invalid, "this node has not enrolled, and no join token is given").
			WithHint("on an operator's machine: alps join-token create; put the text into join.token_file")
	}
	addrs, err := servers(ctx)
	if err != nil {
		return nil, err
	}
	return link.Enrol(ctx, link.EnrolOptions{
		DataDir: cfg.DataDir, Token: token, Servers: addrs,
		Evidence: frame.Evidence{MachineID: f.MachineID, DMIUUID: f.DMIUUID, Hostname: f.Host},
	})
}
