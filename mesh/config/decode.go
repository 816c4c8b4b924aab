package config

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// set decodes an expression into the field. The error says what was wanted.
func (f *field) set(expr hcl.Expression) error {
	v, err := plainValue(expr)
	if err != nil {
		return err
	}
	if v.IsNull() {
		return fmt.Errorf("%s: want %s, got nothing", f.path, f.wanted())
	}
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		return f.setString(p, v)
	case *bool:
		if v.Type() != cty.Bool {
			return f.wrongType(v)
		}
		*p = v.True()
	case *int:
		return f.setInt(p, v)
	case *time.Duration:
		return f.setDuration(p, v)
	case *[]string:
		return f.setList(p, v)
	case *table:
		return f.setTable(p, v)
	default:
		return fmt.Errorf("%s: a %T cannot be read from a file", f.path, p)
	}
	return nil
}

// plainValue evaluates an expression that mentions nothing else.
func plainValue(expr hcl.Expression) (cty.Value, error) {
	v, diags := expr.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, errors.New(diagnosticText(diags[0]))
	}
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		return cty.NullVal(cty.DynamicPseudoType), nil
	}
	return v, nil
}

func (f *field) setString(p *string, v cty.Value) error {
	if v.Type() != cty.String {
		return f.wrongType(v)
	}
	*p = v.AsString()
	return nil
}

func (f *field) setInt(p *int, v cty.Value) error {
	if v.Type() != cty.Number {
		return f.wrongType(v)
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact {
		return fmt.Errorf("%s: want a whole number", f.path)
	}
	*p = int(n) // int has 64 bits wherever ALPS runs.
	return nil
}

func (f *field) setDuration(p *time.Duration, v cty.Value) error {
	if v.Type() != cty.String {
		return f.wrongType(v)
	}
	d, err := time.ParseDuration(v.AsString())
	if err != nil {
		return fmt.Errorf("%s: want %s, got %q", f.path, f.wanted(), v.AsString())
	}
	*p = d
	return nil
}

func (f *field) setList(p *[]string, v cty.Value) error {
	if !v.Type().IsTupleType() {
		return f.wrongType(v)
	}
	list := make([]string, 0, v.LengthInt())
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.Type() != cty.String {
			return fmt.Errorf("%s: want %s, got %s in it", f.path, f.wanted(), typeName(e))
		}
		list = append(list, e.AsString())
	}
	*p = list
	return nil
}

func (f *field) setTable(p *table, v cty.Value) error {
	if !v.Type().IsObjectType() {
		return f.wrongType(v)
	}
	var got table // nil when nothing is named, as the default.
	for name, e := range v.AsValueMap() {
		text, ok := scalarText(e)
		if !ok {
			return fmt.Errorf("%s: want text for %s, got %s", f.path, name, typeName(e))
		}
		put(&got, name, text)
	}
	*p = got
	return nil
}

func (f *field) wrongType(v cty.Value) error {
	return fmt.Errorf("%s: want %s, got %s", f.path, f.wanted(), typeName(v))
}

// wanted says with an example what the field is to be.
func (f *field) wanted() string {
	switch f.value.Interface().(type) {
	case bool:
		return "true or false without quotes"
	case int:
		return "a whole number without quotes"
	case time.Duration:
		return `a duration such as "90s", "5m" or "24h"`
	case []string:
		return `a list such as ["a", "b"]`
	case words:
		return `a string in quotes, or a list such as ["a", "b"]`
	case commandLine:
		return `a command: a list such as ["/bin/true", "-v"], or a line in quotes`
	case table, headers:
		return `names with texts, such as { a = "b" }`
	default:
		return "a string in quotes"
	}
}

func typeName(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "nothing"
	case t.IsTupleType():
		return "a list"
	case t.IsObjectType():
		return "an object"
	default:
		return "a " + t.FriendlyName()
	}
}

// didYouMean is the hint for a name that is not among names: the one that is
// a few letters away, or that is its beginning. It is "" when there is none.
func didYouMean(name string, names []string) string {
	name = strings.ToLower(name)
	best, least := "", max(1, len(name)/3)
	for _, n := range names {
		d := distance(name, n)
		if len(n) > 2 && strings.HasPrefix(name, n) {
			d = 1
		}
		if d <= least && d < len(name) && (best == "" || d < least) {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the number of letters to insert, delete, change or swap with
// their neighbour that make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j // row[j] = distance(a[:i], b[:j]); last and before are those of i-1 and i-2.
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
