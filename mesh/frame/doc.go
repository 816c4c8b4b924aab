// Package frame is the language of the link: the messages that an agent and
// a server exchange over one mutual-TLS connection, and what the two say to
// each other over HTTPS beside it.
//
// A frame is a header of 14 bytes and a payload, at most 64 KiB together,
// numbers in big-endian order:
//
//	 0        4     5      6             14
//	┌────────┬─────┬──────┬─────────────┬─────────────┐
//	│ length │kind │flags │     seq     │ payload …   │
//	└────────┴─────┴──────┴─────────────┴─────────────┘
//	 length counts the whole frame, itself included; flags are zero
//
// A session, the agent to the left:
//
//	Hello {boot B2, clock, drops}      ──►
//	                                   ◄──  HelloOK {clock, acked}      or Refuse(0) and the end
//	Boot "B1"                          ──►     what an earlier run left in the spool
//	Exec(41) Exec(42)                  ──►
//	                                   ◄──  Ack(42) "B1"                41 and 42 are committed
//	Boot "B2"                          ──►
//	Fact(1) Exec(2)                    ──►
//	                                   ◄──  Refuse(2) {code, why}       will never be taken
//	                                   ◄──  Ack(2) "B2"                 … and is done with
//	                                   ◄──  Want(1) {digest}
//	Ack(1)                             ──►
//	Ping                               ──►     every 30 s or so
//	                                   ◄──  Pong
//
// Upward, data is numbered from 1 for each run of the agent's process, its
// boot. Numbers only grow; a gap is a message that the agent had to drop. The
// agent repeats what was not acknowledged on the next link, so a server sees
// a message at least once and in order, and tells repetitions by their
// number. An upward Ack from the server covers its number and all below it.
// Downward, data is numbered from 1 for each session, and each number is
// answered by an Ack or a Refuse of its own.
//
// A receiver ignores flags that it does not know and refuses kinds that it
// does not know, without ending the link: the two ends may be of different
// versions.
//
// The package imports mesh and the standard library, and opens no connection.
package frame
