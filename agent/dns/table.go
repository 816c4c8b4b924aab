package dns

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// tableSlots is how many packed answers are kept at most; tableBytes is
	// how much they may take. An agent is a guest on its machine.
	tableSlots = 4096
	tableBytes = 4 << 20
	// maxVariants is how many orders of one answer are kept, reshuffle how
	// long, so that every one of many instances is first now and then.
	maxVariants = 8
	reshuffle   = 2 * time.Second
)

// packed is a reply on the wire, in several orders where it has several
// records. It does not change once it is in the table.
type packed struct {
	key      []byte
	gen      uint64 // of the view that it was made from.
	until    int64  // Unix nanoseconds; 0: as long as the view.
	variants []variant
	size     int64
}

// variant is a reply to anybody; do is where the byte with the DO bit is, 0
// when there is none.
type variant struct {
	wire []byte
	do   int
}

// table finds packed answers by key. A slot is read and replaced atomically
// and nothing waits for anybody; an answer that is pushed out is made again.
type table struct {
	slots [tableSlots]atomic.Pointer[packed]
	bytes atomic.Int64
}

// slot returns the two places where key may be.
func slot(key []byte) (first, second uint32) {
	h := uint32(2166136261)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	h ^= h >> 15
	first = h % tableSlots
	return first, first ^ 1
}

// find returns the answer for key if it is of this view and not too old.
func (t *table) find(key []byte, gen uint64) *packed {
	first, second := slot(key)
	p := t.slots[first].Load()
	if p == nil || !bytes.Equal(p.key, key) {
		if p = t.slots[second].Load(); p == nil || !bytes.Equal(p.key, key) {
			return nil
		}
	}
	if p.gen != gen || p.until != 0 && time.Now().UnixNano() >= p.until {
		return nil
	}
	return p
}

// put keeps an answer, in place of an older one of the same key, of one of an
// older view, or of the one that is in its first place.
func (t *table) put(p *packed) {
	first, second := slot(p.key)
	at := first
	for _, i := range []uint32{first, second} {
		old := t.slots[i].Load()
		if old == nil || bytes.Equal(old.key, p.key) {
			at = i
			break
		}
		if old.gen != p.gen {
			at = i
		}
	}
	if t.bytes.Load()+p.size > tableBytes {
		t.clear()
	}
	t.bytes.Add(p.size)
	if old := t.slots[at].Swap(p); old != nil {
		t.bytes.Add(-old.size)
	}
}

// clear forgets all.
func (t *table) clear() {
	for i := range t.slots {
		if old := t.slots[i].Swap(nil); old != nil {
			t.bytes.Add(-old.size)
		}
	}
}

// random is a source for one goroutine (xorshift): good enough to spread load,
// and it costs a nanosecond.
type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	if x == 0 {
		x = 0x9e3779b97f4a7c15
	}
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = random(x)
	return x
}

func (r *random) float() float64 { return (float64(r.next()>>11) + 1) / (1 << 53) }

// order draws the first n of an order in which the share of those that come
// first is as their weights are.
func (r *random) order(records []record, n int) []int {
	if even(records) {
		return r.shuffle(len(records), n)
	}
	type drawn struct {
		at int
		by float64
	}
	list := make([]drawn, len(records))
	for i := range records {
		list[i] = drawn{i, -math.Log(r.float()) / float64(max(records[i].weight, 1))}
	}
	slices.SortFunc(list, func(a, b drawn) int { return cmp.Compare(a.by, b.by) })
	out := make([]int, min(n, len(list)))
	for i := range out {
		out[i] = list[i].at
	}
	return out
}

// shuffle draws n of the numbers below of.
func (r *random) shuffle(of, n int) []int {
	all := make([]int, of)
	for i := range all {
		all[i] = i
	}
	n = min(n, of)
	for i := range n {
		at := i + int(r.next()%uint64(of-i))
		all[i], all[at] = all[at], all[i]
	}
	return all[:n]
}

// even reports whether all records weigh the same.
func even(records []record) bool {
	return !slices.ContainsFunc(records, func(x record) bool { return x.weight != records[0].weight })
}

// fits is more than the number of records that fit into limit bytes.
func fits(limit int) int { return limit/minRecord + 1 }

// orders draws the orders to keep, the first n of each. Where all weigh the
// same, each record is first as often as any other, as far as the number of
// orders allows.
func (r *random) orders(records []record, n int) [][]int {
	if len(records) < 2 {
		return [][]int{nil}
	}
	if !even(records) {
		out := make([][]int, maxVariants)
		for i := range out {
			out[i] = r.order(records, n)
		}
		return out
	}
	leaders := r.shuffle(len(records), maxVariants)
	out := make([][]int, len(leaders))
	for i, first := range leaders {
		out[i] = r.shuffle(len(records), n)
		if at := slices.Index(out[i], first); at >= 0 {
			out[i][0], out[i][at] = first, out[i][0]
		} else {
			out[i][0] = first
		}
	}
	return out
}
