package alert

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"alps/mesh"
	"alps/mesh/query"
)

// The rules that are always there.
const (
	RuleAgentLost         = "agent-lost"
	RuleNodeFailed        = "node-failed"
	RuleConsulUnavailable = "consul-unavailable"
)

// The severities of a rule.
const (
	SeverityCritical = "critical"
	SeverityWarning  = "warning"
	SeverityInfo     = "info"
)

const (
	// consulCheck is the check behind RuleConsulUnavailable, which no node has.
	consulCheck = "consul"
	// consulFor lets an election of Consul's pass without waking anybody: one
	// takes a few seconds, and ten under load.
	consulFor = 15 * time.Second
)

// BuiltIn returns the rules that are always there. receivers are told by all
// of them.
func BuiltIn(receivers []string) []mesh.Rule {
	critical := []mesh.Health{mesh.HealthCritical}
	return []mesh.Rule{
		{
			Name: RuleAgentLost, Check: mesh.AgentCheck, Status: critical, Severity: SeverityWarning,
			Summary: "the ALPS agent is lost: what it watches is not known", Notify: receivers, Origin: "built in",
		},
		{
			Name: RuleNodeFailed, Check: mesh.SerfCheck, Status: critical, Severity: SeverityCritical,
			Summary: "the node has failed: it does not answer Consul's gossip", Notify: receivers, Origin: "built in",
		},
		{
			Name: RuleConsulUnavailable, Check: consulCheck, Status: critical, For: consulFor, Severity: SeverityCritical,
			Summary: "Consul does not answer: membership, discovery and jobs stand still", Notify: receivers, Origin: "built in",
		},
	}
}

// rule is a mesh.Rule that is ready to be asked.
type rule struct {
	mesh.Rule

	target *query.Expr // nil: every node.
	// order is when it is asked, among those that look at one check: as they
	// are listed, with those for any check behind.
	order int
}

func (r *rule) lists(h mesh.Health) bool { return slices.Contains(r.Status, h) }

// ruleSet is all rules in force. It does not change after it was made.
type ruleSet struct {
	list      []*rule // built-in ones first, then as configured.
	byName    map[string]*rule
	byCheck   map[string][]*rule // by what Rule.Check says.
	receivers []string
}

// compile makes a ruleSet, or says everything that is wrong.
func compile(rules []mesh.Rule, receivers []string) (*ruleSet, error) {
	set := &ruleSet{byName: make(map[string]*rule), byCheck: make(map[string][]*rule), receivers: slices.Clone(receivers)}
	var errs []error
	own := make(map[string]bool)
	for _, r := range rules {
		if own[r.Name] {
			errs = append(errs, fmt.Errorf("rule %q: there are two of that name", r.Name))
		}
		own[r.Name] = true
	}
	builtIn := slices.DeleteFunc(BuiltIn(receivers), func(r mesh.Rule) bool { return own[r.Name] })
	for _, r := range slices.Concat(builtIn, rules) {
		c, err := compileRule(r, receivers)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", r.Name, err))
			continue
		}
		if c.order = len(set.list); c.Check == "*" {
			c.order += len(builtIn) + len(rules)
		}
		set.list = append(set.list, c)
		set.byName[c.Name] = c
		if c.Name != RuleConsulUnavailable {
			set.byCheck[c.Check] = append(set.byCheck[c.Check], c)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "load the rules: %w", err)
	}
	return set, nil
}

func compileRule(r mesh.Rule, receivers []string) (*rule, error) {
	c := &rule{Rule: r}
	if c.Name == RuleConsulUnavailable {
		c.Check = consulCheck
	}
	if len(c.Status) == 0 {
		c.Status = []mesh.Health{mesh.HealthCritical}
	}
	if c.Severity == "" {
		c.Severity = SeverityCritical
	}
	switch {
	case c.Name == "":
		return nil, errors.New("it has no name")
	case c.Check == "":
		return nil, errors.New("it names no check")
	case slices.Contains(c.Status, mesh.HealthPassing):
		return nil, errors.New("passing is no problem")
	case c.For < 0:
		return nil, errors.New("it lasts for less than nothing")
	}
	for _, n := range c.Notify {
		if !slices.Contains(receivers, n) {
			return nil, fmt.Errorf("there is no receiver %q", n)
		}
	}
	if c.Target != "" {
		var err error
		if c.target, err = query.Parse(c.Target); err != nil {
			return nil, fmt.Errorf("target %q: %w", c.Target, err)
		}
	}
	return c, nil
}

// ofNode reports whether a check says how a node is, and not what runs on it.
func ofNode(check string) bool { return check == mesh.AgentCheck || check == mesh.SerfCheck }

// about calls fn for each rule that looks at a check, once and in their order.
func (s *ruleSet) about(r *mesh.CheckResult, fn func(*rule)) {
	if ofNode(r.Check) { // nobody who says "*", or "Serf Health Status" for a service, means these.
		each(s.byCheck[r.Check], nil, fn)
		return
	}
	var named []*rule
	if r.Name != r.Check && !ofNode(r.Name) {
		named = s.byCheck[r.Name]
	}
	each(s.byCheck[r.Check], named, fn)
	each(s.byCheck["*"], nil, fn)
}

// each calls fn for the rules of two lists in the order of both.
func each(a, b []*rule, fn func(*rule)) {
	for len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].order < b[0].order {
			fn(a[0])
			a = a[1:]
		} else {
			fn(b[0])
			b = b[1:]
		}
	}
}
