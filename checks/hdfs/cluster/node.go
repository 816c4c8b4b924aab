package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"alps/mesh/jvm"
	"alps/mesh/proc"
)

// Kind is what a daemon does.
type Kind string

// The kinds, in the words of Hadoop's beans.
const (
	NameNode    Kind = "NameNode"
	DataNode    Kind = "DataNode"
	JournalNode Kind = "JournalNode"
)

// Node is one daemon. Its methods may be called from any goroutine, but not two
// of those that start and end it at the same time.
type Node struct {
	Name     string // of its host.
	Kind     Kind
	ID       string // a NameNode's in HA: nn1, nn2.
	ConfDir  string // its HADOOP_CONF_DIR.
	BinDir   string // holds the command hdfs.
	DataDirs []string
	Addr     string // its address, without a port.
	HTTP     string // host:port of the daemon's pages and beans.
	IPC      string // host:port of its calls.
	Transfer string // host:port of a DataNode's blocks.
	Netns    string // the file of its network namespace; empty: ours.

	c *Cluster

	mu sync.Mutex
	p  *proc.Process // the last one started.
}

// Key is how a NameNode's beans name a DataNode: host:port of its blocks.
func (n *Node) Key() string {
	_, port, _ := net.SplitHostPort(n.Transfer) // we made it.
	return net.JoinHostPort(n.Name, port)
}

// HostFile is the file that a NameNode takes its nodes' states from when it is
// told to refresh them: the exclude file, or the JSON file.
func (n *Node) HostFile() string {
	if n.c.o.JSONHosts {
		return filepath.Join(n.ConfDir, "dfs.hosts.json")
	}
	return filepath.Join(n.ConfDir, "dfs.exclude")
}

// Dir is the directory of the daemon.
func (n *Node) Dir() string { return filepath.Dir(n.ConfDir) }

// LogPath is what the daemon said.
func (n *Node) LogPath() string { return filepath.Join(n.Dir(), n.Name+".log") }

// program is what runs main with the node's configuration.
func (n *Node) program(main string, args ...string) jvm.Program {
	return jvm.Program{
		Java: n.c.java, Jars: n.c.o.Jars, Main: main, Args: args,
		Heap:      map[Kind]int{NameNode: 96, DataNode: 64, JournalNode: 48}[n.Kind],
		Classpath: []string{n.ConfDir}, Hosts: n.c.path("hosts"), Netns: n.Netns,
		Properties: map[string]string{"hadoop.root.logger": "INFO,console", "hadoop.log.dir": n.Dir()},
		Env:        []string{"HADOOP_CONF_DIR=" + n.ConfDir},
		// As Hadoop's own scripts do: without it a NameNode answers every WebHDFS
		// with 500.
		Opens: []string{"java.base/java.lang"},
	}
}

// mainClass is the daemon.
func (n *Node) mainClass() string {
	const prefix = "org.apache.hadoop.hdfs."
	return prefix + map[Kind]string{
		NameNode: "server.namenode.NameNode", DataNode: "server.datanode.DataNode", JournalNode: "qjournal.server.JournalNode",
	}[n.Kind]
}

// Start starts the daemon, which must not run, with the configuration that now
// lies in ConfDir. Whether it then lives is seen by AwaitLive or Running.
func (n *Node) Start() error {
	p, err := n.c.group.Start(n.program(n.mainClass()).Spec(n.Name, n.Dir()))
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.p = p
	return nil
}

// Stop ends the daemon with SIGTERM and waits.
func (n *Node) Stop() { n.process().Stop() }

// Kill ends it with SIGKILL and waits.
func (n *Node) Kill() { n.process().Kill() }

// Freeze stops it where it stands: its sockets stay open and nothing answers.
func (n *Node) Freeze() error { return n.process().Freeze() }

// Thaw lets a frozen daemon go on.
func (n *Node) Thaw() error { return n.process().Thaw() }

// PID is the process id, or the last one it had.
func (n *Node) PID() int { return n.process().PID() }

// Done is closed when the process that the daemon has now ends.
func (n *Node) Done() <-chan struct{} { return n.process().Done() }

// Err says how the process ended; nil while it runs.
func (n *Node) Err() error { return n.process().Err() }

// Running reports whether the daemon has a process.
func (n *Node) Running() bool { p := n.process(); return p != nil && p.Err() == nil }

func (n *Node) process() *proc.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.p
}

// awaitIPC returns when the daemon takes calls.
func (n *Node) awaitIPC(ctx context.Context) error {
	return n.until(ctx, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.IPC)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// until polls cond until it holds, the process ends, or ctx does.
func (n *Node) until(ctx context.Context, cond func(context.Context) error) error {
	err := poll(ctx, func(ctx context.Context) error {
		if p := n.process(); p != nil && p.Err() != nil {
			return permanent{p.Err()}
		}
		return cond(ctx)
	})
	if err != nil {
		return fmt.Errorf("wait for the %s %s: %w", n.Kind, cmp.Or(n.Name, "?"), err)
	}
	return nil
}
