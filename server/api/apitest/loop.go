package apitest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"alps/mesh"
	"alps/server/api"
	v1 "alps/server/api/v1"
)

// Loop is what the API shows of checks, Consul, incidents and remediation, in
// memory. Its methods may be called from any goroutine; what Set is given is
// shown as it is.
type Loop struct {
	mu    sync.Mutex
	state LoopState
	ran   map[mesh.NodeID][]string
}

// LoopState is what a Loop shows.
type LoopState struct {
	Checks      []mesh.CheckState
	Deaf        []mesh.NodeID // nodes that cannot be asked to run a check.
	RunFault    error         // what asking any node to run a check fails with.
	Datacenters []v1.Datacenter
	Sessions    map[mesh.NodeName][]v1.LockSession
	RTTs        map[mesh.NodeName]float64
	ACL         v1.ACL
	Keys        map[string]v1.KVPair
	Settings    []mesh.Setting
	Incidents   []mesh.Incident // the newest first.
	Rules       v1.RuleList
	Policies    v1.PolicyList
	Runs        []mesh.RemedyRun
	Resumed     []string
	// Reach are the nodes that a run acts on beside its own.
	Reach []mesh.NodeName
	// Simulation is what any policy that is listed would do; with a SimulateFault
	// it fails, and it takes until SimulateUntil is closed, if that is not nil.
	Simulation    v1.Simulation
	SimulateFault error
	SimulateUntil <-chan struct{}
}

var (
	_ api.Checks   = (*Loop)(nil)
	_ api.Consul   = (*Loop)(nil)
	_ api.KV       = (*keys)(nil)
	_ api.Settings = (*Loop)(nil)
	_ api.Remedies = (*remedies)(nil)
)

// Change lets fn change what is shown.
func (l *Loop) Change(fn func(*LoopState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn(&l.state)
}

// State returns what is shown now.
func (l *Loop) State() LoopState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Ran returns the checks that a node was asked to run.
func (l *Loop) Ran(id mesh.NodeID) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ran[id])
}

// Checks implements api.Checks.
func (l *Loop) Checks(context.Context) iter.Seq[mesh.CheckState] {
	return slices.Values(slices.Clone(l.State().Checks))
}

// OfNode implements api.Checks.
func (l *Loop) OfNode(_ context.Context, dc string, name mesh.NodeName) []mesh.CheckState {
	return slices.DeleteFunc(slices.Clone(l.State().Checks), func(c mesh.CheckState) bool { return c.DC != dc || c.Node != name })
}

// RunNow implements api.Checks.
func (l *Loop) RunNow(_ context.Context, node mesh.NodeID, checks []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.RunFault != nil {
		return l.state.RunFault
	}
	if slices.Contains(l.state.Deaf, node) {
		return mesh.Errorf(mesh.Unavailable, "its agent has no link")
	}
	if l.ran == nil {
		l.ran = map[mesh.NodeID][]string{}
	}
	l.ran[node] = append(l.ran[node], checks...)
	return nil
}

// Datacenters implements api.Consul.
func (l *Loop) Datacenters(context.Context) ([]v1.Datacenter, error) {
	return l.State().Datacenters, nil
}

// Sessions implements api.Consul.
func (l *Loop) Sessions(_ context.Context, _ string, node mesh.NodeName) ([]v1.LockSession, error) {
	return l.State().Sessions[node], nil
}

// RTTs implements api.Consul.
func (l *Loop) RTTs(context.Context, string, mesh.NodeName) (map[mesh.NodeName]float64, error) {
	return l.State().RTTs, nil
}

// ACL implements api.Consul.
func (l *Loop) ACL(context.Context, string) (v1.ACL, error) { return l.State().ACL, nil }

// Names implements api.Consul.
func (l *Loop) Names(service, dc string) []string {
	return []string{service + ".service." + dc + ".alps"}
}

// Settings implements api.Settings.
func (l *Loop) Settings(context.Context, mesh.Node) (v1.SettingList, error) {
	return v1.SettingList{Settings: l.State().Settings}, nil
}

// Incidents implements api.Incidents.
func (l *Loop) Incidents(_ context.Context, f v1.IncidentFilter) (v1.IncidentList, error) {
	var out v1.IncidentList
	after := f.Before == ""
	if !after && !slices.ContainsFunc(l.State().Incidents, func(i mesh.Incident) bool { return i.ID == f.Before }) {
		return out, mesh.Errorf(mesh.NotFound, "there is no incident %s to begin after", f.Before)
	}
	for _, i := range l.State().Incidents {
		switch {
		case !after:
			after = i.ID == f.Before
		case f.Rule != "" && i.Rule != f.Rule, len(f.Status) > 0 && !slices.Contains(f.Status, i.Status):
		case len(out.Incidents) == f.Limit:
			out.Next = out.Incidents[f.Limit-1].ID
			return out, nil
		default:
			i.Timeline = nil
			out.Incidents = append(out.Incidents, i)
		}
	}
	return out, nil
}

// Incident implements api.Incidents.
func (l *Loop) Incident(_ context.Context, id string) (mesh.Incident, error) {
	var found []mesh.Incident
	for _, i := range l.State().Incidents {
		if strings.HasPrefix(string(i.ID), id) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident %s", id)
	case 1:
		return found[0], nil
	}
	return mesh.Incident{}, mesh.Errorf(mesh.Conflict, "%d incidents begin with %s", len(found), id)
}

func (i incidents) Change(_ context.Context, id mesh.IncidentID, actor string, what v1.IncidentChange, text string) (mesh.Incident, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := slices.Clone(i.state.Incidents)
	i.state.Incidents = list
	at := slices.IndexFunc(list, func(x mesh.Incident) bool { return x.ID == id })
	if at < 0 {
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident %s", id)
	}
	closed := list[at].Status == mesh.IncidentClosed
	if what == v1.IncidentAck && list[at].Status != mesh.IncidentOpen || what == v1.IncidentClose && closed || what == v1.IncidentReopen && !closed {
		return mesh.Incident{}, mesh.Errorf(mesh.Conflict, "the incident %s is %s", id, list[at].Status)
	}
	kind := mesh.EventComment
	switch what {
	case v1.IncidentAck:
		list[at].Status, list[at].AckedBy, kind = mesh.IncidentAcked, actor, mesh.EventAcked
	case v1.IncidentClose:
		list[at].Status, list[at].ClosedBy, kind = mesh.IncidentClosed, actor, mesh.EventClosed
	case v1.IncidentReopen:
		list[at].Status, kind = mesh.IncidentOpen, mesh.EventReopened
	case v1.IncidentComment:
	}
	list[at].Timeline = append(slices.Clone(list[at].Timeline), mesh.IncidentEvent{At: AsOf(), Kind: kind, Actor: actor, Text: text})
	return list[at], nil
}

// Rules implements api.Incidents.
func (l *Loop) Rules(context.Context) (v1.RuleList, error) { return l.State().Rules, nil }

// incidents, keys and remedies give a Loop the interfaces whose methods would
// have the same names.
type (
	incidents struct{ *Loop }
	keys      struct{ *Loop }
	remedies  struct{ *Loop }
)

var _ api.Incidents = incidents{}

func (k keys) Keys(_ context.Context, _, prefix string) ([]string, error) {
	below := map[string]bool{}
	for key := range k.State().Keys {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			head, _, nested := strings.Cut(rest, "/")
			if nested {
				head += "/"
			}
			below[prefix+head] = true
		}
	}
	return slices.Sorted(maps.Keys(below)), nil
}

// bare is a key as Consul's client sends it: without a slash in front.
func bare(key string) string { return strings.TrimPrefix(key, "/") }

func (k keys) Get(_ context.Context, _, key string) (v1.KVPair, error) {
	key = bare(key)
	p, ok := k.State().Keys[key]
	if !ok {
		return p, mesh.Errorf(mesh.NotFound, "there is no key %q", key)
	}
	return p, nil
}

func (k keys) Put(_ context.Context, _, key string, w v1.KVWrite) (v1.KVPair, error) {
	key = bare(key)
	var err error
	var p v1.KVPair
	k.Change(func(s *LoopState) {
		if p = s.Keys[key]; p.Index != w.Index {
			err = mesh.Errorf(mesh.Conflict, "the index has changed")
			return
		}
		p = v1.KVPair{Key: key, Value: w.Value, Index: w.Index + 1}
		s.Keys = maps.Clone(s.Keys)
		if s.Keys == nil {
			s.Keys = map[string]v1.KVPair{}
		}
		s.Keys[key] = p
	})
	p.Value = nil
	return p, err
}

func (k keys) Delete(_ context.Context, _, key string, index uint64) error {
	key = bare(key)
	var err error
	k.Change(func(s *LoopState) {
		if s.Keys[key].Index != index {
			err = mesh.Errorf(mesh.Conflict, "the index has changed")
			return
		}
		s.Keys = maps.Clone(s.Keys)
		delete(s.Keys, key)
	})
	return err
}

func (r remedies) Policies(context.Context) (v1.PolicyList, error) { return r.State().Policies, nil }

func (r remedies) Runs(_ context.Context, f v1.RemedyRunFilter) ([]mesh.RemedyRun, error) {
	var out []mesh.RemedyRun
	for _, x := range r.State().Runs {
		if (f.Policy == "" || f.Policy == x.Policy) && (f.Incident == "" || f.Incident == x.Incident) && len(out) < f.Limit {
			out = append(out, x)
		}
	}
	return out, nil
}

func (r remedies) Run(_ context.Context, id mesh.RemedyRunID) (mesh.RemedyRun, error) {
	for _, x := range r.State().Runs {
		if x.ID == id {
			return x, nil
		}
	}
	return mesh.RemedyRun{}, mesh.Errorf(mesh.NotFound, "there is no run %s", id)
}

func (r remedies) Approve(_ context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return r.answer(id, func(x *mesh.RemedyRun) { x.State, x.Approved, x.Reason = mesh.RemedyDecided, actor, reason })
}

func (r remedies) Reach(ctx context.Context, id mesh.RemedyRunID) ([]mesh.NodeName, error) {
	run, err := r.Run(ctx, id)
	return append([]mesh.NodeName{run.Node}, r.State().Reach...), err
}

func (r remedies) Reject(_ context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return r.answer(id, func(x *mesh.RemedyRun) {
		x.State, x.Guard, x.Reason = mesh.RemedyRefused, "approval", actor+": "+reason
	})
}

func (r remedies) answer(id mesh.RemedyRunID, give func(*mesh.RemedyRun)) (err error) {
	r.Change(func(s *LoopState) {
		n := slices.IndexFunc(s.Runs, func(x mesh.RemedyRun) bool { return x.ID == id })
		switch {
		case n < 0:
			err = mesh.Errorf(mesh.NotFound, "there is no run %s", id)
		case s.Runs[n].State != mesh.RemedyProposed:
			err = mesh.Errorf(mesh.Conflict, "the run %s waits for nobody: it is %s", id, s.Runs[n].State)
		default:
			s.Runs = slices.Clone(s.Runs)
			give(&s.Runs[n])
		}
	})
	return err
}

func (r remedies) Simulate(ctx context.Context, actor, policy string, incident mesh.IncidentID) (v1.Simulation, error) {
	s := r.State()
	if !slices.ContainsFunc(s.Policies.Policies, func(p v1.Policy) bool { return p.Name == policy }) {
		return v1.Simulation{}, mesh.Errorf(mesh.NotFound, "there is no policy %q", policy).WithHint("`alps remedy list` shows them")
	}
	if s.SimulateUntil != nil {
		select {
		case <-s.SimulateUntil:
		case <-ctx.Done():
			return v1.Simulation{}, ctx.Err()
		}
	}
	out := s.Simulation
	out.Policy, out.Incident, out.Run.Approved = policy, incident, actor
	return out, s.SimulateFault
}

func (r remedies) Pause(_ context.Context, actor string, scope mesh.RemedyScope, reason string) error {
	r.turn(scope, &v1.RemedyPause{RemedyScope: scope, By: actor, At: AsOf(), Reason: reason})
	return nil
}

// turn pauses the policies that are meant, or, without a pause, ends that.
func (r remedies) turn(scope mesh.RemedyScope, p *v1.RemedyPause) {
	r.Change(func(s *LoopState) {
		if scope == (mesh.RemedyScope{}) {
			s.Policies.Paused = p
			return
		}
		s.Policies.Policies = slices.Clone(s.Policies.Policies)
		for i := range s.Policies.Policies {
			if have := &s.Policies.Policies[i]; scope.Covers(have.Name, have.Group) {
				have.Paused = p
			}
		}
	})
}

func (r remedies) Resume(_ context.Context, _ string, scope mesh.RemedyScope, _ string) error {
	r.turn(scope, nil)
	r.Change(func(s *LoopState) {
		s.Resumed = append(s.Resumed, scope.String())
	})
	return nil
}
