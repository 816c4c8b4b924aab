package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// supervise waits for the end of a task, or brings it about.
func (c *child) supervise(ctx context.Context, t *Task) Result {
	timeout := time.NewTimer(t.Timeout)
	defer timeout.Stop()
	var why error // nil: it ended by itself.
	select {
	case <-c.exited:
	case <-timeout.C:
		why = context.DeadlineExceeded
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	if c.hasExited() {
		why = nil // it was faster than we.
	}
	res := Result{Started: c.started}
	var stopped Stopped
	if why != nil || !c.settle() {
		stopped = c.tree.stop(graceFor(why, t.Grace))
	}
	until := time.Now().Add(drain)
	res.Stdout, res.Stderr = c.stdout.finish(until), c.stderr.finish(until)
	status, ended := c.collect(stopped.Proven())
	c.tree.leaf.remove()
	res.Ended = time.Now()
	switch {
	case why != nil && stopped.Count == 0 && ended:
		res.exit(status, stopped) // it had ended before our first signal.
	case why != nil:
		res.stoppedBy(why, stopped, t)
	default:
		res.exit(status, stopped)
	}
	return res
}

// graceFor is the task's own, but the agent does not wait for long when it
// ends itself: the service manager would kill it before the proof.
func graceFor(why error, grace time.Duration) time.Duration {
	if why == nil || errors.Is(why, context.DeadlineExceeded) || errors.Is(why, ErrCancelled) {
		return grace
	}
	return min(grace, leaving)
}

func (c *child) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// settle gives the rest of a tree, whose first process has ended, the time to
// finish: a filter at the end of a pipe may still write. It reports whether
// nothing is left.
func (c *child) settle() bool {
	end := time.Now().Add(drain)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if c.tree.gone() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
}

// collect reaps the first process, which must come last. When the tree could
// not be emptied the process may not have ended: then somebody else reaps it
// later.
func (c *child) collect(proven bool) (syscall.WaitStatus, bool) {
	close(c.reap)
	if proven {
		<-c.exited
	}
	if !c.hasExited() {
		return 0, false
	}
	return <-c.status, true
}

// exit sets how a process ended by itself, and what it left behind.
func (r *Result) exit(status syscall.WaitStatus, rest Stopped) {
	switch {
	case status.Signaled():
		r.State, r.Signal = mesh.Signaled, signalName(status.Signal())
		if status.Signal() == syscall.SIGKILL {
			r.Reason = "ALPS did not send this signal; the kernel does when memory runs out"
		}
	case status.ExitStatus() == 0:
		r.State = mesh.OK
	default:
		r.State, r.Code = mesh.Failed, status.ExitStatus()
	}
	if rest.Count == 0 && rest.Proven() {
		return
	}
	note := fmt.Sprintf("%s left running in the background and stopped", processCount(rest.Count))
	if !rest.Proven() {
		note = "processes are left that cannot be stopped: " + strings.Join(rest.Left, ", ")
	}
	if r.Reason != "" {
		note = r.Reason + "; " + note
	}
	r.Reason = note
}

// stoppedBy sets how a process ended that we have stopped. Only with the
// proof that nothing is left is it called by the name of the cause.
func (r *Result) stoppedBy(why error, s Stopped, t *Task) {
	reason := "the agent was stopped while it ran"
	r.State = mesh.Unknown
	switch {
	case errors.Is(why, context.DeadlineExceeded):
		r.State, reason = mesh.Timeout, fmt.Sprintf("it ran longer than %s", t.Timeout)
	case errors.Is(why, ErrCancelled):
		r.State, reason = mesh.Cancelled, "an operator cancelled it"
	default:
		r.Interrupted = true
	}
	if s.Proven() {
		r.Reason = reason + "; " + s.String()
		return
	}
	r.State = mesh.Unknown
	r.Reason = reason + ", and processes are left that cannot be stopped: " + strings.Join(s.Left, ", ")
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
