package plugin

import (
	"os"
	"time"
)

// reader takes one stream of a script: the first max bytes are kept, the rest
// is read and dropped.
type reader struct {
	pipe *os.File
	max  int
	done chan struct{} // closed at the pipe's end; kept and cut are ours again then.
	kept []byte
	cut  bool
}

// newReader returns a reader that does not read yet, and the end to write to.
func newReader(most int) (*reader, *os.File, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return &reader{pipe: from, max: most, done: make(chan struct{})}, to, nil
}

func (r *reader) run() {
	defer close(r.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := r.pipe.Read(buf)
		k := min(n, r.max-len(r.kept))
		r.kept = append(r.kept, buf[:k]...)
		if n > k {
			r.cut = true
			if len(buf) < 64<<10 {
				buf = make([]byte, 64<<10) // a pipe's worth: what is dropped is dropped fast.
			}
		}
		if err != nil {
			return
		}
	}
}

// ended waits for the pipe's end, at most until the given time.
func (r *reader) ended(until time.Time) bool {
	select {
	case <-r.done:
		return true
	default:
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-r.done:
		return true
	case <-t.C:
		return false
	}
}

// finish reads what is in the pipe by the given time, closes it, whoever holds
// the other end, and returns what was kept and whether there was more.
func (r *reader) finish(until time.Time) ([]byte, bool) {
	if err := r.pipe.SetReadDeadline(until); err != nil {
		_ = r.pipe.Close() // a pipe without deadlines: ends the reading at once.
	}
	<-r.done
	_ = r.pipe.Close() // was only read.
	return r.kept, r.cut
}
