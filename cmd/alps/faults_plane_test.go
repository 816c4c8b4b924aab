package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul/cluster"
	v1 "alps/server/api/v1"
)

// tally is a directory in which each run of a job leaves a line.
type tally struct{ dir string }

func newTally(t *testing.T) tally {
	t.Helper()
	return tally{t.TempDir()}
}

// request is a job that writes the node's name and does no more, unless more
// is given.
func (y tally) request(name, target string, more ...string) v1.JobRequest {
	line := "echo $ALPS_NODE >> " + filepath.Join(y.dir, name)
	return v1.JobRequest{Target: target, Command: []string{"/bin/sh", "-c", strings.Join(append([]string{line}, more...), "; ")}}
}

// runs is how often each node has run what was requested under the name.
func (y tally) runs(t *testing.T, name string) map[mesh.NodeName]int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(y.dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	runs := make(map[mesh.NodeName]int)
	for line := range strings.Lines(string(b)) {
		runs[mesh.NodeName(strings.TrimSpace(line))]++
	}
	return runs
}

// wantOnce fails unless every target of the job is OK and has run exactly
// once.
func (y tally) wantOnce(t *testing.T, c *dev.Cluster, id mesh.JobID, name string) {
	t.Helper()
	runs := y.runs(t, name)
	list := targets(t, c, id)
	for _, n := range list {
		if n.State != mesh.OK || runs[n.Name] != 1 {
			t.Errorf("job %s: %s is %s (%s) and ran %d times, want OK and once", name, n.Name, n.State, n.Reason, runs[n.Name])
		}
	}
	if job := getJob(t, c, id); job.Counts.Total() != len(list) || len(runs) != len(list) {
		t.Errorf("job %s: counts %v, %d targets, ran on %d nodes", name, job.Counts, len(list), len(runs))
	}
}

// submit submits a job and wants it announced.
func submit(t *testing.T, c *dev.Cluster, req v1.JobRequest) mesh.JobID {
	t.Helper()
	sub, err := c.Client().Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if sub.Warning != "" {
		t.Errorf("the job comes with a warning: %s", sub.Warning)
	}
	return sub.Job.ID
}

func targets(t *testing.T, c *dev.Cluster, id mesh.JobID) []v1.Target {
	t.Helper()
	list, err := c.Client().Targets(t.Context(), string(id), v1.TargetFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return list.Targets
}

// TestPlanes takes away, one after the other, what tells a node of a job. The
// job runs everywhere all the same, and says how each node learned of it.
func TestPlanes(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel()
	ps := make(proxies)
	c := ownCluster(t, dev.Options{Configure: ps.configure(t)})
	for _, tt := range []struct {
		name   string
		faults []fault
		want   string
	}{
		{"without events", []fault{noEvents}, "0 event, 5 watch, 0 poll"},
		{"without watch", []fault{noWatch}, "5 event, 0 watch, 0 poll"},
		{"without both", []fault{noEvents, noWatch}, "0 event, 0 watch, 5 poll"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := newTally(t)
			ps.set(t, tt.faults...)
			id := submit(t, c, y.request("job", "all"))
			awaitJob(t, c, id, "ended", ended)
			y.wantOnce(t, c, id, "job")
			if got := alps(t, c, "job", "show", string(id)); !strings.Contains(got.stdout, "woke by  "+tt.want+"\n") {
				t.Errorf("job show = %v, want it to contain %q", got, tt.want)
			}
		})
	}
}

// TestLargeJob sends a script that no document holds, and fetches an output
// that no message holds.
func TestLargeJob(t *testing.T) {
	c := sharedCluster(t)
	const written = 3 << 20
	filler := strings.Repeat("# "+strings.Repeat("x", 97)+"\n", 2048)
	script := writeScript(t, "#!/bin/sh\n"+filler+`
echo first line
head -c $(($1 - 22)) /dev/zero | tr '\0' x
echo
echo last line
`)
	if info, err := os.Stat(script); err != nil || info.Size() < 200<<10 {
		t.Fatalf("the script: %v, %v, want at least 200 KiB", info, err)
	}
	got := alps(t, c, "exec", "-t", "all", "--script", script, "--", fmt.Sprint(written))
	if got.code != exitOK {
		t.Fatalf("exec exits with %d and says %s", got.code, got.stderr)
	}
	for _, part := range []string{"(5)\nfirst line\nxxx", "\nlast line\n"} {
		if !strings.Contains(got.stdout, part) {
			t.Errorf("exec prints %d bytes, %.80q … %q, want it to contain %q", len(got.stdout), got.stdout, got.stdout[max(0, len(got.stdout)-80):], part)
		}
	}

	job := lastJob(t, c)
	if len(job.Groups) != 1 || job.Counts[mesh.OK] != 5 {
		t.Fatalf("the job has counts %v and groups %+v, want 5 OK in one group", job.Counts, job.Groups)
	}
	out := job.Groups[0].Stdout
	if out.Bytes != written || !out.Truncated {
		t.Errorf("the output has %d bytes and truncated %t, want %d and true", out.Bytes, out.Truncated, written)
	}
	body, err := c.Client().Output(t.Context(), string(job.ID), out.Digest)
	if err != nil || len(body) > mesh.MaxOutput || len(body) < mesh.MaxOutput*9/10 || mesh.Digest(body) != out.Digest {
		t.Errorf("the body has %d bytes and digest %s, %v; want about %d and %s", len(body), mesh.Digest(body), err, mesh.MaxOutput, out.Digest)
	}
	if !bytes.HasPrefix(body, []byte("first line\n")) || !bytes.HasSuffix(body, []byte("\nlast line\n")) {
		t.Error("the body does not hold the beginning and the end of the output")
	}
}

// TestDatacenters runs jobs over two datacenters: one list, one denominator,
// and one of the two may be away.
func TestDatacenters(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel()
	c := ownCluster(t, dev.Options{Datacenters: []cluster.Datacenter{
		{Name: "bj-e-01", Nodes: []cluster.NodeSpec{{Name: "bj-e-admin03", Server: true}, {Name: "bj-e-hadoop01-11-203"}}},
		{Name: "sh-w-01", Nodes: []cluster.NodeSpec{{Name: "sh-w-admin01", Server: true}, {Name: "sh-w-hadoop01-02-17"}}},
	}})

	members := alps(t, c, "members").stdout
	for _, n := range c.Consul().Nodes() {
		row := regexp.MustCompile(`(?m)^` + n.Name + ` .* alive .* ` + n.Datacenter + `\b`)
		if !row.MatchString(members) {
			t.Errorf("alps members shows no row like %s:\n%s", row, members)
		}
	}
	if strings.Contains(members, ":0 ") {
		t.Errorf("alps members shows a port that is none:\n%s", members)
	}

	t.Run("both", func(t *testing.T) {
		y := newTally(t)
		id := submit(t, c, y.request("job", "all"))
		job := awaitJob(t, c, id, "ended", ended)
		y.wantOnce(t, c, id, "job")
		if job.Counts.Total() != 4 || job.Woke[mesh.WokePoll] != 0 {
			t.Errorf("the job has counts %v and was woken for by %v, want 4 and no poll", job.Counts, job.Woke)
		}
		got := alps(t, c, "exec", "-t", "dc=sh-w-01", "--", "echo", "here")
		if want := "---- sh-w-admin01,sh-w-hadoop01-02-17 (2)\nhere\n"; got.stdout != want || got.code != exitOK {
			t.Errorf("exec in the other datacenter = %v, want %q", got, want)
		}
	})

	t.Run("one away", func(t *testing.T) {
		y := newTally(t)
		far := c.Consul().Node("sh-w-admin01")
		far.Kill()
		sub, err := c.Client().Submit(t.Context(), y.request("job", "all"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(sub.Warning, "sh-w-01") || strings.Contains(sub.Warning, "bj-e-01") {
			t.Errorf("the warning is %q, want it to name sh-w-01 alone", sub.Warning)
		}
		awaitJob(t, c, sub.Job.ID, "OK on the near side", func(j v1.Job) bool { return j.Counts[mesh.OK] == 2 && j.Counts.Total() == 4 })
		if err := far.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitJob(t, c, sub.Job.ID, "ended", ended)
		y.wantOnce(t, c, sub.Job.ID, "job")
	})
}
