package dns

import (
	"runtime"
	"testing"
)

// maxHeap is what the names of a large estate may add to an agent.
const maxHeap = 4 << 20

// TestMemory measures the view of 5,000 nodes with three services each: as it
// comes, and after every node was asked for.
func TestMemory(t *testing.T) {
	s := idle(t, options())
	before := heap()
	func() { apply(t, s, estate(t, 5000)) }()
	view := heap() - before
	w := worker{s: s, rnd: 1, counts: new(counters)}
	for n := range s.Zone().AllNodes() {
		for _, typ := range []string{"A", "AAAA"} {
			w.answer(packet(t, n.Name+".node.yixia.", typ, opt(1232, false)), false)
		}
	}
	packed := heap() - before - view
	t.Logf("5,000 nodes, 15,000 instances: %d KiB; %d KiB more with a full table of answers", view>>10, packed>>10)
	if view > maxHeap || packed > maxHeap {
		t.Errorf("at most %d KiB are allowed for each", maxHeap>>10)
	}
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools hold is let go by the second.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
