package hdfstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
)

// TestDev brings up what `make hdfs` does: each DataNode is beside its own
// agent and known to Consul, jobs find Hadoop, a disk is broken and mended with
// one command each, and nothing is left in the end.
func TestDev(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	hdfs.Require(t)
	r := loop.Start(t, loop.Options{Web: []string{}, Dev: dev.Options{HDFS: &hdfs.Options{}}})
	c, h := r.Cluster, r.HDFS()
	var nodes []string
	for _, n := range h.DataNodes() {
		nodes = append(nodes, n.Name)
	}
	want := []string{"bj-e-hadoop01-11-203", "bj-e-hadoop01-11-204", "bj-e-hadoop01-13-220", "bj-e-hadoop01-13-221"}
	if diff := cmp.Diff(want, nodes); diff != "" {
		t.Fatalf("the DataNodes (-want +got):\n%s", diff)
	}
	live, err := h.Live(t.Context(), h.NameNodes()[0])
	if err != nil || len(live) != len(want) {
		t.Errorf("Live = %v, %v, want %d", live, err, len(want))
	}

	t.Run("services of the nodes", func(t *testing.T) {
		for service, want := range map[string][]string{"datanode": want, "namenode": {"bj-e-admin01"}} {
			loop.Await(t, service+" is passing where it runs", func(ctx context.Context) error {
				got, err := passing(ctx, c, service)
				slices.Sort(got)
				if err == nil && !slices.Equal(got, want) {
					err = fmt.Errorf("got %v, want %v", got, want)
				}
				return err
			})
		}
	})

	t.Run("jobs find Hadoop", func(t *testing.T) {
		// Each node's own configuration names its own DataNode.
		out, err := sh(t, c, `alps exec -t role=hadoop -- 'test "$(hdfs getconf -confKey dfs.datanode.hostname)" = "$ALPS_NODE"'`)
		if err != nil || !strings.Contains(out, "4 of 4 OK") {
			t.Errorf("alps exec: %v: %s", err, out)
		}
		out, err = sh(t, c, "hdfs dfsadmin -report -live")
		if err != nil || !strings.Contains(out, "Live datanodes (4)") {
			t.Errorf("hdfs in a user's shell: %v: %s", err, out)
		}
	})

	t.Run("a disk is broken and mended", func(t *testing.T) {
		n := h.DataNodes()[1]
		command := func(verb string, args ...string) (string, error) {
			return sh(t, c, strings.Join(append([]string{"alps dev", verb, "--dir '" + c.Dir() + "'"}, args...), " "))
		}
		if out, err := command("break-disk", n.Name, "data2"); err != nil || !strings.Contains(out, n.DataDirs[1]+" of "+n.Name) {
			t.Fatalf("break-disk: %v: %s", err, out)
		}
		if _, err := h.Put(t.Context(), "/onto", 8, 4); err != nil {
			t.Fatal(err)
		}
		awaitVolFails(t, h, n, 1)
		for says, args := range map[string][]string{
			"it is broken already":    {n.Name, "data2"},
			"there is no DataNode":    {"bj-e-admin01"},
			"has no disk \"data3\"":   {n.Name, "data3"},
			"accepts between 1 and 2": {},
		} {
			if out, err := command("break-disk", args...); err == nil || !strings.Contains(out, says) {
				t.Errorf("break-disk %v: %v: %s, want %q", args, err, out, says)
			}
		}
		out, err := command("mend-disk", n.Name)
		if err != nil || !strings.Contains(out, n.DataDirs[1]+" of "+n.Name+" is mended") || !strings.Contains(out, n.DataDirs[0]+" of "+n.Name+" was not broken") {
			t.Fatalf("mend-disk: %v: %s", err, out)
		}
		_, next, _ := strings.Cut(out, "take it back: ")
		if out, err := sh(t, c, next); err != nil {
			t.Fatalf("%s: %v: %s", next, err, out)
		}
		awaitVolFails(t, h, n, 0)
	})

	if out, err := sh(t, c, "alps dev break-disk --dir '"+c.Dir()+"' "+want[0]); err != nil {
		t.Errorf("break-disk: %v: %s", err, out)
	}
	dir := c.Dir()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("left after Close:\n%s", strings.Join(left, "\n"))
	}
}
