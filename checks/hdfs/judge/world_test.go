package judge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/jmxtest"
	"alps/checks/hdfs/volume"
	"alps/checks/hdfs/volumetest"
	"alps/checks/hdfs/webhdfs"
	"alps/checks/hdfs/webhdfstest"
	"alps/mesh"
)

func TestMain(m *testing.M) { volumetest.Main(m) }

// world is a node with the DataNode dn1 of four, and a pair of NameNodes whose
// first is this node's and active. Nothing is wrong in it.
type world struct {
	t        *testing.T
	nn, nn2  *jmxtest.Server
	dn       *jmxtest.Server
	conf     string
	dirs     []string
	settings map[string]string
	files    *webhdfstest.Files
	user     string        // in whose name files are written.
	patience time.Duration // with a single write.
	notice   time.Duration // for the DataNode to notice.
	kmsg     string        // what the kernel has logged.
	memory   string
}

const key = "dn1:29861"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, nn: jmxtest.New(t, jmxtest.NameNode), nn2: jmxtest.New(t, jmxtest.NameNode), dn: jmxtest.New(t, jmxtest.DataNode),
		conf: t.TempDir(), settings: make(map[string]string), files: webhdfstest.New("127.0.0.1:8020"), user: webhdfstest.Owner, patience: time.Minute, notice: time.Millisecond, memory: filepath.Join(t.TempDir(), "memory"),
	}
	base := t.TempDir()
	for _, name := range []string{"d1", "d2"} {
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Join(dir, "current"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.write(filepath.Join(dir, "current", "VERSION"), "#x\ndatanodeUuid=uuid-of-the-file\nstorageType=DATA_NODE\n")
		w.dirs = append(w.dirs, dir)
	}
	w.volumes(w.dirs...)
	w.nn2.Set("NameNodeStatus", "State", "standby")
	w.dn.Serve("/webhdfs/", w.files.DataNode)
	w.nn.Serve("/webhdfs/", w.files.NameNode)
	w.nn2.Serve("/webhdfs/", webhdfstest.Standby)
	w.both(func(s *jmxtest.Server) {
		s.Patch("LiveNodes", "dn4:29864", map[string]any{
			"xferaddr": "127.0.0.1:29864", "location": "/default-rack", "adminState": "In Service", "numBlocks": 8, "remaining": 100_000_000_000,
		})
		s.Set("FSNamesystemState", "BlocksTotal", 1000)
	})
	w.set("dfs.datanode.data.dir", strings.Join(w.dirs, ","))
	w.set("dfs.datanode.address", "127.0.0.1:29861")
	w.set("dfs.datanode.http.address", w.dn.Addr())
	w.set("dfs.datanode.failed.volumes.tolerated", "1")
	w.set("dfs.nameservices", "ns1")
	w.set("dfs.ha.namenodes.ns1", "nn1,nn2")
	w.set("dfs.ha.namenode.id", "nn1")
	w.set("dfs.namenode.rpc-address.ns1.nn1", "127.0.0.1:8020")
	w.set("dfs.namenode.rpc-address.ns1.nn2", "127.0.0.1:8021")
	w.set("dfs.namenode.http-address.ns1.nn1", w.nn.Addr())
	w.set("dfs.namenode.http-address.ns1.nn2", w.nn2.Addr())
	return w
}

func (w *world) write(file, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) set(name, value string) {
	w.settings[name] = value
	var b strings.Builder
	b.WriteString("<configuration>\n")
	for k, v := range w.settings {
		fmt.Fprintf(&b, "<property><name>%s</name><value>%s</value></property>\n", k, v)
	}
	w.write(filepath.Join(w.conf, "hdfs-site.xml"), b.String()+"</configuration>\n")
}

// both does the same to both NameNodes, which know the same DataNodes.
func (w *world) both(do func(*jmxtest.Server)) {
	do(w.nn)
	do(w.nn2)
}

// node changes what both NameNodes say of a live DataNode.
func (w *world) node(key string, changes map[string]any) {
	w.both(func(s *jmxtest.Server) { s.Patch("LiveNodes", key, changes) })
}

// die makes a DataNode dead for both NameNodes.
func (w *world) die(key, state string) {
	_, port, _ := strings.Cut(key, ":")
	w.node(key, nil)
	w.both(func(s *jmxtest.Server) {
		s.Patch("DeadNodes", key, map[string]any{"xferaddr": "127.0.0.1:" + port, "adminState": state, "location": "/default-rack"})
	})
}

// volumes are those that the DataNode has in service.
func (w *world) volumes(dirs ...string) {
	in := make(map[string]any)
	for _, d := range dirs {
		in[d] = map[string]any{"numBlocks": 4}
	}
	w.dn.Text("DataNodeInfo", "VolumeInfo", in)
}

// breakDisk makes a directory fail for the system.
func (w *world) breakDisk(at int) {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dirs[at], "current")); err != nil {
		w.t.Fatal(err)
	}
}

// gaveUp makes the DataNode say that it has given the directories up, and the
// NameNodes that they have heard of it.
func (w *world) gaveUp(at ...int) {
	var in, out []string
	for i, d := range w.dirs {
		in = append(in, d)
		for _, a := range at {
			if a == i {
				in, out = in[:len(in)-1], append(out, "[DISK]file:"+d)
			}
		}
	}
	w.volumes(in...)
	w.dn.Set("FSDatasetState-", "NumFailedVolumes", len(out))
	w.dn.Set("FSDatasetState-", "FailedStorageLocations", out)
	w.node(key, map[string]any{"volfails": len(out)})
}

// ask asks one judge.
func (w *world) ask(name string, args ...string) mesh.Answer {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	root := w.t.TempDir()
	w.write(filepath.Join(root, "proc/self/mountinfo"), "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
	w.write(filepath.Join(root, "dev/kmsg"), w.kmsg)
	if err := os.MkdirAll(filepath.Join(root, "sys/dev/block"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink("../../block/sda/sda1", filepath.Join(root, "sys/dev/block/8:1")); err != nil {
		w.t.Fatal(err)
	}
	v, err := volume.New(volume.Options{Root: root, Child: []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", exe, volumetest.Arg}})
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := checks.NewSet([]checks.Pack{{Name: "hdfs", Judges: All(Options{
		Conf: w.conf, JMX: jmx.New(jmx.Options{Timeout: time.Minute}), Volumes: v, Pause: time.Millisecond, Memory: w.memory,
		WebHDFS: webhdfs.New(webhdfs.Options{User: w.user, Timeout: w.patience}), Notice: w.notice,
	})}})
	if err != nil {
		w.t.Fatal(err)
	}
	given := make(map[string]string)
	for _, a := range args {
		k, value, _ := strings.Cut(a, "=")
		given[k] = value
	}
	return set.Ask(w.t.Context(), "hdfs."+name, checks.NewArgs(given, nil))
}

// expect holds an answer against a verdict and a part of its reason.
func expect(t *testing.T, got mesh.Answer, want mesh.Verdict, reason string) {
	t.Helper()
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s: %s\nwant %s with %q", got.Verdict, got.Reason, want, reason)
	}
}

// age has what the judges remember be that old.
func (w *world) age(d time.Duration) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.memory, "*.json"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("they remember %q, %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			w.t.Fatal(err)
		}
		m["since"] = time.Now().Add(-d)
		if b, err = json.Marshal(m); err == nil {
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// reach has the NameNodes say where the DataNode answers.
func (w *world) reach() {
	w.both(func(s *jmxtest.Server) { s.Patch("LiveNodes", key, map[string]any{"infoAddr": w.dn.Addr()}) })
}
