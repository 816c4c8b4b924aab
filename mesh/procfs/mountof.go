package procfs

import "strings"

// MountOf returns the mount of a mountinfo on which a clean absolute path lies.
// Where several are mounted on one point it is the last, which hides the others.
func MountOf(mountinfo, path string) (Mount, bool) {
	var best Mount
	found := false
	for _, m := range AllMounts(mountinfo) {
		if m.holds(path) && (!found || len(m.Point) >= len(best.Point)) {
			best, found = m, true
		}
	}
	return best, found
}

// holds reports whether a path lies at or below the mount point.
func (m Mount) holds(path string) bool {
	return m.Point == "/" || path == m.Point || strings.HasPrefix(path, m.Point+"/")
}
