package hdfstest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/checks"
	"alps/checks/hdfs"
	"alps/checks/hdfs/cluster"
	"alps/checks/hdfs/volumetest"
	"alps/mesh"
)

func TestMain(m *testing.M) { volumetest.Main(m) }

// rig is an HDFS, and the pack on each of its nodes.
type rig struct {
	*cluster.Cluster

	t *testing.T
}

func start(t *testing.T, o cluster.Options) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this needs root")
		}
		t.Skip("this needs root: disks are broken by mounts")
	}
	return &rig{cluster.ForTest(t, o), t}
}

// on makes the pack as it is on a node.
func (r *rig) on(n *cluster.Node) *checks.Set {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := hdfs.New(hdfs.Options{Conf: n.ConfDir, Child: []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", exe, volumetest.Arg}})
	if err != nil {
		r.t.Fatal(err)
	}
	set, err := checks.NewSet([]checks.Pack{p})
	if err != nil {
		r.t.Fatal(err)
	}
	return set
}

// probe runs a probe on a node and wants a status.
func (r *rig) probe(n *cluster.Node, name string, want mesh.Health) string {
	r.t.Helper()
	got := r.on(n).Run(r.t.Context(), "hdfs."+name, nil)
	if got.Status != want {
		r.t.Errorf("%s on %s is %s, want %s: %s", name, n.Name, got.Status, want, got.Output)
	}
	return got.Output
}

// ask asks a judge on a node, with facts.
func (r *rig) ask(n *cluster.Node, name string, facts map[string]string) mesh.Answer {
	r.t.Helper()
	var environ []string
	for k, v := range facts {
		environ = append(environ, "ALPS_FACT_"+strings.ToUpper(k)+"="+v)
	}
	return r.on(n).Ask(r.t.Context(), "hdfs."+name, checks.NewArgs(nil, environ))
}

// until asks again while the answer is wait, and wants another one.
func (r *rig) until(n *cluster.Node, name string, facts map[string]string, want mesh.Verdict) mesh.Answer {
	r.t.Helper()
	var got mesh.Answer
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if got = r.ask(n, name, facts); got.Verdict != mesh.VerdictWait {
			break
		}
	}
	if got.Verdict != want {
		r.t.Fatalf("%s on %s says %s, want %s: %s\n%v", name, n.Name, got.Verdict, want, got.Reason, got.Evidence)
	}
	return got
}

func (r *rig) put(name string, blocks, copies int) (same func()) {
	r.t.Helper()
	before, err := r.Put(r.t.Context(), name, blocks, copies)
	if err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		if after, err := r.Checksum(r.t.Context(), name); err != nil || after != before {
			r.t.Errorf("%s is another than before: %v", name, err)
		}
	}
}

func (r *rig) breakDisk(n *cluster.Node, at int) {
	r.t.Helper()
	mend, err := cluster.ReadOnly(n.DataDirs[at])
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = mend() })
}

// code puts a file that is erasure-coded over three DataNodes. None may leave
// while a wider policy is enabled, as nobody can say which one the file has.
func (r *rig) code(nn, dn *cluster.Node) (same func()) {
	r.t.Helper()
	run := func(args ...string) {
		r.t.Helper()
		if _, err := r.HDFS(r.t.Context(), args...); err != nil {
			r.t.Fatal(err)
		}
	}
	const narrow, wide = "XOR-2-1-1024k", "RS-6-3-1024k"
	run("dfs", "-mkdir", "/coded")
	run("ec", "-enablePolicy", "-policy", narrow)
	run("ec", "-setPolicy", "-path", "/coded", "-policy", narrow)
	same = r.put("/coded/file", 3, 3)
	who := map[string]string{"datanode": dn.Key()}
	if got := r.ask(nn, "may-leave", who); got.Verdict != mesh.VerdictNo || !strings.Contains(got.Reason, wide+" needs 9") {
		r.t.Errorf("%s is enabled on four: %s: %s", wide, got.Verdict, got.Reason)
	}
	run("ec", "-disablePolicy", "-policy", wide)
	if got := r.ask(nn, "may-leave", who); got.Verdict != mesh.VerdictOK || got.Evidence["erasure_coding"] != narrow {
		r.t.Errorf("%s alone is enabled on four: %s: %s: %v", narrow, got.Verdict, got.Reason, got.Evidence)
	}
	return same
}

// TestDisk is the whole way of one disk that is read-only and idle: nobody but
// the probe notices, a write confirms it, and the DataNode leaves.
func TestDisk(t *testing.T) {
	r := start(t, cluster.Options{})
	nn, dn := r.NameNodes()[0], r.DataNodes()[1]
	same := r.put("/file", 60, 3)
	coded := r.code(nn, dn)

	// All have one address: each gets a copy of what any of them is made to write.
	copied := r.spread(dn, 8, 4)
	for _, n := range r.DataNodes() {
		if copied[n.DataDirs[0]] == 0 || copied[n.DataDirs[0]]+copied[n.DataDirs[1]] != 8 {
			t.Errorf("8 files with 4 copies went to %v", copied)
		}
	}

	for _, name := range []string{"volumes", "datanode"} {
		r.probe(dn, name, mesh.HealthPassing)
	}
	for _, name := range []string{"namenode", "ha", "blocks", "datanodes", "capacity", "files"} {
		r.probe(nn, name, mesh.HealthPassing)
	}
	if got := r.ask(dn, "confirm", nil); got.Verdict != mesh.VerdictNo || !strings.Contains(got.Reason, "no disk fails now") {
		t.Errorf("confirm of what is well: %s: %s", got.Verdict, got.Reason)
	}

	r.breakDisk(dn, 0)
	if out := r.probe(dn, "volumes", mesh.HealthCritical); !strings.Contains(out, dn.DataDirs[0]) || !strings.Contains(out, "read-only") {
		t.Errorf("volumes: %s", out)
	}
	r.probe(dn, "datanode", mesh.HealthPassing) // it has not noticed.

	began := time.Now()
	confirmed := r.until(dn, "confirm", nil, mesh.VerdictOK)
	t.Logf("confirmed after %s: %v", time.Since(began).Round(time.Millisecond), confirmed.Evidence)
	facts := confirmed.Facts
	want := map[string]string{
		"datanode": dn.Key(), "datanode_addr": dn.Transfer, "datanode_http": dn.HTTP, "datanode_ipc": dn.IPC, "volumes": dn.DataDirs[0],
		"datanode_uuid": facts["datanode_uuid"],
	}
	if !maps.Equal(facts, want) || facts["datanode_uuid"] == "" {
		t.Errorf("facts %v, want %v", facts, want)
	}
	r.probe(dn, "datanode", mesh.HealthWarning)
	r.probe(nn, "datanodes", mesh.HealthWarning)
	r.clean()
	r.until(dn, "volume-guard", facts, mesh.VerdictOK)

	may := r.until(nn, "may-leave", facts, mesh.VerdictOK)
	maps.Copy(facts, may.Facts)
	if got := r.ask(nn, "proven", facts); got.Verdict != mesh.VerdictNo {
		t.Errorf("proven before anything was done: %s: %s", got.Verdict, got.Reason)
	}
	if err := os.WriteFile(nn.HostFile(), []byte(dn.Key()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.HDFS(t.Context(), "dfsadmin", "-refreshNodes"); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	proven := r.until(nn, "proven", facts, mesh.VerdictOK)
	t.Logf("proven after %s: %v", time.Since(began).Round(time.Millisecond), proven.Evidence)
	same()
	coded()
	for _, other := range r.DataNodes() {
		if other != dn {
			got := r.ask(nn, "may-leave", map[string]string{"datanode": other.Key()})
			if got.Verdict != mesh.VerdictNo || !strings.Contains(got.Reason, "2 DataNodes would stay in service") {
				t.Errorf("%s may leave too: %s: %s", other.Name, got.Verdict, got.Reason)
			}
			break
		}
	}
}

// TestOneNameForADisk breaks three disks of a DataNode, each in another way: what
// tries them and what asks the DataNode name the same ones.
func TestOneNameForADisk(t *testing.T) {
	tolerated := 3
	r := start(t, cluster.Options{DataNodes: 1, DataDirs: 4, Replication: 1, FailedVolumesTolerated: &tolerated})
	dn := r.DataNodes()[0]
	for at, breaks := range []func(string) (func() error, error){cluster.ReadOnly, cluster.EmptyReadOnly, cluster.SpoilCurrent} {
		mend, err := breaks(dn.DataDirs[at])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = mend() })
	}
	run := func(probe string) checks.Result { return r.on(dn).Run(t.Context(), "hdfs."+probe, nil) }
	failed := func(got checks.Result) float64 {
		for _, s := range got.Samples {
			if s.Name == "failed" {
				return s.Value
			}
		}
		return 0
	}
	var asked checks.Result
	for end := time.Now().Add(2 * time.Minute); failed(asked) < 3; asked = run("datanode") {
		if time.Now().After(end) {
			t.Fatalf("the DataNode has not given up all three: %s", asked.Output)
		}
		_, _ = r.Put(t.Context(), fmt.Sprintf("/write-%d", time.Now().UnixNano()), 4, 1) // it notices what is read-only by a write.
	}
	tried := run("volumes")
	t.Logf("%s names %q, %s names %q", tried.Status, tried.Disks, asked.Status, asked.Disks)
	if diff := cmp.Diff(tried.Disks, asked.Disks); diff != "" || failed(tried) != 3 {
		t.Errorf("%v failed when they were tried, disks (-tried +asked):\n%s", failed(tried), diff)
	}
	if !slices.Contains(asked.Disks, dn.DataDirs[1]) {
		t.Errorf("%q has not the one that lies in memory: %s", asked.Disks, dn.DataDirs[1])
	}
}

// TestStopped has a DataNode that tolerates no failure, in a cluster with as
// many DataNodes as copies, and a file of one copy on the disk that fails.
func TestStopped(t *testing.T) {
	none := 0
	r := start(t, cluster.Options{DataNodes: 3, FailedVolumesTolerated: &none})
	nn, dn := r.NameNodes()[0], r.DataNodes()[0]
	r.put("/file", 30, 3)
	if got := r.ask(nn, "may-leave", map[string]string{"datanode": dn.Key()}); got.Verdict != mesh.VerdictNo || !strings.Contains(got.Reason, "2 DataNodes would stay in service") {
		t.Errorf("three copies on three: %s: %s", got.Verdict, got.Reason)
	}
	r.put("/alone", 24, 1) // some of it is on the disk.
	r.breakDisk(dn, 1)
	confirmed := r.until(dn, "confirm", nil, mesh.VerdictOK)
	t.Logf("%v", confirmed.Evidence)
	if !strings.Contains(confirmed.Evidence["source_2"], "has stopped") && !strings.Contains(confirmed.Evidence["source_2"], "given up") {
		t.Errorf("the second source is %q", confirmed.Evidence["source_2"])
	}
	<-dn.Done()
	r.probe(dn, "datanode", mesh.HealthCritical)
	if out := r.probe(dn, "volumes", mesh.HealthCritical); !strings.Contains(out, dn.DataDirs[1]) {
		t.Errorf("volumes: %s", out)
	}
	got := r.until(dn, "confirm", nil, mesh.VerdictOK)
	if !strings.Contains(got.Evidence["source_2"], "has stopped") || got.Facts["datanode"] != dn.Key() || got.Facts["datanode_uuid"] != confirmed.Facts["datanode_uuid"] {
		t.Errorf("of one that has stopped: %v, %v", got.Evidence, got.Facts)
	}
	if got := r.ask(dn, "volume-guard", confirmed.Facts); got.Verdict != mesh.VerdictSkip {
		t.Errorf("volume-guard: %s: %s", got.Verdict, got.Reason)
	}
	lost := r.until(nn, "may-leave", confirmed.Facts, mesh.VerdictNo)
	if !strings.Contains(lost.Reason, "loss: ") || !strings.Contains(lost.Reason, "do not wipe the disk") {
		t.Errorf("a file of one copy: %s", lost.Reason)
	}
	r.probe(nn, "blocks", mesh.HealthCritical)
	facts := maps.Clone(confirmed.Facts)
	facts["want"] = "volume"
	if got := r.until(nn, "proven", facts, mesh.VerdictNo); !strings.Contains(got.Reason, "loss: ") {
		t.Errorf("proven: %s", got.Reason)
	}
}

// TestPair has two NameNodes, of which one hangs or is away.
func TestPair(t *testing.T) {
	r := start(t, cluster.Options{HA: true, DataNodes: 4}) // three stay, as many as a block has copies.
	active, standby := r.NameNodes()[0], r.NameNodes()[1]
	dn := r.DataNodes()[0]
	facts := map[string]string{"datanode": dn.Key()}
	r.probe(active, "ha", mesh.HealthPassing)
	r.probe(standby, "ha", mesh.HealthPassing)
	r.probe(dn, "datanode", mesh.HealthPassing)
	if out := r.probe(standby, "blocks", mesh.HealthPassing); !strings.Contains(out, "standby") {
		t.Errorf("blocks on the standby: %s", out)
	}
	r.until(active, "may-leave", facts, mesh.VerdictOK)

	if err := standby.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got := r.ask(active, "may-leave", facts); got.Verdict != mesh.VerdictWait || !strings.Contains(got.Reason, "did not answer in time") {
		t.Errorf("a standby that hangs: %s: %s", got.Verdict, got.Reason)
	}
	r.probe(active, "ha", mesh.HealthWarning)
	if err := standby.Thaw(); err != nil {
		t.Fatal(err)
	}
	r.until(active, "may-leave", facts, mesh.VerdictOK)

	standby.Stop()
	if got := r.ask(active, "proven", facts); got.Verdict != mesh.VerdictWait || !strings.Contains(got.Reason, standby.ID) {
		t.Errorf("a standby that is away: %s: %s", got.Verdict, got.Reason)
	}
	active.Stop()
	r.probe(active, "ha", mesh.HealthCritical)
	r.probe(active, "namenode", mesh.HealthCritical)
	if got := r.ask(dn, "may-leave", facts); got.Verdict != mesh.VerdictWait {
		t.Errorf("no NameNode: %s: %s", got.Verdict, got.Reason)
	}
}
