package alerttest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"alps/mesh"
	"alps/server/alert"
)

// Store is an alert.Store in memory, for tests. The zero Store is empty.
type Store struct {
	mu         sync.Mutex
	fail       func() error
	term       uint64
	order      []mesh.IncidentID
	records    map[mesh.IncidentID]alert.Record
	lines      map[mesh.IncidentID][]mesh.IncidentEvent
	deliveries []alert.Delivery
}

var _ alert.Store = (*Store)(nil)

// Deliveries returns the outbox, in the order of writing.
func (s *Store) Deliveries() []alert.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

// FailWith has fn asked before every write, which fails as it says; nil ends
// that.
func (s *Store) FailWith(fn func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fn
}

// Fence raises the highest term that was seen.
func (s *Store) Fence(term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = max(s.term, term)
}

// SaveIncidents implements alert.Store.
func (s *Store) SaveIncidents(_ context.Context, term uint64, changes []alert.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	if term < s.term {
		return mesh.Errorf(mesh.Conflict, "another server leads: term %d is over, %d has begun", term, s.term)
	}
	if s.records == nil {
		s.records, s.lines = make(map[mesh.IncidentID]alert.Record), make(map[mesh.IncidentID][]mesh.IncidentEvent)
	}
	if err := s.check(changes); err != nil {
		return err
	}
	s.term = term
	for _, c := range changes {
		id := c.Record.ID
		if _, ok := s.records[id]; !ok {
			s.order = append(s.order, id)
		}
		c.Record.Timeline = nil
		s.records[id] = c.Record
		s.lines[id] = append(s.lines[id], c.Events...)
		s.deliveries = append(s.deliveries, c.Deliveries...)
	}
	return nil
}

// check refuses a second open incident of one problem.
func (s *Store) check(changes []alert.Change) error {
	open := make(map[string]mesh.IncidentID)
	for id, r := range s.records {
		if r.Status != mesh.IncidentClosed {
			open[r.Key()] = id
		}
	}
	for _, c := range changes {
		k, id := c.Record.Key(), c.Record.ID
		other, taken := open[k]
		switch {
		case c.Record.Status == mesh.IncidentClosed && other == id:
			delete(open, k)
		case c.Record.Status != mesh.IncidentClosed && taken && other != id:
			return mesh.Errorf(mesh.Conflict, "store incident %s: %s is open for the same problem", id, other)
		case c.Record.Status != mesh.IncidentClosed:
			open[k] = id
		}
	}
	return nil
}

// OpenIncidents implements alert.Store.
func (s *Store) OpenIncidents(_ context.Context, since time.Time) ([]alert.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []alert.Record
	for _, id := range s.order {
		r := s.records[id]
		if r.Status != mesh.IncidentClosed || r.Muted || !r.Closed.Before(since) {
			out = append(out, r)
		}
	}
	return out, nil
}

// IncidentRecord implements alert.Store.
func (s *Store) IncidentRecord(_ context.Context, id mesh.IncidentID) (alert.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[id]
	if !ok {
		return r, mesh.Errorf(mesh.NotFound, "there is no incident %s", id)
	}
	return r, nil
}

// Incident implements alert.Store.
func (s *Store) Incident(_ context.Context, id string) (mesh.Incident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []mesh.IncidentID
	for _, i := range s.order {
		if strings.HasPrefix(string(i), id) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident %s", id)
	case 1:
	default:
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "%s begins the ids of several incidents", id)
	}
	out := s.records[found[0]].Incident
	lines := slices.Clone(s.lines[out.ID])
	if most := alert.TimelineHead + alert.TimelineTail; len(lines) > most {
		left := len(lines) - most
		tail := lines[len(lines)-alert.TimelineTail:]
		gap := mesh.IncidentEvent{
			At: tail[0].At, Kind: mesh.EventComment, Actor: "alps", Text: fmt.Sprintf("%d lines are left out here", left),
		}
		lines = slices.Concat(lines[:alert.TimelineHead], []mesh.IncidentEvent{gap}, tail)
	}
	out.Timeline = lines
	return out, nil
}

// Incidents implements alert.Store.
func (s *Store) Incidents(_ context.Context, f alert.Filter) ([]mesh.Incident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Clone(s.order)
	slices.Reverse(ids)
	slices.SortStableFunc(ids, func(a, b mesh.IncidentID) int {
		return cmp.Compare(closed(s.records[a]), closed(s.records[b]))
	})
	if f.Before != "" {
		at := slices.Index(ids, f.Before)
		if at < 0 {
			return nil, mesh.Errorf(mesh.NotFound, "there is no incident %s", f.Before)
		}
		ids = ids[at+1:]
	}
	var out []mesh.Incident
	for _, id := range ids {
		r := s.records[id]
		if len(f.Status) > 0 && !slices.Contains(f.Status, r.Status) || f.Rule != "" && f.Rule != r.Rule {
			continue
		}
		if out = append(out, r.Incident); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func closed(r alert.Record) int {
	if r.Status == mesh.IncidentClosed {
		return 1
	}
	return 0
}
