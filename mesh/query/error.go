package query

import (
	"fmt"
	"unicode/utf8"

	"alps/mesh"
	"alps/mesh/nodeset"
)

// Error says where a query stops making sense.
type Error struct {
	Input  string // the whole query, as it was given.
	Offset int    // bytes before the place in Input; len(Input) means its end.
	Msg    string // lower-case, without the place.
	Hint   string // optional: what to type instead.
}

// Error returns the complaint and its place in one line, without the hint.
// Columns count runes and start at 1.
func (e *Error) Error() string {
	before := e.Input[:max(0, min(e.Offset, len(e.Input)))]
	return fmt.Sprintf("parse query: %s (column %d)", e.Msg, utf8.RuneCountInString(before)+1)
}

// As lets errors.As see an Error as a mesh.Error with the code Invalid and the
// same hint, so that every surface answers it as a fault of the input.
func (e *Error) As(target any) bool {
	t, ok := target.(**mesh.Error)
	if ok {
		*t = mesh.Errorf(mesh.Invalid, "%s", e.Error()).WithHint("%s", e.Hint)
	}
	return ok
}

// Caret returns two lines without a final newline: the query, and a ^ under
// the place with the complaint behind it. It draws as nodeset.SyntaxError does.
func (e *Error) Caret() string {
	return (&nodeset.SyntaxError{Input: e.Input, Offset: e.Offset, Msg: e.Msg}).Caret()
}
