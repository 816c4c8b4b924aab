package job

import (
	"bytes"
	"context"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// check is the operation that fails when the lock is not held.
func (f *Fence) check() Write {
	return Write{Verb: VerbCheckSession, Key: f.Key, Session: f.Session}
}

// createOnly makes the announcement fail where its spec has been written.
func (a *announcement) createOnly() {
	for i := range a.docs {
		if w := &a.docs[i]; w.Key == dispatch.SpecKey(a.job, a.attempt) {
			w.Verb, w.Index = VerbCAS, 0
		}
	}
}

// guard returns what belongs into each transaction of a fenced announcement.
// In another datacenter than the lock's no transaction can hold it: there the
// lock is looked at right before, which leaves a gap of one request.
func (p *publisher) guard(ctx context.Context, check []Write) ([]Write, error) {
	if len(check) == 0 || p.own {
		return check, nil
	}
	_, err := p.home.Txn(ctx, check)
	return nil, err
}

// refused finds out why a fenced announcement was a mesh.Conflict, and gives
// it up when the lock is lost or another job has its id. It reports false when
// it is worth another try.
func (p *publisher) refused(ctx context.Context, a *announcement) (stop bool, err error) {
	_, err = p.home.Txn(ctx, []Write{a.fence.check()})
	switch {
	case mesh.CodeOf(err) == mesh.Conflict:
		p.giveUp(a, "the lock that it was submitted under is lost")
		return true, nil
	case err != nil:
		return false, err
	}
	key := dispatch.SpecKey(a.job, a.attempt)
	docs, err := p.board.List(ctx, key, true)
	if err != nil {
		return false, err
	}
	for i := range a.docs {
		w := &a.docs[i]
		if w.Key != key || len(docs) == 0 || docs[0].Key != key {
			continue
		}
		if !bytes.Equal(w.Value, docs[0].Value) {
			p.giveUp(a, "another job has been written under its id")
			return true, nil
		}
		// An earlier try has come that far.
		w.Verb, w.Index = VerbCAS, docs[0].Index
	}
	return false, nil
}

func (p *publisher) giveUp(a *announcement, why string) {
	p.log.Warn("not announced", "what", a.title(), "reason", why)
	a.lost = true
	close(a.done)
}
