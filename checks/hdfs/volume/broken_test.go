package volume

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh/procfs"
)

// disk is a file system of its own in a file, with a data directory on it.
type disk struct {
	t      *testing.T
	mount  string
	dir    string
	device string // as the kernel names it.
}

// newDisk mounts one. The sizes are the least that the programs take.
func newDisk(t *testing.T, fstype, size string, options ...string) *disk {
	t.Helper()
	needs(t, "mkfs."+fstype, "fsfreeze", "losetup") // what xfs_io is in comes with the first.
	if out, err := exec.Command("losetup", "--find").CombinedOutput(); err != nil {
		t.Skipf("this machine has no loop device to mount a file with: %v: %s", err, out)
	}
	image := filepath.Join(t.TempDir(), "image")
	d := &disk{t: t, mount: filepath.Join(t.TempDir(), "disk")}
	d.dir = filepath.Join(d.mount, "d1")
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	d.run("truncate", "--size", size, image)
	d.run("mkfs."+fstype, "-q", image)
	d.run("mount", "-o", strings.Join(append([]string{"loop"}, options...), ","), image, d.mount)
	t.Cleanup(func() { // the loop goes with the mount.
		if err := exec.Command("umount", d.mount).Run(); err != nil {
			t.Errorf("unmount %s: %v", d.mount, err)
		}
	})
	d.device = filepath.Base(strings.TrimSpace(d.run("losetup", "--noheadings", "--output", "NAME", "--associated", image)))
	if err := os.MkdirAll(filepath.Join(d.dir, "current"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// needs skips a test where only root, or a program that is not there, could run
// it; not in continuous integration, which has both.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		why = "only root mounts"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			why = err.Error()
		}
	}
	switch {
	case why != "" && os.Getenv("CI") != "":
		t.Fatal(why)
	case why != "":
		t.Skip(why)
	}
}

func (d *disk) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// tried is what is said of the disk by who has tried it. The kernel's log knows a
// device by its name, which others have had before.
func tried(t *testing.T, reports []Report) []string {
	t.Helper()
	var out []string
	for _, p := range reports[0].Problems {
		if !p.Kernel {
			out = append(out, string(p.Health)+": "+p.Text)
		}
	}
	return out
}

// freeze has whoever writes wait where no signal reaches it, until thaw. A
// program thaws it all the same when this one is killed meanwhile.
func (d *disk) freeze() (thaw func()) {
	d.t.Helper()
	guard := exec.Command("sh", "-c", `sleep 60; exec fsfreeze --unfreeze "$0"`, d.mount)
	if err := guard.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.run("fsfreeze", "--freeze", d.mount)
	thawed := false
	thaw = func() {
		if thawed {
			return
		}
		thawed = true
		if out, err := exec.Command("fsfreeze", "--unfreeze", d.mount).CombinedOutput(); err != nil {
			d.t.Errorf("thaw: %v\n%s", err, out)
		}
		_ = guard.Process.Kill()
		_ = guard.Wait() // it was killed.
	}
	d.t.Cleanup(thaw)
	return thaw
}

// TestBrokenFileSystems has real file systems fail as they do on real disks.
// What asks for permissions alone, as Hadoop does, sees none of it.
func TestBrokenFileSystems(t *testing.T) {
	for name, tc := range map[string]struct {
		fstype, size string
		options      []string
		fail         func(d *disk)
		want         []string // parts of what is said.
	}{
		"ext4 after an error": {
			"ext4", "16M",
			[]string{"errors=remount-ro"},
			func(d *disk) {
				d.run("sh", "-c", `echo 1 >"/sys/fs/ext4/$0/trigger_fs_error"`, d.device)
			},
			[]string{"critical: create a file: read-only file system", "warning: ext4 has counted errors since ", "warning: the kernel has logged ext4 errors"},
		},
		"XFS that has shut down": {
			"xfs", "300M", nil,
			func(d *disk) { d.run("xfs_io", "-x", "-c", "shutdown", d.mount) },
			[]string{"critical: ", "input/output error"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, tc.fstype, tc.size, tc.options...)
			v := prober(t, "")
			q := Query{Dirs: []string{d.dir}, Timeout: time.Minute}
			if got := tried(t, v.Look(t.Context(), q)); len(got) != 0 {
				t.Fatalf("before: %q", got)
			}
			tc.fail(d)
			got := strings.Join(look(t, v, q), "\n")
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwant %q in it", got, want)
				}
			}
			if diff := cmp.Diff([]string{d.device}, v.Disks(t.Context(), q.Dirs)); diff != "" {
				t.Errorf("disks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDiskThatHangs has a disk that nobody comes back from, KILL or not: it
// hangs, one child waits for it however often it is looked at, and other disks
// and whoever looks do not.
func TestDiskThatHangs(t *testing.T) {
	d := newDisk(t, "ext4", "16M")
	v := prober(t, "")
	thaw := d.freeze()
	q := Query{Dirs: []string{d.dir, dataDir(t)}, Timeout: 500 * time.Millisecond}
	for range 3 {
		reports := v.Look(t.Context(), q)
		if diff := cmp.Diff([]string{"critical: it hangs"}, tried(t, reports)); diff != "" {
			t.Errorf("of the disk that hangs (-want +got):\n%s", diff)
		}
		if reports[1].Failed() {
			t.Errorf("of the other: %+v", reports[1].Problems)
		}
		if n := v.Hanging(); n != 1 {
			t.Errorf("%d children wait for it, want 1", n)
		}
	}
	if got := waiting(t, d.dir); !slices.Equal(got, []byte{'D'}) {
		t.Errorf("the children are in states %q, want one that no signal ends", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	thaw()
	for v.Hanging() > 0 {
		if ctx.Err() != nil {
			t.Fatal("the child does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
	q.Timeout = time.Minute
	if got := tried(t, v.Look(t.Context(), q)); len(got) != 0 {
		t.Errorf("when it works again: %q", got)
	}
}

// waiting are the states of the children that try a directory.
func waiting(t *testing.T, dir string) []byte {
	t.Helper()
	all, err := procfs.List(0)
	if err != nil {
		t.Fatal(err)
	}
	var states []byte
	for _, p := range all {
		b, err := os.ReadFile(filepath.Join("/proc", strings.Fields(p.String())[0], "cmdline"))
		if err == nil && strings.HasSuffix(string(b), childArg+"\x00"+dir+"\x00") {
			states = append(states, p.State)
		}
	}
	return states
}
