package cluster

import (
	"context"

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
	Log(args ...any)
}

// ForTest starts a cluster and closes it with the test. When the test failed,
// the ends of all logs are in its output. A cluster costs seconds and a
// hundred MiB per node: share one among the tests of a package.
func ForTest(t TB, o Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.nodes {
				t.Log("the end of the log of " + n.Name + ":\n" + proc.Tail(n.LogPath(), 40))
			}
		}
		if err := c.Close(); err != nil {
			t.Log("close the cluster:", err)
		}
	})
	return c
}
