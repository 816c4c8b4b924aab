package nodeset

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxNames is how many names one list may stand for: twice the largest
	// estate that we plan for, and small enough to expand at once.
	MaxNames = 100_000

	// MaxNameLen is the most bytes that a name may have, as in DNS.
	MaxNameLen = 255

	// maxDigits keeps every number of a range, and the number after it, within
	// a uint64.
	maxDigits = 18
)

// Parse reads a list of names. An empty list, or one of white space only, is
// the empty set. A list that stands for more than MaxNames names, or for a name
// of more than MaxNameLen bytes, is refused. The error is a *SyntaxError.
func Parse(s string) (*Set, error) {
	p := parser{input: s, set: &Set{plain: make(map[string]struct{})}}
	if err := p.list(); err != nil {
		return nil, err
	}
	return p.set, nil
}

// parser reads input from pos on and fills set.
type parser struct {
	input string
	pos   int
	set   *Set
}

// failf returns a SyntaxError that points at the byte offset at.
func (p *parser) failf(at int, format string, args ...any) error {
	return &SyntaxError{Input: p.input, Offset: at, Msg: fmt.Sprintf(format, args...)}
}

// peek returns the rune at pos and its length; at the end that is 0, 0.
func (p *parser) peek() (r rune, n int) {
	if p.pos == len(p.input) {
		return 0, 0
	}
	return utf8.DecodeRuneInString(p.input[p.pos:])
}

// accept steps over c if it is next.
func (p *parser) accept(c byte) bool {
	if p.pos == len(p.input) || p.input[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) skipSpace() {
	for r, n := p.peek(); n > 0 && unicode.IsSpace(r); r, n = p.peek() {
		p.pos += n
	}
}

func (p *parser) list() error {
	var written []string
	comma := false
	for {
		p.skipSpace()
		start := p.pos
		if start == len(p.input) {
			if comma {
				return p.failf(start, `expected a name after ","`)
			}
			p.set.text = strings.Join(written, ",")
			return nil
		}
		if err := p.term(); err != nil {
			return err
		}
		written = append(written, p.input[start:p.pos])
		p.skipSpace()
		comma = p.accept(',')
	}
}

// term reads one term, up to a separator or the end, into the set.
func (p *parser) term() error {
	var t term
	start, brackets := p.pos, false
	for {
		from := p.pos
		if p.accept('[') {
			spans, err := p.bracket(from)
			if err != nil {
				return err
			}
			t, brackets = append(t, piece{spans: spans}), true
			continue
		}
		for r, n := p.peek(); isNameRune(r, n); r, n = p.peek() {
			p.pos += n
		}
		if p.pos > from {
			t = append(t, piece{text: p.input[from:p.pos]})
			continue
		}
		if err := p.endOfTerm(start); err != nil {
			return err
		}
		break
	}
	if err := p.checkSize(t, start); err != nil {
		return err
	}
	if brackets {
		p.set.terms = append(p.set.terms, t)
	} else {
		p.set.plain[p.input[start:p.pos]] = struct{}{}
	}
	return nil
}

// endOfTerm checks that what stands behind a term that began at start may
// stand there.
func (p *parser) endOfTerm(start int) error {
	r, n := p.peek()
	switch {
	case n == 0 || unicode.IsSpace(r):
		return nil
	case r == ',' && p.pos > start:
		return nil
	case r == ',':
		return p.failf(p.pos, `expected a name before ","`)
	case r == ']':
		return p.failf(p.pos, `"]" without a "[" before it`)
	case r == utf8.RuneError && n == 1:
		return p.failf(p.pos, "the text is not valid UTF-8")
	}
	return p.failf(p.pos, "%q cannot be part of a node name", string(r))
}

// checkSize keeps the set within its limits and counts t.
func (p *parser) checkSize(t term, start int) error {
	count, length := uint64(1), 0
	for _, pc := range t {
		length += len(pc.text)
		if pc.spans == nil {
			continue
		}
		var in uint64
		digits := 0
		for _, s := range pc.spans {
			in += min(s.count(), MaxNames+1)
			digits = max(digits, len(pad(s.hi, s.width)))
		}
		length += digits
		count = min(count*in, MaxNames+1)
	}
	if length > MaxNameLen {
		return p.failf(start, "a node name has at most %d bytes", MaxNameLen)
	}
	if count > uint64(MaxNames-p.set.size) {
		return p.failf(start, "the list stands for more than %d names", MaxNames)
	}
	p.set.size += int(count)
	return nil
}

// bracket reads what follows the "[" at open, and its "]".
func (p *parser) bracket(open int) ([]span, error) {
	var spans []span
	for {
		s, err := p.span()
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
		if p.accept(']') {
			return spans, nil
		}
		if p.accept(',') {
			continue
		}
		if p.pos == len(p.input) {
			return nil, p.failf(open, `"[" is never closed`)
		}
		r, _ := p.peek()
		return nil, p.failf(p.pos, `expected "," or "]" instead of %q`, string(r))
	}
}

func (p *parser) span() (span, error) {
	start := p.pos
	first, err := p.number()
	if err != nil {
		return span{}, err
	}
	s := span{lo: first.value, hi: first.value, step: 1, width: first.width}
	if !p.accept('-') {
		return s, nil
	}
	at := p.pos
	last, err := p.number()
	if err != nil {
		return span{}, err
	}
	if last.width < first.width || last.padded && last.width != first.width {
		return span{}, p.failf(at, "the ends of the range %q are padded differently", p.input[start:p.pos])
	}
	if last.value < first.value {
		return span{}, p.failf(start, "the range %q ends before it begins", p.input[start:p.pos])
	}
	s.hi = last.value
	if !p.accept('/') {
		return s, nil
	}
	at = p.pos
	step, err := p.number()
	if err != nil {
		return span{}, err
	}
	if step.value == 0 {
		return span{}, p.failf(at, "the step of a range is at least 1")
	}
	s.step = step.value
	return s, nil
}

// number is a number as written.
type number struct {
	value  uint64
	width  int
	padded bool // it begins with a zero that its value does not need.
}

func (p *parser) number() (number, error) {
	start := p.pos
	for p.pos < len(p.input) && isDigit(p.input[p.pos]) {
		p.pos++
	}
	digits := p.input[start:p.pos]
	if digits == "" {
		return number{}, p.failf(start, "expected a number")
	}
	if len(digits) > maxDigits {
		return number{}, p.failf(start, "a number in a range has at most %d digits", maxDigits)
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return number{}, p.failf(start, "read the number %q: %v", digits, err)
	}
	return number{value: v, width: len(digits), padded: len(digits) > 1 && digits[0] == '0'}, nil
}

// isNameRune reports whether r, of n bytes, may stand in a name.
func isNameRune(r rune, n int) bool {
	switch {
	case n == 0 || r == utf8.RuneError && n == 1:
		return false
	case r == '-' || r == '_' || r == '.':
		return true
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}
