package dev

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	hdfs "alps/checks/hdfs/cluster"
	"alps/mesh"
	"alps/mesh/consul/cluster"
)

const (
	hdfsDir   = "hdfs"
	hdfsPack  = "hdfs"
	disksName = "disks.json"
	// systemPath is where a real node's jobs look for programs, after the
	// commands of Hadoop.
	systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// HDFSDeck is the deck's cluster with as many hadoop nodes as DataNodes that
// can lose one.
func HDFSDeck() []cluster.Datacenter {
	dcs := Deck()
	dcs[0].Nodes = append(dcs[0].Nodes, cluster.NodeSpec{Name: "bj-e-hadoop01-13-221"})
	return dcs
}

// completeHDFS fills in what was left empty: a DataNode on each node of the
// first datacenter that is called a hadoop node, the NameNodes on admin nodes,
// the last of them first, because Consul and ALPS live on the first; a network
// namespace for each DataNode where we are root.
func (o *Options) completeHDFS() error {
	h := *o.HDFS
	if err := hdfs.Ready(h.Jars); err != nil {
		return fmt.Errorf("start a dev cluster with HDFS: %w", err)
	}
	names := func(part string) []string {
		var list []string
		for _, n := range o.Datacenters[0].Nodes {
			if strings.Contains(n.Name, part) {
				list = append(list, n.Name)
			}
		}
		return list
	}
	if len(h.Names) == 0 {
		h.Names = names("hadoop")
	}
	if len(h.NameNodes) == 0 {
		h.NameNodes = names("admin")
		slices.Reverse(h.NameNodes)
		if want := map[bool]int{false: 1, true: 2}[h.HA]; len(h.NameNodes) > want {
			h.NameNodes = h.NameNodes[:want]
		}
	}
	if len(h.Names) == 0 || len(h.NameNodes) == 0 {
		return mesh.Errorf(mesh.Invalid, "start a dev cluster: an HDFS needs an admin node and a hadoop node").
			WithHint("leave the number of nodes out, or take at least 3")
	}
	for _, name := range slices.Concat(h.NameNodes, h.Names) {
		if !slices.Contains(names(""), name) {
			return mesh.Errorf(mesh.Invalid, "start a dev cluster: there is no node %q for HDFS", name)
		}
	}
	if h.Layout == hdfs.AnyLayout {
		h.Layout = hdfs.Loopback
		if os.Geteuid() == 0 {
			h.Layout = hdfs.Namespaces
		}
	}
	h.Replication = cmp.Or(h.Replication, min(3, len(h.Names)))
	h.Logger = o.Logger
	o.HDFS = &h
	return nil
}

// HDFS is the HDFS of the cluster, nil when there is none.
func (c *Cluster) HDFS() *hdfs.Cluster { return c.hdfs }

// startHDFS starts it and writes what the agents beside its daemons read.
func (c *Cluster) startHDFS(ctx context.Context) error {
	if c.o.HDFS == nil {
		return nil
	}
	c.o.Progress("starting HDFS")
	o := *c.o.HDFS
	o.Dir = c.path(hdfsDir)
	var err error
	if c.hdfs, err = hdfs.Start(ctx, o); err != nil {
		return err
	}
	for _, n := range slices.Concat(c.hdfs.NameNodes(), c.hdfs.DataNodes()) {
		if err := c.defineDaemon(n); err != nil {
			return err
		}
	}
	return c.writeDisks()
}

func (c *Cluster) closeHDFS() error {
	if c.hdfs == nil {
		return nil
	}
	err := os.Remove(c.path(disksName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, c.hdfs.Close())
}

// diskCheck replaces the pack's own, which looks every half a minute: whoever
// breaks a disk here waits for it.
const diskCheck = `
  check "hdfs-volumes" {
    probe    = "hdfs.volumes"
    interval = "2s"
    timeout  = "2s"
    attempts = 2
    status   = "warning" # until it has looked once.
    notes    = "The disks of the DataNode, tried by a write to each."
  }
`

// defineDaemon makes a service of a daemon, on the node of its name.
func (c *Cluster) defineDaemon(n *hdfs.Node) error {
	name, port, more := "datanode", n.Transfer, diskCheck
	if n.Kind == hdfs.NameNode {
		name, port, more = "namenode", n.IPC, ""
	}
	def := fmt.Sprintf(`service %[1]q {
  address = %[2]q
  port    = %[3]s
  tags    = ["hdfs"]

  check %[1]q {
    tcp      = %[4]q
    interval = "2s"
    timeout  = "1s"
    notes    = "The %[5]s takes connections."
  }
%[6]s}
`, name, n.Addr, port[strings.LastIndexByte(port, ':')+1:], port, n.Kind, more)
	dir := filepath.Join(c.path("agent", n.Name), "checks.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".hcl"), []byte(def), 0o600); err != nil {
		return fmt.Errorf("write a definition: %w", err)
	}
	return nil
}

// daemonOf is the daemon of HDFS on a node, nil when there is none.
func (c *Cluster) daemonOf(node string) *hdfs.Node {
	if c.hdfs == nil {
		return nil
	}
	return c.hdfs.Node(node)
}

// packsOf are the packs of a node's agent: where Hadoop runs its pack does too.
func (c *Cluster) packsOf(node string) []string {
	packs := slices.Clone(c.o.Packs)
	if c.daemonOf(node) != nil && !slices.Contains(packs, hdfsPack) {
		packs = append(packs, hdfsPack)
	}
	return packs
}

// envOf is what the agent of a node finds in its environment as on a machine
// with Hadoop.
func (c *Cluster) envOf(node string) []string {
	if n := c.daemonOf(node); n != nil {
		return []string{"HADOOP_CONF_DIR=" + n.ConfDir}
	}
	return nil
}

// execOf is the section of an agent's configuration with which its jobs find
// Hadoop.
func (c *Cluster) execOf(node string) string {
	n := c.daemonOf(node)
	if n == nil {
		return ""
	}
	return fmt.Sprintf("exec {\n  env = {\n    HADOOP_CONF_DIR = %q\n    PATH            = %q\n  }\n}\n", n.ConfDir, n.BinDir+":"+systemPath)
}

// hdfsEnv is what a shell reads to type hdfs.
func (c *Cluster) hdfsEnv() string {
	if c.hdfs == nil {
		return ""
	}
	n := c.hdfs.NameNodes()[0]
	return fmt.Sprintf("export HADOOP_CONF_DIR=%s\nexport PATH=%s:\"$PATH\"\n", quote(n.ConfDir), quote(n.BinDir))
}

// Disks are those of one DataNode.
type Disks struct {
	Dirs []string `json:"dirs"`
	HDFS string   `json:"hdfs"` // the command.
	IPC  string   `json:"ipc"`  // host:port of the DataNode, as dfsadmin has it.
}

// writeDisks says where the disks are to a process that wants to break one.
func (c *Cluster) writeDisks() error {
	disks := map[string]Disks{}
	for _, n := range c.hdfs.DataNodes() {
		disks[n.Name] = Disks{Dirs: n.DataDirs, HDFS: filepath.Join(n.BinDir, "hdfs"), IPC: n.IPC}
	}
	b, err := json.MarshalIndent(disks, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the list of disks: %w", err)
	}
	if err := os.WriteFile(c.path(disksName), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the list of disks: %w", err)
	}
	return nil
}

// ReadDisks returns the disks of a DataNode of the cluster in dir, of which
// disk, a path or its last part, is moved to the front; "" moves none.
func ReadDisks(dir, node, disk string) (Disks, error) {
	b, err := os.ReadFile(filepath.Join(dir, disksName))
	if errors.Is(err, fs.ErrNotExist) {
		return Disks{}, mesh.Errorf(mesh.NotFound, "no HDFS runs in %s", dir).WithHint("start one: alps dev --hdfs; or name its directory with --dir")
	}
	var all map[string]Disks
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return Disks{}, fmt.Errorf("read the list of disks: %w", err)
	}
	d, ok := all[node]
	if !ok {
		var names []string
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		return Disks{}, mesh.Errorf(mesh.NotFound, "there is no DataNode %q", node).WithHint("take one of %s", strings.Join(names, ", "))
	}
	if disk == "" {
		return d, nil
	}
	i := slices.IndexFunc(d.Dirs, func(path string) bool { return path == filepath.Clean(disk) || filepath.Base(path) == disk })
	if i < 0 {
		return Disks{}, mesh.Errorf(mesh.NotFound, "%s has no disk %q", node, disk).WithHint("take one of %s", strings.Join(d.Dirs, ", "))
	}
	d.Dirs[0], d.Dirs[i] = d.Dirs[i], d.Dirs[0]
	return d, nil
}
