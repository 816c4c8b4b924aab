package job

import (
	"context"
	"fmt"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
)

const (
	cleanEvery = 10 * time.Minute
	// keepSegments is how long a segment outlives its last reference: a node
	// that was away finds what it may still run, and a little more.
	keepSegments = time.Hour
)

// clean deletes from KV what no node needs any more. It is late rather than
// early, and a failure waits for the next time.
func (s *Service) clean(ctx context.Context) {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.cleanJobs(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.log.Warn("old jobs stay in Consul for now", "error", err)
		}
		for _, dc := range s.knownDatacenters() {
			if err := s.cleanSegments(ctx, dc, time.Now()); err != nil && ctx.Err() == nil {
				s.log.Warn("old references stay in Consul for now", "dc", dc, "error", err)
			}
		}
	}
}

func (s *Service) knownDatacenters() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(s.publishers))
	for dc := range s.publishers {
		out = append(out, dc)
	}
	return out
}

// cleanJobs deletes the keys of jobs that expired a day ago: until then a node
// remembers their ids, so that nothing of them can run again.
func (s *Service) cleanJobs(ctx context.Context, now time.Time) error {
	old, err := s.o.History.Places(ctx, false, now.Add(-mesh.RememberFor))
	if err != nil {
		return err
	}
	byDC := make(map[string][]Place)
	for _, p := range old {
		byDC[p.DC] = append(byDC[p.DC], p)
	}
	for dc, places := range byDC {
		writes := make([]Write, len(places))
		for i := range places {
			writes[i] = Write{Verb: VerbDeleteTree, Key: dispatch.JobPrefix + string(places[i].Job) + "/"}
			places[i].Cleaned = true
		}
		for _, chunk := range chunks(writes) {
			if _, err := s.o.Board(dc).Txn(ctx, chunk); err != nil {
				return fmt.Errorf("delete expired jobs in %s: %w", dc, err)
			}
		}
		if err := s.o.History.Apply(ctx, Change{Places: places}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) cleanSegments(ctx context.Context, dc string, now time.Time) error {
	docs, err := s.o.Board(dc).List(ctx, dispatch.LogPrefix, false)
	if err != nil {
		return err
	}
	var writes []Write
	for _, d := range docs {
		seg, err := dispatch.DecodeSegment(d.Value)
		var last int64
		for _, r := range seg.Refs {
			last = max(last, r.Expires)
		}
		if err != nil || now.After(time.Unix(last, 0).Add(keepSegments)) {
			writes = append(writes, Write{Verb: VerbDelete, Key: d.Key})
		}
	}
	for _, chunk := range chunks(writes) {
		if _, err := s.o.Board(dc).Txn(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}
