// Package procfs reads what the kernel says in /proc of processes and mounts,
// for those who must know whose a process is, or what a file system holds.
//
//	all, err := procfs.List(since)        // every process that began then or later
//	p, runs := id.Running()               // the very one, not who has its number now
//	mounts := procfs.Mounts(text, counts) // of mountinfo, one a device
//
// Whose a process is, and what to do with it, is for the callers: package run
// ends the trees of jobs, package plugin those of checks.
//
// The package is for Linux and must not import anything of ALPS.
package procfs
