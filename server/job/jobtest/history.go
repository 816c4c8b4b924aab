package jobtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"alps/mesh"
	"alps/server/job"
)

// History is a job.History in memory. The zero History is empty.
type History struct {
	// Fail, when it returns an error, makes every write fail with it. It must
	// not be changed while the History is used.
	Fail func() error

	mu      sync.Mutex
	jobs    map[mesh.JobID]job.Job
	targets map[mesh.JobID][]job.Target
	places  map[mesh.JobID][]job.Place
	outputs map[string][]byte
	wanted  map[string]map[mesh.NodeID]bool
	marks   map[string][mesh.Shards]job.Mark
	audit   []mesh.Audit
}

var _ job.History = (*History)(nil)

func (h *History) write() error {
	if h.jobs == nil {
		h.jobs, h.targets = make(map[mesh.JobID]job.Job), make(map[mesh.JobID][]job.Target)
		h.places, h.marks = make(map[mesh.JobID][]job.Place), make(map[string][mesh.Shards]job.Mark)
		h.outputs, h.wanted = make(map[string][]byte), make(map[string]map[mesh.NodeID]bool)
	}
	if h.Fail != nil {
		return h.Fail()
	}
	return nil
}

// Create implements job.Jobs.
func (h *History) Create(_ context.Context, n job.NewJob) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(); err != nil {
		return err
	}
	for _, j := range h.jobs {
		if j.ID == n.Job.ID || n.Job.Token != "" && j.Token == n.Job.Token && j.Author == n.Job.Author {
			return mesh.Errorf(mesh.Conflict, "store job %s: it exists, or its submit token was used", n.Job.ID)
		}
	}
	h.jobs[n.Job.ID] = clone(n.Job)
	h.targets[n.Job.ID] = slices.Clone(n.Targets)
	h.places[n.Job.ID] = slices.Clone(n.Places)
	if n.Job.Spec.Script != nil && n.Script != nil {
		h.put(n.Job.Spec.Script.SHA256, n.Script)
	}
	h.audit = append(h.audit, n.Audit)
	return nil
}

// Apply implements job.Jobs.
func (h *History) Apply(_ context.Context, c job.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(); err != nil {
		return err
	}
	for _, j := range c.Jobs {
		if _, ok := h.jobs[j.ID]; !ok {
			return mesh.Errorf(mesh.NotFound, "no job %s", j.ID)
		}
	}
	for id := range c.Targets {
		if _, ok := h.jobs[id]; !ok {
			return mesh.Errorf(mesh.NotFound, "no job %s", id)
		}
	}
	for _, j := range c.Jobs {
		old := h.jobs[j.ID]
		old.Phase, old.Gen, old.Wave, old.Ctl, old.Stopped = j.Phase, j.Gen, j.Wave, j.Ctl, j.Stopped
		old.Counts, old.Woke, old.Ended = j.Counts, j.Woke, j.Ended
		h.jobs[j.ID] = clone(old)
	}
	for id, targets := range c.Targets {
		for _, t := range targets {
			old := &h.targets[id][t.Index]
			t.Index, t.Node, t.Name, t.DC, t.Wave, t.Listed = old.Index, old.Node, old.Name, old.DC, old.Wave, old.Listed
			*old = t
		}
	}
	for d, body := range c.Outputs {
		h.put(d, body)
	}
	for d, nodes := range c.Wanted {
		if h.wanted[d] == nil {
			h.wanted[d] = make(map[mesh.NodeID]bool)
		}
		for _, n := range nodes {
			h.wanted[d][n] = true
		}
	}
	for _, p := range c.Places {
		for i, old := range h.places[p.Job] {
			if old.DC == p.DC {
				h.places[p.Job][i] = p
			}
		}
	}
	maps.Copy(h.marks, c.Marks)
	h.audit = append(h.audit, c.Audit...)
	return nil
}

// Job implements job.Jobs.
func (h *History) Job(_ context.Context, id mesh.JobID) (job.Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j, ok := h.jobs[id]
	if !ok {
		return job.Job{}, mesh.Errorf(mesh.NotFound, "no job %s", id)
	}
	return clone(j), nil
}

// JobByToken implements job.Jobs.
func (h *History) JobByToken(_ context.Context, author, token string) (job.Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs {
		if token != "" && j.Author == author && j.Token == token {
			return clone(j), nil
		}
	}
	return job.Job{}, mesh.Errorf(mesh.NotFound, "no job of %s has this submit token", author)
}

// Jobs implements job.Jobs.
func (h *History) Jobs(_ context.Context, f job.Filter) ([]job.Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.SortedFunc(maps.Values(h.jobs), func(a, b job.Job) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	if f.Before != "" {
		i := slices.IndexFunc(all, func(j job.Job) bool { return j.ID == f.Before })
		if i < 0 {
			return nil, nil
		}
		all = all[i+1:]
	}
	var out []job.Job
	for _, j := range all {
		if f.Open && !j.Ended.IsZero() || f.Author != "" && j.Author != f.Author ||
			!strings.HasPrefix(string(j.ID), f.Prefix) || f.State != "" && j.Counts[f.State] == 0 ||
			f.Node != "" && !slices.ContainsFunc(h.targets[j.ID], func(t job.Target) bool { return t.Node == f.Node }) {
			continue
		}
		if out = append(out, clone(j)); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

// Targets implements job.Jobs.
func (h *History) Targets(_ context.Context, id mesh.JobID) ([]job.Target, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.targets[id]
	if !ok {
		return nil, mesh.Errorf(mesh.NotFound, "no job %s", id)
	}
	return slices.Clone(t), nil
}

func (h *History) put(digest string, body []byte) {
	h.outputs[digest] = slices.Clone(body)
	delete(h.wanted, digest)
}

// PutOutput implements job.Outputs.
func (h *History) PutOutput(_ context.Context, digest string, body []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(); err != nil {
		return err
	}
	h.put(digest, body)
	return nil
}

// Output implements job.Outputs.
func (h *History) Output(_ context.Context, digest string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.outputs[digest]
	if !ok {
		return nil, mesh.Errorf(mesh.NotFound, "no output %s", digest)
	}
	return slices.Clone(b), nil
}

// KnownOutputs implements job.Outputs.
func (h *History) KnownOutputs(_ context.Context, digests []string) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, d := range digests {
		if _, ok := h.outputs[d]; ok {
			out = append(out, d)
		}
	}
	return out, nil
}

// Wanted implements job.Outputs.
func (h *History) Wanted(_ context.Context, node mesh.NodeID) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for d, nodes := range h.wanted {
		if nodes[node] {
			out = append(out, d)
		}
	}
	return out, nil
}

// Marks implements job.Boards.
func (h *History) Marks(_ context.Context, dc string) ([mesh.Shards]job.Mark, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.marks[dc], nil
}

// Places implements job.Boards.
func (h *History) Places(_ context.Context, open bool, before time.Time) ([]job.Place, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []job.Place
	for id, places := range h.places {
		j := h.jobs[id]
		for _, p := range places {
			if !p.Cleaned && (open && j.Ended.IsZero() || !open && j.Expires.Before(before)) {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// Audit returns the audit lines so far.
func (h *History) Audit() []mesh.Audit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.audit)
}

func clone(j job.Job) job.Job {
	j.Counts, j.Woke = maps.Clone(j.Counts), maps.Clone(j.Woke)
	return j
}
