package wire

import (
	"context"

	"alps/mesh"
	"alps/mesh/query"
	v1 "alps/server/api/v1"
	"alps/server/remedy"
)

// remedies is api.Remedies on the engine.
type remedies struct{ e *remedy.Engine }

func (r remedies) Policies(ctx context.Context) (v1.PolicyList, error) {
	views, pause, err := r.e.Policies(ctx)
	if err != nil {
		return v1.PolicyList{}, err
	}
	out := v1.PolicyList{Policies: make([]v1.Policy, len(views))}
	for i, v := range views {
		out.Policies[i] = v1.Policy{Policy: v.Policy, Paused: paused(v.Paused), Blocked: v.Blocked, LastHour: v.LastHour, InARow: v.Failures, Last: v.Last}
	}
	out.Paused = paused(pause)
	return out, nil
}

func paused(p *remedy.Pause) *v1.RemedyPause {
	if p == nil {
		return nil
	}
	return &v1.RemedyPause{RemedyScope: p.RemedyScope, By: p.By, At: p.At, Reason: p.Reason}
}

func (r remedies) Runs(ctx context.Context, f v1.RemedyRunFilter) ([]mesh.RemedyRun, error) {
	return r.e.Runs(ctx, remedy.Filter{Policy: f.Policy, Incident: f.Incident, Limit: f.Limit})
}

func (r remedies) Run(ctx context.Context, id mesh.RemedyRunID) (mesh.RemedyRun, error) {
	return r.e.Get(ctx, id)
}

func (r remedies) Approve(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return r.e.Approve(ctx, actor, id, reason)
}

func (r remedies) Reject(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	return r.e.Reject(ctx, actor, id, reason)
}

func (r remedies) Reach(ctx context.Context, id mesh.RemedyRunID) ([]mesh.NodeName, error) {
	return r.e.Reach(ctx, id)
}

// Simulate is the same for whoever asks: the audit has them.
func (r remedies) Simulate(ctx context.Context, _, policy string, incident mesh.IncidentID) (v1.Simulation, error) {
	s, err := r.e.Simulate(ctx, policy, incident)
	if err != nil {
		return v1.Simulation{}, err
	}
	out := v1.Simulation{
		Policy: policy, Incident: incident, Node: s.Run.Node, Run: s.Run, Would: s.Would, Reason: s.Reason,
		Verdicts: make([]v1.GuardVerdict, len(s.Verdicts)),
	}
	for i, v := range s.Verdicts {
		out.Verdicts[i] = v1.GuardVerdict{Guard: string(v.Guard), Reason: v.Reason}
	}
	return out, nil
}

func (r remedies) Pause(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error {
	return r.e.Pause(ctx, actor, scope, reason)
}

func (r remedies) Resume(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error {
	return r.e.Resume(ctx, actor, scope, reason)
}

// everyNode is the scope of what the server does by itself.
func everyNode() *query.Expr {
	expr, err := query.Parse("all")
	if err != nil { // "all" is a query.
		panic(err)
	}
	return expr
}
