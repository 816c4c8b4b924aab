package query

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"alps/mesh/nodeset"
)

const (
	// MaxInput is the most bytes that a query may have, as given and in its
	// canonical spelling: it travels in signed documents of 8 KiB.
	MaxInput = 4096

	// MaxDepth is how deep parentheses and "not" may nest.
	MaxDepth = 100
)

// Parse reads a query. The error is an *Error. An empty query is refused: to
// say nothing is not to say everything.
func Parse(input string) (*Expr, error) {
	p := &parser{input: input}
	if len(input) > MaxInput {
		return nil, p.tooLong()
	}
	if !utf8.ValidString(input) {
		valid := strings.ToValidUTF8(input, "\xff")
		return nil, p.failf(strings.IndexByte(valid, 0xff), "the text is not valid UTF-8")
	}
	p.take(0)
	if p.done() {
		return nil, hint(p.failf(0, "the query is empty"), `say "all" to mean every node`)
	}
	root, err := p.or("")
	if err != nil {
		return nil, err
	}
	if !p.done() {
		return nil, p.failf(p.pos, `")" without a "(" before it`)
	}
	e := &Expr{root: root}
	if len(e.String()) > MaxInput {
		return nil, p.tooLong()
	}
	return e, nil
}

// parser reads input from pos on. White space is skipped behind each token, so
// that pos is at a token or at the end.
type parser struct {
	input string
	pos   int
	last  int // the end of the last token.
	depth int
	names int // how many names the lists so far stand for.
}

func (p *parser) failf(at int, format string, args ...any) *Error {
	return &Error{Input: p.input, Offset: at, Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) tooLong() *Error {
	err := p.failf(min(MaxInput, len(p.input)), "the query is longer than %d bytes", MaxInput)
	return hint(err, "give the nodes a role or a tag, and ask for that")
}

func hint(e *Error, text string) *Error {
	e.Hint = text
	return e
}

func (p *parser) done() bool   { return p.pos == len(p.input) }
func (p *parser) rest() string { return p.input[p.pos:] }

// take steps over a token of n bytes and the white space behind it.
func (p *parser) take(n int) {
	p.last = p.pos + n
	p.pos = p.last + span(p.input[p.last:], unicode.IsSpace)
}

// word returns the text up to the next character that no list may hold.
func (p *parser) word() string { return p.rest()[:span(p.rest(), isListRune)] }

// keyword steps over k if it is the next word.
func (p *parser) keyword(k string) bool {
	if !strings.EqualFold(p.word(), k) {
		return false
	}
	p.take(len(k))
	return true
}

// enter goes one level deeper because of the token at the offset at. The
// caller goes back with p.depth--.
func (p *parser) enter(at int) error {
	p.depth++
	if p.depth > MaxDepth {
		return p.failf(at, "the query nests deeper than %d levels", MaxDepth)
	}
	return nil
}

// or reads alternatives up to the end or a ")". The token before them, if they
// must follow it, is named in the complaint when there are none; this goes for
// and, unary and primary too.
func (p *parser) or(after string) (node, error) {
	first, err := p.and(after)
	if err != nil {
		return nil, err
	}
	list := or(nil).with(first)
	for p.keyword(kwOr) {
		next, err := p.and(kwOr)
		if err != nil {
			return nil, err
		}
		list = list.with(next)
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (p *parser) and(after string) (node, error) {
	prev, err := p.unary(after)
	if err != nil {
		return nil, err
	}
	list := and(nil).with(prev)
	for {
		at, before := p.pos, ""
		if p.keyword(kwAnd) {
			before = kwAnd
		} else if p.done() || p.rest()[0] == ')' || strings.EqualFold(p.word(), kwOr) {
			break
		}
		next, err := p.unary(before)
		if err != nil {
			return nil, err
		}
		if before == "" && isNamed(prev) && isNamed(next) {
			return nil, hint(p.failf(at, "a list of nodes directly after another"), `join them with a comma and no space, or say "and" for those in both`)
		}
		list, prev = list.with(next), next
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func isNamed(n node) bool {
	_, ok := n.(named)
	return ok
}

func (p *parser) unary(after string) (node, error) {
	at := p.pos
	if !p.keyword(kwNot) {
		return p.primary(after)
	}
	if err := p.enter(at); err != nil {
		return nil, err
	}
	of, err := p.unary(kwNot)
	if err != nil {
		return nil, err
	}
	p.depth--
	return not{of}, nil
}

func (p *parser) primary(after string) (node, error) {
	word := p.word()
	switch {
	case strings.HasPrefix(p.rest(), "("):
		return p.group()
	case strings.HasPrefix(p.rest(), "*"):
		p.take(1)
		if p.endOfWord() != nil {
			return nil, hint(p.failf(p.last-1, `unexpected "*"`), charHint("*"))
		}
		return every{}, nil
	case word == "" || strings.EqualFold(word, kwAnd) || strings.EqualFold(word, kwOr):
		return nil, p.noCondition(after)
	}
	start := p.pos
	p.take(len(word))
	if !p.done() && strings.ContainsRune("=!<>~^", rune(p.rest()[0])) {
		if !isField(word) {
			return nil, p.failf(start, "%q is not the name of a field", word)
		}
		return p.condition(word)
	}
	if err := p.endOfWord(); err != nil {
		return nil, err
	}
	if strings.EqualFold(word, kwAll) {
		return every{}, nil
	}
	return p.list(word, start)
}

func (p *parser) group() (node, error) {
	open := p.pos
	if err := p.enter(open); err != nil {
		return nil, err
	}
	p.take(1)
	n, err := p.or("(")
	if err != nil {
		return nil, err
	}
	if p.done() {
		return nil, p.failf(open, `"(" is never closed`)
	}
	p.take(1)
	p.depth--
	return n, nil
}

// list reads word, which began at start, as explicit names.
func (p *parser) list(word string, start int) (node, error) {
	set, err := nodeset.Parse(word)
	if bad, ok := errors.AsType[*nodeset.SyntaxError](err); ok {
		e := p.failf(start+bad.Offset, "%s", bad.Msg)
		field, value, colon := strings.Cut(word, ":")
		switch {
		case colon && isField(field) && value != "":
			e.Hint = fmt.Sprintf("did you mean %s=%s?", field, value)
		case strings.HasSuffix(word, ","):
			e.Hint = "write a list without spaces: a,b"
		}
		return nil, e
	}
	if err != nil {
		return nil, p.failf(start, "%v", err)
	}
	if p.names += set.Size(); p.names > nodeset.MaxNames {
		return nil, p.failf(start, "the query stands for more than %d names", nodeset.MaxNames)
	}
	return named{set}, nil
}

// condition reads what follows field: an operator and its values.
func (p *parser) condition(field string) (node, error) {
	op, err := p.operator()
	if err != nil {
		return nil, err
	}
	start := p.pos
	var values []string
	for {
		v, err := p.value(op)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if p.last == len(p.input) || p.input[p.last] != ',' {
			break
		}
		if op.numeric() || op == matches || op == notMatches {
			return nil, p.failf(p.last, "%q takes one value", string(op))
		}
		p.take(1)
		if p.pos > p.last {
			return nil, hint(p.failf(p.last, `expected a value after ","`), "write a list without spaces: a,b")
		}
	}
	if err := p.endOfWord(); err != nil {
		if field == nameField && strings.HasPrefix(p.input[p.last:], "[") {
			err = hint(p.failf(p.last, `unexpected "["`), "write a range on its own, without the field: n[1-3]")
		}
		return nil, err
	}
	c, err := newCondition(field, op, values)
	if err != nil {
		e := p.failf(start, "%v", err)
		if op.numeric() {
			e.Hint = "compare with a plain number: mem_gb>64"
		} else if p.input[start] != '"' {
			e.Hint = `quote an expression that holds a space or a lone parenthesis: name~"a b"`
		}
		return nil, e
	}
	return c, nil
}

func (p *parser) operator() (operator, error) {
	for _, s := range spellings {
		if !strings.HasPrefix(p.rest(), s.text) {
			continue
		}
		if s.op == "" {
			return "", hint(p.failf(p.pos, "there is no operator %q", s.text), s.hint)
		}
		p.take(len(s.text))
		return s.op, nil
	}
	return "", p.failf(p.pos, "expected an operator")
}

// value reads one value of op: quoted, a regular expression, or a word.
func (p *parser) value(op operator) (string, error) {
	if strings.HasPrefix(p.rest(), `"`) {
		text, n, ok := unquote(p.rest())
		if !ok {
			return "", p.failf(p.pos, "the quote is never closed")
		}
		p.take(n)
		return text, nil
	}
	n := span(p.rest(), isWordRune)
	if op == matches || op == notMatches {
		n = regexpLen(p.rest())
	}
	v := p.rest()[:n]
	if n > 0 && !isKeyword(v) {
		p.take(n)
		return v, nil
	}
	at, before := p.pos, string(op)
	if p.done() {
		at = p.last
	}
	if p.input[p.last-1] == ',' {
		before = ","
	}
	e := p.failf(at, "expected a value after %q", before)
	switch {
	case n > 0:
		e.Hint = fmt.Sprintf("quote a value that is a keyword: %q", v)
	case !p.done():
		e.Hint = charHint(p.rest())
	}
	return "", e
}

// endOfWord checks that the last token, a name or a value, ends where it may.
func (p *parser) endOfWord() error {
	behind := p.input[p.last:]
	if p.pos > p.last || behind == "" || behind[0] == ')' {
		return nil
	}
	return hint(p.failf(p.last, "unexpected %q", firstRune(behind)), charHint(behind))
}

// noCondition complains of whatever stands at pos in place of a condition.
func (p *parser) noCondition(after string) error {
	rest := p.rest()
	switch {
	case p.done():
		return p.failf(p.last, "expected a condition after %q", after)
	case strings.HasPrefix(rest, "&&"), strings.HasPrefix(rest, "||"):
		return hint(p.failf(p.pos, "there is no operator %q", rest[:2]), charHint(rest))
	case strings.HasPrefix(rest, "!"):
		return hint(p.failf(p.pos, `there is no operator "!"`), `did you mean "not"?`)
	case strings.HasPrefix(rest, `"`):
		e := p.failf(p.pos, "a quoted text stands only after an operator")
		return hint(e, `a node's name needs no quotes, or say name="..."`)
	case strings.ContainsRune("=<>~^", rune(rest[0])):
		return p.failf(p.pos, "expected a field before %q", rest[:1])
	case after != "":
		return hint(p.failf(p.pos, "expected a condition after %q", after), charHint(rest))
	case rest[0] == ')':
		return p.failf(p.pos, `")" without a "(" before it`)
	case p.word() != "":
		return p.failf(p.pos, "expected a condition before %q", strings.ToLower(p.word()))
	}
	return hint(p.failf(p.pos, "unexpected %q", firstRune(rest)), charHint(rest))
}

// charHint says what to type in place of the character that rest begins with;
// rest is not empty.
func charHint(rest string) string {
	switch rest[0] {
	case '&':
		return `did you mean "and"?`
	case '|':
		return `did you mean "or"?`
	case '*', '?':
		return "there are no globs: use ^ for a prefix or ~ for a regular expression"
	case '\'':
		return "quote with double quotes"
	case ')':
		return ""
	}
	if c := firstRune(rest); span(c, isWordRune) == 0 {
		return fmt.Sprintf("a value that holds %q must be quoted", c)
	}
	return ""
}
