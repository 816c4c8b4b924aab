package library

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/scanner"
	"time"
)

// maxTimeout is the longest that a script may ask for: remediation that takes
// longer is a project, not a reflex.
const maxTimeout = time.Hour

var parameterName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// ParseManifest reads a manifest. Its error begins with the number of the line.
func ParseManifest(src []byte) (Manifest, error) {
	p := &parser{}
	p.s.Init(strings.NewReader(string(src)))
	p.s.Mode = scanner.ScanIdents | scanner.ScanStrings | scanner.ScanInts | scanner.ScanComments | scanner.SkipComments
	p.s.Whitespace = 1<<' ' | 1<<'\t' | 1<<'\r' // the end of a line ends what stands on it.
	p.s.Error = func(s *scanner.Scanner, msg string) { p.fail("%s", msg) }
	p.next()
	m := p.manifest()
	return m, p.err
}

// A parser reads one token ahead. After the first error it sees the end.
type parser struct {
	s    scanner.Scanner
	tok  rune
	text string
	line int
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%d: "+format, append([]any{max(p.line, 1)}, args...)...)
	}
	p.tok = scanner.EOF
}

func (p *parser) next() {
	if p.err != nil {
		return
	}
	p.tok = p.s.Scan()
	for p.tok == '#' {
		for c := p.s.Peek(); c != '\n' && c != scanner.EOF; c = p.s.Peek() {
			p.s.Next()
		}
		p.tok = p.s.Scan()
	}
	p.text, p.line = p.s.TokenText(), p.s.Line
	if p.err != nil {
		p.tok = scanner.EOF
	}
}

// want takes one token of that kind and returns its text.
func (p *parser) want(tok rune, what string) string {
	text := p.text
	if p.tok != tok {
		p.fail("want %s, got %s", what, p.got())
		return ""
	}
	p.next()
	return text
}

func (p *parser) got() string {
	switch p.tok {
	case scanner.EOF:
		return "the end of the file"
	case '\n':
		return "the end of the line"
	}
	return strconv.Quote(p.text)
}

func (p *parser) newlines() {
	for p.tok == '\n' {
		p.next()
	}
}

func (p *parser) manifest() Manifest {
	var m Manifest
	seen := make(map[string]bool)
	for p.newlines(); p.tok != scanner.EOF; p.newlines() {
		name := p.want(scanner.Ident, "a key")
		switch {
		case name == "parameter":
			m.Parameters = append(m.Parameters, p.parameter(m.Parameters))
		case seen[name]:
			p.fail("%s is given twice", name)
		default:
			seen[name] = true
			p.attribute(&m, name)
		}
		p.endOfLine()
	}
	for _, key := range []string{"description", "changes", "timeout"} {
		if !seen[key] && p.err == nil {
			p.fail("%s is missing", key)
		}
	}
	if p.err != nil {
		return Manifest{}
	}
	return m
}

func (p *parser) attribute(m *Manifest, name string) {
	switch name {
	case "description":
		m.Description = p.filled(name)
	case "changes":
		m.Changes = p.filled(name)
	case "run_as":
		m.RunAs = p.words()
	case "timeout":
		line := p.line
		text := p.words()
		d, err := time.ParseDuration(text)
		if p.err == nil && (err != nil || d < time.Second || d > maxTimeout) {
			p.line = line
			p.fail("timeout: want a duration between 1s and %s such as \"30s\", got %q", maxTimeout, text)
		}
		m.Timeout = d
	default:
		p.fail("unknown key %q; there are description, changes, timeout, run_as and parameter", name)
	}
}

func (p *parser) parameter(before []Parameter) Parameter {
	out := Parameter{Name: p.unquote(p.want(scanner.String, "the parameter's name in quotes"))}
	switch {
	case p.err != nil:
		return out
	case !parameterName.MatchString(out.Name):
		p.fail("parameter %q: a name is lower-case letters, digits and _", out.Name)
	case slices.ContainsFunc(before, func(b Parameter) bool { return b.Name == out.Name }):
		p.fail("parameter %q is given twice", out.Name)
	}
	p.want('{', "{")
	seen := make(map[string]bool)
	for p.newlines(); p.tok != '}' && p.tok != scanner.EOF; p.newlines() {
		name := p.want(scanner.Ident, "a key or }")
		if seen[name] {
			p.fail("%s is given twice", name)
		}
		seen[name] = true
		switch name {
		case "description":
			out.Description = p.filled(name)
		case "required":
			out.Required = p.truth(name)
		default:
			p.fail("unknown key %q of a parameter; there are description and required", name)
		}
		if p.tok != '}' {
			p.endOfLine()
		}
	}
	p.want('}', "}")
	switch n := len(before); {
	case p.err != nil:
	case !seen["description"]:
		p.fail("parameter %q: description is missing", out.Name)
	case out.Required && n > 0 && !before[n-1].Required:
		p.fail("parameter %q is required and stands behind one that is not", out.Name)
	}
	return out
}

func (p *parser) endOfLine() {
	if p.tok != '\n' && p.tok != scanner.EOF {
		p.fail("want the end of the line, got %s", p.got())
	}
}

// words takes = and a text.
func (p *parser) words() string {
	p.want('=', "=")
	return p.unquote(p.want(scanner.String, "a text in quotes"))
}

func (p *parser) filled(name string) string {
	text := p.words()
	if p.err == nil && strings.TrimSpace(text) == "" {
		p.fail("%s is empty", name)
	}
	return text
}

func (p *parser) truth(name string) bool {
	p.want('=', "=")
	word := p.want(scanner.Ident, "true or false")
	if p.err == nil && word != "true" && word != "false" {
		p.fail("%s: want true or false, got %q", name, word)
	}
	return word == "true"
}

var errTemplate = errors.New("templates such as ${ } are not taken")

// unquote reads a text as HCL does, so that a manifest means the same to every
// reader of HCL.
func (p *parser) unquote(quoted string) string {
	if p.err != nil {
		return ""
	}
	text, err := strconv.Unquote(quoted)
	switch {
	case err == nil && (strings.Contains(quoted, "${") || strings.Contains(quoted, "%{")):
		err = errTemplate
	case err == nil && foreignEscape(quoted):
		err = errors.New(`the escapes are \n \r \t \" \\ \uNNNN and \UNNNNNNNN`)
	}
	if err != nil {
		p.fail("%s: %v", quoted, err)
		return ""
	}
	return text
}

// foreignEscape reports an escape of Go that HCL does not have.
func foreignEscape(quoted string) bool {
	for i := 0; i+1 < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		i++
		if !strings.ContainsRune(`nrt"\uU`, rune(quoted[i])) {
			return true
		}
	}
	return false
}
