package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Types of keys that only definitions have.
type (
	// words is one string or a list of them.
	words []string
	// commandLine is an argument vector; one string is a line for /bin/sh.
	commandLine []string
	// table maps names to text; numbers and true or false are taken as text.
	table map[string]string
	// headers maps names to one text or several.
	headers map[string][]string
)

// keys is what may stand in one kind of definition, beside definitions.
type keys struct {
	schema  *schema
	nested  []string // the names of definitions inside it.
	ignored []string // of Consul's: taken and not used.
	foreign []string // of Consul's: kinds of checks that ALPS does not run.
}

// keysOf returns the keys of a kind of definition.
func keysOf(kind string) *keys {
	k := &keys{schema: &schema{byPath: make(map[string]*field)}}
	switch kind {
	case kindService:
		k.schema = schemaUnder(&serviceKeys{}, kind)
		k.nested = []string{"check", "checks"}
		k.ignored = ignoredServiceKeys()
	case kindCheck:
		k.schema = schemaUnder(&checkKeys{}, kind)
		k.ignored = ignoredCheckKeys()
		k.foreign = foreignChecks()
	case kindRule:
		k.schema = schemaUnder(&ruleKeys{}, kind)
	case kindReceiver:
		k.schema = schemaUnder(&receiverKeys{}, kind)
	case kindPolicy:
		k.schema = schemaUnder(&policyKeys{}, kind)
		k.nested = append(stepKinds(), kindRung)
	case kindRung:
		k.schema = schemaUnder(&rungKeys{}, kind)
		k.nested = stepKinds()
	case kindConfirm, kindGuard, kindStep, kindProve:
		k.schema = schemaUnder(&stepKeys{}, kind)
	case kindManifest:
		k.schema = schemaUnder(&manifestKeys{}, kind)
		k.nested = []string{kindParameter}
	case kindParameter:
		k.schema = schemaUnder(&parameterKeys{}, kind)
	}
	return k
}

// mayHoldObject reports whether name is a key whose value may be an object.
func (k *keys) mayHoldObject(name string) bool {
	if f := k.schema.find(name); f != nil {
		return f.value.Kind() == reflect.Map
	}
	return slices.Contains(k.nested, fold(name)) || among(name, k.ignored) || among(name, k.foreign)
}

// same reports whether a written name means a key: as it is called here, or as
// Consul's API writes it.
func same(written, key string) bool {
	return written == key ||
		!strings.Contains(written, "_") && strings.EqualFold(written, strings.ReplaceAll(key, "_", ""))
}

func among(written string, keys []string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return same(written, k) })
}

// find returns the field that a written name means, or nil.
func (s *schema) find(written string) *field {
	for i := range s.fields {
		f := &s.fields[i]
		names := append(strings.Fields(f.tag.Get("also")), f.key())
		if among(written, names) {
			return f
		}
	}
	return nil
}

// A filled is a block whose keys have been decoded.
type filled struct {
	*report
	block *block
	d     *definer
	// broken are the values that could not be read at all; nothing more is
	// said of their keys.
	broken Errors
}

// fill decodes the entries of b into the struct that into points to, which
// holds the defaults, and holds each against its tags.
func (d *definer) fill(b *block, into any) *filled {
	f := &filled{
		d: d, block: b,
		report: &report{schema: schemaUnder(into, b.kind), given: map[string]place{"": {b.src, b.at}}},
	}
	k := keysOf(b.kind)
	for _, e := range b.entries {
		to := f.schema.find(e.name)
		switch {
		case to != nil:
			f.set(to, e)
		case among(e.name, k.ignored):
			f.ignore(e)
		default:
			f.unknown(e, k)
		}
	}
	for _, to := range f.schema.fields {
		// A key that is given and empty is not missing: whoever knows what it
		// is for says what it lacks.
		to.required = to.required && !f.has(to.key())
		f.checkTags(&to)
	}
	return f
}

// done hands what was found to the definer, and reports whether that is
// nothing.
func (f *filled) done() bool {
	f.errors = slices.DeleteFunc(f.errors, func(e Error) bool {
		return slices.ContainsFunc(f.broken, func(b Error) bool { return b.Key == e.Key })
	})
	f.d.errors = slices.Concat(f.d.errors, f.broken, f.errors)
	return len(f.broken)+len(f.errors) == 0
}

// has reports whether the key was given.
func (f *filled) has(key string) bool {
	_, ok := f.given[f.block.kind+"."+key]
	return ok
}

// bad reports something about a key of the block.
func (f *filled) bad(key, format string, args ...any) {
	f.addf(f.block.kind+"."+key, format, args...)
}

// hint adds to the newest error what to write instead.
func (f *filled) hint(format string, args ...any) {
	f.errors[len(f.errors)-1].Hint = fmt.Sprintf(format, args...)
}

// dropped notes a key that was given and has no effect.
func (f *filled) dropped(key string) {
	if p, ok := f.given[f.block.kind+"."+key]; ok {
		f.d.ignored = append(f.d.ignored, fmt.Sprintf("%s:%d: %s.%s", p.source.name, p.at.Start.Line, f.block.kind, key))
	}
}

func (f *filled) ignore(e entry) {
	path := f.block.kind + "." + e.name
	f.d.ignored = append(f.d.ignored, fmt.Sprintf("%s:%d: %s", f.block.src.name, e.at.Start.Line, path))
}

func (f *filled) unknown(e entry, k *keys) {
	p := f.block.src.errorAt(e.at, f.block.kind+"."+e.name, fmt.Sprintf("unknown key %q in %s", e.name, f.block.kind))
	known := slices.Clone(k.nested)
	for _, fd := range f.schema.fields {
		known = append(known, fd.key())
	}
	p.Hint = didYouMean(e.name, known)
	f.errors = append(f.errors, p)
}

func (f *filled) set(to *field, e entry) {
	s := f.block.src
	if first, ok := f.given[to.path]; ok {
		f.broken = append(f.broken, s.errorAt(e.at, to.path, fmt.Sprintf("%s is given twice, first at %s:%d", to.path, s.name, first.at.Start.Line)))
		return
	}
	f.given[to.path] = place{s, e.at}
	if err := to.setEntry(e); err != nil {
		bad := s.errorAt(e.at, to.path, err.Error())
		if strings.Contains(bad.Message, "variables") {
			bad.Hint = "write $${x} for a ${x} that is not for HCL"
		}
		f.broken = append(f.broken, bad)
	}
}

// setEntry is set for the types of keys that only definitions have, and for
// those that everybody has.
func (f *field) setEntry(e entry) error {
	switch p := f.value.Addr().Interface().(type) {
	case *table:
		return f.setMap(e, func(name string, v cty.Value) error {
			text, ok := scalarText(v)
			if !ok {
				return fmt.Errorf("%s: want text for %s, got %s", f.path, name, typeName(v))
			}
			put(p, name, text)
			return nil
		})
	case *headers:
		return f.setMap(e, func(name string, v cty.Value) error {
			texts, ok := wordsIn(v)
			if !ok {
				return fmt.Errorf(`%s: want text or a list for %s, got %s`, f.path, name, typeName(v))
			}
			put(p, name, texts)
			return nil
		})
	}
	if e.value == nil {
		return fmt.Errorf("%s is a value, not a definition: write %s = …", f.path, f.key())
	}
	switch p := f.value.Addr().Interface().(type) {
	case *words:
		return f.setWords((*[]string)(p), e.value, func(s string) []string { return []string{s} })
	case *commandLine:
		return f.setWords((*[]string)(p), e.value, shellLine)
	}
	return f.set(e.value)
}

func put[M ~map[string]V, V any](m *M, name string, v V) {
	if *m == nil {
		*m = make(M)
	}
	(*m)[name] = v
}

// shellLine is how a line is run that has not been cut into arguments. An empty
// line is no command.
func shellLine(s string) []string {
	if strings.TrimSpace(s) == "" {
		return []string{""}
	}
	return []string{"/bin/sh", "-c", s}
}

func (f *field) setMap(e entry, set func(name string, v cty.Value) error) error {
	entries, ok := e.inner()
	if !ok {
		return fmt.Errorf("%s: want %s", f.path, f.wanted())
	}
	seen := make(map[string]bool)
	for _, in := range entries {
		if in.value == nil {
			return fmt.Errorf("%s: want %s, got a block %s in it", f.path, f.wanted(), in.name)
		}
		if seen[in.name] {
			return fmt.Errorf("%s: %s is given twice", f.path, in.name)
		}
		seen[in.name] = true
		v, err := plainValue(in.value)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", f.path, in.name, err)
		}
		if err := set(in.name, v); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) setWords(p *[]string, x hcl.Expression, alone func(string) []string) error {
	v, err := plainValue(x)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	list, ok := wordsIn(v)
	switch {
	case !ok:
		return f.wrongType(v)
	case v.Type() == cty.String:
		list = alone(list[0])
	}
	*p = list
	return nil
}

// wordsIn reads a string or a list of strings.
func wordsIn(v cty.Value) ([]string, bool) {
	if v.IsNull() {
		return nil, false
	}
	if v.Type() == cty.String {
		return []string{v.AsString()}, true
	}
	if !v.Type().IsTupleType() {
		return nil, false
	}
	list := make([]string, 0, v.LengthInt())
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.Type() != cty.String {
			return nil, false
		}
		list = append(list, e.AsString())
	}
	return list, true
}

// scalarText is how people write a string, a number or a truth.
func scalarText(v cty.Value) (string, bool) {
	switch {
	case v.IsNull():
		return "", false
	case v.Type() == cty.String:
		return v.AsString(), true
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('f', -1), true
	case v.Type() == cty.Bool:
		return fmt.Sprint(v.True()), true
	}
	return "", false
}
