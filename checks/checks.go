package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"alps/mesh"
	"alps/mesh/config"
)

// Result is what a probe has found. The zero Status is no status: a probe says
// HealthUnknown when it could not look.
type Result struct {
	Status mesh.Health
	// Output is one or a few short lines for people, the same as long as the
	// state is the same.
	Output  string
	Samples []mesh.Sample
	// Disks are those that were found broken, named as mesh.CheckResult says.
	Disks []string
}

// Unknown is the result of a probe that could not look; the text says why.
func Unknown(format string, args ...any) Result {
	return Result{Status: mesh.HealthUnknown, Output: fmt.Sprintf(format, args...)}
}

// Probe looks at one thing on the node. Run may be called from several
// goroutines at once, and by several checks with different settings. It returns
// soon after ctx ends, whatever it is waiting for, and changes nothing on the
// node.
type Probe interface {
	Run(ctx context.Context, s *Settings) Result
}

// ProbeFunc is a Probe that is one function.
type ProbeFunc func(ctx context.Context, s *Settings) Result

// Run calls f.
func (f ProbeFunc) Run(ctx context.Context, s *Settings) Result { return f(ctx, s) }

// Pack is probes that belong together.
type Pack struct {
	Name   string
	Probes map[string]Probe // by name without the pack.
	// Checks are those that run unconfigured, where the pack applies. Each has
	// all settings of its probe.
	Checks []mesh.CheckDef
	// Applies reports whether the pack has something to look at on this node.
	// Nil means everywhere. An error means that nobody can say yet: ask again.
	Applies func(ctx context.Context) (bool, error)
	// AppliesTo reports the same of one check, by its probe, where not every
	// node has all that the pack looks at. Nil means all of them.
	AppliesTo func(ctx context.Context, probe string) (bool, error)
	// Judges answer questions of plans, by name without the pack.
	Judges map[string]Judge

	defaults map[string]map[string]string // settings by probe.
}

// NewPack reads a pack's checks from its pack.hcl. Every probe has exactly one
// check there, whose settings are its defaults.
func NewPack(name, hcl string, probes map[string]Probe) (Pack, error) {
	defs, err := config.ParseChecks(name+"/pack.hcl", []byte(hcl))
	if err != nil {
		return Pack{}, fmt.Errorf("read the checks of pack %s: %w", name, err)
	}
	p := Pack{Name: name, Probes: probes, Checks: defs.Checks, defaults: make(map[string]map[string]string)}
	for i := range p.Checks {
		c := &p.Checks[i]
		probe, ok := strings.CutPrefix(c.Probe, name+".")
		switch {
		case !ok || probes[probe] == nil:
			return Pack{}, fmt.Errorf("read the checks of pack %s: check %s runs no probe of it", name, c.ID)
		case p.defaults[probe] != nil:
			return Pack{}, fmt.Errorf("read the checks of pack %s: two checks run %s", name, c.Probe)
		case c.Settings == nil:
			c.Settings = make(map[string]string)
		}
		p.defaults[probe] = c.Settings
		c.Origin = "pack " + name
	}
	if len(p.defaults) != len(probes) || len(defs.Services) > 0 {
		return Pack{}, fmt.Errorf("read the checks of pack %s: %d probes have %d checks and %d services", name, len(probes), len(p.defaults), len(defs.Services))
	}
	return p, nil
}

// Here returns the checks that have something to look at on this node. An error
// means that nobody can say yet: ask again.
func (p Pack) Here(ctx context.Context) ([]mesh.CheckDef, error) {
	if p.Applies != nil {
		if yes, err := p.Applies(ctx); !yes || err != nil {
			return nil, err
		}
	}
	if p.AppliesTo == nil {
		return p.Checks, nil
	}
	var here []mesh.CheckDef
	for _, c := range p.Checks {
		yes, err := p.AppliesTo(ctx, c.Probe)
		if err != nil {
			return nil, err
		}
		if yes {
			here = append(here, c)
		}
	}
	return here, nil
}

// Names lists the probes of the pack in full, sorted.
func (p Pack) Names() []string {
	var names []string
	for probe := range p.Probes {
		names = append(names, p.Name+"."+probe)
	}
	slices.Sort(names)
	return names
}
