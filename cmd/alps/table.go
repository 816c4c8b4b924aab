package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// table prints rows under a header, in columns that two spaces part, so that
// awk and cut find the fields. No line has trailing spaces. Text from
// outside is made safe: a control character could rewrite the terminal. The
// last column is cut where the line would not fit the reader's; into a file
// or a pipe it goes whole.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
		if cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(w io.Writer) error {
	widths := make([]int, len(t.header))
	all := append([][]string{t.header}, t.rows...)
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	before, last := 0, len(t.header)-1
	for _, n := range widths[:last] {
		before += n + len(gap)
	}
	room := lineWidth(w) - before
	var b strings.Builder
	for _, row := range all {
		for i, c := range row[:last] {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
			b.WriteString(gap)
		}
		b.WriteString(shorten(row[last], max(room, minLast)))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const (
	gap     = "  " // between columns.
	minLast = 10   // what a last column gets however narrow the line is.
)

// lineWidth is how many columns the reader of w has: what COLUMNS says, else
// the width of the terminal, else as good as endless.
func lineWidth(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt32
}

// printable replaces what could move the cursor or hide text.
func printable(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, s)
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
