package edit

import (
	"bytes"
	"fmt"
	"strings"
)

// maxDiff bounds a diff: it is read by people, and travels in an answer.
const maxDiff = 900

// Diff is the lines that go and come, for people. It is empty when there is no
// change.
func (c Change) Diff() string {
	if !c.Changed {
		return ""
	}
	before, after := lines(c.Before), lines(c.After)
	first := 0
	for first < len(before) && first < len(after) && before[first] == after[first] {
		first++
	}
	same := 0
	for same < len(before)-first && same < len(after)-first && before[len(before)-1-same] == after[len(after)-1-same] {
		same++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, line %d:", c.Path, first+1)
	for _, part := range []struct {
		mark  string
		lines []string
	}{{"-", before[first : len(before)-same]}, {"+", after[first : len(after)-same]}} {
		for _, l := range part.lines {
			fmt.Fprintf(&b, "\n%s %s", part.mark, l)
		}
	}
	if s := b.String(); len(s) <= maxDiff {
		return s
	}
	return strings.ToValidUTF8(b.String()[:maxDiff], "") + "…"
}

func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(b, []byte("\n"))), "\n")
}
