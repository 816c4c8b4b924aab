package dispatch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

// TestCursorNeverMisses appends references in random batches and lets a node
// look at random moments: what it reads since its cursor is always exactly
// what was written since, whether it lies in the head or in segments.
func TestCursorNeverMisses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			head     Head
			segments []Segment
			written  []uint64
			cursor   uint64
			seq      uint64
		)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			refs := make([]Ref, rapid.IntRange(0, 150).Draw(t, "refs"))
			for i := range refs {
				seq += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
				refs[i] = Ref{Seq: seq, Kind: KindJob}
				written = append(written, seq)
			}
			next := head.Next
			var left []Segment
			head, left = head.Append(refs...)
			segments = append(segments, left...)
			if head.Next != next+len(left) || len(segments) != head.Next {
				t.Fatalf("Next = %d after %d segments", head.Next, len(segments))
			}
			if len(head.Refs) > HeadRefs {
				t.Fatalf("head holds %d references", len(head.Refs))
			}
			if rapid.Bool().Draw(t, "look") {
				got := look(head, segments, cursor)
				if diff := cmp.Diff(written, got); diff != "" {
					t.Fatalf("references since %d (-want +got):\n%s", cursor, diff)
				}
				written, cursor = nil, head.Seq
			}
		}
	})
}

// look reads as a node does: the head, and segments backward while needed.
func look(h Head, segments []Segment, cursor uint64) []uint64 {
	refs, complete := h.Since(cursor)
	for n := h.Next - 1; !complete && n >= 0; n-- {
		var older []Ref
		older, complete = segments[n].Since(cursor)
		refs = append(append([]Ref(nil), older...), refs...)
	}
	var seqs []uint64
	for _, r := range refs {
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

func TestFullHeadFitsItsLimit(t *testing.T) {
	h := Head{Epoch: strings.Repeat("f", 32), Prev: 1 << 53, Next: 1 << 30}
	for i := range HeadRefs {
		h.Refs = append(h.Refs, Ref{
			Seq: 1<<53 + uint64(i), Kind: KindCtl, Job: mesh.NewJobID(), Attempt: 999, Expires: 1 << 33, Gen: 999,
		})
	}
	doc, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHead(doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Errorf("DecodeHead(Encode()) (-want +got):\n%s", diff)
	}
}

func nodes(n int) []mesh.Target {
	out := make([]mesh.Target, n)
	for i := range out {
		out[i] = mesh.Target{Node: mesh.NodeID(fmt.Sprintf("%032x", i+1)), Wave: i % 3}
	}
	return out
}

func TestSplitAndFind(t *testing.T) {
	for _, n := range []int{1, mesh.MaxInlineTargets, mesh.MaxInlineTargets + 1, 5000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			targets := nodes(n)
			list, parts, err := Split(targets)
			if err != nil {
				t.Fatal(err)
			}
			if list.Count != n || (len(parts) > 0) != (n > mesh.MaxInlineTargets) {
				t.Fatalf("Split(%d) has count %d and %d parts", n, list.Count, len(parts))
			}
			for _, want := range targets {
				got, err := Find(list, want.Node, parts[want.Node.Shard()])
				if err != nil || got != want {
					t.Fatalf("Find(%s) = %v, %v; want %v", want.Node, got, err, want)
				}
			}
			stranger := mesh.NodeID(strings.Repeat("e", 32))
			if _, err := Find(list, stranger, parts[stranger.Shard()]); !errors.Is(err, ErrNotTarget) {
				t.Errorf("Find(stranger) = %v, want %v", err, ErrNotTarget)
			}
		})
	}
}

func TestFindRefusesAlteredParts(t *testing.T) {
	list, parts, err := Split(nodes(200))
	if err != nil {
		t.Fatal(err)
	}
	victim := mesh.NodeID(fmt.Sprintf("%032x", 7))
	good := parts[victim.Shard()]
	stranger := mesh.NodeID(strings.Repeat("d", 31) + "0")
	tests := map[string][]byte{
		"a changed byte": append([]byte("1"), good[1:]...),
		"a line less":    good[34:],
		"a line more":    append(append([]byte(nil), good...), (string(stranger) + " 0\n")...),
		"missing":        nil,
	}
	for name, part := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Find(list, victim, part); !errors.Is(err, ErrAltered) {
				t.Errorf("Find() = %v, want %v", err, ErrAltered)
			}
		})
	}
	if _, _, err := Split(append(nodes(2), nodes(1)...)); err == nil {
		t.Error("Split() takes a node that occurs twice")
	}
}

func TestEvent(t *testing.T) {
	full := Event{Shards: 0xffff, Seq: 1<<64 - 1}
	if got := full.String(); len(got) > MaxEvent {
		t.Errorf("the longest event takes %d bytes: %q", len(got), got)
	}
	for _, e := range []Event{{}, full, {Shards: 1, Seq: 7}} {
		if got, err := ParseEvent(e.String()); err != nil || got != e {
			t.Errorf("ParseEvent(%q) = %v, %v; want %v", e, got, err, e)
		}
	}
	for _, bad := range []string{"", "2 0001 1", "1 10000 1", "1 0001 -1", "1 0001", strings.Repeat("1", 65)} {
		if _, err := ParseEvent(bad); err == nil {
			t.Errorf("ParseEvent(%q) is accepted", bad)
		}
	}
}

func FuzzDocuments(f *testing.F) {
	h, segs := Head{Epoch: "e"}.Append(make([]Ref, 0)...)
	doc, err := h.Encode()
	if err != nil || len(segs) != 0 {
		f.Fatal(err)
	}
	f.Add(doc, "1 ffff 12")
	f.Add([]byte(`{"refs":[{"q":2},{"q":1}]}`), "1 0 0")
	f.Add([]byte(`{"phase":"run","gen":1,"attempt":1}`), "")
	f.Fuzz(func(t *testing.T, b []byte, event string) {
		if h, err := DecodeHead(b); err == nil {
			h.Since(h.Prev)
		}
		if s, err := DecodeSegment(b); err == nil {
			s.Since(0)
		}
		if c, err := DecodeCtl(b); err == nil && c.Gen < 1 {
			t.Errorf("DecodeCtl() takes generation %d", c.Gen)
		}
		if e, err := ParseEvent(event); err == nil {
			if again, err := ParseEvent(e.String()); err != nil || again != e {
				t.Errorf("ParseEvent(%q) = %v, %v", e, again, err)
			}
		}
	})
}

func FuzzFind(f *testing.F) {
	list, parts, err := Split(nodes(100))
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range parts {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, part []byte) {
		node := mesh.NodeID(strings.Repeat("0", 32))
		if _, err := Find(list, node, part); err == nil {
			t.Error("Find() finds a node that is not in the list")
		}
	})
}
