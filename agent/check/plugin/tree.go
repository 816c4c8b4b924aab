package plugin

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is all processes of one run of a script. It belongs to one goroutine.
type tree struct {
	// main leads the session and the group. It must not have been reaped as
	// long as the tree is used: then both could be a stranger's.
	main  int
	since uint64 // nothing older than main belongs to it.
	marks []string
	known map[ident]bool
}

// members looks at the machine and returns what runs of the tree.
func (t *tree) members() ([]process, error) {
	all, err := processes(t.since)
	if err != nil {
		return nil, err
	}
	in := map[int]bool{}
	for _, p := range all {
		if p.pid != os.Getpid() && t.owns(p) {
			in[p.pid] = true
		}
	}
	for more := len(in) > 0; more; {
		more = false
		for _, p := range all {
			if !in[p.pid] && in[p.ppid] {
				in[p.pid], more = true, true
			}
		}
	}
	var out []process
	for _, p := range all {
		if in[p.pid] && !p.ended() {
			out = append(out, p)
			if t.known == nil {
				t.known = map[ident]bool{}
			}
			t.known[p.ident] = true
		}
	}
	return out, nil
}

// owns reports whether p shows by itself that it belongs to the tree.
func (t *tree) owns(p process) bool {
	return p.pid == t.main || p.group == t.main || p.session == t.main || t.known[p.ident] || hasEnv(p.pid, t.marks)
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
func (t *tree) waitGone(most time.Duration, each func([]process)) bool {
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
		asked := map[ident]bool{}
		ask := func(m []process) {
			for _, p := range m {
				if !asked[p.ident] {
					asked[p.ident] = true
					p.signal(syscall.SIGTERM)
					p.signal(syscall.SIGCONT) // one that was stopped could not heed it.
				}
			}
		}
		if t.waitGone(grace, ask) {
			return nil
		}
	}
	kill := func(m []process) {
		_ = syscall.Kill(-t.main, syscall.SIGKILL) // reaches what was forked since we looked.
		for _, p := range m {
			p.signal(syscall.SIGKILL)
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

// signal sends sig to exactly this process, never to one that was given its
// number since. A process that is gone is no error.
func (p process) signal(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return
	case err != nil: // a kernel without pidfd: the number has to do.
		_ = syscall.Kill(p.pid, sig)
		return
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle.
	if now, err := readProcess(p.pid); err == nil && now.ident == p.ident {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0) // whether it works is seen by looking again.
	}
}
