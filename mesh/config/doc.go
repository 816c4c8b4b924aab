// Package config reads the configuration of the agent and of the server: HCL,
// or its JSON twin, into typed structs.
//
//	cfg, err := config.LoadAgent("/etc/alps/agent.hcl")   // or a directory
//	if err != nil {
//		return err // every problem, with file, line, snippet and a suggestion
//	}
//
// One struct is one section and lies in a file of its own; its fields are the
// keys and their comments are the reference (docs/config.md, by go generate).
//
//	file ──► entries (path, place, expression) ──► fields (by path) ──► checks
//	source.go          merge.go                     decode.go          <section>.go
//
// Reading is strict: an unknown key, a wrong type, a missing key and a value
// out of bounds are errors, and all of them are told at once. A directory is
// read in the order of its file names and its files make one configuration: a
// section may be spread over several, and a key given twice is an error that
// names both places.
//
// To add a key: a field with its comment and tag, its default with the reason
// in the section's default function, its line in sample/, a case in testdata/,
// and go generate.
//
// Services and checks, and rules, receivers and policies, are definitions:
// blocks with a label, any number of each, in directories of their own. They
// become the nouns of package mesh:
//
//	checks, err := config.LoadChecks("/etc/alps/checks.d") // or Consul's own files
//	rules, err := config.LoadRules("/etc/alps/rules.d")
//
//	file ──► blocks of entries ──► keys ──────────► mesh.CheckDef, mesh.Rule, …
//	         definition_tree.go    definition_fill.go  definition_<noun>.go
//
// They are as strict, with one exception: keys that Consul's definitions have
// and ALPS has no use for are taken and told of in Checks.Ignored. The manifest
// of a script of the library is read in the same way, by ParseManifest: one file,
// whose keys stand at its top, becomes a Manifest.
//
// Loading reads the named files and nothing else. Validate looks at values
// only: whether a path exists or a port is free is found out by whoever uses
// it, as is whether a script, a probe or a node of that name exists. The package
// imports mesh and mesh/query and no other part of ALPS, and it does not log.
package config

//go:generate go run ./internal/reference -config ../../docs/config.md -definitions ../../docs/definitions.md
