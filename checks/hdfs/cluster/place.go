package cluster

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
)

// The usual ports, of the nodes that have an address of their own.
const (
	portNameRPC    = 8020
	portNameHTTP   = 9870
	portTransfer   = 9866
	portDataIPC    = 9867
	portDataHTTP   = 9864
	portJournalRPC = 8485
	portJournal    = 8480
)

const (
	nameservice  = "alps"
	maxDataNodes = 200 // their addresses begin at firstData.
	firstData    = 11
)

func journalNames() []string { return []string{"jn1", "jn2", "jn3"} }

// place gives every daemon its directory, its address and its ports.
func (c *Cluster) place(ctx context.Context) error {
	ports, err := c.newPorts(ctx)
	if err != nil {
		return err
	}
	for i, name := range c.o.NameNodes {
		n := c.newNode(name, NameNode, i+1)
		n.ID = fmt.Sprintf("nn%d", i+1)
		n.IPC, n.HTTP = ports.at(n, portNameRPC), ports.at(n, portNameHTTP)
		c.names = append(c.names, n)
	}
	if c.o.HA {
		for i, name := range journalNames() {
			n := c.newNode(name, JournalNode, i+1)
			n.IPC, n.HTTP = ports.at(n, portJournalRPC), ports.at(n, portJournal)
			c.journals = append(c.journals, n)
		}
	}
	for i, name := range c.o.Names {
		n := c.newNode(name, DataNode, i+firstData)
		n.Transfer, n.IPC, n.HTTP = ports.at(n, portTransfer), ports.at(n, portDataIPC), ports.at(n, portDataHTTP)
		for d := range c.o.DataDirs {
			n.DataDirs = append(n.DataDirs, c.path(name, "data"+strconv.Itoa(d+1)))
		}
		if c.net != nil {
			n.Netns = c.path(netDir, name)
		}
		c.datas = append(c.datas, n)
	}
	return nil
}

// newNode is a daemon on the address whose last number is host.
func (c *Cluster) newNode(name string, kind Kind, host int) *Node {
	n := &Node{Name: name, Kind: kind, ConfDir: c.path(name, "conf"), BinDir: c.path(name, "bin"), Addr: "127.0.0.1", c: c}
	if c.net != nil {
		n.Addr = c.net.addr(host)
	}
	return n
}

// portsPerNode is the most that one daemon listens on.
const portsPerNode = 3

// ports hands out ports: the usual ones to nodes that have an address of their
// own, and otherwise free ones of the one address that all share.
type ports struct {
	own  bool
	free []string // host:port.
}

func (p *ports) at(n *Node, usual int) string {
	if p.own {
		return net.JoinHostPort(n.Addr, strconv.Itoa(usual))
	}
	next := p.free[0]
	p.free = p.free[1:]
	return next
}

// newPorts has the kernel pick as many ports as the nodes may need. All are held
// until the last is picked, so that no two are the same.
func (c *Cluster) newPorts(ctx context.Context) (*ports, error) {
	p := &ports{own: c.net != nil}
	if p.own {
		return p, nil
	}
	var lc net.ListenConfig
	for range portsPerNode * (len(c.o.NameNodes) + len(journalNames()) + len(c.o.Names)) {
		l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		p.free = append(p.free, l.Addr().String())
	}
	return p, nil
}

// hostsFile is what every JVM takes its names from.
func (c *Cluster) hostsFile() string { return filepath.Join(c.o.Dir, "hosts") }
