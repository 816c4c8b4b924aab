package job

import (
	"context"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// announce hands a job, or the newest change of it, to the publisher of a
// datacenter. done of what it returns is closed when the nodes can see it, or
// never will.
func (s *Service) announce(l *live, dc string, kind dispatch.Kind, fence *Fence) *announcement {
	s.mu.RLock()
	a, err := announcementOf(l, dc, kind)
	s.mu.RUnlock()
	if err != nil {
		// The list was split when the job was made; it cannot fail later.
		s.log.Error("a job cannot be announced", "job", l.job.ID, "error", err)
		return nil
	}
	if a.fence = fence; fence != nil {
		a.createOnly()
	}
	s.publisher(dc).add(a)
	return a
}

// announcementOf builds the documents of a job that the nodes of a datacenter
// read. The parts are made anew from the list: the same list makes the same
// bytes, which is what the digests in the signed Spec hold them to.
func announcementOf(l *live, dc string, kind dispatch.Kind) (*announcement, error) {
	j := &l.job
	a := &announcement{
		kind: kind, job: j.ID, attempt: j.Attempt, expires: j.Expires.Unix(), gen: j.Gen, done: make(chan struct{}),
	}
	for i := range l.targets {
		if t := &l.targets[i]; t.Listed && t.DC == dc {
			a.shards |= 1 << t.Node.Shard()
		}
	}
	if j.Gen > 0 {
		a.docs = append(a.docs, Write{Verb: VerbSet, Key: dispatch.CtlKey(j.ID, j.Attempt), Value: j.Ctl})
	}
	if kind == dispatch.KindCtl {
		a.expires = ctlExpiry(j).Unix()
		return a, nil
	}
	a.docs = append(a.docs, Write{Verb: VerbSet, Key: dispatch.SpecKey(j.ID, j.Attempt), Value: j.Envelope})
	_, parts, err := split(l.targets)
	if err != nil {
		return nil, err
	}
	for shard, doc := range parts {
		if a.shards&(1<<shard) != 0 {
			a.docs = append(a.docs, Write{Verb: VerbSet, Key: dispatch.PartKey(j.ID, j.Attempt, shard), Value: doc})
		}
	}
	return a, nil
}

// open implements ledgerView.
func (s *Service) open(dc string) []*announcement {
	now := time.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*announcement
	for _, l := range s.live {
		p := l.places[dc]
		if p == nil || !p.Published || !l.job.Ended.IsZero() {
			continue
		}
		var kinds []dispatch.Kind
		if now.Before(l.job.Expires) {
			kinds = append(kinds, dispatch.KindJob)
		}
		if l.job.Gen > 0 { // what runs may have to be stopped long after it could start.
			kinds = append(kinds, dispatch.KindCtl)
		}
		for _, kind := range kinds {
			if a, err := announcementOf(l, dc, kind); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// written implements ledgerView.
func (s *Service) written(ctx context.Context, dc string, list []*announcement, marks [mesh.Shards]Mark) error {
	c := Change{Marks: map[string][mesh.Shards]Mark{dc: marks}}
	s.mu.Lock()
	for _, a := range list {
		l := s.live[a.job]
		if l == nil || l.places[dc] == nil {
			continue
		}
		p := l.places[dc]
		p.Published, p.Gen = p.Published || a.kind == dispatch.KindJob, max(p.Gen, a.gen)
		c.Places = append(c.Places, *p)
	}
	s.mu.Unlock()
	for _, a := range list {
		close(a.done)
	}
	return s.o.History.Apply(ctx, c)
}
