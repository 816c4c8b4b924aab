// Package ui is the web interface: its build, and the handler that serves it.
//
//	ui/src (TypeScript, Preact) ── npm run build ──► ui/dist ── go:embed ──► Handler
//
// The build is committed, so that ALPS is built with Go alone; a test builds
// again, where there is Node, and compares. The pages are one application that
// speaks to the API of the server that they come from and to nothing else:
// there is no other host, font or script, and the policy that Handler sends
// has the browser see to that.
//
// What a machine wrote (names, outputs, values of keys) reaches the page as
// text alone. A test keeps every way to write HTML out of the sources.
//
// It must not import anything of ALPS.
package ui
