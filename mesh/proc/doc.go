// Package proc starts child processes that must not outlive their purpose,
// and finds them again when their starter was killed.
//
// A Group owns its children. Each has a process group and a log file of its
// own. Who they are is kept in a record on disk: the pid, the start time and
// the executable of each, and the same of the owner.
//
//	g, err := proc.New(proc.Options{Record: "dev/pids.json"})
//	p, err := g.Start(proc.Spec{Name: "web", Path: "/usr/bin/web", Log: "dev/web.log"})
//	...
//	<-p.Done()    // it ended, by itself or not; p.Err says how.
//	g.Stop()      // TERM, grace, KILL, wait; the record is removed.
//
// When the owner was killed with SIGKILL, nobody runs Stop. The next one to
// come calls Sweep on the record: it ends exactly the processes that are
// still the same ones, and leaves a foreign process alone that was given the
// number of one that is gone.
//
//	owner ──Start──► child (own group, log)
//	  │                 ▲
//	  └─► pids.json ────┘ Sweep, after the owner was killed
//
// A program that replaces itself by another executable after it started no
// longer matches its record: start the last program of such a chain.
//
// The package is for Linux: it reads /proc. It must not import anything of
// ALPS but mesh.
package proc
