package query

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// operator is how a condition compares, in its only spelling.
type operator string

const (
	equal        operator = "="
	notEqual     operator = "!="
	prefix       operator = "^"
	matches      operator = "~"
	notMatches   operator = "!~"
	greater      operator = ">"
	greaterEqual operator = ">="
	less         operator = "<"
	lessEqual    operator = "<="
)

// spellings are the operators and what is typed in place of them by people who
// come from other languages. A spelling stands before its own beginnings.
var spellings = []struct {
	text string
	op   operator // "" for one that we do not have.
	hint string
}{
	{text: "==", hint: `did you mean "="?`},
	{text: "=~", hint: `did you mean "~"?`},
	{text: "~=", hint: `did you mean "~"? Quote an expression that begins with "="`},
	{text: "=>", hint: `did you mean ">="?`},
	{text: "=<", hint: `did you mean "<="?`},
	{text: "<>", hint: `did you mean "!="?`},
	{text: "!^", hint: `put "not" before the field: not name^bj-`},
	{text: "!=", op: notEqual},
	{text: "!~", op: notMatches},
	{text: ">=", op: greaterEqual},
	{text: "<=", op: lessEqual},
	{text: "!", hint: `did you mean "!=", or "not" before a condition?`},
	{text: "=", op: equal},
	{text: "^", op: prefix},
	{text: "~", op: matches},
	{text: ">", op: greater},
	{text: "<", op: less},
}

// numeric reports whether op compares numbers.
func (op operator) numeric() bool {
	return op == greater || op == greaterEqual || op == less || op == lessEqual
}

// condition is one comparison of a field with one or more values.
type condition struct {
	field  string
	op     operator
	values []string

	// fits asks one value of the field; negated says that none may fit.
	fits    func(string) bool
	negated bool
}

func (c *condition) match(f Fields) bool {
	values := f.Field(c.field)
	if len(values) == 0 {
		return c.fits("") != c.negated
	}
	return slices.ContainsFunc(values, c.fits) != c.negated
}

func (c *condition) write(b *strings.Builder) {
	b.WriteString(c.field)
	b.WriteString(string(c.op))
	for i, v := range c.values {
		if i > 0 {
			b.WriteByte(',')
		}
		if c.op == matches || c.op == notMatches {
			writeValue(b, v, bareRegexp(v))
		} else {
			writeValue(b, v, bareWord(v))
		}
	}
}

func writeValue(b *strings.Builder, v string, bare bool) {
	if bare {
		b.WriteString(v)
		return
	}
	b.WriteByte('"')
	b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v))
	b.WriteByte('"')
}

// newCondition prepares a comparison so that asking it is quick. The numeric
// operators and the regular ones take exactly one value.
func newCondition(field string, op operator, values []string) (*condition, error) {
	c := &condition{field: field, op: op, values: values}
	c.negated = op == notEqual || op == notMatches
	switch op {
	case equal, notEqual:
		c.fits = oneOf(values)
	case prefix:
		c.fits = func(v string) bool {
			return slices.ContainsFunc(values, func(p string) bool { return strings.HasPrefix(v, p) })
		}
	case matches, notMatches:
		re, err := compile(values[0])
		if err != nil {
			return nil, err
		}
		c.fits = re.MatchString
	case greater, greaterEqual, less, lessEqual:
		limit, ok := parseNumber(values[0])
		if !ok {
			return nil, fmt.Errorf("%q is not a number", values[0])
		}
		c.fits = func(v string) bool {
			n, ok := parseNumber(v)
			return ok && op.holds(n, limit)
		}
	}
	return c, nil
}

func oneOf(values []string) func(string) bool {
	if len(values) == 1 {
		want := values[0]
		return func(v string) bool { return v == want }
	}
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		set[v] = struct{}{}
	}
	return func(v string) bool {
		_, ok := set[v]
		return ok
	}
}

// holds reports whether n op limit is true, for a numeric op.
func (op operator) holds(n, limit float64) bool {
	switch op {
	case greater:
		return n > limit
	case greaterEqual:
		return n >= limit
	case less:
		return n < limit
	case lessEqual:
		return n <= limit
	case equal, notEqual, prefix, matches, notMatches:
	}
	return false
}

// parseNumber reads a decimal number. What else strconv takes for one (hex,
// infinity, "nan") is text to us.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// maxRegexp bounds the instructions that an expression compiles to, so that
// neither its memory nor a match of it becomes large. It is what a query can
// spell out; only counted repeats get above it.
const maxRegexp = MaxInput

func compile(text string) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err == nil && cost(tree) > maxRegexp {
		return nil, errors.New("the regular expression is too large")
	}
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile(text)
	}
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fmt.Errorf("bad regular expression: %s", bad.Code)
	}
	return re, err
}

// cost estimates how many instructions re compiles to. The parser bounds
// nested repeats to 1,000 in all, so the product stays small enough to count.
func cost(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += cost(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}
