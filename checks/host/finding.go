package host

import (
	"fmt"
	"slices"
	"strings"

	"alps/checks"
	"alps/mesh"
)

// findings collects what a probe has found in several places.
type findings struct {
	list    []finding
	samples []mesh.Sample
}

type finding struct {
	health mesh.Health
	text   string
}

// maxFindings is how many are told; who has more has one problem, not many.
const maxFindings = 10

func (f *findings) add(h mesh.Health, format string, args ...any) {
	f.list = append(f.list, finding{h, fmt.Sprintf(format, args...)})
}

// rank orders statuses by how much they matter. A problem that was seen
// matters more than one that may be.
func rank(h mesh.Health) int {
	return slices.Index([]mesh.Health{mesh.HealthPassing, mesh.HealthUnknown, mesh.HealthWarning, mesh.HealthCritical}, h)
}

// result is the worst of what was found, told worst first; well is the text
// when nothing was.
func (f *findings) result(well string) checks.Result {
	if len(f.list) == 0 {
		return checks.Result{Status: mesh.HealthPassing, Output: well, Samples: f.samples}
	}
	slices.SortStableFunc(f.list, func(a, b finding) int { return rank(b.health) - rank(a.health) })
	var lines []string
	for _, it := range f.list[:min(len(f.list), maxFindings)] {
		lines = append(lines, it.text)
	}
	if more := len(f.list) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return checks.Result{Status: f.list[0].health, Output: strings.Join(lines, "\n"), Samples: f.samples}
}
