package clean

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"alps/mesh"
)

// noon is the middle of a day, so that an hour more or less is the same day.
func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// write makes a file that was last written some days before noon.
func write(t testing.TB, path string, size int, days float64) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o600)); err != nil {
		t.Fatal(err)
	}
	age(t, path, days)
}

func age(t testing.TB, path string, days float64) {
	t.Helper()
	at := noon().Add(-time.Duration(days * 24 * float64(time.Hour)))
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func rule(dir string) Rule { return Rule{Dir: dir, Match: []string{"*.log*"}, Days: 3} }

// clean runs a rule dry and then in earnest, and fails unless both say the
// same.
func clean(t testing.TB, o Options) *Report {
	t.Helper()
	o.Now = noon()
	o.DryRun = true
	dry, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.DryRun = false
	done, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	type said struct {
		Files []File
		Left  map[Why]int
		Freed int64
	}
	if d := cmp.Diff(said{dry.Files, dry.Left, dry.Freed}, said{done.Files, done.Left, done.Freed}); d != "" {
		t.Errorf("a dry run says something else than is done (-dry +done):\n%s", d)
	}
	return done
}

func paths(r *Report) []string {
	out := []string{}
	for _, f := range r.Files {
		out = append(out, f.Path)
	}
	return out
}

// tree lists all names below a directory.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]float64 // days of age.
		rule  func(*Rule)
		want  []string
		left  map[Why]int
	}{
		"old ones": {
			files: map[string]float64{"a.log.1": 5, "b.log.2": 4, "c.log": 1, "d.txt": 9},
			want:  []string{"a.log.1", "b.log.2"}, left: map[Why]int{Young: 1},
		},
		"below too": {
			files: map[string]float64{"x/a.log": 5, "x/y/b.log": 6},
			want:  []string{"x/y/b.log", "x/a.log"}, left: map[Why]int{},
		},
		"never today's": {
			files: map[string]float64{"a.log": 0.1, "b.log": 0.49, "c.log": 0.6, "future.log": -2},
			rule:  func(r *Rule) { r.Days = 0 },
			want:  []string{"c.log"}, left: map[Why]int{Today: 3},
		},
		"the newest of each pattern": {
			files: map[string]float64{"a.log.1": 4, "a.log.2": 5, "a.log.3": 6, "gc.out": 7, "gc2.out": 8},
			rule:  func(r *Rule) { r.Match, r.Keep = []string{"a.log.*", "gc*"}, 1 },
			want:  []string{"gc2.out", "a.log.3", "a.log.2"}, left: map[Why]int{Kept: 2},
		},
		"of two patterns the kinder": {
			files: map[string]float64{"a.log.1": 4, "a.log.2": 5, "z.log": 3.5},
			rule:  func(r *Rule) { r.Match, r.Keep = []string{"*.log*", "a.*"}, 1 },
			want:  []string{"a.log.2"}, left: map[Why]int{Kept: 2},
		},
		"what is young is the newest": {
			files: map[string]float64{"a.log.1": 1, "a.log.2": 5, "a.log.3": 6},
			rule:  func(r *Rule) { r.Keep = 1 },
			want:  []string{"a.log.3", "a.log.2"}, left: map[Why]int{Young: 1},
		},
		"until enough is free": {
			files: map[string]float64{"a.log.1": 4, "a.log.2": 5, "a.log.3": 6},
			rule:  func(r *Rule) { r.Free = Free{Bytes: 8193} },
			want:  []string{"a.log.3", "a.log.2"}, left: map[Why]int{Enough: 1},
		},
		"nothing there": {files: map[string]float64{"d.txt": 9}, want: []string{}, left: map[Why]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, days := range tt.files {
				write(t, filepath.Join(dir, f), 8000, days)
			}
			r := rule(dir)
			if tt.rule != nil {
				tt.rule(&r)
			}
			before := tree(t, dir)
			got := clean(t, Options{Rule: r})
			if d := cmp.Diff(tt.want, paths(got)); d != "" {
				t.Errorf("removed (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.left, got.Left); d != "" {
				t.Errorf("left (-want +got):\n%s", d)
			}
			gone := slices.DeleteFunc(before, func(p string) bool { return slices.Contains(tree(t, dir), p) })
			if len(gone) != len(tt.want) {
				t.Errorf("gone is %q, want %q", gone, tt.want)
			}
			if again := clean(t, Options{Rule: r}); tt.rule == nil && len(again.Files) > 0 {
				t.Errorf("the second run removed %q", paths(again))
			}
		})
	}
}

// TestFreedIsWhatTheDiskGave holds what is told against the file system.
func TestFreedIsWhatTheDiskGave(t *testing.T) {
	dir := ownFileSystem(t)
	const each = 1 << 20
	for i := range 4 {
		write(t, filepath.Join(dir, fmt.Sprintf("a.log.%d", i)), each, float64(4+i))
	}
	sparse := filepath.Join(dir, "sparse.log")
	write(t, sparse, 0, 9)
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	age(t, sparse, 9)
	got := clean(t, Options{Rule: rule(dir)})
	if len(got.Files) != 5 || got.Freed != 4*each || got.After-got.Before != got.Freed {
		t.Errorf("%d files, freed %d, the file system says %d; want 5, %d", len(got.Files), got.Freed, got.After-got.Before, 4*each)
	}
	if !got.Reached {
		t.Error("no limit was not reached")
	}

	// Until half of it is free: it holds 16 MiB, 10 are taken.
	for i := range 10 {
		write(t, filepath.Join(dir, fmt.Sprintf("b.log.%d", i)), each, float64(4+i))
	}
	r := rule(dir)
	r.Free = Free{Percent: 50}
	got = clean(t, Options{Rule: r})
	if want := []string{"b.log.9", "b.log.8"}; !slices.Equal(paths(got), want) || !got.Reached || got.Left[Enough] != 8 {
		t.Errorf("removed %q, reached %v, left %v; want %q", paths(got), got.Reached, got.Left, want)
	}
	r.Free = Free{Percent: 99}
	write(t, filepath.Join(dir, "stays"), 4*each, 9)
	if got = clean(t, Options{Rule: r}); got.Reached || len(got.Files) != 8 {
		t.Errorf("%d files, reached %v; want 8 and that it was not enough", len(got.Files), got.Reached)
	}
}

// ownFileSystem is a small one that nobody else writes to.
func ownFileSystem(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("alps-test", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestOpenFilesStay(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ours.log", "theirs.log", "free.log"} {
		write(t, filepath.Join(dir, name), 1, 9)
	}
	ours, err := os.Open(filepath.Join(dir, "ours.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs := exec.CommandContext(t.Context(), "sh", "-c", `exec 3<"$1"; echo open; read -r _`, "sh", filepath.Join(dir, "theirs.log"))
	in, err := theirs.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := theirs.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	nobody := t.TempDir()
	if err := os.MkdirAll(filepath.Join(nobody, "7", "fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What a process opens after the others were looked at is seen by the kernel.
	for _, proc := range []string{"", nobody} {
		o := Options{Rule: rule(dir), Now: noon(), DryRun: true, Proc: proc}
		got, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"free.log"}; !slices.Equal(paths(got), want) || got.Left[Open] != 2 {
			t.Errorf("with %q: removed %q, left %v; want %q", proc, paths(got), got.Left, want)
		}
	}
	if got := clean(t, Options{Rule: rule(dir)}); len(got.Files) != 1 {
		t.Errorf("removed %q, want one file", paths(got))
	}
	if err := errors.Join(in.Close(), ours.Close()); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Wait() // read fails at the end of its input.
	if got := clean(t, Options{Rule: rule(dir)}); len(got.Files) != 2 {
		t.Errorf("removed %q when they were closed, want both", paths(got))
	}
}

// TestScan says that /proc alone knows of open files, and by whose path.
func TestScan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 1, 9)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	u, err := scan("/proc")
	if err != nil {
		t.Fatal(err)
	}
	i, err := look(unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(err)
	}
	if !u.have(&found{info: i}, "elsewhere") || !u.have(&found{}, path) || u.have(&found{}, "elsewhere") {
		t.Error("the open file is not known by its number and by its path")
	}
	if _, err := scan(t.TempDir()); err == nil {
		t.Error("no processes at all were believed")
	}
	secret := t.TempDir()
	if err := os.MkdirAll(filepath.Join(secret, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(secret, "7", "fd"), 1, 0)
	if u, err := scan(secret); err != nil || u.whole {
		t.Errorf("what could not be looked at is taken for nothing: %+v, %v", u, err)
	}
}

// TestOutside builds what leads out of the directory.
func TestOutside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "far", "x.log"), 1, 9)
	write(t, filepath.Join(outside, "near.log"), 1, 9)
	write(t, filepath.Join(outside, "linked.log"), 1, 9)
	write(t, filepath.Join(dir, "in", "y.log"), 1, 9)
	err := errors.Join(
		os.Symlink(filepath.Join(outside, "far"), filepath.Join(dir, "far")),
		os.Symlink(filepath.Join(outside, "far"), filepath.Join(dir, "far.log")),
		os.Symlink(filepath.Join(outside, "near.log"), filepath.Join(dir, "near.log")),
		os.Symlink("in", filepath.Join(dir, "inward.log")),
		os.Link(filepath.Join(outside, "linked.log"), filepath.Join(dir, "linked.log")),
		os.Mkdir(filepath.Join(dir, "d.log"), 0o755),
		unix.Mkfifo(filepath.Join(dir, "fifo.log"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, outside)
	got := clean(t, Options{Rule: rule(dir)})
	if want := []string{"in/y.log"}; !slices.Equal(paths(got), want) {
		t.Errorf("removed %q, want %q", paths(got), want)
	}
	if d := cmp.Diff(map[Why]int{NoFile: 4, Linked: 1}, got.Left); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, tree(t, outside)); d != "" {
		t.Errorf("outside (-before +after):\n%s", d)
	}
}

// TestMounts says that neither another file system nor another place of the
// same one is entered.
func TestMounts(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "x.log"), 1, 9)
	write(t, filepath.Join(dir, "a.log"), 1, 9)
	write(t, filepath.Join(dir, "file.log"), 1, 9)
	for _, d := range []string{"bound", "other"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for at, mount := range map[string]func(at string) error{
		"bound":    func(at string) error { return unix.Mount(outside, at, "", unix.MS_BIND, "") },
		"other":    func(at string) error { return unix.Mount("alps-test", at, "tmpfs", 0, "size=1m") },
		"file.log": func(at string) error { return unix.Mount(filepath.Join(outside, "x.log"), at, "", unix.MS_BIND, "") },
	} {
		at = filepath.Join(dir, at)
		if err := mount(at); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Error(err)
			}
		})
	}
	write(t, filepath.Join(dir, "other", "y.log"), 1, 9)
	got := clean(t, Options{Rule: rule(dir)})
	if want := []string{"a.log"}; !slices.Equal(paths(got), want) || got.Left[OtherFS] != 3 {
		t.Errorf("removed %q, left %v; want %q and three of another file system", paths(got), got.Left, want)
	}
	if _, err := os.Stat(filepath.Join(outside, "x.log")); err != nil {
		t.Error(err)
	}
}

// TestSwapped changes the tree between the walk and the removal.
func TestSwapped(t *testing.T) {
	for name, tt := range map[string]struct {
		swap func(dir, outside string) error
		want []string
	}{
		"nothing": {func(string, string) error { return nil }, []string{"d/x.log"}},
		"a link to a directory outside": {func(dir, outside string) error {
			return errors.Join(os.Rename(dir+"/d", dir+"/was"), os.Symlink(outside, dir+"/d"))
		}, []string{}},
		"another directory": {func(dir, outside string) error {
			return errors.Join(os.Rename(dir+"/d", dir+"/was"), os.Rename(outside, dir+"/d"))
		}, []string{}},
		"a link to a file outside": {func(dir, outside string) error {
			return errors.Join(os.Remove(dir+"/d/x.log"), os.Symlink(outside+"/x.log", dir+"/d/x.log"))
		}, []string{}},
		"another file": {func(dir, outside string) error { return os.Rename(outside+"/x.log", dir+"/d/x.log") }, []string{}},
		"written":      {func(dir, _ string) error { return os.WriteFile(dir+"/d/x.log", []byte("new"), 0o600) }, []string{}},
		"another name": {func(dir, outside string) error { return os.Link(dir+"/d/x.log", outside+"/y.log") }, []string{}},
		"gone":         {func(dir, _ string) error { return os.RemoveAll(dir + "/d") }, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
			write(t, dir+"/d/x.log", 1, 9)
			write(t, outside+"/x.log", 1, 9)
			o := Options{Rule: rule(dir), Now: noon()}
			fd, err := openDir(unix.AT_FDCWD, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd) //nolint:errcheck // it is only read.
			top, err := look(fd, "")
			if err != nil {
				t.Fatal(err)
			}
			w := &walk{rule: &o.Rule, top: top, left: map[Why]int{}}
			again, err := openDir(fd, ".")
			if err != nil {
				t.Fatal(err)
			}
			if err := w.descend(t.Context(), again, "", 0); err != nil || len(w.files) != 1 {
				t.Fatalf("found %+v, %v", w.files, err)
			}
			if err := tt.swap(dir, outside); err != nil {
				t.Fatal(err)
			}
			r := &remover{o: &o, fd: fd, top: &top, report: &Report{Dir: dir, Left: w.left, Files: []File{}}}
			if err := r.run(t.Context(), w.files); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, paths(r.report)); d != "" {
				t.Errorf("removed (-want +got):\n%s", d)
			}
			if left := r.report.Left[Changed]; left != 1-len(tt.want) || len(r.report.Failed) > 0 {
				t.Errorf("left %v, failed %v", r.report.Left, r.report.Failed)
			}
		})
	}
}

// TestSwappedAllTheTime has a directory be a link outward half of the time.
func TestSwappedAllTheTime(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	const names = 20
	for i := range names {
		write(t, fmt.Sprintf("%s/%d.log", outside, i), 1, 9)
	}
	if err := errors.Join(os.Mkdir(dir+"/d", 0o755), os.Symlink(outside, dir+"/l")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, dir+"/d", unix.AT_FDCWD, dir+"/l", unix.RENAME_EXCHANGE)
		}
	})
	for round := range 50 {
		for i := range names {
			// By a way that is the directory now or not; both are written to.
			path := fmt.Sprintf("%s/d/%d-%d.log", dir, round, i)
			if os.WriteFile(path, nil, 0o600) == nil {
				_ = os.Chtimes(path, noon().AddDate(0, 0, -9), noon().AddDate(0, 0, -9))
			}
		}
		if _, err := Run(t.Context(), Options{Rule: rule(dir), Now: noon()}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	swapper.Wait()
	for i := range names {
		if _, err := os.Stat(fmt.Sprintf("%s/%d.log", outside, i)); err != nil {
			t.Error(err)
		}
	}
}

func TestNotRemoved(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root removes everything, but what is marked as immutable.
		dir := t.TempDir()
		write(t, dir+"/a.log", 1, 9)
		if out, err := exec.CommandContext(t.Context(), "chattr", "+i", dir+"/a.log").CombinedOutput(); err != nil {
			t.Skipf("chattr: %v %s", err, out)
		}
		t.Cleanup(func() {
			if err := exec.CommandContext(context.WithoutCancel(t.Context()), "chattr", "-i", dir+"/a.log").Run(); err != nil {
				t.Error(err)
			}
		})
		got, err := Run(t.Context(), Options{Rule: rule(dir), Now: noon()})
		if err != nil || len(got.Failed) != 1 || len(got.Files) != 0 || got.Freed != 0 {
			t.Errorf("got %+v, %v; want one that failed", got, err)
		}
		return
	}
	dir := t.TempDir()
	write(t, dir+"/d/a.log", 1, 9)
	if err := os.Chmod(dir+"/d", 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(dir+"/d", 0o700); err != nil { // or the directory of the test stays.
			t.Error(err)
		}
	})
	got, err := Run(t.Context(), Options{Rule: rule(dir), Now: noon()})
	if err != nil || len(got.Failed) != 1 || got.Freed != 0 {
		t.Errorf("got %+v, %v; want one that failed", got, err)
	}
}

func TestBadRules(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		spoil func(*Rule)
		want  string
	}{
		"relative":          {func(r *Rule) { r.Dir = "logs" }, "not an absolute path"},
		"not there":         {func(r *Rule) { r.Dir = dir + "/none" }, "no such file"},
		"a file":            {func(r *Rule) { r.Dir = "/etc/passwd" }, "not a directory"},
		"the root":          {func(r *Rule) { r.Dir = "/" }, "nothing is removed in /"},
		"the root, hidden":  {func(r *Rule) { r.Dir = "/var/../" }, "nothing is removed in /"},
		"a system's":        {func(r *Rule) { r.Dir = "/usr/lib" }, "nothing is removed in /usr/lib"},
		"below a system's":  {func(r *Rule) { r.Dir = "/proc/self" }, "nothing is removed in /proc"},
		"everybody's":       {func(r *Rule) { r.Dir = "/var" }, "nothing is removed in /var"},
		"no pattern":        {func(r *Rule) { r.Match = nil }, "0 patterns"},
		"everything":        {func(r *Rule) { r.Match = []string{"*"} }, "any file's"},
		"everything, again": {func(r *Rule) { r.Match = []string{"*.*"} }, "any file's"},
		"any letters":       {func(r *Rule) { r.Match = []string{"[a-z]*"} }, "any file's"},
		"broken":            {func(r *Rule) { r.Match = []string{"[a"} }, "not a pattern"},
		"a path":            {func(r *Rule) { r.Match = []string{"../*.log"} }, "not a pattern of file names"},
		"days":              {func(r *Rule) { r.Days = -1 }, "-1 days"},
		"keep":              {func(r *Rule) { r.Keep = -1 }, "keep -1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rule(dir)
			tt.spoil(&r)
			_, err := Run(t.Context(), Options{Rule: r, Now: noon()})
			if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want one with %q", err, tt.want)
			}
		})
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Rule: rule(link), Now: noon()}); err == nil || !strings.Contains(err.Error(), "/etc") {
		t.Errorf("by a link: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Rule: rule(dir), Now: noon()}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestParseFree(t *testing.T) {
	for text, want := range map[string]Free{
		"": {}, "1": {Bytes: 1}, "4096B": {Bytes: 4096}, "2K": {Bytes: 2048}, "10G": {Bytes: 10 << 30}, "500MiB": {Bytes: 500 << 20},
		"1TB": {Bytes: 1 << 40}, "20%": {Percent: 20}, "0.5%": {Percent: 0.5},
	} {
		if got, err := ParseFree(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "G", "1GG", "5iB", "1e3", "0%", "100%", "NaN%", "+Inf%", "%", "9999999999T", "1.5G", " 1"} {
		if got, err := ParseFree(text); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("%q is %+v, %v; want an error", text, got, err)
		}
	}
}

func FuzzParseFree(f *testing.F) {
	for _, s := range []string{"10G", "20%", "500MiB", "0", "NaN%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFree(s)
		if err == nil && s != "" && (got == Free{} || got.Bytes < 0 || got.Percent < 0 || got.Percent >= 100) {
			t.Errorf("%q is %+v", s, got)
		}
	})
}
