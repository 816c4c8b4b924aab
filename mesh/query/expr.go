package query

import (
	"maps"
	"slices"
	"strings"

	"alps/mesh/nodeset"
)

// nameField is the field that explicit names are looked up in.
const nameField = "name"

// Fields is what a query may ask of one node.
type Fields interface {
	// Field returns the values of the named field. None, nil or not, means that
	// the node lacks it. Match does not change or keep the slice.
	Field(name string) []string
}

// Expr is a parsed query. It does not change after it was made, and many
// goroutines may use it at once. A nil Expr and the zero Expr match nothing:
// somebody who forgot to say which nodes has not said all of them.
type Expr struct{ root node }

// And returns the query that matches what both a and b match. If either is nil
// or zero it matches nothing. Its text may be longer than Parse takes.
func And(a, b *Expr) *Expr {
	if a.empty() || b.empty() {
		return &Expr{}
	}
	if _, ok := a.root.(every); ok {
		return b
	}
	if _, ok := b.root.(every); ok {
		return a
	}
	return &Expr{root: and(nil).with(a.root).with(b.root)}
}

func (e *Expr) empty() bool { return e == nil || e.root == nil }

// Match reports whether the node that f describes is meant. It takes no lock
// and allocates nothing itself.
func (e *Expr) Match(f Fields) bool { return !e.empty() && e.root.match(f) }

// String returns the query in its one canonical spelling: keywords in lower
// case, "and" written out, no needless parentheses or quotes. Parse reads it
// back as the same query. A nil or zero Expr is "".
func (e *Expr) String() string {
	if e.empty() {
		return ""
	}
	var b strings.Builder
	e.root.write(&b)
	return b.String()
}

// Names returns the node names that the query mentions, sorted by
// nodeset.Compare and without doubles: the expanded lists, and the values of
// name= and name!=. Those under "not" are mentioned too: of two typing errors
// the one in an exclusion is worse. A caller refuses the names that no node
// has.
func (e *Expr) Names() []string {
	var names []string
	e.visit(func(n node) {
		switch n := n.(type) {
		case named:
			names = append(names, n.set.Names()...)
		case *condition:
			if n.field == nameField && (n.op == equal || n.op == notEqual) {
				names = append(names, n.values...)
			}
		}
	})
	slices.SortFunc(names, nodeset.Compare)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" })
}

// FieldNames returns the fields that the conditions of the query ask for,
// sorted, without doubles. An explicit list of names is not a condition.
func (e *Expr) FieldNames() []string {
	fields := make(map[string]struct{})
	e.visit(func(n node) {
		if c, ok := n.(*condition); ok {
			fields[c.field] = struct{}{}
		}
	})
	return slices.Sorted(maps.Keys(fields))
}

// visit calls fn for each leaf from left to right.
func (e *Expr) visit(fn func(node)) {
	if !e.empty() {
		visit(e.root, fn)
	}
}

func visit(n node, fn func(node)) {
	switch n := n.(type) {
	case not:
		visit(n.of, fn)
	case and:
		for _, sub := range n {
			visit(sub, fn)
		}
	case or:
		for _, sub := range n {
			visit(sub, fn)
		}
	default:
		fn(n)
	}
}

// node is one node of the syntax tree.
type node interface {
	match(f Fields) bool
	write(b *strings.Builder) // in canonical spelling, without parentheses around it.
}

type (
	every struct{}                   // all.
	named struct{ set *nodeset.Set } // an explicit list.
	not   struct{ of node }
	and   []node // at least two, none of them an and.
	or    []node // at least two, none of them an or.
)

func (every) match(Fields) bool     { return true }
func (n named) match(f Fields) bool { return slices.ContainsFunc(f.Field(nameField), n.set.Contains) }
func (n not) match(f Fields) bool   { return !n.of.match(f) }

func (n and) match(f Fields) bool {
	for _, sub := range n {
		if !sub.match(f) {
			return false
		}
	}
	return true
}

func (n or) match(f Fields) bool {
	for _, sub := range n {
		if sub.match(f) {
			return true
		}
	}
	return false
}

// with appends sub to n, or what sub lists if it is an and itself.
func (n and) with(sub node) and {
	if list, ok := sub.(and); ok {
		return append(n, list...)
	}
	return append(n, sub)
}

// with appends sub to n, or what sub lists if it is an or itself.
func (n or) with(sub node) or {
	if list, ok := sub.(or); ok {
		return append(n, list...)
	}
	return append(n, sub)
}

func (every) write(b *strings.Builder)   { b.WriteString(kwAll) }
func (n named) write(b *strings.Builder) { b.WriteString(n.set.String()) }

func (n not) write(b *strings.Builder) {
	b.WriteString(kwNot + " ")
	switch n.of.(type) {
	case and, or:
		writeGroup(b, n.of)
	default:
		n.of.write(b)
	}
}

func (n and) write(b *strings.Builder) {
	for i, sub := range n {
		if i > 0 {
			b.WriteString(" " + kwAnd + " ")
		}
		if _, ok := sub.(or); ok {
			writeGroup(b, sub)
		} else {
			sub.write(b)
		}
	}
}

func (n or) write(b *strings.Builder) {
	for i, sub := range n {
		if i > 0 {
			b.WriteString(" " + kwOr + " ")
		}
		sub.write(b)
	}
}

func writeGroup(b *strings.Builder, n node) {
	b.WriteByte('(')
	n.write(b)
	b.WriteByte(')')
}
