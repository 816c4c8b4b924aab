package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/proc"
)

// Options say what to start. The zero value is one server.
type Options struct {
	// Binary is the Consul to run. Empty: see Find.
	Binary string
	// Dir keeps a directory per node (data, configuration, log) and the
	// record of the processes. It is made if missing and stays after Close;
	// one that is used again needs the same Subnet. Empty: a temporary one
	// that Close removes.
	Dir string
	// Subnet is the first three numbers of the nodes' addresses ("127.20.7").
	// Empty: a free one.
	Subnet string
	// Datacenters to start, WAN-joined when there are several. Addresses are
	// given in this order, from .1 on. Empty: bj-e-01 with one server,
	// bj-e-admin03.
	Datacenters []Datacenter
	// ExtraConfig is laid over the configuration of every node, in the terms
	// of Consul's configuration file.
	ExtraConfig map[string]any
	// Token is what the cluster is asked with. A Consul whose ExtraConfig turns
	// ACLs on needs one that reads every node and every agent.
	Token string
	// Logger is told what happens. Nil means silence.
	Logger hclog.Logger
}

// Datacenter is one Consul datacenter with at least one server.
type Datacenter struct {
	Name  string
	Nodes []NodeSpec
}

// NodeSpec is one node to start.
type NodeSpec struct {
	Name   string // unique in the whole cluster.
	Server bool
}

const (
	recordName   = "pids.json"
	tempPattern  = "alps-cluster-*"
	grace        = 8 * time.Second // Consul takes seconds to end under load.
	startTimeout = 2 * time.Minute // a loaded machine; seconds are usual.
)

// Cluster is a set of running Consul agents.
type Cluster struct {
	o       Options
	nodes   []*Node
	group   *proc.Group
	subnet  *reservation
	http    *http.Client
	tempDir bool // we made Dir.
}

// Start starts the nodes, all at once, and returns when the cluster is ready
// in the sense of WaitReady, or after two minutes with the reason why it is
// not. ctx bounds the start alone; Close ends the cluster. On an error nothing
// is left running. What a killed run left in Dir is swept first.
//
// A port that is taken, a full disk, a limit that is too low and a missing
// Consul are found before anything is started, each a mesh.Error with a hint.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if len(o.Datacenters) == 0 {
		o.Datacenters = []Datacenter{{Name: "bj-e-01", Nodes: []NodeSpec{{Name: "bj-e-admin03", Server: true}}}}
	}
	if err := validate(o.Datacenters); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	binary, err := Find(ctx, o.Binary)
	if err != nil {
		return nil, err
	}
	o.Binary = binary
	if err := raiseFiles(); err != nil {
		return nil, err
	}
	c := &Cluster{o: o, http: &http.Client{Transport: &http.Transport{}}}
	if err := c.bringUp(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// bringUp acquires in order what Close gives back.
func (c *Cluster) bringUp(ctx context.Context) error {
	began := time.Now()
	if err := c.takeDir(); err != nil {
		return err
	}
	if err := c.takeSubnet(ctx); err != nil {
		return err
	}
	g, err := proc.New(proc.Options{
		Record: filepath.Join(c.o.Dir, recordName), Grace: grace, Logger: c.o.Logger,
	})
	if err != nil {
		return fmt.Errorf("start a cluster: %w", err)
	}
	c.group = g
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	c.o.Logger.Info("consul cluster ready", "nodes", len(c.nodes), "subnet", c.subnet.subnet,
		"dir", c.o.Dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// takeDir makes the directory, or sweeps the one that is there.
func (c *Cluster) takeDir() error {
	if c.o.Dir == "" {
		sweepTemp(c.o.Logger)
		dir, err := os.MkdirTemp("", tempPattern)
		if err != nil {
			return fmt.Errorf("make a directory for the cluster: %w", err)
		}
		c.o.Dir, c.tempDir = dir, true
		return checkDisk(dir)
	}
	dir, err := filepath.Abs(c.o.Dir)
	if err != nil {
		return fmt.Errorf("find the directory of the cluster: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the cluster: %w", err)
	}
	c.o.Dir = dir
	ended, err := Sweep(dir)
	if err != nil {
		return err
	}
	if len(ended) > 0 {
		c.o.Logger.Info("ended what a killed run left behind", "nodes", ended)
	}
	return checkDisk(dir)
}

// takeSubnet reserves the addresses and proves that nothing listens there.
// Only a subnet that we picked ourselves is changed for another.
func (c *Cluster) takeSubnet(ctx context.Context) error {
	if c.o.Subnet != "" {
		return c.trySubnet(ctx, c.o.Subnet)
	}
	var err error
	for range 20 {
		if err = c.trySubnet(ctx, randomSubnet()); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("find a free loopback subnet: %w", err)
}

func (c *Cluster) trySubnet(ctx context.Context, subnet string) error {
	r, err := reserve(subnet)
	if err != nil {
		return err
	}
	c.nodes = c.place(subnet)
	for _, n := range c.nodes {
		for _, s := range n.sockets() {
			if err := s.checkFree(ctx); err != nil {
				return errors.Join(err, r.release())
			}
		}
	}
	c.subnet = r
	return nil
}

// place gives every node its address and directory.
func (c *Cluster) place(subnet string) []*Node {
	var nodes []*Node
	for _, dc := range c.o.Datacenters {
		for _, s := range dc.Nodes {
			nodes = append(nodes, &Node{
				Name: s.Name, Datacenter: dc.Name, Server: s.Server,
				Addr: fmt.Sprintf("%s.%d", subnet, len(nodes)+1),
				c:    c, dir: filepath.Join(c.o.Dir, s.Name),
			})
		}
	}
	return nodes
}

// Dir returns the directory that everything of the cluster lies in.
func (c *Cluster) Dir() string { return c.o.Dir }

// Subnet returns the first three numbers of the nodes' addresses.
func (c *Cluster) Subnet() string { return c.subnet.subnet }

// Nodes returns every node in the order of the Options.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// Node returns the node of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Servers returns the servers of a datacenter in the order of the Options.
func (c *Cluster) Servers(dc string) []*Node {
	var servers []*Node
	for _, n := range c.nodes {
		if n.Server && n.Datacenter == dc {
			servers = append(servers, n)
		}
	}
	return servers
}

// Leader returns the node that leads dc as the others see it now, or an error
// if nobody does. During an election that may still be the old one.
func (c *Cluster) Leader(ctx context.Context, dc string) (*Node, error) {
	errs := []error{fmt.Errorf("no server of %q runs", dc)}
	for _, n := range c.Servers(dc) {
		if !n.up() {
			continue
		}
		var leader string
		if err := n.get(ctx, "/v1/status/leader", &leader); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, m := range c.nodes {
			if m.at(portRPC) == leader && m.up() {
				return m, nil
			}
		}
		errs = append(errs, fmt.Errorf("%s says that the leader is %q", n.Name, leader))
	}
	return nil, fmt.Errorf("find the leader of %q: %w", dc, errs[len(errs)-1])
}

// Close ends the processes of the cluster, and no others, and waits for them.
// It removes the directory if Start made it. It may be called again.
func (c *Cluster) Close() error {
	var errs []error
	if c.group != nil {
		errs = append(errs, c.group.Stop())
	}
	c.http.CloseIdleConnections()
	if c.tempDir {
		if err := os.RemoveAll(c.o.Dir); err != nil {
			errs = append(errs, fmt.Errorf("remove the directory of the cluster: %w", err))
		}
	}
	if c.subnet != nil {
		if err := c.subnet.release(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Sweep ends the Consul processes that a killed starter left in dir, and only
// those; it returns the names of their nodes. Their data stays. A dir whose
// starter still runs is a mesh.Conflict.
func Sweep(dir string) (ended []string, err error) {
	return proc.Sweep(filepath.Join(dir, recordName), grace)
}

// sweepTemp does the same for the directories that Start made itself, and
// removes them. Those in use and those of others are left alone.
func sweepTemp(log hclog.Logger) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern)) // the pattern is good.
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, recordName)); err != nil {
			continue // is being made or removed right now.
		}
		if ended, err := Sweep(dir); err != nil {
			log.Debug("directory of another cluster left alone", "dir", dir, "reason", err)
		} else if err := os.RemoveAll(dir); err == nil {
			log.Info("removed what a killed run left behind", "dir", dir, "ended", ended)
		}
	}
}

func (c *Cluster) up() []*Node {
	var up []*Node
	for _, n := range c.nodes {
		if n.up() {
			up = append(up, n)
		}
	}
	return up
}

func (c *Cluster) serverAddrs(dc string) []string {
	addrs := []string{}
	for _, n := range c.Servers(dc) {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

func (c *Cluster) foreignServerAddrs(dc string) []string {
	addrs := []string{}
	for _, d := range c.o.Datacenters {
		if d.Name != dc {
			addrs = append(addrs, c.serverAddrs(d.Name)...)
		}
	}
	return addrs
}

// validate refuses what Consul would only refuse after it was started.
func validate(dcs []Datacenter) error {
	names := map[string]bool{}
	seen := map[string]bool{}
	for _, dc := range dcs {
		if dc.Name == "" || seen[dc.Name] {
			return mesh.Errorf(mesh.Invalid, "start a cluster: datacenter %q is unnamed or there twice", dc.Name)
		}
		seen[dc.Name] = true
		servers := 0
		for _, n := range dc.Nodes {
			if n.Name == "" || names[n.Name] {
				return mesh.Errorf(mesh.Invalid, "start a cluster: node %q of %s is unnamed or there twice", n.Name, dc.Name)
			}
			names[n.Name] = true
			if n.Server {
				servers++
			}
		}
		if servers == 0 {
			return mesh.Errorf(mesh.Invalid, "start a cluster: datacenter %s has no server", dc.Name)
		}
	}
	if len(names) > 254 {
		return mesh.Errorf(mesh.Invalid, "start a cluster: %d nodes; a subnet has room for 254", len(names))
	}
	return nil
}
