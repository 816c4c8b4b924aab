package cmdb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
)

// RecordPrefix is where the CMDB's documents lie in KV, as
// <shard>/<node id>/<layer> with a shard of two digits.
const RecordPrefix = "alps/cmdb/node/"

// layerObserved is the layer that agents fill; people and rules will have
// their own.
const layerObserved = "observed"

// maxRecord bounds what one document may unfold to. The facts of the largest
// machines take a tenth of it.
const maxRecord = 1 << 20

// bootJitter is how many seconds a boot time may move without a boot, since
// the kernel computes it from a clock that is being adjusted.
const bootJitter = 60

// ShardPrefix is the prefix of one of the mesh.FactShards shards.
func ShardPrefix(shard int) string { return fmt.Sprintf("%s%02d/", RecordPrefix, shard) }

// RecordKey is the key of what a node's agent has observed.
func RecordKey(id mesh.NodeID) string {
	return ShardPrefix(id.FactShard()) + string(id) + "/" + layerObserved
}

// record is the observed layer of one node. It is not changed once made.
type record struct {
	Collector string     `json:"collector"`
	At        time.Time  `json:"at"` // when the content changed, not when it was last seen.
	Facts     mesh.Facts `json:"facts"`
}

// parseKey returns whose observed record a key holds; false for other layers
// and for keys that are not the CMDB's, or under the wrong shard.
func parseKey(key string) (mesh.NodeID, bool) {
	rest, ok := strings.CutPrefix(key, RecordPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return "", false
	}
	id, err := mesh.ParseNodeID(parts[1])
	return id, err == nil && RecordKey(id) == key
}

func (r *record) encode() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return nil, fmt.Errorf("encode node record: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress node record: %w", err)
	}
	return b.Bytes(), nil
}

func decodeRecord(value []byte) (*record, error) {
	z, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("unpack node record: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxRecord+1))
	if err != nil {
		return nil, fmt.Errorf("unpack node record: %w", err)
	}
	if len(b) > maxRecord {
		return nil, fmt.Errorf("unpack node record: it is over the limit of %d bytes", maxRecord)
	}
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode node record: %w", err)
	}
	return r, nil
}

// succeed returns next as it follows r: with r's boot time if the two differ
// by no more than clocks do, and whether anything is new in it.
func (r *record) succeed(next record) (record, bool) {
	if r == nil {
		return next, true
	}
	if d := next.Facts.BootTime - r.Facts.BootTime; -bootJitter <= d && d <= bootJitter {
		next.Facts.BootTime = r.Facts.BootTime
	}
	return next, !reflect.DeepEqual(r.Facts, next.Facts)
}

// changes lists the fields in which next differs from r. The first record of
// a node changes nothing: the node itself is what is new.
func (r *record) changes(node mesh.NodeID, next *record) []Change {
	if r == nil {
		return nil
	}
	before, after := flatten(&r.Facts), flatten(&next.Facts)
	fields := maps.Clone(before)
	maps.Copy(fields, after)
	var out []Change
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		if before[f] != after[f] {
			out = append(out, Change{Node: node, Name: next.Facts.Name, Field: f, Old: before[f], New: after[f], At: next.At})
		}
	}
	return out
}

// flatten names every field of facts as history shows it. Lists have a field
// for each element, so that one disk that is gone is one change.
func flatten(f *mesh.Facts) map[string]string {
	m := map[string]string{
		"host": f.Host, "os": f.OS, "distro": f.Distro, "version": f.Version, "kernel": f.Kernel, "arch": f.Arch,
		"cpus": strconv.Itoa(f.CPUs), "cpu_model": f.CPUModel, "memory": strconv.FormatUint(f.Memory, 10),
		"machine_id": f.MachineID, "dmi_uuid": f.DMIUUID, "virtual": f.Virtual, "agent": f.Agent,
		"name": string(f.Name), "dc": f.DC,
	}
	if f.BootTime != 0 {
		m["boot_time"] = time.Unix(f.BootTime, 0).UTC().Format(time.RFC3339)
	}
	for _, d := range f.Disks {
		m["disk "+d.Mount] = fmt.Sprintf("%s %s %d", d.Device, d.Type, d.Size)
	}
	for _, i := range f.Addresses {
		m["interface "+i.Name] = strings.Join(slices.Concat([]string{i.MAC}, i.Addresses), " ")
	}
	return m
}
