package cluster

import (
	"context"
	"os"

	"alps/mesh"
	"alps/mesh/proc"
)

// TB is what ForTest needs of a testing.TB. It is declared here so that the
// product does not link package testing.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Fatal(args ...any)
	Skip(args ...any)
	Log(args ...any)
}

// Require ends a test whose Java or jars are missing: it is skipped, and fails
// in continuous integration. It is for who has an HDFS started by others.
func Require(t TB) {
	t.Helper()
	if err := Ready(""); err != nil {
		missing(t, err)
	}
}

// missing ends a test because of what the machine lacks.
func missing(t TB, err error) {
	t.Helper()
	if code := mesh.CodeOf(err); (code == mesh.NotFound || code == mesh.Denied) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// ForTest starts a cluster and closes it with the test. When the test failed,
// the ends of all logs are in its output. A test whose Java, jars or rights are
// missing is skipped, and fails in continuous integration. A cluster costs ten
// seconds and 0.7 GiB: share one among the tests of a package.
func ForTest(t TB, o Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), o)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.Nodes() {
				t.Log("the end of the log of " + n.Name + ":\n" + proc.Tail(n.LogPath(), 40))
			}
		}
		if err := c.Close(); err != nil {
			t.Log("close the HDFS:", err)
		}
	})
	return c
}
