// Package sign makes and checks the signatures that decide what a node runs.
//
// There is one root key. Its private half is kept offline; every agent pins
// its public half. The root signs grants: this key may, until then, have
// these scripts run, as these users, on these nodes, on so many at a time.
// The holder of a grant seals documents (a job's Spec, a Ctl) into envelopes,
// and each envelope carries its grant:
//
//	root ── signs ──► grant (key, holder, not-after, scope)
//	                    │ key signs
//	                    ▼
//	                  envelope (payload bytes as sent)
//
// A node opens an envelope with its Root and believes nothing else: not the
// KV store that held it, not the server that wrote it. A stolen Consul token
// runs nothing, and a stolen server runs what its grant says.
//
// Signatures are Ed25519 over a fixed prefix, the envelope's type and the
// payload, so that a signature for one type is never valid for another.
// Revocation is a list, signed by the root, whose number only grows.
//
// It must not read a clock, a file or the network: callers pass what it needs.
package sign
