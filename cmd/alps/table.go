package main

import (
	"encoding/json"
	"fmt"
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
// last column is cut where the line would not fit the reader's, or goes on
// below itself with wrap; into a file or a pipe it goes whole.
type table struct {
	header []string
	rows   [][]string
	wrap   bool
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
	room := max(lineWidth(w)-before, minLast)
	var b strings.Builder
	for _, row := range all {
		for i, c := range row[:last] {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
			b.WriteString(gap)
		}
		text := []string{shorten(row[last], room)}
		if t.wrap {
			text = wrapped(row[last], room)
		}
		b.WriteString(strings.Join(text, "\n"+strings.Repeat(" ", before)))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrapped cuts s into lines of at most n runes, between words where it can. It
// returns at least one line.
func wrapped(s string, n int) []string {
	var lines []string
	for r := []rune(s); ; {
		if len(r) <= n {
			return append(lines, string(r))
		}
		at := n
		for at > 0 && r[at] != ' ' {
			at--
		}
		if at == 0 { // one long word.
			lines, r = append(lines, string(r[:n])), r[n:]
			continue
		}
		lines, r = append(lines, strings.TrimRight(string(r[:at]), " ")), r[at+1:]
	}
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

// field prints a label and what belongs to it, in the width of the reader.
func (a *app) field(label, text string) {
	const before = 10
	lines := wrapped(printable(text), max(lineWidth(a.out)-before, minLast))
	fmt.Fprintf(a.out, "%-9s %s\n", label, strings.Join(lines, "\n"+strings.Repeat(" ", before)))
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
