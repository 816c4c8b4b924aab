package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/checks/hdfs/jmxtest"
	"alps/mesh"
)

const (
	ok   = mesh.VerdictOK
	no   = mesh.VerdictNo
	wait = mesh.VerdictWait
	skp  = mesh.VerdictSkip
)

func TestConfirm(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		want   mesh.Verdict
		reason string
		source string // the second, when it is ok.
	}{
		"nothing is wrong":                 {func(*world) {}, no, "no disk fails now", ""},
		"the DataNode says so too":         {func(w *world) { w.breakDisk(1); w.gaveUp(1) }, ok, "", "the DataNode has given up"},
		"the kernel says so too":           {func(w *world) { w.breakDisk(1); w.kmsg = "4,1,5,-;I/O error, dev sda1, sector 5\n" }, ok, "", "the kernel has logged I/O errors"},
		"only the DataNode":                {func(w *world) { w.gaveUp(1) }, no, "no disk fails now", ""},
		"they mean different ones":         {func(w *world) { w.breakDisk(0); w.gaveUp(1) }, no, "the sources disagree", ""},
		"HDFS is silent":                   {func(w *world) { w.breakDisk(1) }, no, "although files were written", ""},
		"HDFS sleeps":                      {func(w *world) { w.breakDisk(1); w.nn.Set("NameNodeInfo", "Safemode", "on") }, no, "safe mode is on", ""},
		"none is tolerated and it is dead": {func(w *world) { w.breakDisk(1); w.stop(0); w.die(key, "In Service") }, ok, "", "takes it for dead"},
		"none is tolerated and it is gone": {func(w *world) { w.breakDisk(1); w.stop(0); w.node(key, map[string]any{"numBlocks": 0}) }, ok, "", "has dropped its blocks"},
		"none is tolerated just now":       {func(w *world) { w.breakDisk(1); w.stop(0) }, wait, "has not noticed yet", ""},
		"down for something else":          {func(w *world) { w.breakDisk(1); w.stop(1); w.die(key, "In Service") }, no, "but not because of", ""},
		"nobody is active":                 {func(w *world) { w.breakDisk(1); w.gaveUp(1); w.nn.Set("NameNodeStatus", "State", "standby") }, wait, "there is none", ""},
		"two are active":                   {func(w *world) { w.breakDisk(1); w.gaveUp(1); w.nn2.Set("NameNodeStatus", "State", "active") }, wait, "more than one", ""},
		"another DataNode's port":          {func(w *world) { w.breakDisk(1); w.gaveUp(1); w.dn.Set("DataNodeInfo", "DataPort", "1") }, no, "knows 0 DataNodes", ""},
		"another DataNode's name":          {func(w *world) { w.breakDisk(1); w.gaveUp(1); w.dn.Set("DataNodeInfo", "DatanodeHostname", "dn2") }, no, "knows 0 DataNodes", ""},
		"two of one address": {func(w *world) {
			w.breakDisk(1)
			w.stop(0)
			w.node("dn9:29861", map[string]any{"xferaddr": "127.0.0.1:29861", "numBlocks": 1})
		}, no, "knows 2 DataNodes", ""},
		"of another machine": {func(w *world) {
			w.breakDisk(1)
			w.gaveUp(1)
			w.node(key, map[string]any{"xferaddr": "192.0.2.1:29861"})
		}, no, "knows 0 DataNodes", ""},
		"half-written JMX":     {func(w *world) { w.breakDisk(1); w.dn.Set("DataNodeInfo", "VolumeInfo", "{") }, no, "knows", ""},
		"several nameservices": {func(w *world) { w.set("dfs.nameservices", "ns1,ns2") }, no, "federation", ""},
		"no Hadoop":            {func(w *world) { _ = os.Remove(filepath.Join(w.conf, "hdfs-site.xml")) }, no, "there is no", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			got := w.ask("confirm")
			if name == "half-written JMX" { // who it is can be told by the configuration, what it says cannot.
				if got.Verdict != no {
					t.Errorf("got %s: %s", got.Verdict, got.Reason)
				}
				return
			}
			expect(t, got, tc.want, tc.reason)
			if tc.want == ok && !strings.Contains(got.Evidence["source_2"], tc.source) {
				t.Errorf("the second source is %q", got.Evidence["source_2"])
			}
		})
	}
}

// stop ends the DataNode, which tolerates so many failures.
func (w *world) stop(tolerated int) {
	w.set("dfs.datanode.failed.volumes.tolerated", string(rune('0'+tolerated)))
	w.dn.Close()
}

func TestConfirmSaysWhoItIs(t *testing.T) {
	w := newWorld(t)
	w.breakDisk(1)
	w.gaveUp(1)
	want := map[string]string{
		"datanode": key, "datanode_addr": "127.0.0.1:29861", "datanode_http": "127.0.0.1:29641", "datanode_ipc": "127.0.0.1:9867",
		"datanode_uuid": "ee4896da-c632-4c4b-a349-94249c7e6ec9", "volumes": w.dirs[1],
	}
	if diff := cmp.Diff(want, w.ask("confirm").Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	// One that has stopped is known by its files.
	w.stop(0)
	w.die(key, "In Service")
	want["datanode_http"], want["datanode_uuid"] = w.dn.Addr(), "uuid-of-the-file"
	if diff := cmp.Diff(want, w.ask("confirm").Facts); diff != "" {
		t.Errorf("facts of one that is dead (-want +got):\n%s", diff)
	}
}

// TestMayNotBeMaintained: what is dead is not kept from being copied.
func TestMayNotBeMaintained(t *testing.T) {
	w := newWorld(t)
	question := []string{"datanode=" + key, "want=maintenance"}
	w.reach()
	expect(t, w.ask("may-leave", question...), ok, "")
	w.dn.Close() // the NameNodes have not noticed.
	expect(t, w.ask("may-leave", question...), skp, "nothing of it would be copied")
	w.die(key, "In Service")
	expect(t, w.ask("may-leave", question...), skp, "nothing of it would be copied")
}

func many(w *world, n int) {
	for i := range n {
		w.node("n"+string(rune('A'+i))+":1", map[string]any{"xferaddr": "192.0.2.9:1", "adminState": "In Service", "numBlocks": 1, "location": "/default-rack", "remaining": 1e12})
	}
}

func TestMayLeave(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		want   mesh.Verdict
		reason string
	}{
		"it may":                   {func(*world) {}, ok, ""},
		"without a failure of its": {func(w *world) { w.node(key, map[string]any{"volfails": 1}) }, ok, ""},
		"it is dead":               {func(w *world) { w.die(key, "In Service") }, ok, ""},
		"it is stale itself": {func(w *world) {
			w.node(key, map[string]any{"lastContact": 60})
			w.both(func(s *jmxtest.Server) { s.Set("FSNamesystemState", "NumStaleDataNodes", 1) })
		}, ok, ""},
		"a few lack copies":        {func(w *world) { w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 1000) }, ok, ""},
		"as many copies as nodes":  {func(w *world) { w.node("dn4:29864", nil) }, no, "2 DataNodes would stay in service, and a block has 3 copies"},
		"fewer than a cluster has": {func(w *world) { w.set("dfs.replication", "1"); w.node("dn4:29864", nil) }, no, "2 DataNodes would stay in service, and a cluster of HDFS has at least 3"},
		"two copies on three":      {func(w *world) { w.set("dfs.replication", "2") }, ok, ""},
		"coded wider than it is":   {func(w *world) { w.coded(1, "RS-6-3-1024k") }, no, "3 DataNodes would stay in service, and the erasure coding policy RS-6-3-1024k needs 9"},
		"coded as wide as it is":   {func(w *world) { w.coded(1, "XOR-2-1-1024k") }, ok, ""},
		"coded nobody knows how":   {func(w *world) { w.coded(2, "of-my-own") }, no, "2 groups of blocks are erasure-coded, and nobody can say how wide"},
		"nothing is coded":         {func(w *world) { w.coded(0, "of-my-own") }, ok, ""},
		"it does not say so":       {func(w *world) { w.nn.Set("ECBlockGroupsState", "TotalECBlockGroups", nil) }, wait, "does not count"},
		"one has left already":     {func(w *world) { w.node("dn4:29864", map[string]any{"adminState": "Decommissioned"}) }, no, "2 DataNodes would stay"},
		"safe mode":                {func(w *world) { w.nn.Set("NameNodeInfo", "Safemode", "on") }, no, "safe mode"},
		"an upgrade":               {func(w *world) { w.nn.Set("NameNodeInfo", "UpgradeFinalized", false) }, no, "an upgrade"},
		"a rolling upgrade":        {func(w *world) { w.nn.Set("NameNodeInfo", "RollingUpgradeStatus", map[string]any{"x": 1}) }, no, "an upgrade"},
		"blocks are missing":       {func(w *world) { w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 3) }, no, "loss: 3 blocks are missing"},
		"of one copy":              {func(w *world) { w.nn.Set("NameNodeInfo", "NumberOfMissingBlocksWithReplicationFactorOne", 2) }, no, "do not wipe the disk"},
		"others are stale":         {func(w *world) { w.nn.Set("FSNamesystemState", "NumStaleDataNodes", 1) }, wait, "1 other DataNodes are stale"},
		"many lack copies":         {func(w *world) { w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 1001) }, wait, "1001 blocks lack copies"},
		"copies are under way":     {func(w *world) { w.nn.Set("FSNamesystemState", "PendingReplicationBlocks", 1001) }, wait, "1001 blocks lack copies"},
		"the standby is away":      {func(w *world) { w.nn2.Close() }, wait, "nn2: ask"},
		"the active is away":       {func(w *world) { w.nn.Close() }, wait, "nn1: ask"},
		"nobody leads":             {func(w *world) { w.nn.Set("NameNodeStatus", "State", "standby") }, no, "there is none"},
		"both lead":                {func(w *world) { w.nn2.Set("NameNodeStatus", "State", "active") }, no, "more than one"},
		"half-written JMX":         {func(w *world) { w.nn.Set("NameNodeInfo", "LiveNodes", `{"dn1`) }, wait, "LiveNodes"},
		"a router":                 {func(w *world) { w.node("dn4:29864", map[string]any{"numBlocks": -1}) }, wait, "it is a router"},
		"nobody knows it":          {func(w *world) { w.node(key, nil) }, no, "knows no DataNode dn1"},
		"the standby does not":     {func(w *world) { w.nn2.Patch("LiveNodes", key, nil) }, wait, "nn2 does not know"},
		"one leaves already":       {func(w *world) { many(w, 2); w.node("nA:1", map[string]any{"adminState": "Decommission In Progress"}) }, no, "nA:1 is one of them already"},
		"one is being maintained":  {func(w *world) { many(w, 2); w.node("nA:1", map[string]any{"adminState": "In Maintenance"}) }, no, "2 of 6 DataNodes would be away"},
		"one is dead":              {func(w *world) { many(w, 2); w.die("nA:1", "In Service") }, no, "2 of 6 DataNodes would be away"},
		"one was sent away":        {func(w *world) { many(w, 2); w.die("nA:1", "Decommissioned") }, ok, ""},
		"a share of many":          {func(w *world) { many(w, 26); w.die("nA:1", "In Service") }, ok, ""},
		"two on one rack": {func(w *world) {
			many(w, 26)
			w.die("nA:1", "In Service")
			w.node("nB:1", map[string]any{"location": "/r2"})
		}, no, "another DataNode of the rack /default-rack"},
		"no space elsewhere":         {func(w *world) { w.node(key, map[string]any{"used": 1 << 50}) }, no, "are free on the others"},
		"the last of the other rack": {func(w *world) { w.node(key, map[string]any{"location": "/r2"}) }, no, "are on one rack"},
		"no word of who is meant":    {func(*world) {}, no, "datanode=HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			var args []string
			if name != "no word of who is meant" {
				args = []string{"datanode=" + key}
			}
			expect(t, w.ask("may-leave", args...), tc.want, tc.reason)
		})
	}
	got := newWorld(t).ask("may-leave", "datanode="+key)
	if diff := cmp.Diff(map[string]string{"missing_before": "0", "low_redundancy_before": "0", "blocks_before": "8"}, got.Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	for _, name := range []string{"stay_in_service", "replication", "used_here", "free_elsewhere", "away", "away_allowed", "low_redundancy", "missing_blocks", "namenode nn1", "namenode nn2"} {
		if got.Evidence[name] == "" {
			t.Errorf("there is no evidence %q", name)
		}
	}
}

// coded makes the active NameNode count groups of erasure-coded blocks.
func (w *world) coded(groups int, policies string) {
	w.nn.Set("ECBlockGroupsState", "TotalECBlockGroups", groups)
	w.nn.Set("ECBlockGroupsState", "EnabledEcPolicies", policies)
}

// leaving makes both NameNodes show the DataNode so.
func (w *world) leaving(state string) { w.node(key, map[string]any{"adminState": state}) }

// left says how many blocks the active has still to copy.
func (w *world) left(n int) {
	w.nn.Patch("DecomNodes", key, map[string]any{"underReplicatedBlocks": n})
}

func TestProven(t *testing.T) {
	args := []string{"datanode=" + key, "blocks_before=8"}
	for name, tc := range map[string]struct {
		change func(w *world)
		more   []string
		want   mesh.Verdict
		reason string
	}{
		"it has left": {func(w *world) { w.leaving("Decommissioned") }, nil, ok, ""},
		"it leaves":   {func(w *world) { w.leaving("Decommission In Progress"); w.left(5) }, nil, wait, "Decommission In Progress"},
		"the standby is behind": {func(w *world) {
			w.leaving("Decommission In Progress")
			w.nn2.Patch("LiveNodes", key, map[string]any{"adminState": "Decommissioned"})
		}, nil, wait, "Decommission In Progress"},
		"blocks lack copies": {func(w *world) { w.leaving("Decommissioned"); w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 2) }, nil, wait, "2 blocks still lack copies"},
		"copies are under way": {func(w *world) {
			w.leaving("Decommissioned")
			w.nn.Set("FSNamesystemState", "PendingReplicationBlocks", 2)
		}, nil, wait, "2 blocks still lack copies"},
		"as many as before": {func(w *world) { w.leaving("Decommissioned"); w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 2) }, []string{"low_redundancy_before=2"}, wait, "2 blocks still lack copies"},
		"a standby's numbers": {func(w *world) {
			w.leaving("Decommissioned")
			w.nn2.Set("FSNamesystemState", "UnderReplicatedBlocks", 9)
			w.nn2.Set("NameNodeInfo", "NumberOfMissingBlocks", 9)
		}, nil, ok, ""},
		"a loss": {func(w *world) {
			w.leaving("Decommission In Progress")
			w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 1)
		}, nil, no, "loss: 1 blocks are missing"},
		"missing as before":        {func(w *world) { w.leaving("Decommissioned"); w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 1) }, []string{"missing_before=1"}, no, "loss"},
		"dead and the blocks back": {func(w *world) { w.die(key, "Decommissioned") }, nil, ok, ""},
		"dead, and they are not": {func(w *world) {
			w.die(key, "Decommissioned")
			w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 2)
		}, nil, wait, "2 blocks still lack copies"},
		"dead in the middle":         {func(w *world) { w.die(key, "Decommission In Progress") }, nil, wait, "died while it was leaving"},
		"taken back":                 {func(*world) {}, nil, no, "it has been taken back"},
		"the standby is away":        {func(w *world) { w.leaving("Decommissioned"); w.nn2.Close() }, nil, wait, "nn2: ask"},
		"this one is away":           {func(w *world) { w.leaving("Decommissioned"); w.nn.Close() }, nil, wait, "nn1: ask"},
		"this one forgot it":         {func(w *world) { w.leaving("Decommissioned"); w.node(key, nil) }, nil, wait, "does not know the DataNode"},
		"maintained":                 {func(w *world) { w.leaving("In Maintenance"); w.reach() }, []string{"want=maintenance"}, ok, ""},
		"maintained, and it stopped": {func(w *world) { w.leaving("In Maintenance"); w.reach(); w.dn.Close() }, []string{"want=maintenance"}, no, "has stopped"},
		"maintained, and it is dead": {func(w *world) { w.die(key, "In Maintenance") }, []string{"want=maintenance"}, no, "has stopped"},
		"entering maintenance":       {func(w *world) { w.leaving("Entering Maintenance"); w.reach() }, []string{"want=maintenance"}, wait, "Entering Maintenance"},
		"left instead of maintained": {func(w *world) { w.leaving("Decommissioned"); w.reach() }, []string{"want=maintenance"}, no, "taken back"},
		"a volume less":              {func(*world) {}, []string{"want=volume"}, ok, ""},
		"a volume less, copies lack": {func(w *world) { w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 2) }, []string{"want=volume"}, wait, "2 blocks still lack copies"},
		"a volume less, and it died": {func(w *world) { w.die(key, "In Service") }, []string{"want=volume"}, no, "has died since"},
		"a wish of nobody":           {func(*world) {}, []string{"want=gone"}, no, "want: it is"},
		"a number that is none":      {func(*world) {}, []string{"missing_before=x"}, no, "missing_before: want a whole number"},
		"a duration that is none":    {func(*world) {}, []string{"stuck=soon"}, no, "stuck: want a duration"},
		"not a NameNode's node":      {func(w *world) { w.set("dfs.ha.namenode.id", "nn3") }, nil, no, "none of the NameNodes"},
		"two on this machine, no id": {func(w *world) { w.set("dfs.ha.namenode.id", "") }, nil, no, "dfs.ha.namenode.id"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			expect(t, w.ask("proven", append(args, tc.more...)...), tc.want, tc.reason)
		})
	}
}

// TestProvenJustNow has the DataNode be gone from one look to the next: it is not
// asked for all over again, and one good look is not enough.
func TestProvenJustNow(t *testing.T) {
	for name, tc := range map[string]struct {
		states []string // at each look.
		want   mesh.Verdict
	}{
		"at the second look":          {[]string{"Decommission In Progress", "Decommissioned", "Decommissioned"}, ok},
		"for one look alone":          {[]string{"Decommission In Progress", "Decommissioned", "Decommission In Progress"}, wait},
		"at the first look alone":     {[]string{"Decommissioned", "Decommission In Progress"}, wait},
		"not at all":                  {[]string{"Decommission In Progress", "Decommission In Progress"}, wait},
		"it is taken back in between": {[]string{"Decommission In Progress", "Decommissioned", "In Service"}, no},
	} {
		t.Run(name, func(t *testing.T) {
			const perLook = 4 // requests to each NameNode: its state, its nodes, its blocks, its state again.
			w := newWorld(t)
			w.nn.OnAsk(func(n int) {
				if n%perLook == 1 && n/perLook < len(tc.states) {
					w.leaving(tc.states[n/perLook])
				}
			})
			expect(t, w.ask("proven", "datanode="+key, "blocks_before=8"), tc.want, "")
			if got := w.nn.Asked(); got != perLook*len(tc.states) {
				t.Errorf("%d requests, want those of %d looks", got, len(tc.states))
			}
		})
	}
}

// TestProvenBesideOldTrouble: blocks that lacked copies before, and stand still,
// are nobody's fault; the same number that moves may be this remedy's.
func TestProvenBesideOldTrouble(t *testing.T) {
	w := newWorld(t)
	w.leaving("Decommissioned")
	w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 2)
	question := []string{"datanode=" + key, "low_redundancy_before=2"}
	expect(t, w.ask("proven", question...), wait, "2 blocks still lack copies")
	w.age(59 * time.Second)
	expect(t, w.ask("proven", question...), wait, "2 blocks still lack copies")
	w.age(time.Minute)
	expect(t, w.ask("proven", question...), ok, "2 blocks lacked copies before, and still do")
	w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 3)
	expect(t, w.ask("proven", question...), wait, "3 blocks still lack copies")
	w.age(2 * time.Minute)
	expect(t, w.ask("proven", question...), wait, "3 blocks still lack copies")
}

// TestProvenOnTheStandby: each NameNode shows its own state, and the standby's
// counts for nothing else.
func TestProvenOnTheStandby(t *testing.T) {
	w := newWorld(t)
	w.set("dfs.ha.namenode.id", "nn2")
	w.leaving("Decommissioned")
	w.nn2.Patch("LiveNodes", key, map[string]any{"adminState": "In Service"})
	expect(t, w.ask("proven", "datanode="+key), no, `nn2 shows the DataNode as "In Service"`)
	w.leaving("Decommissioned")
	w.nn2.Set("FSNamesystemState", "UnderReplicatedBlocks", 9)
	expect(t, w.ask("proven", "datanode="+key), ok, "")
}

func TestProvenTellsHowFarItIs(t *testing.T) {
	w := newWorld(t)
	w.leaving("Decommission In Progress")
	w.left(0) // nobody has counted yet: it is not done.
	got := w.ask("proven", "datanode="+key, "blocks_before=8")
	want := &mesh.Progress{State: "Decommission In Progress", Left: 8, Total: 8, Unit: "blocks"}
	if diff := cmp.Diff(want, got.Progress); diff != "" {
		t.Errorf("before the first count (-want +got):\n%s", diff)
	}
	w.left(3)
	got = w.ask("proven", "datanode="+key, "blocks_before=8")
	want.Left = 3
	if diff := cmp.Diff(want, got.Progress); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

// TestProvenIsStuck: when nothing moves for long enough a human is called, with
// the cause; what moves is never stuck.
func TestProvenIsStuck(t *testing.T) {
	for cause, change := range map[string]func(w *world){
		"3 DataNodes are in service, and a block has 4 copies": func(w *world) { w.set("dfs.replication", "4") },
		"files are open":               func(w *world) { w.nn.Patch("DecomNodes", key, map[string]any{"underReplicateInOpenFiles": 2}) },
		"the NameNode is in safe mode": func(w *world) { w.nn.Set("NameNodeInfo", "Safemode", "on") },
		"there is no space":            func(w *world) { w.node(key, map[string]any{"used": 1 << 50}) },
		"since the failover":           func(w *world) { w.nn.Set("FSNamesystemState", "NumStaleStorages", 1) },
		"DataNodes are stale":          func(w *world) { w.nn.Set("FSNamesystemState", "NumStaleDataNodes", 1) },
		"nobody knows":                 func(*world) {},
	} {
		t.Run(cause, func(t *testing.T) {
			w := newWorld(t)
			w.leaving("Decommission In Progress")
			w.left(5)
			change(w)
			args := []string{"datanode=" + key, "stuck=1ns"}
			expect(t, w.ask("proven", args...), wait, "")
			expect(t, w.ask("proven", args...), no, cause)
			w.left(4)
			expect(t, w.ask("proven", args...), wait, "")
			expect(t, w.ask("proven", "datanode="+key, "stuck=1h"), wait, "")
		})
	}
}

func TestMemoryOfAStranger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "memory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	m := newMemory(dir, "x")
	now := time.Now()
	m.still("a", now)
	if d := m.still("a", now.Add(time.Hour)); d != 0 {
		t.Errorf("it believes what others may have written: %v", d)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.still("a", now)
	if d := m.still("a", now.Add(time.Hour)); d != time.Hour {
		t.Errorf("still for %v, want an hour", d)
	}
	if d := newMemory(dir, "y").still("a", now.Add(time.Hour)); d != 0 {
		t.Errorf("another question is remembered as this one: %v", d)
	}
	m.forget()
	if d := m.still("a", now.Add(2*time.Hour)); d != 0 {
		t.Errorf("it has not forgotten: %v", d)
	}
}

func TestVolumeGuard(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		want   mesh.Verdict
		reason string
	}{
		"one of two":              {func(*world) {}, ok, ""},
		"none is tolerated":       {func(w *world) { w.set("dfs.datanode.failed.volumes.tolerated", "0") }, skp, "tolerates no failed volume"},
		"the DataNode is down":    {func(w *world) { w.dn.Close() }, skp, "does not run"},
		"both fail":               {func(w *world) { w.breakDisk(0) }, skp, "more than a disk"},
		"HDFS has not noticed":    {func(w *world) { w.gaveUp() }, skp, "has not given up"},
		"it has given up another": {func(w *world) { w.gaveUp(0) }, skp, "has not given up"},
		"it was mended":           {func(w *world) { w.write(filepath.Join(w.dirs[1], "current", "VERSION"), "") }, no, "no disk fails now"},
		"it is leaving":           {func(w *world) { w.leaving("Decommission In Progress") }, skp, "not in service"},
		"safe mode":               {func(w *world) { w.nn.Set("NameNodeInfo", "Safemode", "on") }, no, "safe mode"},
		"blocks are missing":      {func(w *world) { w.nn.Set("NameNodeInfo", "NumberOfMissingBlocks", 1) }, no, "loss"},
		"a NameNode is away":      {func(w *world) { w.nn2.Close() }, wait, "nn2"},
		"another is meant":        {func(w *world) { w.dirs[1] = "/another" }, skp, "it was confirmed for /another"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.breakDisk(1)
			w.gaveUp(1)
			tc.change(w)
			expect(t, w.ask("volume-guard", "volumes="+w.dirs[1]), tc.want, tc.reason)
		})
	}
}
