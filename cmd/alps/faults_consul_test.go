package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul/cluster"
	v1 "alps/server/api/v1"
)

// everywhere runs a job on all nodes and wants it OK, once on each.
func everywhere(t *testing.T, c *dev.Cluster) {
	t.Helper()
	y := newTally(t)
	id := submit(t, c, y.request("job", "all"))
	awaitJob(t, c, id, "ended", ended)
	y.wantOnce(t, c, id, "job")
}

// waiting submits a job that cannot be announced, and wants that to be said.
func waiting(t *testing.T, c *dev.Cluster, req v1.JobRequest) mesh.JobID {
	t.Helper()
	sub, err := c.Client().Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := "the job is stored and not announced yet"; !strings.Contains(sub.Warning, want) {
		t.Errorf("the warning is %q, want it to contain %q", sub.Warning, want)
	}
	job := getJob(t, c, sub.Job.ID)
	if len(job.Unpublished) != 1 || job.Counts[mesh.Pending] != job.Counts.Total() {
		t.Errorf("the job is unannounced in %v with counts %v, want all PENDING", job.Unpublished, job.Counts)
	}
	return sub.Job.ID
}

// said reads what a process has said.
func said(t *testing.T, p *dev.Process) string {
	t.Helper()
	b, err := os.ReadFile(p.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// logged waits until a process has said something, after what it had said
// before.
func logged(t *testing.T, p *dev.Process, before, text string) {
	t.Helper()
	eventually(t, p.LogPath()+" says "+text, func() bool { return strings.Contains(said(t, p)[len(before):], text) })
}

// TestConsulFaults breaks Consul in the ways in which it breaks. What runs
// goes on, what is submitted waits, and afterwards everything is as before.
func TestConsulFaults(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel()
	c := ownCluster(t, dev.Options{})
	server := c.Consul().Node("bj-e-admin03")

	t.Run("server killed in the middle of a job", func(t *testing.T) {
		y := newTally(t)
		running := submit(t, c, y.request("running", "all", "sleep 2"))
		awaitJob(t, c, running, "running everywhere", func(j v1.Job) bool { return j.Counts[mesh.Running] == 5 })
		server.Kill()
		waits := waiting(t, c, y.request("waits", "all"))
		awaitJob(t, c, running, "ended without Consul", ended)
		y.wantOnce(t, c, running, "running")

		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitJob(t, c, waits, "ended", ended)
		y.wantOnce(t, c, waits, "waits")
		everywhere(t, c)
	})

	t.Run("server frozen", func(t *testing.T) {
		y := newTally(t)
		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		thaw := time.After(15 * time.Second) // how long the fault lasts.
		id := waiting(t, c, y.request("job", "all"))
		<-thaw
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		awaitJob(t, c, id, "ended", ended)
		y.wantOnce(t, c, id, "job")
		everywhere(t, c)
	})

	t.Run("agent of one node away", func(t *testing.T) {
		const name = "bj-e-hadoop01-11-204"
		y := newTally(t)
		node, agent := c.Consul().Node(name), c.Agent(name)
		before := said(t, agent)
		node.Kill()
		id := submit(t, c, y.request("job", "role=hadoop"))
		awaitJob(t, c, id, "OK on the other two", func(j v1.Job) bool { return j.Counts[mesh.OK] == 2 })
		logged(t, agent, before, "jobs cannot be read from Consul")
		got := alps(t, c, "doctor", "--config", agent.ConfigPath())
		if got.code != exitFailed || !strings.Contains(got.stdout, "bad   consul  ") {
			t.Errorf("doctor without Consul = %v, want exit code 1 and a bad consul", got)
		}
		if err := node.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitJob(t, c, id, "ended", ended)
		y.wantOnce(t, c, id, "job")
		logged(t, agent, before, "jobs can be read from Consul again")
		everywhere(t, c)
	})
}

// TestConsulAwayAtStart starts everything in the wrong order.
func TestConsulAwayAtStart(t *testing.T) {
	t.Parallel()
	const name = "bj-e-admin03"
	c := ownCluster(t, dev.Options{Datacenters: []cluster.Datacenter{{
		Name: "bj-e-01", Nodes: []cluster.NodeSpec{{Name: name, Server: true}},
	}}})
	agent := c.Agent(name)
	agent.Stop()
	c.Server().Stop()
	c.Consul().Node(name).Kill()

	agentBefore, serverBefore := said(t, agent), said(t, c.Server())
	start(t, agent)
	start(t, c.Server())
	logged(t, agent, agentBefore, "starting with what it said last") // so that it can answer names.
	logged(t, c.Server(), serverBefore, "waiting for the local Consul agent")
	got := alps(t, c, "doctor", "--config", agent.ConfigPath())
	if got.code != exitFailed || !strings.Contains(got.stdout, "bad   consul  ") {
		t.Errorf("doctor without Consul = %v, want exit code 1 and a bad consul", got)
	}

	if err := c.Consul().Node(name).Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server answers", func() bool { _, err := c.Client().Status(t.Context()); return err == nil })
	if err := c.AwaitLinked(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	everywhere(t, c)
	if got := alps(t, c, "doctor", "--config", agent.ConfigPath()); got.code != exitOK {
		t.Errorf("doctor with everything up = %v, want exit code 0", got)
	}
}

// TestConsulRestored puts Consul back to a time before jobs that have run,
// jobs that run, and jobs whose nodes are away.
func TestConsulRestored(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, dev.Options{})
	server := c.Consul().Node("bj-e-admin03")
	everywhere(t, c)
	snapshot, err := server.SaveSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	y := newTally(t)
	ran := submit(t, c, y.request("ran", "all"))
	awaitJob(t, c, ran, "ended", ended)
	away := []*dev.Process{c.Agent("bj-e-hadoop01-11-204"), c.Agent("bj-e-hadoop01-13-220")}
	for _, a := range away {
		a.Kill()
	}
	jobs := map[string]mesh.JobID{"ran": ran}
	for _, name := range []string{"first", "second"} {
		jobs[name] = submit(t, c, y.request(name, "all", "sleep 1"))
	}
	awaitJob(t, c, jobs["second"], "running where it can", func(j v1.Job) bool { return j.Counts[mesh.Running] == 3 })
	if err := server.RestoreSnapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	jobs["after"] = submit(t, c, y.request("after", "all"))
	for _, a := range away {
		start(t, a)
	}
	for name, id := range jobs {
		awaitJob(t, c, id, name+" ended", ended)
		y.wantOnce(t, c, id, name)
	}
	everywhere(t, c)
}

// TestLeaderKilled kills the leader of three Consul servers between two jobs.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	const dc = "bj-e-01"
	spare := []string{"bj-e-admin02", "bj-e-admin01"}
	c := ownCluster(t, dev.Options{
		Datacenters: []cluster.Datacenter{{Name: dc, Nodes: []cluster.NodeSpec{
			{Name: "bj-e-admin03", Server: true},
			{Name: spare[0], Server: true},
			{Name: spare[1], Server: true},
			{Name: "bj-e-hadoop01-11-203"},
		}}},
		NoAgent: spare,
	})
	const target = "agent!=none"
	y := newTally(t)
	before := submit(t, c, y.request("before", target))
	awaitJob(t, c, before, "ended", ended)
	y.wantOnce(t, c, before, "before")

	// The server that ALPS itself speaks to must not be the one.
	own := c.Consul().Node("bj-e-admin03")
	leader := leaderOf(t, c, dc)
	for leader == own {
		if err := own.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Consul().WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		leader = leaderOf(t, c, dc)
	}
	leader.Kill()
	sub, err := c.Client().Submit(t.Context(), y.request("after", target))
	if err != nil {
		t.Fatal(err)
	}
	awaitJob(t, c, sub.Job.ID, "ended", ended)
	y.wantOnce(t, c, sub.Job.ID, "after")
}

func leaderOf(t *testing.T, c *dev.Cluster, dc string) *cluster.Node {
	t.Helper()
	leader, err := c.Consul().Leader(t.Context(), dc)
	if err != nil {
		t.Fatal(err)
	}
	return leader
}
