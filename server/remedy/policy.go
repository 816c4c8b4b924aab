package remedy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/remedy/library"
)

// policy is a mesh.Policy that is ready to act.
type policy struct {
	mesh.Policy
	script  library.Script // of the small form.
	target  *query.Expr    // nil: all nodes.
	loses   string         // the script of it by which data can be lost, if there is one.
	share   mesh.Share     // MaxUnavailable.
	windows []mesh.Window  // Maintenance.
}

// matches reports whether p may act on a node; nil is one that nobody knows.
func (p *policy) matches(n *mesh.Node) bool {
	return p.target == nil || n != nil && p.target.Match(n)
}

func (p *policy) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return p.script.Manifest.Timeout
}

func (p *policy) runAs() string {
	if p.RunAs != "" {
		return p.RunAs
	}
	return p.script.Manifest.RunAs
}

// setup is what was configured. It does not change.
type setup struct {
	policies []*policy
	byName   map[string]*policy
	scripts  *library.Library
	limit    mesh.RemedyMode
}

// about returns an incident as p looks at it, and whether p is for it. That of
// a disk may tell of several problems: the first of them that a policy acts on
// is the one that is mended, so that one disk has one remedy.
func (s *setup) about(p *policy, i mesh.Incident) (mesh.Incident, bool) {
	if p.Rule == i.Rule {
		return i, true
	}
	if s.acts(i.Rule) {
		return i, false
	}
	for _, problem := range i.Joined {
		switch {
		case problem.Rule == p.Rule:
			i.Rule, i.Check = problem.Rule, problem.Check
			return i, true
		case s.acts(problem.Rule):
			return i, false
		}
	}
	return i, false
}

// groups are those of the policies, sorted.
func (s *setup) groups() []string {
	var out []string
	for _, p := range s.policies {
		if p.Group != "" {
			out = append(out, p.Group)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// acts reports whether a policy does anything about a rule's incidents.
func (s *setup) acts(rule string) bool {
	return slices.ContainsFunc(s.policies, func(p *policy) bool {
		return p.Rule == rule && effective(p.Mode, s.limit) != mesh.RemedyOff
	})
}

// concerns reports whether an incident tells of a problem by that rule.
func concerns(i *mesh.Incident, rule string) bool {
	return i.Rule == rule || slices.ContainsFunc(i.Joined, func(p mesh.JoinedProblem) bool { return p.Rule == rule })
}

// window is the longest in which storms are looked for.
func (s *setup) window() time.Duration {
	var w time.Duration
	for _, p := range s.policies {
		w = max(w, p.StormWindow)
	}
	return w
}

func newSetup(policies []mesh.Policy, scripts *library.Library, limit mesh.RemedyMode) (*setup, error) {
	s := &setup{byName: make(map[string]*policy, len(policies)), scripts: scripts, limit: limit}
	var errs []error
	for _, from := range policies {
		p, err := newPolicy(from, scripts)
		if err == nil && s.byName[p.Name] != nil {
			err = errors.New("there are two of that name")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("policy %q%s: %w", from.Name, place(from.Origin), err))
			continue
		}
		s.policies, s.byName[p.Name] = append(s.policies, p), p
	}
	if err := errors.Join(errs...); err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "load the policies: %w", err).WithHint("%s", hintOf(errs))
	}
	return s, nil
}

func place(origin string) string {
	if origin == "" {
		return ""
	}
	return " at " + origin
}

// hintOf is the first hint of several errors.
func hintOf(errs []error) string {
	for _, err := range errs {
		if e, ok := errors.AsType[*mesh.Error](err); ok && e.Hint != "" {
			return e.Hint
		}
	}
	return "docs/remediation.md has an example"
}

func newPolicy(from mesh.Policy, scripts *library.Library) (*policy, error) {
	if from.Name == "" || from.Rule == "" {
		return nil, errors.New("a policy has a name and a rule")
	}
	p := &policy{Policy: from}
	if err := errors.Join(p.bindScripts(scripts), p.bindGuards()); err != nil {
		return nil, err
	}
	return p, nil
}

// bindScripts finds every script that p names, and holds what it is given
// against its manifest.
func (p *policy) bindScripts(scripts *library.Library) error {
	if len(p.Rungs) == 0 {
		script, err := bound(scripts, mesh.PlanStep{Script: p.Script, Args: p.Args, Timeout: p.Timeout})
		p.script = script
		p.losing(script)
		return err
	}
	var errs []error
	for _, r := range p.Rungs {
		for _, s := range r.Steps {
			script, err := bound(scripts, s)
			if err == nil && s.Undo != "" {
				_, err = bound(scripts, mesh.PlanStep{Script: s.Undo, Args: s.Args})
			}
			if err == nil && s.On != "" {
				_, err = query.Parse(s.On)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", s.Kind, s.Name, err))
				continue
			}
			p.losing(script)
		}
	}
	return errors.Join(errs...)
}

func (p *policy) losing(s library.Script) {
	if s.Manifest.MayLoseData {
		p.loses = s.Name
	}
}

// bound is the script of a step, when it takes what the step gives it.
func bound(scripts *library.Library, s mesh.PlanStep) (library.Script, error) {
	script, err := scripts.Script(s.Script)
	if err != nil {
		return script, err
	}
	if err := script.Manifest.CheckArgs(s.Args); err != nil {
		return script, fmt.Errorf("script %q: %w", s.Script, err)
	}
	if needs := script.Manifest.Timeout; s.Timeout > 0 && s.Timeout < needs {
		return script, fmt.Errorf("timeout: the script %q may need %s, and gets %s", s.Script, needs, s.Timeout)
	}
	return script, nil
}

// bindGuards reads the texts that guards look at.
func (p *policy) bindGuards() (err error) {
	if p.Target != "" {
		if p.target, err = query.Parse(p.Target); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	if p.share, err = mesh.ParseShare(p.MaxUnavailable); err != nil {
		return fmt.Errorf("max_unavailable: %w", err)
	}
	for _, text := range p.Maintenance {
		w, err := mesh.ParseWindow(text)
		if err != nil {
			return fmt.Errorf("maintenance: %w", err)
		}
		p.windows = append(p.windows, w)
	}
	return nil
}

// intent is what p would do about an incident, after "would".
func (p *policy) intent(i *mesh.Incident) string {
	if len(p.Rungs) == 0 {
		return "run " + p.Script + " on " + string(i.Node)
	}
	var acts []string
	for _, r := range p.Rungs {
		for _, s := range r.Steps {
			if s.Kind == mesh.StepAct {
				acts = append(acts, s.Script)
			}
		}
	}
	return "run " + strings.Join(acts, ", or ") + " for " + string(i.Node)
}

// env is what a script is told of why it runs.
func (p *policy) env(i *mesh.Incident) map[string]string {
	return map[string]string{
		"ALPS_POLICY":   p.Name,
		"ALPS_INCIDENT": string(i.ID),
		"ALPS_NODE":     string(i.Node),
		"ALPS_CHECK":    i.Check,
		"ALPS_SERVICE":  i.Service,
	}
}
