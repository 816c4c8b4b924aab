package procfs

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Mount is one mounted file system.
type Mount struct {
	Device  string // major:minor
	Root    string // which directory of the file system is mounted.
	Point   string
	Options []string
	Type    string
	Source  string
	Super   []string // options of the file system itself, wherever it is mounted.
}

// Mounts reads a mountinfo and returns, sorted by mount point, the mounts that
// keep says yes to: of each device the one with the shortest path.
func Mounts(mountinfo string, keep func(Mount) bool) []Mount {
	byDevice := make(map[string]Mount)
	for line := range strings.Lines(mountinfo) {
		m, ok := parseMount(line)
		if !ok || !keep(m) {
			continue
		}
		if have, ok := byDevice[m.Device]; !ok || m.before(have) {
			byDevice[m.Device] = m
		}
	}
	return slices.SortedFunc(maps.Values(byDevice), func(a, b Mount) int { return cmp.Compare(a.Point, b.Point) })
}

// AllMounts reads a mountinfo and returns every mount in its order: of several
// on one point the last one is on top.
func AllMounts(mountinfo string) []Mount {
	var all []Mount
	for line := range strings.Lines(mountinfo) {
		if m, ok := parseMount(line); ok {
			all = append(all, m)
		}
	}
	return all
}

// parseMount reads `id parent major:minor root point options [tag…] - type source options`.
func parseMount(line string) (Mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return Mount{}, false
	}
	return Mount{
		Device: l[2], Root: unoctal(l[3]), Point: unoctal(l[4]), Options: strings.Split(l[5], ","),
		Type: r[0], Source: unoctal(r[1]), Super: super(r),
	}, true
}

// super is the options behind type and source, which old kernels may leave out.
func super(right []string) []string {
	if len(right) < 3 {
		return nil
	}
	return strings.Split(right[2], ",")
}

// before prefers the shortest of the places where one device is mounted.
func (m Mount) before(o Mount) bool {
	return cmp.Or(cmp.Compare(len(m.Point), len(o.Point)), cmp.Compare(m.Point, o.Point)) < 0
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
