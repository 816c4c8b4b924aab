package checks

import (
	"fmt"
	"slices"
	"strings"

	"alps/mesh"
)

// Findings collects what a probe has found in several places. The zero Findings
// is ready.
type Findings struct {
	Samples []mesh.Sample
	list    []finding
	disks   []string
}

type finding struct {
	health mesh.Health
	text   string
}

// maxFindings is how many are told; who has more has one problem, not many.
const maxFindings = 10

// Add tells of one thing.
func (f *Findings) Add(h mesh.Health, format string, args ...any) {
	f.list = append(f.list, finding{h, fmt.Sprintf(format, args...)})
}

// Worse tells of a value that has reached one of two thresholds, the more
// serious first. Thresholds that are off are never reached.
func (f *Findings) Worse(value, warn, critical float64, format string, args ...any) {
	switch {
	case value >= critical:
		f.Add(mesh.HealthCritical, format, args...)
	case value >= warn:
		f.Add(mesh.HealthWarning, format, args...)
	}
}

// Sample keeps a number that moves.
func (f *Findings) Sample(s mesh.Sample) { f.Samples = append(f.Samples, s) }

// Disk names a disk that is broken, however often it is found. An empty name
// is nothing: nobody knows which it is.
func (f *Findings) Disk(name string) { f.disks = append(f.disks, name) }

// rank orders statuses by how much they matter. A problem that was seen
// matters more than one that may be.
func rank(h mesh.Health) int {
	return slices.Index([]mesh.Health{mesh.HealthPassing, mesh.HealthUnknown, mesh.HealthWarning, mesh.HealthCritical}, h)
}

// Result is the worst of what was found, told worst first; well is the text
// when nothing was.
func (f *Findings) Result(well string) Result {
	if len(f.list) == 0 {
		return Result{Status: mesh.HealthPassing, Output: well, Samples: f.Samples, Disks: mesh.Disks(f.disks)}
	}
	slices.SortStableFunc(f.list, func(a, b finding) int { return rank(b.health) - rank(a.health) })
	var lines []string
	for _, it := range f.list[:min(len(f.list), maxFindings)] {
		lines = append(lines, it.text)
	}
	if more := len(f.list) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return Result{Status: f.list[0].health, Output: strings.Join(lines, "\n"), Samples: f.Samples, Disks: mesh.Disks(f.disks)}
}
