package nodeset

import (
	"cmp"
	"strings"
)

// Compare orders names as people do: n2 before n10. It compares text with text
// as bytes and number with number, by turns. Of two numbers the one with fewer
// digits comes first: that is the order of their values unless they are padded
// differently, and then it keeps each padding together, so [1-3] is not torn
// apart by 02. The result is negative, zero or positive; it is zero only for
// equal names, so sorting by it is the same on every run.
func Compare(a, b string) int {
	for a != "" && b != "" {
		i, j := textLen(a), textLen(b)
		if c := strings.Compare(a[:i], b[:j]); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
		i, j = digitsLen(a), digitsLen(b)
		if c := cmp.Or(cmp.Compare(i, j), strings.Compare(a[:i], b[:j])); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
	}
	return cmp.Compare(len(a), len(b))
}

// textLen is the length of what precedes the first digit of s.
func textLen(s string) int {
	n := 0
	for n < len(s) && !isDigit(s[n]) {
		n++
	}
	return n
}

// digitsLen is the length of the number that s begins with.
func digitsLen(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}
