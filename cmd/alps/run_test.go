package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"alps/agent"
	"alps/cmd/alps/internal/dev"
	"alps/mesh"
)

// reloadable is a daemon of the shared cluster whose config a test changes;
// it is put back at the end.
type reloadable struct {
	p    *dev.Process
	good string // the config that it was started with.
}

func newReloadable(t *testing.T, p *dev.Process) reloadable {
	t.Helper()
	b, err := os.ReadFile(p.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	r := reloadable{p, string(b)}
	t.Cleanup(func() { r.reload(t, r.good, "config reloaded") })
	return r
}

// reload writes a config, sends SIGHUP, and waits until the log says so. It
// returns what was logged in between.
func (r reloadable) reload(t *testing.T, hcl, says string) string {
	t.Helper()
	from := len(r.log(t))
	if err := os.WriteFile(r.p.ConfigPath(), []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	logged := ""
	eventually(t, "the log says "+says, func() bool {
		logged = r.log(t)[from:]
		return strings.Contains(logged, says)
	})
	return logged
}

func (r reloadable) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(r.p.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const refusal = "reload refused, the old config stays"

// TestReloadAgent changes the config of a running agent: what may change
// does, a file that is wrong or needs a restart changes nothing at all, and
// the log says why.
func TestReloadAgent(t *testing.T) {
	c := sharedCluster(t)
	const node = "bj-e-admin01"
	r := newReloadable(t, c.Agent(node))
	slots := func() int {
		t.Helper()
		s, err := agent.Ask(t.Context(), filepath.Join(c.Agent(node).Dir(), "agent.sock"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Exec.Limits.Slots
	}
	was := slots()
	line := fmt.Sprintf("agent.hcl:%d: ", strings.Count(r.good, "\n")+1) // the first that is added.

	refused := map[string]struct{ hcl, says string }{
		"an unknown key":    {r.good + "log_levell = \"debug\"\nexec { slots = 9 }\n", line + `unknown key "log_levell" (did you mean "log_level"?)`},
		"no syntax":         {r.good + "exec { slots = 9\n", line},
		"out of bounds":     {r.good + "log_level = \"debug\"\nexec { slots = 1000 }\n", "exec.slots: 1000 is out of bounds: want 1 to 256"},
		"needs a restart":   {r.good + "log_level = \"debug\"\nexec {\n  slots = 9\n  queue = 3\n}\n", "a change of exec.queue needs a restart"},
		"another directory": {strings.Replace(r.good, "data_dir = ", "data_dir = \"/else\" # ", 1) + "exec { slots = 9 }\n", "data_dir"},
	}
	for name, tt := range refused {
		t.Run(name, func(t *testing.T) {
			logged := r.reload(t, tt.hcl, tt.says)
			if !strings.Contains(logged, refusal) {
				t.Errorf("the log does not say %q:\n%s", refusal, logged)
			}
			if got := slots(); got != was {
				t.Errorf("the agent has %d slots after a reload that was refused, want %d as before:\n%s", got, was, logged)
			}
		})
	}
	// The level did not change either: a job leaves no line of debugging.
	debugging := func() bool {
		t.Helper()
		from := len(r.log(t))
		if got := alps(t, c, "exec", "-t", node, "--", "true"); got.code != exitOK {
			t.Fatalf("exec = %v", got)
		}
		return strings.Contains(r.log(t)[from:], "[DEBUG]")
	}
	if debugging() {
		t.Error("a reload that was refused has changed the log level")
	}

	r.reload(t, r.good+"log_level = \"debug\"\nexec { slots = 9 }\n", "config reloaded")
	if got := slots(); got != 9 {
		t.Errorf("the agent has %d slots after a reload with 9", got)
	}
	if !debugging() {
		t.Error("log_level = debug was reloaded, and a job leaves no line of debugging")
	}

	// Who jobs may run as.
	asNobody := func() mesh.State {
		t.Helper()
		alps(t, c, "exec", "-t", node, "-u", "nobody", "--", "true")
		job := lastJob(t, c)
		if len(job.Groups) != 1 {
			t.Fatalf("the job has groups %+v, want one", job.Groups)
		}
		return job.Groups[0].State
	}
	if got := asNobody(); got != mesh.Rejected {
		t.Errorf("a job of a user that is not listed is %s, want %s", got, mesh.Rejected)
	}
	r.reload(t, r.good+"exec { run_as = [\"nobody\"] }\n", "config reloaded")
	if got := asNobody(); got == mesh.Rejected {
		t.Errorf("a job of a user that was listed by a reload is %s", got)
	}
	r.reload(t, r.good, "config reloaded")
	if got := asNobody(); got != mesh.Rejected {
		t.Errorf("a job of a user that was taken off the list is %s, want %s", got, mesh.Rejected)
	}
	if got := slots(); got != was {
		t.Errorf("the agent has %d slots after the old config was put back, want %d", got, was)
	}
}

// TestReloadServer does the same to the server, which must go on serving.
func TestReloadServer(t *testing.T) {
	c := sharedCluster(t)
	r := newReloadable(t, c.Server())
	refused := map[string]struct{ hcl, says string }{
		"an unknown key":     {r.good + "job { timout = \"1h\" }\n", `server.hcl:11: unknown key "timout" in job (did you mean "timeout"?)`},
		"two errors":         {r.good + "log_level = \"loud\"\nclustr = \"x\"\n", `unknown key "clustr" (did you mean "cluster"?)`},
		"another address":    {strings.Replace(r.good, fmt.Sprintf("api { listen = %q }", c.Address()), `api { listen = "127.0.0.1:1" }`, 1), "a change of api.listen needs a restart"},
		"a list of its own":  {strings.Replace(r.good, "keys {", "keys {\n  revoked = "+fmt.Sprintf("%q", r.p.ConfigPath()), 1), "keys.revoked"},
		"a file that is not": {"", "data_dir"},
	}
	for name, tt := range refused {
		t.Run(name, func(t *testing.T) {
			if tt.hcl == r.good {
				t.Fatal("the config was not changed")
			}
			if logged := r.reload(t, tt.hcl, tt.says); !strings.Contains(logged, refusal) {
				t.Errorf("the log does not say %q:\n%s", refusal, logged)
			}
			if got := alps(t, c, "node", "list"); got.code != exitOK {
				t.Errorf("the server does not go on: %v", got)
			}
		})
	}
	r.reload(t, r.good+"log_level = \"debug\"\n", "config reloaded")
	if got := alps(t, c, "exec", "-t", "all", "--", "true"); got.code != exitOK {
		t.Errorf("the server does not go on: %v", got)
	}
}
