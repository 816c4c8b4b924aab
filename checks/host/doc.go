// Package host is the pack of checks that every Linux node has: file systems,
// inodes, memory, load, processes and the clock.
//
//	/proc, statfs ──► disk inodes memory load processes clock ──► checks.Result
//
// It reads what the kernel says and starts no program. A mount that hangs, as
// NFS does without its server and a dying disk may, costs one goroutine and no
// more: it is asked by nobody else until it has answered.
//
// README.md explains each check; pack.hcl has the thresholds. The package
// imports mesh and checks.
package host
