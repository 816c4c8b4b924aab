package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"alps/agent/exec/journal"
	"alps/agent/exec/run"
	"alps/mesh"
)

const (
	// maxReason is the most bytes of a reason: a report must fit into a frame.
	maxReason = 1 << 10
	// fetchTries is how often a script is asked for that the server says it does
	// not have, before its job is refused.
	fetchTries = 4
	// fetchFor is how long a script is asked for while no server answers:
	// another one leads within 20 s, and the link comes back over up to 30 s.
	fetchFor   = 2 * time.Minute
	fetchPause = 4 * time.Second // the longest between two tries.
	fetchTime  = time.Minute     // for each of them.
	// graceLeft lies between TERM and KILL for what an earlier life of the
	// agent has left running.
	graceLeft = 5 * time.Second
)

// perform runs a job that has a slot, from the fetching of its script to its
// last report.
func (e *Engine) perform(ctx context.Context, j *job) {
	script, err := e.script(ctx, j.spec)
	if ctx.Err() != nil {
		if errors.Is(context.Cause(ctx), run.ErrCancelled) {
			e.endUnstarted(j.refusal(mesh.Cancelled, cancelledEarly))
		}
		return // it is still only taken: the next life of the agent starts it.
	}
	if j.expired(time.Now()) {
		e.endUnstarted(j.refusal(mesh.Expired, "its time passed while its script was fetched"))
		return
	}
	if err != nil {
		e.endUnstarted(j.refusal(mesh.Rejected, fmt.Sprintf("its script could not be fetched: %v", err)))
		return
	}
	mark := run.NewMark(j.key.Job, j.key.Attempt)
	if err := e.journal.Start(j.key, mark); err != nil {
		e.fault("start not journaled", err, "job", j.key.String())
		e.endUnstarted(j.refusal(mesh.Rejected, unwritable(err)))
		return
	}
	t := e.task(j, script, mark)
	t.Started = func(at time.Time) {
		r := e.report(j.key, mesh.Running, "")
		r.At, r.Started = at.UTC(), at.UTC()
		e.tell(r)
	}
	res := e.o.Runner.Run(ctx, t)
	if res.Interrupted && j.spec.Idempotent {
		e.log.Info("idempotent job is left for the next start of the agent", "job", j.key.String())
		return
	}
	if j.again {
		res.Reason = join(res.Reason, "started again after a restart of the agent")
	}
	e.finish(e.result(j.key, &res), j.spec.Expires)
}

func join(reason, more string) string {
	if reason == "" {
		return more
	}
	return reason + "; " + more
}

// task is what the runner is told of a job.
func (e *Engine) task(j *job, script []byte, mark string) run.Task {
	self := e.o.Self()
	s := j.spec
	t := run.Task{
		Job: j.key.Job, Attempt: j.key.Attempt, Mark: mark,
		Command: s.Command, Script: script, Args: s.Args, Env: s.Env, RunAs: s.RunAs,
		Vars: map[string]string{
			"ALPS": e.o.Program, "ALPS_NODE": string(self.Name), "ALPS_NODE_ID": string(e.o.Node), "ALPS_CLUSTER": e.o.Cluster,
		},
		Timeout: time.Duration(s.Timeout) * time.Second,
		Grace:   time.Duration(s.Grace) * time.Second,
	}
	if s.Script != nil {
		t.Name = s.Script.Name
	}
	return t
}

// script returns a script's body: from the spec, from the cache, or from a
// server, for which it waits. Whatever comes is held against the digest that
// was signed.
func (e *Engine) script(ctx context.Context, spec *mesh.Spec) ([]byte, error) {
	s := spec.Script
	if s == nil {
		return nil, nil
	}
	if s.Body != nil {
		return s.Body, nil // verified with the spec.
	}
	if b, ok := e.blobs.get(s.SHA256); ok {
		return b, nil
	}
	until := time.Now().Add(fetchFor)
	if end := time.Unix(spec.Expires, 0); end.Before(until) {
		until = end
	}
	for try := 1; ; try++ {
		b, err := e.fetch(ctx, s.SHA256)
		if err != nil {
			if ctx.Err() != nil || time.Now().After(until) || try >= fetchTries && mesh.CodeOf(err) != mesh.Unavailable {
				return nil, err
			}
			sleep(ctx, min(time.Duration(try)*time.Second, fetchPause))
			continue
		}
		if mesh.Digest(b) != s.SHA256 || len(b) != s.Size {
			return nil, errors.New("what the server sent is not the script that was signed")
		}
		if err := e.blobs.put(b); err != nil {
			e.log.Warn("script not cached", "error", err) // the next job fetches it again.
		}
		return b, nil
	}
}

func (e *Engine) fetch(ctx context.Context, sha256 string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	return e.o.Blobs.Fetch(ctx, sha256)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// result turns how a process ended into a report, and keeps what it wrote for
// a server that asks for it.
func (e *Engine) result(k journal.Key, res *run.Result) mesh.Report {
	r := e.report(k, res.State, res.Reason)
	r.Code, r.Signal = res.Code, res.Signal
	r.Started, r.Ended = res.Started.UTC(), res.Ended.UTC()
	r.Stdout, r.Stderr = res.Stdout.Output, res.Stderr.Output
	if len(res.Stdout.Kept)+len(res.Stderr.Kept) <= mesh.MaxInlineOutput {
		r.Stdout.Inline, r.Stderr.Inline = res.Stdout.Kept, res.Stderr.Kept
		return r
	}
	for _, s := range []*run.Stream{&res.Stdout, &res.Stderr} {
		if len(s.Kept) == 0 {
			continue
		}
		if err := e.outputs.put(s.Kept); err != nil {
			e.fault("output not kept", err, "job", k.String())
			r.Reason = join(r.Reason, fmt.Sprintf("this node could not keep its output: %v", err))
		}
	}
	return r
}

// report begins a report of the node about a job.
func (e *Engine) report(k journal.Key, s mesh.State, reason string) mesh.Report {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return mesh.Report{
		Job: k.Job, Attempt: k.Attempt, Node: e.o.Node, State: s, Reason: reason, At: time.Now().UTC(),
	}
}

// tell sends a report that is not an end. If it is lost the end will say all
// that matters.
func (e *Engine) tell(r mesh.Report) {
	if err := e.o.Reports.Send(r, false); err != nil {
		e.log.Debug("report not sent", "job", string(r.Job), "state", string(r.State), "error", err)
	}
}

const cancelledEarly = "cancelled before it started"

// endUnstarted ends an attempt that this life of the agent has not started.
// If an earlier one has, nobody knows how far it came, and the state must not
// say that it never ran.
func (e *Engine) endUnstarted(r refusal) {
	state, reason := r.state, r.reason
	if e.journal.Stage(r.key) == journal.Started {
		if state != mesh.Cancelled {
			state = mesh.Unknown
		}
		reason = "the agent was restarted while it ran, and it is not started again: " + reason
	}
	e.finish(e.report(r.key, state, reason), r.expires)
}

// finish journals an end and hands its report over. It may be called twice
// for an attempt: the first end counts.
func (e *Engine) finish(r mesh.Report, expires int64) {
	k := journal.KeyOf(r)
	if r.State == mesh.Rejected {
		e.log.Warn("job refused", "job", k.String(), "reason", r.Reason)
	} else {
		e.log.Debug("job ended", "job", k.String(), "state", string(r.State), "reason", r.Reason)
	}
	if err := e.journal.End(r, expires); err != nil {
		e.fault("end not journaled", err, "job", k.String())
	}
	e.deliver(r)
	e.mu.Lock()
	if j := e.jobs[k]; j != nil && j.cancel == nil {
		delete(e.jobs, k) // one that runs is removed by its goroutine.
	}
	e.mu.Unlock()
}

// deliver hands over the report of an end. What is not accepted is tried
// again by resend.
func (e *Engine) deliver(r mesh.Report) {
	if err := e.o.Reports.Send(r, true); err != nil {
		e.fault("report not handed over", err, "job", journal.KeyOf(r).String())
		return
	}
	if err := e.journal.Sent(journal.KeyOf(r)); err != nil {
		e.log.Debug("handing over not journaled", "error", err) // it is handed over again then.
	}
}

// resend hands over what could not be.
func (e *Engine) resend() {
	for _, r := range e.journal.Unsent() {
		e.deliver(r)
	}
}

// recover clears up what the last life of the agent has left: ends that were
// not handed over, processes that still run, jobs that were not started. It
// returns before the first look.
func (e *Engine) recover(ctx context.Context) {
	e.resend()
	e.look.Lock()
	e.look.cursor = e.journal.Cursor()
	for _, entry := range e.journal.Open() {
		if entry.Stage == journal.Started && !e.resumable(entry) {
			continue
		}
		p := pending{resumed: true, late: true}
		p.Kind, p.Job, p.Attempt, p.Expires = "job", entry.Job, entry.Attempt, entry.Expires
		e.look.unresolved[p.refKey()] = p
	}
	e.look.Unlock()
	e.lookNow(ctx, mesh.WokeStart)
}

// resumable stops what is left of an attempt that was started, and says
// whether it is to be started again. If not, nobody knows how it ended, and
// it says that.
func (e *Engine) resumable(entry journal.Entry) bool {
	stopped := e.o.Runner.StopLeft(entry.Mark, graceLeft)
	if entry.Idempotent && stopped.Proven() && time.Now().Unix() <= entry.Expires {
		return true
	}
	reason := "the agent was restarted while it ran; nothing of it was left"
	switch {
	case !stopped.Proven():
		reason = "the agent was restarted while it ran, and processes are left that cannot be stopped: " + strings.Join(stopped.Left, ", ")
	case stopped.Count > 0:
		reason = "the agent was restarted while it ran; " + stopped.String()
	}
	e.finish(e.report(entry.Key, mesh.Unknown, reason), entry.Expires)
	return false
}
