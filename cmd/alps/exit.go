package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/mesh/query"
)

// The exit codes. They are a contract with scripts and stand in the help.
const (
	exitOK          = 0
	exitFailed      = 1 // a target is not OK, or the work failed.
	exitUsage       = 2 // flags, expression, file or config make no sense.
	exitNothing     = 3 // nothing matches, or there is no such thing.
	exitDenied      = 4 // token, scope, grant or key does not allow it.
	exitUnavailable = 5 // the server or Consul is away.
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    done; for exec: every target is OK
  1    failed; for exec: at least one target is not OK
  2    wrong usage: flags, expression, file or config
  3    nothing matches, or there is no such thing
  4    not allowed: token, scope, grant or key
  5    the server or Consul is away
  130  interrupted`

// silentError ends a command with a code after it has said everything itself.
type silentError struct{ code int }

func (e silentError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usageError is a command line that makes no sense.
type usageError struct {
	err  error
	hint string // empty: the help of the verb.
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef returns a usageError that a verb found.
func usagef(format string, args ...any) error { return usageError{err: fmt.Errorf(format, args...)} }

// misused puts into words what was wrong with a command line before its verb
// began. at is the command that was understood.
func misused(err error, at *cobra.Command, args []string) error {
	e := usageError{err: err}
	if !at.HasSubCommands() {
		return e
	}
	word := unknownWord(at, args)
	if word == "" {
		return e
	}
	e.err = fmt.Errorf("%s has no command %q", at.CommandPath(), word)
	at.SuggestionsMinimumDistance = 2 // in letters; cobra's own default.
	if like := at.SuggestionsFor(word); len(like) > 0 {
		e.hint = at.CommandPath() + " " + like[0]
	}
	return e
}

// unknownWord is the first word behind the command that was understood, if it
// comes before any flag.
func unknownWord(at *cobra.Command, args []string) string {
	depth := strings.Count(at.CommandPath(), " ")
	for _, word := range args {
		switch {
		case word == "--json":
		case strings.HasPrefix(word, "-"):
			return ""
		case depth == 0:
			return word
		default:
			depth--
		}
	}
	return ""
}

// wantsJSON looks for the flag in a command line that could not be read.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}

// exit prints err, if there is anything left to say, and returns its code.
func (a *app) exit(err error) int {
	if err == nil {
		return exitOK
	}
	if s, ok := errors.AsType[silentError](err); ok {
		return s.code
	}
	code := exitCode(err)
	if a.json {
		a.printErrorJSON(err, code)
	} else {
		a.printError(err)
	}
	return code
}

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*query.Error](err); ok {
		return exitUsage
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	switch mesh.CodeOf(err) {
	case mesh.Invalid, mesh.TooLarge:
		return exitUsage
	case mesh.NoTargets, mesh.NotFound:
		return exitNothing
	case mesh.Denied, mesh.Unauthorized, mesh.NeedsKey:
		return exitDenied
	case mesh.Unavailable:
		return exitUnavailable
	default:
		return exitFailed
	}
}

// printError writes one error line, the place in the expression when that is
// what is wrong, and the hint.
func (a *app) printError(err error) {
	fmt.Fprintf(a.err, "alps: %s\n", err)
	if q, ok := errors.AsType[*query.Error](err); ok && q.Input != "" {
		fmt.Fprintln(a.err, indent(q.Caret()))
	} else if s, ok := errors.AsType[*nodeset.SyntaxError](err); ok && s.Input != "" {
		fmt.Fprintln(a.err, indent(s.Caret()))
	}
	if hint := a.hintOf(err); hint != "" {
		fmt.Fprintf(a.err, "  try: %s\n", hint)
	}
}

func (a *app) printErrorJSON(err error, exit int) {
	v := struct {
		Error string    `json:"error"`
		Code  mesh.Code `json:"code"`
		Hint  string    `json:"hint,omitempty"`
		Exit  int       `json:"exit"`
	}{err.Error(), mesh.CodeOf(err), a.hintOf(err), exit}
	if exit == exitUsage {
		v.Code = mesh.Invalid
	}
	_ = json.NewEncoder(a.err).Encode(v)
}

// hintOf is what to type next, empty when nobody knows.
func (a *app) hintOf(err error) string {
	if e, ok := errors.AsType[*mesh.Error](err); ok && e.Hint != "" {
		return e.Hint
	}
	if q, ok := errors.AsType[*query.Error](err); ok {
		return q.Hint
	}
	if u, ok := errors.AsType[usageError](err); ok {
		return cmp.Or(u.hint, a.help)
	}
	return ""
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
