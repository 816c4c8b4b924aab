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
	"alps/mesh"
)

// TestVolumes takes a disk that became read-only out of a DataNode with three,
// and puts it back when it is whole.
func TestVolumes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a disk read-only")
	}
	c := start(t, cluster.Options{DataNodes: 3, DataDirs: 3})
	dn := c.DataNodes()[1]
	bad, site := dn.DataDirs[1], filepath.Join(dn.ConfDir, "hdfs-site.xml")
	before := content(t, site)
	a := adminOf(t, dn, admin.Options{})
	all := slices.Sorted(slices.Values(dn.DataDirs))
	others := slices.DeleteFunc(slices.Clone(all), func(d string) bool { return d == bad })

	t.Run("a healthy one stays", func(t *testing.T) {
		got, err := a.DropVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictNo, "is in service: its replicas would be forgotten")
		got, err = a.DropVolumes(t.Context(), "/nowhere")
		want(t, got, err, mesh.VerdictNo, "is not among the failed directories of the DataNode: none")
		got, err = a.AddVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictOK, "")
		if content(t, site) != before || !slices.Equal(serving(t, dn), all) {
			t.Errorf("the DataNode works with %q", serving(t, dn))
		}
	})
	mend := breakDisk(t, c, dn, bad)
	t.Run("dry run", func(t *testing.T) {
		got, err := adminOf(t, dn, admin.Options{DryRun: true}).DropVolumes(t.Context(), bad)
		got = want(t, got, err, mesh.VerdictOK, "dry run: nothing was changed")
		if content(t, site) != before || !strings.Contains(got.Evidence["command"], "-reconfig datanode "+dn.IPC+" start") {
			t.Errorf("got %v", got.Evidence)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		for i := range 3 {
			got, err := a.DropVolumes(t.Context(), bad)
			got = want(t, got, err, mesh.VerdictOK, "")
			if _, told := got.Evidence["command"]; told != (i == 0) {
				t.Errorf("call %d told the DataNode: %v", i+1, told)
			}
			a = adminOf(t, dn, admin.Options{})
		}
		if got := serving(t, dn); !slices.Equal(got, others) || strings.Contains(content(t, site), bad) {
			t.Errorf("the DataNode works with %q", got)
		}
		if d := dataset(t, dn); d.NumFailedVolumes != 0 {
			t.Errorf("%d are failed", d.NumFailedVolumes)
		}
	})
	t.Run("not back while it is broken", func(t *testing.T) {
		got, err := a.AddVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictNo, "the DataNode refused the change")
		if strings.Contains(content(t, site), bad) || dataset(t, dn).NumFailedVolumes != 0 {
			t.Errorf("%d are failed, in %s", dataset(t, dn).NumFailedVolumes, content(t, site))
		}
	})
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	t.Run("back", func(t *testing.T) {
		for range 2 {
			got, err := a.AddVolumes(t.Context(), bad)
			want(t, got, err, mesh.VerdictOK, "")
			a = adminOf(t, dn, admin.Options{})
		}
		if content(t, site) != before || !slices.Equal(serving(t, dn), all) {
			t.Errorf("the DataNode works with %q, and has %s", serving(t, dn), content(t, site))
		}
	})
	t.Run("failed and mended without a drop", func(t *testing.T) {
		mend := breakDisk(t, c, dn, bad)
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		got, err := a.AddVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictOK, "")
	})
	t.Run("started with it", func(t *testing.T) {
		mend, err := cluster.ReadOnly(bad)
		if err != nil {
			t.Fatal(err)
		}
		dn.Stop()
		if err := dn.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "up again, without it", func() bool {
			d, err := jmx.New(jmx.Options{}).Dataset(t.Context(), dn.HTTP)
			return err == nil && d.NumFailedVolumes == 1 && slices.Equal(serving(t, dn), others)
		})
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		got, err := a.AddVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictOK, "")
		if content(t, site) != before || !slices.Equal(serving(t, dn), all) {
			t.Errorf("the DataNode works with %q, and has %s", serving(t, dn), content(t, site))
		}
	})
	t.Run("more tolerated than left", func(t *testing.T) {
		mend := breakDisk(t, c, dn, bad)
		write(t, site, strings.Replace(content(t, site), "<name>dfs.datanode.failed.volumes.tolerated</name><value>1<", "<name>dfs.datanode.failed.volumes.tolerated</name><value>2<", 1))
		got, err := adminOf(t, dn, admin.Options{}).DropVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictNo, "the DataNode would not start again")
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		// That is true.
		write(t, site, strings.Replace(content(t, site), ",[DISK]file://"+bad, "", 1))
		dn.Stop()
		if err := dn.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-dn.Done():
		case <-time.After(time.Minute):
			t.Error("the DataNode has started")
		}
		write(t, site, before)
	})
	t.Run("it does not run", func(t *testing.T) {
		got, err := a.DropVolumes(t.Context(), bad)
		want(t, got, err, mesh.VerdictWait, "connection refused")
	})
}

// breakDisk makes a directory read-only and has HDFS write until the DataNode
// has noticed.
func breakDisk(t *testing.T, c *cluster.Cluster, dn *cluster.Node, dir string) (mend func() error) {
	t.Helper()
	mend, err := cluster.ReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticed", func() bool {
		_, err := c.Put(t.Context(), "/probe", 6, 3)
		return err == nil && dataset(t, dn).NumFailedVolumes == 1
	})
	return mend
}

func dataset(t testing.TB, dn *cluster.Node) *jmx.Dataset {
	t.Helper()
	d, err := jmx.New(jmx.Options{}).Dataset(t.Context(), dn.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
