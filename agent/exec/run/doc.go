// Package run starts one process for a job, keeps hold of everything that it
// starts in turn, and says truthfully how it ended.
//
//	r, err := run.New(run.Options{Dir: "/var/lib/alps/exec/work", RunAs: []string{"hdfs"}})
//	...
//	res := r.Run(ctx, run.Task{
//		Job: job, Attempt: 1, Mark: run.NewMark(job, 1),
//		Command: []string{"df", "-h"}, Timeout: time.Minute, Grace: 10 * time.Second,
//	})
//
// # The tree
//
// A job is more than its first process. What belongs to it is found in four
// ways, because each of them can be escaped alone:
//
//	cgroup v2 leaf     where the machine lets us make one; cannot be left by forking
//	session and group  the first process leads a session of its own
//	environment mark   ALPS_JOB=<job>.<attempt>.<nonce>, inherited by daemons too
//	descent            children of what is known already
//
// A job ends with its whole tree. When the first process has ended by itself,
// the rest has a second to finish; what still runs then is stopped, and the
// Result says so: a daemon belongs to the service manager, not to a job.
//
// Stopping is TERM to all, the grace, KILL to all, and then a proof: the tree
// is looked at until nothing is left of it. CANCELLED and TIMEOUT are only
// ever said with that proof; without it the Result is UNKNOWN and names what
// is left. The first process is reaped last, so that neither its number nor
// its group can be a stranger's while signals are sent.
//
// # Output
//
// Both streams are read as they come, apart. Each goes whole to a file beside
// the job's directory (up to 256 MiB) and into memory as head and tail. What
// is kept for the server is at most mesh.MaxOutput a stream: when more was
// written, the head, one line that says how many bytes are left out, and the
// tail. We do not wait for pipes that an escaped child holds.
//
// # Directories
//
//	<Dir>/<job>.<attempt>/          of the agent, 0711
//	    stdout, stderr              whole output, 0600
//	    bin/<script>                of the run-as user, 0700
//	    work/                       of the run-as user, 0700: the working directory
//
// It must not import anything of ALPS but mesh, it is for Linux, and it does
// not log: what an operator should know is in the Result.
package run
