package cmdb

import (
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

// id returns the NodeID whose digits are all d.
func id(d byte) mesh.NodeID { return mesh.NodeID(bytes.Repeat([]byte{d}, 32)) }

func TestRecordRoundTrip(t *testing.T) {
	want := record{
		Collector: "agent/fact", At: time.Date(2026, 11, 21, 8, 0, 0, 123e6, time.UTC),
		Facts: mesh.Facts{Host: "bj-e-hadoop01-11-203", CPUs: 32, Disks: []mesh.Disk{{Device: "/dev/sdb1", Mount: "/data/1", Size: 4 << 40}}},
	}
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	again, err := want.encode()
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("the same record encodes to other bytes (%v): KV would change for nothing", err)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	tests := map[string][]byte{
		"empty":         nil,
		"not packed":    []byte(`{"facts":{}}`),
		"torn":          pack([]byte(`{"facts":{}}`))[:20],
		"not JSON":      pack([]byte("facts")),
		"a bomb":        pack(bytes.Repeat([]byte(" "), maxRecord+1)),
		"another shape": pack([]byte(`{"facts":[]}`)),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if r, err := decodeRecord(b); err == nil {
				t.Errorf("decoded to %+v, want an error", r)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	good := RecordKey(id('a'))
	other := ShardPrefix((id('a').FactShard()+1)%mesh.FactShards) + string(id('a')) + "/observed"
	tests := map[string]struct {
		key string
		ok  bool
	}{
		"a record":        {good, true},
		"another layer":   {ShardPrefix(id('a').FactShard()) + string(id('a')) + "/declared", false},
		"a foreign shard": {other, false},
		"no id":           {RecordPrefix + "07/web/observed", false},
		"deeper":          {good + "/x", false},
		"elsewhere":       {"alps/exec/head/00", false},
		"empty":           {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseKey(tt.key)
			if ok != tt.ok || (ok && got != id('a')) {
				t.Errorf("parseKey(%q) = %q, %v, want %v", tt.key, got, ok, tt.ok)
			}
		})
	}
}

func TestSucceed(t *testing.T) {
	facts := func(cpus int, boot int64) mesh.Facts { return mesh.Facts{CPUs: cpus, BootTime: boot} }
	tests := map[string]struct {
		have  *record
		next  mesh.Facts
		want  mesh.Facts
		fresh bool
	}{
		"first":               {nil, facts(2, 100), facts(2, 100), true},
		"same":                {&record{Facts: facts(2, 100)}, facts(2, 100), facts(2, 100), false},
		"clock moved":         {&record{Facts: facts(2, 100)}, facts(2, 97), facts(2, 100), false},
		"clock and something": {&record{Facts: facts(2, 100)}, facts(4, 97), facts(4, 100), true},
		"rebooted":            {&record{Facts: facts(2, 100)}, facts(2, 500), facts(2, 500), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, fresh := tt.have.succeed(record{Facts: tt.next})
			if fresh != tt.fresh {
				t.Errorf("fresh = %v, want %v", fresh, tt.fresh)
			}
			if diff := cmp.Diff(tt.want, got.Facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	before := &record{Facts: mesh.Facts{
		Name: "old", Kernel: "5.10", CPUs: 32, BootTime: 1000,
		Disks:     []mesh.Disk{{Device: "/dev/sdb1", Mount: "/data/1", Type: "ext4", Size: 10}, {Device: "/dev/sdc1", Mount: "/data/2", Type: "ext4", Size: 10}},
		Addresses: []mesh.Interface{{Name: "bond0", MAC: "b4:96", Addresses: []string{"10.16.11.203/24"}}},
	}}
	after := &record{At: at, Facts: mesh.Facts{
		Name: "new", Kernel: "5.10", CPUs: 64, BootTime: 2000,
		Disks:     []mesh.Disk{{Device: "/dev/sdb1", Mount: "/data/1", Type: "ext4", Size: 10}},
		Addresses: []mesh.Interface{{Name: "bond0", MAC: "b4:96", Addresses: []string{"10.16.11.204/24"}}, {Name: "eno1", MAC: "b4:97"}},
	}}
	change := func(field, from, to string) Change {
		return Change{Node: id('a'), Name: "new", Field: field, Old: from, New: to, At: at}
	}
	want := []Change{
		change("boot_time", "1970-01-01T00:16:40Z", "1970-01-01T00:33:20Z"),
		change("cpus", "32", "64"),
		change("disk /data/2", "/dev/sdc1 ext4 10", ""),
		change("interface bond0", "b4:96 10.16.11.203/24", "b4:96 10.16.11.204/24"),
		change("interface eno1", "", "b4:97"),
		change("name", "old", "new"),
	}
	if diff := cmp.Diff(want, before.changes(id('a'), after)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := (*record)(nil).changes(id('a'), after); got != nil {
		t.Errorf("a first record changes %v, want nothing", got)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := record{Collector: "agent/fact", At: time.Unix(1, 0).UTC(), Facts: mesh.Facts{Host: "h"}}
	b, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRecord(b); (r == nil) == (err == nil) {
			t.Errorf("decodeRecord = %v, %v", r, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(RecordKey(id('0')))
	f.Add(RecordPrefix + "00//observed")
	f.Fuzz(func(t *testing.T, key string) {
		if id, ok := parseKey(key); ok && RecordKey(id) != key {
			t.Errorf("parseKey(%q) = %q, whose key is %q", key, id, RecordKey(id))
		}
	})
}
