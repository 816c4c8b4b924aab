package mesh

import (
	"errors"
	"fmt"
)

// Code classes an error for everything that must act on it: the HTTP status,
// the exit code of the CLI, the text in the browser. One table in server/api
// maps codes to statuses, one in cmd/alps to exit codes.
type Code string

// The codes. An error without one is Internal.
const (
	Internal     Code = "internal"     // a bug, or a fault below us.
	Invalid      Code = "invalid"      // the request makes no sense; say it differently.
	NotFound     Code = "not_found"    // no such thing.
	Conflict     Code = "conflict"     // somebody else changed it first.
	Denied       Code = "denied"       // the token, its scope or a grant does not allow it.
	Unauthorized Code = "unauthorized" // no token, or not a valid one.
	NoTargets    Code = "no_targets"   // the expression matches no node.
	NeedsKey     Code = "needs_key"    // the job must be signed by an operator's key.
	Unavailable  Code = "unavailable"  // Consul or the server is away; try again.
	TooLarge     Code = "too_large"    // over a documented limit.
)

// Error is an error that reaches a user: what happened, and what to type
// next.
type Error struct {
	Code    Code
	Message string // lower-case, says what was attempted and what is wrong.
	Hint    string // optional: the next command, or where to look.
	cause   error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the error that the message was made from, if any.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error of the given code; the format is fmt.Errorf's, and
// what its %w wraps stays reachable by errors.Is and errors.As.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// WithHint returns a copy of e that tells the user what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// CodeOf returns the Code of the first Error in err's chain, or Internal. The
// zero Code is returned for a nil error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
