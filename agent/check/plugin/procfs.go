package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ident tells a process from every other that had or will have its number.
type ident struct {
	pid   int
	start uint64 // clock ticks since boot.
}

// process is what we need of /proc/<pid>/stat.
type process struct {
	ident
	ppid, group, session, threads int
	state                         byte
	name                          string
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

var errNoStat = errors.New("not a line of /proc/<pid>/stat")

// parseStat reads a line of /proc/<pid>/stat. The program's name is in
// parentheses and may hold spaces and parentheses itself, so the fields are
// counted from the last closing one.
func parseStat(line string) (process, error) {
	begin, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if begin < 1 || end < begin {
		return process{}, errNoStat
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return process{}, errNoStat
	}
	p := process{state: f[0][0], name: line[begin+1 : end]}
	texts := []string{strings.TrimSpace(line[:begin]), f[1], f[2], f[3], f[17]}
	for i, to := range []*int{&p.pid, &p.ppid, &p.group, &p.session, &p.threads} {
		n, err := strconv.Atoi(texts[i])
		if err != nil {
			return process{}, errNoStat
		}
		*to = n
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return process{}, errNoStat
	}
	p.start = start
	return p, nil
}

// hasEnv reports whether a process was started with all the entries in its
// environment. A process that we may not look at was not.
func hasEnv(pid int, entries []string) bool {
	if len(entries) == 0 {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	have := map[string]bool{}
	for e := range bytes.SplitSeq(b, []byte{0}) {
		have[string(e)] = true
	}
	for _, e := range entries {
		if !have[e] {
			return false
		}
	}
	return true
}
