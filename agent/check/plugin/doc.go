// Package plugin runs one script of a check, keeps hold of everything that it
// starts in turn, and reads what it says by the conventions of Nagios.
//
//	r := plugin.Run(ctx, plugin.Spec{
//		Command: []string{"check_load", "-w", "8"}, Env: env, Marks: env[:2], Timeout: 30 * time.Second,
//	})
//	out := plugin.Parse(r.Stdout)
//
//	start ─► exit or timeout ─► drain the pipes ─► end the tree ─► reap ─► Result
//
// # What a script may do, and what it cannot
//
// It has no input, an environment of its own, and leads a session of its own.
// What it prints over MaxStdout is read and dropped: it neither blocks nor
// fills memory. When it has exited, whatever is left of its process group is
// killed. When it takes too long, TERM goes to its whole tree, then KILL, and
// the tree is looked at until nothing is left of it. The tree is the group,
// the session, all descendants, and every process whose environment has the
// marks: forking, setsid and a closed pipe do not lead out of it. A process
// that holds a pipe open is not waited for.
//
// Only a daemon that left the session and the pipes behind before its script
// exited in time goes on: nobody asked for it to be stopped.
//
// # Output
//
//	text | perfdata
//	more text
//	more text | perfdata
//	perfdata
//
// The package is for Linux: it reads /proc. It imports nothing of ALPS but
// mesh, and does not log.
package plugin
