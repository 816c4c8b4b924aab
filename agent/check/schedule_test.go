package check

import (
	"container/heap"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
)

func TestGridProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := mesh.NodeID(rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "node"))
		d := &mesh.CheckDef{ID: rapid.String().Draw(t, "id"), Interval: time.Duration(rapid.Int64Range(int64(200*time.Millisecond), int64(24*time.Hour)).Draw(t, "interval"))}
		now := time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "now"))

		first := firstDue(node, d, DefaultSpread, now)
		if wait := first.Sub(now); wait < 0 || wait >= min(d.Interval, DefaultSpread) {
			t.Fatalf("first run after %s of %s", wait, d.Interval)
		}
		second := onGrid(node, d, first)
		if gap := second.Sub(first); gap < d.Interval/2 || gap >= d.Interval*3/2+1 {
			t.Fatalf("second run %s after the first, with an interval of %s", gap, d.Interval)
		}
		// Whenever the agent starts, the grid is the same.
		other := onGrid(node, d, first.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "later"))))
		if off := other.Sub(second) % d.Interval; off != 0 {
			t.Fatalf("another start is %s off the grid", off)
		}
		late := second.Add(time.Duration(rapid.Int64Range(0, int64(10*d.Interval)).Draw(t, "late")))
		next := following(second, d.Interval, late)
		if !next.After(late) || next.Sub(late) > d.Interval || next.Sub(second)%d.Interval != 0 {
			t.Fatalf("next run at %s, %s after the end of a late one", next, next.Sub(late))
		}
	})
}

// TestSplaySpreads counts how many of many first runs fall into each tenth of
// the time: a bad hash puts them together.
func TestSplaySpreads(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   func(i int) time.Duration
	}{
		{"one check on many nodes", func(i int) time.Duration {
			return splay(mesh.NodeID(fmt.Sprintf("%032x", i)), "web:http", 10*time.Second)
		}},
		{"many checks on a node", func(i int) time.Duration {
			return splay("0123456789abcdef0123456789abcdef", fmt.Sprintf("check-%d", i), 10*time.Second)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var tenths [10]int
			for i := range 5000 {
				tenths[tc.at(i)/time.Second]++
			}
			for i, n := range tenths {
				if n < 350 || n > 650 {
					t.Errorf("tenth %d has %d of 5000, want about 500", i, n)
				}
			}
		})
	}
}

func TestHeapKeepsPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h dueHeap
		var all []*entry
		for range 20 {
			all = append(all, &entry{pos: -1})
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			c := all[rapid.IntRange(0, len(all)-1).Draw(t, "entry")]
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				c.due = time.Unix(rapid.Int64Range(0, 50).Draw(t, "due"), 0)
				h.put(c)
			case 1:
				h.remove(c)
			case 2:
				if len(h) > 0 {
					got, _ := heap.Pop(&h).(*entry)
					for _, o := range h {
						if o.due.Before(got.due) {
							t.Fatal("an earlier one was left")
						}
					}
				}
			}
			n := 0
			for _, c := range all {
				if c.pos >= 0 {
					n++
					if h[c.pos] != c {
						t.Fatal("an entry is not where it says")
					}
				}
			}
			if n != len(h) {
				t.Fatalf("%d entries say that they are in a heap of %d", n, len(h))
			}
		}
	})
}
