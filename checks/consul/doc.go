// Package consul is the pack of checks of Consul itself, for the nodes on which
// a Consul server runs: is there a leader, would the quorum survive one more
// failure, has a member failed.
//
//	Asker ──► leader peers members ──► checks.Result
//
// Every server is asked for its own view, so that a server that is cut off says
// so although the others are well. README.md explains each check; pack.hcl has
// the thresholds. The package imports mesh, mesh/nodeset and checks; what
// speaks to Consul is handed in.
package consul
