package admintest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/admin"
	"alps/checks/hdfs/cluster"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// start starts an HDFS for a test.
func start(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an HDFS")
	}
	return cluster.ForTest(t, o)
}

// adminOf is an Admin as it works on a node, by the node's own configuration
// and its own command hdfs.
func adminOf(t testing.TB, n *cluster.Node, o admin.Options) *admin.Admin {
	t.Helper()
	s, err := site.Load(n.ConfDir)
	if err != nil {
		t.Fatal(err)
	}
	o.Site, o.Program = s, filepath.Join(n.BinDir, "hdfs")
	a, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// want fails unless an answer has the verdict, and a reason with the words.
func want(t testing.TB, got mesh.Answer, err error, v mesh.Verdict, words string) mesh.Answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.Verdict != v || !strings.Contains(got.Reason, words) {
		t.Fatalf("got %s: %s\nwant %s: %s\n%s", got.Verdict, got.Reason, v, words, got.Line())
	}
	return got
}

// state is what a NameNode wants of a DataNode.
func state(t testing.TB, nn *cluster.Node, key string) jmx.AdminState {
	t.Helper()
	info, err := jmx.New(jmx.Options{}).NameNodeInfo(t.Context(), nn.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := info.AdminState(key)
	return s
}

// eventually looks until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute: not %s", what)
		}
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// backups are how often a file was replaced.
func backups(t testing.TB, path string) int {
	t.Helper()
	all, err := filepath.Glob(path + ".alps-0*")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// serving are the directories that a DataNode works with.
func serving(t testing.TB, dn *cluster.Node) []string {
	t.Helper()
	info, err := jmx.New(jmx.Options{}).DataNodeInfo(t.Context(), dn.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for d := range info.Volumes {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	return dirs
}
