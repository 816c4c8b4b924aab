package fact

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"alps/mesh"
	"alps/mesh/procfs"
)

// maxDisks bounds what one machine can put on the link; the largest storage
// servers have about a hundred.
const maxDisks = 256

// readDisks lists the mounted file systems that have a block device, sorted
// by mount point. Init's view is preferred to our own: systemd may have hidden
// directories from the agent.
func readDisks(t tree, f *mesh.Facts) error {
	text, err := t.first("proc/1/mountinfo", "proc/self/mountinfo")
	if err != nil {
		return err
	}
	mounts := procfs.Mounts(text, mayBeDisk)
	for _, m := range mounts {
		dev, name, ok := t.blockDevice(m)
		if !ok || noDisk(name) {
			continue
		}
		size, err := t.text(path.Join(dev, "size"))
		if err != nil {
			continue // unplugged since the mounts were read.
		}
		sectors, err := strconv.ParseUint(size, 10, 54)
		if err != nil {
			return fmt.Errorf("size of %s: %w", m.Source, err)
		}
		if len(f.Disks) == maxDisks {
			return fmt.Errorf("only the first %d of up to %d are listed", maxDisks, len(mounts))
		}
		// The kernel counts in units of 512 bytes whatever the sector size is.
		f.Disks = append(f.Disks, mesh.Disk{Device: m.Source, Mount: m.Point, Type: m.Type, Size: sectors << 9})
	}
	return nil
}

// mayBeDisk reports whether m may be a disk: it names a device, and it is not a
// directory of one that is mounted again elsewhere, as container engines do
// with volumes and /etc/hosts. A btrfs is always mounted by a directory, its
// subvolume.
func mayBeDisk(m procfs.Mount) bool {
	return strings.HasPrefix(m.Source, "/dev/") && (m.Root == "/" || m.Type == "btrfs")
}

// blockDevice finds the kernel's directory for m's device and the kernel's
// name of it: by number, by the name of the source for file systems that hide
// their number (btrfs, FUSE), or by the name that the device mapper gave it.
func (t tree) blockDevice(m procfs.Mount) (dir, name string, ok bool) {
	base := path.Base(m.Source)
	for _, dir := range []string{"sys/dev/block/" + m.Device, "sys/class/block/" + base} {
		if !t.exists(path.Join(dir, "size")) {
			continue
		}
		if end, err := os.Readlink(t.path(dir)); err == nil {
			return dir, path.Base(end), true
		}
		return dir, base, true
	}
	names, _ := filepath.Glob(t.path("sys/class/block/dm-*/dm/name"))
	for _, n := range names {
		b, err := os.ReadFile(n)
		if dm := path.Base(path.Dir(path.Dir(n))); err == nil && strings.TrimSpace(string(b)) == base {
			return path.Join("sys/class/block", dm), dm, true
		}
	}
	return "", "", false
}

// noDisk reports whether the kernel's name of a block device is one of memory,
// of a file or of a drawer.
func noDisk(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "sr", "fd"} {
		if n, ok := strings.CutPrefix(name, prefix); ok {
			if _, err := strconv.Atoi(n); err == nil {
				return true
			}
		}
	}
	return false
}
