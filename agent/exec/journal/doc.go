// Package journal remembers on disk what a node has done with each job, so
// that no job is started twice, whatever dies in between.
//
//	j, err := journal.Open("/var/lib/alps/exec/journal", time.Now())
//	...
//	if j.Stage(key) == journal.None {
//		err = j.Take(cursor, journal.Entry{Key: key, Expires: exp})
//	}
//	err = j.Start(key, mark) // on disk when it returns: now the process may be forked.
//	err = j.End(report, exp)
//	err = j.Sent(key)        // the report is somebody else's to keep.
//
//	None ──Take──► Taken ──Start──► Started ──End──► Ended ──(expiry + 24 h)──► forgotten
//	  └──────────────┴───────────────End────────────────▲
//
// An attempt that is Started after a restart has an unknown fate: its owner
// says so, or starts it again if it was taken as idempotent. One that is
// Taken was never started.
//
// # The file
//
// One record a line: the CRC-32C of the rest in hexadecimal, a space, JSON.
// Records are appended and synced before a method returns. When it is opened:
//
//   - what follows the last sound line was being written when the agent died:
//     it is cut off;
//   - a line that is not sound with sound ones behind it was damaged on the
//     disk. Nobody knows what it said, so the journal counts as born anew.
//
// Born is when the journal began. What was issued before is refused by the
// owner: this is also what happens to a node whose journal is gone.
//
// It must not import anything of ALPS but mesh, and it does not log.
package journal
