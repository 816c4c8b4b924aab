package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU time that processes have used so far, threads that have
// ended included, to the nanosecond; one that is gone counts for nothing. The
// clock ticks of /proc/<pid>/stat are too coarse: 10 ms is more than one job
// costs.
func cpuOf(pids ...int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		// The kernel's number for "CPU clock of the process pid"; see
		// clock_getcpuclockid(3).
		const sched = 2
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err == nil {
			sum += time.Duration(t.Nano())
		}
	}
	return sum
}

// childrenOf is the CPU time of the children that processes have waited for,
// to 10 ms for each process.
func childrenOf(pids ...int) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux, for ever.
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ") // the name before may hold anything.
		if f := strings.Fields(rest); len(f) > 14 {
			user, _ := strconv.Atoi(f[13])
			sys, _ := strconv.Atoi(f[14])
			sum += time.Duration(user+sys) * tick
		}
	}
	return sum
}

// wakeupsOf is how often the threads of a process went to sleep, and so were
// woken, so far.
func wakeupsOf(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid)) // the pattern is well-formed.
	sum := 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended.
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(v))
				sum += n
			}
		}
	}
	return sum
}

// memory of a process in bytes: anonymous is what only it holds and can be
// reclaimed by nobody; resident counts the pages of its file as well, which
// all processes of one binary share.
type memory struct{ anonymous, resident int }

func memoryOf(pid int) (memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "Rss:":
			m.resident = kib << 10
		case "Anonymous:":
			m.anonymous = kib << 10
		}
	}
	return m, nil
}

// load is how busy the machine is with everything: the load average over one
// minute. Figures taken beside other work are worth less.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
