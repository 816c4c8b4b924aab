package nodeset

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"alps/mesh"
)

// SyntaxError says where a list of names stops making sense.
type SyntaxError struct {
	Input  string // the whole list, as it was given.
	Offset int    // bytes before the place in Input; len(Input) means its end.
	Msg    string // lower-case, without the place.
}

// Error returns the complaint and its place in one line. Columns count runes
// and start at 1.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("parse node names: %s (column %d)", e.Msg, e.column()+1)
}

// As lets errors.As see a SyntaxError as a mesh.Error with the code Invalid,
// so that every surface answers it as a fault of the input.
func (e *SyntaxError) As(target any) bool {
	t, ok := target.(**mesh.Error)
	if ok {
		*t = mesh.Errorf(mesh.Invalid, "%s", e.Error())
	}
	return ok
}

// How much of a long input Caret shows on each side of the place.
const (
	caretBefore = 60
	caretAfter  = 20
)

// Caret returns two lines without a final newline: the input, and a ^ under
// the place with the complaint behind it. What lies far from the place is cut
// off, and a character that does not print is shown as a space. Every rune is
// taken to be one column wide.
func (e *SyntaxError) Caret() string {
	runes, at := []rune(e.Input), e.column()
	from, to := max(0, at-caretBefore), min(len(runes), at+caretAfter)
	line, indent := string(runes[from:to]), at-from
	if from > 0 {
		line, indent = "…"+line, indent+1
	}
	if to < len(runes) {
		line += "…"
	}
	line = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, line)
	return strings.TrimRight(line, " ") + "\n" + strings.Repeat(" ", indent) + "^ " + e.Msg
}

// column is the number of runes before the place.
func (e *SyntaxError) column() int {
	return utf8.RuneCountInString(e.Input[:max(0, min(e.Offset, len(e.Input)))])
}
