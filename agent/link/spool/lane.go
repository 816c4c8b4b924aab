package spool

import (
	"os"
	"path/filepath"
	"slices"

	"alps/mesh/frame"
)

// lane is a row of segments, oldest first, with one place to write, at its
// end, and one to read. The Spool's mutex guards it.
type lane struct {
	name  string
	sync  bool
	segs  []*segment
	out   file     // where the last segment is written; nil: start a new one.
	tail  *segment // the segment that is open for writing; nil: start a new one.
	index uint32   // of the next segment file.
	cur   cursor
}

// cursor is where a lane is read.
type cursor struct {
	seg  *segment // nil: before the first.
	off  int64
	f    *os.File // open while seg is a file and being read.
	next *Record  // read ahead by peek.
}

// seal ends writing to the tail.
func (l *lane) seal() {
	if l.out != nil {
		_ = l.out.Close() // what had to be on the disk was synced.
	}
	l.out, l.tail = nil, nil
}

// write appends to the tail segment. After an error the segment holds what it
// held before.
func (l *lane) write(m frame.Message) error {
	b := appendRecord(nil, m)
	if l.tail.path == "" {
		l.tail.mem = append(l.tail.mem, b...)
	} else {
		_, err := l.out.Write(b)
		if err == nil && l.sync {
			err = l.out.Sync()
		}
		if err != nil {
			_ = l.out.Truncate(l.tail.size) // else a torn record stays, which readers skip.
			return err
		}
	}
	l.tail.size += int64(len(b))
	l.tail.note(m)
	return nil
}

// start opens a new tail, in memory when create is nil.
func (l *lane) start(dir string, boot frame.BootID, create func(string) (file, error)) error {
	l.seal()
	s := &segment{boot: boot}
	if create != nil {
		path := filepath.Join(dir, segmentName(boot, l.index, l.name))
		l.index++
		f, err := create(path)
		if err != nil {
			_ = os.Remove(path)
			return err
		}
		s.path, l.out = path, f
	}
	l.tail = s
	l.segs = append(l.segs, s)
	return nil
}

// drop takes a segment out of the row.
func (l *lane) drop(s *segment) {
	if l.tail == s {
		l.seal()
	}
	i := slices.Index(l.segs, s)
	if l.cur.seg == s {
		l.cur.close()
		l.cur = cursor{}
		if i > 0 {
			// The segment before has been read to its end.
			l.cur = cursor{seg: l.segs[i-1], off: l.segs[i-1].size}
		}
	}
	l.segs = slices.Delete(l.segs, i, i+1)
	s.remove()
}

// rewind puts the cursor before the first segment.
func (l *lane) rewind() {
	l.cur.close()
	l.cur = cursor{}
}

// peek returns the next record that skip does not skip, without passing it.
// damaged counts what could not be read on the way.
func (l *lane) peek(skip func(frame.BootID, frame.Message) bool, damaged func()) *Record {
	for l.cur.next == nil {
		if l.cur.seg == nil || l.cur.off >= l.cur.seg.size {
			if !l.advance() {
				return nil
			}
			continue
		}
		m, ok := l.cur.read(damaged)
		if ok && !skip(l.cur.seg.boot, m) {
			l.cur.next = &Record{Boot: l.cur.seg.boot, Message: m}
		}
	}
	if skip(l.cur.next.Boot, l.cur.next.Message) { // it became needless since it was read.
		l.cur.next = nil
		return l.peek(skip, damaged)
	}
	return l.cur.next
}

// advance moves the cursor to the next segment, if there is one.
func (l *lane) advance() bool {
	i := slices.Index(l.segs, l.cur.seg) + 1 // -1 for "before the first".
	if i >= len(l.segs) {
		return false
	}
	l.cur.close()
	l.cur = cursor{seg: l.segs[i]}
	return true
}

// read returns the record at the cursor and moves behind it. It reports false
// when there was none to return; the cursor has moved all the same.
func (c *cursor) read(damaged func()) (frame.Message, bool) {
	b, err := c.record()
	if err == nil {
		if m, n, ok := parseRecord(b); ok {
			c.off += int64(n)
			return m, true
		}
	}
	damaged()
	all, err := c.seg.bytes()
	if err != nil {
		c.off = c.seg.size
		return frame.Message{}, false
	}
	next := findRecord(all, int(c.off)+1)
	if next < 0 {
		next = int(c.seg.size)
	}
	c.off = int64(next)
	return frame.Message{}, false
}

// record returns the bytes of the record at the cursor, or as many as there
// are.
func (c *cursor) record() ([]byte, error) {
	left := c.seg.size - c.off
	if c.seg.path == "" {
		return slices.Clone(c.seg.mem[c.off:min(c.off+left, c.off+prefixSize+maxBody)]), nil
	}
	if c.f == nil {
		f, err := os.Open(c.seg.path)
		if err != nil {
			return nil, err
		}
		c.f = f
	}
	return readRecordAt(c.f, c.off, left)
}

func (c *cursor) close() {
	if c.f != nil {
		_ = c.f.Close() // opened for reading.
		c.f = nil
	}
}
