package admintest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/admin"
	"alps/checks/hdfs/cluster"
	"alps/checks/hdfs/jmx"
	"alps/mesh"
)

// TestJSON works with a JSON host file.
func TestJSON(t *testing.T) {
	c := start(t, cluster.Options{DataNodes: 3, JSONHosts: true})
	nn, dn := c.NameNodes()[0], c.DataNodes()[1]
	file, key := nn.HostFile(), dn.Key()
	a := adminOf(t, nn, admin.Options{})
	entries := func() []map[string]any {
		var out []map[string]any
		if err := json.Unmarshal([]byte(content(t, file)), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	alive := func(why string) {
		t.Helper()
		eventually(t, "all alive "+why, func() bool {
			info, err := jmx.New(jmx.Options{}).NameNodeInfo(t.Context(), nn.HTTP)
			return err == nil && len(info.Live) == 3
		})
	}
	before := content(t, file)
	t.Run("decommission", func(t *testing.T) {
		for range 5 {
			got, err := a.Decommission(t.Context(), key)
			want(t, got, err, mesh.VerdictOK, "")
		}
		if e := entries(); len(e) != 1 || e[0]["adminState"] != "DECOMMISSIONED" {
			t.Errorf("the file holds %v", e)
		}
		got, err := a.Maintenance(t.Context(), key, time.Hour)
		want(t, got, err, mesh.VerdictNo, "is to leave for good")
		for range 2 {
			got, err := a.Recommission(t.Context(), key)
			want(t, got, err, mesh.VerdictOK, "")
		}
		if got := content(t, file); got != before {
			t.Errorf("the file holds %q, want %q", got, before)
		}
		alive("after it came back")
	})
	t.Run("maintenance", func(t *testing.T) {
		for i := range 5 {
			got, err := a.Maintenance(t.Context(), key, time.Hour)
			got = want(t, got, err, mesh.VerdictOK, "")
			if _, refreshed := got.Evidence["command"]; refreshed != (i == 0) {
				t.Errorf("call %d refreshed: %v", i+1, refreshed)
			}
		}
		end, _ := entries()[0]["maintenanceExpireTimeInMS"].(float64)
		if left := time.Until(time.UnixMilli(int64(end))); left < 50*time.Minute || left > time.Hour {
			t.Errorf("it ends in %s", left)
		}
		eventually(t, "in maintenance", func() bool { return state(t, nn, key) == jmx.InMaintenance })
		got, err := a.Recommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		if s := state(t, nn, key); s != jmx.InService || content(t, file) != before {
			t.Errorf("it is %s, the file holds %q", s, content(t, file))
		}
	})
	t.Run("a whitelist stays one, and no other file becomes one", func(t *testing.T) {
		var words []string
		for _, n := range c.DataNodes() {
			name, port, _ := strings.Cut(n.Key(), ":")
			words = append(words, `{"hostName": "`+name+`", "port": `+port+`, "adminState": "NORMAL"}`)
		}
		list := "[\n " + strings.Join(words, ",\n ") + "\n]\n"
		write(t, file, list)
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		if got, want := content(t, file), strings.Replace(list, words[1], strings.Replace(words[1], "NORMAL", "DECOMMISSIONED", 1), 1); got != want {
			t.Errorf("the file holds %s", got)
		}
		got, err = a.Recommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		if got := content(t, file); got != list {
			t.Errorf("the file holds %s", got)
		}
		alive("in the whitelist")
		write(t, file, "["+words[1]+"]")
		got, err = a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictNo, "is the last one that is NORMAL")
		write(t, file, before)
	})
	t.Run("a name that is not known", func(t *testing.T) {
		write(t, file, `[{"hostName": "far-away", "adminState": "DECOMMISSIONED"}]`)
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		got, err = a.Recommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
	})
	t.Run("a key that is not known", func(t *testing.T) {
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictOK, "")
		// Hadoop takes the whole file for an empty list, and says that all is well.
		write(t, file, strings.Replace(content(t, file), `"dn2"`, `"dn2", "note": 1`, 1))
		refused := content(t, file)
		for _, do := range []func(context.Context, string) (mesh.Answer, error){a.Decommission, a.Recommission} {
			got, err = do(t.Context(), key)
			want(t, got, err, mesh.VerdictNo, `the key "note"`)
		}
		if s := state(t, nn, key); s == jmx.InService || content(t, file) != refused {
			t.Errorf("it is %s, the file holds %q", s, content(t, file))
		}
		if _, err := c.HDFS(t.Context(), "dfsadmin", "-refreshNodes"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "back in service, as Hadoop has it", func() bool { return state(t, nn, key) == jmx.InService })
		write(t, file, before)
	})
	t.Run("a broken file stays", func(t *testing.T) {
		write(t, file, `[{"hostName": "dn`)
		got, err := a.Decommission(t.Context(), key)
		want(t, got, err, mesh.VerdictNo, "ends too early")
		if got := content(t, file); got != `[{"hostName": "dn` {
			t.Errorf("the file holds %q", got)
		}
		write(t, file, before)
	})
	alive("in the end")
}

// TestHA works on both NameNodes, each with its own file, and with one away.
func TestHA(t *testing.T) {
	c := start(t, cluster.Options{DataNodes: 3, HA: true})
	key := c.DataNodes()[1].Key()
	both := c.NameNodes()
	for i, nn := range both {
		got, err := adminOf(t, nn, admin.Options{}).Decommission(t.Context(), key)
		got = want(t, got, err, mesh.VerdictOK, "")
		if !strings.HasSuffix(got.Evidence["command"], "-fs hdfs://"+nn.IPC+" -refreshNodes") || content(t, nn.HostFile()) != key+"\n" {
			t.Errorf("got %v; the file holds %q", got.Evidence, content(t, nn.HostFile()))
		}
		if other := both[1-i]; i == 0 && (content(t, other.HostFile()) != "" || state(t, other, key) != jmx.InService) {
			t.Errorf("the other NameNode has it %s, its file holds %q", state(t, other, key), content(t, other.HostFile()))
		}
	}
	down := both[1]
	down.Stop()
	got, err := adminOf(t, down, admin.Options{}).Recommission(t.Context(), key)
	want(t, got, err, mesh.VerdictWait, "connection refused")
	if text := content(t, down.HostFile()); text != key+"\n" {
		t.Errorf("the file of the one that is away holds %q", text)
	}
	got, err = adminOf(t, both[0], admin.Options{}).Recommission(t.Context(), key)
	want(t, got, err, mesh.VerdictOK, "")
	if err := down.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "back on the other one", func() bool {
		got, err := adminOf(t, down, admin.Options{}).Recommission(t.Context(), key)
		return err == nil && got.Verdict == mesh.VerdictOK
	})
	if s := state(t, down, key); s != jmx.InService && s != "" || content(t, down.HostFile()) != "" {
		t.Errorf("it is %s, the file holds %q", s, content(t, down.HostFile()))
	}
}
