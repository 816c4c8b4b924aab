package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestWrapped(t *testing.T) {
	tests := map[string]struct {
		text string
		n    int
		want []string
	}{
		"nothing":         {"", 10, []string{""}},
		"it fits":         {"one two", 7, []string{"one two"}},
		"between words":   {"one two three", 8, []string{"one two", "three"}},
		"at the very end": {"one two", 3, []string{"one", "two"}},
		"a long word":     {"abcdefgh ij", 5, []string{"abcde", "fgh", "ij"}},
		"not of ASCII":    {"décès où", 5, []string{"décès", "où"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, wrapped(tt.text, tt.n)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrappedLosesNothing holds for any text: every word is there, in order,
// and no line is too long.
func TestWrappedLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab é  "))).Draw(t, "text")
		n := rapid.IntRange(1, 12).Draw(t, "n")
		lines := wrapped(text, n)
		for _, l := range lines {
			if got := len([]rune(l)); got > n {
				t.Errorf("%q has %d runes, at most %d are wanted", l, got, n)
			}
		}
		bare := strings.NewReplacer(" ", "")
		if got, want := bare.Replace(strings.Join(lines, "")), bare.Replace(text); got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

// TestTableWraps shows a last column that goes on below itself, in the width
// of the reader.
func TestTableWraps(t *testing.T) {
	t.Setenv("COLUMNS", "30")
	tb := newTable("TIME", "STORY")
	tb.wrap = true
	tb.row("15:04:05", "web is critical: it does not answer")
	var b strings.Builder
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "TIME      STORY\n15:04:05  web is critical: it\n          does not answer\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
