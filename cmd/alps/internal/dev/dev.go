package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	hdfs "alps/checks/hdfs/cluster"
	"alps/mesh"
	"alps/mesh/consul/cluster"
	"alps/mesh/proc"
)

// Ports of the ALPS server on its node's address.
const (
	PortAPI  = 8780
	PortLink = 8781
)

// Subnet is where `alps dev` stands unless told otherwise: a fixed place, so
// that the commands it prints are the same every time.
const Subnet = "127.0.11"

const (
	marker       = ".alps-dev" // says that a directory is ours to empty.
	clusterName  = "alps-dev"
	serverName   = "server" // the directory of the first server.
	stopGrace    = 10 * time.Second
	readyTimeout = time.Minute
)

// Program is how to run alps: its path, and what to add to the environment.
type Program struct {
	Path string
	Env  []string
}

// Options say what to bring up. Zero values mean: the deck's cluster, a free
// subnet, a temporary directory.
type Options struct {
	Alps        Program // required.
	Dir         string
	Consul      string // path of a consul binary; found when empty.
	Subnet      string
	Datacenters []cluster.Datacenter
	// Servers is how many ALPS servers share the store, beside as many Consul
	// nodes of the first datacenter; zero is one.
	Servers int
	// ConsulConfig is laid over the configuration of every Consul node, and
	// ConsulToken is what a Consul with ACLs is asked with until it is ready.
	ConsulConfig map[string]any
	ConsulToken  string
	// Prepare is called when Consul is ready and nothing of ALPS runs yet; nil
	// does nothing.
	Prepare func(ctx context.Context, c *cluster.Cluster) error
	// NoAgent names nodes that get no ALPS agent.
	NoAgent []string
	// Packs are the packs of checks that agents run. None unless they are named:
	// what this machine is like must not decide how a test ends.
	Packs []string
	// Web names nodes that run the demo service; Rules is the definitions of
	// rules, receivers and policies that the server gets, "" for none.
	Web   []string
	Rules func(c *Cluster) string
	// HDFS brings up a real HDFS, each DataNode and each NameNode beside a node of
	// the first datacenter; nil brings up none. What is left empty in it is
	// filled in: see completeHDFS.
	HDFS *hdfs.Options
	// Configure may change the configuration of the server (node is "") or of
	// an agent before it is written; nil changes nothing.
	Configure func(node string, hcl string) string
	// Progress is told in one line what is being done; nil for silence.
	Progress func(line string)
	Logger   hclog.Logger
}

// Deck is the cluster that ALPS was first shown on, in small.
func Deck() []cluster.Datacenter {
	return []cluster.Datacenter{{Name: "bj-e-01", Nodes: []cluster.NodeSpec{
		{Name: "bj-e-admin03", Server: true},
		{Name: "bj-e-admin01"},
		{Name: "bj-e-hadoop01-11-203"},
		{Name: "bj-e-hadoop01-11-204"},
		{Name: "bj-e-hadoop01-13-220"},
	}}}
}

// Cluster is a running cluster.
type Cluster struct {
	o       Options
	consul  *cluster.Cluster
	group   *proc.Group
	servers []*server // the first one has the CA and the store.
	agents  []*Process
	hdfs    *hdfs.Cluster
	keys    keys
	join    string
	temp    bool

	webs    []*Web
	stopWeb context.CancelFunc
	wg      sync.WaitGroup
}

// Start brings a cluster up and returns when every agent has its link. On an
// error nothing is left running; the error says what to do. A killed earlier
// run in the same directory is cleaned up first; one that still runs is a
// mesh.Conflict. ctx bounds the start alone.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Alps.Path == "" {
		return nil, errors.New("start a dev cluster: the path of alps is missing")
	}
	if len(o.Datacenters) == 0 {
		o.Datacenters = Deck()
		if o.HDFS != nil {
			o.Datacenters = HDFSDeck()
		}
	}
	if o.HDFS != nil {
		if err := o.completeHDFS(); err != nil {
			return nil, err
		}
	}
	if o.Servers = max(1, o.Servers); o.Servers > min(MaxServers, len(o.Datacenters[0].Nodes)) {
		return nil, mesh.Errorf(mesh.Invalid, "start a dev cluster: %d servers do not fit on %d nodes; at most %d",
			o.Servers, len(o.Datacenters[0].Nodes), MaxServers)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	c := &Cluster{o: o}
	if err := c.bringUp(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// bringUp acquires in order what Close gives back.
func (c *Cluster) bringUp(ctx context.Context) error {
	if err := c.takeDir(); err != nil {
		return err
	}
	c.o.Progress("starting Consul")
	var err error
	c.consul, err = cluster.Start(ctx, cluster.Options{
		Binary: c.o.Consul, Dir: c.path("consul"), Subnet: c.o.Subnet,
		Datacenters: c.o.Datacenters, ExtraConfig: c.o.ConsulConfig, Token: c.o.ConsulToken, Logger: c.o.Logger,
	})
	if err != nil {
		return err
	}
	if c.o.Prepare != nil {
		if err := c.o.Prepare(ctx, c.consul); err != nil {
			return err
		}
	}
	c.group, err = proc.New(proc.Options{Record: c.path("pids.json"), Grace: stopGrace, Logger: c.o.Logger})
	if err != nil {
		return fmt.Errorf("start a dev cluster: %w", err)
	}
	if err := c.prepareWeb(); err != nil {
		return err
	}
	c.o.Progress("starting the ALPS server")
	if err := c.startServers(ctx); err != nil {
		return err
	}
	if err := c.startHDFS(ctx); err != nil {
		return err
	}
	c.o.Progress("starting the ALPS agents")
	if err := c.startWeb(ctx); err != nil {
		return err
	}
	if err := c.startAgents(ctx); err != nil {
		return err
	}
	return c.writeEnv()
}

// takeDir makes the directory, or empties one that an earlier run made.
func (c *Cluster) takeDir() error {
	if c.o.Dir == "" {
		dir, err := os.MkdirTemp("", "alps-dev-*")
		if err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		c.o.Dir, c.temp = dir, true
	}
	dir, err := filepath.Abs(c.o.Dir)
	if err != nil {
		return fmt.Errorf("find the directory: %w", err)
	}
	c.o.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the directory: %w", err)
	}
	ours := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == marker })
	if len(entries) > 0 && !ours {
		return mesh.Errorf(mesh.Conflict, "%s is not empty and was not made by alps dev", dir).
			WithHint("alps dev --dir with a new or empty directory")
	}
	if ours {
		if err := c.sweep(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(c.path(marker), []byte("alps dev empties this directory when it starts.\n"), 0o600); err != nil {
		return fmt.Errorf("mark the directory: %w", err)
	}
	return nil
}

// sweep ends what a killed run left behind and removes its data.
func (c *Cluster) sweep() error {
	ended, err := proc.Sweep(c.path("pids.json"), stopGrace)
	if err != nil {
		return err
	}
	nodes, err := cluster.Sweep(c.path("consul"))
	if err != nil {
		return err
	}
	daemons, err := hdfs.Sweep(c.path(hdfsDir))
	if err != nil {
		return err
	}
	if n := len(ended) + len(nodes) + len(daemons); n > 0 {
		c.o.Progress(fmt.Sprintf("cleaned up %d processes of an earlier run", n))
	}
	names := []string{"consul", "agent", "root", "web", "env", "join.token", hdfsDir, disksName}
	for i := range MaxServers {
		names = append(names, serverDir(i))
	}
	for _, name := range names {
		if err := os.RemoveAll(c.path(name)); err != nil {
			return fmt.Errorf("empty the directory: %w", err)
		}
	}
	return nil
}

func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.o.Dir}, elem...)...)
}

// Close ends every process of the cluster and waits for it. It may be called
// again.
func (c *Cluster) Close() error {
	var errs []error
	if c.stopWeb != nil {
		c.stopWeb()
		c.wg.Wait()
	}
	if c.group != nil {
		errs = append(errs, c.group.Stop())
	}
	errs = append(errs, c.closeHDFS())
	if c.consul != nil {
		errs = append(errs, c.consul.Close())
	}
	if c.temp {
		errs = append(errs, os.RemoveAll(c.o.Dir))
	}
	return errors.Join(errs...)
}

// Consul is the Consul below.
func (c *Cluster) Consul() *cluster.Cluster { return c.consul }

// Agents are the processes of the agents, in the order of the nodes.
func (c *Cluster) Agents() []*Process { return slices.Clone(c.agents) }

// Agent is the agent on a node, nil when there is none.
func (c *Cluster) Agent(node string) *Process {
	for _, p := range c.agents {
		if p.node == node {
			return p
		}
	}
	return nil
}

// Dir is where everything lies.
func (c *Cluster) Dir() string { return c.o.Dir }

// Address is the host and port of the first server's API.
func (c *Cluster) Address() string { return c.serverAddr(0, PortAPI) }

// CACert is the path of the CA's certificate.
func (c *Cluster) CACert() string { return c.path(serverName, "tls", "ca.pem") }

// Token reads the first admin token, which the server made.
func (c *Cluster) Token() (string, error) {
	b, err := os.ReadFile(c.path(serverName, "admin.token"))
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return trim(b), nil
}

// EnvFile is the path of the file that a shell reads to speak to the cluster.
func (c *Cluster) EnvFile() string { return c.path("env") }

// writeEnv is the last step: a script may wait for the file.
func (c *Cluster) writeEnv() error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("export ALPS_ADDR=%s\nexport ALPS_TOKEN=%s\nexport ALPS_CACERT=%s\nexport CONSUL_HTTP_ADDR=%s\nexport PATH=%s:\"$PATH\"\n",
		quote(c.Address()), quote(token), quote(c.CACert()), quote(c.serverNode(0).HTTPAddr()), quote(filepath.Dir(c.o.Alps.Path)))
	text += c.hdfsEnv()
	tmp := c.EnvFile() + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the env file: %w", err)
	}
	return os.Rename(tmp, c.EnvFile())
}

// Wait returns when ctx ends. Until then it tells, in one line, of each
// process that ends by itself, or because somebody tries out what happens
// then. told is called by several goroutines.
func (c *Cluster) Wait(ctx context.Context, told func(what string)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	watch := func(done <-chan struct{}, what string) {
		wg.Go(func() {
			select {
			case <-done:
				told(what)
			case <-ctx.Done():
			}
		})
	}
	for _, p := range append(c.Agents(), c.Servers()...) {
		watch(p.Done(), fmt.Sprintf("the %s ended; start it again: alps %s --config %s", p.name(), p.verb, p.ConfigPath()))
	}
	for _, n := range c.consul.Nodes() {
		watch(n.Done(), "the consul of "+n.Name+" ended")
	}
	if c.hdfs != nil {
		for _, n := range c.hdfs.Nodes() {
			watch(n.Done(), fmt.Sprintf("the %s of %s ended; what it said: %s", n.Kind, n.Name, n.LogPath()))
		}
	}
	<-ctx.Done()
}
