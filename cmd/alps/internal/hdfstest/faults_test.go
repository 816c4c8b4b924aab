package hdfstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
)

// TestNoDiskMayFail has DataNodes that shut themselves down for the first disk
// that fails. NameNodes call such a node Decommissioned at once, which proves
// nothing.
func TestNoDiskMayFail(t *testing.T) {
	r := start(t, options{policy: "hdfs-disk-decommission.hcl", hdfs: hdfs.Options{FailedVolumesTolerated: new(0)}})
	same := r.put(t, "/data/", 200, 3)
	r.breakDisk(t, one)
	run := r.ended(t, one, mesh.RemedySucceeded)
	if confirm := step(t, run, mesh.StepConfirm); confirm.State != mesh.StepOK {
		t.Errorf("it was not recognised as a disk: %s", tell([]mesh.RemedyRun{run}))
	}
	if r.hdfs.Node(one).Running() {
		t.Error("the DataNode still runs: this is not the case that is meant")
	}
	r.healthy(t)
	same()
}

// TestHA has two NameNodes, each with its own host file, and two servers. What
// may go wrong between the file and the refresh does.
func TestHA(t *testing.T) {
	r := start(t, options{
		policy: "hdfs-disk-decommission.hcl", hdfs: hdfs.Options{HA: true}, server: 2,
		edit: map[string]string{`within = "3m"`: `within = "4m"`},
	})
	same := r.put(t, "/data/", 60, 3)
	held := r.holdRefresh(t)
	r.breakDisk(t, two)

	// Both host files are written, and nobody has been told to read them.
	loop.Await(t, "the refresh has begun on both NameNodes", held.begun)
	run := r.awaitRun(t, two, "acts", func(run mesh.RemedyRun) bool { return len(acts([]mesh.RemedyRun{run})) == 1 })
	leader, err := r.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader.Kill()
	// The same event again and again, and the agent of a NameNode is new.
	for range 5 {
		r.fire(t, "alps")
	}
	agent := r.Agent(nameNode)
	agent.Stop()
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	held.release(t)

	done := r.ended(t, two, mesh.RemedySucceeded)
	if done.ID != run.ID {
		t.Errorf("run %s was begun and run %s ended", run.ID, done.ID)
	}
	for _, n := range []string{nameNode, nameNode2} {
		if got := r.hostFile(t, n); len(got) != 1 || !strings.HasPrefix(got[0], two) {
			t.Errorf("the exclude file of %s has %q", n, got)
		}
		if states := r.adminStates(t, n); states[two] != "Decommissioned" {
			t.Errorf("%s shows %v", n, states)
		}
	}
	list, err := r.runs(t.Context())
	if err != nil || len(acts(list)) != 1 {
		t.Errorf("%v; %d runs have acted:\n%s", err, len(acts(list)), tell(list))
	}
	if got := r.Incidents(t, "hdfs-disk"); len(got) != 1 {
		t.Errorf("%d incidents of one disk: %+v", len(got), got)
	}
	same()
	t.Run("a standby that is away", func(t *testing.T) { r.standbyAway(t) })
}

// standbyAway breaks a disk while a NameNode is down: nothing is done, because
// nobody could prove it, and it is not called well.
func (r *rig) standbyAway(t *testing.T) {
	states := make(map[string]string)
	for _, n := range r.hdfs.NameNodes() {
		var status struct{ State string }
		r.bean(t, n.Name, "NameNodeStatus", &status)
		states[status.State] = n.Name
	}
	standby := r.hdfs.Node(states["standby"])
	if standby == nil {
		t.Fatalf("no NameNode stands by: %v", states)
	}
	standby.Stop()
	r.breakDisk(t, three)
	run := r.awaitRun(t, three, "asks again", func(run mesh.RemedyRun) bool {
		return slices.ContainsFunc(run.Steps, func(s mesh.RemedyStep) bool { return s.Attempts > 1 })
	})
	if len(acts([]mesh.RemedyRun{run})) > 0 {
		t.Errorf("it acts without a NameNode: %s", tell([]mesh.RemedyRun{run}))
	}
	t.Logf("it waits: %s", run.Steps[len(run.Steps)-1].Reason)
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
}

// hold keeps every refresh from being made, where it has begun.
type hold struct {
	dir   string
	nodes []*hdfs.Node
}

// holdRefresh puts itself before the command of Hadoop on each NameNode.
func (r *rig) holdRefresh(t *testing.T) *hold {
	t.Helper()
	h := &hold{dir: t.TempDir(), nodes: r.hdfs.NameNodes()}
	for _, n := range h.nodes {
		path := filepath.Join(n.BinDir, "hdfs")
		text := fmt.Sprintf(`#!/bin/sh
case " $* " in
*" -refreshNodes "*)
	echo begun >>'%[1]s/%[2]s'
	while [ ! -e '%[1]s/go' ]; do sleep 0.1; done ;;
esac
exec '%[3]s' "$@"
`, h.dir, n.Name, path+".real")
		if err := errors.Join(os.Rename(path, path+".real"), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *hold) begun(context.Context) error {
	for _, n := range h.nodes {
		if _, err := os.Stat(filepath.Join(h.dir, n.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (h *hold) release(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLadder has NameNodes that read a JSON host file, so that every rung can be
// taken: without the disk at first, and in maintenance when that is not enough.
func TestLadder(t *testing.T) {
	r := start(t, options{
		policy: "hdfs-disk-ladder.hcl", hdfs: hdfs.Options{JSONHosts: true, DataDirs: 3},
		edit: map[string]string{`cooldown        = "24h"`: `cooldown        = "1s"`},
	})
	same := r.put(t, "/data/", 90, 3)
	mend := r.breakDisk(t, one)
	run := r.ended(t, one, mesh.RemedySucceeded)
	if last := run.Steps[len(run.Steps)-1]; last.Rung != "volume" {
		t.Errorf("it went as far as %s: %s", last.Rung, tell([]mesh.RemedyRun{run}))
	}
	if states := r.adminStates(t, nameNode); states[one] != "In Service" {
		t.Errorf("the NameNode shows %v", states)
	}
	r.healthy(t)
	same()
	mend()
	t.Run("more disks than it may lose", func(t *testing.T) {
		// The second disk is beyond what the DataNode bears: it shuts down, and
		// no volume can be dropped.
		for _, dir := range r.hdfs.Node(two).DataDirs[:2] {
			undo, err := hdfs.ReadOnly(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = undo() })
		}
		run := r.awaitRun(t, two, "has ended", func(run mesh.RemedyRun) bool { return run.State.Ended() && len(run.Steps) > 0 })
		if run.State != mesh.RemedySucceeded || run.Steps[len(run.Steps)-1].Rung != "decommission" {
			t.Errorf("it is %s by another rung: %s", run.State, tell([]mesh.RemedyRun{run}))
		}
		r.healthy(t)
	})
	same()
}
