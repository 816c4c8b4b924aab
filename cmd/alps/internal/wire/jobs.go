package wire

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
	"alps/server/auth"
	"alps/server/cmdb"
	"alps/server/job"
	"alps/server/leader"
	"alps/server/stream"
)

// resolver is job.Resolver on the inventory. A revocation counts at once, not
// when the inventory has taken it over: a node that was shut out a moment ago
// must not get into the signed list of a job.
type resolver struct {
	*cmdb.CMDB

	isRevoked func(mesh.NodeID) bool
}

func (r resolver) Resolve(expr *query.Expr) ([]mesh.Node, error) {
	nodes, err := r.CMDB.Resolve(expr)
	for i := range nodes {
		if n := &nodes[i]; n.ID != "" && r.isRevoked(n.ID) {
			n.Agent = mesh.AgentRevoked
		}
	}
	return nodes, err
}

// apiJobs is api.Jobs on a job.Service: it turns documents of the API into
// values of the service and back. Nothing begins while another server may
// lead: that one would not know of it.
type apiJobs struct {
	s    *job.Service
	lead *leader.Leader
}

func actor(who auth.Actor) job.Actor {
	return job.Actor{Name: who.Name, From: who.From, Scope: who.Scope}
}

func (a apiJobs) Submit(ctx context.Context, who auth.Actor, r v1.JobRequest) (v1.Submission, error) {
	req := job.Request{
		Target: r.Target, Command: r.Command, Args: r.Args, Env: r.Env, RunAs: r.RunAs,
		Timeout: secs(r.Timeout), Grace: secs(r.Grace), ExpiresIn: secs(r.ExpiresIn),
		Idempotent: r.Idempotent, AllowMissing: r.AllowMissing, Token: r.SubmitToken,
		Canary: r.Canary, Batch: r.Batch, MaxFail: r.MaxFail, Confirm: r.Confirm,
	}
	if r.Script != nil {
		req.Script = &job.Script{Name: r.Script.Name, Body: r.Script.Body}
	}
	if err := a.lead.Stands(ctx); err != nil {
		return v1.Submission{}, err
	}
	sub, err := a.s.Submit(ctx, actor(who), req)
	return submission(sub, err)
}

func (a apiJobs) Sign(ctx context.Context, who auth.Actor, id mesh.JobID, env sign.Envelope) (v1.Submission, error) {
	if err := a.lead.Stands(ctx); err != nil {
		return v1.Submission{}, err
	}
	return submission(a.s.Sign(ctx, actor(who), id, env))
}

// submission turns what became of a request into its document. That a key of
// an operator must sign is no error to a client, it is the next step.
func submission(sub job.Submission, err error) (v1.Submission, error) {
	if d, ok := errors.AsType[*job.DraftError](err); ok {
		return v1.Submission{Draft: &v1.Draft{Job: d.Job, Type: d.Type, Payload: d.Payload, Why: d.Error(), Expires: d.Expires}}, nil
	}
	if err != nil {
		return v1.Submission{}, err
	}
	doc := jobDoc(sub.Job)
	return v1.Submission{Job: &doc, Warning: sub.Warning, Repeated: sub.Repeated}, nil
}

func (a apiJobs) Job(ctx context.Context, who auth.Actor, id mesh.JobID) (v1.Job, error) {
	view, err := a.s.Get(ctx, actor(who), id)
	if err != nil {
		return v1.Job{}, err
	}
	out := jobDoc(view.Job)
	out.Hidden = view.Hidden
	for _, p := range view.Places {
		if !p.Published {
			out.Unpublished = append(out.Unpublished, p.DC)
		}
	}
	for _, g := range view.Groups {
		out.Groups = append(out.Groups, v1.Group{
			ID: g.ID, State: g.State, Reason: g.Reason, Code: g.Code, Signal: g.Signal,
			Count: g.Count, Nodes: g.Nodes, Stdout: g.Stdout, Stderr: g.Stderr,
		})
	}
	return out, nil
}

func (a apiJobs) Jobs(ctx context.Context, who auth.Actor, f v1.JobFilter) ([]v1.Job, error) {
	jobs, err := a.s.List(ctx, actor(who), job.Filter{
		Open: f.Open, State: f.State, Author: f.Author, Prefix: f.Prefix, Node: f.Node, Before: f.Before, Limit: f.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := make([]v1.Job, len(jobs))
	for i, j := range jobs {
		out[i] = jobDoc(j)
	}
	return out, nil
}

func (a apiJobs) Targets(ctx context.Context, who auth.Actor, id mesh.JobID, f v1.TargetFilter) (v1.TargetList, error) {
	list, more, err := a.s.Targets(ctx, actor(who), id, job.TargetPage{State: f.State, Group: f.Group, After: f.From - 1, Limit: f.Limit})
	if err != nil {
		return v1.TargetList{}, err
	}
	out := v1.TargetList{Targets: make([]v1.Target, len(list))}
	for i, t := range list {
		out.Targets[i] = v1.Target{
			Index: t.Index, Node: t.Node, Name: t.Name, DC: t.DC, Wave: t.Wave,
			State: t.State, Reason: t.Reason, Code: t.Code, Signal: t.Signal, Woke: t.Woke, Inferred: t.Inferred,
			At: t.At, Started: t.Started, Ended: t.Ended, Stdout: t.Stdout, Stderr: t.Stderr,
		}
	}
	if more {
		out.Next = list[len(list)-1].Index + 1
	}
	return out, nil
}

func (a apiJobs) Output(ctx context.Context, who auth.Actor, id mesh.JobID, digest string) ([]byte, error) {
	return a.s.Output(ctx, actor(who), id, digest)
}

func (a apiJobs) Steer(ctx context.Context, who auth.Actor, id mesh.JobID, what v1.Steer) (v1.Submission, error) {
	steer := map[v1.Steer]func(context.Context, job.Actor, mesh.JobID) (job.Submission, error){
		v1.Cancel: a.s.Cancel, v1.Pause: a.s.Pause, v1.Resume: a.s.Resume, v1.OpenWave: a.s.OpenWave,
	}[what]
	if steer == nil {
		return v1.Submission{}, mesh.Errorf(mesh.Invalid, "a job cannot be steered to %q", what)
	}
	if err := a.lead.Stands(ctx); err != nil {
		return v1.Submission{}, err
	}
	return submission(steer(ctx, actor(who), id))
}

func jobDoc(j job.Job) v1.Job {
	return v1.Job{
		ID: j.ID, Attempt: j.Attempt, Author: j.Author, Signer: j.Signer, Title: j.Title, Target: j.Expr,
		Created: j.Created, Expires: j.Expires, Ended: j.Ended, Phase: string(j.Phase),
		Wave: j.Wave, Waves: j.Plan.Waves(j.Spec.Targets.Count), Stopped: j.Stopped,
		Counts: j.Counts, Woke: j.Woke,
	}
}

func secs(n int) time.Duration { return time.Duration(n) * time.Second }

// publisher is job.Stream on the hub. changed is told after each event and must
// not block.
type publisher struct {
	hub     *stream.Hub
	changed func()
}

func (p publisher) Publish(topic, kind string, data any) {
	b, err := json.Marshal(data)
	if err != nil { // a value of ours that JSON cannot hold is a bug; the type alone still wakes the client.
		b = nil
	}
	p.hub.Publish(stream.Event{Topic: topic, Type: kind, Data: b})
	p.changed()
}
