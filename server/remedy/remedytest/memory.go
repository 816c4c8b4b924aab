package remedytest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"alps/mesh"
	"alps/server/remedy"
)

// Memory is a remedy.Store that forgets everything when it is dropped. The
// zero Memory is empty.
type Memory struct {
	mu   sync.Mutex
	term uint64
	runs []remedy.Record // the oldest first.
	sw   remedy.Switch
}

var _ remedy.Store = (*Memory)(nil)

// PutRemedyRuns implements remedy.Store.
func (m *Memory) PutRemedyRuns(_ context.Context, term uint64, runs []remedy.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if term < m.term {
		return mesh.Errorf(mesh.Conflict, "another server leads")
	}
	next := slices.Clone(m.runs)
	for _, r := range runs {
		at := slices.IndexFunc(next, func(old remedy.Record) bool { return old.ID == r.ID })
		if r.State.Open() {
			if m.sw.Holds(r.Policy, r.Group) != nil && (at < 0 || !next[at].State.Open()) {
				return mesh.Errorf(mesh.Conflict, "the policy is paused")
			}
			if slices.ContainsFunc(next, func(old remedy.Record) bool { return old.ID != r.ID && old.State.Open() && meet(&old, &r) }) {
				return mesh.Errorf(mesh.Conflict, "another run is under way")
			}
		}
		if at < 0 {
			next = append(next, r)
		} else {
			next[at] = r
		}
	}
	m.runs, m.term = next, term
	return nil
}

// meet reports whether two runs may not be under way together.
func meet(a, b *remedy.Record) bool {
	return a.Group == b.Group || a.DC == b.DC && a.Node == b.Node
}

// RemedyRuns implements remedy.Store.
func (m *Memory) RemedyRuns(_ context.Context, f remedy.Filter) ([]remedy.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []remedy.Record
	for _, r := range slices.Backward(m.runs) {
		if fits(&r, f) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b remedy.Record) int { return b.Decided.Compare(a.Decided) })
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out, nil
}

func fits(r *remedy.Record, f remedy.Filter) bool {
	return (f.ID == "" || r.ID == f.ID) && (f.Policy == "" || r.Policy == f.Policy) &&
		(f.Incident == "" || r.Incident == f.Incident) && (f.Guard == "" || r.Guard == string(f.Guard)) &&
		(!f.Acts || r.State.Acts()) && (!f.Open || r.State.Open()) && (!f.Proposed || r.State == mesh.RemedyProposed) && (!f.Untold || !r.Told) && !r.Decided.Before(f.Since)
}

// RemedySwitch implements remedy.Store.
func (m *Memory) RemedySwitch(context.Context) (remedy.Switch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return remedy.Switch{Paused: slices.Clone(m.sw.Paused), Resumed: maps.Clone(m.sw.Resumed)}, nil
}

// PauseRemedy implements remedy.Store.
func (m *Memory) PauseRemedy(_ context.Context, p remedy.Pause) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unpause(p.RemedyScope)
	m.sw.Paused = append(m.sw.Paused, p)
	remedy.SortPauses(m.sw.Paused)
	return nil
}

func (m *Memory) unpause(scope mesh.RemedyScope) {
	m.sw.Paused = slices.DeleteFunc(m.sw.Paused, func(p remedy.Pause) bool { return p.RemedyScope == scope })
}

// ResumeRemedy implements remedy.Store.
func (m *Memory) ResumeRemedy(_ context.Context, p remedy.Pause) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unpause(p.RemedyScope)
	if p.Policy == "" {
		return nil
	}
	if m.sw.Resumed == nil {
		m.sw.Resumed = make(map[string]remedy.Pause)
	}
	m.sw.Resumed[p.Policy] = p
	return nil
}
