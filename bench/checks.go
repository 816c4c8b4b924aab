package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	consultest "alps/mesh/consul/cluster"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

const checksEvery = 10 * time.Second

// checkCounts is how many checks each agent of a system has. Of each twenty,
// ten ask by HTTP, five by TCP and five run a script.
func checkCounts() []int { return []int{0, 20, 200} }

// benchChecks has agents run checks, Consul's own agents the same ones, and
// looks at what the agents need for it. What is asked is one small HTTP
// service, the script does nothing.
func benchChecks(ctx context.Context, e env) error {
	asked, err := newShop(ctx, "all", "127.0.0.1")
	if err != nil {
		return err
	}
	defer asked.kill()
	// The first node has the servers, and the last three the service of the
	// tour with its checks.
	c, err := startCluster(ctx, e, 1+len(checkCounts())+3)
	if err != nil {
		return err
	}
	defer c.close()
	consul, err := startCheckers(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = consul.Close() }()

	ours, err := assignOurs(ctx, e, c, asked)
	defer func() {
		for _, k := range ours {
			endDaemon(k.daemon)
		}
	}()
	if err != nil {
		return err
	}
	theirs, err := assignTheirs(ctx, consul, asked)
	if err != nil {
		return err
	}
	all := slices.Concat(ours, theirs)
	e.printf("  everything runs; quiet for %s\n", settle) // who waits for the machine may go on.
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	for _, k := range all {
		if err := k.well(ctx); err != nil {
			return err
		}
		k.begin()
	}
	if err := sleep(ctx, observe); err != nil {
		return err
	}
	for _, k := range all {
		if err := k.end(); err != nil {
			return err
		}
	}
	printCheckers(e, ours, theirs)
	return nil
}

// checker is one node with its checks: an ALPS agent with the Consul agent
// beside it, or a Consul agent that runs them itself.
type checker struct {
	checks int
	agent  part // of ALPS; its zero value where Consul runs them.
	daemon *exec.Cmd
	consul part
	passes func(context.Context) (int, error)
}

// part is one process, and what it and what it started have used.
type part struct {
	pid      int
	cpu      time.Duration
	children time.Duration
	memory   memory
}

func (k *checker) parts() []*part {
	if k.agent.pid == 0 {
		return []*part{&k.consul}
	}
	return []*part{&k.agent, &k.consul}
}

func (k *checker) begin() {
	for _, p := range k.parts() {
		p.cpu, p.children = cpuOf(p.pid), childrenOf(p.pid)
	}
}

func (k *checker) end() error {
	for _, p := range k.parts() {
		p.cpu, p.children = cpuOf(p.pid)-p.cpu, childrenOf(p.pid)-p.children
		var err error
		if p.memory, err = memoryOf(p.pid); err != nil {
			return err
		}
	}
	return nil
}

// own is the CPU of the processes without that of the scripts.
func (k *checker) own() (sum time.Duration) {
	for _, p := range k.parts() {
		sum += p.cpu
	}
	return sum
}

// well says whether every check runs and passes: one that does not run costs
// nothing.
func (k *checker) well(ctx context.Context) error {
	n, err := k.passes(ctx)
	if err == nil && n != k.checks {
		err = fmt.Errorf("%d of %d checks pass", n, k.checks)
	}
	return err
}

// kindOf is how the check number i asks.
func kindOf(i int) mesh.CheckKind {
	switch i % 4 {
	case 0, 1:
		return mesh.CheckHTTP
	case 2:
		return mesh.CheckTCP
	default:
		return mesh.CheckScript
	}
}

const checkPrefix = "bench-"

// assignOurs starts agents again with these checks alone, without packs and
// without anybody who asks them for names.
func assignOurs(ctx context.Context, e env, c *cluster, asked *shop) ([]*checker, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	list, err := api.Nodes(ctx, v1.NodeFilter{})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Nodes, func(a, b mesh.Node) int { return strings.Compare(a.Address, b.Address) })
	var out []*checker
	for i, n := range checkCounts() {
		node := string(list.Nodes[1+i].Name)
		k := &checker{checks: n, passes: func(ctx context.Context) (int, error) { return passing(ctx, api, node) }}
		dir := filepath.Join(c.dir, "agent", node)
		if err := writeChecks(dir, n, asked); err != nil {
			return out, err
		}
		if k.daemon, err = c.restart(ctx, e.alps, "agent", filepath.Join(dir, "agent.hcl")); err != nil {
			return out, err
		}
		out = append(out, k)
		consul, err := c.pids(filepath.Join("consul", node) + string(filepath.Separator))
		if err != nil {
			return out, err
		}
		k.agent.pid, k.consul.pid = k.daemon.Process.Pid, consul[0]
	}
	return out, nil
}

// writeChecks writes the definitions of n checks. In the agent's configuration
// it takes the packs out, and has names answered where `alps dev`, which asks
// all the time for its tour, does not ask.
func writeChecks(dir string, n int, asked *shop) error {
	var b strings.Builder
	for i := range n {
		ask := fmt.Sprintf("http = %q", "http://"+asked.instance()+"/")
		switch kindOf(i) {
		case mesh.CheckTCP:
			ask = fmt.Sprintf("tcp = %q", asked.instance())
		case mesh.CheckScript:
			ask = `script = ["/bin/true"]`
		default:
		}
		fmt.Fprintf(&b, "check \"%s%d\" {\n  %s\n  interval = %q\n}\n", checkPrefix, i, ask, checksEvery)
	}
	if err := os.MkdirAll(filepath.Join(dir, "checks.d"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "checks.d", "bench.hcl"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	path := filepath.Join(dir, "agent.hcl")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out := string(text)
	for _, change := range [][2]string{{`packs = ["host", "consul"]`, "packs = []"}, {":" + alpsDNSPort + `"`, `:8654"`}} {
		if !strings.Contains(out, change[0]) {
			return fmt.Errorf("%s does not say %s", path, change[0])
		}
		out = strings.Replace(out, change[0], change[1], 1)
	}
	return os.WriteFile(path, []byte(out), 0o600)
}

// passing is how many of the checks of a node pass, by the server.
func passing(ctx context.Context, api *client.Client, node string) (int, error) {
	list, err := api.NodeChecks(ctx, node)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range list.Checks {
		if strings.HasPrefix(s.Result.Check, checkPrefix) && s.Status == mesh.HealthPassing && s.Source == mesh.SourceLink {
			n++
		}
	}
	return n, nil
}

// startCheckers starts a Consul of its own whose agents may run scripts.
func startCheckers(ctx context.Context) (*consultest.Cluster, error) {
	// Go's own heap settings, not the smaller heap that clusters for tests get.
	if err := os.Setenv("GOGC", "100"); err != nil {
		return nil, err
	}
	nodes := []consultest.NodeSpec{{Name: "server", Server: true}}
	for _, n := range checkCounts() {
		nodes = append(nodes, consultest.NodeSpec{Name: fmt.Sprintf("client-%d", n)})
	}
	return consultest.Start(ctx, consultest.Options{
		Datacenters: []consultest.Datacenter{{Name: "bj-e-01", Nodes: nodes}},
		ExtraConfig: map[string]any{"enable_script_checks": true},
	})
}

// assignTheirs registers the same checks with Consul's agents.
func assignTheirs(ctx context.Context, c *consultest.Cluster, asked *shop) ([]*checker, error) {
	var out []*checker
	for i, n := range checkCounts() {
		node := c.Nodes()[1+i]
		base := "http://" + node.HTTPAddr() + "/v1/agent/"
		for j := range n {
			def := map[string]any{"ID": fmt.Sprintf("%s%d", checkPrefix, j), "Interval": checksEvery.String()}
			def["Name"] = def["ID"]
			switch kindOf(j) {
			case mesh.CheckTCP:
				def["TCP"] = asked.instance()
			case mesh.CheckScript:
				def["Args"] = []string{"/bin/true"}
			default:
				def["HTTP"] = "http://" + asked.instance() + "/"
			}
			body, err := json.Marshal(def)
			if err != nil {
				return nil, err
			}
			if err := put(ctx, base+"check/register", string(body)); err != nil {
				return nil, err
			}
		}
		out = append(out, &checker{checks: n, consul: part{pid: node.PID()}, passes: func(ctx context.Context) (int, error) {
			return passingInConsul(ctx, base+"checks")
		}})
	}
	return out, nil
}

func passingInConsul(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var list map[string]struct{ Status string }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return 0, err
	}
	n := 0
	for id, c := range list {
		if strings.HasPrefix(id, checkPrefix) && c.Status == string(mesh.HealthPassing) {
			n++
		}
	}
	return n, nil
}

func printCheckers(e env, ours, theirs []*checker) {
	e.printf("%-22s %6s %14s %12s %14s %8s\n", "process", "checks", "CPU % of core", "scripts %", "anonymous MB", "RSS MB")
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / observe.Seconds() }
	row := func(name string, checks int, p *part) {
		e.printf("%-22s %6d %14.3f %12.3f %14.1f %8.1f\n", name, checks, percent(p.cpu), percent(p.children), mib(p.memory.anonymous), mib(p.memory.resident))
	}
	for _, k := range ours {
		row("alps agent", k.checks, &k.agent)
	}
	for _, k := range ours {
		row("consul beside it", k.checks, &k.consul)
	}
	for _, k := range theirs {
		row("consul runs them", k.checks, &k.consul)
	}
	e.printf("CPU for one run of a check, over that of no checks, without what a script uses:\n")
	for i, k := range ours {
		if k.checks == 0 {
			continue
		}
		runs := time.Duration(k.checks) * (observe / checksEvery)
		agent, both := (k.agent.cpu-ours[0].agent.cpu)/runs, (k.own()-ours[0].own())/runs
		native := (theirs[i].own() - theirs[0].own()) / runs
		e.printf("  %3d checks: alps agent %.3f ms, with the consul beside it %.3f ms; consul alone %.3f ms; x %.2f and x %.2f\n",
			k.checks, ms(agent), ms(both), ms(native), float64(agent)/float64(native), float64(both)/float64(native))
	}
	e.printf("  load at the end %s\n", load())
}
