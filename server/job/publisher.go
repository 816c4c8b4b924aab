package job

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/dispatch"
)

const (
	// groupEvery lies between two writes of a busy publisher. The limit of a
	// cluster is how often its watchers wake, and with it the event stays
	// under five a second.
	groupEvery = 250 * time.Millisecond
	// checkEvery is how often an idle publisher looks whether Consul went
	// back in time: one stale read of the heads.
	checkEvery = 5 * time.Second
	// maxRefs bounds the references of one transaction, and with them its
	// segments: 1,024 references make at most 48 of them.
	maxRefs  = 1024
	maxTries = 5 // conflicts in a row before the publisher steps back.
	maxPause = 5 * time.Second
)

// ledgerView is what a publisher needs of the jobs.
type ledgerView interface {
	// open returns fresh announcements of everything that was announced in a
	// datacenter, is open and has not expired.
	open(dc string) []*announcement
	// written releases who waits for what a publisher has done, and stores it.
	written(ctx context.Context, dc string, list []*announcement, marks [mesh.Shards]Mark) error
}

// publisher writes announcements to the board of one datacenter. What it is
// given it writes in order, together with whatever else waits.
type publisher struct {
	dc      string
	board   Board
	home    Board // of the server's own datacenter, where locks are.
	own     bool  // board is home.
	jobs    ledgerView
	history Boards
	log     hclog.Logger
	kick    chan struct{}

	mu    sync.Mutex
	queue []*announcement

	// Of the goroutine of run alone.
	heads heads
	marks [mesh.Shards]Mark
	fresh bool // heads is what a consistent read or an own write has left.
	away  bool // Consul does not answer, and that was said.
}

func newPublisher(dc string, s *Service) *publisher {
	return &publisher{
		dc: dc, board: s.o.Board(dc), home: s.o.Board(s.o.DC), own: dc == s.o.DC, jobs: s, history: s.o.History, log: s.log.Named("publish").With("dc", dc),
		kick: make(chan struct{}, 1),
	}
}

// add queues an announcement.
func (p *publisher) add(a *announcement) {
	p.mu.Lock()
	p.queue = append(p.queue, a)
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	var err error
	if p.marks, err = p.history.Marks(ctx, p.dc); err != nil && ctx.Err() == nil {
		// Without them a restore from before this start is not noticed.
		p.log.Error("the newest sequences are not known", "error", err)
	}
	pause := time.Duration(0)
	timer := time.NewTimer(0) // the first look is at once.
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
			if pause > 0 {
				continue // the timer is the next try.
			}
		case <-timer.C:
		}
		wrote, err := p.turn(ctx)
		if ctx.Err() != nil {
			return
		}
		p.say(err)
		next := checkEvery - rand.N(checkEvery/5)
		switch {
		case err != nil:
			pause = min(max(2*pause, groupEvery), maxPause)
			next = pause/2 + rand.N(pause/2)
		case wrote:
			pause, next = groupEvery, groupEvery
		default:
			pause = 0
		}
		timer.Reset(next)
	}
}

// say tells once that Consul does not answer, and once that it does again.
func (p *publisher) say(err error) {
	switch {
	case err != nil && !p.away:
		p.log.Warn("jobs cannot be announced; they wait", "error", err)
	case err == nil && p.away:
		p.log.Info("jobs are announced again")
	}
	p.away = err != nil
}

// turn writes what waits, or looks whether Consul went back in time when
// nothing does. It reports whether anything was written.
func (p *publisher) turn(ctx context.Context) (bool, error) {
	if !p.fresh {
		if err := p.read(ctx); err != nil {
			return false, err
		}
	}
	batch := p.take()
	if len(batch) == 0 {
		return false, p.check(ctx)
	}
	err := p.publish(ctx, batch)
	if err != nil {
		p.fresh = false // it may be written or not.
		p.mu.Lock()
		p.queue = append(batch, p.queue...)
		p.mu.Unlock()
	}
	return err == nil, err
}

// take returns what one transaction can hold of what waits; what has a fence
// goes alone. What has expired meanwhile is given up.
func (p *publisher) take() []*announcement {
	now := time.Now().Unix()
	p.mu.Lock()
	defer p.mu.Unlock()
	refs, n := 0, 0
	var batch []*announcement
	for _, a := range p.queue {
		if refs += bits.OnesCount16(a.shards); refs > maxRefs && len(batch) > 0 {
			break
		}
		// A lock that is lost must not hold up anybody else.
		if len(batch) > 0 && (a.fence != nil || batch[0].fence != nil) {
			break
		}
		n++
		if a.expires <= now {
			p.log.Warn("expired before it could be announced", "what", a.title())
			close(a.done)
			continue
		}
		batch = append(batch, a)
	}
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}

// read brings heads up to date, and mends them when Consul went back in time.
func (p *publisher) read(ctx context.Context) error {
	for range maxTries {
		docs, err := p.board.List(ctx, dispatch.HeadPrefix, true)
		if err != nil {
			return err
		}
		found := readHeads(docs)
		switch found.judge(p.marks) {
		case headsSound:
			p.heads, p.fresh = found, true
			return nil
		case headsForeign:
			p.log.Info("another server has begun a new epoch", "epoch", found[0].Epoch)
			p.heads, p.marks, p.fresh = found, found.marks(), true
			p.mu.Lock() // to be written with what waits.
			p.queue = append(p.jobs.open(p.dc), p.queue...)
			p.mu.Unlock()
			return nil
		case headsLost:
			err = p.renew(ctx, found, p.jobs.open(p.dc))
		}
		if mesh.CodeOf(err) != mesh.Conflict {
			return err
		}
	}
	return mesh.Errorf(mesh.Unavailable, "the heads in %s change all the time", p.dc)
}

// renew begins a new epoch, in which everything that is open is announced
// again.
func (p *publisher) renew(ctx context.Context, found heads, again []*announcement) error {
	if p.marks[0].Epoch != "" {
		p.log.Warn("Consul is older than what was written to it, as after a restore; announcing again",
			"open", len(again), "epoch", p.marks[0].Epoch)
	}
	// All at once as a rule; what does not fit follows in the new epoch.
	list := portions(again)
	if err := p.write(ctx, found.renew(p.marks), list[0], allShards); err != nil {
		return err
	}
	for i, portion := range list[1:] {
		if err := p.write(ctx, p.heads, portion, 0); err != nil {
			// The new epoch stands, so nobody would look for the rest again.
			p.mu.Lock()
			p.queue = slices.Concat(append(list[1+i:], p.queue)...)
			p.mu.Unlock()
			return err
		}
	}
	return nil
}

// portions cuts a list into what one transaction can hold. There is at least
// one, which may be empty.
func portions(list []*announcement) [][]*announcement {
	out := [][]*announcement{nil}
	refs := 0
	for _, a := range list {
		n := bits.OnesCount16(a.shards)
		if refs += n; refs > maxRefs {
			out, refs = append(out, nil), n
		}
		out[len(out)-1] = append(out[len(out)-1], a)
	}
	return out
}

// publish writes a batch; when somebody else was faster it looks again, and
// what it then finds may have to be mended first.
func (p *publisher) publish(ctx context.Context, batch []*announcement) error {
	if len(batch) == 0 {
		return nil
	}
	for range maxTries {
		err := p.write(ctx, p.heads, batch, 0)
		if mesh.CodeOf(err) != mesh.Conflict {
			return err
		}
		if a := batch[0]; a.fence != nil {
			if stop, err := p.refused(ctx, a); stop || err != nil {
				return err
			}
		}
		p.fresh = false
		if err := p.read(ctx); err != nil {
			return err
		}
	}
	return mesh.Errorf(mesh.Unavailable, "the heads in %s change all the time", p.dc)
}

// write puts the batch and its references in place behind base, fires the
// event and remembers. force are the heads to write even without a reference.
// Documents come first when all together would be too much: a reference must
// never be seen before what it names.
func (p *publisher) write(ctx context.Context, base heads, batch []*announcement, force uint16) error {
	next, segments, touched := base.announce(batch)
	touched |= force
	writes, err := next.writes(touched)
	if err != nil {
		return err
	}
	for _, seg := range segments {
		writes = append(writes, Write{Verb: VerbSet, Key: seg.Key, Value: seg.Value})
	}
	var docs, guard []Write
	for _, a := range batch {
		docs = append(docs, a.docs...)
		if a.fence != nil {
			guard = []Write{a.fence.check()}
		}
	}
	if guard, err = p.guard(ctx, guard); err != nil {
		return err
	}
	writes = append(writes, guard...)
	if all := append(slices.Clone(docs), writes...); fits(all) {
		writes = all
	} else {
		for _, chunk := range chunks(docs) {
			if _, err := p.board.Txn(ctx, append(slices.Clip(chunk), guard...)); err != nil {
				return err
			}
		}
	}
	index, err := p.board.Txn(ctx, writes)
	if err != nil {
		return err
	}
	for shard := range next {
		if touched&(1<<shard) != 0 {
			next[shard].index = index
		}
	}
	p.heads, p.marks, p.fresh = next, next.marks(), true
	p.finish(ctx, batch, dispatch.Event{Shards: touched, Seq: next.seq()})
	return nil
}

// finish does what follows a write. None of it can undo it: a hint that is
// lost is made up for by the watches, and a mark that is lost by the next.
func (p *publisher) finish(ctx context.Context, batch []*announcement, event dispatch.Event) {
	if err := p.board.Fire(ctx, event.String()); err != nil {
		p.log.Debug("the event is not fired; the watches do without", "error", err)
	}
	if err := p.jobs.written(ctx, p.dc, batch, p.marks); err != nil && ctx.Err() == nil {
		p.log.Error("it is not remembered what was announced", "error", err)
	}
}

// check looks at the heads cheaply, and thoroughly when they look wrong.
func (p *publisher) check(ctx context.Context) error {
	docs, err := p.board.List(ctx, dispatch.HeadPrefix, false)
	if err != nil {
		return err
	}
	if found := readHeads(docs); found.judge(p.marks) != headsSound {
		return p.read(ctx)
	}
	return nil
}
