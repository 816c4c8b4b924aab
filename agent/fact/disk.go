package fact

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

// maxDisks bounds what one machine can put on the link; the largest storage
// servers have about a hundred.
const maxDisks = 256

// mount is one line of mountinfo.
type mount struct {
	device string // major:minor
	root   string // which directory of the file system is mounted.
	point  string
	fstype string
	source string
}

// readDisks lists the mounted file systems that have a block device, sorted
// by mount point. Init's view is preferred to our own: systemd may have hidden
// directories from the agent.
func readDisks(t tree, f *mesh.Facts) error {
	text, err := t.first("proc/1/mountinfo", "proc/self/mountinfo")
	if err != nil {
		return err
	}
	byDevice := make(map[string]mount)
	for line := range strings.Lines(text) {
		m, ok := parseMount(line)
		if !ok || !m.counts() {
			continue
		}
		if have, ok := byDevice[m.device]; !ok || m.before(have) {
			byDevice[m.device] = m
		}
	}
	mounts := slices.SortedFunc(maps.Values(byDevice), func(a, b mount) int { return cmp.Compare(a.point, b.point) })
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
			return fmt.Errorf("size of %s: %w", m.source, err)
		}
		if len(f.Disks) == maxDisks {
			return fmt.Errorf("only the first %d of up to %d are listed", maxDisks, len(mounts))
		}
		// The kernel counts in units of 512 bytes whatever the sector size is.
		f.Disks = append(f.Disks, mesh.Disk{Device: m.source, Mount: m.point, Type: m.fstype, Size: sectors << 9})
	}
	return nil
}

// parseMount reads `id parent major:minor root point options [tag…] - type source options`.
func parseMount(line string) (mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return mount{}, false
	}
	return mount{device: l[2], root: unoctal(l[3]), point: unoctal(l[4]), fstype: r[0], source: unoctal(r[1])}, true
}

// counts reports whether m may be a disk: it names a device, and it is not a
// directory of one that is mounted again elsewhere, as container engines do
// with volumes and /etc/hosts. A btrfs is always mounted by a directory, its
// subvolume.
func (m mount) counts() bool {
	return strings.HasPrefix(m.source, "/dev/") && (m.root == "/" || m.fstype == "btrfs")
}

// before prefers the shortest of the places where one device is mounted.
func (m mount) before(o mount) bool {
	return cmp.Or(cmp.Compare(len(m.point), len(o.point)), cmp.Compare(m.point, o.point)) < 0
}

// blockDevice finds the kernel's directory for m's device and the kernel's
// name of it: by number, by the name of the source for file systems that hide
// their number (btrfs, FUSE), or by the name that the device mapper gave it.
func (t tree) blockDevice(m mount) (dir, name string, ok bool) {
	base := path.Base(m.source)
	for _, dir := range []string{"sys/dev/block/" + m.device, "sys/class/block/" + base} {
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

// unoctal undoes the \040 escapes of mountinfo.
func unoctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
