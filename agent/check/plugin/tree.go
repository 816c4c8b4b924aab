package plugin

import (
	"os"
	"syscall"
	"time"

	"alps/mesh/procfs"
)

// tree is all processes of one run of a script. It belongs to one goroutine.
type tree struct {
	// main leads the session and the group. It must not have been reaped as
	// long as the tree is used: then both could be a stranger's.
	main  int
	since uint64 // nothing older than main belongs to it.
	marks []string
	known map[procfs.ID]bool
}

// members looks at the machine and returns what runs of the tree.
func (t *tree) members() ([]procfs.Process, error) {
	all, err := procfs.List(t.since)
	if err != nil {
		return nil, err
	}
	in := map[int]bool{}
	for _, p := range all {
		if p.PID != os.Getpid() && t.owns(p) {
			in[p.PID] = true
		}
	}
	for more := len(in) > 0; more; {
		more = false
		for _, p := range all {
			if !in[p.PID] && in[p.Parent] {
				in[p.PID], more = true, true
			}
		}
	}
	var out []procfs.Process
	for _, p := range all {
		if in[p.PID] && !p.Ended() {
			out = append(out, p)
			if t.known == nil {
				t.known = map[procfs.ID]bool{}
			}
			t.known[p.ID] = true
		}
	}
	return out, nil
}

// owns reports whether p shows by itself that it belongs to the tree.
func (t *tree) owns(p procfs.Process) bool {
	if p.PID == t.main || p.Group == t.main || p.Session == t.main || t.known[p.ID] {
		return true
	}
	marked, _ := p.HasEnv(t.marks...)
	return marked
}

// gone reports whether the tree is proven empty. A list of processes is not
// taken at one moment: one may fork behind the reader's back. We look twice.
func (t *tree) gone() bool {
	for range 2 {
		if m, err := t.members(); err != nil || len(m) > 0 {
			return false
		}
	}
	return true
}

// waitGone looks until the tree is gone, for at most the given time, and hands
// what it sees to each.
func (t *tree) waitGone(most time.Duration, each func([]procfs.Process)) bool {
	end := time.Now().Add(most)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		m, err := t.members()
		each(m)
		if err == nil && len(m) == 0 && t.gone() {
			return true
		}
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		time.Sleep(min(pause, left))
	}
}

// stop ends the tree: TERM, at most the grace, KILL, proof. It returns what
// could not be stopped, nil with the proof that nothing is left.
func (t *tree) stop(grace time.Duration) (left []string) {
	if grace > 0 {
		asked := map[procfs.ID]bool{}
		ask := func(m []procfs.Process) {
			for _, p := range m {
				if !asked[p.ID] {
					asked[p.ID] = true
					p.Signal(syscall.SIGTERM)
					p.Signal(syscall.SIGCONT) // one that was stopped could not heed it.
				}
			}
		}
		if t.waitGone(grace, ask) {
			return nil
		}
	}
	kill := func(m []procfs.Process) {
		_ = syscall.Kill(-t.main, syscall.SIGKILL) // reaches what was forked since we looked.
		for _, p := range m {
			p.Signal(syscall.SIGKILL)
		}
	}
	if t.waitGone(proofFor, kill) {
		return nil
	}
	m, err := t.members()
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range m {
		left = append(left, p.String())
	}
	if len(left) == 0 && !t.gone() {
		left = []string{"a process that cannot be seen from here"}
	}
	return left
}
