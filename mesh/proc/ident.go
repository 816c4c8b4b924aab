package proc

import (
	"fmt"
	"os"
	"strings"

	"alps/mesh/procfs"
)

// ident tells one process from every other that had or will have its number.
type ident struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, as in /proc/<pid>/stat.
	Exe   string `json:"exe"`
}

// identify reads who has the given pid now. It fails for a zombie, which has
// no executable any more.
func identify(pid int) (ident, error) {
	p, err := procfs.Read(pid)
	if err != nil {
		return ident{}, err
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ident{}, fmt.Errorf("read the executable of pid %d: %w", pid, err)
	}
	return ident{PID: pid, Start: p.Start, Exe: withoutDeleted(exe)}, nil
}

// runs reports whether the process of this pid and start time has not ended.
// A zombie has.
func (id ident) runs() bool {
	if id.PID <= 1 {
		return false
	}
	_, runs := procfs.ID{PID: id.PID, Start: id.Start}.Running()
	return runs
}

// matches reports whether the process that id describes runs, executable
// included. It is the question to ask before a signal. Afterwards ask runs: a
// process loses its executable some time before it ends. A process that we
// may not look at is not one of ours.
func (id ident) matches() bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
	return err == nil && withoutDeleted(exe) == id.Exe && id.runs()
}

// withoutDeleted undoes the mark that the kernel puts on an executable whose
// file was replaced, as every build does.
func withoutDeleted(exe string) string { return strings.TrimSuffix(exe, " (deleted)") }
