package nodeset_test

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh/nodeset"
)

// hadoopHosts is the estate that ALPS was first shown on, in its own order.
//
//go:embed testdata/hosts-hadoop.txt
var hadoopHosts string

func TestFoldHadoopHosts(t *testing.T) {
	hosts := strings.Fields(hadoopHosts)
	const want = "bj-e-hadoop01-11-[203-213],bj-e-hadoop01-13-[220-230],bj-e-hadoop01-15-[33-38]"
	if got := nodeset.Fold(hosts); got != want {
		t.Errorf("Fold = %q, want %q", got, want)
	}
	if got := nodeset.FoldCount(hosts); got != want+" (28)" {
		t.Errorf("FoldCount = %q, want %q", got, want+" (28)")
	}
}

func TestFold(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"one name", "n1", "n1"},
		{"no numbers", "web db", "db,web"},
		{"a run", "n3 n1 n2", "n[1-3]"},
		{"two neighbours", "n1 n2", "n[1-2]"},
		{"holes", "n1 n2 n5 n9 n10", "n[1-2,5,9-10]"},
		{"doubles", "n1 n1 n2", "n[1-2]"},
		{"only doubles", "n1 n1", "n1"},
		{"padding", "n08 n09 n10 n11", "n[08-11]"},
		{"width grows", "n98 n99 n100", "n[98-100]"},
		{"padding outgrown", "n099 n100 n101", "n[099-101]"},
		{"two paddings", "n1 n01 n2 n02 n3", "n[1-3,01-02]"},
		{"padding that does not fit", "n9 n010", "n[9,010]"},
		{"padding that nearly fits", "n8 n09 n010", "n[8,09,010]"},
		{"the last number that differs", "n1.dc1 n2.dc1 n3.dc1", "n[1-3].dc1"},
		{"the last number first", "r1n1 r1n2 r2n1 r2n2", "r1n[1-2],r2n[1-2]"},
		{"what is left folds further left", "n1-ib0 n1-ib1 n2-ib0 n3-ib0", "n1-ib[0-1],n[2-3]-ib0"},
		{"bare numbers", "1 2 3", "[1-3]"},
		{"addresses", "10.0.0.9 10.0.0.10", "10.0.0.[9-10]"},
		{"numbers too long for a range", "n1234567890123456789 n1234567890123456790", "n1234567890123456789,n1234567890123456790"},
		{"another number beside one too long", "a1-1234567890123456789 a2-1234567890123456789", "a[1-2]-1234567890123456789"},
		{"the longest that fit", "n999999999999999998 n999999999999999999", "n[999999999999999998-999999999999999999]"},
		{"terms in natural order", "n10 m2 m1 n9-a", "m[1-2],n9-a,n10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Fields(tt.in)
			before := slices.Clone(in)
			if diff := cmp.Diff(tt.want, nodeset.Fold(in)); diff != "" {
				t.Errorf("Fold(%q) (-want +got):\n%s", in, diff)
			}
			if diff := cmp.Diff(before, in); diff != "" {
				t.Errorf("Fold changed its argument (-before +after):\n%s", diff)
			}
		})
	}
}

func TestFoldCountEmpty(t *testing.T) {
	if got := nodeset.FoldCount([]string{""}); got != "(0)" {
		t.Errorf("FoldCount = %q, want %q", got, "(0)")
	}
}

func TestFoldExpandRoundTrip(t *testing.T) {
	// Few letters and few digits, so that names meet, repeat and pad.
	name := rapid.StringMatching(`[ab]?[0129]{1,2}([.-][01]{0,3}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(name).Draw(t, "names")
		folded := nodeset.Fold(names)
		set, err := nodeset.Parse(folded)
		if err != nil {
			t.Fatalf("Parse(Fold(%q)): %v", names, err)
		}
		want := slices.Clone(names)
		slices.SortFunc(want, nodeset.Compare)
		want = slices.Compact(want)
		if got := set.Names(); !slices.Equal(got, want) {
			t.Fatalf("%s\nexpands to %q,\nwant       %q", folded, got, want)
		}
		other := name.Draw(t, "other")
		if got, want := set.Contains(other), slices.Contains(want, other); got != want {
			t.Fatalf("Contains(%q) in %s = %t, want %t", other, folded, got, want)
		}
		slices.Reverse(names)
		if again := nodeset.Fold(names); again != folded {
			t.Fatalf("another order folds to %s, want %s", again, folded)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a,b c", "bj-e-hadoop01-11-[203-213],db[01-10,15]", "r[1-2]n[1-3]-[0-10/2]", "n[1-12][3-4]",
		"n[1-3", "n]", "n[3-1]", "n[010-20]", "[1-999999999999999999]", "机房[08-11]", "a\xff", ",", "a[1-2]3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		set, err := nodeset.Parse(in)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if set.Size() > 5000 {
			return // a correct answer, but too slow a one to look at many times.
		}
		names := set.Names()
		for _, name := range names {
			if !set.Contains(name) {
				t.Fatalf("%q expands to %q and does not contain it", in, name)
			}
		}
		for what, text := range map[string]string{"String": set.String(), "Fold": nodeset.Fold(names)} {
			again, err := nodeset.Expand(text)
			if err != nil {
				t.Fatalf("%s of %q: %v", what, in, err)
			}
			if !slices.Equal(again, names) {
				t.Fatalf("%s of %q is %q: %q, want %q", what, in, text, again, names)
			}
		}
	})
}

func BenchmarkFold(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		racks, words := make([]string, n), make([]string, n)
		for i := range n {
			racks[i] = fmt.Sprintf("bj-e-hadoop01-%02d-%d", i%40, i)
			words[i] = "node-" + strings.Map(func(r rune) rune { return 'a' + r - '0' }, strconv.Itoa(i*7919))
		}
		numbers := make([]string, n) // many numbers in each name, and no two names fold.
		for i := range n {
			numbers[i] = fmt.Sprintf("n%d-%d-%d-%d", i, i*7, i*31, i*101)
		}
		for _, bm := range []struct {
			name  string
			names []string
		}{{"racks", racks}, {"words", words}, {"unfoldable", numbers}} {
			b.Run(bm.name+"/"+strconv.Itoa(n), func(b *testing.B) {
				for b.Loop() {
					nodeset.Fold(bm.names)
				}
			})
		}
	}
}

func BenchmarkContains(b *testing.B) {
	set, err := nodeset.Parse("bj-e-hadoop01-11-[203-213],bj-e-hadoop01-13-[220-230],bj-e-hadoop01-15-[33-38]")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !set.Contains("bj-e-hadoop01-15-38") {
			b.Fatal("the last name is missing")
		}
	}
}

func ExampleFoldCount() {
	fmt.Println(nodeset.FoldCount([]string{"db02", "db10", "web", "db01", "db03"}))
	// Output: db[01-03,10],web (5)
}

func ExampleExpand() {
	names, err := nodeset.Expand("r[1-2]n[08-10],admin")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(names)
	// Output: [admin r1n08 r1n09 r1n10 r2n08 r2n09 r2n10]
}
