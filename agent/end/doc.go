// Package end ends one process that is stuck, and proves that it is gone.
//
//	report, err := end.Run(ctx, end.Options{PIDFile: "/run/web.pid", Grace: 10 * time.Second, Within: 20 * time.Second})
//
// The process is named by its pid file, or by its whole command line and its
// user. It gets SIGTERM, and SIGKILL when it is still there after the grace.
// What is ended and what is looked for afterwards is the number together with
// the time of the start, so that whoever was given the number since is safe; a
// pid file that is older than the process with its number names nobody.
//
// Nobody ends process 1, a thread of the kernel, this program, whatever has
// started it, or another process of the same program, which is the agent or a
// server. More than one match is nobody, too.
//
// The package is for Linux and must not import more than mesh.
package end
