package query_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/mesh/query"
)

// record is a node in tests.
type record map[string][]string

func (r record) Field(name string) []string { return r[name] }

func mustParse(tb testing.TB, text string) *query.Expr {
	tb.Helper()
	e, err := query.Parse(text)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", text, err)
	}
	return e
}

func TestMatch(t *testing.T) {
	node := record{
		"name":    {"bj-e-hadoop01-11-205"},
		"role":    {"datanode"},
		"dc":      {"bj-e-01"},
		"mem_gb":  {"128"},
		"load":    {"0.5"},
		"temp":    {"-3"},
		"os":      {"CentOS Linux 7"},
		"release": {"1.10"},
		"disk":    {"64GB"},
		"tag":     {"canary", "ssd"},
		"rpm.jdk": {"1.8.0"},
		"empty":   {},
	}
	matching := []string{
		"all", "*", "ALL", "( all )",
		"role=datanode", "role = datanode", `role="datanode"`, "role=namenode,datanode", `role="name node",datanode`,
		"role!=namenode", "role!=namenode,web", "role^data", "role^name,data", `role^""`,
		"role~node$", "role~^(data|name)node$", `role~"^(data|name) ?node$"`, "role!~^name", `os~Linux\ \d`, `os~"Linux \d"`,
		`os="CentOS Linux 7"`, "(role~^(data|name)node)",
		"mem_gb>64", "mem_gb>=128", "mem_gb<=128", "mem_gb<128.5", "mem_gb > 64", "load<1", "temp<0", "temp>-4", `mem_gb>"64"`, "mem_gb>6.4e1",
		"release=1.10", "release!=1.1", "rpm.jdk^1.8",
		"tag=canary", "tag=ssd", "tag!=hdd", "tag~^s", "tag!~^h", "not tag=hdd",
		"rack!=r1", `rack=""`, `role!=""`, "rack!~r", "rack~^$", `empty=""`, "not rack=r1", "not rack>1",
		"bj-e-hadoop01-11-205", "bj-e-hadoop01-11-[203-213]", "db01,bj-e-hadoop01-11-[1,205]", "name=bj-e-hadoop01-11-205", "name^bj-e-",
		"role=datanode dc=bj-e-01", "role=datanode and dc=bj-e-01", "role=datanode AND NOT dc=x", "role=x or dc=bj-e-01",
		"role=x dc=y or role=datanode dc=bj-e-01", "role=datanode or role=x dc=y", "not role=x dc=bj-e-01", "not not role=datanode",
		"not (role=x or dc=y)", "not(role=x)", "(role=datanode)(dc=bj-e-01)", "bj-e-hadoop01-11-[203-213] and not bj-e-hadoop01-11-[206-213]",
		"role=datanode dc=bj-e-01 status!=passing mem_gb>64 name~^bj-e- not (tag=x or name=bj-e-admin03)",
		"\trole=datanode\n  or dc=x\r\n",
	}
	failing := []string{
		"not all", "not *",
		"role=data", "role=Datanode", "role!=datanode", "role!=web,datanode", "role^node", "role~^node", "role!~node",
		"mem_gb>128", "mem_gb<64", "mem_gb>=128.01", "load>=1", "disk>1", "disk<100", "disk>=0", "role>0", "role<0",
		"release=1.1", "tag!=canary", "tag!=hdd,ssd", "tag!~^s", "tag=hdd", "not tag=ssd",
		"rack=r1", `rack!=""`, `role=""`, "rack>0", "rack<0", "rack>=0", "rack~r", "rack^r", "empty=x",
		"bj-e-hadoop01-11-214", "bj-e-hadoop01-11-0205", "bj-e", "name=bj-e",
		"role=datanode dc=x", "role=x and dc=bj-e-01", "role=x or dc=y", "not role=datanode dc=bj-e-01", "not (role=datanode or dc=y)",
		"(role=datanode or dc=bj-e-01) tag=hdd",
	}
	for _, text := range matching {
		if !mustParse(t, text).Match(node) {
			t.Errorf("%s does not match", text)
		}
	}
	for _, text := range failing {
		if mustParse(t, text).Match(node) {
			t.Errorf("%s matches", text)
		}
	}
}

func TestZeroMatchesNothing(t *testing.T) {
	var none *query.Expr
	all := mustParse(t, "all")
	for name, e := range map[string]*query.Expr{
		"nil": none, "zero": {}, "and nil": query.And(all, nil), "nil and": query.And(nil, all), "and zero": query.And(all, &query.Expr{}),
	} {
		t.Run(name, func(t *testing.T) {
			if e.Match(record{}) {
				t.Error("it matches")
			}
			if got := e.String(); got != "" {
				t.Errorf("String() = %q, want none", got)
			}
			if n := len(e.Names()) + len(e.FieldNames()); n != 0 {
				t.Errorf("it mentions %d names and fields", n)
			}
		})
	}
}

func TestString(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"keywords", "A=1 AND Not b=2 OR ALL", "A=1 and not b=2 or all"},
		{"star", " * ", "all"},
		{"side by side", "a=1  b=2 (c=3)", "a=1 and b=2 and c=3"},
		{"space around operators", "a >= 1", "a>=1"},
		{"needless parentheses", "((a=1)) and ((b=2 or (c=3)))", "a=1 and (b=2 or c=3)"},
		{"and in or", "(a=1 b=2) or c=3", "a=1 and b=2 or c=3"},
		{"same in same", "(a=1 or b=2) or (c=3 or d=4)", "a=1 or b=2 or c=3 or d=4"},
		{"not", "not (a=1) not(b=2 c=3) not not d=4", "not a=1 and not (b=2 and c=3) and not not d=4"},
		{"needless quotes", `a="x" b~"^y" c="p,q" d="" e="not"`, `a=x and b~^y and c="p,q" and d="" and e="not"`},
		{"needed quotes", `a="x y",z b~"x y" c~"=x" d="\"\\"`, `a="x y",z and b~"x y" and c~"=x" and d="\"\\"`},
		{"escapes only where they are some", `a="\d\\d"`, `a="\\d\\d"`},
		{"regexp with parentheses", `a~^(b|c)$`, `a~^(b|c)$`},
		{"regexp with a lone parenthesis", `a~"[)]"`, `a~"[)]"`},
		{"names as they were written", "b[2,1],a", "b[2,1],a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustParse(t, tt.in).String()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("String of %s (-want +got):\n%s", tt.in, diff)
			}
			if again := mustParse(t, got).String(); again != got {
				t.Errorf("%s prints as %s", got, again)
			}
		})
	}
}

func TestAnd(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"a=1", "b=2", "a=1 and b=2"},
		{"a=1 or b=2", "c=3", "(a=1 or b=2) and c=3"},
		{"a=1 b=2", "c=3 d=4", "a=1 and b=2 and c=3 and d=4"},
		{"all", "b=2", "b=2"},
		{"a=1", "*", "a=1"},
		{"all", "all", "all"},
	}
	for _, tt := range tests {
		a, b := mustParse(t, tt.a), mustParse(t, tt.b)
		if got := query.And(a, b).String(); got != tt.want {
			t.Errorf("And(%s, %s) = %s, want %s", tt.a, tt.b, got, tt.want)
		}
		if a.String() != mustParse(t, tt.a).String() || b.String() != mustParse(t, tt.b).String() {
			t.Errorf("And(%s, %s) changed its arguments to %s, %s", tt.a, tt.b, a, b)
		}
	}
}

func TestAndSharesNothing(t *testing.T) {
	base := mustParse(t, "a=1 b=2 c=3")
	one, two := query.And(base, mustParse(t, "x=1")), query.And(base, mustParse(t, "y=2"))
	if got, want := one.String()+"; "+two.String(), "a=1 and b=2 and c=3 and x=1; a=1 and b=2 and c=3 and y=2"; got != want {
		t.Errorf("two queries from one base are %s, want %s", got, want)
	}
}

func TestNamesAndFields(t *testing.T) {
	tests := []struct {
		in            string
		names, fields []string
	}{
		{"all", nil, nil},
		{"n[10,9],db", []string{"db", "n9", "n10"}, nil},
		{"n[1-2] or n[2-3]", []string{"n1", "n2", "n3"}, nil},
		{"role=web not (b or name=a,c)", []string{"a", "b", "c"}, []string{"name", "role"}},
		{`name!=x name!="" name^y name~z`, []string{"x"}, []string{"name"}},
		{"b=1 a>2 (c~3 or a=4)", nil, []string{"a", "b", "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			e := mustParse(t, tt.in)
			if got := e.Names(); !slices.Equal(got, tt.names) {
				t.Errorf("Names() = %q, want %q", got, tt.names)
			}
			if got := e.FieldNames(); !slices.Equal(got, tt.fields) {
				t.Errorf("FieldNames() = %q, want %q", got, tt.fields)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	const quote = "a value that holds %q must be quoted"
	const glob = "there are no globs: use ^ for a prefix or ~ for a regular expression"
	const noSpaces = "write a list without spaces: a,b"
	tests := []struct {
		name, in string
		offset   int
		msg      string
		hint     string
	}{
		{"empty", "", 0, "the query is empty", `say "all" to mean every node`},
		{"blank", " \t ", 0, "the query is empty", `say "all" to mean every node`},
		{"broken text", "a=\xc3(", 2, "the text is not valid UTF-8", ""},

		{"nothing after and", "role=hadoop and", 15, `expected a condition after "and"`, ""},
		{"space after and", "role=hadoop and  ", 15, `expected a condition after "and"`, ""},
		{"nothing after or", "a=1 or", 6, `expected a condition after "or"`, ""},
		{"nothing after not", "not", 3, `expected a condition after "not"`, ""},
		{"or after and", "a=1 and or b=2", 8, `expected a condition after "and"`, ""},
		{"begins with and", "AND a=1", 0, `expected a condition before "and"`, ""},
		{"begins with an operator", "=x", 0, `expected a field before "="`, ""},
		{"not with an operator", "not=1", 3, `expected a field before "="`, ""},

		{"open parenthesis", "a=1 (b=2", 4, `"(" is never closed`, ""},
		{"open parenthesis at the end", "a=1 (", 5, `expected a condition after "("`, ""},
		{"nothing in parentheses", "()", 1, `expected a condition after "("`, ""},
		{"close parenthesis", "a=1) b=2", 3, `")" without a "(" before it`, ""},
		{"only a close parenthesis", ")", 0, `")" without a "(" before it`, ""},

		{"two equal signs", "a==1", 1, `there is no operator "=="`, `did you mean "="?`},
		{"prometheus regexp", "a=~1", 1, `there is no operator "=~"`, `did you mean "~"?`},
		{"awk regexp", "a ~= 1", 2, `there is no operator "~="`, `did you mean "~"? Quote an expression that begins with "="`},
		{"arrow", "a=>1", 1, `there is no operator "=>"`, `did you mean ">="?`},
		{"back arrow", "a=<1", 1, `there is no operator "=<"`, `did you mean "<="?`},
		{"sql", "a<>1", 1, `there is no operator "<>"`, `did you mean "!="?`},
		{"not prefix", "a!^1", 1, `there is no operator "!^"`, `put "not" before the field: not name^bj-`},
		{"lone bang behind", "a ! 1", 2, `there is no operator "!"`, `did you mean "!=", or "not" before a condition?`},
		{"lone bang before", "a=1 !b=1", 4, `there is no operator "!"`, `did you mean "not"?`},
		{"c and", "a=1 && b=2", 4, `there is no operator "&&"`, `did you mean "and"?`},
		{"c or", "a=1 || b=2", 4, `there is no operator "||"`, `did you mean "or"?`},
		{"c and without space", "a=1&&b=2", 3, `unexpected "&"`, `did you mean "and"?`},
		{"c or after not", "not | b=2", 4, `expected a condition after "not"`, `did you mean "or"?`},

		{"no value", "a=", 2, `expected a value after "="`, ""},
		{"no value before a parenthesis", "(a= )", 4, `expected a value after "="`, ""},
		{"a keyword for a value", "a= and b=1", 3, `expected a value after "="`, `quote a value that is a keyword: "and"`},
		{"a keyword for an expression", "a~ or b=1", 3, `expected a value after "~"`, `quote a value that is a keyword: "or"`},
		{"no expression", "a~", 2, `expected a value after "~"`, ""},
		{"nothing after a comma", "a=1,", 4, `expected a value after ","`, ""},
		{"two commas", "a=1,,2", 4, `expected a value after ","`, fmt.Sprintf(quote, ",")},
		{"space after a comma", "a=1, 2", 4, `expected a value after ","`, noSpaces},
		{"operator in a value", "a=b=c", 3, `unexpected "="`, fmt.Sprintf(quote, "=")},
		{"parenthesis in a value", "a=b(c)", 3, `unexpected "("`, fmt.Sprintf(quote, "(")},
		{"glob in a value", "a=b*", 3, `unexpected "*"`, glob},
		{"glob for a value", "a=*", 2, `expected a value after "="`, glob},
		{"single quotes", "a='b'", 2, `expected a value after "="`, "quote with double quotes"},
		{"range in a value", "rack=r[1-3]", 6, `unexpected "["`, fmt.Sprintf(quote, "[")},
		{"range in a name", "name=n[1-3]", 6, `unexpected "["`, "write a range on its own, without the field: n[1-3]"},
		{"open quote", `a="b`, 2, "the quote is never closed", ""},
		{"escaped end", `a="b\"`, 2, "the quote is never closed", ""},
		{"text behind a quote", `a="b"c`, 5, `unexpected "c"`, ""},
		{"not a number", "mem_gb>64GB", 7, `"64GB" is not a number`, "compare with a plain number: mem_gb>64"},
		{"no finite number", "mem_gb<inf", 7, `"inf" is not a number`, "compare with a plain number: mem_gb>64"},
		{"a number too large", "mem_gb<1e999", 7, `"1e999" is not a number`, "compare with a plain number: mem_gb>64"},
		{"two numbers", "mem_gb>1,2", 8, `">" takes one value`, ""},
		{"two expressions", `a~"b","c"`, 5, `"~" takes one value`, ""},
		{"bad expression", "a~[b", 2, "bad regular expression: missing closing ]", `quote an expression that holds a space or a lone parenthesis: name~"a b"`},
		{"bad quoted expression", `a~"(b"`, 2, "bad regular expression: missing closing )", ""},
		{"look-ahead", `a~"(?=b)"`, 2, "bad regular expression: invalid or unsupported Perl syntax", ""},
		{"huge expression", `a~"((aaaaaaaaaaaaaaaaaaaa){30}){30}"`, 2, "the regular expression is too large", ""},

		{"a number for a field", "1a=b", 0, `"1a" is not the name of a field`, ""},
		{"a list for a field", "x a,b=c", 2, `"a,b" is not the name of a field`, ""},
		{"a keyword for a field", "all=1", 0, `"all" is not the name of a field`, ""},
		{"quoted name", `"a"`, 0, "a quoted text stands only after an operator", `a node's name needs no quotes, or say name="..."`},
		{"open range", "x or n[1-3", 6, `"[" is never closed`, ""},
		{"bad range", "机房=1 n[3-1]", 11, `the range "3-1" ends before it begins`, ""},
		{"space in a list", "a, b", 2, `expected a name after ","`, noSpaces},
		{"space before a comma", "a ,b", 2, `expected a name before ","`, ""},
		{"lucene", "role:web", 4, `":" cannot be part of a node name`, "did you mean role=web?"},
		{"path", "/data", 0, `"/" cannot be part of a node name`, ""},
		{"glob", "bj-*", 3, `unexpected "*"`, glob},
		{"glob in front", "*-bj", 0, `unexpected "*"`, glob},
		{"names side by side", "a b", 2, "a list of nodes directly after another", `join them with a comma and no space, or say "and" for those in both`},
		{"odd character", "a=1 ; b=2", 4, `unexpected ";"`, fmt.Sprintf(quote, ";")},
		{"too many names", "n[1-100000] or a", 15, "the query stands for more than 100000 names", ""},
		{"too many names at once", "n[1-1000000000]", 0, "the list stands for more than 100000 names", ""},
		{"too long", strings.Repeat("a", query.MaxInput+1), query.MaxInput, "the query is longer than 4096 bytes", "give the nodes a role or a tag, and ask for that"},
		{"too long in its canonical spelling", strings.Repeat("*", 1) + strings.Repeat(" *", 2000), 4001, "the query is longer than 4096 bytes", "give the nodes a role or a tag, and ask for that"},
		{"too deep", strings.Repeat("(", 101) + "all", 100, "the query nests deeper than 100 levels", ""},
		{"too many nots", strings.Repeat("not ", 101) + "all", 400, "the query nests deeper than 100 levels", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := query.Parse(tt.in)
			got, ok := errors.AsType[*query.Error](err)
			if !ok {
				t.Fatalf("Parse(%q) = %v, want an Error", tt.in, err)
			}
			want := &query.Error{Input: tt.in, Offset: tt.offset, Msg: tt.msg, Hint: tt.hint}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseAtItsLimits(t *testing.T) {
	for name, text := range map[string]string{
		"depth": strings.Repeat("(", 50) + strings.Repeat("not ", 50) + "all" + strings.Repeat(")", 50),
		"width": strings.Repeat("(not a=1) ", query.MaxDepth+1),
		"names": "n[1-99999] or a",
		"input": "a=" + strings.Repeat("x", query.MaxInput-2),
	} {
		t.Run(name, func(t *testing.T) { mustParse(t, text) })
	}
}

func TestErrorText(t *testing.T) {
	_, err := query.Parse("机房=bj ==")
	e, ok := errors.AsType[*query.Error](err)
	if !ok {
		t.Fatalf("Parse = %v, want an Error", err)
	}
	if got, want := e.Error(), `parse query: expected a field before "=" (column 7)`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := e.Caret(), "机房=bj ==\n      ^ expected a field before \"=\""; got != want {
		t.Errorf("Caret() =\n%s\nwant\n%s", got, want)
	}
}

func TestErrorIsInvalidWithAHint(t *testing.T) {
	_, err := query.Parse("a==1")
	got, ok := errors.AsType[*mesh.Error](fmt.Errorf("read targets: %w", err))
	if !ok {
		t.Fatalf("%v is no mesh.Error", err)
	}
	if got.Code != mesh.Invalid || got.Message != err.Error() || got.Hint != `did you mean "="?` {
		t.Errorf("as a mesh.Error it is %+v", got)
	}
}

func TestNamesStayWithinTheirLimit(t *testing.T) {
	if got := len(mustParse(t, "n[1-50000] or n[50001-100000]").Names()); got != nodeset.MaxNames {
		t.Errorf("the query mentions %d names, want %d", got, nodeset.MaxNames)
	}
}
