package exectest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"alps/agent/exec/run"
	"alps/mesh"
)

// Reports is an exec.Reports that remembers. Its methods may be called from
// any goroutine.
type Reports struct {
	mu   sync.Mutex
	all  []mesh.Report
	fail error
}

// Send is that of exec.Reports.
func (r *Reports) Send(rep mesh.Report, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.all = append(r.all, rep)
	return nil
}

// Fail has Send fail with err, nil to work again.
func (r *Reports) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// Of returns all that was reported of a job, in order.
func (r *Reports) Of(job mesh.JobID) []mesh.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []mesh.Report
	for _, rep := range r.all {
		if rep.Job == job {
			out = append(out, rep)
		}
	}
	return out
}

// States returns the states that were reported of a job, in order.
func (r *Reports) States(job mesh.JobID) []mesh.State {
	var out []mesh.State
	for _, rep := range r.Of(job) {
		out = append(out, rep.State)
	}
	return out
}

// Last returns what was reported last of a job; the zero Report is nothing.
func (r *Reports) Last(job mesh.JobID) mesh.Report {
	if of := r.Of(job); len(of) > 0 {
		return of[len(of)-1]
	}
	return mesh.Report{}
}

// Len is how many reports were taken.
func (r *Reports) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// Blobs is an exec.Blobs in memory.
type Blobs struct {
	mu    sync.Mutex
	blobs map[string][]byte
	asked int
	away  bool
}

// Put offers a blob under a digest, right or wrong.
func (b *Blobs) Put(digest string, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blobs == nil {
		b.blobs = map[string][]byte{}
	}
	b.blobs[digest] = body
}

// Away has every Fetch fail as it does without a link, until it is called
// with false.
func (b *Blobs) Away(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// Asked is how often Fetch was called.
func (b *Blobs) Asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// Fetch is that of exec.Blobs.
func (b *Blobs) Fetch(_ context.Context, sha256 string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.away {
		return nil, mesh.Errorf(mesh.Unavailable, "no server answers")
	}
	body, ok := b.blobs[sha256]
	if !ok {
		return nil, errors.New("no server has it")
	}
	return slices.Clone(body), nil
}

// Runner is an exec.Runner that starts nothing. The zero Runner ends each
// task at once with OK. Its methods may be called from any goroutine; its
// fields must not change while an engine uses it.
type Runner struct {
	// Do, if set, is what a task does once it is started.
	Do func(ctx context.Context, t run.Task) run.Result
	// Users are the names that may be run as.
	Users []string
	// Left is what StopLeft finds under any mark.
	Left run.Stopped

	mu     sync.Mutex
	tasks  []run.Task
	active int
	most   int
	swept  []string
}

// Run is that of exec.Runner.
func (r *Runner) Run(ctx context.Context, t run.Task) run.Result {
	r.mu.Lock()
	r.tasks = append(r.tasks, t)
	r.active++
	r.most = max(r.most, r.active)
	r.mu.Unlock()
	started := time.Now()
	if t.Started != nil {
		t.Started(started)
	}
	res := run.Result{State: mesh.OK}
	if r.Do != nil {
		res = r.Do(ctx, t)
	}
	res.Started, res.Ended = started, time.Now()
	r.mu.Lock()
	r.active--
	r.mu.Unlock()
	return res
}

// Sleep returns a Do that takes the given time, and ends before as a real
// process does when it is stopped.
func Sleep(d time.Duration) func(context.Context, run.Task) run.Result {
	return func(ctx context.Context, _ run.Task) run.Result {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return run.Result{State: mesh.OK}
		case <-ctx.Done():
		}
		if errors.Is(context.Cause(ctx), run.ErrCancelled) {
			return run.Result{State: mesh.Cancelled, Reason: "an operator cancelled it; 1 process was stopped"}
		}
		return run.Result{State: mesh.Unknown, Interrupted: true, Reason: "the agent was stopped while it ran; 1 process was stopped"}
	}
}

// StopLeft is that of exec.Runner.
func (r *Runner) StopLeft(mark string, _ time.Duration) run.Stopped {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swept = append(r.swept, mark)
	return r.Left
}

// Allows is that of exec.Runner.
func (r *Runner) Allows(user string) error {
	if user == "" || slices.Contains(r.Users, user) {
		return nil
	}
	return errors.New("this node does not allow jobs to run as \"" + user + "\"")
}

// Clean is that of exec.Runner.
func (r *Runner) Clean(time.Time) error { return nil }

// Tasks returns all tasks that were started, in order.
func (r *Runner) Tasks() []run.Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tasks)
}

// Starts is how often a job was started.
func (r *Runner) Starts(job mesh.JobID) int {
	n := 0
	for _, t := range r.Tasks() {
		if t.Job == job {
			n++
		}
	}
	return n
}

// Most is how many tasks have run at the same time.
func (r *Runner) Most() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// Swept returns the marks that StopLeft was asked for.
func (r *Runner) Swept() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.swept)
}
