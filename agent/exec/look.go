package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"alps/agent/exec/journal"
	"alps/mesh"
	"alps/mesh/dispatch"
)

const (
	// readTime bounds one read of the board in a look.
	readTime = 15 * time.Second
	// retryFirst is how soon a reference that could not be resolved is tried
	// again; the time doubles up to the poll.
	retryFirst = time.Second
)

// refKey tells references apart. A new generation of a ctl is a new one.
type refKey struct {
	kind dispatch.Kind
	key  journal.Key
	gen  int
}

// pending is a reference to look into.
type pending struct {
	dispatch.Ref

	// resumed says that an earlier life of the agent has passed it: it does
	// not hold the cursor back.
	resumed bool
	// late says that its ctl may have been announced before, or not at all.
	late bool
}

func (p pending) key() journal.Key { return journal.Key{Job: p.Job, Attempt: p.Attempt} }
func (p pending) refKey() refKey   { return refKey{p.Kind, p.key(), p.Gen} }

// watch follows the head of the node's shard until ctx ends.
func (e *Engine) watch(ctx context.Context) {
	e.o.Board.WatchHead(ctx, e.headKey(), e.kick, func(doc []byte, reset bool) {
		e.lookAt(ctx, doc, reset, mesh.WokeWatch)
	})
}

func (e *Engine) headKey() string { return dispatch.HeadKey(e.o.Node.Shard()) }

// event is told of a user event. One that cannot be read still says that
// something is new; one of what the watch has shown already costs no read, of
// which a busy head allows one a second.
func (e *Engine) event(payload string) {
	if ev, err := dispatch.ParseEvent(payload); err == nil {
		if !ev.Touches(e.o.Node) {
			return
		}
		e.mu.Lock()
		e.eventSeq = max(e.eventSeq, ev.Seq)
		known := ev.Seq <= e.status.Cursor
		e.mu.Unlock()
		if known {
			return
		}
	}
	signal(e.kick)
}

// poll looks now and then, whatever happens, and soon again while something
// is unresolved.
func (e *Engine) poll(ctx context.Context) {
	again := retryFirst
	for {
		e.look.Lock()
		open := len(e.look.unresolved)
		e.look.Unlock()
		wait := e.o.Poll*3/4 + rand.N(e.o.Poll/2)
		if open > 0 {
			wait = min(wait, again)
			again = min(2*again, e.o.Poll)
		} else {
			again = retryFirst
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-e.retry:
			t.Stop()
		case <-t.C:
			e.lookNow(ctx, mesh.WokePoll)
		}
	}
}

// lookNow reads the head and looks at it.
func (e *Engine) lookNow(ctx context.Context, woke mesh.Woke) {
	doc, _, err := e.read(ctx, e.headKey(), false)
	if err != nil {
		if ctx.Err() == nil {
			e.fault("head not read", err)
		}
		return
	}
	e.lookAt(ctx, doc, false, woke)
}

// lookAt takes on what a head announces. It may be called by any goroutine.
func (e *Engine) lookAt(ctx context.Context, doc []byte, reset bool, woke mesh.Woke) {
	e.look.Lock()
	defer e.look.Unlock()
	refs, to, err := e.announced(ctx, doc, reset)
	if err != nil {
		if ctx.Err() == nil {
			e.fault("head not understood", err)
		}
		return
	}
	if len(refs) > 0 || to != e.look.cursor {
		e.resolve(ctx, refs, to, woke)
	}
	if len(e.look.unresolved) > 0 {
		signal(e.retry)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.LookedAt, e.status.LookedBy = time.Now(), woke
	e.status.Epoch, e.status.Cursor = e.look.cursor.Epoch, e.look.cursor.Seq
}

// announced returns what is to be looked into, in order: what the head and
// its segments hold above the cursor, and what is left of earlier looks. to is
// where the cursor belongs when all of it is resolved.
func (e *Engine) announced(ctx context.Context, doc []byte, reset bool) (refs []pending, to journal.Cursor, err error) {
	for _, p := range e.look.unresolved {
		refs = append(refs, p)
	}
	to = e.look.cursor
	if doc != nil {
		h, err := dispatch.DecodeHead(doc)
		if err != nil {
			return nil, to, err
		}
		if h, reset, err = e.restored(ctx, h, reset); err != nil {
			return nil, to, err
		}
		from := e.look.cursor.Seq
		if reset {
			from = 0
		}
		fresh, err := e.above(ctx, h, from)
		if err != nil {
			return nil, to, err
		}
		for _, r := range fresh {
			p := pending{Ref: r, late: reset}
			if _, known := e.look.unresolved[p.refKey()]; !known {
				refs = append(refs, p)
			}
		}
		to = journal.Cursor{Epoch: h.Epoch, Seq: h.Seq}
	}
	slices.SortStableFunc(refs, func(a, b pending) int { return cmp.Compare(a.Seq, b.Seq) })
	return refs, to, nil
}

// restored decides whether the store went back in time, or forgot what it
// held. A server that merely lags shows an old head too, so a head below the
// cursor is read again from the leader.
func (e *Engine) restored(ctx context.Context, h dispatch.Head, reset bool) (dispatch.Head, bool, error) {
	c := e.look.cursor
	if h.Epoch == c.Epoch && h.Seq < c.Seq && !reset {
		doc, found, err := e.read(ctx, e.headKey(), true)
		if err != nil {
			return h, false, err
		}
		if !found {
			return h, false, errMissing
		}
		if h, err = dispatch.DecodeHead(doc); err != nil {
			return h, false, err
		}
	}
	return h, reset || h.Epoch != c.Epoch || h.Seq < c.Seq, nil
}

// above returns the references above a sequence: from the head and, when it
// does not reach back far enough, from its segments.
func (e *Engine) above(ctx context.Context, h dispatch.Head, seq uint64) ([]dispatch.Ref, error) {
	refs, complete := h.Since(seq)
	for n := h.Next - 1; n >= 0 && !complete; n-- {
		key := dispatch.SegmentKey(e.o.Node.Shard(), n)
		doc, found, err := e.readTwice(ctx, key)
		if err != nil {
			return nil, err
		}
		if !found {
			break // deleted: all that it held has expired long since.
		}
		s, err := dispatch.DecodeSegment(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		var older []dispatch.Ref
		older, complete = s.Since(seq)
		refs = slices.Concat(older, refs)
	}
	return refs, nil
}

// read reads a key in bounded time.
func (e *Engine) read(ctx context.Context, key string, consistent bool) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	return e.o.Board.Read(ctx, key, consistent)
}

// readTwice reads a key that must be there: one that is missing is asked of
// the leader before that is believed.
func (e *Engine) readTwice(ctx context.Context, key string) ([]byte, bool, error) {
	b, found, err := e.read(ctx, key, false)
	if err == nil && !found {
		b, found, err = e.read(ctx, key, true)
	}
	return b, found, err
}

// resolve looks into references and moves the cursor.
func (e *Engine) resolve(ctx context.Context, refs []pending, to journal.Cursor, woke mesh.Woke) {
	now := time.Now()
	var found findings
	left := map[refKey]pending{}
	for _, p := range refs {
		if _, err := mesh.ParseJobID(string(p.Job)); err != nil || p.Attempt < 1 {
			continue // names nothing that could be read.
		}
		if !p.resumed && now.Unix() > p.Expires+int64(mesh.RememberFor.Seconds()) {
			continue // its documents are deleted.
		}
		if err := e.resolveOne(ctx, p, woke, &found); err != nil {
			if ctx.Err() != nil {
				return // as if this look had not been.
			}
			if again := e.unresolved(p, now, err); again {
				p.late = true
				left[p.refKey()] = p
			}
		}
	}
	e.look.unresolved = left
	e.look.cursor = to
	safe := to
	for _, p := range left {
		if !p.resumed && p.Seq <= safe.Seq {
			safe.Seq = p.Seq - 1
		}
	}
	e.admit(&found, safe)
}

// unresolved decides whether a reference is worth another try. One whose time
// has passed is not: if the node had taken it on, it says so.
func (e *Engine) unresolved(p pending, now time.Time, err error) (again bool) {
	if now.Unix() <= p.Expires {
		e.fault("reference not resolved", err, "job", p.key().String(), "kind", string(p.Kind))
		return true
	}
	if p.resumed && p.Kind == dispatch.KindJob {
		e.endUnstarted(refusal{
			key: p.key(), state: mesh.Expired, expires: p.Expires,
			reason: "its time passed before the restarted agent could read it again",
		})
	}
	return false
}

// errMissing says that a document is announced and not there.
var errMissing = errors.New("the document is not there")

// resolveOne looks into one reference. An error means: try again later.
func (e *Engine) resolveOne(ctx context.Context, p pending, woke mesh.Woke, found *findings) error {
	switch p.Kind {
	case dispatch.KindJob:
		if !e.isNew(p) || found.has(p.key()) {
			return nil
		}
		return e.resolveJob(ctx, p, e.wokeBy(p, woke), found)
	case dispatch.KindCtl:
		if !found.has(p.key()) && e.held(p.key()) == nil {
			return nil // not for this node, or over.
		}
		c, err := e.readCtl(ctx, p.key(), p.Gen)
		if errors.Is(err, errUnbelieved) {
			e.fault("ctl refused", err, "job", p.key().String())
			return nil
		}
		if err != nil {
			return err
		}
		found.ctls = append(found.ctls, c)
	}
	return nil // a kind of a later version.
}

// isNew reports whether a job is still to be looked at. What an earlier life
// has taken on and not ended is, once.
func (e *Engine) isNew(p pending) bool {
	if e.held(p.key()) != nil {
		return false
	}
	return p.resumed || e.journal.Stage(p.key()) == journal.None
}

// wokeBy says what told us of a reference: an event that named its sequence
// was there before whatever else made us look.
func (e *Engine) wokeBy(p pending, woke mesh.Woke) mesh.Woke {
	e.mu.Lock()
	defer e.mu.Unlock()
	if woke == mesh.WokeWatch && e.eventSeq >= p.Seq {
		return mesh.WokeEvent
	}
	return woke
}

// findings is what one look has found.
type findings struct {
	jobs     []*job
	refusals []refusal
	ctls     []dispatch.Ctl
}

func (f *findings) has(k journal.Key) bool {
	return slices.ContainsFunc(f.jobs, func(j *job) bool { return j.key == k }) ||
		slices.ContainsFunc(f.refusals, func(r refusal) bool { return r.key == k })
}

// refusal is a job that ends before it began.
type refusal struct {
	key     journal.Key
	state   mesh.State
	reason  string
	expires int64
}
