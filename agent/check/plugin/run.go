package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh/procfs"
)

// MaxStdout and MaxStderr are how many bytes of a script's output are kept.
const (
	MaxStdout = 32 << 10
	MaxStderr = 4 << 10
)

const (
	// drainFor is how long we read on after the script has exited, while
	// somebody holds its pipes: a tee at the end of a pipe may still write.
	drainFor = 100 * time.Millisecond
	// proofFor bounds the wait for processes to be gone after KILL. Only those
	// that wait for a device in the kernel take longer.
	proofFor = 5 * time.Second
	// defaultGrace lies between TERM and KILL.
	defaultGrace = 2 * time.Second
)

// Spec is one script to run.
type Spec struct {
	Command []string // looked up in the PATH of Env, run without a shell.
	Env     []string // the whole environment, "key=value".
	// Marks are entries of Env that tell the script's processes from all
	// others; a process belongs to it when it has all of them. None means that
	// nothing is found by its environment.
	Marks   []string
	Timeout time.Duration
	Grace   time.Duration // between TERM and KILL. Zero means 2 s.
}

// Result says how a script ended.
type Result struct {
	Stdout, Stderr []byte
	Truncated      bool   // there was more of one of them.
	Code           int    // exit code; 126 and 127 as a shell has them when Err is set.
	Signal         string // that ended it, as SIGSEGV; empty when it exited.
	Timeout        bool   // it was stopped because it took too long.
	Stopped        bool   // it was stopped because ctx ended.
	Err            error  // it was not started.
	// Left names processes that could not be stopped. Gone is closed when the
	// script's own process has ended after all; nil when it has.
	Left []string
	Gone <-chan struct{}
}

// Run runs a script and returns when nothing of it is left, or when that could
// not be reached. Cancelling ctx stops it.
func Run(ctx context.Context, s Spec) Result {
	if s.Grace == 0 {
		s.Grace = defaultGrace
	}
	c, err := start(&s)
	if err != nil {
		return *err
	}
	timer := time.NewTimer(s.Timeout)
	defer timer.Stop()
	var r Result
	select {
	case <-c.exited:
	case <-timer.C:
		r.Timeout = true
	case <-ctx.Done():
		r.Stopped = true
	}
	if c.hasExited() {
		r.Timeout, r.Stopped = false, false // it was faster than we.
		c.settle(&r)
	} else {
		r.Left = c.tree.stop(s.Grace)
	}
	c.collect(&r)
	return r
}

// child is a script that was started.
type child struct {
	proc   *os.Process
	tree   *tree
	out    *reader
	err    *reader
	exited chan struct{} // closed when the process has ended; it is not reaped then.
	reap   chan struct{} // closed by us to have it reaped.
	reaped chan struct{} // closed when it is; status is set then.
	status syscall.WaitStatus
}

// start starts the process; a Result is returned when that fails.
func start(s *Spec) (*child, *Result) {
	path, code, err := lookPath(s.Command[0], s.Env)
	if err != nil {
		return nil, &Result{Code: code, Err: err}
	}
	c, err := startAt(path, s)
	if err != nil {
		code := 126
		if errors.Is(err, unix.ENOENT) {
			code = 127
		}
		return nil, &Result{Code: code, Err: fmt.Errorf("run %s: %w", path, reason(err))}
	}
	return c, nil
}

// reason takes off what repeats the path.
func reason(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

func startAt(path string, s *Spec) (_ *child, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out, outEnd, err := newReader(MaxStdout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = outEnd.Close() }() // the child has its own.
	errs, errEnd, err := newReader(MaxStderr)
	if err != nil {
		_ = out.pipe.Close() // nothing reads it yet.
		return nil, err
	}
	defer func() { _ = errEnd.Close() }()
	argv := append([]string{path}, s.Command[1:]...)
	proc, err := os.StartProcess(path, argv, &os.ProcAttr{
		Dir: "/", Env: s.Env, Files: []*os.File{null, outEnd, errEnd},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_, _ = out.pipe.Close(), errs.pipe.Close() // as above.
		return nil, err
	}
	c := &child{
		proc: proc, out: out, err: errs, tree: &tree{main: proc.Pid, marks: s.Marks},
		exited: make(chan struct{}), reap: make(chan struct{}), reaped: make(chan struct{}),
	}
	if p, err := procfs.Read(proc.Pid); err == nil { // a zombie can be read as well.
		c.tree.since = p.Start
	}
	go out.run()
	go errs.run()
	go c.wait()
	return c, nil
}

// wait waits for the end of the process, and reaps it when it is told to. It
// outlives the Run of a process that cannot be killed.
func (c *child) wait() {
	for errors.Is(unix.Waitid(unix.P_PID, c.proc.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue // a signal to us is no end of it.
	}
	close(c.exited)
	<-c.reap
	if state, err := c.proc.Wait(); err == nil {
		c.status, _ = state.Sys().(syscall.WaitStatus)
	}
	close(c.reaped)
}

func (c *child) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// settle ends what a script that has exited has left behind. As long as it is
// not reaped its number, and so its group, cannot be a stranger's.
func (c *child) settle(r *Result) {
	until := time.Now().Add(drainFor)
	if c.out.ended(until) && c.err.ended(until) {
		_ = syscall.Kill(-c.proc.Pid, syscall.SIGKILL) // an empty group is no error.
		return
	}
	r.Left = c.tree.stop(0) // somebody holds a pipe.
}

// collect closes the pipes and reaps the process, which must come last.
func (c *child) collect(r *Result) {
	now := time.Now()
	var cutOut, cutErr bool
	r.Stdout, cutOut = c.out.finish(now)
	r.Stderr, cutErr = c.err.finish(now)
	r.Truncated = cutOut || cutErr
	close(c.reap)
	if len(r.Left) == 0 {
		<-c.exited // the tree is proven to be gone.
	}
	if !c.hasExited() {
		r.Gone = c.reaped
		return
	}
	<-c.reaped
	if c.status.Signaled() {
		r.Signal = signalName(c.status.Signal())
	} else {
		r.Code = c.status.ExitStatus()
	}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// lookPath finds a command in the PATH of env. The code is a shell's.
func lookPath(name string, env []string) (path string, code int, err error) {
	if strings.Contains(name, "/") {
		return name, 0, nil
	}
	list := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	found := false
	for _, dir := range filepath.SplitList(list) {
		file := filepath.Join("/", dir, name)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if found = true; info.Mode()&0o111 != 0 {
			return file, 0, nil
		}
	}
	if found {
		return "", 126, fmt.Errorf("run %q: it is not executable", name)
	}
	return "", 127, fmt.Errorf("run %q: it is not in PATH (%s)", name, list)
}
