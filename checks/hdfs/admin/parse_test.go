package admin

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/checks/hdfs/hostfile"
)

// The texts are those of Hadoop 3.4.3.
func TestParseStatus(t *testing.T) {
	const head = "Reconfiguring status for node [127.0.0.1:19671]: started at Sat Nov 21 17:00:00 UTC 2026"
	const done = head + " and finished at Sat Nov 21 17:00:01 UTC 2026.\n"
	for name, tt := range map[string]struct {
		text string
		want outcome
	}{
		"running":          {head + " and is still running.\n", running},
		"changed":          {done + "SUCCESS: Changed property dfs.datanode.data.dir\n\tFrom: \"/a,/b\"\n\tTo: \"/a\"\n", changed},
		"refused":          {done + "FAILED: Change property dfs.datanode.data.dir\n\tFrom: \"/a\"\n\tTo: \"/a,/b\"\n\tError: FAILED TO ADD: [DISK]file:/b: Storage directory /b does not exist.\n", failedToChange},
		"another property": {done + "SUCCESS: Changed property dfs.datanode.balance.max.concurrent.moves\n", nothing},
		"nothing":          {done, nothing},
		"empty":            {"", running},
		"both":             {done + "FAILED: Change property dfs.datanode.data.dir\nSUCCESS: Changed property dfs.datanode.data.dir\n", failedToChange},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseStatus(tt.text, dataDir); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSpellings(t *testing.T) {
	for name, tt := range map[string]struct {
		addrs map[string]string
		want  []hostfile.Entry
	}{
		"alone": {
			map[string]string{"dn2:9866": "10.0.0.2:9866", "dn1:9866": "10.0.0.1:9866"},
			[]hostfile.Entry{{Host: "10.0.0.2", Port: 9866}, {Host: "dn2"}, {Host: "10.0.0.2"}},
		},
		"two of a host":     {map[string]string{"dn2:9866": "10.0.0.2:9866", "dn2:9867": "10.0.0.2:9867"}, []hostfile.Entry{{Host: "10.0.0.2", Port: 9866}}},
		"two of an address": {map[string]string{"dn2:9866": "127.0.0.1:9866", "dn1:9867": "127.0.0.1:9867"}, []hostfile.Entry{{Host: "127.0.0.1", Port: 9866}}},
		"no address":        {map[string]string{"dn2:9866": ""}, []hostfile.Entry{{Host: "dn2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, spellings("dn2:9866", tt.addrs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
