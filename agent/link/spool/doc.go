// Package spool keeps what an agent has to say until a server has committed
// it: an append-only store on disk, numbered per run of the process (boot).
//
//	Append ─► lane "d" durable, synced before Append returns ─┐
//	       ─► lane "l" loose, written and left to the kernel ─┴─► Next … Next ─► Ack
//
// Each lane is a row of segment files, <boot>-<index>-<lane>.seg, deleted
// whole when their last record is acknowledged. Next merges the lanes by boot
// and number, so a reader sees the order of Append; Rewind goes back to the
// first record that is not acknowledged. A record may come again after a
// restart although it was acknowledged before: acknowledgements are not
// written down.
//
// Nothing on the disk is ever fatal. A torn tail, as a kill leaves it, is cut;
// a damaged record in the middle is skipped and counted. When the spool is
// full the oldest loose segment goes, then the oldest durable one; when the
// disk refuses writes, records stay in memory up to a smaller limit. Every
// record lost is counted and waits in Losses until it was reported.
//
// The package knows nothing of connections. It imports mesh/frame and the
// standard library.
package spool
