package run

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
	"alps/mesh/procfs"
)

// The exit codes that a shell uses for a command that did not start.
const (
	codeNotRunnable = 126
	codeNotFound    = 127
)

// searchPath is the PATH of every job, the same on all nodes.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const shell = "/bin/sh"

// launchError says why a task was not started, in the words of a shell.
type launchError struct {
	code   int
	reason string
}

func (e *launchError) Error() string { return e.reason }

func cannotRun(format string, args ...any) error {
	return &launchError{code: codeNotRunnable, reason: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &launchError{code: codeNotFound, reason: fmt.Sprintf(format, args...)}
}

func failedLaunch(err error) Result {
	res := Result{State: mesh.Failed, Code: codeNotRunnable, Reason: err.Error()}
	if le, ok := errors.AsType[*launchError](err); ok {
		res.Code = le.code
	}
	return res
}

// child is a task whose first process was started.
type child struct {
	proc           *os.Process
	tree           *tree
	stdout, stderr *reader
	started        time.Time
	exited         chan struct{} // closed when the first process has ended; it is not reaped then.
	reap           chan struct{} // closed by us to have it reaped.
	status         chan syscall.WaitStatus
}

// place is where a task runs.
type place struct{ top, bin, work string }

// launch prepares everything and starts the first process.
func (r *Runner) launch(t *Task) (*child, error) {
	acct, err := r.account(t.RunAs)
	if err != nil {
		return nil, cannotRun("%v", err)
	}
	at, err := r.prepare(t, acct)
	if err != nil {
		return nil, err
	}
	env := r.environment(t, acct)
	argv, err := arguments(t, at, env)
	if err != nil {
		return nil, err
	}
	if dir := acct.barred(at.work); dir != "" {
		return nil, cannotRun("the user %q may not enter %s, which the job's directory lies in", acct.name, dir)
	}
	l := r.cgroups.leaf(t.Mark)
	c, err := r.start(&startOptions{argv: argv, env: env, at: at, acct: acct, leaf: l})
	if err != nil {
		l.remove()
		return nil, explain(err, t, argv[0], acct)
	}
	c.tree.mark, c.tree.leaf = markPrefix+t.Mark, l
	return c, nil
}

// prepare makes the directories anew and writes the script.
func (r *Runner) prepare(t *Task, acct account) (place, error) {
	top := filepath.Join(r.o.Dir, t.dirName())
	at := place{top: top, bin: filepath.Join(top, "bin"), work: filepath.Join(top, "work")}
	if err := os.RemoveAll(top); err != nil {
		return place{}, cannotRun("prepare the job's directory: %v", err)
	}
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{at.top, 0o711}, {at.bin, 0o711}, {at.work, 0o700}} {
		if err := errors.Join(os.Mkdir(d.path, d.mode), os.Chmod(d.path, d.mode)); err != nil {
			return place{}, cannotRun("prepare the job's directory: %v", err)
		}
	}
	if t.Script != nil {
		if err := writeScript(at.script(t.Name), t.Script, acct); err != nil {
			return place{}, cannotRun("prepare the script: %v", err)
		}
	}
	if err := acct.own(at.work); err != nil {
		return place{}, cannotRun("prepare the job's directory: %v", err)
	}
	return at, nil
}

// script is the path of the script's file: a plain name, whatever the job
// calls it.
func (at place) script(name string) string {
	plain := strings.Map(func(c rune) rune {
		if c < 128 && (c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z') {
			return c
		}
		return '_'
	}, filepath.Base(name))
	if strings.Trim(plain, "._") == "" {
		plain = "script"
	}
	return filepath.Join(at.bin, plain[:min(len(plain), 100)])
}

// writeScript writes the file while no process is being forked: a child that
// inherited the open file for a moment would keep it from being executed.
func writeScript(path string, body []byte, acct account) error {
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, body, 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, 0o700), acct.own(path))
}

// environment is all that a job finds: nothing of the agent's own, and the
// same on every node but for what its configuration names, so that equal work
// gives equal output.
func (r *Runner) environment(t *Task, acct account) []string {
	env := map[string]string{
		"PATH": searchPath, "LANG": "C.UTF-8", "SHELL": shell,
		"HOME": acct.home, "USER": acct.name, "LOGNAME": acct.name,
	}
	r.mu.Lock()
	maps.Copy(env, r.o.Env)
	r.mu.Unlock()
	maps.Copy(env, t.Env)
	maps.Copy(env, t.Vars)
	env[strings.TrimSuffix(markPrefix, "=")] = t.Mark
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// arguments is what to execute. A script without a first line that names its
// interpreter is a shell script, unless it is no text at all.
func arguments(t *Task, at place, env []string) ([]string, error) {
	if t.Script != nil {
		path := at.script(t.Name)
		argv := append([]string{path}, t.Args...)
		if isText(t.Script) && !bytes.HasPrefix(t.Script, []byte("#!")) {
			argv = append([]string{shell}, argv...)
		}
		return argv, nil
	}
	path, err := lookPath(t.Command[0], at.work, env)
	if err != nil {
		return nil, err
	}
	argv := append([]string{path}, t.Command[1:]...)
	return append(argv, t.Args...), nil
}

func isText(b []byte) bool { return bytes.IndexByte(b[:min(len(b), 512)], 0) < 0 }

// lookPath finds a command in the job's PATH, not in the agent's.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var path string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	found := ""
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		file := filepath.Join(d, name)
		info, err := os.Stat(file)
		switch {
		case err != nil || info.IsDir():
		case info.Mode()&0o111 != 0:
			return file, nil
		default:
			found = file
		}
	}
	if found != "" {
		return "", cannotRun("%s is not executable", found)
	}
	return "", notFound("the command %q is not in PATH (%s)", name, path)
}

// explain turns what the kernel says of an execve into a reason.
func explain(err error, t *Task, path string, acct account) error {
	what := fmt.Sprintf("%s cannot be run as %s", path, acct.name)
	switch {
	case errors.Is(err, unix.ENOENT) && t.Script != nil:
		first, _, _ := bytes.Cut(t.Script, []byte("\n"))
		if interp, ok := bytes.CutSuffix(first, []byte("\r")); ok {
			return notFound("the script's first line %q ends in a carriage return: it was saved with Windows line ends", interp)
		}
		return notFound("the interpreter in the script's first line %q does not exist", first)
	case errors.Is(err, unix.ENOENT):
		return notFound("%s does not exist", path)
	case errors.Is(err, unix.EACCES):
		return cannotRun("%s: permission denied", what)
	case errors.Is(err, unix.ENOEXEC):
		return cannotRun("%s: it is not a program for this machine", what)
	case errors.Is(err, unix.E2BIG):
		return cannotRun("%s: its arguments and environment are too long", what)
	case errors.Is(err, unix.EAGAIN):
		return cannotRun("%s: the user has as many processes as it may have", what)
	default:
		return cannotRun("%s: %v", what, err)
	}
}

type startOptions struct {
	argv, env []string
	at        place
	acct      account
	leaf      *leaf
}

// start opens the files and starts the process.
func (r *Runner) start(o *startOptions) (_ *child, err error) {
	var files []*os.File // of the child; ours are separate.
	defer func() {
		for _, f := range files {
			_ = f.Close() // the child has its own.
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	files = append(files, null)
	var readers []*reader
	defer func() {
		if err == nil {
			return
		}
		for _, f := range files[1:] {
			_ = f.Close() // the other end reads an end then.
		}
		for _, rd := range readers {
			rd.finish(time.Now())
		}
	}()
	for _, name := range []string{"stdout", "stderr"} {
		rd, w, err := r.pipe(filepath.Join(o.at.top, name))
		if err != nil {
			return nil, err
		}
		files, readers = append(files, w), append(readers, rd)
	}
	c := &child{stdout: readers[0], stderr: readers[1]}
	if err := r.exec(c, o, files); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *Runner) pipe(path string) (*reader, *os.File, error) {
	whole, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		_ = whole.Close() // nothing was written.
		return nil, nil, err
	}
	return read(from, newCapture(whole, r.o.MaxWhole, r.o.MaxOutput)), to, nil
}

// exec starts the process and begins to wait for its end.
func (r *Runner) exec(c *child, o *startOptions, files []*os.File) error {
	attr := &os.ProcAttr{Dir: o.at.work, Env: o.env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}}
	if a := o.acct; a.switched {
		attr.Sys.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	}
	var proc *os.Process
	err := errors.ErrUnsupported
	if o.leaf != nil {
		proc, err = r.startInLeaf(o, attr)
	}
	if refusesLeaf(err) {
		attr.Sys.UseCgroupFD = false
		if proc, err = r.startLimited(o.argv, attr); err == nil && o.leaf != nil {
			_ = o.leaf.add(proc.Pid) // late, and better than not at all.
		}
	}
	if err != nil {
		return err
	}
	c.started = time.Now()
	c.proc = proc
	c.tree = &tree{main: proc.Pid}
	if p, err := procfs.Read(proc.Pid); err == nil { // a zombie can be read as well.
		c.tree.since = p.Start
	}
	c.exited, c.reap, c.status = make(chan struct{}), make(chan struct{}), make(chan syscall.WaitStatus, 1)
	go c.wait()
	return nil
}

// startInLeaf has the process begin its life in the leaf.
func (r *Runner) startInLeaf(o *startOptions, attr *os.ProcAttr) (*os.Process, error) {
	dir, err := os.Open(o.leaf.dir)
	if err != nil {
		return nil, errors.ErrUnsupported
	}
	defer dir.Close()
	attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	return r.startLimited(o.argv, attr)
}

// refusesLeaf reports whether an error may come from the leaf and not from
// the program: containers forbid clone3, and some groups take no process.
func refusesLeaf(err error) bool {
	return slices.ContainsFunc(
		[]error{errors.ErrUnsupported, unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.EBUSY, unix.EOPNOTSUPP},
		func(e error) bool { return errors.Is(err, e) })
}

// startLimited starts a process with umask 022 and with limits. The umask is
// a property of the thread here, so the thread that starts the process is not
// used again. Where the kernel does not let a thread have its own, the child
// gets the agent's. The limits are set a moment after the start: no job can
// fork in less.
func (r *Runner) startLimited(argv []string, attr *os.ProcAttr) (proc *os.Process, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine.
		if unix.Unshare(unix.CLONE_FS) == nil {
			unix.Umask(0o022)
		}
		r.forking.Lock()
		defer r.forking.Unlock()
		defer lowerProcs(r.o.Limits.Procs)()
		if proc, err = os.StartProcess(argv[0], argv, attr); err == nil {
			limit(proc.Pid, unix.RLIMIT_CORE, 0)
			limit(proc.Pid, unix.RLIMIT_NOFILE, r.o.Limits.Files)
			limit(proc.Pid, unix.RLIMIT_NPROC, r.o.Limits.Procs)
		}
	}()
	<-done
	return proc, err
}

// lowerProcs lowers our own limit of processes until the function that it
// returns is called, so that a child inherits it: in a container root itself
// may lack the right to set the limits of another user's process. Root is not
// held to this limit, so it costs us nothing; nobody else needs it.
func lowerProcs(value uint64) (restore func()) {
	var was unix.Rlimit
	if os.Getuid() != 0 || unix.Getrlimit(unix.RLIMIT_NPROC, &was) != nil || was.Cur <= value {
		return func() {}
	}
	low := unix.Rlimit{Cur: value, Max: was.Max}
	_ = unix.Setrlimit(unix.RLIMIT_NPROC, &low) // the other way may still work.
	return func() { _ = unix.Setrlimit(unix.RLIMIT_NPROC, &was) }
}

// limit sets one limit, or as much of it as we may give. A process that has
// ended already needs none.
func limit(pid, resource int, value uint64) {
	want := &unix.Rlimit{Cur: value, Max: value}
	if unix.Prlimit(pid, resource, want, nil) == nil {
		return
	}
	var now unix.Rlimit
	if unix.Prlimit(pid, resource, nil, &now) == nil {
		value = min(value, now.Max)
		_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil) // it keeps what it has.
	}
}

// wait waits for the end of the first process, and reaps it when it is told
// to. It outlives the Run of a process that waits in the kernel for a device
// and cannot be killed.
func (c *child) wait() {
	for errors.Is(unix.Waitid(unix.P_PID, c.proc.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue // a signal to us is no end of it.
	}
	close(c.exited)
	<-c.reap
	state, err := c.proc.Wait()
	if err != nil {
		c.status <- syscall.WaitStatus(0x7f) // nobody else reaps our children.
		return
	}
	ws, _ := state.Sys().(syscall.WaitStatus)
	c.status <- ws
}
