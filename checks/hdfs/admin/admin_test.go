package admin_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"alps/checks/hdfs/admin"
	"alps/checks/hdfs/jmxtest"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// program stands for Hadoop's: what it does is told by a shell.
func program(t testing.TB, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hdfs")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// rig is a node whose NameNode answers by a recording: dn1:29861 to dn3:29863.
type rig struct {
	nn   *jmxtest.Server
	file string
	conf string
}

func newRig(t testing.TB, properties string) *rig {
	t.Helper()
	r := &rig{nn: jmxtest.New(t, jmxtest.NameNode), conf: t.TempDir()}
	r.file = filepath.Join(r.conf, "exclude")
	text := fmt.Sprintf(`<configuration>
<property><name>dfs.namenode.rpc-address</name><value>127.0.0.1:1</value></property>
<property><name>dfs.namenode.http-address</name><value>%s</value></property>
<property><name>dfs.hosts.exclude</name><value>%s</value></property>%s
</configuration>`, r.nn.Addr(), r.file, properties)
	for path, body := range map[string]string{filepath.Join(r.conf, "hdfs-site.xml"): text, r.file: "dn7\n"} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) admin(t testing.TB, o admin.Options) *admin.Admin {
	t.Helper()
	s, err := site.Load(r.conf)
	if err != nil {
		t.Fatal(err)
	}
	o.Site, o.Settle = s, 20*time.Millisecond
	a, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *rig) content(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestNoEffect says what is answered, and that nothing is left behind, when the
// program of Hadoop does this or that and the state stays as it is.
func TestNoEffect(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		verdict mesh.Verdict
		reason  string
	}{
		"it says it was successful": {"echo Refresh nodes successful", mesh.VerdictNo, "no effect: 127.0.0.1:1 still has dn2:29862 In Service"},
		"it fails":                  {"echo refreshNodes: Connection refused; exit 255", mesh.VerdictWait, "did not refresh its nodes, exit code 255"},
		"it may not":                {"echo refreshNodes: Access denied for user web. Superuser privilege is required; exit 255", mesh.VerdictNo, "does not let this user"},
		"it hangs":                  {"sleep 60", mesh.VerdictWait, "did not refresh its nodes, exit code -1"},
		"it is not there":           {"", mesh.VerdictWait, "exit code -1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "")
			hdfs := "/nowhere/hdfs"
			if tt.program != "" {
				hdfs = program(t, tt.program)
			}
			got, err := r.admin(t, admin.Options{Program: hdfs, Command: 200 * time.Millisecond}).Decommission(t.Context(), "dn2:29862")
			if err != nil || got.Verdict != tt.verdict || !strings.Contains(got.Reason, tt.reason) || got.Evidence["undo"] == "" {
				t.Errorf("got %s, %v; want %s, %q", got.Line(), err, tt.verdict, tt.reason)
			}
			if text := r.content(t); text != "dn7\n" {
				t.Errorf("the file holds %q", text)
			}
		})
	}
}

// TestInterrupted says that what was begun is taken back when whoever asked goes
// away, and that the program of Hadoop has ended then, with what it had started.
func TestInterrupted(t *testing.T) {
	r := newRig(t, "")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		// The first call has begun when the other end of the pipe is opened, and
		// its child has ended when that is closed.
		f, err := os.Open(fifo)
		cancel()
		if err == nil {
			_, _ = io.Copy(io.Discard, f)
			_ = f.Close()
		}
	}()
	hdfs := program(t, "[ -e "+fifo+".2 ] && exit 0; touch "+fifo+".2; exec >"+fifo+" 2>&1; sleep 60 & wait")
	got, err := r.admin(t, admin.Options{Program: hdfs}).Decommission(ctx, "dn2:29862")
	if err != nil || got.Verdict != mesh.VerdictWait || got.Evidence["undo"] == "" || r.content(t) != "dn7\n" {
		t.Errorf("got %s, %v; the file holds %q", got.Line(), err, r.content(t))
	}
}

// TestRefused says what is refused before anything is written or run.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		properties string
		make       func(r *rig)
		datanode   string
		verdict    mesh.Verdict
		reason     string
	}{
		"nobody knows it":    {"", nil, "dn9:1", mesh.VerdictNo, "has no DataNode dn9:1 among its"},
		"another port":       {"", nil, "dn2:1", mesh.VerdictNo, "has no DataNode dn2:1"},
		"dead and alive":     {"", func(r *rig) { r.nn.Patch("DeadNodes", "dn2:29862", map[string]any{"xferaddr": "127.0.0.1:29862"}) }, "dn2:29862", mesh.VerdictNo, "twice, alive and dead"},
		"another provider":   {"<property><name>dfs.namenode.hosts.provider.classname</name><value>com.example.Hosts</value></property>", nil, "dn2:29862", mesh.VerdictNo, "HostFileManager"},
		"no exclude file":    {"<property><name>dfs.hosts.exclude</name><value></value></property>", nil, "dn2:29862", mesh.VerdictNo, "has no dfs.hosts.exclude"},
		"several NameNodes":  {"<property><name>dfs.nameservices</name><value>a,b</value></property>", nil, "dn2:29862", mesh.VerdictNo, "2 of the 2 in"},
		"half an answer":     {"", func(r *rig) { r.nn.Set("NameNodeInfo", "LiveNodes", `{"dn2`) }, "dn2:29862", mesh.VerdictWait, "makes no sense"},
		"a file that is not": {"", func(r *rig) { _ = os.WriteFile(r.file, []byte("[{}]"), 0o600) }, "dn2:29862", mesh.VerdictNo, "is not a list of hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.properties)
			if tt.make != nil {
				tt.make(r)
			}
			before := r.content(t)
			ran := filepath.Join(t.TempDir(), "ran")
			got, err := r.admin(t, admin.Options{Program: program(t, "touch "+ran)}).Decommission(t.Context(), tt.datanode)
			if err != nil || got.Verdict != tt.verdict || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("got %s, %v; want %s, %q", got.Line(), err, tt.verdict, tt.reason)
			}
			if _, err := os.Stat(ran); err == nil || r.content(t) != before {
				t.Errorf("it was run: %v; the file holds %q", err == nil, r.content(t))
			}
		})
	}
}

// TestDone says that what is so already is neither written nor told again, and
// that a state which shows is believed whatever the program says.
func TestDone(t *testing.T) {
	r := newRig(t, "")
	r.nn.Patch("LiveNodes", "dn2:29862", map[string]any{"adminState": "Decommissioned"})
	a := r.admin(t, admin.Options{Program: program(t, "exit 255")})
	for i := range 5 {
		got, err := a.Decommission(t.Context(), "dn2:29862")
		if err != nil || got.Verdict != mesh.VerdictOK || (got.Evidence["command"] != "") != (i == 0) {
			t.Errorf("call %d: got %s, %v", i+1, got.Line(), err)
		}
	}
	if text := r.content(t); text != "dn7\ndn2:29862\n" {
		t.Errorf("the file holds %q", text)
	}
	// One that nobody knows any more still leaves the file.
	r.nn.Patch("LiveNodes", "dn2:29862", nil)
	got, err := r.admin(t, admin.Options{Program: program(t, "exit 0")}).Recommission(t.Context(), "dn2:29862")
	if err != nil || got.Verdict != mesh.VerdictOK || got.Evidence["state"] != "unknown" || r.content(t) != "dn7\n" {
		t.Errorf("got %s, %v; the file holds %q", got.Line(), err, r.content(t))
	}
}
