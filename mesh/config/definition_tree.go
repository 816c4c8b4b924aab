package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// An entry is what stands in one place of a definition: a key with its value,
// or a block in braces. Consul's HCL makes no difference between
//
//	check { … }    check = { … }    checks = [{ … }]
//
// and JSON has only the latter two, so nobody above this file makes one.
type entry struct {
	name   string
	at     hcl.Range
	value  hcl.Expression  // nil for a block in braces.
	body   *hclsyntax.Body // nil for a value.
	labels []string
}

// A block is one definition: a word, perhaps a label, and entries.
type block struct {
	src     *source
	kind    string // "check".
	at      hcl.Range
	label   string // "" when it has none.
	entries []entry
}

// parseTree reads src as parse does, but keeps its whole depth, in top.
func parseTree(name string, src []byte) *source {
	s := newSource(name, src)
	s.secrets = true
	if !s.isJSON() {
		if body := s.nativeBody(src); body != nil {
			s.top = bodyEntries(body)
		}
		return s
	}
	root := s.jsonRoot(src)
	if root == nil {
		return s
	}
	top, ok := objectEntries(root)
	if !ok {
		s.errors = append(s.errors, s.errorAt(root.Range(), "", "want an object in braces"))
	}
	s.top = top
	return s
}

// bodyEntries lists a body in the order of the file.
func bodyEntries(body *hclsyntax.Body) []entry {
	var entries []entry
	for _, a := range body.Attributes {
		entries = append(entries, entry{name: a.Name, at: a.NameRange, value: a.Expr})
	}
	for _, b := range body.Blocks {
		entries = append(entries, entry{name: b.Type, at: b.TypeRange, body: b.Body, labels: b.Labels})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.at.Start.Byte, b.at.Start.Byte) })
	return entries
}

// objectEntries lists what an object holds, or says that x is none. "//" is a
// comment.
func objectEntries(x hcl.Expression) ([]entry, bool) {
	pairs, diags := hcl.ExprMap(x)
	if diags.HasErrors() {
		return nil, false
	}
	var entries []entry
	for _, p := range pairs {
		name, diags := p.Key.Value(nil)
		if diags.HasErrors() || name.IsNull() || !name.IsKnown() || name.Type() != cty.String {
			return nil, false
		}
		if name.AsString() != "//" {
			entries = append(entries, entry{name: name.AsString(), at: p.Key.Range(), value: p.Value})
		}
	}
	return entries, true
}

// inner lists what e holds, or says that it holds a plain value.
func (e entry) inner() ([]entry, bool) {
	if e.body != nil {
		return bodyEntries(e.body), true
	}
	return objectEntries(e.value)
}

// blocks returns the definitions that e holds: one, those of a list, or in an
// object whose names are labels one for each name.
func (d *definer) blocks(s *source, e entry, kind string) []*block {
	if e.body != nil {
		b := &block{src: s, kind: kind, at: e.at, entries: bodyEntries(e.body), label: strings.Join(e.labels, " ")}
		if len(e.labels) > 1 {
			d.add(b, kind, kind+" takes one label, got several", "")
			return nil
		}
		return []*block{b}
	}
	list, diags := hcl.ExprList(e.value)
	if diags.HasErrors() {
		list = []hcl.Expression{e.value}
	}
	var blocks []*block
	for _, x := range list {
		entries, ok := objectEntries(x)
		b := &block{src: s, kind: kind, at: e.at, entries: entries}
		if len(list) > 1 {
			b.at = opening(x.Range())
		}
		switch {
		case !ok:
			d.add(b, kind, kind+" is a definition, not a value", "write "+s.sectionText(kind))
		case labelled(kind, entries):
			blocks = append(blocks, byLabel(s, kind, entries)...)
		default:
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// opening is the place where a range begins.
func opening(r hcl.Range) hcl.Range {
	r.End = r.Start
	return r
}

// labelled reports whether the names in an object are labels, as in the JSON
// {"check": {"web": {…}}}: each of them holds an object, and none is a key that
// may.
func labelled(kind string, entries []entry) bool {
	keys := keysOf(kind)
	for _, e := range entries {
		if _, ok := e.inner(); !ok || keys.mayHoldObject(e.name) {
			return false
		}
	}
	return len(entries) > 0
}

func byLabel(s *source, kind string, entries []entry) []*block {
	var blocks []*block
	for _, e := range entries {
		inner, _ := e.inner()
		blocks = append(blocks, &block{src: s, kind: kind, at: e.at, label: e.name, entries: inner})
	}
	return blocks
}

// take removes the entries of that name from b and returns them.
func (b *block) take(names ...string) []entry {
	var taken []entry
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool {
		ok := slices.Contains(names, fold(e.name))
		if ok {
			taken = append(taken, e)
		}
		return ok
	})
	return taken
}

// text is the value of e when it is a plain string, for hints.
func (e entry) text() string {
	if e.value == nil {
		return ""
	}
	v, diags := e.value.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsWhollyKnown() || v.Type() != cty.String {
		return ""
	}
	return v.AsString()
}

// fold is how names are compared: Consul's JSON may say ServiceID for
// service_id.
func fold(name string) string { return strings.ToLower(name) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// joined is a list in words.
func joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
