// Package arch holds no code, only tests of the project's shape: which package
// may import which, that each says what it is for, that files stay readable,
// and that the paths in the documents for newcomers exist.
//
// The import edges stand in .golangci.yml as well, for the editor. Here they
// are taken from what the go command says is imported, tests included, and the
// rules are those that the linter cannot express: siblings, and what is linked
// in the end.
//
// A failing test here is a question about the design, to be answered in
// docs/decisions before the rule is changed.
package arch
