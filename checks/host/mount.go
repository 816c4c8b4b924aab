package host

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// mount is one mounted file system.
type mount struct {
	device  string // major:minor
	root    string // which directory of the file system is mounted.
	point   string
	options []string
	fstype  string
	source  string
}

// maxMounts bounds what one node looks at; the largest storage servers have
// about a hundred.
const maxMounts = 256

// mounts lists the file systems that hold data, once each, sorted by mount
// point, without those that exclude names by patterns of package path.
func (t tree) mounts(exclude []string) ([]mount, error) {
	text, err := t.text("proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
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
	// Only now: whoever leaves out a file system means it under all its names.
	maps.DeleteFunc(byDevice, func(_ string, m mount) bool { return excluded(m.point, exclude) })
	list := slices.SortedFunc(maps.Values(byDevice), func(a, b mount) int { return cmp.Compare(a.point, b.point) })
	return list[:min(len(list), maxMounts)], nil
}

// parseMount reads `id parent major:minor root point options [tag…] - type source options`.
func parseMount(line string) (mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return mount{}, false
	}
	return mount{
		device: l[2], root: unoctal(l[3]), point: unoctal(l[4]), options: strings.Split(l[5], ","),
		fstype: r[0], source: unoctal(r[1]),
	}, true
}

// counts reports whether m holds data that grows: a device or a network file
// system that can be written, mounted whole, or whatever is mounted at the
// root. Container engines mount directories of a file system again, and images
// are always full.
func (m mount) counts() bool {
	switch {
	case slices.Contains(m.options, "ro"):
		return false
	case m.point == "/":
		return true
	case m.root != "/" && m.fstype != "btrfs" && !m.network():
		return false
	}
	return strings.HasPrefix(m.source, "/dev/") || m.network()
}

func (m mount) network() bool {
	return slices.Contains([]string{"nfs", "nfs4", "cifs", "ceph", "glusterfs", "lustre"}, m.fstype)
}

// before prefers the shortest of the places where one device is mounted.
func (m mount) before(o mount) bool {
	return cmp.Or(cmp.Compare(len(m.point), len(o.point)), cmp.Compare(m.point, o.point)) < 0
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
