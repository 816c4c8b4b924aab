package query_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"alps/mesh/query"
)

// sample is the text of a query and, told from the same draws without the
// parser, what it means.
type sample struct {
	text  string
	means func(record) bool
}

// Few fields and few values, so that conditions are often true.
var (
	fieldNames  = []string{"a", "b", "name", "x.y"}
	fieldValues = []string{"", "1", "2", "10", "n1", "n2", "n10", "and", "x y", `q"\`, "机房"}
)

func drawRecord(t *rapid.T) record {
	r := record{}
	for _, f := range fieldNames {
		r[f] = rapid.SliceOfN(rapid.SampledFrom(fieldValues), 0, 2).Draw(t, f)
	}
	return r
}

// orEmpty is what a field has for conditions: a missing one has "".
func orEmpty(values []string) []string {
	if len(values) == 0 {
		return []string{""}
	}
	return values
}

func drawSpace(t *rapid.T) string {
	return rapid.SampledFrom([]string{" ", "  ", "\n\t"}).Draw(t, "space")
}

func drawKeyword(t *rapid.T, k string) string {
	return rapid.SampledFrom([]string{k, strings.ToUpper(k)}).Draw(t, "keyword")
}

// quoted writes v in quotes, or without when that is sure to be the same.
func quoted(t *rapid.T, v string) string {
	if plain := regexp.MustCompile(`^[a-z0-9]+$`).MatchString(v) && v != "and"; plain && rapid.Bool().Draw(t, "bare") {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

func drawOr(t *rapid.T, depth int) sample {
	s := drawAnd(t, depth)
	for range rapid.IntRange(0, 2).Draw(t, "more or") {
		l, r := s, drawAnd(t, depth)
		s = sample{
			l.text + drawSpace(t) + drawKeyword(t, "or") + drawSpace(t) + r.text,
			func(n record) bool { return l.means(n) || r.means(n) },
		}
	}
	return s
}

func drawAnd(t *rapid.T, depth int) sample {
	s := drawUnary(t, depth)
	for range rapid.IntRange(0, 2).Draw(t, "more and") {
		l, r := s, drawUnary(t, depth)
		joint := drawSpace(t)
		// Two lists of names may not stand side by side.
		if lists := strings.Contains(l.text, "]"); lists || rapid.Bool().Draw(t, "written out") {
			joint += drawKeyword(t, "and") + drawSpace(t)
		}
		s = sample{l.text + joint + r.text, func(n record) bool { return l.means(n) && r.means(n) }}
	}
	return s
}

func drawUnary(t *rapid.T, depth int) sample {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case depth > 0 && kind == 0:
		of := drawUnary(t, depth-1)
		return sample{drawKeyword(t, "not") + drawSpace(t) + of.text, func(n record) bool { return !of.means(n) }}
	case depth > 0 && kind <= 3:
		of := drawOr(t, depth-1)
		return sample{"(" + of.text + ")", of.means}
	case kind == 4:
		return sample{rapid.SampledFrom([]string{"all", "All", "*"}).Draw(t, "all"), func(record) bool { return true }}
	case kind == 5:
		lo := rapid.IntRange(1, 3).Draw(t, "lo")
		hi := rapid.IntRange(lo, 10).Draw(t, "hi")
		return sample{fmt.Sprintf("x,n[%d-%d]", lo, hi), func(n record) bool {
			return slices.ContainsFunc(n["name"], func(v string) bool {
				i, err := strconv.Atoi(strings.TrimPrefix(v, "n"))
				return err == nil && strings.HasPrefix(v, "n") && lo <= i && i <= hi
			})
		}}
	}
	return drawCondition(t)
}

func drawCondition(t *rapid.T) sample {
	field := rapid.SampledFrom(fieldNames).Draw(t, "field")
	op := rapid.SampledFrom([]string{"=", "!=", "^", "~", "!~", ">", "<", ">=", "<="}).Draw(t, "op")
	space := rapid.SampledFrom([]string{"", " "}).Draw(t, "around")
	if strings.ContainsAny(op, "<>") {
		limit := rapid.IntRange(0, 11).Draw(t, "limit")
		return sample{field + space + op + space + strconv.Itoa(limit), func(n record) bool {
			return slices.ContainsFunc(n[field], func(v string) bool {
				i, err := strconv.Atoi(v)
				return err == nil && (i > limit && op[0] == '>' || i < limit && op[0] == '<' || i == limit && len(op) == 2)
			})
		}}
	}
	values := rapid.SliceOfN(rapid.SampledFrom(fieldValues), 1, 2).Draw(t, "values")
	if strings.Contains(op, "~") {
		values = values[:1]
	}
	var texts []string
	for _, v := range values {
		if strings.Contains(op, "~") {
			v = regexp.QuoteMeta(v)
		}
		texts = append(texts, quoted(t, v))
	}
	fits := func(v, want string) bool {
		switch op {
		case "^":
			return strings.HasPrefix(v, want)
		case "~", "!~":
			return strings.Contains(v, want)
		}
		return v == want
	}
	return sample{field + space + op + space + strings.Join(texts, ","), func(n record) bool {
		some := slices.ContainsFunc(orEmpty(n[field]), func(v string) bool {
			return slices.ContainsFunc(values, func(want string) bool { return fits(v, want) })
		})
		return some != (op[0] == '!')
	}}
}

func TestParseMeansWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, node := drawOr(t, 3), drawRecord(t)
		e, err := query.Parse(s.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := e.Match(node), s.means(node); got != want {
			t.Fatalf("%s\nread as %s\nmatches %v: %t, want %t", s.text, e, node, got, want)
		}
		again, err := query.Parse(e.String())
		if err != nil {
			t.Fatalf("%s\nprints as %s: %v", s.text, e, err)
		}
		if again.String() != e.String() {
			t.Fatalf("%s\nprints as %s\nand that as %s", s.text, e, again)
		}
		if again.Match(node) != e.Match(node) {
			t.Fatalf("%s and its print disagree on %v", s.text, node)
		}
		other := drawUnary(t, 1)
		o, err := query.Parse(other.text)
		if err != nil {
			t.Fatal(err)
		}
		both := query.And(e, o)
		if got, want := both.Match(node), s.means(node) && other.means(node); got != want {
			t.Fatalf("And(%s, %s) on %v: %t, want %t", e, o, node, got, want)
		}
		reread, err := query.Parse(both.String())
		if err != nil {
			t.Fatalf("the text of And: %v", err)
		}
		if reread.String() != both.String() {
			t.Fatalf("the text of And, %s, prints as %s", both, reread)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "all", "*", "role=datanode dc=bj-e-01 status!=passing mem_gb>64 name~^bj-e- not (tag=canary or name=bj-e-admin03)",
		"bj-e-hadoop01-11-[203-213],db[01-10,15]", `a="x\"y\\",b c!~"(p|q)" or not not d^e`, "a~(b|[)]", "a=1,2 b>=3 c<4",
		"a==1", "a&&b", "((((", "a=\xff", "not", "and", `a="`, "a~\\", "机房=1 n[3-1]", "a~=b", "a, b", "n[1-1000000000]",
	} {
		f.Add(seed)
	}
	node := record{"name": {"n1"}, "a": {"1", "b"}, "b": {"x y"}, "role": {"datanode"}}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := query.Parse(in)
		if err != nil {
			checkError(t, in, err)
			return
		}
		text := e.String()
		again, err := query.Parse(text)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", in, text, err)
		}
		if again.String() != text {
			t.Fatalf("%q prints as %q, and that as %q", in, text, again)
		}
		if again.Match(node) != e.Match(node) {
			t.Fatalf("%q and its print %q disagree", in, text)
		}
		if !slices.Equal(again.FieldNames(), e.FieldNames()) {
			t.Fatalf("%q asks for %q, its print for %q", in, e.FieldNames(), again.FieldNames())
		}
	})
}

func checkError(t *testing.T, in string, err error) {
	t.Helper()
	e, ok := errors.AsType[*query.Error](err)
	if !ok {
		t.Fatalf("Parse(%q): %v is no Error", in, err)
	}
	if e.Input != in || e.Offset < 0 || e.Offset > len(in) || e.Msg == "" {
		t.Fatalf("Parse(%q) = %+v", in, e)
	}
	if strings.Contains(e.Error()+e.Hint, "\n") {
		t.Fatalf("the error of %q has several lines: %q", in, e.Error())
	}
	if lines := strings.Count(e.Caret(), "\n"); lines != 1 {
		t.Fatalf("the caret of %q has %d line ends", in, lines)
	}
}

func BenchmarkMatch(b *testing.B) {
	e := mustParse(b, "role=datanode dc=bj-e-01 status!=passing mem_gb>64 name~^bj-e- not (tag=canary or name=bj-e-admin03)")
	node := record{
		"name": {"bj-e-hadoop01-11-205"}, "role": {"datanode"}, "dc": {"bj-e-01"},
		"status": {"critical"}, "mem_gb": {"128"}, "tag": {"ssd"},
	}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Match(node) {
			b.Fatal("the node does not match")
		}
	}
}
