package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"alps/checks"
	"alps/mesh"
)

// memory looks at what programs can still get without swapping.
type memory struct{ tree tree }

func (m memory) Run(_ context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Percent("warn"), s.Percent("critical")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	text, err := m.tree.text("proc/meminfo")
	if err != nil {
		return checks.Unknown("read the memory: %v", err)
	}
	total, available, err := parseMemory(text)
	if err != nil {
		return checks.Unknown("read the memory: %v", err)
	}
	share := 100 * float64(available) / float64(total)
	f := checks.Findings{Samples: []mesh.Sample{
		{Name: "available", Value: share, Unit: "%", Warn: below(warn), Crit: below(critical)},
		{Name: "available_bytes", Value: float64(available), Unit: "B", Max: checks.Bound(float64(total))},
	}}
	switch {
	case share < critical:
		f.Add(mesh.HealthCritical, "less than %s%% of memory is available", checks.Bound(critical))
	case share < warn:
		f.Add(mesh.HealthWarning, "less than %s%% of memory is available", checks.Bound(warn))
	}
	return f.Result("memory is available")
}

// parseMemory reads meminfo. Sizes are bytes.
func parseMemory(text string) (total, available uint64, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if name != "MemTotal" && name != "MemAvailable" {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 54)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", name, err)
		}
		if name == "MemTotal" {
			total = n << 10
		} else {
			available = n << 10
		}
	}
	if total == 0 || available > total {
		return 0, 0, errors.New("meminfo makes no sense")
	}
	return total, available, nil
}
