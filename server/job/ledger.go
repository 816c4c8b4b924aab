package job

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
)

const (
	// maxBatch bounds how many entries one transaction takes, and with it how
	// long the first of them waits for the last.
	maxBatch = 1024
	// progressEvery is how long progress may stay in memory alone.
	progressEvery = 500 * time.Millisecond
	// keepEnded is how long a job that has ended stays in memory, where late
	// words and eager readers find it without a query.
	keepEnded = 10 * time.Minute
)

// live is a job in memory. The ledger alone changes it, under Service.mu.
type live struct {
	job     Job
	targets []Target
	byNode  map[mesh.NodeID]int
	places  map[string]*Place // by datacenter; changed by publishers, under Service.mu.
	dirty   map[int]bool      // targets whose progress is not stored.
	// due is when the next deadline of the job is to be looked at.
	due time.Time
}

func newLive(j Job, targets []Target, places []Place) *live {
	l := &live{
		job: j, targets: slices.Clone(targets), byNode: make(map[mesh.NodeID]int, len(targets)),
		places: make(map[string]*Place, len(places)), dirty: make(map[int]bool), due: pendingDeadline(&j),
	}
	for i, t := range targets {
		if t.Listed {
			l.byNode[t.Node] = i
		}
	}
	for _, p := range places {
		l.places[p.DC] = &p
	}
	return l
}

// An entry is one thing to be written by the ledger. write looks at what is
// known and puts what is to change into the batch; when it returns an error
// it has put in audit lines at most.
type entry struct {
	write func(context.Context, *batch) error
	err   error // of write.
	done  chan error
}

// enter has the ledger write something, and returns when it is stored.
func (s *Service) enter(ctx context.Context, write func(context.Context, *batch) error) error {
	e := &entry{write: write, done: make(chan error, 1)}
	select {
	case s.entries <- e:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stopped:
		return errStopped
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stopped:
		return errStopped
	}
}

// ledger is the goroutine that changes jobs.
func (s *Service) ledger(ctx context.Context) {
	flush := time.NewTicker(progressEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			// Nobody waits for progress, but whoever reads the history after a
			// restart is glad of it.
			s.store(context.WithoutCancel(ctx), nil, s.progress(s.newBatch()))
			return
		case e := <-s.entries:
			s.store(ctx, s.waiting(e), s.newBatch())
		case <-flush.C:
			b := s.newBatch()
			s.deadlines(b)
			s.store(ctx, nil, s.progress(b))
			s.forget(time.Now())
		}
	}
}

// waiting returns e and the entries that wait behind it.
func (s *Service) waiting(e *entry) []*entry {
	list := []*entry{e}
	for len(list) < maxBatch {
		select {
		case e := <-s.entries:
			list = append(list, e)
		default:
			return list
		}
	}
	return list
}

// store lets the entries write into b, stores it, and only then installs and
// tells what has changed.
func (s *Service) store(ctx context.Context, entries []*entry, b *batch) {
	for _, e := range entries {
		e.err = e.write(ctx, b)
	}
	b.conclude()
	c, needed := b.change()
	var err error
	if needed {
		err = s.o.History.Apply(ctx, c)
	}
	if err == nil {
		s.install(b, needed)
	} else if !errors.Is(err, context.Canceled) {
		s.log.Error("job results are not stored; the nodes send them again", "error", err)
	}
	for _, e := range entries {
		if e.err == nil {
			e.err = err
		}
		e.done <- e.err
	}
	if err == nil {
		for _, fn := range b.after {
			fn()
		}
	}
}

// install makes what was stored visible.
func (s *Service) install(b *batch, stored bool) {
	s.mu.Lock()
	for _, e := range b.edits {
		e.live.job, e.live.due = e.job, e.due
		for i, t := range e.targets {
			e.live.targets[i] = t
			if stored && e.stored(t) {
				delete(e.live.dirty, i)
			} else {
				e.live.dirty[i] = true
			}
		}
	}
	s.mu.Unlock()
	for _, id := range b.order {
		e := b.edits[id]
		if len(e.targets) > 0 && !e.quiet || e.steered || e.ended {
			s.tell(e.event())
		}
	}
}

// load reads what is open. Counts are taken from the targets, because
// progress is stored later than it is counted.
func (s *Service) load(ctx context.Context) error {
	jobs, err := s.o.History.Jobs(ctx, Filter{Open: true})
	if err != nil {
		return err
	}
	all, err := s.o.History.Places(ctx, true, time.Time{})
	if err != nil {
		return err
	}
	places := make(map[mesh.JobID][]Place)
	for _, p := range all {
		places[p.Job] = append(places[p.Job], p)
		s.publisher(p.DC) // to notice when that datacenter goes back in time.
	}
	for _, j := range jobs {
		targets, err := s.o.History.Targets(ctx, j.ID)
		if err != nil {
			return err
		}
		j.Counts = count(targets)
		s.mu.Lock()
		l, known := s.live[j.ID] // submitted before Run.
		if !known {
			l = newLive(j, targets, places[j.ID])
			s.live[j.ID] = l
		}
		s.mu.Unlock()
		if !known && time.Now().Before(j.Expires) {
			s.catchUp(l)
		}
	}
	return nil
}

// catchUp announces what was stored and not announced. What was submitted
// under a lock waits for who holds it now.
func (s *Service) catchUp(l *live) {
	for dc, p := range l.places {
		switch {
		case !p.Published && strings.HasPrefix(l.job.Token, chosenToken):
		case !p.Published:
			s.announce(l, dc, dispatch.KindJob, nil)
		case p.Gen < l.job.Gen:
			s.announce(l, dc, dispatch.KindCtl, nil)
		}
	}
}

// find returns a job, from the store when it is not in memory. The ledger
// alone may call it.
func (s *Service) find(ctx context.Context, id mesh.JobID) (*live, error) {
	s.mu.RLock()
	l := s.live[id]
	s.mu.RUnlock()
	if l != nil {
		return l, nil
	}
	j, err := s.o.History.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	targets, err := s.o.History.Targets(ctx, id)
	if err != nil {
		return nil, err
	}
	l = newLive(j, targets, nil)
	s.mu.Lock()
	s.live[id] = l
	s.mu.Unlock()
	return l, nil
}

// forget drops from memory what has ended and been asked for long enough.
func (s *Service) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.live, func(_ mesh.JobID, l *live) bool {
		return !l.job.Ended.IsZero() && now.After(l.due) && len(l.dirty) == 0
	})
}

// progress puts into b what is not stored yet.
func (s *Service) progress(b *batch) *batch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range s.live {
		if len(l.dirty) == 0 {
			continue
		}
		e := b.edit(l)
		e.flush = true
		for i := range l.dirty {
			if _, changed := e.targets[i]; !changed {
				e.targets[i] = l.targets[i]
			}
		}
		e.quiet = !e.ended && !e.changed
	}
	return b
}
