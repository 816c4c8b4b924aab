package consul

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"alps/mesh"
)

// WatchOptions say how eagerly to follow something. The zero value is right
// for most: stale reads that wait up to a minute, one a second at most after
// the first three.
type WatchOptions struct {
	// Wait is how long one read waits for a change. A Consul that was restored
	// between two reads has a lower index than the one waited on; that is
	// only seen when the wait ends, so Wait bounds how long it goes unnoticed.
	// Zero means a minute.
	Wait time.Duration
	// MinInterval is the time in which one more read is allowed. It keeps a
	// value that changes all the time from costing all the time. Zero means
	// 1 s.
	MinInterval time.Duration
	// Burst is how many reads may be made at once after a quiet time. Zero
	// means 3.
	Burst int
	// Jitter is the most that is added, at random, to a read that has to wait
	// for its turn: ten thousand nodes that were woken together do not come
	// back together. Zero means half of MinInterval.
	Jitter time.Duration
	// Mode says who may answer.
	Mode Mode
	// Kick makes the loop read at once instead of waiting on, also when it
	// was waiting after an error; MinInterval still holds. Give it a buffer
	// of one and send without blocking: kicks that come while one is pending
	// are the same kick. Nil means never.
	Kick <-chan struct{}
	// Report is told when reads begin to fail, again if they then fail with
	// another code, and with nil when they work again; not of every retry.
	// It is called by the goroutine that runs Watch. Nil means nobody.
	Report func(error)

	// unordered is for an index that only says same or not: the events'.
	unordered bool
}

// Watch follows one value until ctx ends, and only then returns. It is the
// only loop of blocking queries: it knows how Consul's index behaves, and
// that Consul goes away and comes back.
//
// fetch reads the value; it passes the Query on, and returns when its context
// ends. fn gets the first answer, and then each answer with another index. An
// index may move while the content stays: compare, or have fetch set
// Meta.Hash. Both are called by the goroutine that runs Watch, never at the
// same time; while fn runs nothing is read.
//
// What happened between two answers is not told; a value that changed and
// changed back may not be told at all. After an error the value is read at
// once, whatever the index was, and handed on if the index is another.
//
// A read costs one token of the bucket. One that only goes on with the read
// before it is free: the wait after a look that found nothing new, and the
// new look after the index went backwards.
func Watch[T any](
	ctx context.Context, o WatchOptions,
	fetch func(context.Context, Query) (T, Meta, error), fn func(T, Meta),
) {
	l := newLoop(o)
	for l.pause(ctx) {
		q := l.next()
		var v T
		var m Meta
		var err error
		l.kicked = l.interruptible(ctx, q, func(ctx context.Context) { v, m, err = fetch(ctx, q) })
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if m, changed := l.answered(q, m); changed {
				fn(v, m)
			}
		case !l.kicked: // else we broke it off ourselves.
			l.failed(err)
		}
	}
}

// loop is what Watch knows between two reads.
type loop struct {
	o      WatchOptions
	bucket *rate.Limiter

	index  uint64    // of the last answer; zero before the first.
	hash   string    // of the last answer handed on.
	reset  bool      // the index went backwards; the next answer says so.
	kicked bool      // the next read is to be at once.
	free   bool      // the next read belongs to the one before it.
	fails  int       // in a row.
	away   mesh.Code // what Report was last told; empty if all is well.
}

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 30 * time.Second
)

func newLoop(o WatchOptions) *loop {
	if o.MinInterval <= 0 {
		o.MinInterval = time.Second
	}
	if o.Burst <= 0 {
		o.Burst = 3
	}
	if o.Jitter <= 0 {
		o.Jitter = o.MinInterval / 2
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	return &loop{o: o, bucket: rate.NewLimiter(rate.Every(o.MinInterval), o.Burst)}
}

// pause waits until the next read may be made: out of the back-off, and with
// a token of the bucket. It returns false when ctx has ended.
func (l *loop) pause(ctx context.Context) bool {
	if l.fails > 0 {
		// A kick means that Consul lives: it came through it.
		sleep(ctx, l.backoff(), l.o.Kick)
	}
	if l.free {
		// A kick that is pending is left for the read to be broken off by:
		// the new one then has its price.
		l.free = false
		return ctx.Err() == nil
	}
	if d := l.bucket.Reserve().Delay(); d > 0 {
		sleep(ctx, d+rand.N(l.o.Jitter), nil)
	}
	select {
	case <-l.o.Kick: // it came while nothing was being read.
		l.kicked = true
	default:
	}
	return ctx.Err() == nil
}

// backoff is a random part of a span that doubles with each failure, so that
// those who failed together do not try again together.
func (l *loop) backoff() time.Duration {
	span := backoffMost
	if l.fails < 8 { // beyond it the shift would be past the cap.
		span = min(span, backoffFirst<<(l.fails-1))
	}
	return rand.N(span)
}

// sleep waits for d, or less if ctx ends or there is a kick.
func sleep(ctx context.Context, d time.Duration, kick <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-kick:
	}
}

// next says how to read. After a kick, and after a failure, it is at once: a
// Consul that was restored while we were cut off has a lower index than ours,
// and would let us wait in vain.
func (l *loop) next() Query {
	q := Query{Index: l.index, Wait: l.o.Wait, Mode: l.o.Mode}
	if l.kicked || l.fails > 0 || l.reset {
		q.Index = 0
	}
	return q
}

// interruptible runs read, and reports whether a kick came meanwhile. A kick
// ends a read that waits; one that answers at once is let finish, for else
// kicks in quick succession would starve it.
func (l *loop) interruptible(ctx context.Context, q Query, read func(context.Context)) (kicked bool) {
	if l.o.Kick == nil || q.Index == 0 {
		read(ctx)
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-l.o.Kick:
			kicked = true
			cancel()
		case <-ctx.Done():
		}
	})
	read(ctx)
	cancel()
	wg.Wait()
	return kicked
}

// answered takes in the answer to q and decides whether it is handed on. The
// returned Meta is the one to hand on.
func (l *loop) answered(q Query, m Meta) (_ Meta, changed bool) {
	l.fails = 0
	if l.away != "" {
		l.away = ""
		l.o.Report(nil)
	}
	m.Index = max(m.Index, 1) // an index of 0 would never wait, and spin.
	if l.index > m.Index && !l.o.unordered {
		l.reset = true
		if q.Index > 0 {
			// What was waited for is void. Read anew, as part of the same.
			l.free = true
			return m, false
		}
	}
	if m.Index == l.index && !l.reset {
		l.free = q.Index == 0 // go on waiting for what is not there yet.
		return m, false
	}
	m.Reset = l.reset
	l.index, l.reset = m.Index, false
	if m.Hash != "" && m.Hash == l.hash && !m.Reset {
		return m, false
	}
	l.hash = m.Hash
	return m, true
}

// failed takes in that a read failed.
func (l *loop) failed(err error) {
	l.fails++
	if code := mesh.CodeOf(err); code != l.away {
		l.away = code
		l.o.Report(err)
	}
}
