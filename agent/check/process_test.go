package check_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"alps/mesh"
)

// eventually polls until cond holds: for tests with real processes, where time
// is real.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// TestTheEndOfTheEngineEndsItsScripts has a script run that would go on, with
// a child, and ends the engine.
func TestTheEndOfTheEngineEndsItsScripts(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "pids")
	d := mesh.CheckDef{
		ID: "s", Name: "s", Kind: mesh.CheckScript, Runner: mesh.RunnerAgent, Interval: 200 * time.Millisecond, Timeout: time.Minute, Attempts: 1,
		Command: []string{"/bin/sh", "-c", `sleep 600 & echo $$ $! > "$FILE.new"; mv "$FILE.new" "$FILE"; wait`}, Env: map[string]string{"FILE": file},
	}
	r.start(nil, d)
	var pids []string
	eventually(t, "the script runs", func() bool {
		b, _ := os.ReadFile(file)
		pids = strings.Fields(string(b))
		return len(pids) == 2
	})
	r.stop()
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile("/proc/" + p + "/stat")
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %d runs after the end of the engine", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if got := r.reports.take(); len(results(got, "s")) != 0 {
		t.Errorf("a script that was stopped for our sake gave a result: %+v", got)
	}
}

// TestAScriptEndToEnd follows one script into both readers.
func TestAScriptEndToEnd(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "code")
	set := func(code string) {
		if err := os.WriteFile(file+".new", []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	set("0")
	d := mesh.CheckDef{
		ID: "s", Name: "s", Kind: mesh.CheckScript, Runner: mesh.RunnerAgent, Interval: 200 * time.Millisecond, Timeout: time.Minute, Attempts: 1,
		Command: []string{"/bin/sh", "-c", `read code < "$FILE"; echo "code $code | code=$code"; exit $code`}, Env: map[string]string{"FILE": file},
	}
	r.start(nil, d)
	for code, want := range []mesh.Health{mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown} {
		text := strconv.Itoa(code)
		set(text)
		eventually(t, "a report of "+string(want), func() bool {
			for _, c := range results(r.reports.take(), "s") {
				if c.Status == want {
					if c.Output != "code "+text || c.Code != code || c.Samples[0].Value != float64(code) {
						t.Errorf("the result is %+v", c)
					}
					return true
				}
			}
			return false
		})
		inConsul := want
		if want == mesh.HealthUnknown {
			inConsul = mesh.HealthWarning
		}
		eventually(t, "Consul has "+string(inConsul), func() bool {
			c, _ := r.consul.Check("s")
			return c.Status == inConsul && strings.HasSuffix(c.Output, "code "+text)
		})
	}
}
