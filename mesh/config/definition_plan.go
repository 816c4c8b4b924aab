package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
)

// The kinds of definitions that stand in a policy.
const (
	kindRung    = "rung"
	kindConfirm = "confirm"
	kindGuard   = "guard"
	kindStep    = "step"
	kindProve   = "prove"
)

// stepKinds are those of a rung, in the order in which they are taken.
func stepKinds() []string { return []string{kindConfirm, kindGuard, kindStep, kindProve} }

// mainRung is what the only way of a policy without a ladder is called.
const mainRung = "main"

// rungKeys is a rung: one way of mending, in a policy that has several. The
// gentlest comes first. Its steps stand in it: confirm, guard, step and prove.
type rungKeys struct {
	// What the rung is called. The label.
	Name string `key:"name"`
}

// stepKeys is a step of a policy that says more than its script: confirm asks a
// second source, guard asks whether it is safe, step acts, and prove tells
// whether it has helped. They are taken in this order, those of one kind as they
// are written. Each answers in one line of JSON (docs/remediation.md).
type stepKeys struct {
	// What the step is called. The label.
	Name string `key:"name"`

	// The script of the library that is run.
	Script string `key:"script,required"`

	// What follows the script's name.
	Args []string `key:"args"`

	// A query over nodes, such as service=namenode: it runs on each, and each
	// must agree. Nothing means the node of the incident.
	On string `key:"on"`

	// The user that it runs as. Nothing means what the script says.
	RunAs string `key:"run_as"`

	// In a step, the script that takes it back, on the same nodes and with the
	// same arguments.
	Undo string `key:"undo"`

	// How long one attempt may take. 0s means what the script says.
	Timeout time.Duration `key:"timeout" min:"0s" max:"24h"`

	// How long it is asked again while it answers that it has to wait. 0s means
	// 1m, and 1h for prove.
	Within time.Duration `key:"within" min:"0s" max:"168h"`
}

// What has to wait for a minute does not fit into a reflex; a proof has to wait
// for what was begun. Both are said at the key, because the default of a key
// cannot depend on where it stands.
func defaultStepKeys() stepKeys { return stepKeys{} }

// The times of a step that says none.
const (
	waitWithin  = time.Minute
	proveWithin = time.Hour
)

// addPlan reads what stands in a policy.
func (d *definer) addPlan(p *mesh.Policy, b *block, nested []entry) {
	var loose []entry
	var rungs []*block
	for _, e := range nested {
		if fold(e.name) == kindRung {
			rungs = append(rungs, d.blocks(b.src, e, kindRung)...)
			continue
		}
		loose = append(loose, e)
	}
	if len(loose) > 0 && len(rungs) > 0 {
		d.add(rungs[0], "", "policy "+strconv.Quote(clip(p.Name))+" has steps beside its rungs", "move each step into the rung that it belongs to")
		return
	}
	if len(loose) > 0 {
		p.Rungs = append(p.Rungs, mesh.Rung{Name: mainRung, Steps: d.steps(b, loose)})
	}
	var seen []string
	for _, r := range rungs {
		steps := r.take(stepKinds()...)
		var keys rungKeys
		f := d.fill(r, &keys)
		name := r.named()
		f.checkNamed(name)
		if slices.Contains(seen, name) {
			f.bad("name", "there are two rungs of the name %q", clip(name))
		}
		seen = append(seen, name)
		f.done()
		p.Rungs = append(p.Rungs, mesh.Rung{Name: name, Steps: d.steps(r, steps)})
	}
}

// steps reads the steps of a rung, and orders them by their kinds.
func (d *definer) steps(in *block, nested []entry) []mesh.PlanStep {
	var out []mesh.PlanStep
	seen := make(map[string]bool)
	for _, e := range nested {
		for _, b := range d.blocks(in.src, e, fold(e.name)) {
			s, ok := d.step(b)
			if key := b.kind + " " + s.Name; seen[key] {
				d.add(b, "", key+" is there twice", "a step has a name of its own")
			} else {
				seen[key] = true
			}
			if ok {
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b mesh.PlanStep) int {
		return slices.Index(stepKinds(), string(a.Kind)) - slices.Index(stepKinds(), string(b.Kind))
	})
	has := func(kind mesh.StepKind) bool {
		return slices.ContainsFunc(out, func(s mesh.PlanStep) bool { return s.Kind == kind })
	}
	switch {
	case len(nested) > len(out): // what is wrong was said.
	case !has(mesh.StepAct):
		d.add(in, "", in.kind+" has no step: nothing would be done", `write step "…" { script = "…" }`)
	case !has(mesh.StepGuard):
		d.add(in, "", in.kind+" has no guard: nobody is asked whether it is safe", `write guard "…" { script = "…" }`)
	case !has(mesh.StepProve):
		d.add(in, "", in.kind+" proves nothing: an exit code is no proof", `write prove "…" { script = "…" }`)
	}
	return out
}

func (d *definer) step(b *block) (mesh.PlanStep, bool) {
	keys := defaultStepKeys()
	f := d.fill(b, &keys)
	s := mesh.PlanStep{
		Kind: mesh.StepKind(b.kind), Name: b.named(), Script: keys.Script, Args: keys.Args, On: keys.On, RunAs: keys.RunAs,
		Undo: keys.Undo, Timeout: keys.Timeout, Within: keys.Within,
	}
	f.checkNamed(s.Name)
	f.checkScript("script", s.Script)
	f.checkScript("undo", s.Undo)
	if f.has("undo") && b.kind != kindStep {
		f.bad("undo", "a %s changes nothing that could be taken back", b.kind)
	}
	f.checkArgs(s.Args)
	f.checkUser(s.RunAs)
	f.checkQuery("on", s.On)
	switch {
	case s.Within > 0:
	case s.Kind == mesh.StepProve:
		s.Within = proveWithin
	default:
		s.Within = waitWithin
	}
	return s, f.done()
}

// checkScript wants the name of a script in a key that was given.
func (f *filled) checkScript(key, name string) {
	if f.has(key) && !definitionName.MatchString(name) {
		f.bad(key, "%q is not the name of a script of the library: want a file name without a directory", clip(name))
	}
}

func (f *filled) checkArgs(args []string) {
	if slices.ContainsFunc(args, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		f.bad("args", "an argument has a NUL in it")
	}
}
