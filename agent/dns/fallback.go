package dns

import (
	"context"
	"errors"
	"sync"
	"time"

	"alps/mesh/zone"
)

const (
	// askTime is how long Consul has for one name.
	askTime = 2 * time.Second
	// maxAsks is how many names Consul is asked for at a time, maxKnown how
	// many answers are kept.
	maxAsks  = 32
	maxKnown = 1024
	// minKnown is how long an answer is kept at least, even that there was
	// none: a client in a hurry must not become a storm.
	minKnown = time.Second
)

// found is what Consul says of a name.
type found struct {
	want    lookup
	ok      bool
	node    zone.Node
	service zone.Service
	err     error // it cannot say.
}

// known keeps what Consul has said for about as long as clients do. The zero
// known is ready.
type known struct {
	mu sync.Mutex
	m  map[lookup]kept
}

type kept struct {
	found found
	until time.Time
}

var errTooMany = errors.New("too many names are asked for at a time")

// mayAsk reports whether Consul is to be asked for what the view lacks: while
// no server is linked, or none has vouched for the view yet.
func (s *Server) mayAsk(v *view) bool {
	return s.o.Fallback != nil && (v.source != SourceServer || !s.o.Linked())
}

// ask has Consul asked for what a question could not find, and the question
// answered again. Where Consul cannot say, the view has the last word.
func (s *Server) ask(q *query, want lookup) func(context.Context) []byte {
	own := q.clone()
	return func(ctx context.Context) []byte {
		v := s.view.Load()
		r := resolver{s: s, v: v, q: own}
		if f := s.consul(ctx, want); f.err == nil {
			r.found = &f
		}
		a, foreign := r.resolve()
		switch {
		case !foreign:
			return s.complete(ctx, own, v, &a)
		case !s.mayForward(own):
			a = refused()
			return s.reply(own, v, &a)
		}
		return s.forward(own)(ctx)
	}
}

// consul asks Consul for one name, unless it did a moment ago.
func (s *Server) consul(ctx context.Context, want lookup) found {
	if f, ok := s.known.get(want, time.Now()); ok {
		return f
	}
	key := "s/"
	if want.node {
		key = "n/"
	}
	f, ok := s.asks.do(ctx, key+want.dc+"/"+want.name, func() found {
		f := s.askOnce(ctx, want)
		keep := minKnown
		switch {
		case f.err != nil:
		case f.ok:
			keep = max(keep, s.o.TTL)
		default:
			keep = max(keep, s.o.NegativeTTL)
		}
		s.known.put(f, time.Now(), keep)
		return f
	})
	if !ok {
		return found{want: want, err: ctx.Err()}
	}
	return f
}

func (s *Server) askOnce(ctx context.Context, want lookup) found {
	select {
	case s.askSlots <- struct{}{}:
		defer func() { <-s.askSlots }()
	default:
		return found{want: want, err: errTooMany}
	}
	s.extra.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	f := found{want: want}
	if want.node {
		f.node, f.ok, f.err = s.o.Fallback.Node(ctx, want.dc, want.name)
	} else {
		f.service, f.ok, f.err = s.o.Fallback.Service(ctx, want.dc, want.name)
	}
	if f.err != nil {
		s.log.Debug("Consul cannot say", "name", want.name, "dc", want.dc, "error", f.err)
	}
	return f
}

func (k *known) get(want lookup, now time.Time) (found, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, ok := k.m[want]
	return f.found, ok && now.Before(f.until)
}

// put keeps an answer. When there is no room it forgets those that are too
// old, and then any.
func (k *known) put(f found, now time.Time, keep time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = make(map[lookup]kept)
	}
	if len(k.m) >= maxKnown {
		for want, old := range k.m {
			if !now.Before(old.until) {
				delete(k.m, want)
			}
		}
	}
	for want := range k.m {
		if len(k.m) < maxKnown {
			break
		}
		delete(k.m, want)
	}
	k.m[f.want] = kept{f, now.Add(keep)}
}
