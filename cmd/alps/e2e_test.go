package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// result is what one run of the program left behind.
type result struct {
	stdout, stderr string
	code           int
}

// alps runs the program as an admin of the cluster, in a process of its own.
func alps(t *testing.T, c *dev.Cluster, args ...string) result {
	t.Helper()
	token, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "alps", args...)
	cmd.Env = append(os.Environ(), envAddr+"="+c.Address(), envToken+"="+token, envCACert+"="+c.CACert())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("alps %q does not end:\n%s%s", args, &out, &errs)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok && !exit.Exited() {
		t.Fatalf("alps %q: %v", args, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func (r result) String() string {
	b, _ := json.Marshal(map[string]any{"stdout": r.stdout, "stderr": r.stderr, "code": r.code})
	return string(b)
}

// lastJob is the newest job of the cluster, with its groups.
func lastJob(t *testing.T, c *dev.Cluster) v1.Job {
	t.Helper()
	list, err := c.Client().Jobs(t.Context(), v1.JobFilter{Limit: 1})
	if err != nil || len(list.Jobs) == 0 {
		t.Fatalf("list jobs: %v, %v", list, err)
	}
	return getJob(t, c, list.Jobs[0].ID)
}

func getJob(t *testing.T, c *dev.Cluster, id mesh.JobID) v1.Job {
	t.Helper()
	job, err := c.Client().Job(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// awaitJob polls until the job is as wanted, and fails with how it stands
// otherwise.
func awaitJob(t *testing.T, c *dev.Cluster, id mesh.JobID, what string, ok func(v1.Job) bool) v1.Job {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		job, err := c.Client().Job(t.Context(), string(id))
		if err == nil && ok(job) {
			return job
		}
		if time.Now().After(deadline) {
			t.Fatalf("job %s: not %s after 90 s: %v, %+v, %v", id, what, job.Counts, job.Groups, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ended(j v1.Job) bool { return j.Counts.Total() > 0 && j.Counts.Open() == 0 }

// writeScript writes an executable file and returns its path.
func writeScript(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.sh")
	if err := os.WriteFile(path, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestJobEndToEnd is the spine in one piece: a script to every hadoop node,
// acked, run and folded; then an agent is killed, and the next job says so.
func TestJobEndToEnd(t *testing.T) {
	c := ownCluster(t, dev.Options{})
	script := writeScript(t, "#!/bin/sh\necho \"job of $ALPS_CLUSTER with $1\"\necho to stderr >&2\n")

	got := alps(t, c, "exec", "-t", "role=hadoop", "--script", script, "--", "an argument")
	want := "---- bj-e-hadoop01-11-[203-204],bj-e-hadoop01-13-220 (3)\njob of alps-dev with an argument\nstderr: to stderr\n"
	if got.code != exitOK || got.stdout != want {
		t.Fatalf("exec = %v\nwant code 0 and stdout %q", got, want)
	}
	if !strings.HasPrefix(got.stderr, "3 of 3 OK in ") {
		t.Errorf("exec says %q, want 3 of 3 OK", got.stderr)
	}
	job := lastJob(t, c)
	woke := 0
	for _, n := range job.Woke {
		woke += n
	}
	if job.Counts[mesh.OK] != 3 || job.Counts.Total() != 3 || woke != 3 {
		t.Errorf("the job has counts %v and was woken for by %v, want 3 OK of 3 and 3 that woke", job.Counts, job.Woke)
	}

	const dead = "bj-e-hadoop01-11-204"
	c.Agent(dead).Kill()
	got = alps(t, c, "exec", "-t", "role=hadoop", "--wait", "2s", "--", "echo", "still here")
	if got.code != exitFailed {
		t.Errorf("exec with a dead agent exits with %d, want %d: %v", got.code, exitFailed, got)
	}
	want = "---- bj-e-hadoop01-11-203,bj-e-hadoop01-13-220 (2)\nstill here\n"
	if got.stdout != want {
		t.Errorf("exec with a dead agent prints %q, want %q", got.stdout, want)
	}
	for _, part := range []string{"PENDING      " + dead + " (1)  missing", "2 of 3 OK", "1 still open until"} {
		if !strings.Contains(got.stderr, part) {
			t.Errorf("exec with a dead agent says %q, want it to contain %q", got.stderr, part)
		}
	}

	// The list is the denominator: the node that was away still runs it.
	if err := c.Agent(dead).Start(); err != nil {
		t.Fatal(err)
	}
	awaitJob(t, c, lastJob(t, c).ID, "OK on all three", func(j v1.Job) bool { return j.Counts[mesh.OK] == 3 })
}

// TestTour runs the commands that `alps dev` prints, as they are printed, in
// a shell that has read the env file.
func TestTour(t *testing.T) {
	c := sharedCluster(t)
	for _, line := range tour() {
		t.Run(line, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "sh", "-c", ". '"+c.EnvFile()+"' && "+line).CombinedOutput()
			if err != nil || len(out) == 0 {
				t.Errorf("$ %s: %v\n%s", line, err, out)
			}
		})
	}
}

// TestMembers holds `alps members` against `consul members`: the same rows in
// the same order, without the partition that only Consul Enterprise has.
func TestMembers(t *testing.T) {
	c := sharedCluster(t)
	consul := filepath.Join("..", "..", "bin", "consul")
	if path, err := exec.LookPath("consul"); err == nil {
		consul = path
	}
	out, err := exec.CommandContext(t.Context(), consul, "members", "-http-addr", c.Consul().Nodes()[0].HTTPAddr()).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		want = append(want, strings.Join(append(f[:7:7], f[len(f)-1]), " "))
	}
	var got []string
	for line := range strings.Lines(alps(t, c, "members").stdout) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("alps members prints\n%s\nconsul members prints\n%s", g, w)
	}
}

// TestCancel stops a job whose processes ignore TERM and leave their session.
func TestCancel(t *testing.T) {
	c := sharedCluster(t)
	marker := filepath.Join(t.TempDir(), "tick")
	script := writeScript(t, "#!/bin/sh\ntrap '' TERM\n(setsid sleep 300 &)\nwhile :; do date +%s%N >> "+marker+"; sleep 0.1; done\n")
	id := mesh.JobID(strings.TrimSpace(alps(t, c, "exec", "-d", "-t", "role=hadoop", "--grace", "1s", "--script", script).stdout))
	awaitJob(t, c, id, "running on three", func(j v1.Job) bool { return j.Counts[mesh.Running] == 3 })

	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(marker); err == nil {
			break // TERM is ignored from here on.
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}

	got := alps(t, c, "job", "cancel", string(id))
	if got.code != exitOK || !strings.Contains(got.stdout, "3 of 3 nodes confirmed stopped") {
		t.Errorf("job cancel = %v, want 3 of 3 confirmed", got)
	}
	before, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	// Three ticks' time: whoever still lived would have written.
	time.Sleep(300 * time.Millisecond)
	after, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("something of the cancelled job still runs")
	}
	if job := getJob(t, c, id); job.Counts[mesh.Cancelled] != 3 {
		t.Errorf("the cancelled job has counts %v, want 3 CANCELLED", job.Counts)
	}
}
