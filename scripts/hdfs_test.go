package scripts_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alps/mesh"
)

// TestHDFS says what the scripts of HDFS call, and that they refuse, with an
// answer, where something that they need is not there.
func TestHDFS(t *testing.T) {
	dir := t.TempDir()
	alps := filepath.Join(dir, "alps")
	bin := filepath.Join(dir, "bin")
	err := errors.Join(
		os.Mkdir(bin, 0o755),
		os.WriteFile(alps, []byte("#!/bin/sh\nprintf '<%s>' \"$@\"\n"), 0o755),
		os.WriteFile(filepath.Join(bin, "hdfs"), []byte("#!/bin/sh\necho it was called\nexit 99\n"), 0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	// Only what a POSIX system has, and no Hadoop that this machine may have.
	path := "PATH=" + bin + ":/usr/bin:/bin"
	facts := []string{"ALPS_FACT_DATANODE=dn2:9866", "ALPS_FACT_VOLUMES=/data/1,/data/b *"}
	whole := append([]string{"ALPS=" + alps, "HADOOP_CONF_DIR=" + dir, path}, facts...)
	for name, tt := range map[string]struct {
		script string
		args   []string
		env    []string
		out    string // what it calls, or what the reason of its refusal has.
	}{
		"confirm":             {"hdfs-confirm", nil, whole, "<probe><hdfs.confirm>"},
		"may leave":           {"hdfs-may-leave", nil, whole, "<probe><hdfs.may-leave><datanode=dn2:9866>"},
		"may be maintained":   {"hdfs-may-leave", []string{"maintenance"}, whole, "<probe><hdfs.may-leave><datanode=dn2:9866><want=maintenance>"},
		"volume guard":        {"hdfs-volume-guard", nil, whole, "<probe><hdfs.volume-guard><volumes=/data/1,/data/b *>"},
		"decommission":        {"hdfs-decommission", nil, whole, "<hdfs><decommission><dn2:9866>"},
		"recommission":        {"hdfs-recommission", nil, whole, "<hdfs><recommission><dn2:9866>"},
		"undo of maintenance": {"hdfs-recommission", []string{"90m"}, whole, "<hdfs><recommission><dn2:9866>"},
		"maintenance":         {"hdfs-maintenance", nil, whole, "<hdfs><maintenance><dn2:9866><--for><2h>"},
		"for longer":          {"hdfs-maintenance", []string{"90m"}, whole, "<hdfs><maintenance><dn2:9866><--for><90m>"},
		"drop":                {"hdfs-drop-volume", nil, whole, "<hdfs><drop-volume></data/1></data/b *>"},
		"add":                 {"hdfs-add-volume", nil, whole, "<hdfs><add-volume></data/1></data/b *>"},
		"proven":              {"hdfs-proven", nil, whole, "<probe><hdfs.proven><datanode=dn2:9866><want=decommissioned>"},
		"proven otherwise":    {"hdfs-proven", []string{"volume"}, whole, "<probe><hdfs.proven><datanode=dn2:9866><want=volume>"},
		"proven by numbers": {
			"hdfs-proven", nil, append([]string{"ALPS_FACT_MISSING_BEFORE=0", "ALPS_FACT_BLOCKS_BEFORE=7"}, whole...),
			"<probe><hdfs.proven><datanode=dn2:9866><want=decommissioned><missing_before=0><blocks_before=7>",
		},
		"no configuration": {"hdfs-decommission", nil, append(slices.Clip(whole), "HADOOP_CONF_DIR=/none"), "no configuration directory"},
		"no program":       {"hdfs-decommission", nil, append(slices.Clip(whole), "PATH=/usr/bin:/bin"), "no program hdfs in PATH"},
		"no such fact":     {"hdfs-decommission", nil, whole[:3], "the fact datanode"},
		"no directories":   {"hdfs-drop-volume", nil, whole[:3], "the fact volumes"},
		"no agent":         {"hdfs-confirm", nil, whole[1:], "the variable ALPS is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := filepath.Abs(filepath.Join(tt.script, "run"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), run, tt.args...)
			cmd.Env, cmd.Dir = tt.env, dir
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil || stderr.Len() > 0 {
				t.Fatalf("%v: %s", err, &stderr)
			}
			if strings.HasPrefix(tt.out, "<") {
				if got := stdout.String(); got != tt.out {
					t.Errorf("it calls %s, want %s", got, tt.out)
				}
				return
			}
			a, ok := mesh.ParseAnswer(stdout.Bytes())
			if !ok || a.Verdict != mesh.VerdictNo || !strings.Contains(a.Reason, tt.out) || !strings.HasPrefix(a.Reason, tt.script+": ") {
				t.Errorf("got %q, want no, because of %q", &stdout, tt.out)
			}
		})
	}
}
