package run

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// groupName is the cgroup, below the agent's own, that holds a leaf for each
// running job. Agents that share a machine share it.
const groupName = "alps.jobs"

// cgroups makes leaves. The zero cgroups makes none: every machine has to do
// without them now and then, and no job fails because of it.
type cgroups struct{ base string }

// findCgroups looks for a cgroup v2 hierarchy that we may make groups in and
// that can kill a group at once (Linux 5.14).
func findCgroups() cgroups {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return cgroups{}
	}
	for _, dir := range ownGroups(string(mounts), string(own)) {
		c := cgroups{base: filepath.Join(dir, groupName)}
		if l := c.leaf("probe." + strconv.Itoa(os.Getpid())); l != nil {
			l.remove()
			return c
		}
	}
	return cgroups{}
}

// ownGroups returns where our own cgroup v2 is mounted, from mountinfo and
// /proc/self/cgroup.
func ownGroups(mounts, own string) []string {
	path := ""
	for line := range strings.Lines(own) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	if path == "" {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		root, at := unescapeMount(f[3]), unescapeMount(f[4])
		if rel, ok := strings.CutPrefix(path, root); ok {
			dirs = append(dirs, filepath.Join(at, rel))
		} else {
			dirs = append(dirs, filepath.Join(at, path))
		}
	}
	return dirs
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// leaf is the cgroup of one start of a job. A nil leaf is none: its methods
// do nothing and see nothing.
type leaf struct{ dir string }

// leaf makes a group, or returns nil where that does not work.
func (c cgroups) leaf(mark string) *leaf {
	if c.base == "" {
		return nil
	}
	l := &leaf{dir: filepath.Join(c.base, mark)}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(l.dir, "cgroup.kill")); err != nil {
		l.remove()
		return nil
	}
	return l
}

// existing returns the group that an earlier life of the agent has made, nil
// when there is none.
func (c cgroups) existing(mark string) *leaf {
	if c.base == "" {
		return nil
	}
	l := &leaf{dir: filepath.Join(c.base, mark)}
	if _, err := os.Stat(l.dir); err != nil {
		return nil
	}
	return l
}

// pids lists the processes in the group and in those that a job has made
// below it.
func (l *leaf) pids() map[int]bool {
	if l == nil {
		return nil
	}
	pids := map[int]bool{}
	_ = filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // a group that is gone holds nothing.
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil //nolint:nilerr // as above.
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids[pid] = true
			}
		}
		return nil
	})
	return pids
}

// empty reports whether the kernel says that no process is left, groups
// below included. known is false without a group.
func (l *leaf) empty() (empty, known bool) {
	if l == nil {
		return false, false
	}
	b, err := os.ReadFile(filepath.Join(l.dir, "cgroup.events"))
	if err != nil {
		return false, false
	}
	return strings.Contains(string(b), "populated 0"), true
}

// kill sends KILL to all in the group at once: no fork escapes it.
func (l *leaf) kill() {
	if l != nil {
		_ = l.write("cgroup.kill", "1") // what is left is seen by looking again.
	}
}

func (l *leaf) add(pid int) error { return l.write("cgroup.procs", strconv.Itoa(pid)) }

func (l *leaf) write(file, text string) error {
	// #nosec G302 -- the file exists; its mode is the kernel's.
	f, err := os.OpenFile(filepath.Join(l.dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// remove removes the group, those below it first, and the group above it when
// it was the last. One that still holds a process stays.
func (l *leaf) remove() {
	if l == nil {
		return
	}
	// A group stays busy for a moment after its last process.
	for range 20 {
		var dirs []string
		_ = filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		var err error
		for _, d := range slices.Backward(dirs) {
			err = syscall.Rmdir(d)
		}
		if empty, known := l.empty(); err == nil || (known && !empty) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = syscall.Rmdir(filepath.Dir(l.dir)) // fails while another job has a leaf.
}
