package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"alps/mesh"
	"alps/mesh/procfs"
)

// The faults below break one data directory as a disk breaks, and return what
// mends it, which is Mend and may be called twice. A disk that is broken already
// is a mesh.Conflict. Close mends every disk of its cluster.

// ReadOnly makes the directory read-only, as a file system does that met an
// error. A DataNode notices when it is next asked to write there, and not
// before. It needs root.
func ReadOnly(dir string) (mend func() error, err error) {
	return mount(dir, "read-only", func(dir string) error {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	})
}

// EmptyReadOnly puts an empty read-only file system over the directory. A
// DataNode notices by itself, by its next scan. It needs root.
func EmptyReadOnly(dir string) (mend func() error, err error) {
	return mount(dir, "empty and read-only", func(dir string) error {
		return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "size=64k")
	})
}

// Fill puts a file system without any room over the directory. To HDFS that is
// no failed disk. It needs root.
func Fill(dir string) (mend func() error, err error) {
	return mount(dir, "full", func(dir string) error {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			return err
		}
		err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 1<<20), 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		return err
	})
}

// mount breaks a directory by what is mounted on it.
func mount(dir, how string, do func(dir string) error) (mend func() error, err error) {
	dir, err = whole(dir)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, mesh.Errorf(mesh.Denied, "make the disk %s %s: to mount something needs root", dir, how).
			WithHint("run it as root; only a spoilt disk can be had without")
	}
	if err := do(dir); err != nil {
		return nil, errors.Join(mesh.Errorf(mesh.Denied, "make the disk %s %s: %w", dir, how, err).
			WithHint("run it where root may mount"), Mend(dir))
	}
	return func() error { return Mend(dir) }, nil
}

const spoilt = "current.spoilt"

// SpoilCurrent puts a file where the directory of the blocks was. A DataNode
// notices by itself, by its next scan. It needs no root.
func SpoilCurrent(dir string) (mend func() error, err error) {
	dir, err = whole(dir)
	if err != nil {
		return nil, err
	}
	current := filepath.Join(dir, "current")
	if err := os.Rename(current, filepath.Join(dir, spoilt)); err != nil {
		return nil, fmt.Errorf("spoil the disk %s: %w", dir, err)
	}
	if err := os.WriteFile(current, []byte("spoilt\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("spoil the disk %s: %w", dir, err), Mend(dir))
	}
	return func() error { return Mend(dir) }, nil
}

// whole is the real path of a directory that nobody has broken.
func whole(dir string) (string, error) {
	dir, err := realPath(dir)
	if err != nil {
		return "", fmt.Errorf("break a disk: %w", err)
	}
	broken, err := Broken(dir)
	if err != nil {
		return "", err
	}
	if broken {
		return "", mesh.Errorf(mesh.Conflict, "break the disk %s: it is broken already", dir).WithHint("mend it first")
	}
	return dir, nil
}

// Broken reports whether a fault of this package is on the directory, whoever
// put it there.
func Broken(dir string) (bool, error) {
	dir, err := realPath(dir)
	if err != nil {
		return false, err
	}
	at, err := mounts(func(point string) bool { return point == dir })
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(dir, spoilt))
	return len(at) > 0 || err == nil, nil
}

// Mend undoes whatever fault is on the directory, whoever put it there. A whole
// one is left as it is, and so is one that is not there.
func Mend(dir string) error {
	dir, err := realPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unmount(func(point string) bool { return point == dir }); err != nil {
		return err
	}
	aside, current := filepath.Join(dir, spoilt), filepath.Join(dir, "current")
	if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if st, err := os.Lstat(current); err == nil && st.Mode().IsRegular() {
		if err := os.Remove(current); err != nil {
			return fmt.Errorf("mend the disk %s: %w", dir, err)
		}
	}
	if err := os.Rename(aside, current); err != nil {
		return fmt.Errorf("mend the disk %s: %w", dir, err)
	}
	return nil
}

// mounts lists the mount points that keep says yes to, the topmost first.
func mounts(keep func(point string) bool) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	var points []string
	for _, m := range procfs.AllMounts(string(b)) {
		if keep(m.Point) {
			points = append(points, m.Point)
		}
	}
	slices.Reverse(points)
	return points, nil
}

// unmount takes those mounts away. What still has files open there keeps them.
func unmount(keep func(point string) bool) error {
	points, err := mounts(keep)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range points {
		err := unix.Unmount(p, 0)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(p, unix.MNT_DETACH)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow takes away what is mounted below dir.
func unmountBelow(dir string) error {
	return unmount(func(point string) bool { return strings.HasPrefix(point, dir+"/") })
}
