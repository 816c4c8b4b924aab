package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// errHangs says that a process has not ended yet, and cannot be made to.
var errHangs = errors.New("it hangs")

// spawner runs programs that may hang, one at a time for each key.
type spawner struct {
	mu   sync.Mutex
	runs map[string]*run
}

// run is one program; out and err may be read when done is closed.
type run struct {
	done    chan struct{}
	stop    context.CancelFunc
	givenUp bool // it was killed, and has not ended; under the spawner's lock.
	out     []byte
	err     error
}

// grace is how long a killed program has to end before it is left behind.
const grace = 500 * time.Millisecond

// output runs a program and returns what it said, or joins the one that runs
// with its key. When ctx ends the program is killed. One that does not end even
// so is left behind, and until it ends everybody who asks with its key is told
// errHangs at once.
func (s *spawner) output(ctx context.Context, key string, argv []string) ([]byte, error) {
	r := s.begin(ctx, key, argv)
	if r == nil {
		return nil, errHangs
	}
	select {
	case <-r.done:
		return r.out, r.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	r.givenUp = true
	s.mu.Unlock()
	r.stop()
	// A program that is only slow ends when it is killed; what it was slow
	// with may be a disk all the same.
	select {
	case <-r.done:
	case <-time.After(grace):
	}
	return nil, errHangs
}

// begin starts a program, or returns the one that runs with its key; nil when
// that one was given up. It belongs to nobody's context: whoever gives up says
// stop.
func (s *spawner) begin(ctx context.Context, key string, argv []string) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.runs[key]; ok {
		if r.givenUp {
			return nil
		}
		return r
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &run{done: make(chan struct{}), stop: stop}
	if s.runs == nil {
		s.runs = make(map[string]*run)
	}
	s.runs[key] = r
	go func() {
		defer stop()
		r.out, r.err = execute(own, argv)
		s.mu.Lock()
		delete(s.runs, key)
		s.mu.Unlock()
		close(r.done)
	}()
	return r
}

// hanging is how many programs run.
func (s *spawner) hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// execute returns when the program has ended, which may be never. It is the
// head of a process group, all of which is killed with it.
func execute(ctx context.Context, argv []string) ([]byte, error) {
	var out limited
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout = &out
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if err != nil && out.Len() == 0 {
		return nil, fmt.Errorf("run %s: %w", argv[0], err)
	}
	// smartctl has eight meanings for its exit code; what it said counts.
	return out.Bytes(), nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

const maxOutput = 1 << 20

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
