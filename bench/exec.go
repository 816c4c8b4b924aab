package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	rounds = 15
	// inARow is how many runs follow one another without a pause, as in a
	// script.
	inARow = 10
	// after is how long a round is looked at when its command has ended: what
	// it left to be done in the background is its own.
	after = 300 * time.Millisecond
	// idle is how long the cluster is looked at with nothing to do.
	idle = 15 * time.Second
)

// benchExec runs the same nothing on all nodes with both tools, in turns, on
// clusters of two sizes.
func benchExec(ctx context.Context, e env) error {
	consul, err := exec.LookPath("consul")
	if err != nil {
		consul = filepath.Join(filepath.Dir(e.alps), "consul")
	}
	if _, err := os.Stat(consul); err != nil {
		return fmt.Errorf("%w: run `make consul` first", err)
	}
	e.printf("%-30s %5s  %-22s %9s %10s %9s %5s %5s\n", "command", "nodes", "wall s median (range)", "CLI ms", "servers ms", "nodes ms", "Raft", "load")
	for _, nodes := range []int{5, 21} {
		if err := compareExec(ctx, e, consul, nodes); err != nil {
			return err
		}
	}
	e.printf("  CPU per job: of the command; of the servers (Consul's, and for alps its own); of all agents of all nodes with\n" +
		"  what they ran. What the same processes use when idle is taken off. Raft: entries per job, median.\n")
	return nil
}

func compareExec(ctx context.Context, e env, consul string, nodes int) error {
	c, err := startCluster(ctx, e, nodes)
	if err != nil {
		return err
	}
	defer c.close()
	alpsServer, err := c.pids("server --config")
	if err != nil {
		return err
	}
	alpsAgents, err := c.pids("agent --config")
	if err != nil {
		return err
	}
	consulServer, err := c.pids("consul/bj-e-admin03/")
	if err != nil {
		return err
	}
	consulAll, err := c.pids("agent -config-file")
	if err != nil {
		return err
	}
	consulAgents := slices.DeleteFunc(consulAll, func(pid int) bool { return slices.Contains(consulServer, pid) })
	ours := &contender{
		name: "alps exec -t all -- true", args: []string{e.alps, "exec", "-t", "all", "--", "true"},
		servers: group{pids: slices.Concat(alpsServer, consulServer)},
		nodes:   group{pids: slices.Concat(alpsAgents, consulAgents), parents: alpsAgents},
		proof:   fmt.Sprintf("%d OK", nodes),
	}
	// -wait is the silence after which it believes that no node will come any
	// more. Its default is 1 s.
	theirs := &contender{
		name: "consul exec -wait=200ms true", args: []string{consul, "exec", "-wait=200ms", "true"},
		servers: group{pids: consulServer},
		nodes:   group{pids: consulAgents, parents: consulAll}, // the Consul server is a node as well.
		proof:   fmt.Sprintf("%d / %d node(s) completed", nodes, nodes),
	}
	if err := sleep(ctx, idle); err != nil { // agents poll and report for a while after their start.
		return err
	}
	both := []*contender{ours, theirs}
	for _, t := range both {
		if _, err := t.run(ctx, c); err != nil && !errors.Is(err, errMissed) { // the first is not counted: caches, connections.
			return err
		}
	}
	if err := sleep(ctx, after); err != nil {
		return err
	}
	if err := measureIdle(ctx, both); err != nil {
		return err
	}
	for range rounds {
		for _, t := range both {
			if err := t.round(ctx, c); err != nil {
				return err
			}
		}
		slices.Reverse(both) // neither always comes after the other.
	}
	for _, t := range both {
		if err := t.series(ctx, c); err != nil {
			return err
		}
	}
	ours.print(e, nodes)
	theirs.print(e, nodes)
	e.printf("%-30s %5d  %.3f s and %.3f s each\n", fmt.Sprintf("  %d in a row, without a pause", inARow), nodes,
		median(ours.row).Seconds(), median(theirs.row).Seconds())
	for _, t := range []*contender{ours, theirs} {
		if t.missed > 0 {
			e.printf("%-30s %5d  left a node out in %d of %d runs\n", "  "+strings.Join(strings.Fields(t.name)[:2], " "), nodes, t.missed, t.runs)
		}
	}
	e.printf("%-30s %5d  %.2f of the wall time, %.2f of the CPU of command and servers\n", "  alps / consul", nodes,
		median(ours.walls).Seconds()/median(theirs.walls).Seconds(), ours.control().Seconds()/theirs.control().Seconds())
	return nil
}

// group is some processes and what they cost over the rounds.
type group struct {
	pids    []int
	parents []int   // whose children count.
	idle    float64 // CPU seconds a second with nothing to do.
	mark    time.Duration
	cost    time.Duration
}

func (g *group) used() time.Duration { return cpuOf(g.pids...) + childrenOf(g.parents...) }

func (g *group) begin() { g.mark = g.used() }

// end adds what was used since begin, less what would have been anyway.
func (g *group) end(elapsed time.Duration) {
	g.cost += g.used() - g.mark - time.Duration(g.idle*float64(elapsed))
}

// measureIdle fills in what the groups use with nothing to do.
func measureIdle(ctx context.Context, all []*contender) error {
	for _, t := range all {
		t.servers.begin()
		t.nodes.begin()
	}
	if err := sleep(ctx, idle); err != nil {
		return err
	}
	for _, t := range all {
		t.servers.idle = (t.servers.used() - t.servers.mark).Seconds() / idle.Seconds()
		t.nodes.idle = (t.nodes.used() - t.nodes.mark).Seconds() / idle.Seconds()
	}
	return nil
}

// contender is one of the two commands with what its rounds have cost.
type contender struct {
	name    string
	args    []string
	servers group  // the control side.
	nodes   group  // the agents.
	proof   string // its output holds this when every node has run it.
	walls   []time.Duration
	row     []time.Duration // of the runs without a pause.
	cli     time.Duration
	raft    []int
	runs    int // of the command, with those that do not count.
	missed  int // runs that left a node out and said nothing of it.
}

// errMissed says that a run did not reach all nodes: it must not be compared
// with one that did.
var errMissed = errors.New("a node was left out")

// mostMissed is how many runs may leave a node out before there is nothing
// left to compare.
const mostMissed = 10

// run runs the command once.
func (t *contender) run(ctx context.Context, c *cluster) (sample, error) {
	s, err := c.runIn(ctx, t.args[0], t.args[1:]...)
	if err != nil {
		return s, err
	}
	t.runs++
	if !strings.Contains(s.out, t.proof) {
		t.missed++
		err = fmt.Errorf("%s: %w: its output does not say %q:\n%s", t.name, errMissed, t.proof, s.out)
	}
	return s, err
}

// round measures one run, and tries again when it missed a node.
func (t *contender) round(ctx context.Context, c *cluster) error {
	for {
		err := t.attempt(ctx, c)
		if !errors.Is(err, errMissed) || t.missed > mostMissed {
			return err
		}
	}
}

func (t *contender) attempt(ctx context.Context, c *cluster) error {
	servers, nodes := t.servers, t.nodes
	before, err := c.raftIndex(ctx)
	if err != nil {
		return err
	}
	t.servers.begin()
	t.nodes.begin()
	began := time.Now()
	s, err := t.run(ctx, c)
	if err != nil {
		t.servers, t.nodes = servers, nodes
		return err
	}
	if err := sleep(ctx, after); err != nil {
		return err
	}
	elapsed := time.Since(began)
	t.servers.end(elapsed)
	t.nodes.end(elapsed)
	last, err := c.raftIndex(ctx)
	if err != nil {
		return err
	}
	t.walls = append(t.walls, s.wall)
	t.cli += s.cpu
	t.raft = append(t.raft, last-before)
	return nil
}

// series runs the command several times without a pause.
func (t *contender) series(ctx context.Context, c *cluster) error {
	if err := sleep(ctx, idle); err != nil { // the rounds before are over.
		return err
	}
	for range inARow {
		s, err := t.run(ctx, c)
		if err != nil && !errors.Is(err, errMissed) {
			return err
		}
		t.row = append(t.row, s.wall)
	}
	return nil
}

func median[T cmp.Ordered](l []T) T { return slices.Sorted(slices.Values(l))[len(l)/2] }

func (t *contender) mean(sum time.Duration) time.Duration { return sum / time.Duration(len(t.walls)) }

// control is the mean CPU of the command and the servers for one round.
func (t *contender) control() time.Duration { return t.mean(t.cli + t.servers.cost) }

func (t *contender) print(e env, nodes int) {
	wall := fmt.Sprintf("%.3f (%.3f-%.3f)", median(t.walls).Seconds(), slices.Min(t.walls).Seconds(), slices.Max(t.walls).Seconds())
	e.printf("%-30s %5d  %-22s %9.1f %10.1f %9.1f %5d %5s\n", t.name, nodes, wall,
		ms(t.mean(t.cli)), ms(t.mean(t.servers.cost)), ms(t.mean(t.nodes.cost)),
		median(t.raft), load())
}
