package nodeset

import (
	"slices"
	"strconv"
	"strings"
)

// Fold returns names in their short form: sorted by Compare, without doubles
// and empty names, neighbours in ranges. Expand reads it back as the same
// names, padding included, if Parse would accept each of them on its own; a
// name that it would not is written as it is. Fold does not change names. Its
// time grows with the length of the list and a logarithm, whether names fold
// or not.
func Fold(names []string) string {
	text, _ := fold(names)
	return text
}

// FoldCount returns Fold(names) and the number of distinct names behind it, as
// in "n[1-3] (3)". An empty list is "(0)".
func FoldCount(names []string) string {
	text, n := fold(names)
	count := "(" + strconv.Itoa(n) + ")"
	if n == 0 {
		return count
	}
	return text + " " + count
}

// run is a name and the run of digits in it, name[start:end], that is looked
// at for folding.
type run struct {
	name       string
	start, end int
}

// around is what names must share to fold over one of their numbers.
type around struct{ before, after string }

func (r run) digits() string { return r.name[r.start:r.end] }
func (r run) around() around { return around{r.name[:r.start], r.name[r.end:]} }
func (r run) left() (run, bool) {
	end := r.start
	for {
		for end > 0 && !isDigit(r.name[end-1]) {
			end--
		}
		start := end
		for start > 0 && isDigit(r.name[start-1]) {
			start--
		}
		if end == 0 {
			return run{}, false
		}
		// A longer number cannot stand in a bracket: leave it as text.
		if end-start <= maxDigits {
			return run{r.name, start, end}, true
		}
		end = start
	}
}

// fold looks at the last number of each name first. Names that find no partner
// there try their next number to the left, until they have none. Each pass is
// one walk over what is left, and a name has few numbers.
func fold(names []string) (text string, n int) {
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	slices.SortFunc(names, Compare)
	names = slices.Compact(names)

	type folded struct{ first, text string }
	out := make([]folded, 0, len(names))
	alone := make([]run, 0, len(names))
	for _, name := range names {
		alone = append(alone, run{name, len(name), len(name)})
	}
	for len(alone) > 0 {
		looked := alone[:0]
		groups := make(map[around][]string, len(alone))
		for _, r := range alone {
			next, ok := r.left()
			if !ok {
				out = append(out, folded{r.name, r.name})
				continue
			}
			looked = append(looked, next)
			groups[next.around()] = append(groups[next.around()], next.digits())
		}
		alone = looked[:0]
		for _, r := range looked {
			group := groups[r.around()]
			switch {
			case len(group) == 1:
				alone = append(alone, r)
			case group[0] == r.digits():
				a := r.around()
				out = append(out, folded{r.name, a.before + "[" + ranges(group) + "]" + a.after})
			}
		}
	}
	slices.SortFunc(out, func(a, b folded) int { return Compare(a.first, b.first) })
	terms := make([]string, 0, len(out))
	for _, f := range out {
		terms = append(terms, f.text)
	}
	return strings.Join(terms, ","), len(names)
}

// ranges writes numbers, which are distinct and in the order of Compare, as
// the inside of a bracket.
func ranges(numbers []string) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		j := i + 1
		for j < len(numbers) && follows(numbers[j-1], numbers[j]) {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(numbers[i])
		if j-i > 1 {
			b.WriteByte('-')
			b.WriteString(numbers[j-1])
		}
		i = j
	}
	return b.String()
}

// follows reports whether a range that writes a writes b next. It does when b
// is a+1 and has as many digits, or one more because all of a's are nines.
func follows(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	if errA != nil || errB != nil || y != x+1 {
		return false
	}
	return len(a) == len(b) || len(b) == len(a)+1 && b[0] != '0'
}
