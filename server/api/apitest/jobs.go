package apitest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/mesh/query"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
	"alps/server/auth"
	"alps/server/stream"
)

// job is a job that runs nowhere: its targets are what a test reports.
type job struct {
	doc     v1.Job
	token   string
	nodes   []mesh.Node // as they were when it was submitted.
	targets []v1.Target
}

// NeedKey makes Submit return drafts from now on.
func (e *Estate) NeedKey(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.needKey = on
}

// Report sets the state of one target and publishes it, as a server does.
func (e *Estate) Report(id mesh.JobID, node mesh.NodeName, state mesh.State, stdout []byte) {
	e.mu.Lock()
	for _, j := range e.jobs {
		for i := range j.targets {
			if t := &j.targets[i]; j.doc.ID == id && t.Name == node {
				t.State = state
				if len(stdout) > 0 {
					t.Stdout = mesh.Output{Bytes: int64(len(stdout)), Digest: mesh.Digest(stdout)}
					e.outputs[t.Stdout.Digest] = stdout
				}
			}
		}
	}
	e.mu.Unlock()
	e.tell(id, "job.targets", v1.TargetEvent{Name: node, State: state})
}

// tell publishes an event of a job.
func (e *Estate) tell(id mesh.JobID, kind string, targets ...v1.TargetEvent) {
	data, err := json.Marshal(v1.JobEvent{Job: id, Phase: "run", Targets: targets})
	if err != nil {
		panic(err) // a JobEvent holds nothing that JSON cannot.
	}
	e.Hub.Publish(stream.Event{Topic: "job/" + string(id), Type: kind, Data: data})
}

// Submit implements api.Jobs.
func (e *Estate) Submit(_ context.Context, who auth.Actor, r v1.JobRequest) (v1.Submission, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return v1.Submission{}, e.err
	}
	for _, j := range e.jobs {
		if r.SubmitToken != "" && j.token == r.SubmitToken {
			sub := j.submission(who)
			sub.Repeated = true
			return sub, nil
		}
	}
	expr, err := query.Parse(r.Target)
	if err != nil {
		return v1.Submission{}, mesh.Errorf(mesh.Invalid, "read the target expression: %w", err)
	}
	nodes := e.match(expr)
	if len(nodes) == 0 {
		return v1.Submission{}, mesh.Errorf(mesh.NoTargets, "%s matches no node", expr).WithHint("`alps node list` shows the nodes")
	}
	j := &job{token: r.SubmitToken, nodes: nodes, doc: v1.Job{
		ID: mesh.NewJobID(), Attempt: 1, Author: who.Name, Title: strings.Join(r.Command, " "), Target: expr.String(),
		Created: AsOf(), Expires: AsOf().Add(time.Hour), Phase: "run", Waves: 1,
	}}
	for i := range nodes {
		if !who.Reaches(&nodes[i]) {
			return v1.Submission{}, mesh.Errorf(mesh.Denied, "the token does not reach %s", nodes[i].Name)
		}
		j.targets = append(j.targets, v1.Target{Index: i, Node: nodes[i].ID, Name: nodes[i].Name, DC: nodes[i].DC, State: mesh.Pending})
	}
	if e.needKey {
		e.drafts[j.doc.ID] = j
		return v1.Submission{Draft: &v1.Draft{
			Job: j.doc.ID, Type: sign.TypeJob, Payload: []byte(`{"v":1}`), Why: "it must", Expires: AsOf().Add(5 * time.Minute),
		}}, nil
	}
	e.jobs = slices.Insert(e.jobs, 0, j)
	return j.submission(who), nil
}

// Sign implements api.Jobs. Of the signature it checks the length alone.
func (e *Estate) Sign(_ context.Context, who auth.Actor, id mesh.JobID, env sign.Envelope) (v1.Submission, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, ok := e.drafts[id]
	if !ok {
		return v1.Submission{}, mesh.Errorf(mesh.NotFound, "there is no draft %s", id)
	}
	if len(env.Sig) != 64 {
		return v1.Submission{}, mesh.Errorf(mesh.Denied, "the signature is not valid")
	}
	delete(e.drafts, id)
	e.jobs = slices.Insert(e.jobs, 0, j)
	return j.submission(who), nil
}

// Job implements api.Jobs.
func (e *Estate) Job(_ context.Context, who auth.Actor, id mesh.JobID) (v1.Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(who, id)
	if err != nil {
		return v1.Job{}, err
	}
	return j.seen(who), nil
}

// Jobs implements api.Jobs.
func (e *Estate) Jobs(_ context.Context, who auth.Actor, f v1.JobFilter) ([]v1.Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []v1.Job
	started := f.Before == ""
	for _, j := range e.jobs {
		doc := j.seen(who)
		if started && len(j.visible(who)) > 0 && strings.HasPrefix(string(doc.ID), f.Prefix) && len(out) < f.Limit &&
			(f.Author == "" || f.Author == doc.Author) && (f.State == "" || doc.Counts[f.State] > 0) && (!f.Open || doc.Counts.Open() > 0) {
			doc.Groups, doc.Hidden = nil, 0
			out = append(out, doc)
		}
		started = started || doc.ID == f.Before
	}
	return out, e.err
}

// Targets implements api.Jobs.
func (e *Estate) Targets(_ context.Context, who auth.Actor, id mesh.JobID, f v1.TargetFilter) (v1.TargetList, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(who, id)
	if err != nil {
		return v1.TargetList{}, err
	}
	var list v1.TargetList
	for _, t := range j.visible(who) {
		if t.Index < f.From || f.State != "" && t.State != f.State || f.Group != "" && string(t.State) != f.Group {
			continue
		}
		if len(list.Targets) == f.Limit {
			list.Next = t.Index
			break
		}
		list.Targets = append(list.Targets, t)
	}
	return list, nil
}

// Output implements api.Jobs.
func (e *Estate) Output(_ context.Context, who auth.Actor, id mesh.JobID, digest string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(who, id)
	if err != nil {
		return nil, err
	}
	for _, t := range j.visible(who) {
		if t.Stdout.Digest == digest {
			return e.outputs[digest], nil
		}
	}
	return nil, mesh.Errorf(mesh.NotFound, "job %s wrote no such output", id)
}

// Steer implements api.Jobs.
func (e *Estate) Steer(_ context.Context, who auth.Actor, id mesh.JobID, what v1.Steer) (v1.Submission, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(who, id)
	if err != nil {
		return v1.Submission{}, err
	}
	if len(j.visible(who)) < len(j.targets) {
		return v1.Submission{}, mesh.Errorf(mesh.Denied, "job %s has targets that the token does not reach", id)
	}
	switch what {
	case v1.Cancel, v1.Pause:
		j.doc.Phase = string(what)
	case v1.Resume:
		j.doc.Phase = "run"
	case v1.OpenWave:
		j.doc.Wave++
	}
	return j.submission(who), nil
}

func (e *Estate) find(who auth.Actor, id mesh.JobID) (*job, error) {
	if e.err != nil {
		return nil, e.err
	}
	for _, j := range e.jobs {
		if j.doc.ID == id && len(j.visible(who)) > 0 {
			return j, nil
		}
	}
	return nil, mesh.Errorf(mesh.NotFound, "there is no job %s", id)
}

func (j *job) visible(who auth.Actor) []v1.Target {
	var out []v1.Target
	for i, t := range j.targets {
		if who.Reaches(&j.nodes[i]) {
			out = append(out, t)
		}
	}
	return out
}

// seen is the job's document as who may see it.
func (j *job) seen(who auth.Actor) v1.Job {
	doc := j.doc
	doc.Counts = mesh.Counts{}
	for _, t := range j.targets {
		doc.Counts[t.State]++
	}
	names := map[mesh.State][]string{}
	seen := j.visible(who)
	doc.Hidden = len(j.targets) - len(seen)
	for _, t := range seen {
		names[t.State] = append(names[t.State], string(t.Name))
	}
	for _, s := range mesh.States() {
		if len(names[s]) > 0 {
			doc.Groups = append(doc.Groups, v1.Group{ID: string(s), State: s, Count: len(names[s]), Nodes: nodeset.Fold(names[s])})
		}
	}
	return doc
}

func (j *job) submission(who auth.Actor) v1.Submission {
	doc := j.seen(who)
	return v1.Submission{Job: &doc}
}
