package wire

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/query"
	v1 "alps/server/api/v1"
	"alps/server/cmdb"
	"alps/server/enrol"
	"alps/server/job"
	"alps/server/store/sqlite"
)

// nodes is api.Inventory on the CMDB.
type nodes struct{ c *cmdb.CMDB }

func (n nodes) Nodes(_ context.Context, expr *query.Expr, after string, limit int) (v1.NodeList, error) {
	if limit == 0 {
		limit = cmdb.MaxLimit
	}
	list, err := n.c.List(expr, cmdb.Page{After: after, Limit: limit})
	return v1.NodeList{Nodes: list.Nodes, Total: list.Total, Next: list.Next, AsOf: n.asOf()}, err
}

func (n nodes) Node(_ context.Context, ref string) (mesh.Node, error) {
	if !n.c.Ready() {
		_, err := n.c.List(nil, cmdb.Page{})
		return mesh.Node{}, err
	}
	node, ok := n.c.Node(ref)
	if !ok {
		return mesh.Node{}, mesh.Errorf(mesh.NotFound, "there is no node %q", ref).WithHint("alps node list")
	}
	return node, nil
}

func (n nodes) Members(context.Context) (v1.MemberList, error) {
	out := v1.MemberList{AsOf: n.asOf()}
	snap := n.c.Snapshot()
	for _, dc := range snap.Datacenters() {
		list, err := snap.Members(dc.Name)
		if err != nil {
			return v1.MemberList{}, err
		}
		out.Members = append(out.Members, list...)
	}
	return out, nil
}

func (n nodes) asOf() time.Time { return time.Now().UTC().Add(-n.c.Age()) }

// enrolment is api.Enrolment on the registrar.
type enrolment struct{ r *enrol.Registrar }

func (e enrolment) CreateJoinToken(ctx context.Context, by string, r v1.JoinTokenRequest) (v1.NewJoinToken, error) {
	t, text, err := e.r.CreateToken(ctx, enrol.TokenRequest{Role: r.Role, Reusable: r.Reusable, TTL: secs(r.TTL), By: by})
	return v1.NewJoinToken{JoinToken: joinToken(t), Text: text}, err
}

func (e enrolment) JoinTokens(ctx context.Context) ([]v1.JoinToken, error) {
	list, err := e.r.Tokens(ctx)
	out := make([]v1.JoinToken, len(list))
	for i, t := range list {
		out[i] = joinToken(t)
	}
	return out, err
}

func joinToken(t enrol.JoinToken) v1.JoinToken {
	return v1.JoinToken{
		ID: t.ID, Role: t.Role, Reusable: t.Reusable, CreatedBy: t.CreatedBy,
		Created: t.Created, Expires: t.Expires, Uses: t.Uses, LastUsed: t.LastUsed,
	}
}

func (e enrolment) ExpireJoinToken(ctx context.Context, id string) error {
	return e.r.ExpireToken(ctx, id)
}

func (e enrolment) Revoke(ctx context.Context, id mesh.NodeID, by, reason string) error {
	return e.r.Revoke(ctx, id, by, reason)
}

// auditor is api.Audit on the store.
type auditor struct{ db *sqlite.DB }

func (a auditor) Record(ctx context.Context, line mesh.Audit) error { return a.db.Record(ctx, line) }

func (a auditor) Audit(ctx context.Context, f v1.AuditFilter) (v1.AuditList, error) {
	lines, next, err := a.db.Audit(ctx, sqlite.AuditFilter{
		Actor: f.Actor, Action: f.Action, Object: f.Object, Since: f.Since, Until: f.Until, Before: f.Before, Limit: f.Limit,
	})
	return v1.AuditList{Lines: lines, Next: next}, err
}

// status is api.Status.
type status struct {
	name      string
	started   time.Time
	inventory *cmdb.CMDB
	agents    *agents
	jobs      job.Jobs
	loop      *loop
}

func (s *status) Status(ctx context.Context) (v1.StatusDetail, error) {
	open, err := s.jobs.Jobs(ctx, job.Filter{Open: true})
	if err != nil {
		return v1.StatusDetail{}, err
	}
	d := v1.StatusDetail{
		Name: s.name, Started: s.started, Ready: s.inventory.Ready(), AsOf: time.Now().UTC().Add(-s.inventory.Age()),
		Nodes: len(s.inventory.Snapshot().Nodes()), Linked: s.agents.link.Stats().Links, Open: len(open),
	}
	if age := s.inventory.Age(); age > 0 {
		d.Problems = append(d.Problems, "Consul has not answered for "+age.Round(time.Second).String())
	}
	for _, f := range s.inventory.Snapshot().Findings() {
		if f.Kind != cmdb.KindNaming {
			d.Problems = append(d.Problems, f.Text)
		}
	}
	for _, f := range s.loop.settings.s.Findings() {
		d.Problems = append(d.Problems, f.Text)
	}
	for _, f := range s.loop.zone.Status().Findings {
		d.Problems = append(d.Problems, f.Text)
	}
	d.Problems = append(d.Problems, s.loop.alerts.Problems()...)
	if _, ok := s.loop.lead.Held(); !ok {
		d.Problems = append(d.Problems, "the lease has lapsed: nothing is told or mended until Consul grants it again")
	}
	return d, nil
}

// Names and times of the service by which agents find servers.
const (
	ServiceName    = "alps-server"
	serviceTTL     = 30 * time.Second
	serviceRefresh = 10 * time.Second
)

// announced keeps the service alps-server registered with the local Consul
// agent while the server runs.
type announced struct {
	c   *consul.Client
	reg consul.Registration
	log hclog.Logger
}

func announcement(c *consul.Client, l net.Listener, cfg config.Link, log hclog.Logger) announced {
	addr := cfg.Advertise
	if addr == "" {
		addr = l.Addr().String()
	}
	host, port, _ := net.SplitHostPort(addr) // both were checked before.
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "" // the node's own address.
	}
	n, _ := strconv.Atoi(port)
	return announced{c: c, log: log, reg: consul.Registration{
		Name: ServiceName, Address: host, Port: n,
		Checks: []consul.TTLCheck{{ID: ServiceName, Name: "ALPS server", TTL: serviceTTL, Status: consul.Passing, DeregisterAfter: time.Hour}},
	}}
}

// run registers, refreshes, and registers again when Consul has forgotten.
func (a announced) run(ctx context.Context) error {
	registered, told := false, false
	tick := time.NewTicker(serviceRefresh)
	defer tick.Stop()
	for {
		var err error
		if !registered {
			err = a.c.RegisterService(ctx, a.reg)
		}
		if err == nil {
			err = a.c.UpdateTTL(ctx, ServiceName, consul.Passing, "the server runs")
		}
		registered = err == nil
		if err != nil && !told && ctx.Err() == nil {
			a.log.Warn("the service alps-server is not announced; agents that know no server cannot find this one", "error", err)
		}
		told = err != nil
		select {
		case <-ctx.Done():
			a.withdraw(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
		}
	}
}

// withdraw takes the service back, so that agents go elsewhere at once.
func (a announced) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.c.DeregisterService(ctx, ServiceName); err != nil {
		a.log.Debug("the service alps-server was not withdrawn", "error", err)
	}
}
