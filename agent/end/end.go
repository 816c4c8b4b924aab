package end

import (
	"context"
	"path/filepath"
	"syscall"
	"time"

	"alps/mesh"
	"alps/mesh/procfs"
)

// Options name a process. PIDFile or Command is required; with both, both must
// fit.
type Options struct {
	PIDFile string
	Command string // a Pattern; it needs a User.
	User    string // a name or a number.
	// Grace lies between SIGTERM and SIGKILL, Within between SIGKILL and giving
	// up.
	Grace, Within time.Duration
	// DryRun finds the process and leaves it alone.
	DryRun bool
}

// Report is what was done.
type Report struct {
	// PID is zero when there was no such process.
	PID     int       `json:"pid,omitempty"`
	Name    string    `json:"name,omitempty"`
	Command string    `json:"command,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Signal is the last one that was sent. Gone says that the process was
	// looked for afterwards, and is not there any more.
	Signal string `json:"signal,omitempty"`
	Gone   bool   `json:"gone"`
	// State is that of a process that is still there, as /proc has it.
	State string `json:"state,omitempty"`
}

// poll is how often it is looked whether the process is gone.
const poll = 50 * time.Millisecond

// Run ends the process. That there is none is no error, and a process that no
// signal reaches is none either: the report says so.
func Run(ctx context.Context, o Options) (*Report, error) {
	s, err := o.search()
	if err != nil {
		return nil, err
	}
	var p procfs.Process
	var there bool
	if o.PIDFile != "" {
		p, there, err = s.byFile(o.PIDFile)
	} else {
		p, there, err = s.byPattern(ctx)
	}
	if err != nil || !there {
		return &Report{Gone: err == nil}, err
	}
	why, err := spared(p)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, mesh.Errorf(mesh.Denied, "process %s is not ended: %s", p, why)
	}
	r := &Report{PID: p.PID, Name: p.Name}
	r.Command, _ = commandLine(p.PID) // it may have ended by now.
	if r.Started, err = started(p.ID); err != nil {
		return nil, err
	}
	if o.DryRun {
		return r, nil
	}
	for _, step := range []struct {
		signal syscall.Signal
		name   string
		wait   time.Duration
	}{{syscall.SIGTERM, "SIGTERM", o.Grace}, {syscall.SIGKILL, "SIGKILL", o.Within}} {
		p.Signal(step.signal)
		r.Signal = step.name
		if r.Gone, err = gone(ctx, p, step.wait); r.Gone || err != nil {
			return r, err
		}
	}
	if now, runs := p.Running(); runs {
		r.State = string(now.State)
	}
	return r, nil
}

func (o *Options) search() (*search, error) {
	switch {
	case o.PIDFile == "" && o.Command == "":
		return nil, mesh.Errorf(mesh.Invalid, "nothing names the process").WithHint("give its pid file, or its command line and its user")
	case o.PIDFile != "" && !filepath.IsAbs(o.PIDFile):
		return nil, mesh.Errorf(mesh.Invalid, "the pid file %q is not an absolute path", o.PIDFile)
	case o.PIDFile == "" && o.User == "":
		return nil, mesh.Errorf(mesh.Invalid, "a command line alone may be anybody's").WithHint("give the user that it runs for, too")
	case o.Grace <= 0 || o.Within <= 0:
		return nil, mesh.Errorf(mesh.Invalid, "a process needs some time to end")
	}
	uid, err := numberOf(o.User)
	if err != nil {
		return nil, err
	}
	s := &search{uid: uid}
	if o.Command != "" {
		p, err := ParsePattern(o.Command)
		if err != nil {
			return nil, err
		}
		s.pattern = &p
	}
	return s, nil
}

// gone waits until exactly this process is not there any more.
func gone(ctx context.Context, p procfs.Process, wait time.Duration) (bool, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if _, runs := p.Running(); !runs {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-over.C:
			_, runs := p.Running()
			return !runs, nil
		case <-tick.C:
		}
	}
}
