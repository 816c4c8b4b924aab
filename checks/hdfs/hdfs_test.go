package hdfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/checks"
	"alps/checks/checktest"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/jmxtest"
	"alps/checks/hdfs/volumetest"
	"alps/mesh"
)

func TestMain(m *testing.M) { volumetest.Main(m) }

// world is a node that is the NameNode and a DataNode with two volumes.
type world struct {
	t        *testing.T
	nn, dn   *jmxtest.Server
	conf     string
	dirs     []string
	settings map[string]string // of its hdfs-site.xml.
	timeout  time.Duration
	mounts   string            // lines of its mount table beside /.
	devices  map[string]string // of its kernel, by major:minor.
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, nn: jmxtest.New(t, jmxtest.NameNode), dn: jmxtest.New(t, jmxtest.DataNode), conf: t.TempDir(), timeout: time.Minute,
		settings: make(map[string]string),
	}
	base := t.TempDir()
	volumes := make(map[string]any)
	for _, name := range []string{"d1", "d2"} {
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Join(dir, "current"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.dirs = append(w.dirs, dir)
		volumes[dir] = map[string]any{"numBlocks": 4}
	}
	w.dn.Text("DataNodeInfo", "VolumeInfo", volumes)
	w.nn.Set("FSNamesystem", "LastCheckpointTime", time.Now().UnixMilli())
	w.nn.Set("FSNamesystem", "CorruptBlocks", 0)
	w.set("dfs.datanode.data.dir", strings.Join(w.dirs, ","))
	w.set("dfs.datanode.http.address", w.dn.Addr())
	w.set("dfs.datanode.failed.volumes.tolerated", "1")
	w.set("dfs.namenode.rpc-address", "127.0.0.1:8020")
	w.set("dfs.namenode.http-address", w.nn.Addr())
	return w
}

// set changes the configuration.
func (w *world) set(name, value string) {
	w.t.Helper()
	w.settings[name] = value
	var b strings.Builder
	b.WriteString("<configuration>\n")
	for k, v := range w.settings {
		fmt.Fprintf(&b, "<property><name>%s</name><value>%s</value></property>\n", k, v)
	}
	b.WriteString("</configuration>\n")
	if err := os.WriteFile(filepath.Join(w.conf, "hdfs-site.xml"), []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pack() checks.Pack {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	// A machine of its own: what the kernel here says of its disks is not
	// what is tested.
	root := w.t.TempDir()
	mounts := "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n" + w.mounts
	for _, dir := range []string{"proc/self", "sys/dev/block"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	for id, name := range w.devices {
		if err := os.Symlink("../../devices/block/"+name, filepath.Join(root, "sys/dev/block", id)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), []byte(mounts), 0o600); err != nil {
		w.t.Fatal(err)
	}
	p, err := New(Options{
		Conf: w.conf, Root: root, JMX: jmx.Options{Timeout: w.timeout},
		Child: []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", exe, volumetest.Arg},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// outcome is what a test looks at.
type outcome struct {
	Status mesh.Health
	Output string
}

func (w *world) result(probe string, settings map[string]string) checks.Result {
	w.t.Helper()
	set, err := checks.NewSet([]checks.Pack{w.pack()})
	if err != nil {
		w.t.Fatal(err)
	}
	return set.Run(w.t.Context(), "hdfs."+probe, settings)
}

func (w *world) run(probe string, settings map[string]string) outcome {
	w.t.Helper()
	r := w.result(probe, settings)
	out := strings.NewReplacer(w.nn.Addr(), "NN", w.dn.Addr(), "DN", w.dirs[0], "D1", w.dirs[1], "D2", w.conf, "CONF").Replace(r.Output)
	return outcome{r.Status, out}
}

func TestConformance(t *testing.T) {
	slow := newWorld(t)
	slow.nn.Hang()
	slow.dn.Hang()
	slow.timeout = time.Hour
	hanging := slow.pack()
	checktest.Run(t, newWorld(t).pack(), checktest.Options{Slow: &hanging, Waits: []string{"datanode", "namenode", "ha", "blocks", "datanodes", "capacity"}})
}

func TestProbes(t *testing.T) {
	passing, warning, critical, unknown := mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown
	for name, tc := range map[string]struct {
		probe    string
		change   func(w *world)
		settings map[string]string
		want     outcome
	}{
		"volumes work":            {"volumes", nil, nil, outcome{passing, "2 volumes work"}},
		"a volume is gone":        {"volumes", func(w *world) { w.remove(w.dirs[1]) }, nil, outcome{critical, "D2: the directory: no such file or directory"}},
		"a volume without blocks": {"volumes", func(w *world) { w.remove(filepath.Join(w.dirs[0], "current")) }, nil, outcome{critical, `D1: its part "current": no such file or directory`}},
		"on the disk of the root": {"volumes", nil, map[string]string{"mounts": "own"}, outcome{critical, "D1: it is on the file system of /: its disk is not mounted\nD2: it is on the file system of /: its disk is not mounted"}},
		"no volumes at all":       {"volumes", func(w *world) { w.set("dfs.datanode.data.dir", "") }, nil, outcome{unknown, "CONF has no dfs.datanode.data.dir"}},
		"no DataNode is needed":   {"volumes", func(w *world) { w.dn.Close() }, nil, outcome{passing, "2 volumes work"}},
		"no configuration":        {"volumes", nil, map[string]string{"conf": "/no/such"}, outcome{unknown, "read the configuration of Hadoop: there is no /no/such/hdfs-site.xml"}},

		"a DataNode":             {"datanode", nil, nil, outcome{passing, "the DataNode runs with 2 volumes"}},
		"a DataNode is down":     {"datanode", func(w *world) { w.dn.Close() }, nil, outcome{critical, "the DataNode does not answer: ask DN for its JMX: connection refused"}},
		"it wants a login":       {"datanode", func(w *world) { w.dn.Answer(status(401)) }, nil, outcome{unknown, "ask DN for its JMX: it answers 401: let /jmx be read without a login (hadoop.http.authentication.kerberos.endpoint.whitelist)"}},
		"a failed volume":        {"datanode", func(w *world) { w.failed(1) }, nil, outcome{warning, "the DataNode has given up volumes: D2\nconfigured, but not in service: D2"}},
		"more than is tolerated": {"datanode", func(w *world) { w.set("dfs.datanode.failed.volumes.tolerated", "0"); w.failed(1) }, nil, outcome{critical, "the DataNode has given up volumes: D2\nconfigured, but not in service: D2"}},
		"all but one may":        {"datanode", func(w *world) { w.set("dfs.datanode.failed.volumes.tolerated", "-1"); w.failed(1) }, nil, outcome{warning, "the DataNode has given up volumes: D2\nconfigured, but not in service: D2"}},
		"one more than we know":  {"datanode", func(w *world) { w.set("dfs.datanode.data.dir", w.dirs[0]) }, nil, outcome{warning, "in service, but not configured: D2"}},
		"an old heartbeat":       {"datanode", func(w *world) { w.actors("active 45") }, nil, outcome{warning, "the last heartbeat to nn1:8020 is older than 30 s"}},
		"cut off":                {"datanode", func(w *world) { w.actors("active 200") }, nil, outcome{critical, "the last heartbeat to nn1:8020 is older than 120 s"}},
		"a standby is away":      {"datanode", func(w *world) { w.actors("active 1", "standby 200") }, nil, outcome{warning, "the last heartbeat to nn2:8020 is older than 30 s"}},
		"not connected":          {"datanode", func(w *world) { w.actors("CONNECTING 0") }, nil, outcome{warning, "it does not serve the NameNode nn1:8020"}},
		"one NameNode too few":   {"datanode", func(w *world) { w.actors() }, nil, outcome{warning, "it serves 0 of 1 NameNodes"}},

		"a NameNode":    {"namenode", nil, nil, outcome{passing, "the NameNode runs and is active"}},
		"safe mode":     {"namenode", func(w *world) { w.nn.Set("NameNodeInfo", "Safemode", "Safe mode is ON.") }, nil, outcome{critical, "the NameNode is in safe mode"}},
		"a standby's":   {"namenode", func(w *world) { w.nn.Set("NameNodeInfo", "Safemode", "on"); w.standby() }, nil, outcome{warning, "the NameNode is in safe mode"}},
		"a full heap":   {"namenode", func(w *world) { w.nn.Set("JvmMetrics", "MemHeapUsedM", 92) }, nil, outcome{critical, "its heap is nearly full"}},
		"a fuller heap": {"namenode", func(w *world) { w.nn.Set("JvmMetrics", "MemHeapUsedM", 80) }, nil, outcome{warning, "its heap is nearly full"}},
		"a queue":       {"namenode", func(w *world) { w.nn.Set("RpcActivityForPort", "RpcQueueTimeAvgTime", 3500) }, nil, outcome{warning, "calls wait long for it at port 8020"}},
		"an old checkpoint": {"namenode", func(w *world) {
			w.nn.Set("FSNamesystem", "LastCheckpointTime", time.Now().Add(-3*time.Hour).UnixMilli())
		}, nil, outcome{warning, "its last checkpoint is too old"}},
		"a very old one": {"namenode", func(w *world) {
			w.nn.Set("FSNamesystem", "LastCheckpointTime", time.Now().Add(-5*time.Hour).UnixMilli())
		}, nil, outcome{critical, "its last checkpoint is too old"}},
		"a rarer one": {"namenode", func(w *world) {
			w.set("dfs.namenode.checkpoint.period", "1d")
			w.nn.Set("FSNamesystem", "LastCheckpointTime", time.Now().Add(-5*time.Hour).UnixMilli())
		}, nil, outcome{passing, "the NameNode runs and is active"}},
		"many transactions":    {"namenode", func(w *world) { w.nn.Set("FSNamesystem", "TransactionsSinceLastCheckpoint", 2_500_000) }, nil, outcome{warning, "its last checkpoint is too old"}},
		"a failed name dir":    {"namenode", func(w *world) { w.nn.Set("NameNodeInfo", "NameDirStatuses", `{"active":{},"failed":{"/n1":"IMAGE"}}`) }, nil, outcome{critical, "it has given up directories of its own: /n1"}},
		"a NameNode is down":   {"namenode", func(w *world) { w.nn.Close() }, nil, outcome{critical, "the NameNode does not answer: ask NN for its JMX: connection refused"}},
		"half of an answer":    {"namenode", func(w *world) { w.nn.Set("NameNodeInfo", "LiveNodes", "{") }, nil, outcome{critical, "the NameNode does not answer: ask NN for its JMX: its NameNodeInfo makes no sense: LiveNodes: unexpected end of JSON input"}},
		"not a NameNode here":  {"namenode", func(w *world) { w.set("dfs.namenode.rpc-address", "192.0.2.1:8020") }, nil, outcome{unknown, "this node is none of the NameNodes of CONF"}},
		"only by TLS":          {"namenode", func(w *world) { w.set("dfs.http.policy", "HTTPS_ONLY") }, nil, outcome{unknown, `dfs.http.policy of CONF: want HTTP_AND_HTTPS or HTTP_ONLY: JMX is read by HTTP, got "HTTPS_ONLY"`}},
		"a period of nonsense": {"namenode", func(w *world) { w.set("dfs.namenode.checkpoint.period", "soon") }, nil, outcome{unknown, `dfs.namenode.checkpoint.period of CONF: want seconds, got "soon"`}},

		"one leads":          {"ha", nil, nil, outcome{passing, "one of 1 NameNode is active"}},
		"nobody leads":       {"ha", func(w *world) { w.standby() }, nil, outcome{critical, "find the active NameNode: there is none: 127.0.0.1:8020 is standby"}},
		"a standby is alone": {"ha", func(w *world) { w.pair("127.0.0.1:1") }, nil, outcome{warning, "the NameNode nn2: ask 127.0.0.1:1 for its JMX: connection refused"}},
		"both lead":          {"ha", func(w *world) { w.pair(w.nn.Addr()) }, nil, outcome{critical, "find the active NameNode: there is more than one: nn1 is active; nn2 is active"}},

		"blocks":                {"blocks", nil, nil, outcome{passing, "no block is missing or corrupt"}},
		"a missing block":       {"blocks", func(w *world) { w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 1) }, nil, outcome{critical, "blocks are missing: no copy of them is left"}},
		"one of a single copy":  {"blocks", func(w *world) { w.nn.Set("NameNodeInfo", "NumberOfMissingBlocksWithReplicationFactorOne", 1) }, nil, outcome{critical, "blocks are missing that had one copy only"}},
		"a corrupt block":       {"blocks", func(w *world) { w.nn.Set("FSNamesystem", "CorruptBlocks", 1) }, nil, outcome{critical, "blocks have corrupt copies"}},
		"too few copies":        {"blocks", func(w *world) { w.blocks(1000, 20) }, nil, outcome{warning, "too many blocks have too few copies"}},
		"far too few copies":    {"blocks", func(w *world) { w.blocks(1000, 200) }, nil, outcome{critical, "too many blocks have too few copies"}},
		"a few have too few":    {"blocks", func(w *world) { w.blocks(1000, 5) }, nil, outcome{passing, "no block is missing or corrupt"}},
		"a standby counts none": {"blocks", func(w *world) { w.standby(); w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 9) }, nil, outcome{passing, "this NameNode is standby: the active one counts"}},
		"a NameNode is away":    {"blocks", func(w *world) { w.nn.Close() }, nil, outcome{unknown, "ask NN for its JMX: connection refused"}},

		"DataNodes": {"datanodes", nil, nil, outcome{passing, "the DataNodes are there"}},
		"one leaves": {"datanodes", func(w *world) {
			w.nn.Load(jmxtest.NameNodeDecom)
			w.nn.Patch("LiveNodes", "dn2:29862", map[string]any{"volfails": 0})
		}, nil, outcome{passing, "the DataNodes are there; decommissioning: dn2:29862"}},
		"one is dead": {"datanodes", func(w *world) { w.nn.Load(jmxtest.NameNodeDead) }, nil, outcome{critical, "too many DataNodes are dead or stale\ndead: dn2:29862"}},
		"one dead of many": {"datanodes", func(w *world) {
			w.many(20)
			w.nn.Patch("DeadNodes", "dn2:1", map[string]any{"adminState": "In Service"})
		}, nil, outcome{warning, "dead: dn2:1"}},
		"one sent away":       {"datanodes", func(w *world) { w.nn.Patch("DeadNodes", "dn9:1", map[string]any{"adminState": "Decommissioned"}) }, nil, outcome{passing, "the DataNodes are there"}},
		"some are stale":      {"datanodes", func(w *world) { w.many(20); w.nn.Set("FSNamesystemState", "NumStaleDataNodes", 3) }, nil, outcome{warning, "too many DataNodes are dead or stale"}},
		"a volume has failed": {"datanodes", func(w *world) { w.nn.Load(jmxtest.NameNodeVolume) }, nil, outcome{warning, "volumes have failed on dn2:29862"}},
		"nobody lives":        {"datanodes", func(w *world) { w.nn.Text("NameNodeInfo", "LiveNodes", map[string]any{}) }, nil, outcome{critical, "no DataNode lives"}},

		"room":            {"capacity", nil, nil, outcome{passing, "HDFS has room"}},
		"little room":     {"capacity", func(w *world) { w.room(77) }, nil, outcome{warning, "HDFS is nearly full"}},
		"hardly any room": {"capacity", func(w *world) { w.room(85) }, nil, outcome{critical, "HDFS is nearly full"}},
		"no room known": {"capacity", func(w *world) {
			w.nn.Set("FSNamesystemState", "CapacityUsed", 0)
			w.nn.Set("FSNamesystemState", "CapacityRemaining", 0)
		}, nil, outcome{unknown, "the DataNodes have no room at all, or none is there"}},

		"files":           {"files", nil, nil, outcome{passing, "the files are not too small"}},
		"small files":     {"files", nil, map[string]string{"files": "2", "smallest": "16MiB"}, outcome{warning, "there are many small files"}},
		"few small files": {"files", nil, map[string]string{"smallest": "16MiB"}, outcome{passing, "the files are not too small"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.change != nil {
				tc.change(w)
			}
			if diff := cmp.Diff(tc.want, w.run(tc.probe, tc.settings)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.probe, diff)
			}
		})
	}
}

// TestDisks has two directories fail, each seen by the two checks: both name
// the same disks.
func TestDisks(t *testing.T) {
	const own = "2 1 8:17 / %s rw - ext4 /dev/sdb1 rw\n"
	for name, tc := range map[string]struct {
		second string // a line of the mount table, where the second directory lies.
		link   bool   // the directory is a link to there.
		want   string // of the second; the first lies on /.
	}{
		"on the disk of the root":       {"", false, "sda1"},
		"on a disk of its own":          {own, false, "sdb1"},
		"a part of a disk":              {"2 1 8:17 /hdfs %s ro - ext4 /dev/sdb1 rw\n", false, "sdb1"},
		"bound over itself":             {"2 1 8:1 /d2 %s ro - ext4 /dev/sda1 rw\n", false, "sda1"},
		"in memory":                     {"2 1 0:40 / %s rw - tmpfs tmpfs rw\n", false, "POINT"},
		"a part of a memory":            {"2 1 0:40 /x %s rw - tmpfs tmpfs rw\n", false, "POINT"},
		"of several mounts the last":    {own + "3 2 0:40 / %[1]s ro - tmpfs tmpfs rw\n", false, "POINT"},
		"btrfs has no device":           {"2 1 0:50 / %s rw - btrfs /dev/sdc1 rw\n", false, "sdc1"},
		"a disk that was pulled out":    {"2 1 8:49 / %s rw - xfs /dev/sdd1 rw\n", false, "sdd1"},
		"a link to a disk of its own":   {own, true, "sdb1"},
		"a link to what is not mounted": {"", true, "sda1"},
		"LVM":                           {"2 1 254:0 / %s rw - ext4 /dev/mapper/vg-data rw\n", false, "dm-0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.devices = map[string]string{"8:1": "sda1", "8:17": "sdb1", "254:0": "dm-0"}
			point := w.dirs[1]
			if tc.link {
				point = filepath.Join(t.TempDir(), "elsewhere")
				if err := os.Rename(w.dirs[1], point); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(point, w.dirs[1]); err != nil {
					t.Fatal(err)
				}
			}
			if tc.second != "" {
				w.mounts = fmt.Sprintf(tc.second, point)
			}
			for _, dir := range []string{w.dirs[0], point} {
				w.remove(dir)
			}
			w.gaveUp(w.dirs...)
			want := mesh.Disks([]string{"sda1", strings.ReplaceAll(tc.want, "POINT", point)})
			for _, probe := range []string{"volumes", "datanode"} {
				r := w.result(probe, nil)
				if diff := cmp.Diff(want, r.Disks); diff != "" {
					t.Errorf("disks of %s, which is %s: %s (-want +got):\n%s", probe, r.Status, r.Output, diff)
				}
			}
		})
	}
	t.Run("none is broken", func(t *testing.T) {
		for _, probe := range []string{"volumes", "datanode"} {
			if r := newWorld(t).result(probe, nil); len(r.Disks) > 0 {
				t.Errorf("%s, which is %s, names %v", probe, r.Status, r.Disks)
			}
		}
	})
}

func TestApplies(t *testing.T) {
	data, names := "hdfs-volumes hdfs-datanode", "hdfs-namenode hdfs-ha hdfs-blocks hdfs-datanodes hdfs-capacity hdfs-files"
	for name, tc := range map[string]struct {
		change func(w *world)
		want   string
		fails  bool
	}{
		"both":                           {func(*world) {}, data + " " + names, false},
		"no Hadoop":                      {func(w *world) { w.remove(w.conf) }, "", false},
		"a broken configuration":         {func(w *world) { w.set("x", "</value>") }, "", true},
		"a DataNode":                     {func(w *world) { w.set("dfs.namenode.rpc-address", "192.0.2.1:8020") }, data, false},
		"a NameNode":                     {func(w *world) { w.set("dfs.datanode.data.dir", "") }, names, false},
		"directories on other nodes":     {func(w *world) { w.set("dfs.datanode.data.dir", "/no/such"); w.dn.Close() }, names, false},
		"a DataNode without directories": {func(w *world) { w.set("dfs.datanode.data.dir", "/no/such") }, data + " " + names, false},
		"names on other nodes":           {func(w *world) { w.set("dfs.namenode.name.dir", "file:///no/such") }, data, false},
		"a NameNode that is down":        {func(w *world) { w.nn.Close(); w.set("dfs.namenode.name.dir", w.dirs[0]) }, data + " " + names, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			here, err := w.pack().Here(t.Context())
			var got []string
			for _, c := range here {
				got = append(got, c.ID)
			}
			if strings.Join(got, " ") != tc.want || (err != nil) != tc.fails {
				t.Errorf("Here: %v, %v, want %q", got, err, tc.want)
			}
		})
	}
}
