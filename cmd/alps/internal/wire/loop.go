package wire

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/server/alert"
	"alps/server/check"
	"alps/server/cmdb"
	"alps/server/job"
	"alps/server/leader"
	"alps/server/notify"
	"alps/server/remedy"
	"alps/server/remedy/library"
	"alps/server/stream"
	"alps/server/zone"
)

// loop is what ties checks, names, alerts and remedies together: who is told
// when something changes. Its fields are set before anything runs.
type loop struct {
	hub       *stream.Hub
	lead      *leader.Leader
	inventory catalog
	settings  *settings
	checks    *check.Store
	zone      *zone.Builder
	alerts    *alert.Engine
	remedy    *remedy.Engine
	log       hclog.Logger
}

// lease is the term in which this server leads, and whether it may act in it.
func (l *loop) lease() (uint64, bool) {
	if term, ok := l.lead.Held(); ok {
		return term.Index, true
	}
	term, _ := l.lead.Incumbent()
	return term.Index, false
}

// index is the term that agents are told.
func (l *loop) index() uint64 {
	term, _ := l.lead.Incumbent()
	return term.Index
}

// inventoryChanged is called with every new snapshot.
func (l *loop) inventoryChanged(*cmdb.Snapshot) {
	l.settings.s.NodesChanged()
	l.checks.Changed()
	l.zone.Changed()
	l.hub.Publish(stream.Event{Topic: "node", Type: "changed"})
}

// checkChanged is called inside of a commit of the link: nothing that it calls
// waits.
func (l *loop) checkChanged(s mesh.CheckState) {
	l.zone.CheckChanged(s.DC, s.Node)
	l.alerts.Observe(s)
	l.remedy.Kick()
	l.hub.Publish(changedCheck(s))
}

func (l *loop) checkGone(dc string, node mesh.NodeName, id string) {
	l.zone.CheckChanged(dc, node)
	l.alerts.Gone(dc, node, id)
	l.hub.Publish(stream.Event{Topic: "check", Type: "gone", Node: node})
}

func (l *loop) incidentChanged(i mesh.Incident) {
	l.remedy.OnIncident(i)
	l.hub.Publish(changedIncident(i))
}

// lineAdded is told of what a delivery has added to an incident's story.
func (l *loop) lineAdded(id mesh.IncidentID, e mesh.IncidentEvent) {
	l.hub.Publish(stream.Event{Topic: "incident/" + string(id), Type: string(e.Kind)})
}

func (l *loop) runChanged(r mesh.RemedyRun) {
	l.hub.Publish(stream.Event{Topic: "remedy", Type: string(r.State), Node: r.Node})
}

// consulGrace is how long Consul may be silent before that is an incident of
// its own: an election of Consul's servers is over by then.
const consulGrace = 10 * time.Second

// watchConsul tells the alerts whether Consul answers, until ctx ends.
func (l *loop) watchConsul(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if age := l.inventory.c.Age(); age > consulGrace {
			l.alerts.ConsulAway(time.Now().Add(-age))
		} else if age == 0 {
			l.alerts.Back()
		}
	}
}

// problemsEvery is how often the rules are looked through: checks come with the
// first reports of agents, a while after rules were read.
const problemsEvery = 20 * time.Second

// watchRules logs what is wrong with the rules, such as one for a check that no
// node has, once until it is something else, until ctx ends.
func (l *loop) watchRules(ctx context.Context) error {
	tick := time.NewTicker(problemsEvery)
	defer tick.Stop()
	var said []string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := l.alerts.Problems()
		for _, p := range now {
			if !slices.Contains(said, p) {
				l.log.Warn("a rule will never hold", "problem", p)
			}
		}
		said = now
	}
}

// ruleset is the rules and scripts of a configuration, read and valid.
type ruleset struct {
	*config.Rules

	scripts *library.Library
	limit   mesh.RemedyMode
}

// reopen is alert.reopen as the alerts take it: the 0s of the configuration is
// never, and theirs is their default.
func reopen(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// loadRules reads what alert.dir and remedy.scripts name.
func loadRules(cfg *config.Server) (ruleset, error) {
	rules, err := config.LoadRules(cfg.Alert.Dir)
	if err != nil {
		return ruleset{}, err
	}
	scripts, err := library.Load(cfg.Remedy.Scripts)
	if err != nil {
		return ruleset{}, err
	}
	// A server that stands by finds now what it would find when it is needed.
	if err := remedy.CheckPolicies(rules.Policies, scripts); err != nil {
		return ruleset{}, err
	}
	return ruleset{rules, scripts, mesh.RemedyMode(cfg.Remedy.Mode)}, nil
}

// names are the receivers by name.
func (r ruleset) names() []string {
	var out []string
	for _, x := range r.Receivers {
		out = append(out, x.Name)
	}
	return out
}

// apply puts rules in force, or leaves all as it was. before are those that
// were in force.
func (r ruleset) apply(a *alert.Engine, n *notify.Engine, m *remedy.Engine, before ruleset) error {
	if err := m.SetPolicies(r.Policies, r.scripts, r.limit); err != nil {
		return err
	}
	err := a.SetRules(r.Rules.Rules, r.names())
	if err == nil {
		if err = n.SetReceivers(r.Receivers); err == nil {
			return nil
		}
	}
	if before.Rules != nil { // these were taken once, so they are again.
		_ = a.SetRules(before.Rules.Rules, before.names())
		_ = m.SetPolicies(before.Policies, before.scripts, before.limit)
	}
	return err
}

// remedyIncidents is remedy.Incidents on the alerts.
type remedyIncidents struct{ *alert.Engine }

// Incidents implements remedy.Incidents.
func (r remedyIncidents) Incidents(ctx context.Context, since time.Time) ([]mesh.Incident, error) {
	return r.Recent(ctx, since)
}

// remedyJobs is remedy.Jobs on the jobs: under the lock that this server leads
// with.
type remedyJobs struct {
	s    *job.Service
	lead *leader.Leader
	key  string
}

// Submit implements remedy.Jobs.
func (r remedyJobs) Submit(ctx context.Context, s remedy.Submission) (bool, error) {
	term, ok := r.lead.Held()
	if !ok {
		return false, mesh.Errorf(mesh.Unavailable, "submit job %s: this server does not lead", s.ID)
	}
	nodes := s.Nodes
	if len(nodes) == 0 {
		nodes = []mesh.NodeID{s.NodeID}
	}
	targets := make([]string, len(nodes))
	for i, id := range nodes {
		targets[i] = "id=" + string(id)
	}
	sub, err := r.s.Submit(ctx, job.Actor{Name: s.Author, Scope: everyNode()}, job.Request{
		ID: s.ID, Fence: &job.Fence{Key: r.key, Session: term.Session},
		Target: strings.Join(targets, " or "), Script: &job.Script{Name: s.Script, Body: s.Body}, Args: s.Args, Env: s.Env,
		RunAs: s.RunAs, Timeout: s.Timeout, ExpiresIn: s.Expires, Idempotent: len(s.Nodes) > 0,
	})
	return sub.Repeated, err
}

// Results implements remedy.Jobs.
func (r remedyJobs) Results(ctx context.Context, id mesh.JobID) ([]remedy.Result, bool, error) {
	alps := job.Actor{Name: "alps", Scope: everyNode()}
	list, _, err := r.s.Targets(ctx, alps, id, job.TargetPage{After: -1})
	if mesh.CodeOf(err) == mesh.NotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	out := make([]remedy.Result, len(list))
	for i, t := range list {
		out[i] = remedy.Result{Node: t.Node, Job: mesh.JobState{State: t.State, Reason: t.Reason, Code: t.Code, Woke: t.Woke}}
		said := t.Stdout
		if t.State == mesh.Failed {
			said = t.Stderr
		}
		if t.State != mesh.OK && t.State != mesh.Failed || said.Bytes == 0 {
			continue
		}
		body, err := r.s.Output(ctx, alps, id, said.Digest)
		switch {
		case mesh.CodeOf(err) == mesh.Unavailable: // the node was asked for it.
			out[i].Pending = true
			continue
		case err != nil:
			return nil, true, err
		}
		if a, ok := mesh.ParseAnswer(body); ok && t.State == mesh.OK {
			out[i].Answer = &a
		}
		if t.State == mesh.Failed {
			out[i].Complaint = lastLine(body)
		}
	}
	return out, true, nil
}

// maxComplaint is how much of a script's last line fits into a sentence.
const maxComplaint = 300

// lastLine is the last line of what a script has written that is not empty.
func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	b = b[bytes.LastIndexByte(b, '\n')+1:]
	return strings.ToValidUTF8(string(b[:min(len(b), maxComplaint)]), "")
}

// read reports whether attribute and the inventory say what is in Consul.
func (l *loop) read() bool { return l.inventory.Ready() && l.settings.s.Ready() }

// attribute is what people have declared of a node: the nearest configuration
// in KV, or else the metadata of its Consul agent.
func (l *loop) attribute(n *mesh.Node, name string) string {
	for _, s := range l.settings.s.For(*n) {
		if s.Name == name {
			return s.Value
		}
	}
	return n.Meta[name]
}

// Announced implements remedy.Jobs.
func (r remedyJobs) Announced(ctx context.Context, id mesh.JobID) (bool, error) {
	return r.s.Announced(ctx, id)
}

// State implements remedy.Jobs.
func (r remedyJobs) State(ctx context.Context, id mesh.JobID) (mesh.JobState, bool, error) {
	list, _, err := r.s.Targets(ctx, job.Actor{Name: "alps", Scope: everyNode()}, id, job.TargetPage{After: -1, Limit: 1})
	if mesh.CodeOf(err) == mesh.NotFound {
		return mesh.JobState{}, false, nil
	}
	if err != nil || len(list) == 0 {
		return mesh.JobState{}, false, err
	}
	t := list[0]
	return mesh.JobState{State: t.State, Reason: t.Reason, Code: t.Code, Woke: t.Woke}, true, nil
}
