package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
)

// A source is one file that has been parsed, and nothing more: whether its
// keys mean anything is for the schema to say.
type source struct {
	name   string
	lines  [][]byte
	items  []item
	top    []entry // of a file of definitions, which has no items.
	errors Errors  // what is wrong with its syntax.
	// secrets: values of url and header are not shown.
	secrets bool
}

// An item is a key with a value, or a section with items.
type item struct {
	name  string
	at    hcl.Range
	value hcl.Expression // nil for a section.
	items []item
	label string // what stands between a section's name and its brace.
}

// parse reads src, which is JSON when name ends in .json and HCL otherwise.
func parse(name string, src []byte) *source {
	s := newSource(name, src)
	if s.isJSON() {
		if root := s.jsonRoot(src); root != nil {
			s.items = s.jsonItems(root, 0)
		}
	} else if body := s.nativeBody(src); body != nil {
		s.items = nativeItems(body, 0)
	}
	return s
}

func newSource(name string, src []byte) *source {
	return &source{name: name, lines: bytes.Split(src, []byte("\n"))}
}

func (s *source) isJSON() bool { return strings.HasSuffix(s.name, ".json") }

// sectionText shows how a section is written.
func (s *source) sectionText(name string) string {
	if s.isJSON() {
		return fmt.Sprintf(`"%s": { … }`, name)
	}
	return name + " { … }"
}

// labelText shows how a definition is written.
func (s *source) labelText(kind, label string) string {
	if s.isJSON() {
		return fmt.Sprintf("%q: {%q: { … }}", kind, label)
	}
	return fmt.Sprintf("%s %q { … }", kind, label)
}

// nativeBody parses HCL. What is left of a file with errors is returned too.
func (s *source) nativeBody(src []byte) *hclsyntax.Body {
	file, diags := hclsyntax.ParseConfig(src, s.name, hcl.InitialPos)
	s.addDiagnostics(diags)
	if file == nil {
		return nil
	}
	return file.Body.(*hclsyntax.Body)
}

// jsonRoot parses JSON; nil when it cannot. It lets encoding/json look for
// syntax errors first: it knows their place, where hcljson tells of the end of
// the file.
func (s *source) jsonRoot(src []byte) hcl.Expression {
	var raw json.RawMessage
	if err := json.Unmarshal(src, &raw); err != nil {
		at := hcl.Range{Filename: s.name, Start: s.position(src, err)}
		at.End = at.Start
		s.errors = append(s.errors, s.errorAt(at, "", err.Error()))
		return nil
	}
	root, diags := hcljson.ParseExpression(src, s.name)
	s.addDiagnostics(diags)
	if diags.HasErrors() {
		return nil
	}
	return root
}

// position is where encoding/json stopped.
func (s *source) position(src []byte, err error) hcl.Pos {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return hcl.InitialPos
	}
	before := src[:max(0, min(int(syntax.Offset)-1, len(src)))]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return hcl.Pos{Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(line), Byte: len(before)}
}

// maxDepth is one more than a configuration has: what lies deeper need not be
// looked at to know that it is wrong.
const maxDepth = 2

func nativeItems(body *hclsyntax.Body, depth int) []item {
	var items []item
	for _, a := range body.Attributes {
		items = append(items, item{name: a.Name, at: a.NameRange, value: a.Expr})
	}
	for _, b := range body.Blocks {
		it := item{name: b.Type, at: b.TypeRange, label: strings.Join(b.Labels, " ")}
		if depth < maxDepth {
			it.items = nativeItems(b.Body, depth+1)
		}
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.at.Start.Byte, b.at.Start.Byte) })
	return items
}

// jsonItems reads a JSON object. An object inside the root is a section; "//"
// is a comment.
func (s *source) jsonItems(object hcl.Expression, depth int) []item {
	pairs, diags := hcl.ExprMap(object)
	s.addDiagnostics(diags)
	var items []item
	for _, p := range pairs {
		name, diags := p.Key.Value(nil)
		s.addDiagnostics(diags)
		if diags.HasErrors() || name.AsString() == "//" {
			continue
		}
		it := item{name: name.AsString(), at: p.Key.Range(), value: p.Value}
		if _, diags := hcl.ExprMap(p.Value); !diags.HasErrors() {
			it.value = nil
			if depth < maxDepth {
				it.items = s.jsonItems(p.Value, depth+1)
			}
		}
		items = append(items, it)
	}
	return items
}

// addDiagnostics takes over what the parser has found, in its own words.
func (s *source) addDiagnostics(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := hcl.Range{Filename: s.name, Start: hcl.InitialPos, End: hcl.InitialPos}
		if d.Subject != nil {
			at = *d.Subject
		}
		e := s.errorAt(at, "", diagnosticText(d))
		// One missing quote makes the parser stumble at every line below it.
		if !slices.ContainsFunc(s.errors, func(o Error) bool { return o.Line == e.Line || o.Message == e.Message }) {
			s.errors = append(s.errors, e)
		}
	}
}

// errorAt describes what is wrong at a place of this file.
func (s *source) errorAt(at hcl.Range, key, message string) Error {
	return Error{
		File: s.name, Line: at.Start.Line, Column: at.Start.Column,
		Key: key, Message: message, Snippet: s.snippet(at),
	}
}

// diagnosticText is the parser's sentence in the manner of a Go error.
func diagnosticText(d *hcl.Diagnostic) string {
	text := cmp.Or(d.Detail, d.Summary)
	text = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
	if len(text) > 1 && text[1] >= 'a' && text[1] <= 'z' {
		text = strings.ToLower(text[:1]) + text[1:]
	}
	return text
}
