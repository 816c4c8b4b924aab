// Package exec runs a node's part of every job: it learns of jobs, checks who
// signed them, runs each at most once, and reports how it ended.
//
//	event ─┐
//	watch ─┼─► look ──► verify ──► journal ──► queue ──► run ──► journal ──► report
//	poll  ─┤    │ head,   │ signature, grant,   │ window, wave, slot
//	start ─┘    │ segments│ own entry, clock    ▼
//	            ▼         └─► REJECTED(why)    EXPIRED, CANCELLED
//	          cursor
//
// The documents are those of mesh/dispatch and lie in Consul's KV store, which
// is believed in nothing: a reference only says where to look, and a spec is
// believed by its signature alone. Whatever a node refuses it says so, with
// the reason, as a report of the job: the operator reads it where they look
// for the output. Only a node that the job does not name says nothing.
//
// What keeps a job from being started twice is the journal and nothing else
// (see agent/exec/journal): the STARTED record is on disk before the process
// is forked. What keeps it from being lost is that a reference is passed only
// when what it names was read, verified and journaled.
//
//	e, err := exec.New(exec.Options{Node: id, Board: board, Reports: link, …})
//	...
//	err = e.Run(ctx) // until ctx ends; running jobs are stopped then.
//
// Three things are watched for new work: the head of the node's shard by a
// blocking query, the user event that makes that query read at once, and a
// poll about once a minute that needs neither.
//
// A job waits, in this order, for its offset in the start window, for its wave
// to be opened, for the end of a pause, and for a slot. Jobs that wait are
// bounded too: a node that has too many refuses the next one as busy.
//
// Package run starts processes, package journal remembers, package exectest
// has the fakes. It must not import anything of agent but these, and nothing
// of server: what it needs of Consul and of the link it declares itself.
package exec
