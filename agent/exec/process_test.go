package exec

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/agent/exec/exectest"
	"alps/agent/exec/run"
	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
)

// The engine with a runner that starts real processes, in real time.
func TestRealProcesses(t *testing.T) {
	dir := t.TempDir()
	runner, err := run.New(run.Options{Dir: filepath.Join(dir, "work")})
	if err != nil {
		t.Fatal(err)
	}
	board, reports, node := exectest.NewBoard(), &exectest.Reports{}, mesh.NewNodeID()
	clerk := exectest.NewClerk(board, "lab", exectest.AnyScope())
	e, err := New(Options{
		Node: node, Cluster: "lab", Dir: filepath.Join(dir, "exec"),
		Board: board, Reports: reports, Blobs: &exectest.Blobs{}, Runner: runner,
		Self:  func() mesh.Node { return mesh.Node{ID: node, Name: "n1"} },
		Trust: func() (sign.Root, bool) { return clerk.Root(), true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	waitFor(t, "the engine to look", func() bool { return !e.Status().LookedAt.IsZero() })

	publish := func(script string) mesh.Spec {
		t.Helper()
		s := clerk.Spec(node)
		s.Command = nil
		s.Script = &mesh.Script{Name: "job", SHA256: mesh.Digest([]byte(script)), Size: len(script), Body: []byte(script)}
		s.Grace = 1
		if err := clerk.Publish(s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	ended := func(s mesh.Spec) mesh.Report {
		t.Helper()
		waitFor(t, "job "+string(s.Job)+" to end", func() bool { last := reports.Last(s.Job); return last.State != "" && last.State.Ended() })
		return reports.Last(s.Job)
	}
	started := func(s mesh.Spec) {
		t.Helper()
		waitFor(t, "job "+string(s.Job)+" to run", func() bool { return slices.Contains(reports.States(s.Job), mesh.Running) })
	}

	got := ended(publish("echo $ALPS_NODE; echo oops >&2; exit 4"))
	if got.State != mesh.Failed || got.Code != 4 || string(got.Stdout.Inline) != "n1\n" || string(got.Stderr.Inline) != "oops\n" {
		t.Errorf("got %+v", got)
	}

	deaf := filepath.Join(dir, "deaf") // the script makes it when TERM cannot end it any more.
	s := publish("trap '' TERM; : > " + deaf + "; sleep 3600 & sleep 3600")
	waitFor(t, "the script to be deaf", func() bool { _, err := os.Stat(deaf); return err == nil })
	started(s)
	if err := clerk.Steer(s, 1, dispatch.PhaseCancel, 0); err != nil {
		t.Fatal(err)
	}
	if got := ended(s); got.State != mesh.Cancelled || !strings.Contains(got.Reason, "by KILL") {
		t.Errorf("got %s %q", got.State, got.Reason)
	}

	s = publish("head -c 3000000 /dev/zero")
	if got := ended(s); got.Stdout.Bytes != 3000000 || !got.Stdout.Truncated || got.Stdout.Inline != nil {
		t.Errorf("got %+v", got.Stdout)
	} else if f, err := e.Output(got.Stdout.Digest); err != nil {
		t.Error(err)
	} else {
		_ = f.Close()
	}
	whole, err := os.Stat(filepath.Join(dir, "work", string(s.Job)+".1", "stdout"))
	if err != nil || whole.Size() != 3000000 {
		t.Errorf("whole output: %v %v", whole, err)
	}

	s = publish("sleep 3600")
	started(s)
	cancel()
	if got := ended(s); got.State != mesh.Unknown || !strings.HasPrefix(got.Reason, "the agent was stopped while it ran; ") {
		t.Errorf("got %s %q", got.State, got.Reason)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
