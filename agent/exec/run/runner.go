package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"alps/mesh"
)

// ErrCancelled is the cause to cancel a Run's context with when an operator
// wants the job to end. Any other cause means that the agent itself stops.
var ErrCancelled = errors.New("the job was cancelled")

// Options configure a Runner.
type Options struct {
	// Dir holds one directory for each attempt. It must be absolute and, when
	// jobs run as other users, every directory above it must be open for them
	// (mode o+x). It is made when it is missing. Required.
	Dir string
	// RunAs lists the users that a job may name. The agent's own user needs
	// no entry.
	RunAs []string
	// Env is variables that every job finds. Those of the job itself win.
	Env map[string]string
	// Limits bound what a job takes. Zero fields mean DefaultLimits.
	Limits Limits
	// NoCgroup leaves cgroups alone even where they could be used.
	NoCgroup bool
	// MaxOutput is how much of a stream is kept for the server. Zero means
	// mesh.MaxOutput.
	MaxOutput int
	// MaxWhole is how much of a stream is written to its file. Zero means
	// 256 MiB.
	MaxWhole int64
}

// Limits are the resource limits of a job's processes.
type Limits struct {
	Files uint64 // open files of a process.
	// Procs is how many processes and threads the run-as user may have, those
	// outside the job included. The kernel does not hold root to it.
	Procs uint64
}

// DefaultLimits leave room for what storage daemons of the same user take:
// a data node alone has thousands of threads.
func DefaultLimits() Limits { return Limits{Files: 65536, Procs: 32768} }

const (
	// drain is how long the rest of a tree may take after its first process
	// has ended, and how long we read pipes that nobody closes.
	drain = time.Second
	// proof bounds the wait for processes to be gone after KILL. Only those
	// that wait for a device in the kernel take longer.
	proof = 5 * time.Second
	// leaving is the longest grace when the agent itself ends.
	leaving = 10 * time.Second
)

// Runner runs tasks. Its methods may be called from any goroutine.
type Runner struct {
	o       Options
	cgroups cgroups

	forking sync.Mutex // held while our own limits are a child's.

	mu     sync.Mutex
	active map[string]bool // names of attempts that run.
}

// New checks the options, makes the directory and looks whether cgroups can
// be used.
func New(o Options) (*Runner, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("new runner: the directory %q is not absolute", o.Dir)
	}
	def := DefaultLimits()
	if o.Limits.Files == 0 {
		o.Limits.Files = def.Files
	}
	if o.Limits.Procs == 0 {
		o.Limits.Procs = def.Procs
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = mesh.MaxOutput
	}
	if o.MaxWhole == 0 {
		o.MaxWhole = 256 << 20
	}
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("new runner: %w", err)
	}
	r := &Runner{o: o, active: map[string]bool{}}
	if !o.NoCgroup {
		r.cgroups = findCgroups()
	}
	return r, nil
}

// Cgroups reports whether jobs get a cgroup of their own.
func (r *Runner) Cgroups() bool { return r.cgroups.base != "" }

// NewMark returns a fresh mark for one start of an attempt. The nonce keeps
// several agents on one machine, and two starts of one attempt, apart.
func NewMark(job mesh.JobID, attempt int) string {
	var nonce [4]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand ends the process instead.
	return fmt.Sprintf("%s.%d.%s", job, attempt, hex.EncodeToString(nonce[:]))
}

// Task is one process to run. Exactly one of Command and Script is set.
type Task struct {
	Job     mesh.JobID
	Attempt int
	Mark    string // from NewMark.

	Command []string // looked up in the job's own PATH, run without a shell.
	Script  []byte   // the whole script.
	Name    string   // what the script's file is called.
	Args    []string // behind the script's path.

	Env map[string]string
	// Vars are set after Env: a job cannot forge them.
	Vars  map[string]string
	RunAs string

	Timeout time.Duration
	Grace   time.Duration
	// Started, if set, is called once the process runs, before Run waits.
	Started func(at time.Time)
}

func (t *Task) dirName() string { return fmt.Sprintf("%s.%d", t.Job, t.Attempt) }

// Result says how a task ended. State is one of OK, FAILED, SIGNALED,
// TIMEOUT, CANCELLED and UNKNOWN.
type Result struct {
	State  mesh.State
	Code   int
	Signal string
	// Reason is in words for an operator; empty for a plain exit.
	Reason         string
	Started, Ended time.Time // zero when nothing was started.
	Stdout, Stderr Stream
	// Interrupted says that the agent stopped the task for its own sake: it
	// would have gone on.
	Interrupted bool
}

// Stream is what is kept of one stream of a task.
type Stream struct {
	mesh.Output // without Inline.

	Kept []byte // what Output.Digest is of.
}

// Run runs a task and returns when it has ended with its whole tree, or when
// that could not be reached. Cancelling ctx stops the tree; see ErrCancelled.
// An attempt that runs already must not be run a second time.
func (r *Runner) Run(ctx context.Context, t Task) Result {
	name := t.dirName()
	r.setActive(name, true)
	defer r.setActive(name, false)

	p, err := r.launch(&t)
	if err != nil {
		return failedLaunch(err)
	}
	if t.Started != nil {
		t.Started(p.started)
	}
	return p.supervise(ctx, &t)
}

func (r *Runner) setActive(name string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.active[name] = true
	} else {
		delete(r.active, name)
	}
}

// StopLeft stops what is left of a tree that an earlier life of the agent has
// started under mark.
func (r *Runner) StopLeft(mark string, grace time.Duration) Stopped {
	t := &tree{mark: markPrefix + mark, leaf: r.cgroups.existing(mark)}
	s := t.stop(grace)
	t.leaf.remove()
	return s
}

// Clean removes the directories of attempts that were last touched before the
// given time and do not run. It goes on after an error and returns all.
func (r *Runner) Clean(before time.Time) error {
	entries, err := os.ReadDir(r.o.Dir)
	if err != nil {
		return fmt.Errorf("clean the job directories: %w", err)
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || info.ModTime().After(before) || r.isActive(e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.o.Dir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("clean the job directories: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) isActive(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[name]
}

// Allows says whether a job may run as the named user on this node: an error
// tells an operator why not. The empty name is the agent's own user.
func (r *Runner) Allows(name string) error {
	_, err := r.account(name)
	return err
}

func (r *Runner) listed(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.o.RunAs, name)
}

// SetRunAs replaces the users that a job may name, at once. What runs already
// goes on. The list is kept, not copied.
func (r *Runner) SetRunAs(users []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.RunAs = users
}

// SetEnv replaces the variables that every job finds, for jobs that start
// later. The map is kept, not copied.
func (r *Runner) SetEnv(env map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.Env = env
}
