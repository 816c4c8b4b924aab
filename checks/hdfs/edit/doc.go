// Package edit changes a configuration file that people and other programs
// change as well, so that nothing of theirs is lost:
//
//	change, err := edit.Apply(ctx, edit.Options{Path: path}, func(old []byte) ([]byte, error) {
//	        return append(old, "dn2:9866\n"...), nil
//	})
//
//	lock ─► read ─► merge ─► temporary file, fsync, read again ─► backup ─► swap ─► look
//	          ▲                                                                      │
//	          └──────────────── somebody has saved the file meanwhile ◄──────────────┘
//
// A reader sees the file as it was or as it is wanted, never half of it, also
// when the writer is killed at any moment. Writers of ALPS wait for one another
// on a lock file beside it; a person's editor knows nothing of that, so what
// stood in the file at the moment of the swap is compared with what was read,
// and merged again if it is something else.
//
// Owner and mode stay. The newest copies of what was replaced lie beside the
// file. The package knows nothing of Hadoop and imports mesh.
package edit
