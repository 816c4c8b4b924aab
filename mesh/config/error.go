package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// An Error is one thing that is wrong with a configuration.
type Error struct {
	File    string // the file, or all that was loaded when something is absent.
	Line    int    // counts from 1; 0 when it is about something absent.
	Column  int    // counts from 1, in characters.
	Key     string // the path of the key, such as "exec.slots"; "" when it is not about one.
	Message string // lower-case.
	Hint    string // what to write instead; may be empty.
	Snippet string // the line, and a mark under the place. Tokens are masked.
}

// Error is one line: where, what, and what to write instead.
func (p Error) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (%s)", p.Hint)
	}
	return b.String()
}

// Errors are everything that is wrong with a configuration, in the order of
// the files. They are never empty when they are an error.
type Errors []Error

// Error holds all problems, each followed by its snippet.
func (ps Errors) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
		if p.Snippet != "" {
			b.WriteByte('\n')
			b.WriteString(p.Snippet)
		}
	}
	return b.String()
}

// maxSnippet bounds the part of a line that is shown.
const maxSnippet = 120

// masked is what follows the name of a key that holds a token, maskedToo what
// follows those that may hold one in a definition.
var (
	masked    = regexp.MustCompile(`(?i)((?:token|authorization|password|secret|cookie|api[_-]?key)"?\s*[=:]\s*).*`)
	maskedToo = regexp.MustCompile(`(?i)((?:\burl"?\s*[=:]|header"?\s*[=:{])\s*).*`)
)

// snippet shows the line of a place and marks the place in it.
func (s *source) snippet(at hcl.Range) string {
	if at.Start.Line < 1 || at.Start.Line > len(s.lines) {
		return ""
	}
	line := bytes.TrimRight(s.lines[at.Start.Line-1], "\r")
	text := strings.ToValidUTF8(string(line), "?")
	text = masked.ReplaceAllString(text, "${1}…")
	if s.secrets {
		text = maskedToo.ReplaceAllString(text, "${1}…")
	}
	runes := []rune(text)
	if len(runes) > maxSnippet {
		runes = append(runes[:maxSnippet], '…')
	}
	var b strings.Builder
	number := fmt.Sprintf("%5d | ", at.Start.Line)
	b.WriteString(number)
	b.WriteString(string(runes))
	start, width := at.Start.Column-1, 1
	if at.End.Line == at.Start.Line {
		width = max(1, at.End.Column-at.Start.Column)
	}
	if start > len(runes) {
		return b.String()
	}
	b.WriteString("\n")
	b.WriteString(strings.Repeat(" ", len(number)))
	for _, c := range runes[:start] {
		if c != '\t' {
			c = ' '
		}
		b.WriteRune(c)
	}
	b.WriteString(strings.Repeat("^", min(width, max(1, len(runes)-start))))
	return b.String()
}
