package config

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
)

// ruleKeys is a rule: when a check is bad for long enough, there is an incident
// and somebody is told.
type ruleKeys struct {
	// What the rule is called. The label.
	Name string `key:"name"`

	// The id or the name of the checks that it is about; "*" means any.
	Check string `key:"check,required"`

	// A query over nodes, such as role=web. Nothing means all.
	Target string `key:"target"`

	// Which statuses are bad: critical, warning, unknown.
	Status words `key:"status"`

	// How long a status must last before there is an incident.
	For time.Duration `key:"for" min:"0s" max:"24h"`

	// How bad it is. Nothing means critical when status holds critical, else
	// warning.
	Severity string `key:"severity" oneof:"critical warning info" unset:""`

	// One sentence about the problem. Nothing means the check's name and
	// output.
	Summary string `key:"summary"`

	// The receivers that are told.
	Notify words `key:"notify"`

	// Whom to call.
	Owner string `key:"owner"`

	// Where it is written what to do, such as a URL.
	Runbook string `key:"runbook"`
}

func defaultRuleKeys() ruleKeys {
	// Warnings are for looking at; whoever wants an incident for them says so.
	// The check's own attempts are the patience that most rules need, so For
	// is zero.
	return ruleKeys{Status: words{string(mesh.HealthCritical)}}
}

// receiverKeys is somebody who is told of incidents: by a URL that each is
// posted to as JSON, or by a command on the server that gets it on its standard
// input.
type receiverKeys struct {
	// What rules call it. The label.
	Name string `key:"name"`

	// Where incidents are posted to. It may hold a token, so errors do not
	// show it.
	URL string `key:"url,secret"`

	// Headers of the request.
	Header table `key:"header,secret"`

	// A command on the server, as a list of arguments or a line for /bin/sh.
	Command commandLine `key:"command"`

	// Whether it is told when an incident is closed, too.
	Resolved bool `key:"resolved"`

	// How long it may take. An attempt that takes longer has failed and is
	// made again.
	Timeout time.Duration `key:"timeout" min:"1s" max:"5m"`
}

func defaultReceiverKeys() receiverKeys {
	return receiverKeys{
		// Who was woken wants to know that it is over.
		Resolved: true,
		// Chat systems answer within one second; a proxy that hangs must not
		// hold up the other receivers.
		Timeout: 10 * time.Second,
	}
}

// policyKeys is a policy: what is done about the incidents of a rule. Three
// lines are enough: rule, script, and mode = "auto". It runs the script on the
// node of the incident, and the check proves whether that helped. Where that is
// not enough, steps stand in it in place of the script, or rungs with steps.
type policyKeys struct {
	// What the policy is called. The label.
	Name string `key:"name"`

	// The rule whose incidents it is for.
	Rule string `key:"rule,required"`

	// The script of the library that is run, where no steps say more.
	Script string `key:"script"`

	// off does nothing, observe says what it would do, approve asks a person
	// each time, auto does it.
	Mode string `key:"mode" oneof:"off observe approve auto"`

	// What follows the script's name.
	Args []string `key:"args"`

	// The user that it runs as. Nothing means the agent's own.
	RunAs string `key:"run_as"`

	// A query over the nodes that it may act on. Nothing means all.
	Target string `key:"target"`

	// The policies of one group act one at a time, and can be paused together.
	// Those without a group share one. Whatever their groups, two never act on
	// one node at a time.
	Group string `key:"group"`

	// How long the script may run on the node. Steps have times of their own.
	Timeout time.Duration `key:"timeout" min:"1s" max:"24h"`

	// How long after its end the check may take to pass.
	Verify time.Duration `key:"verify" min:"1s" max:"24h"`

	// How long it leaves a node alone after it has acted there.
	Cooldown time.Duration `key:"cooldown" min:"0s" max:"168h"`

	// How many actions it takes in one hour, on all nodes together.
	PerHour int `key:"per_hour" min:"1" max:"1000"`

	// How many actions it takes in one day, on all nodes together.
	PerDay int `key:"per_day" min:"1" max:"10000"`

	// How long after a step has refused it asks again.
	Retry time.Duration `key:"retry" min:"1s" max:"168h"`

	// How many of the nodes that it may act on may be in trouble, this one
	// included, as a share or a number: with more of them it does nothing.
	MaxUnavailable string `key:"max_unavailable"`

	// When people work on these machines, and it does nothing: days and times
	// of the server, such as "sat 22:00-04:00" or "mon-fri 09:00-17:00".
	Maintenance words `key:"maintenance"`

	// So many incidents of the rule within storm_window are taken for a false
	// alarm or a bigger problem, and nothing is done.
	Storm int `key:"storm" min:"2" max:"10000"`

	// The time in which incidents are counted for storm.
	StormWindow time.Duration `key:"storm_window" min:"1s" max:"24h"`

	// After so many failures in a row it stops, until somebody resets it.
	Failures int `key:"failures" min:"1" max:"100"`

	// The receivers that call a human when it fails. Nothing means the rule's.
	Notify words `key:"notify"`
}

func defaultPolicyKeys() policyKeys {
	return policyKeys{
		// A policy earns its trust: it is watched first, and auto is a word
		// that somebody has typed.
		Mode: string(mesh.RemedyObserve),
		// Enough to restart a service, short enough that a hung script is seen
		// while somebody still waits.
		Timeout: 30 * time.Second,
		// Three runs of a check every 10 s.
		Verify: 30 * time.Second,
		// What did not help now will not help in a minute.
		Cooldown: 5 * time.Minute,
		// One each ten minutes: more is not a repair but a way to run.
		PerHour: 6,
		// Half a fleet of one day's faults is not a fault of nodes.
		PerDay: 24,
		// Long enough for whatever has refused to change.
		Retry: 5 * time.Minute,
		// Of two machines one may be mended; when most are ill, the illness is
		// elsewhere.
		MaxUnavailable: "50%",
		// Two nodes may fail at once by chance; three are a rack, a network or
		// a wrong check.
		Storm: 3,
		// The nodes of a common cause fail within one round of their checks.
		StormWindow: time.Minute,
		// The third failure is not bad luck.
		Failures: 3,
	}
}

func decodeRules(sources []*source) (*Rules, error) {
	d, r := newDefiner(sources), &Rules{}
	words := map[string]string{"rule": kindRule, "receiver": kindReceiver, "policy": kindPolicy}
	var blocks []*block
	d.each(words, func(b *block) { blocks = append(blocks, b) })
	// Names first: a rule may stand above the receiver that it tells.
	for _, b := range blocks {
		if name := b.named(); name != "" {
			d.claim(b, b.kind, name)
		}
	}
	for _, b := range blocks {
		switch b.kind {
		case kindRule:
			d.addRule(r, b)
		case kindReceiver:
			d.addReceiver(r, b)
		case kindPolicy:
			d.addPolicy(r, b)
		}
	}
	if err := d.failed("definitions"); err != nil {
		return nil, err
	}
	return r, nil
}

// named is the name that a block claims.
func (b *block) named() string {
	for _, e := range b.entries {
		if e.name == "name" && e.text() != "" {
			return e.text()
		}
	}
	return b.label
}

var definitionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// wantName is what definitionName takes.
const wantName = "want at most 128 letters, digits, dots, dashes and underscores, a letter or a digit first"

// checkNamed holds the name of a rule, receiver or policy against the form that
// fits into commands, URLs and queries.
func (f *filled) checkNamed(name string) {
	switch {
	case name == "":
		f.nameless()
	case !definitionName.MatchString(name):
		f.bad("name", "%q is not a name: %s", clip(name), wantName)
	}
}

// nameless reports that nothing says what the block is called.
func (f *filled) nameless() {
	f.add(f.block.kind, f.block.kind+" has no name")
	f.hint("write %s", f.block.src.labelText(f.block.kind, "name"))
}

func (d *definer) addRule(r *Rules, b *block) {
	keys := defaultRuleKeys()
	f := d.fill(b, &keys)
	rule := mesh.Rule{
		Name: b.named(), Check: keys.Check, Target: keys.Target, For: keys.For, Severity: keys.Severity,
		Summary: keys.Summary, Notify: keys.Notify, Owner: keys.Owner, Runbook: keys.Runbook, Origin: b.origin(),
	}
	f.checkNamed(rule.Name)
	if f.has("check") {
		f.checkName("check", rule.Check)
	}
	f.checkTarget(rule.Target)
	rule.Status = f.statuses(keys.Status)
	if rule.Severity == "" {
		rule.Severity = "warning"
		if slices.Contains(rule.Status, mesh.HealthCritical) {
			rule.Severity = "critical"
		}
	}
	f.checkNotify(rule.Notify)
	if f.done() {
		r.Rules = append(r.Rules, rule)
	}
}

// statuses reads which statuses are bad.
func (f *filled) statuses(list []string) []mesh.Health {
	bad := []string{string(mesh.HealthCritical), string(mesh.HealthWarning), string(mesh.HealthUnknown)}
	var got []mesh.Health
	for _, s := range list {
		switch {
		case s == string(mesh.HealthPassing):
			f.bad("status", "passing is what closes an incident: want critical, warning or unknown")
		case !slices.Contains(bad, s):
			f.bad("status", "%q is not one of %s", s, strings.Join(bad, ", "))
			f.hint("%s", didYouMean(s, bad))
		case slices.Contains(got, mesh.Health(s)):
			f.bad("status", "%q is named twice", s)
		default:
			got = append(got, mesh.Health(s))
		}
	}
	if len(list) == 0 {
		f.bad("status", "the list is empty: no status would ever be bad")
	}
	return got
}

// checkTarget looks at the query of a target.
func (f *filled) checkTarget(target string) { f.checkQuery("target", target) }

// checkQuery draws the place where a query goes wrong.
func (f *filled) checkQuery(key, target string) {
	if !f.has(key) {
		return
	}
	_, err := query.Parse(target)
	if err == nil {
		return
	}
	at, ok := errors.AsType[*query.Error](err)
	if !ok {
		f.bad(key, "%v", err)
		return
	}
	f.bad(key, "%s", strings.TrimPrefix(at.Error(), "parse "))
	if at.Hint != "" {
		f.hint("%s", at.Hint)
	}
	if len(at.Input) <= maxSnippet && !strings.ContainsAny(at.Input, "\r\n") {
		last := &f.errors[len(f.errors)-1]
		last.Snippet += "\n        " + strings.ReplaceAll(at.Caret(), "\n", "\n        ")
	}
}

// checkNotify wants receivers that are defined.
func (f *filled) checkNotify(names []string) {
	var seen []string
	for _, name := range names {
		if slices.Contains(seen, name) {
			f.bad("notify", "%q is named twice", clip(name))
		}
		seen = append(seen, name)
		f.checkKnown("notify", kindReceiver, name)
	}
}

// checkKnown wants a name that some block of that kind has.
func (f *filled) checkKnown(key, kind, name string) {
	if f.d.partial || f.d.defined(kind, name) {
		return
	}
	known := f.d.names(kind)
	f.bad(key, "no %s is called %q", kind, clip(name))
	f.hint("%s", cmp.Or(didYouMean(name, known), "define it: "+f.block.src.labelText(kind, clip(name))))
}

func (d *definer) addReceiver(r *Rules, b *block) {
	keys := defaultReceiverKeys()
	f := d.fill(b, &keys)
	to := mesh.Receiver{
		Name: b.named(), URL: keys.URL, Header: keys.Header, Command: keys.Command,
		Resolved: keys.Resolved, Timeout: keys.Timeout, Origin: b.origin(),
	}
	f.checkNamed(to.Name)
	switch {
	case f.has("url") && f.has("command"):
		f.bad("command", "the receiver has a url as well: keep one of them")
	case f.has("url"):
		if why := badURL(to.URL); why != "" {
			f.bad("url", "%s", why)
		}
	case f.has("command"):
		f.checkCommand("command", to.Command)
	default:
		f.add(kindReceiver, "receiver has neither a url nor a command")
	}
	if f.has("header") && !f.has("url") {
		f.bad("header", "only a url is asked with headers")
	}
	for _, name := range sortedKeys(to.Header) {
		f.checkHeader(name, []string{to.Header[name]})
	}
	if f.done() {
		r.Receivers = append(r.Receivers, to)
	}
}

func (d *definer) addPolicy(r *Rules, b *block) {
	plan := b.take(append(stepKinds(), kindRung)...)
	keys := defaultPolicyKeys()
	f := d.fill(b, &keys)
	p := mesh.Policy{
		Name: b.named(), Rule: keys.Rule, Script: keys.Script, Args: keys.Args, RunAs: keys.RunAs,
		Mode: mesh.RemedyMode(keys.Mode), Target: keys.Target, Group: keys.Group, Timeout: keys.Timeout, Verify: keys.Verify,
		Cooldown: keys.Cooldown, PerHour: keys.PerHour, Storm: keys.Storm, StormWindow: keys.StormWindow,
		Failures: keys.Failures, Notify: keys.Notify, Origin: b.origin(),
		PerDay: keys.PerDay, Retry: keys.Retry, MaxUnavailable: keys.MaxUnavailable, Maintenance: keys.Maintenance,
	}
	f.checkNamed(p.Name)
	if f.has("rule") {
		f.checkKnown("rule", kindRule, p.Rule)
	}
	f.checkScript("script", p.Script)
	switch {
	case len(plan) == 0 && !f.has("script"):
		f.add(kindPolicy, "policy has neither a script nor a step")
		f.hint(`write script = "…"`)
	case len(plan) > 0:
		for _, key := range []string{"script", "args", "run_as", "timeout", "verify"} {
			if f.has(key) {
				f.bad(key, "the policy has steps as well: say it there")
			}
		}
		d.addPlan(&p, b, plan)
	}
	f.checkArgs(p.Args)
	f.checkUser(p.RunAs)
	f.checkTarget(p.Target)
	f.checkGroup(p.Group)
	f.checkNotify(p.Notify)
	if _, err := mesh.ParseShare(p.MaxUnavailable); err != nil {
		f.bad("max_unavailable", "%v", err)
	}
	for _, w := range p.Maintenance {
		if _, err := mesh.ParseWindow(w); err != nil {
			f.bad("maintenance", "%v", err)
		}
	}
	if f.done() {
		r.Policies = append(r.Policies, p)
	}
}

// checkGroup wants a name in group.
func (f *filled) checkGroup(name string) {
	if f.has("group") && !definitionName.MatchString(name) {
		f.bad("group", "%q is not a name: %s", clip(name), wantName)
	}
}

// checkUser wants the name of a user in run_as.
func (f *filled) checkUser(name string) {
	if f.has("run_as") && (badText(name) != "" || strings.ContainsAny(name, " :/")) {
		f.bad("run_as", "%q is not a user", clip(name))
	}
}

// clip shortens a name that somebody has made too long to be shown.
func clip(s string) string {
	if len(s) <= 40 {
		return s
	}
	return strings.ToValidUTF8(s[:40], "") + "…"
}

// DescribeDefinitions lists the keys of every kind of definition, in the order
// of the reference. The paths begin with the kind.
func DescribeDefinitions() []Key {
	check, service, rule := defaultCheckKeys(), defaultServiceKeys(), defaultRuleKeys()
	receiver, policy := defaultReceiverKeys(), defaultPolicyKeys()
	manifest, parameter := defaultManifestKeys(), defaultParameterKeys()
	rung, step := rungKeys{}, defaultStepKeys()
	return slices.Concat(
		describe(schemaUnder(&check, kindCheck)), describe(schemaUnder(&service, kindService)),
		describe(schemaUnder(&rule, kindRule)), describe(schemaUnder(&receiver, kindReceiver)),
		describe(schemaUnder(&policy, kindPolicy)), describe(schemaUnder(&rung, kindRung)), describe(schemaUnder(&step, kindStep)),
		describe(schemaUnder(&manifest, kindManifest)), describe(schemaUnder(&parameter, kindParameter)))
}
