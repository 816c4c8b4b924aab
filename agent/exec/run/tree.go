package run

import (
	"cmp"
	"fmt"
	"os"
	"syscall"
	"time"

	"alps/mesh/procfs"
)

// markPrefix is the environment variable that every process of a job inherits.
const markPrefix = "ALPS_JOB="

// tree is all processes of one start of a job. It belongs to one goroutine.
type tree struct {
	mark string // the whole environment entry.
	leaf *leaf  // nil without cgroups.
	// main leads the session and the group. It must not have been reaped as
	// long as the tree is used: then both could be a stranger's. 0 when an
	// earlier life of the agent has started it.
	main  int
	since uint64 // nothing older than main belongs to it.
	known map[procfs.ID]bool
	// blank has the processes of which the last look could not tell whether
	// they belong to the tree, and since when that is so.
	blank map[procfs.ID]time.Time
}

// blankFor is how long a process may be in the middle of an execve. One that
// stays blank for longer has cleared everything itself.
const blankFor = time.Second

// Stopped says what became of a tree.
type Stopped struct {
	Count  int      // processes that were signalled.
	Killed int      // those of them that did not heed TERM.
	Left   []string // those that are still there, by number and name.
}

// Proven reports whether nothing is left of the tree.
func (s Stopped) Proven() bool { return len(s.Left) == 0 }

// String says it to an operator.
func (s Stopped) String() string {
	text := processCount(s.Count) + " stopped"
	if s.Killed > 0 {
		text += fmt.Sprintf(", %d of them by KILL", s.Killed)
	}
	return text
}

func processCount(n int) string {
	if n == 1 {
		return "1 process was"
	}
	return fmt.Sprintf("%d processes were", n)
}

// members looks at the machine and returns what runs of the tree.
func (t *tree) members() ([]procfs.Process, error) {
	all, err := procfs.List(t.since)
	if err != nil {
		return nil, err
	}
	grouped := t.leaf.pids()
	before := t.blank
	t.blank = map[procfs.ID]time.Time{}
	in := map[int]bool{}
	for _, p := range all {
		owned, blank := t.owns(p, grouped)
		if owned && p.PID != os.Getpid() {
			in[p.PID] = true
		}
		if blank {
			t.blank[p.ID] = cmp.Or(before[p.ID], time.Now())
		}
	}
	for more := len(in) > 0; more; {
		more = false
		for _, p := range all {
			if !in[p.PID] && in[p.Parent] && p.PID != os.Getpid() {
				in[p.PID], more = true, true
			}
		}
	}
	var out []procfs.Process
	for _, p := range all {
		if in[p.PID] && !p.Ended() {
			out = append(out, p)
			t.remember(p)
		}
	}
	return out, nil
}

// owns reports whether p shows by itself that it belongs to the tree, or that
// this cannot be told yet.
func (t *tree) owns(p procfs.Process, grouped map[int]bool) (owned, blank bool) {
	switch {
	case grouped[p.PID], t.known[p.ID]:
		return true, false
	case t.main != 0 && (p.PID == t.main || p.Group == t.main || p.Session == t.main):
		return true, false
	default:
		return p.HasEnv(t.mark)
	}
}

// anyBlank reports whether the last look left a question open.
func (t *tree) anyBlank() bool {
	for _, since := range t.blank {
		if time.Since(since) < blankFor {
			return true
		}
	}
	return false
}

func (t *tree) remember(p procfs.Process) {
	if t.known == nil {
		t.known = map[procfs.ID]bool{}
	}
	t.known[p.ID] = true
}

// anyKnown reports whether one of the processes that were seen before still
// runs. It is much cheaper than to look at the whole machine.
func (t *tree) anyKnown() bool {
	for id := range t.known {
		if _, runs := id.Running(); runs {
			return true
		}
	}
	return false
}

// gone reports whether the tree is proven empty. A list of processes is not
// taken at one moment: a process may fork behind the reader's back. Without
// the kernel's own count we therefore look twice.
func (t *tree) gone() bool {
	if t.anyKnown() {
		return false
	}
	if m, err := t.members(); err != nil || len(m) > 0 || t.anyBlank() {
		return false
	}
	if empty, known := t.leaf.empty(); known {
		return empty
	}
	m, err := t.members()
	return err == nil && len(m) == 0 && !t.anyBlank()
}

// waitGone looks until the tree is gone, for at most the given time, and
// calls each before every look.
func (t *tree) waitGone(most time.Duration, each func()) bool {
	end := time.Now().Add(most)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		each()
		if t.gone() {
			return true
		}
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		time.Sleep(min(pause, left))
	}
}

// stop ends the tree: TERM, at most the grace, KILL, proof.
func (t *tree) stop(grace time.Duration) Stopped {
	asked := map[procfs.ID]bool{}
	if m, err := t.members(); err == nil && len(m) == 0 && t.gone() {
		return Stopped{}
	}
	askAll := func() {
		var all []procfs.Process // first: one may end because another does.
		for id := range t.known {
			if p, runs := id.Running(); runs && !asked[id] {
				asked[id] = true
				all = append(all, p)
			}
		}
		for _, p := range all {
			p.Signal(syscall.SIGTERM)
			p.Signal(syscall.SIGCONT) // one that was stopped could not heed it.
		}
	}
	if t.waitGone(grace, askAll) {
		return Stopped{Count: len(asked)}
	}
	killed := map[procfs.ID]bool{}
	for end := time.Now().Add(proof); ; {
		m, _ := t.members() // without a list, the group and the leaf are killed all the same.
		for _, p := range m {
			asked[p.ID], killed[p.ID] = true, true
		}
		t.kill(m)
		if t.waitGone(100*time.Millisecond, func() {}) {
			return Stopped{Count: len(asked), Killed: len(killed)}
		}
		if time.Now().After(end) {
			break
		}
	}
	s := Stopped{Count: len(asked), Killed: len(killed)}
	m, err := t.members()
	if err != nil {
		s.Left = []string{err.Error()}
	}
	for _, p := range m {
		s.Left = append(s.Left, p.String())
	}
	if len(s.Left) == 0 && !t.gone() {
		s.Left = []string{"a process that cannot be seen from here"}
	}
	return s
}

// kill sends KILL to all of the tree. The group and the leaf come first: they
// reach what was forked since we looked.
func (t *tree) kill(m []procfs.Process) {
	t.leaf.kill()
	if t.main != 0 {
		_ = syscall.Kill(-t.main, syscall.SIGKILL) // an empty group is no error.
	}
	for _, p := range m {
		p.Signal(syscall.SIGKILL)
	}
}
