// Command alps is all of ALPS in one binary: the agent of a node, the server,
// and the tool that an operator types.
//
// This package holds main and one file per verb: flags, output and exit codes
// live here and nowhere else. What a verb does lies below: the agent's and the
// server's parts are put together in internal/wire, a cluster for trying out
// in internal/dev. The operator's verbs speak to a server through
// server/api/client only.
package main
