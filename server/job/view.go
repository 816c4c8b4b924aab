package job

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"alps/mesh"
	"alps/mesh/nodeset"
)

// Group is the targets of a job whose end is the same in every respect.
type Group struct {
	ID     string // for asking for its targets; good while nothing changes.
	State  mesh.State
	Reason string
	Code   int
	Signal string
	Stdout mesh.Output
	Stderr mesh.Output
	Count  int
	Nodes  string // folded.
}

// View is a job as an actor sees it. Counts are those of the whole list, which
// is the denominator; Hidden is how many of it lie outside the actor's scope
// and in no group.
type View struct {
	Job    Job
	Places []Place // none when the job has ended a while ago.
	Groups []Group // the largest first within a state, states in their order.
	Hidden int
}

// Get returns a job. A job of which the actor may see no target does not
// exist for it.
func (s *Service) Get(ctx context.Context, who Actor, id mesh.JobID) (View, error) {
	j, targets, err := s.snapshot(ctx, id)
	if err != nil {
		return View{}, err
	}
	seen := s.visible(who, targets)
	if len(seen) == 0 {
		return View{}, noJob(id)
	}
	return View{Job: j, Places: s.placesOf(id), Groups: groups(seen), Hidden: len(targets) - len(seen)}, nil
}

// Find returns the job that an abbreviated id means.
func (s *Service) Find(ctx context.Context, who Actor, prefix string) (mesh.JobID, error) {
	const least = 4
	if len(prefix) < least {
		return "", mesh.Errorf(mesh.Invalid, "%q is too short for a job's id: at least %d digits", prefix, least)
	}
	jobs, err := s.List(ctx, who, Filter{Prefix: prefix, Limit: 2})
	switch {
	case err != nil:
		return "", err
	case len(jobs) == 0:
		return "", noJob(mesh.JobID(prefix))
	case len(jobs) > 1:
		return "", mesh.Errorf(mesh.Invalid, "%q is the beginning of several job ids", prefix).WithHint("type more of it")
	}
	return jobs[0].ID, nil
}

// List lists jobs, the newest first, without those of which the actor may see
// no target.
func (s *Service) List(ctx context.Context, who Actor, f Filter) ([]Job, error) {
	var out []Job
	limit := f.Limit
	for {
		page, err := s.o.History.Jobs(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, j := range page {
			ok, err := s.sees(ctx, who, j.ID)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, s.newest(j))
			}
			if limit > 0 && len(out) == limit {
				return out, nil
			}
		}
		if limit == 0 || len(page) < f.Limit {
			return out, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// TargetPage asks for a page of a job's targets, in the order of the list.
type TargetPage struct {
	State mesh.State // empty for all.
	Group string     // ID of a Group, empty for all.
	After int        // the Index of the last one that is known, -1 to begin.
	Limit int        // 0 means no limit.
}

// Targets returns a page of a job's targets that the actor may see, and
// whether there are more.
func (s *Service) Targets(ctx context.Context, who Actor, id mesh.JobID, p TargetPage) ([]Target, bool, error) {
	_, targets, err := s.snapshot(ctx, id)
	if err != nil {
		return nil, false, err
	}
	seen := s.visible(who, targets)
	if len(seen) == 0 {
		return nil, false, noJob(id)
	}
	out := []Target{}
	for _, t := range seen {
		if t.Index <= p.After || p.State != "" && t.State != p.State || p.Group != "" && groupKey(&t).id() != p.Group {
			continue
		}
		if p.Limit > 0 && len(out) == p.Limit {
			return out, true, nil
		}
		out = append(out, t)
	}
	return out, false, nil
}

// Output returns what a target of a job wrote. mesh.Unavailable means that the
// body is still on its node, which was asked for it.
func (s *Service) Output(ctx context.Context, who Actor, id mesh.JobID, digest string) ([]byte, error) {
	_, targets, err := s.snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	seen := s.visible(who, targets)
	if len(seen) == 0 {
		return nil, noJob(id)
	}
	i := slices.IndexFunc(seen, func(t Target) bool {
		return digest != "" && (t.Stdout.Digest == digest || t.Stderr.Digest == digest)
	})
	if i < 0 {
		return nil, mesh.Errorf(mesh.NotFound, "job %s has no output %q", id, digest)
	}
	body, err := s.o.History.Output(ctx, digest)
	if mesh.CodeOf(err) == mesh.NotFound {
		s.asks.put(ask{seen[i].Node, []string{digest}})
		return nil, mesh.Errorf(mesh.Unavailable, "the output %.12s is still on node %s, which was asked for it", digest, seen[i].Name).
			WithHint("try again in a moment; a node keeps its output for a day")
	}
	return body, err
}

// snapshot returns a job with its list, from memory when it is there.
func (s *Service) snapshot(ctx context.Context, id mesh.JobID) (Job, []Target, error) {
	s.mu.RLock()
	if l := s.live[id]; l != nil {
		defer s.mu.RUnlock()
		return l.job, slices.Clone(l.targets), nil
	}
	s.mu.RUnlock()
	j, err := s.o.History.Job(ctx, id)
	if err != nil {
		if mesh.CodeOf(err) == mesh.NotFound {
			return Job{}, nil, noJob(id)
		}
		return Job{}, nil, err
	}
	targets, err := s.o.History.Targets(ctx, id)
	return j, targets, err
}

// newest returns a job as it is in memory, which is ahead of the store by the
// progress of half a second.
func (s *Service) newest(j Job) Job {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.live[j.ID]; l != nil {
		return l.job
	}
	return j
}

func (s *Service) placesOf(id mesh.JobID) []Place {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := s.live[id]
	if l == nil {
		return nil
	}
	var out []Place
	for _, p := range l.places {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Place) int { return cmp.Compare(a.DC, b.DC) })
	return out
}

func (s *Service) sees(ctx context.Context, who Actor, id mesh.JobID) (bool, error) {
	if who.Unlimited() {
		return true, nil
	}
	_, targets, err := s.snapshot(ctx, id)
	return len(s.visible(who, targets)) > 0, err
}

// visible returns the targets in the actor's scope, as the nodes are now. A
// node that the inventory has forgotten is seen by unlimited actors alone.
func (s *Service) visible(who Actor, targets []Target) []Target {
	if who.Unlimited() {
		return targets
	}
	var out []Target
	for _, t := range targets {
		key := string(t.Name)
		if t.Node != "" {
			key = string(t.Node)
		}
		if n, ok := s.o.Resolver.Node(key); ok && who.reaches(&n) {
			out = append(out, t)
		}
	}
	return out
}

// key is what the targets of a Group have in common. Sizes belong to it: two
// streams that were cut alike may have been of different length.
type key struct {
	state  mesh.State
	reason string
	code   int
	signal string
	stdout stream
	stderr stream
}

type stream struct {
	digest    string
	bytes     int64
	truncated bool
}

func groupKey(t *Target) key {
	return key{t.State, t.Reason, t.Code, t.Signal, streamOf(t.Stdout), streamOf(t.Stderr)}
}

func streamOf(o mesh.Output) stream { return stream{o.Digest, o.Bytes, o.Truncated} }

func (k key) id() string { return mesh.Digest(fmt.Appendf(nil, "%q", []any{k}))[:16] }

func groups(targets []Target) []Group {
	byKey := make(map[key][]*Target)
	for i := range targets {
		k := groupKey(&targets[i])
		byKey[k] = append(byKey[k], &targets[i])
	}
	out := make([]Group, 0, len(byKey))
	for k, members := range byKey {
		names := make([]string, len(members))
		for i, t := range members {
			names[i] = string(t.Name)
		}
		t := members[0]
		out = append(out, Group{
			ID: k.id(), State: t.State, Reason: t.Reason, Code: t.Code, Signal: t.Signal, Stdout: t.Stdout, Stderr: t.Stderr,
			Count: len(members), Nodes: nodeset.Fold(names),
		})
	}
	order := make(map[mesh.State]int)
	for i, st := range mesh.States() {
		order[st] = i
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(order[a.State]-order[b.State], b.Count-a.Count, nodeset.Compare(a.Nodes, b.Nodes))
	})
	return out
}
