package mesh

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxDisks is how many broken disks a check names. Who has more has one
	// problem, not many.
	MaxDisks = 16
	// maxDiskName is in bytes: a mount point may be long.
	maxDiskName = 256
)

// Disks brings names of disks into the form that a CheckResult has: sorted,
// each once, at most MaxDisks. What can be no name is left out. It returns nil
// when nothing is left, and does not change what it was given.
func Disks(names []string) []string {
	var out []string
	for _, n := range names {
		if n != "" && len(n) <= maxDiskName && utf8.ValidString(n) && !strings.ContainsFunc(n, unprintable) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.Clip(out[:min(len(out), MaxDisks)])
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
