package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// markerRoom is what the line in the middle of cut output may take.
const markerRoom = 64

// capture takes one stream of a task: all of it to a file while there is
// room, head and tail into memory. Its memory is bounded by the limit that it
// was made with, whatever is written.
type capture struct {
	whole *os.File // nil once it is full or cannot be written.
	room  int64    // what may still go into whole.

	n                  int64 // bytes seen.
	headSize, tailSize int
	head               []byte
	tail               []byte // a ring once it has tailSize bytes.
	at                 int    // where the ring's oldest byte is.
}

func newCapture(whole *os.File, room int64, limit int) *capture {
	half := limit / 2
	return &capture{whole: whole, room: room, headSize: half, tailSize: half - markerRoom}
}

// Write takes the next bytes. It never fails: output that cannot be kept on
// disk must not stop the job that writes it.
func (c *capture) Write(p []byte) (int, error) {
	size := len(p)
	c.n += int64(size)
	c.toFile(p)
	if room := c.headSize - len(c.head); room > 0 {
		k := min(room, len(p))
		c.head = append(c.head, p[:k]...)
		p = p[k:]
	}
	if len(p) > c.tailSize {
		p = p[len(p)-c.tailSize:]
	}
	if room := c.tailSize - len(c.tail); room > 0 {
		k := min(room, len(p))
		c.tail = append(c.tail, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(c.tail[c.at:], p)
		p = p[k:]
		c.at = (c.at + k) % c.tailSize
	}
	return size, nil
}

func (c *capture) toFile(p []byte) {
	if c.whole == nil {
		return
	}
	n, err := c.whole.Write(p[:min(int64(len(p)), c.room)])
	c.room -= int64(n)
	if err != nil || c.room == 0 {
		c.close()
	}
}

func (c *capture) close() {
	if c.whole != nil {
		_ = c.whole.Close() // a copy for convenience; what counts is in memory.
		c.whole = nil
	}
}

// stream returns what is kept.
func (c *capture) stream() Stream {
	var s Stream
	s.Bytes = c.n
	if c.n == 0 {
		return s
	}
	kept := int64(len(c.head) + len(c.tail))
	s.Kept = append(s.Kept, c.head...)
	if c.n > kept {
		s.Truncated = true
		s.Kept = fmt.Appendf(s.Kept, "\n[alps: %d bytes are left out here]\n", c.n-kept)
	}
	s.Kept = append(append(s.Kept, c.tail[c.at:]...), c.tail[:c.at]...)
	sum := sha256.Sum256(s.Kept)
	s.Digest = hex.EncodeToString(sum[:])
	return s
}

// reader copies a pipe into a capture in a goroutine of its own.
type reader struct {
	pipe *os.File
	to   *capture
	done chan struct{} // closed at the pipe's end; to is ours again then.
}

func read(pipe *os.File, to *capture) *reader {
	r := &reader{pipe: pipe, to: to, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		// Hides the file's WriteTo, which would only try what pipes cannot do.
		_, _ = io.CopyBuffer(to, struct{ io.Reader }{pipe}, make([]byte, 32<<10))
	}()
	return r
}

// finish reads on until the given time at most, closes the pipe and returns
// what was kept.
func (r *reader) finish(until time.Time) Stream {
	if err := r.pipe.SetReadDeadline(until); err != nil && !errors.Is(err, os.ErrClosed) {
		_ = r.pipe.Close() // a pipe without deadlines: ends the copy at once.
	}
	<-r.done
	_ = r.pipe.Close() // was only read.
	r.to.close()
	return r.to.stream()
}
