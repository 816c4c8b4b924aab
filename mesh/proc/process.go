package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one child of a Group. Its methods may be called from any
// goroutine, also after it ended.
type Process struct {
	name  string
	pid   int
	id    ident
	log   string
	grace time.Duration
	cmd   *exec.Cmd
	asked atomic.Bool   // somebody wanted its end.
	done  chan struct{} // closed when it was reaped and taken off the record.
	how   error         // set before done is closed.

	mu     sync.Mutex
	reaped bool // its pid may by now be somebody else's.
}

// start executes s. The caller must call wait.
func start(s Spec, grace time.Duration) (*Process, error) {
	log, err := openLog(s.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path:        s.Path,
		Args:        append([]string{s.Path}, s.Args...),
		Env:         s.Env,
		Dir:         s.Dir,
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := InNetns(s.Netns, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{
		name: s.Name, pid: cmd.Process.Pid, log: s.Log, grace: grace, cmd: cmd,
		done: make(chan struct{}),
	}
	// It is not reaped yet, so the pid is still its own; a child that has
	// ended this soon has no identity, and needs none.
	if id, err := identify(p.pid); err == nil {
		p.id = id
	}
	return p, nil
}

// wait blocks until the child ended, ends what is left of its group, and
// reaps it. Until it is reaped nobody else can get its pid, so the signal to
// the group cannot hit a stranger.
func (p *Process) wait() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	p.how = err
	p.reaped = true
}

// Name returns the name that the child was started under.
func (p *Process) Name() string { return p.name }

// PID returns the process id, which is also that of its process group.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has ended and is off the record.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended, with the last lines of its log. It returns
// nil while the child runs, and never after: also an exit status of 0 is an
// end.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	return fmt.Errorf("%s (pid %d) ended: %w; the end of %s:\n%s", p.name, p.pid, p.how, p.log, Tail(p.log, 12))
}

// Signal sends sig to the child and its whole process group. A child that has
// ended gives os.ErrProcessDone.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return os.ErrProcessDone
	}
	if err := syscall.Kill(-p.pid, sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// freezeTime is how long a thread may take to notice that it is stopped: it
// does so when it next leaves the kernel.
const freezeTime = 5 * time.Second

// Freeze stops the child and its group with SIGSTOP and returns when every
// thread of the child stands still, which the kernel does not wait for. Its
// sockets stay open and nothing answers.
func (p *Process) Freeze() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(freezeTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if frozen(p.pid) {
			return nil
		}
	}
	return fmt.Errorf("freeze %s: a thread still runs after %s", p.name, freezeTime)
}

// Thaw lets a frozen child go on. A second time does no harm.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// frozen reports whether all threads of a process stand still.
func frozen(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is good.
	for _, path := range stats {
		b, err := os.ReadFile(path)
		// The state stands behind the name, which may hold anything. A thread
		// that has just ended runs no more.
		if i := bytes.LastIndexByte(b, ')'); err == nil && (i < 0 || !bytes.HasPrefix(b[i:], []byte(") T"))) {
			return false
		}
	}
	return len(stats) > 0
}

// Kill ends the child and its group with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	p.asked.Store(true)
	_ = p.Signal(syscall.SIGKILL) // only fails if it has ended, which is what we want.
	<-p.done
}

// Stop ends the child with TERM, and with KILL when the grace of its group
// has passed. It wakes a stopped child, and waits until it is gone.
func (p *Process) Stop() {
	p.asked.Store(true)
	_ = p.Signal(syscall.SIGTERM)
	_ = p.Signal(syscall.SIGCONT)
	t := time.NewTimer(p.grace)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		p.Kill()
	}
}

// Tail returns the last lines of a file, at most n, from its last 64 KiB. A
// file that cannot be read gives the reason instead: a tail is shown to
// somebody who already looks for an error.
func Tail(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	defer f.Close()
	const most = 64 << 10
	if st, err := f.Stat(); err == nil && st.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return "(" + err.Error() + ")"
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
