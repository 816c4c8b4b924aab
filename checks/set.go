package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"alps/mesh"
)

// Set is the probes and judges of several packs by their full names. It is immutable and
// may be used from any goroutine. The zero Set knows no probe.
type Set struct {
	probes map[string]bound
	judges map[string]Judge
}

// bound is a probe with its defaults.
type bound struct {
	probe    Probe
	defaults map[string]string
}

// NewSet makes a Set of the packs, each of which has a name of its own.
func NewSet(packs []Pack) (*Set, error) {
	s := &Set{probes: make(map[string]bound), judges: make(map[string]Judge)}
	for _, p := range packs {
		for name, probe := range p.Probes {
			full := p.Name + "." + name
			if _, ok := s.probes[full]; ok {
				return nil, fmt.Errorf("gather the probes: two packs have %s", full)
			}
			s.probes[full] = bound{probe, p.defaults[name]}
		}
		for name, judge := range p.Judges {
			full := p.Name + "." + name
			_, probe := s.probes[full]
			if _, ok := s.judges[full]; ok || probe {
				return nil, fmt.Errorf("gather the judges: two packs have %s", full)
			}
			s.judges[full] = judge
		}
	}
	return s, nil
}

// Names lists the probes, sorted.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.probes))
	for n := range s.probes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Run runs one probe; settings say what differs from its defaults. It always
// returns one of the four statuses: a probe that is not known, that panics or
// that says nothing is unknown. Output is valid UTF-8 of at most
// mesh.MaxCheckOutput bytes.
func (s *Set) Run(ctx context.Context, probe string, settings map[string]string) (r Result) {
	b, ok := s.probes[probe]
	if !ok {
		return Unknown("there is no probe %q: it is none of %s", probe, strings.Join(s.Names(), ", "))
	}
	defer func() {
		if p := recover(); p != nil {
			r = Unknown("probe %s has a fault: %v", probe, p)
		}
		r.Output = clip(r.Output)
	}()
	r = b.probe.Run(ctx, NewSettings(b.defaults, settings))
	switch r.Status {
	case mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown:
	default:
		r = Unknown("probe %s gave no status", probe)
	}
	return r
}

func clip(s string) string {
	if len(s) > mesh.MaxCheckOutput {
		s = s[:mesh.MaxCheckOutput]
	}
	return strings.ToValidUTF8(s, "")
}
