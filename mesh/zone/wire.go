package zone

import (
	"encoding/binary"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
)

// version begins every document.
const version = 1

// maxZone bounds what a server may send as one update, and what is read from
// the disk: some hundred thousand nodes.
const maxZone = 64 << 20

// Have says what an agent holds: the payload of frame.Have.
type Have struct {
	DC      string // the agent's own.
	Serial  uint64
	Digests [Buckets]uint64
}

// Have describes the zone for a server.
func (z *Zone) Have(dc string) Have { return Have{DC: dc, Serial: z.serial, Digests: z.Digests()} }

// Encode returns the wire form: about 2 KiB.
func (h Have) Encode() []byte {
	b := make([]byte, 0, 1+1+len(h.DC)+binary.MaxVarintLen64+8*Buckets)
	b = append(b, version)
	b = appendString(b, h.DC)
	b = binary.AppendUvarint(b, h.Serial)
	for _, d := range h.Digests {
		b = binary.BigEndian.AppendUint64(b, d)
	}
	return b
}

// DecodeHave reads the wire form; mesh.Invalid when it is none.
func DecodeHave(payload []byte) (Have, error) {
	r := scanner{s: string(payload)}
	var h Have
	if r.byte() != version {
		r.fail()
	}
	h.DC = r.string(maxLabel)
	h.Serial = r.uvarint()
	for i := range h.Digests {
		h.Digests[i] = r.uint64()
	}
	if h.DC != "" && !isLabel(h.DC) {
		r.fail()
	}
	if err := r.err("what an agent holds of the zone"); err != nil {
		return Have{}, err
	}
	return h, nil
}

// The flags of a document: an update is one document or several, applied
// together when the last has come.
const (
	docFirst = 1 << iota
	docLast
)

// The records of a document.
const (
	recClear = 'c'
	recDrop  = 'd'
	recSet   = 's'
)

// Split encodes an update as payloads of frame.Zone, in the order that they
// must be sent in. There is always at least one.
func Split(u Update) [][]byte {
	s := splitter{u: u}
	s.begin(docFirst)
	for _, i := range u.Clear {
		s.add([]byte{recClear, i})
	}
	for _, key := range u.Drop {
		s.add(appendString([]byte{recDrop}, key))
	}
	for _, e := range u.Set {
		s.add(appendEntry([]byte{recSet}, e))
	}
	s.doc[1] |= docLast
	return append(s.docs, s.doc)
}

func appendEntry(b []byte, e Entry) []byte { return appendString(appendString(b, e.Key), e.Value) }

type splitter struct {
	u    Update
	docs [][]byte
	doc  []byte
}

func (s *splitter) begin(flags byte) {
	s.doc = []byte{version, flags}
	s.doc = binary.AppendUvarint(s.doc, s.u.Serial)
	s.doc = binary.BigEndian.AppendUint64(s.doc, uint64(millis(s.u.Built)))
	s.doc = binary.BigEndian.AppendUint64(s.doc, s.u.Sum)
}

func (s *splitter) add(record []byte) {
	if len(s.doc)+len(record) > frame.MaxPayload {
		s.docs = append(s.docs, s.doc)
		s.begin(0)
	}
	s.doc = append(s.doc, record...)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// Stage collects the documents of an update. The zero Stage is ready. It is
// for one goroutine.
type Stage struct {
	open bool
	size int
	u    Update
	seen map[string]bool
}

// Add takes the next document. done means that u is complete. A first document
// begins anew, whatever was there: the sender's link broke. The error is
// mesh.Invalid, and the stage is empty then.
func (s *Stage) Add(payload []byte) (u Update, done bool, err error) {
	flags, err := s.add(payload)
	if err != nil {
		*s = Stage{}
		return Update{}, false, err
	}
	if flags&docLast == 0 {
		return Update{}, false, nil
	}
	u = s.u
	*s = Stage{}
	return u, true, nil
}

func (s *Stage) add(payload []byte) (flags byte, err error) {
	const what = "an update of the zone"
	r := scanner{s: string(payload)}
	if r.byte() != version {
		r.fail()
	}
	flags = r.byte()
	if flags&^byte(docFirst|docLast) != 0 {
		r.fail()
	}
	if flags&docFirst != 0 {
		*s = Stage{open: true, seen: make(map[string]bool)}
	}
	if !s.open {
		return flags, mesh.Errorf(mesh.Invalid, "read %s: it begins in the middle", what)
	}
	if s.size += len(payload); s.size > maxZone {
		return flags, mesh.Errorf(mesh.Invalid, "read %s: it has more than %d MiB", what, maxZone>>20)
	}
	s.u.Serial = r.uvarint()
	s.u.Built = fromMillis(r.uint64())
	s.u.Sum = r.uint64()
	for r.s != "" {
		s.record(&r)
	}
	return flags, r.err(what)
}

func (s *Stage) record(r *scanner) {
	switch r.byte() {
	case recClear:
		s.u.Clear = append(s.u.Clear, r.byte())
	case recDrop:
		key := r.string(maxKey)
		if _, _, _, _, ok := splitKey(key); !ok {
			r.fail()
			return
		}
		s.u.Drop = append(s.u.Drop, strings.Clone(key))
	case recSet:
		e := r.entry()
		if r.bad || s.seen[e.Key] {
			r.fail()
			return
		}
		s.seen[e.Key] = true
		s.u.Set = append(s.u.Set, e)
	default:
		r.fail()
	}
}

// entry reads an entry, checks it and copies it: a zone keeps entries for long
// and must not hold on to the message that one of them came with.
func (r *scanner) entry() Entry {
	e := Entry{Key: r.string(maxKey), Value: r.string(maxValue)}
	if r.bad || !checkEntry(e) {
		r.fail()
		return Entry{}
	}
	both := e.Key + e.Value
	return Entry{Key: both[:len(e.Key)], Value: both[len(e.Key):]}
}
