package alert

import (
	"container/heap"
	"sync"
	"time"

	"alps/mesh"
)

// maxNotes bounds what waits to be looked at. Above it all checks are read
// instead, which costs no more.
const maxNotes = 20_000

// note is one thing that was observed.
type note struct {
	gone  bool
	state mesh.CheckState
}

// inbox is where observers leave what they saw. Its lock is held for moments
// only, never while anything else is called.
type inbox struct {
	kick chan struct{}

	mu     sync.Mutex
	notes  []note
	reread bool // read all checks.
	// away is since when Consul does not answer, zero when it does; back is
	// when that began, zero as long as nobody has said so; thaw is until when
	// its catalog is not believed after that.
	away, back, thaw time.Time
}

func newInbox() *inbox { return &inbox{kick: make(chan struct{}, 1)} }

func (b *inbox) put(n note) {
	b.mu.Lock()
	if len(b.notes) < maxNotes || n.gone {
		b.notes = append(b.notes, n)
	} else {
		b.reread = true
	}
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) all() {
	b.mu.Lock()
	b.reread = true
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) consul(away, back time.Time) {
	b.mu.Lock()
	switch was := b.away; {
	case away.IsZero() != was.IsZero(), away.IsZero() && b.back.IsZero():
		b.away, b.back = away, back
		if !was.IsZero() {
			b.thaw = back.Add(settle)
		}
	}
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) ring() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// take returns what has come in order, and whether all must be read again.
func (b *inbox) take() ([]note, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	notes, reread := b.notes, b.reread
	b.notes, b.reread = nil, false
	return notes, reread
}

// drop forgets what was observed but for what is gone: nothing else would say
// that again.
func (b *inbox) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var kept []note
	for _, n := range b.notes {
		if n.gone {
			kept = append(kept, n)
		}
	}
	b.notes = kept
}

// frozen reports whether Consul's catalog cannot be believed now.
func (b *inbox) frozen(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.away.IsZero() || now.Before(b.thaw)
}

func (b *inbox) consulTimes() (away, back time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away, b.back
}

// wakes are the problems that time alone may open, the soonest first. The zero
// wakes is empty.
type wakes struct {
	queue wakeQueue
	at    map[key]time.Time
}

type wake struct {
	key key
	at  time.Time
}

// set has k looked at again at a time; zero: not because of time.
func (w *wakes) set(k key, at time.Time) {
	if at.IsZero() {
		delete(w.at, k) // what is in the queue finds nothing.
		return
	}
	if w.at == nil {
		w.at = make(map[key]time.Time)
	}
	if old, ok := w.at[k]; ok && old.Equal(at) {
		return
	}
	w.at[k] = at
	heap.Push(&w.queue, wake{k, at})
}

// due takes the keys whose time has come.
func (w *wakes) due(now time.Time) []key {
	var out []key
	for len(w.queue) > 0 && !w.queue[0].at.After(now) {
		next, _ := heap.Pop(&w.queue).(wake)
		if at, ok := w.at[next.key]; ok && at.Equal(next.at) {
			delete(w.at, next.key)
			out = append(out, next.key)
		}
	}
	return out
}

// next is when the first is due, or the given time if that is sooner.
func (w *wakes) next(or time.Time) time.Time {
	if len(w.queue) > 0 && w.queue[0].at.Before(or) {
		return w.queue[0].at
	}
	return or
}

type wakeQueue []wake

func (q wakeQueue) Len() int           { return len(q) }
func (q wakeQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q wakeQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is for the heap.
func (q *wakeQueue) Push(x any) {
	if w, ok := x.(wake); ok {
		*q = append(*q, w)
	}
}

// Pop is for the heap.
func (q *wakeQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
