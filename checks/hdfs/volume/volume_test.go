package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/mesh"
)

// childArg makes this test program the child of a Prober.
const childArg = "volume-test-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childArg {
		if err := Child(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func prober(t *testing.T, root string) *Prober {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(Options{Root: root, Child: []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", exe, childArg}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// dataDir is a directory as a DataNode has it.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d1")
	if err := os.MkdirAll(filepath.Join(dir, "current"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files writes a tree of files.
func files(t *testing.T, root string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// look returns what is said of one directory, one line for each problem.
func look(t *testing.T, v *Prober, q Query) []string {
	t.Helper()
	if q.Timeout == 0 {
		q.Timeout = time.Minute
	}
	var out []string
	for _, p := range v.Look(t.Context(), q)[0].Problems {
		out = append(out, string(p.Health)+": "+p.Text)
	}
	return out
}

// mount puts a file system over a directory; without a type, the directory itself.
func mount(t *testing.T, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	if err := syscall.Mount(target, target, fstype, flags, data); err != nil {
		t.Fatalf("mount %s: %v", target, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) })
}

func TestLookAtRealDirectories(t *testing.T) {
	v := prober(t, "")
	v.smartctl = "" // this machine's disk is not what is tested.
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    []string
	}{
		"well":            {func(*testing.T, string) {}, nil},
		"missing":         {func(t *testing.T, dir string) { remove(t, dir) }, []string{"critical: the directory: no such file or directory"}},
		"without current": {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "current")) }, []string{`critical: its part "current": no such file or directory`}},
		"current is a file": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "current"))
			files(t, dir, map[string]string{"current": ""})
		}, []string{`critical: its part "current": it is not a directory`}},
		"mounted read-only": {func(t *testing.T, dir string) {
			mount(t, dir, "", syscall.MS_BIND, "")
			mount(t, dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}, []string{"critical: create a file: read-only file system", "critical: it is mounted read-only"}},
		"a read-only file system over it": {func(t *testing.T, dir string) {
			mount(t, dir, "tmpfs", syscall.MS_RDONLY, "size=64k")
		}, []string{`critical: its part "current": no such file or directory`, "critical: its file system is read-only"}},
		"full": {func(t *testing.T, dir string) {
			mount(t, dir, "tmpfs", 0, "size=64k")
			files(t, dir, map[string]string{"current/x": ""})
			_ = os.WriteFile(filepath.Join(dir, "current", "filler"), make([]byte, 1<<20), 0o600) // as much as there is room.
		}, []string{"warning: it is full"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dataDir(t)
			tc.prepare(t, dir)
			got := look(t, v, Query{Dirs: []string{dir}})
			var want []string
			for _, p := range tc.want {
				if !strings.HasSuffix(p, "it is mounted read-only") || !contains(got, "its file system is read-only") {
					want = append(want, p)
				}
			}
			// The machine's own log may speak of its own disk.
			got = without(got, "logged", "ext4 has")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			left, _ := filepath.Glob(filepath.Join(dir, leftover+"*"))
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func contains(list []string, part string) bool { return len(without(list, part)) < len(list) }

// without leaves out the lines that have one of the parts.
func without(list []string, parts ...string) []string {
	var out []string
	for _, l := range list {
		keep := true
		for _, p := range parts {
			keep = keep && !strings.Contains(l, p)
		}
		if keep {
			out = append(out, l)
		}
	}
	return out
}

// world is a machine on which the directory lies on sdb1.
func world(t *testing.T, dir, options, super string, more map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files(t, root, map[string]string{
		"proc/self/mountinfo":              fmt.Sprintf("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:17 / %s %s - ext4 /dev/sdb1 %s\n", dir, options, super),
		"proc/uptime":                      "10000.00 1.00\n",
		"devices/block/sdb/sdb1/partition": "1\n",
	})
	if err := os.MkdirAll(filepath.Join(root, "sys/dev/block"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../devices/block/sdb/sdb1", filepath.Join(root, "sys/dev/block/8:17")); err != nil {
		t.Fatal(err)
	}
	files(t, root, more)
	return root
}

func TestLookAtTheKernel(t *testing.T) {
	const old, now = 1_000_000, 9_000_000_000 // microseconds since boot.
	kmsg := func(at int64, text string) map[string]string {
		return map[string]string{"dev/kmsg": fmt.Sprintf("4,1,%d,-;%s\n SUBSYSTEM=block\n", at, text)}
	}
	for name, tc := range map[string]struct {
		options, super string
		more           map[string]string
		query          Query
		want           []string
	}{
		"well":           {"rw", "rw", nil, Query{}, nil},
		"emergency_ro":   {"rw", "rw,emergency_ro", nil, Query{}, []string{"critical: its file system has gone read-only after an error"}},
		"shut down":      {"rw", "rw,shutdown", nil, Query{}, []string{"critical: its file system has shut down"}},
		"read-only":      {"ro", "ro", nil, Query{}, []string{"critical: its file system is read-only"}},
		"a mount alone":  {"ro", "rw", nil, Query{}, []string{"critical: it is mounted read-only"}},
		"errors=ro":      {"rw", "rw,errors=remount-ro", nil, Query{}, nil},
		"ext4 errors":    {"rw", "rw", map[string]string{"sys/fs/ext4/sdb1/errors_count": "3\n", "sys/fs/ext4/sdb1/first_error_time": "1700000000\n"}, Query{}, []string{"warning: ext4 has counted errors since 2023-11-14 22:13:20"}},
		"no ext4 errors": {"rw", "rw", map[string]string{"sys/fs/ext4/sdb1/errors_count": "0\n"}, Query{}, nil},
		"I/O errors":     {"rw", "rw", kmsg(now, "blk_update_request: I/O error, dev sdb, sector 5"), Query{}, []string{"warning: the kernel has logged I/O errors"}},
		"buffer errors":  {"rw", "rw", kmsg(now, "Buffer I/O error on dev sdb1, logical block 1"), Query{}, []string{"warning: the kernel has logged I/O errors"}},
		"ext4's message": {"rw", "rw", kmsg(now, "EXT4-fs error (device sdb1): ext4_find_entry:1455"), Query{}, []string{"warning: the kernel has logged ext4 errors"}},
		"XFS's message":  {"rw", "rw", kmsg(now, "XFS (sdb1): Filesystem has been shut down due to log error"), Query{}, []string{"warning: the kernel has logged XFS errors"}},
		"as of late":     {"rw", "rw", kmsg(now, "I/O error, dev sdb, sector 5 op 0x0:(READ)"), Query{}, []string{"warning: the kernel has logged I/O errors"}},
		"of long ago":    {"rw", "rw", kmsg(old, "I/O error, dev sdb, sector 5"), Query{}, nil},
		"another disk's": {"rw", "rw", kmsg(now, "blk: I/O error, dev sdc, sector 5"), Query{}, nil},
		"a longer name":  {"rw", "rw", kmsg(now, "blk: I/O error, dev sdb12, sector 5"), Query{}, nil},
		"of no meaning":  {"rw", "rw", kmsg(now, "EXT4-fs (sdb1): mounted filesystem"), Query{}, nil},
		"its own disk":   {"rw", "rw", nil, Query{Own: true}, nil},
		"the right disk": {"rw", "rw", nil, Query{Sources: map[string]string{"": "/dev/sdb1"}}, nil},
		"another disk":   {"rw", "rw", nil, Query{Sources: map[string]string{"": "/dev/sdc1"}}, []string{"critical: it is on /dev/sdb1, not on /dev/sdc1: its disk is not mounted"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dataDir(t)
			q := tc.query
			q.Dirs = []string{dir}
			if want, ok := q.Sources[""]; ok {
				q.Sources = map[string]string{dir: want}
			}
			got := look(t, prober(t, world(t, dir, tc.options, tc.super, tc.more)), q)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADirectoryOfTheRoot(t *testing.T) {
	dir := dataDir(t)
	root := world(t, "/elsewhere", "rw", "rw", nil)
	if got := look(t, prober(t, root), Query{Dirs: []string{dir}, Own: true}); len(got) != 1 || !strings.Contains(got[0], "on the file system of /") {
		t.Errorf("got %v", got)
	}
	if got := look(t, prober(t, root), Query{Dirs: []string{dir}}); got != nil {
		t.Errorf("it is nobody's business by default: %v", got)
	}
}

// TestAChildThatHangs: a directory that does not answer is told as hanging, and
// nothing more is started for it until the child has ended.
func TestAChildThatHangs(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	release := filepath.Join(dir, "release")
	script := fmt.Sprintf(`echo x >> %q; until [ -e %q ]; do sleep 0.01; done`, started, release)
	v, err := New(Options{Root: t.TempDir(), Child: []string{"/bin/sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	// As if the kill did not help: the run was given up, and goes on.
	r := v.spawn.begin(t.Context(), dir, v.child)
	v.spawn.mu.Lock()
	r.givenUp = true
	v.spawn.mu.Unlock()
	for range 3 {
		if got := look(t, v, Query{Dirs: []string{dir}}); len(got) == 0 || got[0] != "critical: it hangs" {
			t.Fatalf("got %v", got)
		}
	}
	if v.Hanging() != 1 {
		t.Errorf("%d children run, want 1", v.Hanging())
	}
	files(t, dir, map[string]string{"release": ""})
	<-r.done
	if b, _ := os.ReadFile(started); string(b) != "x\n" {
		t.Errorf("children were started: %q, want one", b)
	}
	if got := look(t, v, Query{Dirs: []string{dir}}); contains(got, "it hangs") {
		t.Errorf("it hangs no more, got %v", got)
	}
}

func TestASlowChildIsKilled(t *testing.T) {
	v, err := New(Options{Root: t.TempDir(), Child: []string{"/bin/sh", "-c", "sleep 300"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if got := look(t, v, Query{Dirs: []string{dir}, Timeout: 50 * time.Millisecond}); len(got) == 0 || got[0] != "critical: it hangs" {
		t.Errorf("got %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := v.Look(ctx, Query{Dirs: []string{dir}, Timeout: time.Minute})[0]
	if r.Failed() || len(r.Problems) == 0 || r.Problems[0].Health != mesh.HealthUnknown {
		t.Errorf("an ended context says of the disk: %+v", r.Problems)
	}
}

// TestDisksOfThisMachine breaks directories by real mounts: whether a directory
// is tried, or only asked for, its disk has the same name.
func TestDisksOfThisMachine(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string) string // returns the directory that is asked for.
		point   bool                                  // its name is the mount point.
	}{
		"plain": {func(_ *testing.T, dir string) string { return dir }, false},
		"bound": {func(t *testing.T, dir string) string {
			mount(t, dir, "", syscall.MS_BIND, "")
			return dir
		}, false},
		"in memory": {func(t *testing.T, dir string) string {
			mount(t, dir, "tmpfs", 0, "size=64k")
			return dir
		}, true},
		"a link": {func(t *testing.T, dir string) string {
			mount(t, dir, "tmpfs", 0, "size=64k")
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			return link
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := prober(t, "")
			v.smartctl = ""
			point := dataDir(t)
			dir := tc.prepare(t, point)
			remove(t, filepath.Join(dir, "current"))
			tried := v.Look(t.Context(), Query{Dirs: []string{dir}, Timeout: time.Minute})[0]
			asked := v.Disks(t.Context(), []string{dir})[0]
			if !tried.Failed() || tried.Disk != asked || asked == "" || tc.point && asked != point {
				t.Errorf("tried it is %q, asked for it is %q: %+v", tried.Disk, asked, tried.Problems)
			}
		})
	}
}

// TestDiskOfWhatHangs: a path that nobody can follow is named where its mount
// is its own, and not where it could be a link.
func TestDiskOfWhatHangs(t *testing.T) {
	dir := dataDir(t)
	for name, tc := range map[string]struct{ dir, want string }{
		"a mount of its own": {dir, "sdb1"},
		"below /":            {"/elsewhere", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := prober(t, world(t, dir, "rw", "rw", nil))
			v.spawn.runs = map[string]*run{"readlink " + tc.dir: {givenUp: true}}
			if got := v.Disks(t.Context(), []string{tc.dir})[0]; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAChildThatSaysNothing(t *testing.T) {
	for name, argv := range map[string][]string{
		"no such program": {"/no/such/program"},
		"fails":           {"/bin/false"},
		"no JSON":         {"/bin/echo", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := New(Options{Root: t.TempDir(), Child: argv})
			if err != nil {
				t.Fatal(err)
			}
			if got := look(t, v, Query{Dirs: []string{t.TempDir()}}); len(got) == 0 || !strings.HasPrefix(got[0], "unknown: it could not be tried") {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSweepRemovesOnlyWhatIsOld(t *testing.T) {
	dir := dataDir(t)
	files(t, dir, map[string]string{leftover + "old": "", leftover + "new": "", "other": ""})
	long := time.Now().Add(-2 * staleAge)
	for _, name := range []string{leftover + "old", "other"} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{leftover + "new", "current", "other"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestParseSmart(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want health
	}{
		"well":    {`{"smart_status": {"passed": true}, "ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 0}}, {"id": 9, "raw": {"value": 7}}]}}`, health{}},
		"failing": {`{"smart_status": {"passed": false}}`, health{Failing: true}},
		"counts":  {`{"ata_smart_attributes": {"table": [{"id": 197, "raw": {"value": 8}}, {"id": 5, "raw": {"value": 1}}]}}`, health{Counts: []string{"pending sectors", "reallocated sectors"}}},
		"NVMe":    {`{"nvme_smart_health_information_log": {"critical_warning": 4, "media_errors": 1}}`, health{Failing: true, Counts: []string{"media errors"}}},
		"virtual": {`{"smartctl": {"exit_status": 2}}`, health{}},
		"nothing": {``, health{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseSmart([]byte(tc.text))); diff != "" {
				t.Errorf("parseSmart (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSmartIsAskedOnceAnHour counts how often a disk is asked.
func TestSmartIsAskedOnceAnHour(t *testing.T) {
	dir := dataDir(t)
	tool := filepath.Join(t.TempDir(), "smartctl")
	asked := tool + ".asked"
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s\necho '{\"smart_status\": {\"passed\": false}}'\nexit 8\n", asked)
	if err := os.WriteFile(tool, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	v := prober(t, world(t, dir, "rw", "rw", nil))
	v.smartctl = tool
	for range 3 {
		if got := look(t, v, Query{Dirs: []string{dir}}); len(got) != 1 || got[0] != "critical: SMART says that the disk fails" {
			t.Errorf("got %v", got)
		}
	}
	if b, _ := os.ReadFile(asked); string(b) != "--json --health --attributes /dev/sdb\n" {
		t.Errorf("it was asked: %q", b)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("6,339,5140900,-;NET: Registered protocol family 10")
	f.Add(" SUBSYSTEM=pci")
	f.Add("4,1,99999999999999999999,-;EXT4-fs error (device sdb1)")
	f.Fuzz(func(t *testing.T, line string) {
		r, ok := parseRecord(line)
		if ok && r.since < 0 {
			t.Errorf("%q was %v after the boot", line, r.since)
		}
		complaints([]record{r}, device{Name: "sdb1", Disk: "sdb"})
		if _, err := parseReport([]byte(line)); err == nil && !strings.Contains(line, "{") && strings.TrimSpace(line) != "null" {
			t.Errorf("%q is a report", line)
		}
		parseSmart([]byte(line))
	})
}
