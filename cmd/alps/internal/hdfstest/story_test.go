package hdfstest

import (
	"slices"
	"strings"
	"testing"
	"time"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
)

// TestStory is the whole of it, on four DataNodes: what is no reason to act, a
// disk that breaks, and a second one while the first is being mended.
func TestStory(t *testing.T) {
	r := start(t, options{
		policy: "hdfs-disk-decommission.hcl",
		// What is no reason to act comes first here, and must not be a storm.
		edit: map[string]string{`storm_window    = "10m"`: `storm_window    = "5s"`},
	})
	same := r.put(t, "/data/", 320, 3)

	t.Run("a NameNode in safe mode", func(t *testing.T) { r.safeMode(t) })
	t.Run("a disk that comes and goes", func(t *testing.T) { r.flap(t) })
	t.Run("a disk breaks, and another", func(t *testing.T) { r.twoDisks(t) })
	same()
}

// flap breaks and mends a disk again and again, and at last leaves it broken:
// nobody can say what is the matter with it.
func (r *rig) flap(t *testing.T) {
	for range 6 {
		mend := r.breakDisk(t, four)
		r.awaitRaw(t, four, mesh.HealthCritical)
		mend()
		r.awaitRaw(t, four, mesh.HealthPassing)
	}
	if list, err := r.runs(t.Context()); err != nil || slices.ContainsFunc(list, func(r mesh.RemedyRun) bool { return r.Node == four }) {
		t.Errorf("%v; something was decided while it came and went:\n%s", err, tell(list))
	}
	mend := r.breakDisk(t, four)
	run := r.ended(t, four, mesh.RemedyRefused)
	if run.Guard != "flapping" {
		t.Errorf("it is refused by %s: %s", run.Guard, run.Reason)
	}
	mend()
	r.AwaitCheck(t, four, "hdfs-volumes", mesh.HealthPassing)
	r.nothingWritten(t)
}

// awaitRaw waits for a result of the disks' check, be it hard or not.
func (r *rig) awaitRaw(t *testing.T, node string, want mesh.Health) {
	t.Helper()
	loop.Await(t, "the disks of "+node+" are "+string(want), r.rawIs(node, want))
}

// safeMode breaks a disk while the NameNode takes no changes.
func (r *rig) safeMode(t *testing.T) {
	r.cli(t, "dfsadmin", "-safemode", "enter")
	mend := r.breakDisk(t, one)
	run := r.ended(t, one, mesh.RemedyRefused)
	if len(run.Steps) == 0 || !strings.Contains(tell([]mesh.RemedyRun{run}), "safe mode") {
		t.Errorf("it is refused for something else:\n%s", tell([]mesh.RemedyRun{run}))
	}
	mend()
	r.cli(t, "dfsadmin", "-safemode", "leave")
	r.AwaitCheck(t, one, "hdfs-volumes", mesh.HealthPassing)
	r.nothingWritten(t)
	r.reconfigure(t, one)
}

func (r *rig) nothingWritten(t *testing.T) {
	t.Helper()
	for _, n := range r.hdfs.NameNodes() {
		if got := r.hostFile(t, n.Name); len(got) > 0 {
			t.Errorf("the host file of %s has %q", n.Name, got)
		}
	}
}

// twoDisks breaks a disk, and another of another DataNode within five seconds.
func (r *rig) twoDisks(t *testing.T) {
	broken := time.Now()
	r.breakDisk(t, two)
	r.awaitRun(t, two, "has begun", func(run mesh.RemedyRun) bool { return len(run.Steps) > 0 })
	r.breakDisk(t, three)

	run := r.awaitRun(t, two, "has succeeded", func(run mesh.RemedyRun) bool { return run.State == mesh.RemedySucceeded })
	exclude := step(t, run, mesh.StepAct)
	prove := step(t, run, mesh.StepProve)
	t.Logf("from the fault to the decision %s, to the first action %s, proven %s",
		run.Decided.Sub(broken), exclude.Started.Sub(broken), prove.Ended.Sub(broken))
	for _, s := range run.Steps {
		t.Logf("%s %s took %s, %d attempts", s.Kind, s.Name, s.Ended.Sub(s.Started), s.Attempts)
	}
	for i, kind := range []mesh.StepKind{mesh.StepConfirm, mesh.StepGuard, mesh.StepAct, mesh.StepProve} {
		if i >= len(run.Steps) || run.Steps[i].Kind != kind || run.Steps[i].State != mesh.StepOK {
			t.Fatalf("the steps are not what they should be:\n%s", tell([]mesh.RemedyRun{run}))
		}
	}
	if states := r.adminStates(t, nameNode); states[two] != "Decommissioned" || states[three] != "In Service" {
		t.Errorf("the NameNode shows %v", states)
	}
	if got := r.hostFile(t, nameNode); len(got) != 1 || !strings.HasPrefix(got[0], two) {
		t.Errorf("the exclude file has %q", got)
	}
	r.healthy(t)

	// The second disk: exactly one action, and the refusals have their reasons.
	first := r.awaitRun(t, three, "is refused while the first is under way", func(run mesh.RemedyRun) bool { return run.State == mesh.RemedyRefused })
	if first.Guard != "concurrency" || !strings.Contains(first.Reason, "on "+two+" is under way") {
		t.Errorf("the second disk is refused by %s: %s", first.Guard, first.Reason)
	}
	then := r.awaitRun(t, three, "is refused by HDFS", func(run mesh.RemedyRun) bool {
		return run.State == mesh.RemedyRefused && len(run.Steps) > 0
	})
	if then.Guard != "guard may-leave" {
		t.Errorf("afterwards it is refused by %s: %s", then.Guard, then.Reason)
	}
	list, err := r.runs(t.Context())
	if err != nil || len(acts(list)) != 1 {
		t.Errorf("%v; %d runs have acted:\n%s", err, len(acts(list)), tell(list))
	}
	r.told(t, two, three)
	r.trace(t, run)
}

// healthy wants every block to have its copies.
func (r *rig) healthy(t *testing.T) {
	t.Helper()
	var b blocks
	r.bean(t, nameNode, "FSNamesystemState", &b)
	if b.UnderReplicatedBlocks != 0 {
		t.Errorf("%d blocks lack copies", b.UnderReplicatedBlocks)
	}
	var info struct{ NumberOfMissingBlocks int }
	r.bean(t, nameNode, "NameNodeInfo", &info)
	if info.NumberOfMissingBlocks != 0 {
		t.Errorf("%d blocks are missing", info.NumberOfMissingBlocks)
	}
}

// told wants an alert about each node, refused or not.
func (r *rig) told(t *testing.T, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		if !slices.ContainsFunc(r.Hook.Notices(), func(n loop.Notice) bool {
			return n.Node == node && n.Rule == "hdfs-disk" && strings.Contains(n.Owner, "platform team")
		}) {
			t.Errorf("nobody was told of the disk of %s", node)
		}
	}
}

// trace wants the incident to tell the whole story, and each job to have been
// hinted at by a user event.
func (r *rig) trace(t *testing.T, run mesh.RemedyRun) {
	t.Helper()
	i, err := r.Client().Incident(t.Context(), string(run.Incident))
	if err != nil {
		t.Fatal(err)
	}
	story := loop.Story(i)
	for _, want := range []string{"confirm two-sources", "guard may-leave: ok", "step exclude: hdfs-decommission on " + nameNode, "prove blocks", "every proof was given"} {
		if !strings.Contains(story, want) {
			t.Errorf("the incident does not tell of %q: %s", want, story)
		}
	}
	if i.Status != mesh.IncidentOpen {
		t.Errorf("the disk is broken still, and the incident is %s", i.Status)
	}
	if n, err := r.Events(t.Context(), nameNode, "alps"); err != nil || n < len(run.Steps) {
		t.Errorf("%d user events for %d steps, %v", n, len(run.Steps), err)
	}
}

// TestThreeDataNodes has as many DataNodes as copies: none may leave, and three
// disks at once are none.
func TestThreeDataNodes(t *testing.T) {
	r := start(t, options{policy: "hdfs-disk-decommission.hcl", nodes: 3, hdfs: hdfs.Options{Replication: 3}})
	same := r.put(t, "/data/", 30, 3)

	t.Run("as many copies as nodes", func(t *testing.T) {
		mend := r.breakDisk(t, one)
		run := r.awaitRun(t, one, "is refused", func(run mesh.RemedyRun) bool { return run.State == mesh.RemedyRefused && len(run.Steps) > 0 })
		if run.Guard != "guard may-leave" || len(acts([]mesh.RemedyRun{run})) > 0 {
			t.Errorf("it is refused by %s: %s", run.Guard, tell([]mesh.RemedyRun{run}))
		}
		t.Logf("refused: %s", run.Reason)
		r.nothingWritten(t)
		r.told(t, one)
		mend()
		r.AwaitCheck(t, one, "hdfs-volumes", mesh.HealthPassing)
		r.reconfigure(t, one)
	})
	same()
	t.Run("three disks at once", func(t *testing.T) {
		mends := []func(){r.breakDisk(t, one), r.breakDisk(t, two), r.breakDisk(t, three)}
		for _, n := range []string{two, three} {
			r.awaitRun(t, n, "is refused for a storm", func(run mesh.RemedyRun) bool { return run.Guard == "storm" || run.Guard == "unavailable" })
		}
		for _, mend := range mends {
			mend()
		}
		r.nothingWritten(t)
		list, err := r.runs(t.Context())
		if err != nil || len(acts(list)) > 0 {
			t.Errorf("%v; it has acted:\n%s", err, tell(list))
		}
		if !slices.ContainsFunc(list, func(r mesh.RemedyRun) bool { return r.Guard == "storm" }) {
			t.Errorf("no storm was seen:\n%s", tell(list))
		}
	})
}

// TestOnlyCopy has a file with one copy on the disk that breaks.
func TestOnlyCopy(t *testing.T) {
	r := start(t, options{policy: "hdfs-disk-decommission.hcl"})
	r.put(t, "/single/", 60, 1)
	r.breakDisk(t, one)
	run := r.awaitRun(t, one, "is refused", func(run mesh.RemedyRun) bool { return run.State == mesh.RemedyRefused && len(run.Steps) > 0 })
	if !strings.Contains(run.Reason, "loss") {
		t.Errorf("it does not say that data is lost: %s", tell([]mesh.RemedyRun{run}))
	}
	r.nothingWritten(t)
	if !slices.ContainsFunc(r.Hook.Notices(), func(n loop.Notice) bool { return strings.Contains(n.Text, "loss") }) {
		t.Error("nobody was called for it")
	}
}
