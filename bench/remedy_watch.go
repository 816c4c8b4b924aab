package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"alps/mesh"

	hdfs "alps/checks/hdfs/cluster"
)

// The NameNode copies so many blocks a second for each DataNode that lives: in
// the cluster as it comes, and while a drain is watched.
const (
	drainKey  = "dfs.namenode.replication.work.multiplier.per.iteration"
	drainFast = "10"
	drainSlow = "1"
	// drainFiles are written before it, small ones: blocks are what counts.
	drainFiles = 240
)

// watched is what the processes of ALPS have used in remedyWatch.
type watched struct {
	server, agents, jobs time.Duration // jobs: what the agents have started.
	serverMem, agentsMem memory
	attempts             int
}

// look sees what the server and all agents use.
func (r *remedyRun) look(ctx context.Context) (watched, error) {
	var w watched
	server, err := r.c.pids("server --config")
	if err != nil {
		return w, err
	}
	agents, err := r.c.pids("agent --config")
	if err != nil {
		return w, err
	}
	w.server, w.agents, w.jobs = cpuOf(server...), cpuOf(agents...), childrenOf(agents...)
	if err := sleep(ctx, remedyWatch); err != nil {
		return w, err
	}
	w.server, w.agents, w.jobs = cpuOf(server...)-w.server, cpuOf(agents...)-w.agents, childrenOf(agents...)-w.jobs
	if w.serverMem, err = memoryOf(server[0]); err != nil {
		return w, err
	}
	for _, pid := range agents {
		m, err := memoryOf(pid)
		if err != nil {
			return w, err
		}
		w.agentsMem.anonymous += m.anonymous
		w.agentsMem.resident += m.resident
	}
	return w, nil
}

// watch has ALPS watch a drain that takes longer, and compares with idle.
func (r *remedyRun) watch(ctx context.Context, idle watched) error {
	if err := r.slowDown(ctx); err != nil {
		return err
	}
	n, blocks, err := r.fullest(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, time.Until(r.last.Add(remedyApart))); err != nil {
		return err
	}
	broke := time.Now()
	if _, err := hdfs.ReadOnly(n.dirs[0]); err != nil {
		return err
	}
	proves := func(run mesh.RemedyRun) (attempts int) {
		for _, s := range run.Steps {
			if s.Kind == mesh.StepProve {
				attempts = s.Attempts
			}
		}
		return attempts
	}
	before, err := r.awaitRun(ctx, n, broke, func(run mesh.RemedyRun) bool { return proves(run) > 0 })
	if err != nil {
		return err
	}
	w, err := r.look(ctx)
	if err != nil {
		return err
	}
	after, err := r.api.RemedyRun(ctx, string(before.ID))
	if err != nil {
		return err
	}
	if after.State.Ended() {
		return fmt.Errorf("the drain was over before it was looked at for %s: it is %s; %s", remedyWatch, after.State, after.Reason)
	}
	w.attempts = proves(after) - proves(before)
	r.printWatch(idle, w)
	r.printf("  %d blocks were on the DataNode\n", blocks)
	r.printf("  the drain when that was over: %s (load %s)\n", progressOf(after), load())
	return nil
}

// progressOf is how far the newest step of a run says that it is.
func progressOf(run mesh.RemedyRun) string {
	for _, n := range run.Steps[len(run.Steps)-1].Nodes {
		if n.Answer != nil && n.Answer.Progress != nil {
			p := n.Answer.Progress
			return fmt.Sprintf("%s, %d of %d %s left", p.State, p.Left, p.Total, p.Unit)
		}
	}
	return "not known"
}

// fullest writes more files, so that there is something to watch, and returns
// the DataNode that has the most blocks then.
func (r *remedyRun) fullest(ctx context.Context) (n dataNode, blocks int64, err error) {
	dir, err := os.MkdirTemp("", "alps-bench-files-*")
	if err != nil {
		return n, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary.
	for i := range drainFiles {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), make([]byte, 1<<10), 0o600); err != nil {
			return n, 0, err
		}
	}
	if _, err := r.hdfs(ctx, "dfs", "-D", "dfs.replication=3", "-put", dir, "/more"); err != nil {
		return n, 0, err
	}
	info, err := r.jmx.NameNodeInfo(ctx, r.nn.HTTP)
	if err != nil {
		return n, 0, err
	}
	for _, d := range r.nodes {
		if has := info.Live[d.key].NumBlocks; has > blocks {
			n, blocks = d, has
		}
	}
	return n, blocks, nil
}

// slowDown has the NameNode copy fewer blocks at a time.
func (r *remedyRun) slowDown(ctx context.Context) error {
	b, err := os.ReadFile(r.conf)
	if err != nil {
		return err
	}
	was, is := "<name>"+drainKey+"</name><value>"+drainFast+"</value>", "<name>"+drainKey+"</name><value>"+drainSlow+"</value>"
	if strings.Count(string(b), was) != 1 {
		return fmt.Errorf("%s does not say %s", r.conf, was)
	}
	if err := os.WriteFile(r.conf, []byte(strings.Replace(string(b), was, is, 1)), 0o600); err != nil {
		return err
	}
	if _, err := r.hdfs(ctx, "dfsadmin", "-reconfig", "namenode", r.nn.RPC, "start"); err != nil {
		return err
	}
	return r.await(ctx, "the NameNode has taken its new pace", func(ctx context.Context) error {
		said, err := r.hdfs(ctx, "dfsadmin", "-reconfig", "namenode", r.nn.RPC, "status")
		if err == nil && !strings.Contains(said, "SUCCESS: Changed property "+drainKey) {
			err = fmt.Errorf("it says %s", said)
		}
		return err
	})
}

func (r *remedyRun) printWatch(idle, drain watched) {
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / remedyWatch.Seconds() }
	r.printf("over %s, with the disks of four DataNodes looked at every %s; a drain, in which %d proofs were asked for\n", remedyWatch, disksEvery, drain.attempts)
	r.printf("%-26s %12s %12s %8s %16s %16s\n", "", "CPU % idle", "CPU % drain", "ratio", "anonymous MB idle", "anonymous MB drain")
	for _, row := range []struct {
		name    string
		a, b    time.Duration
		am, bm  int
		without bool
	}{
		{"alps server", idle.server, drain.server, idle.serverMem.anonymous, drain.serverMem.anonymous, false},
		{"all agents", idle.agents, drain.agents, idle.agentsMem.anonymous, drain.agentsMem.anonymous, false},
		{"what agents have started", idle.jobs, drain.jobs, 0, 0, true},
		{"together", idle.server + idle.agents + idle.jobs, drain.server + drain.agents + drain.jobs, 0, 0, true},
	} {
		mem := ""
		if !row.without {
			mem = fmt.Sprintf("%16.1f %16.1f", mib(row.am), mib(row.bm))
		}
		r.printf("%-26s %12.2f %12.2f %8.2f %s\n", row.name, percent(row.a), percent(row.b), row.b.Seconds()/row.a.Seconds(), mem)
	}
}
