package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ident tells a process from every other that had or will have its number.
type ident struct {
	pid   int
	start uint64 // clock ticks since boot.
}

// running returns the process as it is now, and whether it has not ended.
func (id ident) running() (process, bool) {
	p, err := readProcess(id.pid)
	return p, err == nil && p.ident == id && !p.ended()
}

// process is what we need of /proc/<pid>/stat.
type process struct {
	ident
	ppid, group, session int
	state                byte
	threads              int
	kernel               bool // a thread of the kernel.
	name                 string
}

// ended reports whether nothing runs in the process any more. A zombie whose
// other threads still run has not ended.
func (p process) ended() bool { return strings.IndexByte("ZXx", p.state) >= 0 && p.threads <= 1 }

func (p process) String() string {
	if p.state == 'D' {
		return fmt.Sprintf("%d (%s, waits for a device)", p.pid, p.name)
	}
	return fmt.Sprintf("%d (%s)", p.pid, p.name)
}

// signal sends sig to exactly this process, never to one that was given its
// number since. A process that is gone is no error.
func (p process) signal(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return
	case err != nil: // a kernel without pidfd: the number has to do.
		_ = syscall.Kill(p.pid, sig)
		return
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle.
	if now, err := readProcess(p.pid); err == nil && now.ident == p.ident {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0) // whether it works is seen by looking again.
	}
}

// processes lists all processes that were started at or after since.
func processes(since uint64) ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process.
		}
		if p, err := readProcess(pid); err == nil && p.start >= since {
			out = append(out, p) // one that is gone by now is not missed.
		}
	}
	return out, nil
}

func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	return parseStat(string(b))
}

// parseStat reads a line of /proc/<pid>/stat. The program's name is in
// parentheses and may hold spaces and parentheses itself, so the fields are
// counted from the last closing one.
func parseStat(line string) (process, error) {
	begin, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if begin < 1 || end < begin {
		return process{}, errors.New("not a line of /proc/<pid>/stat")
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return process{}, errors.New("not a line of /proc/<pid>/stat")
	}
	p := process{state: f[0][0], name: line[begin+1 : end]}
	for _, n := range []struct {
		to   *int
		text string
	}{
		{&p.pid, strings.TrimSpace(line[:begin])},
		{&p.ppid, f[1]},
		{&p.group, f[2]},
		{&p.session, f[3]},
		{&p.threads, f[17]},
	} {
		v, err := strconv.Atoi(n.text)
		if err != nil {
			return process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
		}
		*n.to = v
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	p.kernel = flags&kernelThread != 0
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
	}
	p.start = start
	return p, nil
}

// hasEnv reports whether a process was started with the environment entry. A
// process that we may not look at was not. blank says that it cannot be told
// yet: in the middle of an execve a process has neither environment nor
// arguments.
func hasEnv(p process, entry string) (has, blank bool) {
	dir := "/proc/" + strconv.Itoa(p.pid)
	b, err := os.ReadFile(dir + "/environ")
	if err != nil {
		return false, false
	}
	if len(b) > 0 {
		return slices.ContainsFunc(bytes.Split(b, []byte{0}), func(e []byte) bool { return string(e) == entry }), false
	}
	args, err := os.ReadFile(dir + "/cmdline")
	return false, err == nil && len(args) == 0 && !p.kernel && !p.ended()
}
