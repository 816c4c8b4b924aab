package dispatch

import (
	"encoding/json"
	"fmt"
	"strconv"

	"alps/mesh"
)

// HeadRefs is how many references a head keeps at most: 64 take about 6 KiB,
// which keeps a head under MaxHead. SegmentRefs is how many leave it at once
// when it is full: half, so that a node that is a little behind still finds
// all it missed in the head.
const (
	HeadRefs    = 64
	SegmentRefs = HeadRefs / 2
)

// MaxHead is the most bytes of an encoded head or segment: 10,000 watchers on
// 16 heads of 4 KiB wake within 1.3 s, and a larger head costs each of them.
const MaxHead = 8 << 10

// Kind says what a Ref announces.
type Kind string

// The kinds of references. A node ignores a kind that it does not know.
const (
	KindJob Kind = "job" // a new attempt of a job.
	KindCtl Kind = "ctl" // the ctl document of an attempt has changed.
)

// Ref announces one thing to the nodes of a shard. It carries no authority:
// the documents are signed, the reference is not.
type Ref struct {
	Seq     uint64     `json:"q"`
	Kind    Kind       `json:"k"`
	Job     mesh.JobID `json:"j"`
	Attempt int        `json:"a"`
	Expires int64      `json:"x"` // Unix seconds.
	// Gen is the generation of the ctl that is announced: a node that reads
	// an older one from a server that lags reads again.
	Gen int `json:"g,omitempty"`
}

// Head is the document that the nodes of one shard watch.
type Head struct {
	// Epoch is random and changes when a server has found that Consul went
	// back in time: a node that sees another one reads everything again.
	Epoch string `json:"epoch"`
	// Seq is the newest sequence that was written to this head.
	Seq uint64 `json:"seq"`
	// Prev is the sequence of the newest reference that has left for a
	// segment, 0 when none has. A cursor at or above it has missed nothing.
	Prev uint64 `json:"prev,omitempty"`
	// Next is the number of the next segment to be written: segments
	// 0 … Next-1 were written, the oldest may be deleted already.
	Next int `json:"next,omitempty"`
	// Refs are in rising order of Seq.
	Refs []Ref `json:"refs"`
}

// Segment holds references that have left a head, in rising order of Seq.
type Segment struct {
	Refs []Ref `json:"refs"`
}

// Append returns the head with refs added behind, and the segments that must
// be written in the same transaction, the first under the number h.Next. The
// refs must be in rising order of Seq and above h.Seq. h is not changed.
func (h Head) Append(refs ...Ref) (Head, []Segment) {
	all := make([]Ref, 0, len(h.Refs)+len(refs))
	all = append(append(all, h.Refs...), refs...)
	var segments []Segment
	for len(all) > HeadRefs {
		segments = append(segments, Segment{Refs: all[:SegmentRefs:SegmentRefs]})
		h.Prev = all[SegmentRefs-1].Seq
		all = all[SegmentRefs:]
	}
	h.Next += len(segments)
	h.Refs = all
	if len(all) > 0 {
		h.Seq = all[len(all)-1].Seq
	}
	return h, segments
}

// Since returns the references above cursor that the head itself holds, and
// whether nothing lies between the two: if not, the node must read segments
// from the newest (Next-1) backward until one begins at or below its cursor.
func (h Head) Since(cursor uint64) (refs []Ref, complete bool) {
	return since(h.Refs, cursor), cursor >= h.Prev
}

// Since returns the references above cursor that the segment holds, and
// whether older segments cannot hold any more of them.
func (s Segment) Since(cursor uint64) (refs []Ref, complete bool) {
	return since(s.Refs, cursor), len(s.Refs) == 0 || s.Refs[0].Seq <= cursor
}

func since(refs []Ref, cursor uint64) []Ref {
	i := len(refs)
	for i > 0 && refs[i-1].Seq > cursor {
		i--
	}
	return refs[i:]
}

// Encode returns the head's document.
func (h Head) Encode() ([]byte, error) { return encode("head", h) }

// Encode returns the segment's document.
func (s Segment) Encode() ([]byte, error) { return encode("segment", s) }

// DecodeHead reads a head's document.
func DecodeHead(b []byte) (Head, error) {
	var h Head
	if err := decode("head", b, &h); err != nil {
		return Head{}, err
	}
	return h, rising("head", h.Refs)
}

// DecodeSegment reads a segment's document.
func DecodeSegment(b []byte) (Segment, error) {
	var s Segment
	if err := decode("segment", b, &s); err != nil {
		return Segment{}, err
	}
	return s, rising("segment", s.Refs)
}

func rising(what string, refs []Ref) error {
	for i := 1; i < len(refs); i++ {
		if refs[i].Seq <= refs[i-1].Seq {
			return fmt.Errorf("decode %s: sequence %d follows %d", what, refs[i].Seq, refs[i-1].Seq)
		}
	}
	return nil
}

func encode(what string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	if len(b) > MaxHead {
		return nil, fmt.Errorf("encode %s: %d bytes are over the limit of %d", what, len(b), MaxHead)
	}
	return b, nil
}

func decode(what string, b []byte, v any) error {
	if len(b) > MaxHead {
		return fmt.Errorf("decode %s: %d bytes are over the limit of %d", what, len(b), MaxHead)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

// The keys of the documents. Shards are two digits, so that they list in
// order.
const (
	Prefix     = "alps/exec/"
	HeadPrefix = Prefix + "head/"
	LogPrefix  = Prefix + "log/"
	JobPrefix  = Prefix + "job/"
)

// HeadKey is the key of a shard's head.
func HeadKey(shard int) string { return fmt.Sprintf("%s%02d", HeadPrefix, shard) }

// SegmentKey is the key of the nth segment of a shard.
func SegmentKey(shard, n int) string { return fmt.Sprintf("%s%02d/%d", LogPrefix, shard, n) }

// AttemptPrefix is the prefix of all documents of one attempt of a job.
func AttemptPrefix(job mesh.JobID, attempt int) string {
	return JobPrefix + string(job) + "/" + strconv.Itoa(attempt) + "/"
}

// SpecKey is the key of an attempt's signed Spec.
func SpecKey(job mesh.JobID, attempt int) string { return AttemptPrefix(job, attempt) + "spec" }

// CtlKey is the key of an attempt's signed Ctl.
func CtlKey(job mesh.JobID, attempt int) string { return AttemptPrefix(job, attempt) + "ctl" }

// PartKey is the key of the part of an attempt's target list that one shard
// reads.
func PartKey(job mesh.JobID, attempt, shard int) string {
	return fmt.Sprintf("%sto/%02d", AttemptPrefix(job, attempt), shard)
}
