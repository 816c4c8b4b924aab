package exec

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/agent/exec/exectest"
	"alps/mesh"
	"alps/mesh/sign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

// rig is an engine with fakes around it, inside a synctest bubble.
type rig struct {
	t       tester
	board   *exectest.Board
	clerk   *exectest.Clerk
	reports *exectest.Reports
	blobs   *exectest.Blobs
	runner  *exectest.Runner
	node    mesh.NodeID
	self    mesh.Node
	dir     string
	trusted bool
	change  func(*Options)

	e    *Engine
	stop context.CancelFunc
	done chan error
}

func newRig(t tester, dir string) *rig {
	board := exectest.NewBoard()
	r := &rig{
		t: t, board: board, clerk: exectest.NewClerk(board, "lab", exectest.AnyScope()),
		reports: &exectest.Reports{}, blobs: &exectest.Blobs{}, runner: &exectest.Runner{Users: []string{"hdfs"}},
		node: mesh.NewNodeID(), dir: dir, trusted: true,
	}
	r.self = mesh.Node{ID: r.node, Name: "bj-e-hadoop01-11-203", DC: "bj-e-01", Naming: mesh.Naming{Role: "hadoop"}}
	return r
}

// start starts the engine and waits until it has nothing to do.
func (r *rig) start() {
	r.t.Helper()
	o := Options{
		Node: r.node, Cluster: "lab", Dir: r.dir,
		Board: r.board, Reports: r.reports, Blobs: r.blobs, Runner: r.runner,
		Self:  func() mesh.Node { return r.self },
		Trust: func() (sign.Root, bool) { return r.clerk.Root(), r.trusted },
	}
	if r.change != nil {
		r.change(&o)
	}
	e, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.e, r.stop, r.done = e, cancel, make(chan error, 1)
	go func() { r.done <- e.Run(ctx) }()
	synctest.Wait()
}

// end stops the engine in good order.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Fatal(err)
	}
}

// crash ends the engine as a power cut does: what it does from now on is
// neither on the disk nor heard by anybody.
func (r *rig) crash() {
	r.t.Helper()
	synctest.Wait()
	dir, err := os.MkdirTemp(filepath.Dir(r.dir), "crash-")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "d"), os.DirFS(r.dir)); err != nil {
		r.t.Fatal(err)
	}
	r.e.o.Reports = deafReports{} // nothing runs: all its goroutines wait.
	r.end()
	r.dir = filepath.Join(dir, "d")
}

type deafReports struct{}

func (deafReports) Send(mesh.Report, bool) error { return nil }

func (r *rig) publish(specs ...mesh.Spec) {
	r.t.Helper()
	if err := r.clerk.Publish(specs...); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// settle lets time pass.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) wantStates(s mesh.Spec, want ...mesh.State) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.reports.States(s.Job)); diff != "" {
		r.t.Errorf("states (-want +got):\n%s", diff)
	}
}

func (r *rig) wantLast(s mesh.Spec, state mesh.State, reason string) {
	r.t.Helper()
	got := r.reports.Last(s.Job)
	if got.State != state || got.Reason != reason {
		r.t.Errorf("last report: got %s %q, want %s %q", got.State, got.Reason, state, reason)
	}
}

func (r *rig) wantStarts(s mesh.Spec, want int) {
	r.t.Helper()
	if got := r.runner.Starts(s.Job); got != want {
		r.t.Errorf("started %d times, want %d", got, want)
	}
}

// bubble runs a test with a rig in a bubble where time is free.
func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t, filepath.Join(t.TempDir(), "exec"))) })
}
