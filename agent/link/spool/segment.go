package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"alps/mesh/frame"
)

// segment is one stretch of a lane: a file, or, when the disk refused, memory.
type segment struct {
	boot        frame.BootID
	path        string // empty: in memory.
	mem         []byte
	size        int64
	first, last uint64 // numbers of the records; zero while there is none.
	count       int
}

// file is what a segment is written to.
type file interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// createFile makes a new segment file and makes sure that it is still there
// after a crash.
func createFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func segmentName(boot frame.BootID, index uint32, lane string) string {
	return fmt.Sprintf("%s-%08x-%s.seg", boot, index, lane)
}

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (boot frame.BootID, lane string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, ".seg"), "-")
	if len(parts) != 3 {
		return "", "", false
	}
	boot, err := frame.ParseBootID(parts[0])
	index, err2 := strconv.ParseUint(parts[1], 16, 32)
	if err != nil || err2 != nil || segmentName(boot, uint32(index), parts[2]) != name {
		return "", "", false
	}
	return boot, parts[2], true
}

// loadSegment reads a file that an earlier run left and cuts a torn tail off.
// It returns nil for one without any record, which it deletes.
func loadSegment(path string, boot frame.BootID) (s *segment, damaged int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	s = &segment{boot: boot, path: path}
	end, damaged := scan(b, s.note)
	if s.count == 0 {
		return nil, damaged, os.Remove(path)
	}
	s.size = int64(end)
	if end < len(b) {
		err = os.Truncate(path, s.size)
	}
	return s, damaged, err
}

// note counts a record in.
func (s *segment) note(m frame.Message) {
	if s.count == 0 {
		s.first = m.Seq
	}
	s.last = m.Seq
	s.count++
}

// bytes returns everything that the segment holds.
func (s *segment) bytes() ([]byte, error) {
	if s.path == "" {
		return s.mem, nil
	}
	b, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	return b[:min(int64(len(b)), s.size)], nil
}

// waiting returns about how many records come after the number acked.
func (s *segment) waiting(acked uint64) int {
	switch {
	case s.last <= acked:
		return 0
	case s.first > acked:
		return s.count
	default:
		return min(s.count, int(s.last-acked)) // a segment holds far fewer than 2^31 records.
	}
}

// remove deletes what is on the disk.
func (s *segment) remove() {
	s.mem = nil
	if s.path != "" {
		_ = os.Remove(s.path) // if it stays, its records come again: harmless.
	}
}
