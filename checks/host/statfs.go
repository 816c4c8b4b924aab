package host

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"alps/mesh/procfs"
)

// usage is what a file system says of itself. Sizes are bytes; free is what
// programs may still write, so that used and free need not make up total.
type usage struct {
	total, used, free  uint64
	inodes, inodesFree uint64
}

func statfs(path string) (usage, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return usage{}, err
	}
	size := uint64(st.Frsize)
	if size == 0 {
		size = uint64(st.Bsize)
	}
	return usage{
		total: st.Blocks * size, used: (st.Blocks - min(st.Bfree, st.Blocks)) * size, free: st.Bavail * size,
		inodes: st.Files, inodesFree: min(st.Ffree, st.Files),
	}, nil
}

// errHangs says that a file system has not answered yet.
var errHangs = errors.New("it does not answer")

// asker asks file systems how full they are. A system call that hangs in the
// kernel cannot be taken back, so each runs in a goroutine that is left behind
// when the asker has waited for long enough. There is at most one for each
// mount: until it has ended, whoever asks again waits for the same one.
type asker struct {
	usage func(path string) (usage, error)

	mu    sync.Mutex
	calls map[string]*call // by mount point.
}

// call is one system call; the answer may be read when done is closed.
type call struct {
	done  chan struct{}
	usage usage
	err   error
}

func newAsker(u func(path string) (usage, error)) *asker {
	return &asker{usage: u, calls: make(map[string]*call)}
}

// answer is what one mount has said.
type answer struct {
	procfs.Mount
	usage

	err error
}

// all asks every mount and returns the answers in their order. A mount that
// has not answered when ctx ends, or when most of its time is gone, has the
// error errHangs.
func (a *asker) all(ctx context.Context, mounts []procfs.Mount) []answer {
	ctx, cancel := context.WithTimeout(ctx, patience(ctx))
	defer cancel()
	answers := make([]answer, len(mounts))
	var wg sync.WaitGroup
	for i, m := range mounts {
		wg.Go(func() {
			u, err := a.one(ctx, m.Point)
			answers[i] = answer{m, u, err}
		})
	}
	wg.Wait()
	return answers
}

// patience leaves a probe the time to tell of what hangs.
func patience(ctx context.Context) time.Duration {
	const most = 5 * time.Second
	end, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return min(most, time.Until(end)*3/4)
}

func (a *asker) one(ctx context.Context, point string) (usage, error) {
	c := a.begin(point)
	select {
	case <-c.done:
		return c.usage, c.err
	case <-ctx.Done():
		return usage{}, errHangs
	}
}

// begin starts a call for a mount, or joins the one that is under way.
func (a *asker) begin(point string) *call {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.calls[point]; ok {
		return c
	}
	c := &call{done: make(chan struct{})}
	a.calls[point] = c
	go func() {
		c.usage, c.err = a.usage(point)
		a.mu.Lock()
		delete(a.calls, point)
		a.mu.Unlock()
		close(c.done)
	}()
	return c
}

// hanging is how many calls are under way.
func (a *asker) hanging() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}
