package procfs

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

// ID tells a process from every other that had or will have its number.
type ID struct {
	PID   int
	Start uint64 // clock ticks since boot.
}

// Running returns the process as it is now, and whether it has not ended.
func (id ID) Running() (Process, bool) {
	p, err := Read(id.PID)
	return p, err == nil && p.ID == id && !p.Ended()
}

// Process is what /proc/<pid>/stat says of one process at one moment.
type Process struct {
	ID

	Parent, Group, Session int
	State                  byte
	Threads                int
	Kernel                 bool // a thread of the kernel.
	Name                   string
}

// Ended reports whether nothing runs in the process any more. A zombie whose
// other threads still run has not ended.
func (p Process) Ended() bool { return strings.IndexByte("ZXx", p.State) >= 0 && p.Threads <= 1 }

// String is the number and the name, as an operator is told of it.
func (p Process) String() string {
	if p.State == 'D' {
		return fmt.Sprintf("%d (%s, waits for a device)", p.PID, p.Name)
	}
	return fmt.Sprintf("%d (%s)", p.PID, p.Name)
}

// Signal sends sig to exactly this process, never to one that was given its
// number since. A process that is gone is no error.
func (p Process) Signal(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return
	case err != nil: // a kernel without pidfd: the number has to do.
		_ = syscall.Kill(p.PID, sig)
		return
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle.
	if now, err := Read(p.PID); err == nil && now.ID == p.ID {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0) // whether it works is seen by looking again.
	}
}

// List returns all processes that were started at or after since.
func List(since uint64) ([]Process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process.
		}
		if p, err := Read(pid); err == nil && p.Start >= since {
			out = append(out, p) // one that is gone by now is not missed.
		}
	}
	return out, nil
}

// Read returns the process that has a number now, also one that has ended and
// was not reaped.
func Read(pid int) (Process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	return Parse(string(b))
}

// Parse reads a line of /proc/<pid>/stat. The program's name is in
// parentheses and may hold spaces and parentheses itself, so the fields are
// counted from the last closing one.
func Parse(line string) (Process, error) {
	begin, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if begin < 1 || end < begin {
		return Process{}, errors.New("not a line of /proc/<pid>/stat")
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return Process{}, errors.New("not a line of /proc/<pid>/stat")
	}
	p := Process{State: f[0][0], Name: line[begin+1 : end]}
	for _, n := range []struct {
		to   *int
		text string
	}{
		{&p.PID, strings.TrimSpace(line[:begin])},
		{&p.Parent, f[1]},
		{&p.Group, f[2]},
		{&p.Session, f[3]},
		{&p.Threads, f[17]},
	} {
		v, err := strconv.Atoi(n.text)
		if err != nil {
			return Process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
		}
		*n.to = v
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	p.Kernel = flags&kernelThread != 0
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("line of /proc/<pid>/stat: %w", err)
	}
	p.Start = start
	return p, nil
}

// HasEnv reports whether a process was started with all of the entries in its
// environment; one that we may not look at was not, and no entries are none.
// blank says that it cannot be told yet: in the middle of an execve a process
// has neither environment nor arguments.
func (p Process) HasEnv(entries ...string) (has, blank bool) {
	if len(entries) == 0 {
		return false, false
	}
	dir := "/proc/" + strconv.Itoa(p.PID)
	b, err := os.ReadFile(dir + "/environ")
	if err != nil {
		return false, false
	}
	if len(b) == 0 {
		args, err := os.ReadFile(dir + "/cmdline")
		return false, err == nil && len(args) == 0 && !p.Kernel && !p.Ended()
	}
	have := bytes.Split(b, []byte{0})
	for _, entry := range entries {
		if !slices.ContainsFunc(have, func(e []byte) bool { return string(e) == entry }) {
			return false, false
		}
	}
	return true, false
}
