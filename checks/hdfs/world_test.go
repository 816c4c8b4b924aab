package hdfs

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

// What happens to a world.

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (w *world) remove(path string) {
	w.t.Helper()
	if err := os.RemoveAll(path); err != nil {
		w.t.Fatal(err)
	}
}

// failed makes the DataNode give up its second volume.
func (w *world) failed(n int) {
	w.dn.Text("DataNodeInfo", "VolumeInfo", map[string]any{w.dirs[0]: map[string]any{"numBlocks": 8}})
	w.gaveUp(w.dirs[1])
	w.dn.Set("FSDatasetState-", "NumFailedVolumes", n)
}

// gaveUp makes the DataNode say that it has given up directories.
func (w *world) gaveUp(dirs ...string) {
	var locations []string
	for _, dir := range dirs {
		locations = append(locations, "[DISK]file:"+dir)
	}
	w.dn.Set("FSDatasetState-", "NumFailedVolumes", len(dirs))
	w.dn.Set("FSDatasetState-", "FailedStorageLocations", locations)
}

// actors are "state age" of the NameNodes that the DataNode serves.
func (w *world) actors(list ...string) {
	out := []map[string]string{}
	for i, a := range list {
		state, age, _ := strings.Cut(a, " ")
		actor := map[string]string{"NamenodeAddress": fmt.Sprintf("nn%d:8020", i+1), "ActorState": "RUNNING", "NamenodeHaState": state, "LastHeartbeat": age}
		if state == "CONNECTING" {
			actor["ActorState"] = state
		}
		out = append(out, actor)
	}
	w.dn.Text("DataNodeInfo", "BPServiceActorInfo", out)
}

func (w *world) standby() { w.nn.Set("NameNodeStatus", "State", "standby") }

// pair makes a nameservice of the NameNode and one more.
func (w *world) pair(http string) {
	w.set("dfs.nameservices", "ns1")
	w.set("dfs.ha.namenodes.ns1", "nn1,nn2")
	w.set("dfs.ha.namenode.id", "nn1")
	w.set("dfs.namenode.rpc-address.ns1.nn1", "127.0.0.1:8020")
	w.set("dfs.namenode.http-address.ns1.nn1", w.nn.Addr())
	w.set("dfs.namenode.rpc-address.ns1.nn2", "127.0.0.1:8021")
	w.set("dfs.namenode.http-address.ns1.nn2", http)
}

func (w *world) blocks(all, under int) {
	w.nn.Set("FSNamesystemState", "BlocksTotal", all)
	w.nn.Set("FSNamesystemState", "UnderReplicatedBlocks", under)
}

// many makes a cluster of n live DataNodes.
func (w *world) many(n int) {
	live := make(map[string]any)
	for i := range n {
		live[fmt.Sprintf("n%d:1", i)] = map[string]any{"adminState": "In Service", "numBlocks": 1, "volfails": 0}
	}
	w.nn.Text("NameNodeInfo", "LiveNodes", live)
}

func (w *world) room(used int) {
	w.nn.Set("FSNamesystemState", "CapacityUsed", used)
	w.nn.Set("FSNamesystemState", "CapacityRemaining", 100-used)
}
