package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"alps/mesh"
)

// Checks is what a directory of services and checks defines. It is complete:
// defaults are filled in, and every check that names a service names one of
// Services.
type Checks struct {
	Services []mesh.ServiceDef
	Checks   []mesh.CheckDef
	// Ignored are the keys of Consul's that were taken and are not used, each
	// as "file:line: key", for a warning in the log.
	Ignored []string
}

// Rules is what a directory of rules defines. It is complete: defaults are
// filled in, and every name that a rule or a policy mentions is defined.
type Rules struct {
	Rules     []mesh.Rule
	Receivers []mesh.Receiver
	Policies  []mesh.Policy
}

// LoadChecks reads the services and checks at path: a file that ends in .hcl or
// .json, or a directory of such files, in ALPS's form or in Consul's own. What
// does not exist, and a directory without such files, defines nothing, which is
// no error.
//
// The error is a *mesh.Error, as that of LoadAgent. There is no half of a
// result: with an error it is nil.
func LoadChecks(path string) (*Checks, error) {
	sources, err := definitionSources(path)
	if err != nil {
		return nil, err
	}
	return decodeChecks(sources)
}

// ParseChecks is LoadChecks for a file of that name with that content.
func ParseChecks(name string, src []byte) (*Checks, error) {
	return decodeChecks([]*source{parseTree(name, src)})
}

// LoadRules is LoadChecks for rules, receivers and policies.
func LoadRules(path string) (*Rules, error) {
	sources, err := definitionSources(path)
	if err != nil {
		return nil, err
	}
	return decodeRules(sources)
}

// ParseRules is LoadRules for a file of that name with that content.
func ParseRules(name string, src []byte) (*Rules, error) {
	return decodeRules([]*source{parseTree(name, src)})
}

// definitionSources reads and parses the files at path.
func definitionSources(path string) ([]*source, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names, err := filesAt(path)
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.IsDir() && mesh.CodeOf(err) == mesh.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, definitionsUnreadable(err)
	}
	var sources []*source
	for _, name := range names {
		src, err := readFile(name)
		if err != nil {
			return nil, definitionsUnreadable(err)
		}
		sources = append(sources, parseTree(name, src))
	}
	return sources, nil
}

// definitionsUnreadable drops the hint about --config, which names something
// else.
func definitionsUnreadable(err error) error {
	if e, ok := errors.AsType[*mesh.Error](err); ok {
		return e.WithHint("definitions are read from files that end in .hcl or .json, or a directory of them")
	}
	return err
}

// A definer collects the definitions of all sources.
type definer struct {
	sources []*source
	errors  Errors
	ignored []string
	// partial: something could not be read at all, so that a name which seems
	// to be missing may stand there.
	partial bool
	// first is where each name was defined, by "check web".
	first map[string]place
}

func newDefiner(sources []*source) *definer {
	d := &definer{sources: sources, first: make(map[string]place)}
	for _, s := range sources {
		d.errors = append(d.errors, s.errors...)
		d.partial = d.partial || len(s.errors) > 0
	}
	return d
}

// each calls define for every block in the sources that words names, by the
// word that it is meant by; what is called otherwise is an error. Files with a
// syntax error are left out.
func (d *definer) each(words map[string]string, define func(b *block)) {
	for _, s := range d.sources {
		if len(s.errors) > 0 {
			continue
		}
		for _, e := range s.top {
			kind, ok := words[fold(e.name)]
			if !ok {
				d.addUnknownBlock(s, e, words)
				continue
			}
			for _, b := range d.blocks(s, e, kind) {
				define(b)
			}
		}
	}
}

func (d *definer) addUnknownBlock(s *source, e entry, words map[string]string) {
	known := sortedKeys(words)
	p := s.errorAt(e.at, e.name, fmt.Sprintf("unknown definition %q", e.name))
	p.Hint = didYouMean(e.name, known)
	switch fold(e.name) {
	case kindRule, kindReceiver, kindPolicy:
		p.Hint = "it belongs in the server's alert.dir"
	case kindService, kindCheck, "services", "checks":
		p.Hint = "it belongs in the agent's check.dir"
	}
	if p.Hint == "" {
		p.Hint = "here stand " + joined(known, "and")
	}
	d.errors = append(d.errors, p)
}

// claim notes that b defines name. A second definition is an error that names
// both places.
func (d *definer) claim(b *block, what, name string) {
	at := place{b.src, b.at}
	first, ok := d.first[what+" "+name]
	if !ok {
		d.first[what+" "+name] = at
		return
	}
	d.add(b, "", fmt.Sprintf("%s %q is defined twice, first at %s:%d", what, name, first.source.name, first.at.Start.Line), "")
}

// names lists what has been claimed, sorted.
func (d *definer) names(what string) []string {
	var names []string
	for key := range d.first {
		if name, ok := strings.CutPrefix(key, what+" "); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// defined reports whether something has claimed the name.
func (d *definer) defined(what, name string) bool {
	_, ok := d.first[what+" "+name]
	return ok
}

// add reports something about a block as a whole.
func (d *definer) add(b *block, key, message, hint string) {
	e := b.src.errorAt(b.at, key, message)
	e.Hint = hint
	d.errors = append(d.errors, e)
}

// failed is the error of everything that was found in what was read, or nil.
func (d *definer) failed(what string) error {
	if len(d.errors) == 0 {
		return nil
	}
	sortErrors(d.sources, d.errors)
	return mesh.Errorf(mesh.Invalid, "read %s:\n%w", what, d.errors).
		WithHint("every definition is explained in docs/definitions.md")
}
