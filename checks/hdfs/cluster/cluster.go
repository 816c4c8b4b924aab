package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/jvm"
	"alps/mesh/proc"
)

// Layout is how several machines are had on one.
type Layout int

// The layouts; see the package. AnyLayout leaves the choice to who starts an
// HDFS on behalf of another; Start itself then takes Loopback.
const (
	AnyLayout Layout = iota
	Loopback
	Namespaces
)

// Options say what to start. The zero value is a NameNode and four DataNodes
// with two disks each, on loopback.
type Options struct {
	// Dir keeps everything. It is made if missing, emptied if an earlier run made
	// it, and stays after Close. Empty: a temporary one that Close removes.
	Dir string
	// Jars is the directory of Hadoop's jars. Empty: see jvm.Jars.
	Jars   string
	Layout Layout
	// HA is two NameNodes with three JournalNodes; the first one becomes active.
	// There is no failover controller: Failover does it.
	HA bool
	// NameNodes are the names of their hosts; empty: nn1 (and nn2).
	NameNodes []string
	// DataNodes is how many there are; zero is four, or as many as Names. Names
	// are what the NameNode shows; empty: dn1, dn2, …
	DataNodes int
	Names     []string
	// DataDirs is how many disks each DataNode has; zero is two.
	DataDirs int
	// FailedVolumesTolerated is how many disks a DataNode lives without; nil is
	// one. With none, the first disk that fails ends it.
	FailedVolumesTolerated *int
	// Replication of files that do not say it; zero is three.
	Replication int
	// BlockSize in bytes; zero is 1 MiB, the least 1 KiB.
	BlockSize int64
	// JSONHosts has the NameNodes read their nodes' states from a JSON file
	// (CombinedHostFileManager) rather than from an exclude file: without it
	// there is no maintenance. See Node.HostFile.
	JSONHosts bool
	// Racks are those of the DataNodes, in their order ("/r1"). Only in
	// namespaces; empty: all on the default rack.
	Racks []string
	// HeartbeatRecheck is how often a NameNode looks for those that died: one is
	// dead after twice that and ten heartbeats of a second. Zero is 2 s.
	HeartbeatRecheck time.Duration
	// NameNodeConf and DataNodeConf are laid over hdfs-site.xml.
	NameNodeConf, DataNodeConf map[string]string
	// Logger is told what happens. Nil means silence.
	Logger hclog.Logger
}

const (
	marker       = ".alps-hdfs" // says that a directory is ours to empty.
	recordName   = "pids.json"
	netDir       = "net"
	tempPattern  = "alps-hdfs-*"
	grace        = 10 * time.Second
	startTimeout = 4 * time.Minute // a loaded machine; 6 s are usual.
)

// Cluster is a running HDFS. Its methods may be called from any goroutine.
type Cluster struct {
	o       Options
	java    string
	group   *proc.Group
	http    *http.Client
	net     *network
	tempDir bool // we made Dir.

	names, journals, datas []*Node
	closing                sync.Mutex
}

// Start starts an empty HDFS and returns when its NameNode, or both, see every
// DataNode alive. ctx bounds the start alone; Close ends the cluster. On an
// error nothing is left running. What a killed run left in Dir is swept first;
// one that still runs there is a mesh.Conflict.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Cluster{o: o, http: &http.Client{Transport: &http.Transport{}}}
	var err error
	if c.java, c.o.Jars, err = find(o.Jars); err != nil {
		return nil, err
	}
	if err := c.bringUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start an HDFS: %w", err), c.Close())
	}
	return c, nil
}

// Ready fails with a mesh.NotFound that says what to type when Start would not
// find a Java, or the jars: in the directory jars, or if that is empty where
// jvm.Jars looks for them.
func Ready(jars string) error {
	_, _, err := find(jars)
	return err
}

func find(jars string) (java, lib string, err error) {
	if lib, err = (jvm.Jars{Name: "hadoop", Env: "ALPS_HADOOP", Dir: jars}).Find(); err != nil {
		return "", "", err
	}
	java, err = jvm.FindJava()
	return java, lib, err
}

// complete fills in what was left out and refuses what cannot be.
func (o *Options) complete() error {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.DataNodes == 0 {
		if o.DataNodes = len(o.Names); o.DataNodes == 0 {
			o.DataNodes = 4
		}
	}
	if len(o.Names) == 0 {
		for i := range o.DataNodes {
			o.Names = append(o.Names, fmt.Sprintf("dn%d", i+1))
		}
	}
	want := 1
	if o.HA {
		want = 2
	}
	if len(o.NameNodes) == 0 {
		o.NameNodes = []string{"nn1", "nn2"}[:want]
	}
	setDefault(&o.DataDirs, 2)
	setDefault(&o.Replication, 3)
	setDefault(&o.BlockSize, 1<<20)
	setDefault(&o.HeartbeatRecheck, 2*time.Second)
	if o.FailedVolumesTolerated == nil {
		o.FailedVolumesTolerated = new(1)
	}
	invalid := func(format string, args ...any) error {
		return mesh.Errorf(mesh.Invalid, "start an HDFS: "+format, args...)
	}
	switch {
	case len(o.Names) != o.DataNodes:
		return invalid("%d names for %d DataNodes", len(o.Names), o.DataNodes)
	case len(o.NameNodes) != want:
		return invalid("%d names for %d NameNodes", len(o.NameNodes), want)
	case o.DataNodes > maxDataNodes:
		return invalid("%d DataNodes; at most %d have an address", o.DataNodes, maxDataNodes)
	case len(o.Racks) > 0 && (len(o.Racks) != o.DataNodes || o.Layout != Namespaces):
		return invalid("racks are those of every DataNode, each in a namespace of its own")
	}
	seen := map[string]bool{}
	for _, name := range slices.Concat(o.NameNodes, o.Names, journalNames()) {
		if name == "" || seen[name] || filepath.Base(name) != name {
			return invalid("the node %q is unnamed, there twice, or no name of a host", name)
		}
		seen[name] = true
	}
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// bringUp acquires in order what Close gives back.
func (c *Cluster) bringUp(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	if err := c.takeDir(); err != nil {
		return err
	}
	if c.o.Layout == Namespaces {
		n, err := newNetwork(c.o.Dir, c.o.Names)
		if err != nil {
			return err
		}
		c.net = n
	}
	if err := c.place(ctx); err != nil {
		return err
	}
	if err := c.writeConfig(); err != nil {
		return err
	}
	g, err := proc.New(proc.Options{Record: c.path(recordName), Grace: grace, Logger: c.o.Logger})
	if err != nil {
		return err
	}
	c.group = g
	if err := c.startNameNodes(ctx); err != nil {
		return err
	}
	for _, n := range c.datas {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if c.o.HA {
		if err := c.firstActive(ctx); err != nil {
			return err
		}
	}
	if err := c.AwaitLive(ctx, len(c.datas)); err != nil {
		return err
	}
	c.o.Logger.Info("hdfs ready", "datanodes", len(c.datas), "dir", c.o.Dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// startNameNodes formats and starts them, with the JournalNodes if there are
// two: the first one's format is also theirs, and the second one takes over
// what the first has.
func (c *Cluster) startNameNodes(ctx context.Context) error {
	for _, n := range c.journals {
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range c.journals {
		if err := n.awaitIPC(ctx); err != nil {
			return err
		}
	}
	for i, n := range c.names {
		args := []string{"-format", "-nonInteractive", "-force"}
		if i > 0 {
			args = []string{"-bootstrapStandby", "-nonInteractive"}
		}
		if err := c.prepare(ctx, n, args); err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
		if c.o.HA {
			if err := n.awaitIPC(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeDir makes the directory, or sweeps and empties the one that is there.
func (c *Cluster) takeDir() error {
	if c.o.Dir == "" {
		sweepTemp(c.o.Logger)
		dir, err := os.MkdirTemp("", tempPattern)
		if err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		c.o.Dir, c.tempDir = dir, true
	}
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	dir, err := realPath(c.o.Dir)
	if err != nil {
		return err
	}
	c.o.Dir = dir
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the directory: %w", err)
	}
	ours := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == marker })
	if len(entries) > 0 && !ours {
		return mesh.Errorf(mesh.Conflict, "%s is not empty and holds no HDFS of ours", dir).
			WithHint("name a new or empty directory")
	}
	if ours {
		ended, err := Sweep(dir)
		if err != nil {
			return err
		}
		if len(ended) > 0 {
			c.o.Logger.Info("ended what a killed run left behind", "nodes", ended)
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("empty the directory: %w", err)
		}
	}
	if err := os.WriteFile(c.path(marker), []byte("the next HDFS that starts here empties this directory.\n"), 0o600); err != nil {
		return fmt.Errorf("mark the directory: %w", err)
	}
	return nil
}

// realPath is dir as the kernel names it in its list of mounts.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("find the directory: %w", err)
	}
	return dir, nil
}

func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.o.Dir}, elem...)...)
}

// Dir is where everything lies.
func (c *Cluster) Dir() string { return c.o.Dir }

// NameNodes are the NameNodes, in the order of the Options.
func (c *Cluster) NameNodes() []*Node { return slices.Clone(c.names) }

// DataNodes are the DataNodes, in the order of the Options.
func (c *Cluster) DataNodes() []*Node { return slices.Clone(c.datas) }

// JournalNodes are the JournalNodes; none without HA.
func (c *Cluster) JournalNodes() []*Node { return slices.Clone(c.journals) }

// Nodes are all daemons.
func (c *Cluster) Nodes() []*Node { return slices.Concat(c.journals, c.names, c.datas) }

// Node is the daemon of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Close ends every daemon, mends every disk, and takes the network down. It
// removes the directory if Start made it. It may be called again.
//
// The daemons are killed: what they hold is thrown away, and need not be closed
// in order.
func (c *Cluster) Close() error {
	c.closing.Lock()
	defer c.closing.Unlock()
	var errs []error
	if c.group != nil {
		var wg sync.WaitGroup
		for _, n := range c.Nodes() {
			if n.process() != nil {
				wg.Go(n.Kill)
			}
		}
		wg.Wait()
		errs = append(errs, c.group.Stop())
	}
	c.http.CloseIdleConnections()
	for _, n := range c.datas {
		for _, dir := range n.DataDirs {
			errs = append(errs, Mend(dir))
		}
	}
	if c.net != nil {
		errs = append(errs, dropNetwork(c.o.Dir))
	}
	if c.tempDir {
		if err := os.RemoveAll(c.o.Dir); err != nil {
			errs = append(errs, fmt.Errorf("remove the directory of the HDFS: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Sweep ends the daemons that a killed starter left in dir, and only those,
// and gives back its mounts, namespaces and links. It returns the names of the
// daemons. The files stay. A dir whose starter still runs is a mesh.Conflict.
func Sweep(dir string) (ended []string, err error) {
	if dir, err = realPath(dir); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	if ended, err = proc.Sweep(filepath.Join(dir, recordName), grace); err != nil {
		return ended, err
	}
	return ended, errors.Join(unmountBelow(dir), dropNetwork(dir))
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
			log.Debug("directory of another HDFS left alone", "dir", dir, "reason", err)
		} else if err := os.RemoveAll(dir); err == nil {
			log.Info("removed what a killed run left behind", "dir", dir, "ended", ended)
		}
	}
}
