package nodeset

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Set is a parsed list of node names. It keeps ranges as ranges, so its memory
// follows the length of the text and not the number of names. The zero Set is
// empty. A Set does not change after Parse.
type Set struct {
	text  string              // the terms as written, with commas between them.
	plain map[string]struct{} // terms without a bracket.
	terms []term              // terms with at least one.
	size  int
}

// term is one pattern of names: text and brackets in the order of writing.
type term []piece

// piece is either text or, when it has spans, a bracket.
type piece struct {
	text  string
	spans []span
}

// span is one range in a bracket: lo, lo+step, … up to hi, each written with
// at least width digits.
type span struct {
	lo, hi, step uint64
	width        int
}

// Expand returns the names in s, sorted by Compare and without doubles. Its
// errors are those of Parse.
func Expand(s string) ([]string, error) {
	set, err := Parse(s)
	if err != nil {
		return nil, err
	}
	return set.Names(), nil
}

// Contains reports whether name is in the set. It expands nothing.
func (s *Set) Contains(name string) bool {
	if _, ok := s.plain[name]; ok {
		return true
	}
	return slices.ContainsFunc(s.terms, func(t term) bool { return t.match(name) })
}

// Names returns the names in the set, sorted by Compare and without doubles.
// The slice is the caller's.
func (s *Set) Names() []string {
	names := make([]string, 0, s.size)
	names = slices.AppendSeq(names, maps.Keys(s.plain))
	for _, t := range s.terms {
		names = t.expand(names, "")
	}
	slices.SortFunc(names, Compare)
	return slices.Compact(names)
}

// Size returns how many names were written down. A name that is written twice
// counts twice, so Size is never less than len(Names()); it costs nothing.
func (s *Set) Size() int { return s.size }

// String returns the terms as they were written, with single commas between
// them. Parse reads it back as the same set. Use Fold(s.Names()) for the
// shortest form.
func (s *Set) String() string { return s.text }

// match reports whether t spells name. Brackets beside digits can be read in
// several ways, n1[1-12]3 for one, so it tries each; it takes no more steps
// than t has names.
func (t term) match(name string) bool {
	if len(t) == 0 {
		return name == ""
	}
	p, rest := t[0], t[1:]
	if p.spans == nil {
		after, ok := strings.CutPrefix(name, p.text)
		return ok && rest.match(after)
	}
	var v uint64
	for n := 0; n < min(len(name), maxDigits) && isDigit(name[n]); n++ {
		v = v*10 + uint64(name[n]-'0')
		if p.holds(name[:n+1], v) && rest.match(name[n+1:]) {
			return true
		}
	}
	return false
}

// holds reports whether the bracket p spells the number v as digits.
func (p piece) holds(digits string, v uint64) bool {
	return slices.ContainsFunc(p.spans, func(s span) bool {
		written := len(digits) == s.width || len(digits) > s.width && digits[0] != '0'
		return written && s.lo <= v && v <= s.hi && (v-s.lo)%s.step == 0
	})
}

// expand appends every name of t, each behind prefix, to names.
func (t term) expand(names []string, prefix string) []string {
	if len(t) == 0 {
		return append(names, prefix)
	}
	p, rest := t[0], t[1:]
	if p.spans == nil {
		return rest.expand(names, prefix+p.text)
	}
	for _, s := range p.spans {
		for i := range s.count() {
			names = rest.expand(names, prefix+pad(s.lo+i*s.step, s.width))
		}
	}
	return names
}

// count is the number of names that s stands for.
func (s span) count() uint64 { return (s.hi-s.lo)/s.step + 1 }

// pad writes v with at least width digits.
func pad(v uint64, width int) string {
	s := strconv.FormatUint(v, 10)
	if len(s) >= width {
		return s
	}
	return strings.Repeat("0", width-len(s)) + s
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
