// Package volume looks at the disks behind the directories of a DataNode, by
// itself: HDFS notices a disk only when it happens to use it, and asks it
// nothing that a disk which has gone read-only would fail.
//
//	v := volume.New(volume.Options{Child: []string{exe, "probe-volume"}})
//	for _, r := range v.Look(ctx, []string{"/data/1", "/data/2"}) {
//		// r.Problems: read-only, fsync: input/output error, hangs, full, …
//	}
//
// What touches a directory is done by a child process, because a disk that
// hangs keeps whoever asks it: no signal ends a process that waits for a
// device. There is one child for each directory at most; while an old one
// hangs, no other is started, and its directory is said to hang. A child that
// can be ended is ended, and ends by itself if its parent does not.
//
//	Look ──► /proc mounts ──► child: stat, write 4 KiB, fsync, read ──► ext4's
//	         counts, kernel's log, SMART
//
// The package is for Linux. Beside the file that its child writes, and removes,
// it changes nothing. It must not import anything of ALPS but mesh and
// mesh/procfs.
package volume
