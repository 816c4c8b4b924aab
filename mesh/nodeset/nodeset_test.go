package nodeset_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/nodeset"
)

func TestExpand(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"only white space", " \t\n", ""},
		{"a name", "db", "db"},
		{"a range", "n[1-3]", "n1 n2 n3"},
		{"one number in a bracket", "n[7]", "n7"},
		{"several ranges", "n[1-2,5,9-10]", "n1 n2 n5 n9 n10"},
		{"text after the bracket", "n[1-2].example.com", "n1.example.com n2.example.com"},
		{"several names", "db[01-03,15],web", "db01 db02 db03 db15 web"},
		{"a list of lines", "b\na\r\nc\n", "a b c"},
		{"space around commas", "a , b,c d", "a b c d"},
		{"several brackets", "r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"},
		{"brackets that touch", "n[1-2][3-4]", "n13 n14 n23 n24"},
		{"padding grows out of its width", "n[08-11]", "n08 n09 n10 n11"},
		{"width grows", "n[98-101]", "n98 n99 n100 n101"},
		{"padding then a wider end", "n[08-10,098-101]", "n08 n09 n10 n098 n099 n100 n101"},
		{"zero is not padded", "n[0-2]", "n0 n1 n2"},
		{"zeros are", "n[00-02]", "n00 n01 n02"},
		{"padded and not are two nodes", "n01,n1", "n1 n01"},
		{"a step", "n[0-10/5]", "n0 n5 n10"},
		{"a step past the end", "n[1-6/4]", "n1 n5"},
		{"doubles", "a,a,n[1-2],n2", "a n1 n2"},
		{"sorted as people do", "n10,n9,m100,n1", "m100 n1 n9 n10"},
		{"letters of any script", "机房[1-2]", "机房1 机房2"},
		{"the longest number", "n[999999999999999999]", "n999999999999999999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nodeset.Expand(tt.in)
			if err != nil {
				t.Fatalf("Expand(%q): %v", tt.in, err)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("Expand(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	long := strings.Repeat("x", nodeset.MaxNameLen)
	tests := []struct {
		name, in string
		offset   int
		msg      string
	}{
		{"open bracket", "db[1-3", 2, `"[" is never closed`},
		{"close bracket", "db1]", 3, `"]" without a "[" before it`},
		{"empty bracket", "db[]", 3, "expected a number"},
		{"letters in a bracket", "db[a-c]", 3, "expected a number"},
		{"no end", "db[1-]", 5, "expected a number"},
		{"trailing comma in a bracket", "db[1,]", 5, "expected a number"},
		{"space in a bracket", "db[1, 2]", 5, "expected a number"},
		{"rubbish after a number", "db[1x]", 4, `expected "," or "]" instead of "x"`},
		{"bracket in a bracket", "db[1[2]]", 4, `expected "," or "]" instead of "["`},
		{"backwards", "n[10-02]", 2, `the range "10-02" ends before it begins`},
		{"padding shrinks", "n[010-20]", 6, `the ends of the range "010-20" are padded differently`},
		{"padding grows", "n[1-010]", 4, `the ends of the range "1-010" are padded differently`},
		{"no step", "n[1-3/0]", 6, "the step of a range is at least 1"},
		{"number too long", "n[1-1000000000000000000]", 4, "a number in a range has at most 18 digits"},
		{"leading comma", ",a", 0, `expected a name before ","`},
		{"double comma", "a,,b", 2, `expected a name before ","`},
		{"trailing comma", "a,b, ", 5, `expected a name after ","`},
		{"glob", "bj-*", 3, `"*" cannot be part of a node name`},
		{"broken text", "a\xffb", 1, "the text is not valid UTF-8"},
		{"a wide character before the place", "机房[", 7, "expected a number"},
		{"too many", "n[1-100001]", 0, "the list stands for more than 100000 names"},
		{"too many at once", "n[0-999999999999999999]", 0, "the list stands for more than 100000 names"},
		{"too many together", "a[1-99999],b,c", 13, "the list stands for more than 100000 names"},
		{"too many by brackets", "a[1-400]b[1-400]", 0, "the list stands for more than 100000 names"},
		{"too long a name", long + "x", 0, "a node name has at most 255 bytes"},
		{"too long once expanded", "ok," + long[1:] + "[9-10]", 3, "a node name has at most 255 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nodeset.Parse(tt.in)
			got, ok := errors.AsType[*nodeset.SyntaxError](err)
			if !ok {
				t.Fatalf("Parse(%q) = %v, want a SyntaxError", tt.in, err)
			}
			want := &nodeset.SyntaxError{Input: tt.in, Offset: tt.offset, Msg: tt.msg}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
			if code := mesh.CodeOf(err); code != mesh.Invalid {
				t.Errorf("CodeOf = %q, want %q", code, mesh.Invalid)
			}
		})
	}
}

func TestParseAtItsLimits(t *testing.T) {
	for _, in := range []string{
		"n[1-100000]",
		"a[1-99999],b",
		strings.Repeat("x", nodeset.MaxNameLen),
		strings.Repeat("x", nodeset.MaxNameLen-2) + "[9-10]",
	} {
		set, err := nodeset.Parse(in)
		if err != nil {
			t.Errorf("Parse(%.20q…): %v", in, err)
			continue
		}
		if got, want := len(set.Names()), set.Size(); got != want {
			t.Errorf("%.20q… has %d names and Size %d", in, got, want)
		}
	}
}

func TestSyntaxErrorText(t *testing.T) {
	tests := []struct{ name, in, line, caret string }{
		{
			"short", "db[1-3",
			`parse node names: "[" is never closed (column 3)`,
			"db[1-3\n  ^ \"[\" is never closed",
		},
		{
			"columns are runes", "机房,,",
			`parse node names: expected a name before "," (column 4)`,
			"机房,,\n   ^ expected a name before \",\"",
		},
		{
			"line ends become spaces", "a\nb\n*\n",
			`parse node names: "*" cannot be part of a node name (column 5)`,
			"a b *\n    ^ \"*\" cannot be part of a node name",
		},
		{
			"long", strings.Repeat("a", 100) + "*" + strings.Repeat("b", 100),
			`parse node names: "*" cannot be part of a node name (column 101)`,
			"…" + strings.Repeat("a", 60) + "*" + strings.Repeat("b", 19) + "…\n" +
				strings.Repeat(" ", 61) + "^ \"*\" cannot be part of a node name",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nodeset.Parse(tt.in)
			got, ok := errors.AsType[*nodeset.SyntaxError](err)
			if !ok {
				t.Fatalf("Parse(%q) = %v, want a SyntaxError", tt.in, err)
			}
			if diff := cmp.Diff(tt.line, got.Error()); diff != "" {
				t.Errorf("Error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.caret, got.Caret()); diff != "" {
				t.Errorf("Caret (-want +got):\n%s", diff)
			}
		})
	}
}

func TestContains(t *testing.T) {
	tests := []struct {
		set     string
		in, out []string
	}{
		{"n[1-12],db", []string{"n1", "n9", "n12", "db"}, []string{"n0", "n01", "n13", "n", "n1x", "xn1", "db1", ""}},
		{"n[08-101]", []string{"n08", "n99", "n100"}, []string{"n8", "n008", "n099", "n0100"}},
		{"n[08-11]", []string{"n08", "n10"}, []string{"n8", "n010", "n12"}},
		{"n[98-101]", []string{"n99", "n100"}, []string{"n098", "n102"}},
		{"n[0-10/5]", []string{"n0", "n5", "n10"}, []string{"n1", "n15"}},
		{"n1[1-12]3", []string{"n113", "n1103", "n1123"}, []string{"n13", "n1133", "n123 "}},
		{"n[1-12][1-2]", []string{"n11", "n111", "n122"}, []string{"n1", "n133"}},
		{"n[1-2]", nil, []string{"n1234567890123456789012"}},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			set, err := nodeset.Parse(tt.set)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.in {
				if !set.Contains(name) {
					t.Errorf("%q is not in %s", name, set)
				}
			}
			for _, name := range tt.out {
				if set.Contains(name) {
					t.Errorf("%q is in %s", name, set)
				}
			}
		})
	}
}

func TestZeroSet(t *testing.T) {
	var set nodeset.Set
	if set.Contains("") || len(set.Names()) != 0 || set.Size() != 0 || set.String() != "" {
		t.Errorf("the zero Set is not empty: %q", set.Names())
	}
}

func TestSetString(t *testing.T) {
	set, err := nodeset.Parse("  b[1-2]  a ,\n c ")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.String(), "b[1-2],a,c"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestCompare(t *testing.T) {
	sorted := []string{
		"", "0", "1", "00", "a", "a1", "a1-1", "a1-2", "a1-10", "a1b", "a2", "a10", "a01", "a-1", "ab", "b", "é1",
	}
	slices.SortFunc(sorted, nodeset.Compare)
	for i, a := range sorted {
		for j, b := range sorted {
			got, want := nodeset.Compare(a, b), 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, pair := range [][2]string{{"n2", "n10"}, {"n9-10", "n10-9"}, {"a", "a0"}, {"n1", "n1-1"}, {"n99", "n100"}, {"n3", "n02"}} {
		if nodeset.Compare(pair[0], pair[1]) >= 0 {
			t.Errorf("%q does not come before %q", pair[0], pair[1])
		}
	}
}
