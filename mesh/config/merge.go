package config

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// merge decodes the sources into root, fills in what follows from data_dir and
// checks the whole. path is what errors without a place are said of.
func merge(path string, sources []*source, root any) Errors {
	m := &merger{schema: schemaOf(root), given: make(map[string]place), bad: make(map[string]bool)}
	partial := false
	for _, s := range sources {
		partial = partial || len(s.errors) > 0
		m.errors = append(m.errors, s.errors...)
		m.add(s, "", s.items)
	}
	m.fillPaths()
	// In what is left of a file with a syntax error a key may seem to be
	// missing, so nothing is said about the whole.
	if !partial {
		r := &report{given: m.given, schema: m.schema, file: path}
		r.all(root, m.bad)
		m.errors = append(m.errors, r.errors...)
	}
	sortErrors(sources, m.errors)
	return m.errors
}

// sortErrors puts errors in the order of the files.
func sortErrors(sources []*source, errs Errors) {
	slices.SortStableFunc(errs, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(position(sources, a.File), position(sources, b.File)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// position puts errors of no file behind those of the files.
func position(sources []*source, file string) int {
	i := slices.IndexFunc(sources, func(s *source) bool { return s.name == file })
	if i < 0 {
		return len(sources)
	}
	return i
}

// A merger puts the items of all sources into the fields that they name.
type merger struct {
	schema *schema
	given  map[string]place
	bad    map[string]bool
	errors Errors
}

func (m *merger) add(s *source, section string, items []item) {
	for _, it := range items {
		path := it.name
		if section != "" {
			path = section + "." + it.name
		}
		isSection := section == "" && m.schema.sections[it.name]
		switch {
		case isSection && it.value != nil:
			m.addError(s, it, path, it.name+" is a section, not a value", "write "+s.sectionText(it.name))
		case isSection && it.label != "":
			m.addError(s, it, path, fmt.Sprintf("%s takes no label, got %q", it.name, it.label), "write "+s.sectionText(it.name))
		case isSection:
			m.add(s, it.name, it.items)
		default:
			m.addValue(s, it, section, path)
		}
	}
}

func (m *merger) addValue(s *source, it item, section, path string) {
	f := m.schema.byPath[path]
	if f == nil {
		message := fmt.Sprintf("unknown key %q", it.name)
		if section != "" {
			message += " in " + section
		}
		m.addError(s, it, path, message, m.suggest(s, it.name, section))
		return
	}
	if it.value == nil {
		m.addError(s, it, path, path+" is a value, not a section", "")
		return
	}
	if first, ok := m.given[path]; ok {
		m.addError(s, it, path, fmt.Sprintf("%s is given twice, first at %s:%d", path, first.source.name, first.at.Start.Line), "")
		return
	}
	m.given[path] = place{s, it.at}
	if err := f.set(it.value); err != nil {
		m.addError(s, it, path, err.Error(), "")
	}
}

func (m *merger) addError(s *source, it item, path, message, hint string) {
	m.bad[path] = true
	p := s.errorAt(it.at, path, message)
	p.Hint = hint
	m.errors = append(m.errors, p)
}

// suggest finds the key that was meant: a near one in the same section, or one
// of that very name elsewhere.
func (m *merger) suggest(s *source, name, section string) string {
	var near []string
	for _, f := range m.schema.fields {
		if f.section == section {
			near = append(near, strings.TrimPrefix(f.path, section+"."))
		}
	}
	if section == "" {
		near = slices.AppendSeq(near, maps.Keys(m.schema.sections))
		slices.Sort(near)
	}
	if hint := didYouMean(name, near); hint != "" {
		return hint
	}
	for _, f := range m.schema.fields {
		if f.path == name || strings.HasSuffix(f.path, "."+name) {
			if f.section == "" {
				return "it stands at the top of the file, outside every section"
			}
			return "it belongs in " + s.sectionText(f.section)
		}
	}
	return ""
}

// fillPaths gives the paths that were not given their place under data_dir.
func (m *merger) fillPaths() {
	dir := m.schema.byPath["data_dir"].value.String()
	if dir == "" {
		return
	}
	for _, f := range m.schema.fields {
		if under := f.tag.Get("under"); under != "" && f.value.IsZero() {
			f.value.SetString(filepath.Join(dir, under))
		}
	}
}
