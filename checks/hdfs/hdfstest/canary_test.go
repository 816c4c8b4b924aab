package hdfstest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/cluster"
	"alps/checks/hdfs/webhdfs"
	"alps/checks/hdfs/webhdfstest"
	"alps/mesh"
)

// spread has a DataNode write files, and returns how many blocks each directory
// of each DataNode has got then.
func (r *rig) spread(via *cluster.Node, files, copies int) map[string]int {
	r.t.Helper()
	c := webhdfs.New(webhdfs.Options{Timeout: time.Minute})
	before := r.blocks()
	for i := range files {
		f := webhdfs.File{Path: "/spread/" + strconv.Itoa(i), NameNode: r.NameNodes()[0].IPC, Copies: copies, Content: []byte("x\n")}
		if err := c.Create(r.t.Context(), via.HTTP, f); err != nil {
			r.t.Fatal(err)
		}
	}
	out := make(map[string]int)
	for dir, n := range r.blocks() {
		if n > before[dir] {
			out[dir] = n - before[dir]
		}
	}
	if err := c.Remove(r.t.Context(), r.NameNodes()[0].HTTP, "/spread"); err != nil {
		r.t.Error(err)
	}
	return out
}

// blocks counts those in every directory.
func (r *rig) blocks() map[string]int {
	r.t.Helper()
	out := make(map[string]int)
	for _, n := range r.DataNodes() {
		for _, dir := range n.DataDirs {
			err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
				if base := filepath.Base(name); err == nil && strings.HasPrefix(base, "blk_") && !strings.HasSuffix(base, ".meta") {
					out[dir]++
				}
				return nil // what is gone in the meantime was no block.
			})
			if err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return out
}

// clean fails when a canary is left in HDFS.
func (r *rig) clean() {
	r.t.Helper()
	if got := r.below("/tmp"); len(got) > 0 {
		r.t.Errorf("canaries are left: %q", got)
	}
	out, err := r.HDFS(r.t.Context(), "dfs", "-ls", "/tmp")
	if err != nil || strings.Contains(string(out), "alps-canary") {
		r.t.Errorf("directories of canaries are left: %v\n%s", err, out)
	}
}

// below lists the files in a directory of HDFS, which need not be there.
func (r *rig) below(dir string) []string {
	r.t.Helper()
	out, err := r.HDFS(r.t.Context(), "dfs", "-ls", "-R", "/")
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 8 && strings.HasPrefix(words[0], "-") && strings.HasPrefix(words[7], dir+"/") {
			names = append(names, words[7])
		}
	}
	slices.Sort(names)
	return names
}

// canaries is how many files an answer says that it took.
func canaries(t *testing.T, a mesh.Answer) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(a.Evidence["canary"], "%d files in /tmp/alps-canary-", &n); err != nil {
		t.Errorf("it wrote %q: %v", a.Evidence["canary"], err)
	}
	return n
}

// TestCanary has each DataNode on an address of its own: what one is made to
// write comes to its own disks alone, to one after the other.
func TestCanary(t *testing.T) {
	r := start(t, cluster.Options{Layout: cluster.Namespaces, DataNodes: 3})
	dn := r.DataNodes()[1]
	got := r.spread(dn, 8, 1)
	if len(got) != 2 || got[dn.DataDirs[0]] != 4 || got[dn.DataDirs[1]] != 4 {
		t.Errorf("8 files went to %v, want 4 on each disk of %s", got, dn.Name)
	}
	r.breakDisk(dn, 0)
	r.probe(dn, "datanode", mesh.HealthPassing) // it has not noticed.
	began := time.Now()
	confirmed := r.until(dn, "confirm", nil, mesh.VerdictOK)
	t.Logf("confirmed after %s: %v", time.Since(began).Round(time.Millisecond), confirmed.Evidence)
	if !strings.Contains(confirmed.Evidence["source_2"], "has given up "+dn.DataDirs[0]) || canaries(t, confirmed) > 8 {
		t.Errorf("evidence %v", confirmed.Evidence)
	}
	r.clean()
}

// TestAlone has one DataNode, which tolerates no failure: no other takes what
// its disk does not, and it stops while it is made to write.
func TestAlone(t *testing.T) {
	none := 0
	r := start(t, cluster.Options{DataNodes: 1, Replication: 1, FailedVolumesTolerated: &none})
	dn := r.DataNodes()[0]
	r.breakDisk(dn, 1)
	confirmed := r.until(dn, "confirm", nil, mesh.VerdictOK)
	t.Logf("%v", confirmed.Evidence)
	if !strings.Contains(confirmed.Evidence["canary"], "IOException: ") || canaries(t, confirmed) < 1 {
		t.Errorf("the disk did not fail the write: %v", confirmed.Evidence)
	}
	<-dn.Done()
	r.clean()
}

// TestWrites holds a real HDFS, a pair, to what the fake one is held to, and
// finds a disk by its active NameNode, whichever that is.
func TestWrites(t *testing.T) {
	r := start(t, cluster.Options{
		HA: true, DataNodes: 2, Replication: 1,
		NameNodeConf: map[string]string{"dfs.permissions.enabled": "true"},
	})
	nn1, nn2, dn := r.NameNodes()[0], r.NameNodes()[1], r.DataNodes()[0]
	at := func(n *cluster.Node) webhdfstest.Address { return webhdfstest.Address{RPC: n.IPC, HTTP: n.HTTP} }
	webhdfstest.Suite(t, webhdfstest.Target{DataNode: dn.HTTP, Active: at(nn1), Standby: at(nn2), Below: r.below})

	t.Setenv("HADOOP_USER_NAME", "alice")
	r.breakDisk(dn, 0)
	got := r.ask(dn, "confirm", nil)
	if got.Verdict != mesh.VerdictNo || !strings.Contains(got.Reason, "AccessControlException: Permission denied: user=alice") {
		t.Errorf("one who may not write: %s: %s", got.Verdict, got.Reason)
	}
	if err := os.Unsetenv("HADOOP_USER_NAME"); err != nil {
		t.Fatal(err)
	}
	if err := r.Failover(t.Context(), nn2); err != nil {
		t.Fatal(err)
	}
	confirmed := r.until(dn, "confirm", nil, mesh.VerdictOK)
	t.Logf("%v", confirmed.Evidence)
	if !strings.Contains(confirmed.Evidence["source_2"], "has given up "+dn.DataDirs[0]) {
		t.Errorf("evidence %v", confirmed.Evidence)
	}
	r.clean()
}
