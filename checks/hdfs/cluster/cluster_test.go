package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/mesh"
)

func TestLoopback(t *testing.T) {
	starts(t)
	began := time.Now()
	c := ForTest(t, Options{})
	t.Logf("live after %.1f s; MiB %s", time.Since(began).Seconds(), memory(t, c))
	ctx := t.Context()

	digest, err := c.Put(ctx, "/a/file", 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	files, err := c.Put(ctx, "/files/", 6, 2)
	if err != nil {
		t.Fatal(err)
	}
	same := func(t *testing.T) {
		t.Helper()
		for name, want := range map[string]string{"/a/file": digest, "/files/": files} {
			if got, err := c.Checksum(ctx, name); err != nil || got != want {
				t.Errorf("Checksum(%s) = %q, %v, want %q", name, got, err, want)
			}
		}
	}

	t.Run("the names are those of the nodes", func(t *testing.T) {
		live, err := c.Live(ctx, c.NameNodes()[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range c.DataNodes() {
			if got, ok := live[n.Key()]; !ok || got.XferAddr != n.Transfer || got.AdminState != "In Service" {
				t.Errorf("%s is %+v (there: %v), want it in service at %s", n.Key(), got, ok, n.Transfer)
			}
		}
		if s, err := c.State(ctx, c.NameNodes()[0]); err != nil || s.BlocksTotal != 10 {
			t.Errorf("State = %+v, %v, want 10 blocks", s, err)
		}
	})

	t.Run("a read-only disk fails at a write and comes back with a restart", func(t *testing.T) {
		mustRoot(t)
		n := c.DataNodes()[1]
		mend, err := ReadOnly(n.DataDirs[0])
		if err != nil {
			t.Fatal(err)
		}
		// As many replicas as nodes, and twice as many blocks as disks: one is
		// placed there.
		if _, err := c.Put(ctx, "/onto", 8, 4); err != nil {
			t.Fatal(err)
		}
		volFails(t, c, n, 1)
		for range 2 {
			if err := mend(); err != nil {
				t.Fatal(err)
			}
		}
		n.Stop()
		if n.Running() {
			t.Error("it runs after Stop")
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		volFails(t, c, n, 0)
		same(t)
	})

	t.Run("a spoilt disk is noticed by itself", func(t *testing.T) {
		n := c.DataNodes()[2]
		mend, err := SpoilCurrent(n.DataDirs[1])
		if err != nil {
			t.Fatal(err)
		}
		volFails(t, c, n, 1)
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.HDFS(ctx, "dfsadmin", "-reconfig", "datanode", n.IPC, "start"); err != nil {
			t.Fatal(err)
		}
		volFails(t, c, n, 0)
		same(t)
	})

	t.Run("an exclude line takes one node", func(t *testing.T) {
		nn, n := c.NameNodes()[0], c.DataNodes()[3]
		if err := os.WriteFile(nn.HostFile(), []byte(n.Key()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.HDFS(ctx, "dfsadmin", "-refreshNodes"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "one is decommissioned", func() error {
			live, err := c.Live(ctx, nn)
			if err == nil && live[n.Key()].AdminState != "Decommissioned" {
				err = fmt.Errorf("%+v", live)
			}
			return err
		})
		same(t)
	})

	t.Run("a command that fails says why", func(t *testing.T) {
		out, err := c.HDFS(ctx, "dfs", "-cat", "/nothing")
		if err == nil || !strings.Contains(err.Error(), "No such file") || len(out) > 0 {
			t.Errorf("HDFS = %q, %v, want that there is no such file", out, err)
		}
		if _, err := c.HDFS(ctx, "format-the-disk"); err == nil || !strings.Contains(err.Error(), "usage: hdfs") {
			t.Errorf("HDFS = %v, want the usage", err)
		}
		if _, err := c.JMX(ctx, c.NameNodes()[0], "NoSuchBean"); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("JMX = %v, want not_found", err)
		}
	})

	dir := c.Dir()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("left after Close: %v", left)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory after Close: %v", err)
	}
}

func TestNamespaces(t *testing.T) {
	starts(t)
	mustRoot(t)
	began := time.Now()
	c := ForTest(t, Options{Layout: Namespaces, Racks: []string{"/r1", "/r1", "/r2", "/r2"}, JSONHosts: true})
	t.Logf("live after %.1f s; MiB %s", time.Since(began).Seconds(), memory(t, c))
	ctx, nn := t.Context(), c.NameNodes()[0]
	live, err := c.Live(ctx, nn)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.DataNodes() {
		if got, want := live[n.Key()], c.o.Racks[i]; got.XferAddr != n.Transfer || got.Location != want || n.Key() != n.Name+":9866" {
			t.Errorf("%s is %+v, want it at %s in %s", n.Key(), got, n.Transfer, want)
		}
	}
	// A mount that is made outside is seen by a DataNode in its namespace.
	n := c.DataNodes()[0]
	if _, err := EmptyReadOnly(n.DataDirs[1]); err != nil {
		t.Fatal(err)
	}
	volFails(t, c, n, 1)

	// A bare name is one node, and the JSON file knows maintenance.
	entry := fmt.Sprintf(`[{"hostName": %q, "adminState": "IN_MAINTENANCE", "maintenanceExpireTimeInMS": %d}]`,
		c.DataNodes()[1].Name, time.Now().Add(time.Hour).UnixMilli())
	if err := os.WriteFile(nn.HostFile(), []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.HDFS(ctx, "dfsadmin", "-refreshNodes"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is in maintenance", func() error {
		live, err := c.Live(ctx, nn)
		var in []string
		for key, n := range live {
			if n.AdminState == "In Maintenance" {
				in = append(in, key)
			}
		}
		if want := []string{c.DataNodes()[1].Key()}; err == nil && !slices.Equal(in, want) {
			err = fmt.Errorf("in maintenance: %v, want %v", in, want)
		}
		return err
	})

	// A frozen DataNode dies for the NameNode, and lives again.
	frozen := c.DataNodes()[2]
	if err := frozen.Freeze(); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.AwaitLive(wait, 3); err != nil {
		t.Fatal(err)
	}
	if err := frozen.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitLive(wait, 4); err != nil {
		t.Fatal(err)
	}

	dir := c.Dir()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("left after Close: %v", left)
	}
}

func TestHA(t *testing.T) {
	starts(t)
	began := time.Now()
	c := ForTest(t, Options{HA: true, DataNodes: 3})
	t.Logf("live after %.1f s; MiB %s", time.Since(began).Seconds(), memory(t, c))
	ctx := t.Context()
	one, two := c.NameNodes()[0], c.NameNodes()[1]
	digest, err := c.Put(ctx, "/file", 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	active := func(want *Node) {
		t.Helper()
		if got, err := c.Active(ctx); err != nil || got != want {
			t.Fatalf("Active = %+v, %v, want %s", got, err, want.Name)
		}
		if got, err := c.Checksum(ctx, "/file"); err != nil || got != digest {
			t.Errorf("Checksum = %q, %v, want %q", got, err, digest)
		}
	}
	active(one)
	began = time.Now()
	if err := c.Failover(ctx, two); err != nil {
		t.Fatal(err)
	}
	t.Logf("failover in %.1f s", time.Since(began).Seconds())
	active(two)
	two.Kill()
	if err := c.Failover(ctx, one); err != nil {
		t.Fatal(err)
	}
	active(one)
	if err := two.Start(); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.AwaitLive(wait, 3); err != nil {
		t.Fatal(err)
	}
	active(one)
}

// TestSweepAfterTheStarterWasKilled leaves an HDFS with a network and a broken
// disk behind; the next start in its directory is as good as the first.
func TestSweepAfterTheStarterWasKilled(t *testing.T) {
	starts(t)
	mustRoot(t)
	Require(t)
	dir := filepath.Join(t.TempDir(), "hdfs")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starter := exec.CommandContext(context.WithoutCancel(t.Context()), exe)
	starter.Env = append(os.Environ(), starterEnv+"="+dir)
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the starter said %q", lines.Text())
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("Start beside a living starter = %v, want a conflict", err)
	}
	_ = starter.Process.Kill()
	_ = starter.Wait() // says that it was killed.
	// Two daemons, a bridge, a cable, a namespace and a disk.
	if left := leftIn(t, dir); len(left) != 6 {
		t.Errorf("the killed starter left %v, want six things", left)
	}
	c := ForTest(t, Options{Dir: dir, DataNodes: 1, Replication: 1})
	for _, n := range c.DataNodes() {
		for _, d := range n.DataDirs {
			if broken, err := Broken(d); err != nil || broken {
				t.Errorf("Broken(%s) = %v, %v", d, broken, err)
			}
		}
	}
	if links := linksOf(dir); len(links) > 0 {
		t.Errorf("links of the killed run: %v", links)
	}
	if left := leftIn(t, dir); len(left) != 2 {
		t.Errorf("beside the new daemons there are %v, want two", left)
	}
}
