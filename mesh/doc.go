// Package mesh holds the nouns of ALPS: what a node, a job, a state and an
// error code are, as values and pure functions.
//
// Everything else leans on it, so it leans on nothing: only the standard
// library, no I/O, no goroutine, no clock (a function that needs the time
// takes it as an argument).
//
//	cmd/alps ── wires ──► server/*  agent/*
//	                          │        │
//	                          ▼        ▼
//	                        mesh/consul, mesh/frame, mesh/query …
//	                                  │
//	                                  ▼
//	                                mesh
//
// A node is known by its NodeID, which it got when it enrolled; its name and
// address are attributes that may change. A job is known by its JobID and has
// a fixed list of targets: the list is the denominator on every surface, and
// the counts over the states always sum to it. The zero State is Unknown and
// never OK: a node that has said nothing has not said that it is well.
package mesh
