package check

import (
	"container/heap"
	"hash/fnv"
	"time"

	"alps/mesh"
)

// splay is a number below limit that a node and a check always share, and
// different ones rarely: FNV-1a over both. Zero for a limit of zero.
func splay(node mesh.NodeID, check string, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(check))
	sum := h.Sum64()
	// FNV's low bits follow the last bytes of the text closely.
	sum ^= sum >> 32
	return time.Duration(sum % uint64(limit))
}

// firstDue is when a check that was defined now runs for the first time.
func firstDue(node mesh.NodeID, d *mesh.CheckDef, spread time.Duration, now time.Time) time.Time {
	return now.Add(splay(node, d.ID, min(d.Interval, spread)))
}

// onGrid is when it runs for the second time: on the grid of its interval that
// every start of the agent finds again, at least half an interval after the
// first run and less than one and a half.
func onGrid(node mesh.NodeID, d *mesh.CheckDef, first time.Time) time.Time {
	phase := int64(splay(node, d.ID, d.Interval))
	earliest := first.Add(d.Interval / 2)
	wait := (phase - earliest.UnixNano()) % int64(d.Interval)
	if wait < 0 {
		wait += int64(d.Interval)
	}
	return earliest.Add(time.Duration(wait))
}

// following is the next time on the grid of due that is after now.
func following(due time.Time, interval time.Duration, now time.Time) time.Time {
	next := due.Add(interval)
	if late := now.Sub(next); late >= 0 {
		next = next.Add(late - late%interval + interval)
	}
	return next
}

// entry is one check. The engine's mutex guards it.
type entry struct {
	def      mesh.CheckDef
	gen      int // grows with each new definition: what an old one says is dropped.
	standing standing
	seq      uint64
	// last is the newest result, nil before the first. It is never changed.
	last *mesh.CheckResult
	// restored: last is of an earlier run of the agent.
	restored bool

	due    time.Time
	first  bool // due is the first run's.
	pos    int  // in the heap; -1 when it is not in it.
	cancel func()
	// running is true from when it is put into the queue of those that are to
	// run until its run has returned.
	running bool
	asked   bool // somebody wants its result at once: RunNow.
	again   bool // and wants another run behind the one that is going on.
	gone    bool // it is defined no more.
	// stuck is what is left of a run that cannot be stopped; nil for nothing.
	stuck *leftover

	seen LocalCheck // of an observed check: what Consul said last.
	told time.Time  // of an observed check: when its last result was made.
}

// leftover is something of a run that goes on although it should not.
type leftover struct {
	gone <-chan struct{}
	what string
}

// dueHeap orders entries by when they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	e, _ := x.(*entry)
	e.pos = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.pos = -1
	return e
}

// put brings e to where its due time puts it.
func (h *dueHeap) put(e *entry) {
	if e.pos >= 0 {
		heap.Fix(h, e.pos)
		return
	}
	heap.Push(h, e)
}

func (h *dueHeap) remove(e *entry) {
	if e.pos >= 0 {
		heap.Remove(h, e.pos)
	}
}
