package end

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"alps/mesh"
	"alps/mesh/procfs"
)

// fewShown is how many of too many matches are named.
const fewShown = 5

// minLetters is how much of a command line a pattern must hold: less fits what
// nobody thought of.
const minLetters = 3

// Pattern is a command line in which * stands for anything, and which must fit
// as a whole. Arguments are separated by one space.
type Pattern struct {
	text string
	re   *regexp.Regexp
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	letters := 0
	for _, c := range text {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			letters++
		}
	}
	if letters < minLetters || len(text) > 4096 || strings.ContainsRune(text, 0) {
		return Pattern{}, mesh.Errorf(mesh.Invalid, "%.60q is not a pattern of a command line", text).
			WithHint("the whole command line with * for what differs, such as '/usr/bin/java *.DataNode'")
	}
	parts := strings.Split(text, "*")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	re, err := regexp.Compile("(?s)^" + strings.Join(parts, ".*") + "$")
	if err != nil {
		return Pattern{}, mesh.Errorf(mesh.Invalid, "%.60q is not a pattern of a command line: %w", text, err)
	}
	return Pattern{text, re}, nil
}

// Match reports whether a command line fits.
func (p Pattern) Match(line string) bool { return p.re.MatchString(line) }

// commandLine is how a process was started, one space between its arguments.
func commandLine(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return "", err
	}
	return strings.ToValidUTF8(string(bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte(" "))), "\uFFFD"), nil
}

// userOf is the number of the user that a process runs for.
func userOf(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(rest); len(f) == 4 {
				return f[1], nil // the effective one.
			}
		}
	}
	return "", fmt.Errorf("the status of process %d names no user", pid)
}

// numberOf is the number of a user that is given by name or number.
func numberOf(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if u, err := user.Lookup(name); err == nil {
		return u.Uid, nil
	}
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return name, nil
	}
	return "", mesh.Errorf(mesh.Invalid, "there is no user %.60q on this machine", name)
}

// search is what to look for.
type search struct {
	pattern *Pattern
	uid     string // empty: any.
}

// fits reports whether a process is meant. One that has ended is not.
func (s *search) fits(p procfs.Process) bool {
	if s.uid != "" {
		if uid, err := userOf(p.PID); err != nil || uid != s.uid {
			return false
		}
	}
	if s.pattern != nil {
		if line, err := commandLine(p.PID); err != nil || line == "" || !s.pattern.Match(line) {
			return false
		}
	}
	_, runs := p.Running()
	return runs
}

// looks is how often it is looked for the one process while there are several:
// between its fork and its exec a child has the command line of its parent.
const looks = 5

// byPattern returns the one process that fits; none is no error.
func (s *search) byPattern(ctx context.Context) (procfs.Process, bool, error) {
	var fit []procfs.Process
	for range looks {
		var err error
		if fit, err = s.all(); err != nil {
			return procfs.Process{}, false, err
		}
		if len(fit) < 2 {
			break
		}
		select {
		case <-ctx.Done():
			return procfs.Process{}, false, ctx.Err()
		case <-time.After(poll):
		}
	}
	switch len(fit) {
	case 0:
		return procfs.Process{}, false, nil
	case 1:
		return fit[0], true, nil
	}
	var names []string
	for _, p := range fit[:min(len(fit), fewShown)] {
		names = append(names, p.String())
	}
	return procfs.Process{}, false, mesh.Errorf(mesh.Conflict, "%d processes fit %.100q: %s", len(fit), s.pattern.text, strings.Join(names, ", ")).
		WithHint("name more of the command line, or the pid file")
}

// all returns every process that fits.
func (s *search) all() ([]procfs.Process, error) {
	all, err := procfs.List(0)
	if err != nil {
		return nil, err
	}
	family := family(all)
	return slices.DeleteFunc(all, func(p procfs.Process) bool {
		// The caller's command line holds the pattern too.
		return p.Kernel || family[p.PID] || !s.fits(p)
	}), nil
}

// family is this process and whatever has started it.
func family(all []procfs.Process) map[int]bool {
	parent := make(map[int]int, len(all))
	for _, p := range all {
		parent[p.PID] = p.Parent
	}
	out := make(map[int]bool)
	for pid := os.Getpid(); pid > 0 && !out[pid]; pid = parent[pid] {
		out[pid] = true
	}
	return out
}

// maxPIDFile is far above what a number needs.
const maxPIDFile = 64

// clockSlack is how much the time of a start is off: it is counted in ticks
// since the boot, and the boot in seconds.
const clockSlack = 2 * time.Second

// byFile returns the process that a pid file names; none is no error.
func (s *search) byFile(path string) (procfs.Process, bool, error) {
	none := procfs.Process{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, false, nil
	}
	if err != nil {
		return none, false, mesh.Errorf(mesh.Invalid, "read the pid file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return none, false, mesh.Errorf(mesh.Invalid, "read the pid file %s: it is no regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPIDFile+1))
	if err != nil {
		return none, false, mesh.Errorf(mesh.Invalid, "read the pid file %s: %w", path, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || len(b) > maxPIDFile || pid <= 0 {
		return none, false, mesh.Errorf(mesh.Invalid, "the pid file %s holds %.20q, which is no number of a process", path, b)
	}
	p, err := procfs.Read(pid)
	if errors.Is(err, fs.ErrNotExist) || err == nil && p.Ended() {
		return none, false, nil
	}
	if err != nil {
		return none, false, err
	}
	began, err := started(p.ID)
	if err != nil {
		return none, false, err
	}
	if began.After(info.ModTime().Add(clockSlack)) {
		return none, false, mesh.Errorf(mesh.Conflict, "the pid file %s is of %s, and process %s began at %s: it is another one",
			path, info.ModTime().Format(time.DateTime), p, began.Format(time.DateTime))
	}
	if !s.fits(p) {
		return none, false, mesh.Errorf(mesh.Conflict, "process %s of the pid file %s is not of that user, or has another command line", p, path)
	}
	return p, true, nil
}

// started is when a process began, by the clock of today.
func started(id procfs.ID) (time.Time, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, fmt.Errorf("ask when the machine was booted: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				break
			}
			const ticks = 100 // USER_HZ, which is the same on every Linux.
			return time.Unix(boot, 0).Add(time.Duration(id.Start) * (time.Second / ticks)), nil
		}
	}
	return time.Time{}, errors.New("ask when the machine was booted: /proc/stat does not say")
}

// spared says why nobody ends a process; empty: nothing speaks for it.
func spared(p procfs.Process) (string, error) {
	switch {
	case p.PID == 1:
		return "it is process 1", nil
	case p.Kernel:
		return "it is a thread of the kernel", nil
	}
	all, err := procfs.List(0)
	if err != nil {
		return "", err
	}
	if family(all)[p.PID] {
		return "it is this program, or has started it", nil
	}
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("ask for this program: %w", err)
	}
	if its, err := os.Stat("/proc/" + strconv.Itoa(p.PID) + "/exe"); err == nil && os.SameFile(self, its) {
		return "it is this program as well: the agent or a server", nil
	}
	return "", nil
}
