package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// inBackground runs the program as an admin of the cluster; the result is
// there when it has ended.
func inBackground(t *testing.T, c *dev.Cluster, args ...string) <-chan result {
	t.Helper()
	token, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "alps", args...)
	cmd.Env = append(os.Environ(), envAddr+"="+c.Address(), envToken+"="+token, envCACert+"="+c.CACert())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan result, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = cmd.Wait() // the exit code says it.
		done <- result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	})
	t.Cleanup(wg.Wait)
	return done
}

// within waits for a result.
func within(t *testing.T, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(2 * time.Minute):
		t.Fatal("alps does not end")
		return result{}
	}
}

// onlyJob waits until the cluster has a job, its first.
func onlyJob(t *testing.T, c *dev.Cluster) mesh.JobID {
	t.Helper()
	var list v1.JobList
	eventually(t, "there is a job", func() bool {
		list, _ = c.Client().Jobs(t.Context(), v1.JobFilter{Limit: 1})
		return len(list.Jobs) == 1
	})
	return list.Jobs[0].ID
}

// TestServerKilled kills the server in the middle of a job. The nodes go on,
// and whoever follows the job sees its end as if nothing had been.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, dev.Options{})
	y := newTally(t)
	follow := inBackground(t, c, append([]string{"exec", "-t", "all", "--"}, y.request("job", "", "sleep 2", "echo done >> "+filepath.Join(y.dir, "end"), "echo done").Command...)...)
	id := onlyJob(t, c)
	awaitJob(t, c, id, "running everywhere", func(j v1.Job) bool { return j.Counts[mesh.Running] == 5 })
	c.Server().Kill()
	eventually(t, "the nodes have ended the job without a server", func() bool { return y.runs(t, "end")["done"] == 5 })
	if err := c.Server().Start(); err != nil {
		t.Fatal(err)
	}

	got := within(t, follow)
	want := "---- bj-e-admin[01,03],bj-e-hadoop01-11-[203-204],bj-e-hadoop01-13-220 (5)\ndone\n"
	if got.code != exitOK || got.stdout != want {
		t.Errorf("the exec that followed = %v\nwant code 0 and stdout %q", got, want)
	}
	if !strings.Contains(got.stderr, "the server is away; the job goes on without it") {
		t.Errorf("the exec that followed says %q, want it to say that the server was away", got.stderr)
	}
	y.wantOnce(t, c, id, "job")
	audit, err := c.Client().Audit(t.Context(), v1.AuditFilter{Action: "job.end", Object: string(id)})
	if err != nil || len(audit.Lines) != 1 || audit.Lines[0].Detail[string(mesh.OK)] != "5" {
		t.Errorf("the end of the job is recorded as %+v, %v; want once, with 5 OK", audit.Lines, err)
	}
}

// processesOf counts the processes on this machine that belong to a job.
func processesOf(t *testing.T, id mesh.JobID) int {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range list {
		env, _ := os.ReadFile(path) // a process that has ended meanwhile has none.
		if bytes.Contains(env, []byte("ALPS_JOB="+string(id)+".")) {
			n++
		}
	}
	return n
}

// TestAgentKilled kills agents at the moments that matter: before a job is
// announced, while it runs, and at any time around its start.
func TestAgentKilled(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel()
	c := ownCluster(t, dev.Options{})
	const node = "bj-e-hadoop01-11-204"

	t.Run("before the announcement", func(t *testing.T) {
		y := newTally(t)
		c.Agent(node).Kill()
		id := submit(t, c, y.request("job", node))
		start(t, c.Agent(node))
		job := awaitJob(t, c, id, "ended", ended)
		y.wantOnce(t, c, id, "job")
		if job.Woke[mesh.WokeStart] != 1 {
			t.Errorf("the node was woken by %v, want its start", job.Woke)
		}
	})

	t.Run("while it runs", func(t *testing.T) {
		y := newTally(t)
		id := submit(t, c, y.request("job", node, "setsid sleep 300 & sleep 300"))
		eventually(t, "the whole tree runs", func() bool { return processesOf(t, id) >= 3 })
		c.Agent(node).Kill()
		if n := processesOf(t, id); n < 3 {
			t.Fatalf("%d processes are left with the agent gone, want all of the tree", n)
		}
		start(t, c.Agent(node))
		awaitJob(t, c, id, "ended", ended)
		got := targets(t, c, id)[0]
		if want := "the agent was restarted while it ran; "; got.State != mesh.Unknown || got.Inferred || !strings.HasPrefix(got.Reason, want) {
			t.Errorf("the target is %s (%s), inferred %t; want the node's own UNKNOWN (%s…)", got.State, got.Reason, got.Inferred, want)
		}
		if n := processesOf(t, id); n != 0 {
			t.Errorf("%d processes of the job are left", n)
		}
		if n := y.runs(t, "job")[node]; n != 1 {
			t.Errorf("the job ran %d times, want once", n)
		}
	})

	t.Run("while an idempotent one runs", func(t *testing.T) {
		y := newTally(t)
		req := y.request("job", node, "[ $(wc -l < "+filepath.Join(y.dir, "job")+") -gt 1 ] || sleep 300")
		req.Idempotent = true
		id := submit(t, c, req)
		eventually(t, "it runs", func() bool { return y.runs(t, "job")[node] == 1 })
		c.Agent(node).Kill()
		start(t, c.Agent(node))
		awaitJob(t, c, id, "ended", ended)
		got := targets(t, c, id)[0]
		if want := "started again after a restart of the agent"; got.State != mesh.OK || got.Reason != want {
			t.Errorf("the target is %s (%s), want OK (%s)", got.State, got.Reason, want)
		}
		if n := y.runs(t, "job")[node]; n != 2 {
			t.Errorf("the job ran %d times, want twice", n)
		}
		if n := processesOf(t, id); n != 0 {
			t.Errorf("%d processes of the job are left", n)
		}
	})

	t.Run("at random", func(t *testing.T) {
		const rounds = 20
		y := newTally(t)
		seen := make(map[string]int)
		for i := range rounds {
			killRound(t, c, y, "job"+strconv.Itoa(i), seen)
		}
		t.Logf("state and first word by: %v", seen)
		if len(seen) == 1 && seen["OK start"] > 0 {
			t.Error("all kills came before the job was seen: nothing was interrupted")
		}
	})
}

// killRound runs one short job on three nodes and kills each of their agents
// at some moment around its start. A node that says OK has run it exactly
// once, one that does not know at most once, and none stays silent.
func killRound(t *testing.T, c *dev.Cluster, y tally, name string, seen map[string]int) {
	t.Helper()
	agents := slices.DeleteFunc(c.Agents(), func(p *dev.Process) bool { return !strings.Contains(p.Node(), "hadoop") })
	id := submit(t, c, y.request(name, "role=hadoop", "sleep 0.02"))
	var wg sync.WaitGroup
	for _, a := range agents {
		wg.Go(func() {
			time.Sleep(rand.N(60 * time.Millisecond)) // the moment of the fault.
			a.Kill()
		})
	}
	wg.Wait()
	for _, a := range agents {
		start(t, a)
	}
	awaitJob(t, c, id, "ended", ended)
	runs := y.runs(t, name)
	for _, n := range targets(t, c, id) {
		seen[string(n.State)+" "+string(n.Woke)]++
		switch k := runs[n.Name]; {
		case n.State == mesh.OK && k == 1:
		case n.State == mesh.Unknown && k <= 1 && !n.Inferred:
		default:
			t.Errorf("%s: %s is %s (%s) and ran %d times", name, n.Name, n.State, n.Reason, k)
		}
	}
}

func start(t *testing.T, p *dev.Process) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}
