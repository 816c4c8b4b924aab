package host

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"alps/mesh/procfs"
)

// maxMounts bounds what one node looks at; the largest storage servers have
// about a hundred.
const maxMounts = 256

// mounts lists the file systems that hold data, once each, sorted by mount
// point, without those that exclude names by patterns of package path.
func (t tree) mounts(exclude []string) ([]procfs.Mount, error) {
	text, err := t.text("proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	list := procfs.Mounts(text, counts)
	// Only now: whoever leaves out a file system means it under all its names.
	list = slices.DeleteFunc(list, func(m procfs.Mount) bool { return excluded(m.Point, exclude) })
	return list[:min(len(list), maxMounts)], nil
}

// counts reports whether m holds data that grows: a device or a network file
// system that can be written, mounted whole, or whatever is mounted at the
// root. Container engines mount directories of a file system again, and images
// are always full.
func counts(m procfs.Mount) bool {
	switch {
	case slices.Contains(m.Options, "ro"):
		return false
	case m.Point == "/":
		return true
	case m.Root != "/" && m.Type != "btrfs" && !network(m):
		return false
	}
	return strings.HasPrefix(m.Source, "/dev/") || network(m)
}

func network(m procfs.Mount) bool {
	return slices.Contains([]string{"nfs", "nfs4", "cifs", "ceph", "glusterfs", "lustre"}, m.Type)
}

func excluded(point string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, point)
		return err == nil && ok
	})
}

// badPattern is the first of patterns that path.Match does not understand.
func badPattern(patterns []string) string {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return p
		}
	}
	return ""
}
