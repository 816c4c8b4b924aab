package remedy

import (
	"errors"
	"fmt"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/remedy/library"
)

// policy is a mesh.Policy that is ready to act.
type policy struct {
	mesh.Policy
	script library.Script
	target *query.Expr // nil: all nodes.
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
	limit    mesh.RemedyMode
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
	s := &setup{byName: make(map[string]*policy, len(policies)), limit: limit}
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
	script, err := scripts.Script(from.Script)
	if err != nil {
		return nil, err
	}
	if err := script.Manifest.CheckArgs(from.Args); err != nil {
		return nil, fmt.Errorf("script %q: %w", from.Script, err)
	}
	if needs := script.Manifest.Timeout; from.Timeout > 0 && from.Timeout < needs {
		return nil, fmt.Errorf("timeout: the script %q may need %s, and gets %s", from.Script, needs, from.Timeout)
	}
	p := &policy{Policy: from, script: script}
	if from.Target != "" {
		if p.target, err = query.Parse(from.Target); err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
	}
	return p, nil
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
