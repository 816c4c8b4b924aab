package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// Options configure a Group.
type Options struct {
	// Record is the file that Sweep reads when we were killed. Its directory
	// must exist. Required.
	Record string
	// Grace lies between TERM and KILL. Zero means 5 s.
	Grace time.Duration
	// Logger is told of children that end unasked. Nil means silence.
	Logger hclog.Logger
}

// Group is a set of child processes with one owner. Its methods may be called
// from any goroutine.
type Group struct {
	o  Options
	wg sync.WaitGroup // one goroutine per child, until it is reaped.

	mu      sync.Mutex
	record  record
	procs   map[string]*Process // those that run, by name.
	stopped bool
}

// New returns an empty Group and takes the record. A record that is already
// there is a mesh.Conflict, whoever left it: Sweep first.
func New(o Options) (*Group, error) {
	if o.Record == "" {
		return nil, errors.New("new process group: no record file given")
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if _, found, err := readRecord(o.Record); err != nil {
		return nil, err
	} else if found {
		return nil, mesh.Errorf(mesh.Conflict, "%s lists processes of another run", o.Record)
	}
	r, err := newRecord()
	if err != nil {
		return nil, err
	}
	if err := r.write(o.Record); err != nil {
		return nil, err
	}
	return &Group{o: o, record: r, procs: map[string]*Process{}}, nil
}

// Spec says what to start.
type Spec struct {
	Name string   // unique among the running children of the group.
	Path string   // the program.
	Args []string // its arguments, without its own name.
	Env  []string // "key=value"; nil means our own environment.
	Dir  string   // working directory; empty means ours.
	Log  string   // file that stdout and stderr are appended to.
	// Netns is the file of the network namespace that the child lives in; empty
	// means ours. The child keeps our mounts, and is itself the program: nothing
	// stands between it and its record.
	Netns string
}

// Start starts a child in its own process group, with no input. It returns
// when the program was executed; whether it then lives is seen by Done.
func (g *Group) Start(s Spec) (*Process, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return nil, fmt.Errorf("start %s: its group was stopped", s.Name)
	}
	if g.procs[s.Name] != nil {
		return nil, fmt.Errorf("start %s: it runs already", s.Name)
	}
	p, err := start(s, g.o.Grace)
	if err != nil {
		return nil, err
	}
	g.procs[s.Name] = p
	g.wg.Go(func() { g.reap(p) })
	if err := g.writeLocked(); err != nil {
		_ = p.Signal(syscall.SIGKILL) // nobody could find it again.
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// reap waits for p and takes it off the record.
func (g *Group) reap(p *Process) {
	p.wait()
	g.mu.Lock()
	if g.procs[p.name] == p {
		delete(g.procs, p.name)
	}
	err := g.writeLocked()
	g.mu.Unlock()
	if err != nil {
		g.o.Logger.Warn("process record not written", "error", err)
	}
	if !p.asked.Load() {
		g.o.Logger.Warn("child process ended unasked", "name", p.name, "pid", p.pid, "how", p.how)
	}
	close(p.done)
}

// writeLocked brings the record up to date. After Stop there is none.
func (g *Group) writeLocked() error {
	if g.stopped && len(g.procs) == 0 {
		if err := os.Remove(g.o.Record); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the process record: %w", err)
		}
		return nil
	}
	g.record.Procs = g.record.Procs[:0]
	for _, p := range g.procs {
		g.record.Procs = append(g.record.Procs, entry{Name: p.name, ident: p.id})
	}
	return g.record.write(g.o.Record)
}

// Stop ends every child (TERM, grace, KILL), waits for all of them and
// removes the record. Nothing can be started afterwards. It may be called
// again.
func (g *Group) Stop() error {
	g.mu.Lock()
	g.stopped = true
	var running []*Process
	for _, p := range g.procs {
		running = append(running, p)
	}
	err := g.writeLocked()
	g.mu.Unlock()

	var wg sync.WaitGroup
	for _, p := range running {
		wg.Go(p.Stop)
	}
	wg.Wait()
	g.wg.Wait()
	return err
}

// openLog opens a log for appending and makes its directory.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}
