package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	hdfs "alps/checks/hdfs/cluster"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
	"alps/server/api/client"
)

const (
	remedyRounds = 3
	// remedyLimit ends what needs the HDFS, whatever it waits for.
	remedyLimit = 330 * time.Second
	// remedyEvery is how often the NameNode is asked in a round: what is told of
	// it is at most that much too late.
	remedyEvery = 50 * time.Millisecond
	// remedyApart lies between two faults: three within a minute are a storm.
	remedyApart = 31 * time.Second
	// remedyWatch is how long the processes are looked at, idle and with a
	// drain.
	remedyWatch = 15 * time.Second
	// disksEvery is the interval of the disks' check in `alps dev --hdfs`.
	disksEvery = 2 * time.Second
	disksCheck = "hdfs-volumes"
	diskRule   = "hdfs-disk"
	diskPolicy = "hdfs-disk-decommission"
	demoFiles  = 320 // of one block each, with three copies.
)

// benchRemedy breaks disks of a real HDFS: for ALPS to act, and, with ALPS
// paused, for the same steps typed at once by somebody who knows already.
func benchRemedy(ctx context.Context, e env) error {
	return errors.Join(benchDisks(ctx, e), benchJudges(ctx, e))
}

func benchDisks(ctx context.Context, e env) error {
	if os.Geteuid() != 0 {
		return errors.New("a disk is broken, and a DataNode is a machine of its own, only as root")
	}
	ctx, cancel := context.WithTimeout(ctx, remedyLimit)
	defer cancel()
	c, err := startDev(ctx, e, "--hdfs")
	if err != nil {
		return err
	}
	defer c.close()
	r := &remedyRun{env: e, c: c, jmx: jmx.New(jmx.Options{})}
	if r.api, err = c.client(); err != nil {
		return err
	}
	defer r.api.Close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	idle, err := r.look(ctx)
	if err != nil {
		return err
	}
	for i := range remedyRounds {
		if err := r.both(ctx, i); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	r.print()
	return r.watch(ctx, idle)
}

// remedyRun is one run of the remedy benchmark with the real HDFS.
type remedyRun struct {
	env
	c     *cluster
	api   *client.Client
	jmx   *jmx.Client
	nn    site.NameNode
	conf  string // the NameNode's, hdfs-site.xml.
	hosts string // its exclude file.
	tool  string // the command hdfs.
	nodes []dataNode
	last  time.Time // of the last fault.

	ours, theirs []remedyTimes
}

// dataNode is a DataNode of the cluster.
type dataNode struct {
	name string
	key  string // host:port, as the NameNode shows it.
	dirs []string
	ipc  string
}

// prepare waits until all that was written has its copies and every disk was
// looked at.
func (r *remedyRun) prepare(ctx context.Context) error {
	dir := r.c.getenv(site.EnvDir)
	s, err := site.Load(dir)
	if err != nil {
		return err
	}
	names, err := s.NameNodes()
	if err != nil {
		return err
	}
	r.nn, r.conf, r.hosts = names[0], filepath.Join(dir, "hdfs-site.xml"), s.Get("dfs.hosts.exclude")
	b, err := os.ReadFile(filepath.Join(r.c.dir, "disks.json"))
	if err != nil {
		return err
	}
	var disks map[string]struct {
		Dirs      []string
		HDFS, IPC string
	}
	if err := json.Unmarshal(b, &disks); err != nil {
		return err
	}
	info, err := r.jmx.NameNodeInfo(ctx, r.nn.HTTP)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(disks)) {
		n := dataNode{name: name, dirs: disks[name].Dirs, ipc: disks[name].IPC}
		for key := range info.Live {
			if strings.HasPrefix(key, name+":") {
				n.key = key
			}
		}
		r.nodes, r.tool = append(r.nodes, n), disks[name].HDFS
	}
	if err := r.await(ctx, "HDFS holds its blocks", func(ctx context.Context) error {
		state, err := r.jmx.SystemState(ctx, r.nn.HTTP)
		if err == nil && state.BlocksTotal < demoFiles {
			err = fmt.Errorf("it holds %d blocks", state.BlocksTotal)
		}
		return err
	}); err != nil {
		return err
	}
	for _, n := range r.nodes {
		if err := r.awaitWell(ctx, n); err != nil {
			return err
		}
	}
	return sleep(ctx, 5*time.Second) // what comes with a start is over.
}

// await asks again and again until there is no error.
func (r *remedyRun) await(ctx context.Context, what string, ok func(context.Context) error) error {
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		if sleep(ctx, 2*remedyEvery) != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

// awaitWell waits until nothing is the matter with HDFS, nor with the disks of a
// DataNode by their check.
func (r *remedyRun) awaitWell(ctx context.Context, n dataNode) error {
	return r.await(ctx, n.name+" is well", func(ctx context.Context) error {
		list, err := r.api.NodeChecks(ctx, n.name)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list.Checks, func(s mesh.CheckState) bool { return s.Result.Check == disksCheck })
		if at < 0 || list.Checks[at].Status != mesh.HealthPassing {
			return errors.New("its disks are not known to be well")
		}
		info, err := r.jmx.NameNodeInfo(ctx, r.nn.HTTP)
		if err != nil {
			return err
		}
		for key, d := range info.Live {
			if d.AdminState != jmx.InService || d.VolFails > 0 {
				return fmt.Errorf("%s is %s, with %d failed volumes", key, d.AdminState, d.VolFails)
			}
		}
		state, err := r.jmx.SystemState(ctx, r.nn.HTTP)
		if err == nil && (len(info.Live) != len(r.nodes) || state.UnderReplicatedBlocks+state.PendingReplicationBlocks > 0) {
			err = fmt.Errorf("%d DataNodes live, %d blocks lack copies", len(info.Live), state.UnderReplicatedBlocks)
		}
		return err
	})
}

// remedyTimes are when each was seen, since the fault. By hand there is neither
// a check nor a decision.
type remedyTimes struct {
	hard, decided, confirmed, looked, action, progress, gone, proven time.Duration

	guards, proofs int // how often each was asked.
}

// both is a round of each, on another DataNode.
func (r *remedyRun) both(ctx context.Context, i int) error {
	n := r.nodes[i%len(r.nodes)]
	ours, err := r.round(ctx, n, func(ctx context.Context, broke time.Time) (remedyTimes, error) { return r.byALPS(ctx, n, broke) })
	if err != nil {
		return err
	}
	const why = "the benchmark does it by hand"
	if err := r.api.PauseRemedy(ctx, mesh.RemedyScope{}, why); err != nil {
		return err
	}
	n = r.nodes[(i+2)%len(r.nodes)]
	theirs, err := r.round(ctx, n, func(ctx context.Context, broke time.Time) (remedyTimes, error) { return r.byHand(ctx, n, broke) })
	if err != nil {
		return fmt.Errorf("by hand: %w", err)
	}
	r.ours, r.theirs = append(r.ours, ours), append(r.theirs, theirs)
	return r.api.ResumeRemedy(ctx, mesh.RemedyScope{}, why)
}

// round breaks a disk, has somebody see to it, and puts all back.
func (r *remedyRun) round(ctx context.Context, n dataNode, do func(context.Context, time.Time) (remedyTimes, error)) (remedyTimes, error) {
	var t remedyTimes
	if err := sleep(ctx, time.Until(r.last.Add(remedyApart))+rand.N(disksEvery)); err != nil {
		return t, err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	broke := time.Now()
	r.last = broke
	if _, err := hdfs.ReadOnly(n.dirs[0]); err != nil {
		return t, err
	}
	states := make(chan [2]time.Duration, 1)
	go func() { states <- r.observe(within, n, broke) }()
	t, err := do(ctx, broke)
	cancel()
	seen := <-states
	t.progress, t.gone = seen[0], seen[1]
	return t, errors.Join(err, r.mend(ctx, n))
}

// observe says when the NameNode has first shown that a DataNode leaves, and
// that it has left.
func (r *remedyRun) observe(ctx context.Context, n dataNode, broke time.Time) (seen [2]time.Duration) {
	for ctx.Err() == nil && seen[1] == 0 {
		info, err := r.jmx.NameNodeInfo(ctx, r.nn.HTTP)
		now := time.Since(broke)
		if err == nil {
			switch state, _ := info.AdminState(n.key); state {
			case jmx.Decommissioning:
				seen[0] = cmp.Or(seen[0], now)
			case jmx.Decommissioned:
				seen = [2]time.Duration{cmp.Or(seen[0], now), now}
			default:
			}
		}
		_ = sleep(ctx, remedyEvery) // the loop sees that ctx has ended.
	}
	return seen
}

// mend is the way back, as docs/remediation.md has it.
func (r *remedyRun) mend(ctx context.Context, n dataNode) error {
	if err := hdfs.Mend(n.dirs[0]); err != nil {
		return err
	}
	if _, err := r.hdfs(ctx, "dfsadmin", "-reconfig", "datanode", n.ipc, "start"); err != nil {
		return err
	}
	if _, err := r.c.runIn(ctx, r.alps, "exec", "-t", "service=namenode", "--", "$ALPS hdfs recommission "+n.key); err != nil {
		return err
	}
	return r.awaitWell(ctx, n)
}

// hdfs runs Hadoop's command, as a shell that has read the env file does.
func (r *remedyRun) hdfs(ctx context.Context, args ...string) (string, error) {
	s, err := r.c.runIn(ctx, r.tool, args...)
	return s.out, err
}
