package job

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// heads is what lies under dispatch.HeadPrefix, by shard.
type heads [mesh.Shards]struct {
	dispatch.Head
	index uint64 // 0: there is no such key.
	sound bool   // the document could be read.
}

// readHeads takes what a list of the prefix returned. A document that makes no
// sense is as good as none, but its index is needed to replace it.
func readHeads(docs []Document) heads {
	var h heads
	for shard := range h {
		key := dispatch.HeadKey(shard)
		for _, d := range docs {
			if d.Key == key {
				doc, err := dispatch.DecodeHead(d.Value)
				h[shard].index = d.Index
				if err == nil {
					h[shard].Head, h[shard].sound = doc, true
				}
			}
		}
	}
	return h
}

// seq is the highest sequence in any head.
func (h *heads) seq() uint64 {
	var top uint64
	for i := range h {
		top = max(top, h[i].Seq)
	}
	return top
}

// verdict is what the heads say about the store that they lie in.
type verdict int

const (
	// headsSound: they are what was written, or follow it.
	headsSound verdict = iota
	// headsForeign: another server has begun a new epoch, above everything
	// that was seen. What this server has open may not be announced in it.
	headsForeign
	// headsLost: there are none, or they are older than what was written:
	// Consul is new, or was restored.
	headsLost
)

// judge compares the heads with what was seen of them before. A lagging server
// makes heads look lost as well: ask a consistent read before believing it.
func (h *heads) judge(marks [mesh.Shards]Mark) verdict {
	v := headsSound
	for i := range h {
		switch {
		case !h[i].sound, h[i].Epoch != h[0].Epoch, h[i].Epoch == "", h[i].Seq < marks[i].Seq:
			return headsLost
		case marks[i].Epoch != "" && marks[i].Epoch != h[i].Epoch:
			v = headsForeign
		}
	}
	return v
}

// marks is what is to be remembered of heads.
func (h *heads) marks() [mesh.Shards]Mark {
	var m [mesh.Shards]Mark
	for i := range h {
		m[i] = Mark{Epoch: h[i].Epoch, Seq: h[i].Seq}
	}
	return m
}

// renew begins a new epoch: all heads are empty, at one sequence above
// everything that was ever seen. Segments go on with their numbers, so that
// what is left of the old ones is not overwritten.
func (h *heads) renew(marks [mesh.Shards]Mark) heads {
	next := *h
	base := h.seq()
	for _, m := range marks {
		base = max(base, m.Seq)
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails.
	for i := range next {
		next[i].Head = dispatch.Head{Epoch: hex.EncodeToString(b[:]), Seq: base + 1, Next: h[i].Next, Refs: []dispatch.Ref{}}
		next[i].sound = true
	}
	return next
}

// announce adds the announcements to the heads, in their order, and returns
// the heads that follow, the segments that must be written with them, and
// which heads have changed.
func (h *heads) announce(list []*announcement) (next heads, segments []Document, touched uint16) {
	next = *h
	var refs [mesh.Shards][]dispatch.Ref
	seq := h.seq()
	for _, a := range list {
		seq++
		for shard := range refs {
			if a.shards&(1<<shard) != 0 {
				refs[shard] = append(refs[shard], dispatch.Ref{
					Seq: seq, Kind: a.kind, Job: a.job, Attempt: a.attempt, Expires: a.expires, Gen: a.gen,
				})
				touched |= 1 << shard
			}
		}
	}
	for shard := range refs {
		if len(refs[shard]) == 0 {
			continue
		}
		first := next[shard].Next
		head, full := next[shard].Append(refs[shard]...)
		next[shard].Head = head
		for i, seg := range full {
			value, err := seg.Encode()
			if err != nil { // 32 references are far under the limit.
				continue
			}
			segments = append(segments, Document{Key: dispatch.SegmentKey(shard, first+i), Value: value})
		}
	}
	return next, segments, touched
}

// writes returns the operations that put the touched heads in place, each on
// the condition that nobody else has.
func (h *heads) writes(touched uint16) ([]Write, error) {
	var out []Write
	for shard := range h {
		if touched&(1<<shard) == 0 {
			continue
		}
		value, err := h[shard].Encode()
		if err != nil {
			return nil, err
		}
		out = append(out, Write{Verb: VerbCAS, Key: dispatch.HeadKey(shard), Value: value, Index: h[shard].index})
	}
	return out, nil
}

const allShards = 1<<mesh.Shards - 1

// The most that goes into one transaction. Consul takes 128 operations and
// 512 KiB of JSON, in which values are base64.
const (
	maxOps  = 120
	maxBody = 480 << 10
)

func cost(w Write) int { return len(w.Key) + len(w.Session) + (len(w.Value)+2)/3*4 + 128 }

func fits(writes []Write) bool {
	sum := 0
	for _, w := range writes {
		sum += cost(w)
	}
	return len(writes) <= maxOps && sum <= maxBody
}

// chunks cuts writes into transactions, in order.
func chunks(writes []Write) [][]Write {
	var out [][]Write
	start, sum := 0, 0
	for i, w := range writes {
		if i > start && (i-start == maxOps || sum+cost(w) > maxBody) {
			out = append(out, writes[start:i])
			start, sum = i, 0
		}
		sum += cost(w)
	}
	if start < len(writes) {
		out = append(out, writes[start:])
	}
	return out
}

// An announcement waits to be written to the heads of one datacenter.
type announcement struct {
	kind    dispatch.Kind
	job     mesh.JobID
	attempt int
	expires int64
	gen     int
	shards  uint16
	docs    []Write
	fence   *Fence        // nil: it is announced whoever leads.
	lost    bool          // the lock of fence is not held; set before done is closed.
	done    chan struct{} // closed when it is written, or given up because the job has expired or the lock is lost.
}

// title names an announcement in logs.
func (a *announcement) title() string {
	return strings.Join([]string{string(a.kind), string(a.job)}, " ")
}
