package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"

	"alps/mesh/proc"
)

// Consul's usual ports, the same on every address.
const (
	portRPC  = 8300
	portLAN  = 8301
	portWAN  = 8302
	portHTTP = 8500
	portDNS  = 8600
)

// Node is one Consul agent. Its methods may be called from any goroutine, but
// not two of those that start and end it at the same time.
type Node struct {
	Name       string
	Datacenter string
	Server     bool
	Addr       string // its loopback address, without a port.

	c   *Cluster
	dir string

	mu     sync.Mutex
	p      *proc.Process // the last one started.
	frozen bool
}

// HTTPAddr returns host:port of the node's HTTP API.
func (n *Node) HTTPAddr() string { return n.at(portHTTP) }

// DNSAddr returns host:port of the node's DNS server, UDP and TCP.
func (n *Node) DNSAddr() string { return n.at(portDNS) }

// LogPath returns the file that Consul's output is appended to.
func (n *Node) LogPath() string { return filepath.Join(n.dir, "consul.log") }

// PID returns the pid of the node's process, or of the last one it had.
func (n *Node) PID() int { return n.process().PID() }

// Done is closed when the process that the node has now ends.
func (n *Node) Done() <-chan struct{} { return n.process().Done() }

// Err says how the process ended; nil while it runs.
func (n *Node) Err() error { return n.process().Err() }

// Kill ends the process with SIGKILL, as a power cut would. It returns when
// the process is gone.
func (n *Node) Kill() { n.process().Kill() }

// Stop ends the process with SIGTERM and waits. The node does not leave the
// cluster: to the others it has failed, as a machine that is rebooted.
func (n *Node) Stop() { n.process().Stop() }

// Freeze stops the process with SIGSTOP: its sockets stay open and nothing
// answers.
func (n *Node) Freeze() error { return n.freeze((*proc.Process).Freeze, true) }

// Thaw lets a frozen process go on.
func (n *Node) Thaw() error { return n.freeze((*proc.Process).Thaw, false) }

// Restart starts the node again with the same address and data, after a Stop
// if it runs. It returns when the node's HTTP API answers; use WaitReady to
// wait for more.
func (n *Node) Restart(ctx context.Context) error {
	n.Stop()
	if err := n.start(); err != nil {
		return err
	}
	err := n.until(ctx, func(ctx context.Context) error {
		var self struct{}
		return n.get(ctx, "/v1/agent/self", &self)
	})
	if err != nil {
		return fmt.Errorf("restart %w", err)
	}
	return nil
}

func (n *Node) start() error {
	args, err := n.writeConfig(n.c.o)
	if err != nil {
		return err
	}
	p, err := n.c.group.Start(proc.Spec{
		Name: n.Name, Path: n.c.o.Binary, Args: args, Env: env(), Dir: n.dir, Log: n.LogPath(),
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.p, n.frozen = p, false
	return nil
}

func (n *Node) freeze(do func(*proc.Process) error, frozen bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := do(n.p); err != nil {
		return err
	}
	n.frozen = frozen
	return nil
}

func (n *Node) process() *proc.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.p
}

// up reports whether the node runs and is not frozen.
func (n *Node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.p.Done():
		return false
	default:
		return !n.frozen
	}
}

func (n *Node) at(port int) string { return net.JoinHostPort(n.Addr, strconv.Itoa(port)) }

// SaveSnapshot returns a snapshot of the state of the node's datacenter.
func (n *Node) SaveSnapshot(ctx context.Context) ([]byte, error) {
	return n.snapshot(ctx, http.MethodGet, nil)
}

// RestoreSnapshot puts the state of the node's datacenter back to what it was
// when the snapshot was taken. Indexes go back with it.
func (n *Node) RestoreSnapshot(ctx context.Context, snapshot []byte) error {
	_, err := n.snapshot(ctx, http.MethodPut, snapshot)
	return err
}

func (n *Node) snapshot(ctx context.Context, method string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.HTTPAddr()+"/v1/snapshot", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", n.Datacenter, err)
	}
	resp, err := n.c.do(req)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", n.Datacenter, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", n.Datacenter, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("snapshot of %s: %s: %.200s", n.Datacenter, resp.Status, b)
	}
	return b, nil
}
