package admintest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/admin"
	"alps/checks/hdfs/cluster"
	"alps/checks/hdfs/jmx"
	"alps/mesh"
)

// TestExclude works with an exclude file, on one HDFS that each case leaves as
// it was.
func TestExclude(t *testing.T) {
	c := start(t, cluster.Options{})
	nn, dn := c.NameNodes()[0], c.DataNodes()[1]
	file, key := nn.HostFile(), dn.Key()
	a := adminOf(t, nn, admin.Options{})
	back := func(t *testing.T) {
		t.Helper()
		got, err := a.Recommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		if s := state(t, nn, key); s != jmx.InService {
			t.Fatalf("it is %s after it has come back", s)
		}
	}
	t.Run("five times", func(t *testing.T) {
		write(t, file, "# ours\nfar-away:1\n")
		before := backups(t, file)
		for i := range 5 {
			got, err := a.Decommission(t.Context(), key)
			got = want(t, got, err, mesh.VerdictOK, "")
			if _, refreshed := got.Evidence["command"]; refreshed != (i == 0) {
				t.Errorf("call %d refreshed: %v", i+1, refreshed)
			}
		}
		if s := state(t, nn, key); s != jmx.Decommissioning && s != jmx.Decommissioned {
			t.Errorf("it is %s", s)
		}
		if got := content(t, file); got != "# ours\nfar-away:1\n"+key+"\n" {
			t.Errorf("the file holds %q", got)
		}
		for range 5 {
			back(t)
		}
		if got := content(t, file); got != "# ours\nfar-away:1\n" {
			t.Errorf("the file holds %q", got)
		}
		if n := backups(t, file) - before; n != 2 {
			t.Errorf("the file was replaced %d times, want 2", n)
		}
	})
	t.Run("dry run", func(t *testing.T) {
		before := content(t, file)
		got, err := adminOf(t, nn, admin.Options{DryRun: true}).Decommission(t.Context(), key)
		got = want(t, got, err, mesh.VerdictOK, "dry run: nothing was changed")
		if !strings.HasSuffix(got.Evidence["diff"], "\n+ "+key) || !strings.Contains(got.Evidence["command"], "-fs hdfs://"+nn.IPC+" -refreshNodes") {
			t.Errorf("got %v", got.Evidence)
		}
		if s := state(t, nn, key); s != jmx.InService || content(t, file) != before {
			t.Errorf("it is %s, the file holds %q", s, content(t, file))
		}
	})
	t.Run("an excluded one by address", func(t *testing.T) {
		write(t, file, dn.Transfer+"\n")
		got, err := a.Decommission(t.Context(), key)
		got = want(t, got, err, mesh.VerdictOK, "")
		if got.Evidence["command"] == "" || content(t, file) != dn.Transfer+"\n" {
			t.Errorf("got %v; the file holds %q", got.Evidence, content(t, file))
		}
		back(t)
		if got := content(t, file); got != "" {
			t.Errorf("the file holds %q", got)
		}
	})
	t.Run("covered by another line", func(t *testing.T) {
		write(t, file, dn.Name+"\n") // all of them: they have one address.
		short := adminOf(t, nn, admin.Options{Settle: 2 * time.Second})
		got, err := short.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		got, err = short.Recommission(t.Context(), key)
		want(t, got, err, mesh.VerdictNo, "another line of its file may cover it")
		write(t, file, "")
		for _, n := range c.DataNodes() {
			got, err := a.Recommission(t.Context(), n.Key())
			want(t, got, err, mesh.VerdictOK, "")
		}
	})
	t.Run("a person saves it meanwhile", func(t *testing.T) {
		person := make(chan error, 1)
		go func() {
			for i := range 20 {
				text := []byte("dn7:1\n" + strings.Repeat("# ours\n", i))
				if err := os.WriteFile(file+".person", text, 0o600); err != nil {
					person <- err
					return
				}
				if err := os.Rename(file+".person", file); err != nil {
					person <- err
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
			person <- nil
		}()
		quick, done := adminOf(t, nn, admin.Options{Settle: 2 * time.Second}), false
		for range 20 { // a save right after ours takes ours away: it is given again.
			got, err := quick.Decommission(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if done = got.Verdict == mesh.VerdictOK && strings.Contains(content(t, file), key); done {
				break
			}
		}
		if err := <-person; err != nil {
			t.Fatal(err)
		}
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		if text := content(t, file); !done || strings.Count(text, key) != 1 || strings.Count(text, "# ours") != 19 {
			t.Errorf("the file holds %q", text)
		}
		back(t)
		write(t, file, "")
	})
	t.Run("nobody knows it", func(t *testing.T) {
		got, err := a.Decommission(t.Context(), "dn9:9866")
		want(t, got, err, mesh.VerdictNo, "has no DataNode dn9:9866 among its 4")
		if text := content(t, file); text != "" {
			t.Errorf("the file holds %q", text)
		}
	})
	t.Run("no file", func(t *testing.T) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictNo, "no such file")
		got, err = adminOf(t, nn, admin.Options{Create: true}).Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		back(t)
	})
	t.Run("maintenance is no case", func(t *testing.T) {
		got, err := a.Maintenance(t.Context(), key, time.Hour)
		want(t, got, err, mesh.VerdictSkip, "reads no JSON host file")
	})
	t.Run("by the scripts", func(t *testing.T) {
		write(t, file, "dn7:1\n")
		alps := filepath.Join(t.TempDir(), "alps")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", alps, "alps/cmd/alps").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, script := range []string{"hdfs-decommission", "hdfs-decommission", "hdfs-recommission"} {
			cmd := exec.CommandContext(t.Context(), "../../../../scripts/"+script+"/run")
			cmd.Env = []string{"ALPS=" + alps, "ALPS_FACT_DATANODE=" + key, "HADOOP_CONF_DIR=" + nn.ConfDir, "PATH=" + nn.BinDir + ":" + os.Getenv("PATH")}
			out, err := cmd.Output()
			answer, _ := mesh.ParseAnswer(out)
			if want(t, answer, err, mesh.VerdictOK, ""); len(answer.Evidence) == 0 {
				t.Errorf("got %s", out)
			}
			if got, want := strings.Contains(content(t, file), key), script == "hdfs-decommission"; got != want {
				t.Errorf("%s: the file holds %q", script, content(t, file))
			}
		}
		write(t, file, "")
	})
	t.Run("a name that does not resolve", func(t *testing.T) {
		unresolved(t, c, nn, dn)
	})
	t.Run("a NameNode that hangs", func(t *testing.T) {
		before := content(t, file)
		if err := nn.Freeze(); err != nil {
			t.Fatal(err)
		}
		got, err := a.Decommission(t.Context(), key)
		if err := nn.Thaw(); err != nil {
			t.Fatal(err)
		}
		want(t, got, err, mesh.VerdictWait, "did not answer in time")
		if text := content(t, file); text != before {
			t.Errorf("the file holds %q", text)
		}
		eventually(t, "in service", func() bool { return state(t, nn, key) == jmx.InService })
	})
}

// unresolved takes the name of a DataNode away from the NameNode, which then
// leaves its line out with no more than a warning.
func unresolved(t *testing.T, c *cluster.Cluster, nn, dn *cluster.Node) {
	t.Helper()
	hosts := c.Dir() + "/hosts"
	names := content(t, hosts)
	write(t, hosts, strings.ReplaceAll(names, dn.Name, "gone"))
	defer write(t, hosts, names)
	a := adminOf(t, nn, admin.Options{Settle: 2 * time.Second})
	// The JVM keeps a name for a second.
	var got mesh.Answer
	eventually(t, "forgotten", func() bool {
		var err error
		if got, err = a.Decommission(t.Context(), dn.Key()); err != nil {
			t.Fatal(err)
		}
		if got.Verdict != mesh.VerdictOK {
			return true
		}
		got, err = a.Recommission(t.Context(), dn.Key())
		want(t, got, err, mesh.VerdictOK, "")
		return false
	})
	want(t, got, nil, mesh.VerdictNo, "no effect: ")
	if got.Evidence["exit code"] != "0" || got.Evidence["undo"] == "" {
		t.Errorf("got %v", got.Evidence)
	}
	if text := content(t, nn.HostFile()); text != "" {
		t.Errorf("the file holds %q", text)
	}
}
