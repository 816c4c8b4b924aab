package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"alps/mesh/consul/cluster"
	"alps/mesh/proc"
)

// PortWeb is where the demo service listens on its node's address, PortDNS
// where the node's agent answers names.
const (
	PortWeb = 8080
	PortDNS = 8653
)

// Domains are those that the agents of the cluster answer: the deck's, and
// Consul's own.
func Domains() []string { return []string{"yixia", "consul"} }

// Web is the demo service on one node: nginx where there is one, otherwise a
// few lines of Go. Nobody starts it again when it ends but its control script,
// which a remediation runs.
type Web struct {
	Node string
	Addr string // host:port.

	c   *Cluster
	dir string

	mu sync.Mutex // one starts it again while another kills it.
	p  *proc.Process
}

// webPoll is how soon a request to restart is seen.
const webPoll = 20 * time.Millisecond

// webScript asks the supervisor to start the service of a node again, and
// waits until it has. It stands in for the init system of a real machine: a
// process that a job starts ends with the job.
const webScript = `#!/bin/sh
# Restart the demo service on the node $ALPS_NODE.
dir=$(dirname "$0")/$ALPS_NODE
if [ -z "$ALPS_NODE" ] || [ ! -d "$dir" ]; then
	echo "no demo service runs on the node '$ALPS_NODE'" >&2
	exit 1
fi
touch "$dir/restart" || exit 1
for _ in $(seq 200); do
	if [ ! -e "$dir/restart" ]; then
		echo "web was started again, pid $(cat "$dir/pid")"
		exit 0
	fi
	sleep 0.05
done
echo "nobody took the request to restart" >&2
exit 1
`

// WebControl is the script that restarts the demo service of the node named by
// ALPS_NODE.
func (c *Cluster) WebControl() string { return c.path("web", "ctl") }

// prepareWeb writes what the services need before any agent starts: their
// definitions lie beside the agents' data.
func (c *Cluster) prepareWeb() error {
	for _, name := range c.o.Web {
		n := c.consul.Node(name)
		if n == nil {
			return fmt.Errorf("start the demo service: there is no node %q", name)
		}
		w := &Web{Node: name, Addr: net.JoinHostPort(n.Addr, strconv.Itoa(PortWeb)), c: c, dir: c.path("web", name)}
		checks := filepath.Join(c.path("agent", name), "checks.d")
		for _, dir := range []string{w.dir, checks} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make a directory: %w", err)
			}
		}
		def := fmt.Sprintf(`service "web" {
  address = %q
  port    = %d
  tags    = ["demo"]

  check "web" {
    http     = "http://%s/"
    interval = "1s"
    timeout  = "500ms"
    notes    = "The demo service answers."
  }
}
`, n.Addr, PortWeb, w.Addr)
		if err := os.WriteFile(filepath.Join(checks, "web.hcl"), []byte(def), 0o600); err != nil {
			return fmt.Errorf("write a definition: %w", err)
		}
		c.webs = append(c.webs, w)
	}
	if len(c.webs) == 0 {
		return nil
	}
	return os.WriteFile(c.WebControl(), []byte(webScript), 0o755)
}

// startWeb starts the services and whoever starts them again.
func (c *Cluster) startWeb(ctx context.Context) error {
	for _, w := range c.webs {
		if err := w.start(); err != nil {
			return err
		}
		if err := w.await(ctx); err != nil {
			return err
		}
	}
	if len(c.webs) == 0 {
		return nil
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stopWeb = stop
	c.wg.Go(func() { c.superviseWeb(watch) })
	return nil
}

// superviseWeb starts services when their control script asks for it.
func (c *Cluster) superviseWeb(ctx context.Context) {
	tick := time.NewTicker(webPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, w := range c.webs {
			request := filepath.Join(w.dir, "restart")
			if _, err := os.Stat(request); err != nil {
				continue
			}
			w.process().Stop()
			if err := errors.Join(w.start(), os.Remove(request)); err != nil {
				c.o.Logger.Warn("the demo service was not started again", "node", w.Node, "error", err)
			}
		}
	}
}

// start starts the service, and writes its pid where people find it.
func (w *Web) start() error {
	name, args := w.program()
	p, err := w.c.group.Start(proc.Spec{
		Name: "web of " + w.Node, Path: name, Args: args, Dir: w.dir, Log: filepath.Join(w.dir, "web.log"),
		Env: append(os.Environ(), w.c.o.Alps.Env...),
	})
	if err != nil {
		return fmt.Errorf("start the demo service of %s: %w", w.Node, err)
	}
	w.mu.Lock()
	w.p = p
	w.mu.Unlock()
	tmp := filepath.Join(w.dir, "pid.tmp")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(p.PID())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the pid of the demo service: %w", err)
	}
	return os.Rename(tmp, w.PIDFile())
}

// PIDFile holds the process id of the service.
func (w *Web) PIDFile() string { return filepath.Join(w.dir, "pid") }

// Kill ends the service with SIGKILL, as a fault would.
func (w *Web) Kill() { w.process().Kill() }

func (w *Web) process() *proc.Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.p
}

// await returns when the service answers.
func (w *Web) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(webPoll)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.Addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-w.process().Done():
			return fmt.Errorf("start the demo service: %w", w.process().Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for the demo service at %s: %w", w.Addr, err)
		case <-tick.C:
		}
	}
}

// program is what serves: one process without children, so that ending it
// ends the service.
func (w *Web) program() (path string, args []string) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		return w.c.o.Alps.Path, []string{"dev", "web", "--listen", w.Addr, "--node", w.Node}
	}
	conf := filepath.Join(w.dir, "nginx.conf")
	text := strings.NewReplacer("DIR", w.dir, "ADDR", w.Addr, "NODE", w.Node).Replace(`daemon off;
master_process off;
pid DIR/nginx.pid;
error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path DIR/tmp;
  proxy_temp_path DIR/tmp;
  fastcgi_temp_path DIR/tmp;
  uwsgi_temp_path DIR/tmp;
  scgi_temp_path DIR/tmp;
  server {
    listen ADDR;
    location / {
      default_type text/plain;
      return 200 "web on NODE\n";
    }
  }
}
`)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return w.c.o.Alps.Path, []string{"dev", "web", "--listen", w.Addr, "--node", w.Node}
	}
	return nginx, []string{"-c", conf, "-p", w.dir, "-e", "stderr"}
}

// Web is the demo service of a node, nil where none runs.
func (c *Cluster) Web(node string) *Web {
	at := slices.IndexFunc(c.webs, func(w *Web) bool { return w.Node == node })
	if at < 0 {
		return nil
	}
	return c.webs[at]
}

// Webs are the demo services, in the order of the nodes that were asked for.
func (c *Cluster) Webs() []*Web { return slices.Clone(c.webs) }

// DNSAddr is where the agent beside a node of Consul answers names.
func DNSAddr(n *cluster.Node) string { return net.JoinHostPort(n.Addr, strconv.Itoa(PortDNS)) }
