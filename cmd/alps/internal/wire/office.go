package wire

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/frame"
	"alps/server/alert"
	"alps/server/api"
	"alps/server/auth"
	"alps/server/check"
	"alps/server/cmdb"
	"alps/server/enrol"
	"alps/server/job"
	"alps/server/link"
	"alps/server/notify"
	"alps/server/remedy"
	"alps/server/stream"
	"alps/server/zone"
	"alps/ui"
)

// office is what a server does while it leads. It is made anew for each term,
// from the store, so that taking over is the same as starting.
type office struct {
	closers closers
	parts   []part
	trust   *trust
	agents  *agents
	alerts  *alert.Engine
	remedy  *remedy.Engine
	notify  *notify.Engine
	log     hclog.Logger

	mu    sync.Mutex
	rules ruleset // in force.
}

// newOffice puts an office together. What it acquired before an error is given
// back; run gives back the rest.
func newOffice(ctx context.Context, s *Server, cfg *config.Server) (*office, error) {
	o := &office{log: s.log}
	if err := o.build(ctx, s, cfg); err != nil {
		return nil, errors.Join(err, o.closers.close())
	}
	return o, nil
}

// build is one straight line in the order of dependency. It is long because
// splitting it would hide that order.
func (o *office) build(ctx context.Context, s *Server, cfg *config.Server) error {
	db, cc, self, log := s.db, s.consul, s.self, s.log
	var err error
	if o.trust, err = readTrust(cfg, time.Now()); err != nil {
		return err
	}
	if err := o.trust.expired(time.Now()); err != nil {
		log.Warn("the server's own grant is good for nothing: every job needs an operator's key", "error", err)
	}
	linkListener, err := listen(ctx, "link.listen", cfg.Link.Listen)
	if err != nil {
		return err
	}
	o.closers.add("link listener", linkListener.Close)
	apiListener, err := listen(ctx, "api.listen", cfg.API.Listen)
	if err != nil {
		return err
	}
	o.closers.add("API listener", apiListener.Close)

	hub, err := stream.New(stream.Keep)
	if err != nil {
		return err
	}
	tokens, err := auth.New(auth.Options{Store: db, Logger: log.Named("auth")})
	if err != nil {
		return err
	}
	if path, err := tokens.Bootstrap(ctx, cfg.DataDir); err != nil {
		return err
	} else if path != "" {
		log.Info("wrote the first admin token", "path", path)
	}

	// The link, the inventory, the jobs and the loop know one another: each is
	// given an adapter that is filled in when the other is there, before any
	// runs.
	agents := &agents{}
	o.agents = agents
	registrar, err := enrol.New(ctx, enrol.Options{
		Store: db, CA: s.ca, Logger: log.Named("enrol"), TrustRoot: o.trust.rootText(),
		Servers: advertised(cfg.Link), OnChange: agents.changed,
	})
	if err != nil {
		return err
	}
	l := &loop{hub: hub, lead: s.lead, log: log.Named("alert")}
	source := cmdb.FromConsul(cc, self.Datacenter)
	inventory, err := cmdb.New(cmdb.Options{
		Datacenter: self.Datacenter, Source: source, Writer: source, Links: agents, Roster: db, History: db,
		OnSnapshot: l.inventoryChanged, Logger: log.Named("cmdb"),
	})
	if err != nil {
		return err
	}
	l.inventory = catalog{inventory}
	l.settings, err = newSettings(source, l.inventory.Nodes, agents, log.Named("settings"))
	if err != nil {
		return err
	}
	l.checks, err = check.New(check.Options{
		Inventory: l.inventory, ConsulAge: l.inventory.age, AgentLost: cfg.Alert.AgentLost,
		OnChange: l.checkChanged, OnGone: l.checkGone, Logger: log.Named("check"),
	})
	if err != nil {
		return err
	}
	l.zone, err = zone.New(zone.Options{
		Inventory: l.inventory, Checks: l.checks, ConsulAge: l.inventory.age,
		Post:      func(to mesh.NodeID, payload []byte) error { return agents.link.Post(to, frame.Zone, payload) },
		Broadcast: func(payload []byte) error { return agents.link.Broadcast(frame.Zone, payload) },
		NodeHold:  cfg.Zone.NodeHold, AgentLostHold: cfg.Zone.AgentLostHold, Logger: log.Named("zone"),
	})
	if err != nil {
		return err
	}
	jobs, err := job.New(job.Options{
		Cluster: cfg.Cluster, DC: self.Datacenter, History: db, Resolver: resolver{inventory, registrar.IsRevoked},
		Board:  func(dc string) job.Board { return jobBoard{cc.In(dc)} },
		Stream: publisher{hub, func() { l.remedy.Kick() }}, Asker: agents, Signer: o.trust.signer(), Root: o.trust.root,
		Limits: job.Limits{Timeout: cfg.Job.Timeout, Expiry: cfg.Job.Expiry, MaxTargets: cfg.Job.MaxTargets},
		Logger: log.Named("job"),
	})
	if err != nil {
		return err
	}
	o.alerts, err = alert.New(alert.Options{
		Store: db, Checks: l.checks, Node: l.inventory.node, Lease: l.lease, DC: self.Datacenter, Reopen: reopen(cfg.Alert.Reopen),
		OnIncident: l.incidentChanged, OnOutbox: func() { o.notify.Kick() }, Logger: log.Named("alert"),
	})
	if err != nil {
		return err
	}
	page := "https://" + reachable(cfg.API.Listen) + ui.Base + "alerts/"
	o.notify, err = notify.New(notify.Options{
		Outbox: db, Lease: l.lease, OnLine: l.lineAdded, URL: func(id mesh.IncidentID) string { return page + string(id) },
		Logger: log.Named("notify"),
	})
	if err != nil {
		return err
	}
	o.remedy, err = remedy.New(remedy.Options{
		Store: db, Incidents: remedyIncidents{o.alerts}, Checks: l.checks, Jobs: remedyJobs{jobs, s.lead, cfg.Leader.Key},
		Node: l.inventory.node, Nodes: l.inventory.Nodes, Ready: l.read, Attribute: l.attribute, Lease: l.lease, Audit: db.Record, OnRun: l.runChanged, Logger: log.Named("remedy"),
	})
	if err != nil {
		return err
	}
	l.alerts, l.remedy = o.alerts, o.remedy
	if err := o.setRules(cfg); err != nil {
		return err
	}
	known, err := db.Enrolled(ctx) // agents come before the inventory is loaded.
	if err != nil {
		return err
	}
	agents.inventory, agents.jobs, agents.audit, agents.trust, agents.registrar = inventory, jobs, db, o.trust, registrar
	agents.settings, agents.log = l.settings, log.Named("link")
	agents.link, err = link.New(link.Options{
		Listener: linkListener, Name: string(self.Name), CA: s.ca.Certificate(), Certificate: s.live,
		Revoked: registrar.IsRevoked, Enroller: registrar, Bodies: bodies{jobs}, Lead: l.index,
		Nodes: func() int { return max(len(known), len(inventory.Snapshot().Nodes())) },
		Consumers: map[frame.Kind]link.Consumer{
			frame.Exec:  leading{s.lead, reports{jobs}},
			frame.Fact:  leading{s.lead, facts{inventory}},
			frame.Check: leading{s.lead, results{l.checks}},
			frame.Have:  leading{s.lead, haves{l.zone}},
		},
		OnConnect: agents.connected, OnDisconnect: agents.disconnected,
		OnRefused: agents.refused, OnReplaced: agents.replaced, OnTurnedAway: agents.turnedAway,
		Logger: log.Named("link"),
	})
	if err != nil {
		return err
	}
	tlsConfig, err := apiTLS(s.ca, s.live)
	if err != nil {
		return err
	}
	web, err := api.New(api.Options{
		Listener: apiListener, TLS: tlsConfig, Logger: log.Named("api"), Version: s.base.Version, Cluster: cfg.Cluster,
		Jobs: apiJobs{jobs, s.lead}, Inventory: nodes{inventory}, Enrolment: enrolment{registrar}, Tokens: tokens,
		Audit: auditor{db}, Events: hub,
		Status: &status{name: string(self.Name), started: time.Now().UTC(), inventory: inventory, agents: agents, jobs: db, loop: l},
		Checks: states{l.checks, agents}, KV: keys{cc, hub}, Settings: l.settings,
		Consul:    pages{c: cc, inventory: inventory, lock: cfg.Leader.Key},
		Incidents: incidents{o.alerts, o.receivers}, Remedies: remedies{o.remedy},
		UI: ui.Handler(),
	})
	if err != nil {
		return err
	}
	o.parts = []part{
		{"link", agents.link.Run},
		{"inventory", inventory.Run},
		{"configuration", l.settings.s.Run},
		{"settings", l.settings.run},
		{"checks", l.checks.Run},
		{"zone", l.zone.Run},
		{"jobs", jobs.Run},
		{"alerts", o.alerts.Run},
		{"notifications", o.notify.Run},
		{"remedies", o.remedy.Run},
		{"watch over Consul", l.watchConsul},
		{"watch over the rules", l.watchRules},
		{"API", web.Run},
		{"service in Consul", announcement(cc, linkListener, cfg.Link, log.Named("consul")).run},
	}
	log.Info("server is ready", "api", apiListener.Addr().String(), "link", linkListener.Addr().String(),
		"dc", self.Datacenter, "cluster", cfg.Cluster, "term", l.index())
	return nil
}

// run runs every part until ctx ends or one fails.
func (o *office) run(ctx context.Context) error { return runAll(ctx, o.parts, &o.closers) }

// reload takes over rules and revocations, all or nothing, and tells every
// node that has a link; the others are told when they come.
func (o *office) reload(cfg *config.Server) error {
	if err := o.setRules(cfg); err != nil {
		return err
	}
	changed, err := o.trust.reload(cfg)
	if err != nil || !changed {
		return err
	}
	o.log.Info("grants are revoked", "list", o.trust.root().Revoked.Number, "serials", o.trust.root().Revoked.Serials)
	o.agents.tellAll()
	return nil
}

// setRules reads the rules and puts them in force.
func (o *office) setRules(cfg *config.Server) error {
	next, err := loadRules(cfg)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := next.apply(o.alerts, o.notify, o.remedy, o.rules); err != nil {
		return err
	}
	o.rules = next
	return nil
}

// receivers are those in force.
func (o *office) receivers() []mesh.Receiver {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rules.Receivers
}
