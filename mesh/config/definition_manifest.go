package config

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Manifest is what a script of the library says of itself. It is complete:
// Description and Changes are not blank, Timeout lies between 1s and 1h, and no
// parameter that is required stands behind one that is not.
type Manifest struct {
	Description string
	Changes     string // what it changes on the node.
	// Timeout is how long it may need: a policy may give it more, not less.
	// RunAs is the user that it wants to be, empty for the agent's; a policy
	// that names another wins.
	Timeout    time.Duration
	RunAs      string
	Parameters []Parameter // in the order of the arguments.
	// DryRun: with ALPS_DRY_RUN=1 it says what it would do and changes nothing.
	// MayLoseData: it runs only where the inventory says that loss is borne.
	DryRun      bool
	MayLoseData bool
}

// Parameter is one argument of a script.
type Parameter struct {
	Name        string // lower-case, and no other parameter's.
	Description string // not blank.
	Required    bool
}

// manifestKeys is a manifest: what a script of the library says of itself. Its
// keys stand at the top of a file of their own, manifest.hcl or manifest.json
// beside the script, and beside them a block for each parameter.
type manifestKeys struct {
	// What the script does, in a sentence.
	Description string `key:"description,required"`

	// What it changes on the node, in a sentence.
	Changes string `key:"changes,required"`

	// How long it may need. A policy may give it more, not less.
	Timeout time.Duration `key:"timeout,required" min:"1s" max:"1h"`

	// The user that it runs as, unless the policy names another. Nothing means
	// the agent's own.
	RunAs string `key:"run_as"`

	// Whether it says what it would do, and changes nothing, where ALPS_DRY_RUN
	// is 1. Only then a simulation runs it.
	DryRun bool `key:"dry_run"`

	// Whether data can be lost by it, as by a restart of what keeps data in
	// memory. Policies then run it only on nodes that are declared
	// loss_tolerant.
	MayLoseData bool `key:"may_lose_data"`
}

// A script says itself what it needs: a default would be somebody else's guess.
// What takes longer than an hour is a project, not a reflex.
func defaultManifestKeys() manifestKeys { return manifestKeys{} }

// parameterKeys is a parameter: one argument of the script. The arguments have
// the order of the blocks, and those that must be given come first.
type parameterKeys struct {
	// What messages call it: lower-case letters, digits and underscores. The
	// label.
	Name string `key:"name"`

	// What it is for, in a sentence.
	Description string `key:"description,required"`

	// Whether it must be given.
	Required bool `key:"required"`
}

// An argument that must be given is a promise to whoever writes a policy, so
// that somebody has typed it.
func defaultParameterKeys() parameterKeys { return parameterKeys{} }

// ParseManifest reads the manifest of a script: a file of that name, which is
// JSON when it ends in .json and HCL otherwise, with that content.
//
// The error is a *mesh.Error, as that of LoadAgent. There is no half of a
// manifest: with an error it is nil.
func ParseManifest(name string, src []byte) (*Manifest, error) {
	s := parseTree(name, src)
	d, m := newDefiner([]*source{s}), &Manifest{}
	if len(s.errors) == 0 {
		d.addManifest(m, s)
	}
	if err := d.failed("manifest"); err != nil {
		return nil, err
	}
	return m, nil
}

func (d *definer) addManifest(m *Manifest, s *source) {
	// The whole file is the block. It has no line: what is absent from it is
	// absent everywhere.
	b := &block{src: s, kind: kindManifest, entries: slices.Clone(s.top)}
	b.at.Filename = s.name
	parameters := b.take(kindParameter)
	keys := defaultManifestKeys()
	f := d.fill(b, &keys)
	f.checkFilled("description", keys.Description)
	f.checkFilled("changes", keys.Changes)
	f.checkUser(keys.RunAs)
	f.done()
	m.Description, m.Changes, m.Timeout, m.RunAs = keys.Description, keys.Changes, keys.Timeout, keys.RunAs
	m.DryRun, m.MayLoseData = keys.DryRun, keys.MayLoseData
	for _, e := range parameters {
		for _, b := range d.blocks(s, e, kindParameter) {
			d.addParameter(m, b)
		}
	}
}

var parameterName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (d *definer) addParameter(m *Manifest, b *block) {
	keys := defaultParameterKeys()
	f := d.fill(b, &keys)
	p := Parameter{Name: b.named(), Description: keys.Description, Required: keys.Required}
	switch {
	case p.Name == "":
		f.nameless()
	case !parameterName.MatchString(p.Name):
		f.bad("name", "%q is not a name: want at most 64 lower-case letters, digits and underscores, a letter first", clip(p.Name))
	default:
		d.claim(b, kindParameter, p.Name)
	}
	f.checkFilled("description", p.Description)
	if n := len(m.Parameters); n > 0 && p.Required && !m.Parameters[n-1].Required {
		f.bad("required", "it stands behind %q, which is not required: an argument is known by its place", m.Parameters[n-1].Name)
	}
	if f.done() {
		m.Parameters = append(m.Parameters, p)
	}
}

// checkFilled wants words in a text that was given.
func (f *filled) checkFilled(key, text string) {
	if f.has(key) && strings.TrimSpace(text) == "" {
		f.bad(key, "it is empty")
	}
}
