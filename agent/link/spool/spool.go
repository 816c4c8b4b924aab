package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
)

const (
	// DefaultBytes is 64 MiB: days of results of a busy node, and less than
	// anybody misses on a data disk.
	DefaultBytes = 64 << 20
	// DefaultMemory is 4 MiB: what an agent may take when its disk is full.
	DefaultMemory = 4 << 20
	// retryDisk is how long a disk that refused a write is left alone.
	retryDisk = 30 * time.Second
)

// Options says where a spool is and how much it holds.
type Options struct {
	Dir       string // made if it is missing; of this spool alone.
	MaxBytes  int64  // zero: DefaultBytes.
	MaxMemory int64  // zero: DefaultMemory.

	create    func(path string) (file, error) // for tests; nil: a real file.
	retryDisk time.Duration                   // for tests; zero: the constant.
}

// Record is one message that waits, and the run that numbered it.
type Record struct {
	Boot frame.BootID
	frame.Message
}

// Stats is how full a spool is.
type Stats struct {
	Waiting int   // messages that are not acknowledged, about.
	Bytes   int64 // what the segments measure, in memory or not.
	Memory  int64 // the part of Bytes that is in memory for want of a disk.
	Dropped uint64
	Damaged uint64
	Disk    error // why the disk is not used; nil when it is.
}

// Spool keeps messages until they are acknowledged. Its methods may be called
// from any goroutine; Next and Rewind are for one reader.
type Spool struct {
	o    Options
	boot frame.BootID
	wake chan struct{}

	mu               sync.Mutex
	lanes            [2]*lane // durable, loose.
	seq              uint64
	acked            map[frame.BootID]uint64
	latest           map[latestKey]uint64 // the newest number of each kind of which only the newest counts.
	dropped, damaged uint64               // since Open.
	reported         [2]uint64            // the parts of these that Reported was told of.
	disk             error
	diskAt           time.Time // when disk was set.
}

type latestKey struct {
	boot frame.BootID
	kind frame.Kind
}

// Open reads what earlier runs left in the directory and begins a new boot.
// Its error is about the directory itself; damaged contents are only counted.
func Open(o Options) (*Spool, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultBytes
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = DefaultMemory
	}
	if o.create == nil {
		o.create = createFile
	}
	if o.retryDisk == 0 {
		o.retryDisk = retryDisk
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{
		o:      o,
		wake:   make(chan struct{}, 1),
		lanes:  [2]*lane{{name: "d", sync: true}, {name: "l"}},
		acked:  make(map[frame.BootID]uint64),
		latest: make(map[latestKey]uint64),
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s.signal()
	return s, nil
}

// load takes in the segments of earlier runs and chooses our boot id.
func (s *Spool) load() error {
	entries, err := os.ReadDir(s.o.Dir) // sorted by name: by boot, then index.
	if err != nil {
		return err
	}
	var newest uint64
	for _, e := range entries {
		boot, name, ok := parseSegmentName(e.Name())
		i := slices.IndexFunc(s.lanes[:], func(l *lane) bool { return l.name == name })
		if !ok || i < 0 {
			continue
		}
		n, _ := strconv.ParseUint(string(boot[:8]), 16, 32) // its form was checked.
		newest = max(newest, n)
		seg, damaged, err := loadSegment(filepath.Join(s.o.Dir, e.Name()), boot)
		s.damaged += uint64(damaged) // counts from zero.
		if err != nil {
			s.damaged++ // a file that cannot be read is one loss, and no reason not to start.
		}
		if seg != nil {
			s.lanes[i].segs = append(s.lanes[i].segs, seg)
		}
	}
	s.boot = frame.NewBootID(uint32(newest + 1)) // 2^32 restarts are far off.
	return nil
}

// Boot returns the id of this run.
func (s *Spool) Boot() frame.BootID { return s.boot }

// Wake is signalled when there may be something new for Next.
func (s *Spool) Wake() <-chan struct{} { return s.wake }

func (s *Spool) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // one signal is enough.
	}
}

// Append numbers a message and keeps it. A durable one is on the disk when
// Append returns, unless the disk refuses: then it is kept in memory, Stats
// says so, and Append still returns nil, because sending is all that is left.
// The payload is not kept. The error is mesh.TooLarge for what no frame holds
// and mesh.Invalid for a kind that agents do not send.
func (s *Spool) Append(k frame.Kind, payload []byte, durable bool) (uint64, error) {
	if !k.Up() {
		return 0, mesh.Errorf(mesh.Invalid, "%s is not a kind that agents send", k)
	}
	if err := frame.CheckSize(k, payload); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	m := frame.Message{Kind: k, Seq: s.seq, Payload: payload}
	l := s.lanes[1]
	if durable {
		l = s.lanes[0]
	}
	s.makeRoom(recordSize(m))
	if !s.toDisk(l, m) {
		s.toMemory(l, m)
	}
	if k.LatestOnly() {
		s.latest[latestKey{s.boot, k}] = s.seq
	}
	s.signal()
	return s.seq, nil
}

// toDisk writes a message to a file, or reports that the disk refuses.
func (s *Spool) toDisk(l *lane, m frame.Message) bool {
	if s.disk != nil && time.Since(s.diskAt) < s.o.retryDisk {
		return false
	}
	var err error
	if l.tail == nil || l.tail.path == "" || l.tail.size+recordSize(m) > s.o.MaxBytes/16 && l.tail.count > 0 {
		err = l.start(s.o.Dir, s.boot, s.o.create)
	}
	if err == nil {
		err = l.write(m)
	}
	if err != nil {
		if l.tail != nil && l.tail.count == 0 {
			l.drop(l.tail)
		}
		l.seal()
		s.disk, s.diskAt = err, time.Now()
		return false
	}
	s.disk = nil
	return true
}

// toMemory keeps a message for as long as the process lives.
func (s *Spool) toMemory(l *lane, m frame.Message) {
	for s.memory()+recordSize(m) > s.o.MaxMemory && s.dropOldest(func(g *segment) bool { return g.path == "" }) {
		continue
	}
	if l.tail == nil || l.tail.path != "" || l.tail.size > s.o.MaxMemory/16 {
		_ = l.start(s.o.Dir, s.boot, nil) // memory never refuses.
	}
	_ = l.write(m) // likewise.
}

// makeRoom drops the oldest segments until n bytes fit: loose ones first.
func (s *Spool) makeRoom(n int64) {
	for s.bytes()+n > s.o.MaxBytes && s.dropOldest(func(*segment) bool { return true }) {
		continue
	}
}

// dropOldest drops the oldest segment that which accepts, a loose one if
// there is any, and counts what is lost with it.
func (s *Spool) dropOldest(which func(*segment) bool) bool {
	for _, l := range []*lane{s.lanes[1], s.lanes[0]} {
		i := slices.IndexFunc(l.segs, which)
		if i < 0 {
			continue
		}
		g := l.segs[i]
		s.dropped += s.lost(g)
		l.drop(g)
		return true
	}
	return false
}

// lost counts the records of a segment that somebody still waits for.
func (s *Spool) lost(g *segment) uint64 {
	b, err := g.bytes()
	if err != nil {
		return uint64(g.waiting(s.acked[g.boot])) // never negative.
	}
	var n uint64
	scan(b, func(m frame.Message) {
		if !s.needless(g.boot, m) {
			n++
		}
	})
	return n
}

// needless reports whether a record need not be sent: it was acknowledged,
// or a newer one of the same run says all that it says.
func (s *Spool) needless(boot frame.BootID, m frame.Message) bool {
	return m.Seq <= s.acked[boot] || m.Kind.LatestOnly() && m.Seq < s.latest[latestKey{boot, m.Kind}]
}

// Next returns the next record in the order of boot and number, or false when
// all was returned. The record belongs to the caller.
func (s *Spool) Next() (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *Record
	var from *lane
	for _, l := range s.lanes {
		r := l.peek(s.needless, func() { s.damaged++ })
		if r != nil && (first == nil || r.Boot < first.Boot || r.Boot == first.Boot && r.Seq < first.Seq) {
			first, from = r, l
		}
	}
	if first == nil {
		return Record{}, false
	}
	from.cur.next = nil
	return *first, true
}

// Rewind makes Next begin again with the first record that is not
// acknowledged.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.rewind()
	}
	s.signal()
}

// Ack says that every message of a boot up to a number is committed. It may
// be called twice, and with numbers that were never used.
func (s *Spool) Ack(boot frame.BootID, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.acked[boot] {
		return
	}
	s.acked[boot] = seq
	for _, l := range s.lanes {
		for _, g := range slices.Clone(l.segs) {
			// The file being written is kept until it is worth a new one.
			if g.boot == boot && g.last <= seq && (g != l.tail || g.size > s.o.MaxBytes/1024) {
				l.drop(g)
			}
		}
	}
}

// Losses returns how many messages were dropped or damaged and not yet
// reported.
func (s *Spool) Losses() (dropped, damaged uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped - s.reported[0], s.damaged - s.reported[1]
}

// Reported says that a server knows of as many losses.
func (s *Spool) Reported(dropped, damaged uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reported[0] += dropped
	s.reported[1] += damaged
}

// Stats returns how full the spool is.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes(), Memory: s.memory(), Dropped: s.dropped, Damaged: s.damaged, Disk: s.disk}
	for _, l := range s.lanes {
		for _, g := range l.segs {
			st.Waiting += g.waiting(s.acked[g.boot])
		}
	}
	return st
}

func (s *Spool) bytes() int64 {
	var n int64
	for _, l := range s.lanes {
		for _, g := range l.segs {
			n += g.size
		}
	}
	return n
}

func (s *Spool) memory() int64 {
	var n int64
	for _, l := range s.lanes {
		for _, g := range l.segs {
			if g.path == "" {
				n += g.size
			}
		}
	}
	return n
}

// Close closes the files and deletes those that hold nothing that waits. What
// is in memory is lost. An Append that comes late is still kept, in a new
// file, for the next run.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, l := range s.lanes {
		l.rewind()
		if l.out != nil {
			err = errors.Join(err, l.out.Sync())
		}
		l.seal()
		for _, g := range slices.Clone(l.segs) {
			if g.last <= s.acked[g.boot] {
				l.drop(g)
			}
		}
	}
	if err != nil {
		return mesh.Errorf(mesh.Internal, "close spool: %w", err)
	}
	return nil
}
