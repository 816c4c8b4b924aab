package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/checks"
	"alps/checks/checktest"
	"alps/mesh"
	"alps/mesh/procfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gb = 1 << 30
	k  = 1000
)

// half is a file system of which half is used.
func half(string) (usage, error) {
	return usage{total: 100 * gb, used: 50 * gb, free: 50 * gb, inodes: 1000, inodesFree: 500}, nil
}

func synced() (bool, error) { return true, nil }

func well() Options {
	return Options{Root: "testdata/well", usage: half, synced: synced}
}

func TestConformance(t *testing.T) {
	pack, err := New(well())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	o := well()
	o.usage = func(string) (usage, error) { <-release; return usage{}, nil }
	slow, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(release) })
	checktest.Run(t, pack, checktest.Options{Slow: &slow, Waits: []string{"disk", "inodes"}})
}

func TestThisNode(t *testing.T) {
	pack, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := checks.NewSet([]checks.Pack{pack})
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range pack.Checks {
		r := set.Run(t.Context(), def.Probe, def.Settings)
		if r.Status == mesh.HealthUnknown {
			t.Errorf("%s cannot look at a real node: %s", def.ID, r.Output)
		}
	}
}

// outcome is what a test looks at.
type outcome struct {
	Status mesh.Health
	Output string
}

// run runs a probe over the well tree with some files changed.
func run(t *testing.T, o Options, probe string, files, settings map[string]string) (outcome, []mesh.Sample) {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/well")); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Root = root
	pack, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	set, err := checks.NewSet([]checks.Pack{pack})
	if err != nil {
		t.Fatal(err)
	}
	r := set.Run(t.Context(), "host."+probe, settings)
	return outcome{r.Status, r.Output}, r.Samples
}

func TestDisk(t *testing.T) {
	sized := func(total, free uint64) func(string) (usage, error) {
		return func(point string) (usage, error) {
			if point != "/data1" {
				return half(point)
			}
			return usage{total: total, used: total - free, free: free}, nil
		}
	}
	failing := func(err error) func(string) (usage, error) {
		return func(point string) (usage, error) {
			if point != "/data1" {
				return half(point)
			}
			return usage{}, &fs.PathError{Op: "statfs", Path: point, Err: err}
		}
	}
	for name, tc := range map[string]struct {
		usage    func(string) (usage, error)
		settings map[string]string
		want     outcome
	}{
		"well":            {half, nil, outcome{mesh.HealthPassing, "4 file systems have room"}},
		"90% of small":    {sized(100*gb, 10*gb), nil, outcome{mesh.HealthPassing, "4 file systems have room"}},
		"91% of small":    {sized(100*gb, 9*gb), nil, outcome{mesh.HealthWarning, "/data1 is more than 90% full"}},
		"96% of small":    {sized(100*gb, 4*gb), nil, outcome{mesh.HealthCritical, "/data1 is more than 95% full"}},
		"99% of large":    {sized(4000*k*k*k*k, 40*k*k*k), nil, outcome{mesh.HealthPassing, "4 file systems have room"}},
		"19 GB of large":  {sized(4000*k*k*k, 19*k*k*k), nil, outcome{mesh.HealthWarning, "/data1 has less than 20 GB left"}},
		"9 GB of large":   {sized(4000*k*k*k, 9*k*k*k), nil, outcome{mesh.HealthCritical, "/data1 has less than 10 GB left"}},
		"other threshold": {half, map[string]string{"warn": "40"}, outcome{mesh.HealthWarning, "/ is more than 40% full\n/data 2 is more than 40% full\n/data1 is more than 40% full\n/home is more than 40% full"}},
		"off":             {sized(100*gb, 0), map[string]string{"warn": "off", "critical": "off"}, outcome{mesh.HealthPassing, "4 file systems have room"}},
		"left out":        {sized(100*gb, 0), map[string]string{"exclude": "/data*, /mnt/*"}, outcome{mesh.HealthPassing, "2 file systems have room"}},
		"broken":          {failing(syscall.EIO), nil, outcome{mesh.HealthCritical, "/data1: statfs /data1: input/output error"}},
		"gone":            {failing(fs.ErrNotExist), nil, outcome{mesh.HealthPassing, "4 file systems have room"}},
		"empty":           {sized(0, 0), nil, outcome{mesh.HealthPassing, "4 file systems have room"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := well()
			o.usage = tc.usage
			got, _ := run(t, o, "disk", nil, tc.settings)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("disk (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiskSamples(t *testing.T) {
	o := well()
	_, got := run(t, o, "disk", nil, map[string]string{"exclude": "/data* /home"})
	want := []mesh.Sample{
		{Name: "used:/", Value: 50, Unit: "%", Warn: "90", Crit: "95"},
		{Name: "free:/", Value: 50 * gb, Unit: "B", Max: "107374182400"},
		{Name: "hanging"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// TestAHungMountCostsOneGoroutine: however often it is asked, and whoever asks.
func TestAHungMountCostsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, asked := make(chan struct{}), make(chan string, 100)
		a := newAsker(func(point string) (usage, error) {
			if point == "/home" {
				asked <- point
				<-release
			}
			return half(point)
		})
		d := &disk{tree: "testdata/well", asker: a}
		pack, err := New(well())
		if err != nil {
			t.Fatal(err)
		}
		defaults := pack.Checks[0].Settings
		for range 5 {
			ctx, cancel := contextFor(t, 40*time.Millisecond)
			r := d.Run(ctx, checks.NewSettings(defaults, nil))
			cancel()
			if want := (outcome{mesh.HealthCritical, "/home does not answer"}); (outcome{r.Status, r.Output}) != want {
				t.Errorf("got %s %q, want %v", r.Status, r.Output, want)
			}
			last := r.Samples[len(r.Samples)-1]
			if last.Name != "hanging" || last.Value != 1 {
				t.Errorf("got %+v, want one that hangs", last)
			}
		}
		close(release)
		// The call that was left behind answers in the end, and the next is new.
		u, err := a.one(t.Context(), "/home")
		if err != nil || u.total != 100*gb {
			t.Errorf("after the mount is back: %+v, %v", u, err)
		}
		if n := len(asked); n > 2 {
			t.Errorf("the mount was asked %d times while it hung", n)
		}
	})
}

func TestInodes(t *testing.T) {
	left := func(free uint64) func(string) (usage, error) {
		return func(string) (usage, error) { return usage{inodes: 1000, inodesFree: free}, nil }
	}
	only := map[string]string{"exclude": "/data* /home"}
	for name, tc := range map[string]struct {
		usage func(string) (usage, error)
		want  outcome
	}{
		"well":    {left(500), outcome{mesh.HealthPassing, "1 file system has room"}},
		"few":     {left(99), outcome{mesh.HealthWarning, "/ has more than 90% of its inodes in use"}},
		"none":    {left(0), outcome{mesh.HealthCritical, "/ has more than 95% of its inodes in use"}},
		"dynamic": {func(string) (usage, error) { return usage{total: gb}, nil }, outcome{mesh.HealthPassing, "1 file system has room"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := well()
			o.usage = tc.usage
			got, _ := run(t, o, "inodes", nil, only)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("inodes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProc(t *testing.T) {
	memory := func(available int) map[string]string {
		return map[string]string{"meminfo": fmt.Sprintf("MemTotal: 1000 kB\nMemAvailable: %d kB\n", available)}
	}
	zombies := make(map[string]string)
	for i := range 101 {
		zombies[fmt.Sprintf("%d/stat", 1000+i)] = "7 (z) Z 1 1"
	}
	for name, tc := range map[string]struct {
		probe string
		files map[string]string
		want  outcome
	}{
		"memory":               {"memory", memory(150), outcome{mesh.HealthPassing, "memory is available"}},
		"little memory":        {"memory", memory(149), outcome{mesh.HealthWarning, "less than 15% of memory is available"}},
		"no memory":            {"memory", memory(10), outcome{mesh.HealthCritical, "less than 5% of memory is available"}},
		"an old kernel":        {"memory", map[string]string{"meminfo": "MemFree: 5 kB\n"}, outcome{mesh.HealthUnknown, "read the memory: meminfo makes no sense"}},
		"load":                 {"load", map[string]string{"loadavg": "9 6 9 1/5 1"}, outcome{mesh.HealthPassing, "the load on 2 cores is low"}},
		"much load":            {"load", map[string]string{"loadavg": "1 6.1 1 1/5 1"}, outcome{mesh.HealthWarning, "more than 3 tasks for each of 2 cores"}},
		"no load":              {"load", map[string]string{"loadavg": "1 NaN 1 1/5 1"}, outcome{mesh.HealthUnknown, "read the load: loadavg makes no sense"}},
		"no cores":             {"load", map[string]string{"stat": "cpu 1\ncpufreq 2\n"}, outcome{mesh.HealthUnknown, "count the cores: there are none in proc/stat"}},
		"processes":            {"processes", nil, outcome{mesh.HealthPassing, "there is room for processes"}},
		"many processes":       {"processes", map[string]string{"loadavg": "1 1 1 1/27000 1"}, outcome{mesh.HealthWarning, "more than 80% of the 32768 tasks that the kernel allows"}},
		"too many":             {"processes", map[string]string{"loadavg": "1 1 1 1/32000 1"}, outcome{mesh.HealthCritical, "more than 95% of the 32768 tasks that the kernel allows"}},
		"threads are the less": {"processes", map[string]string{"sys/kernel/threads-max": "900"}, outcome{mesh.HealthWarning, "more than 80% of the 900 tasks that the kernel allows"}},
		"one limit":            {"processes", map[string]string{"sys/kernel/pid_max": ""}, outcome{mesh.HealthPassing, "there is room for processes"}},
		"zombies":              {"processes", zombies, outcome{mesh.HealthWarning, "more than 100 zombies"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := run(t, well(), tc.probe, tc.files, nil)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.probe, diff)
			}
		})
	}
}

func TestClock(t *testing.T) {
	skewed := func(d time.Duration) func() (time.Duration, bool) {
		return func() (time.Duration, bool) { return d, true }
	}
	for name, tc := range map[string]struct {
		skew   func() (time.Duration, bool)
		synced func() (bool, error)
		want   outcome
	}{
		"right":          {skewed(time.Second), synced, outcome{mesh.HealthPassing, "the clock agrees with the server's"}},
		"behind":         {skewed(-1100 * time.Millisecond), synced, outcome{mesh.HealthWarning, "the clock is more than 1s behind the server's"}},
		"far ahead":      {skewed(2 * time.Minute), synced, outcome{mesh.HealthCritical, "the clock is more than 1m0s ahead of the server's"}},
		"no server":      {func() (time.Duration, bool) { return time.Hour, false }, synced, outcome{mesh.HealthPassing, "the kernel's clock is kept right"}},
		"nobody cares":   {nil, func() (bool, error) { return false, nil }, outcome{mesh.HealthWarning, "nobody keeps the clock right, and no server is there to compare with"}},
		"nobody may ask": {nil, func() (bool, error) { return false, syscall.EPERM }, outcome{mesh.HealthUnknown, "ask the kernel for its clock: operation not permitted"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := well()
			o.Skew, o.synced = tc.skew, tc.synced
			got, _ := run(t, o, "clock", nil, nil)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("clock (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzProc(f *testing.F) {
	for _, name := range []string{"self/mountinfo", "meminfo", "loadavg", "stat", "42/stat"} {
		text, err := os.ReadFile(filepath.Join("testdata/well/proc", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		procfs.Mounts(text, counts)
		if total, available, err := parseMemory(text); err == nil && (total == 0 || available > total) {
			t.Errorf("parseMemory(%q) = %d, %d", text, total, available)
		}
		if a, err := parseLoad(text); err == nil && (a.five < 0 || a.tasks < 0) {
			t.Errorf("parseLoad(%q) = %+v", text, a)
		}
		if countCores(text) < 0 {
			t.Error("fewer cores than none")
		}
		if state := processState(text); state != 0 && strings.LastIndexByte(text, state) < 2 {
			t.Errorf("processState(%q) = %q, which is in the name", text, state)
		}
	})
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
