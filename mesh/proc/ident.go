package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	st, err := readStat(pid)
	if err != nil {
		return ident{}, err
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ident{}, fmt.Errorf("read the executable of pid %d: %w", pid, err)
	}
	return ident{PID: pid, Start: st.start, Exe: withoutDeleted(exe)}, nil
}

// runs reports whether the process of this pid and start time has not ended.
// A zombie has.
func (id ident) runs() bool {
	if id.PID <= 1 {
		return false
	}
	st, err := readStat(id.PID)
	return err == nil && st.start == id.Start && !st.ended()
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

// stat is what we need of /proc/<pid>/stat.
type stat struct {
	state byte
	start uint64
}

func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read the state of pid %d: %w", pid, err)
	}
	st, err := parseStat(string(b))
	if err != nil {
		return stat{}, fmt.Errorf("read the state of pid %d: %w", pid, err)
	}
	return st, nil
}

// parseStat reads the third and the twenty-second field. The second is the
// program's name in parentheses and may itself hold spaces and parentheses,
// so the fields are counted from the last closing one.
func parseStat(line string) (stat, error) {
	_, rest, found := cutLast(line, ")")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, errors.New("not a line of /proc/<pid>/stat")
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time: %w", err)
	}
	return stat{state: fields[0][0], start: start}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
