package dev

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"alps/mesh"
	"alps/mesh/consul/cluster"
	"alps/mesh/pki"
	"alps/mesh/proc"
	"alps/mesh/sign"
	"alps/scripts"
	v1 "alps/server/api/v1"
)

// keys is the trust of a cluster: a root that grants its server everything.
type keys struct{ root, server sign.PrivateKey }

// RootKey is the private root key, for tests that sign what a thief could.
func (c *Cluster) RootKey() sign.PrivateKey { return c.keys.root }

// writeTrust makes the CA, the root key and a grant that allows the server
// every command: on a throw-away cluster an operator needs no key.
func (c *Cluster) writeTrust(now time.Time) error {
	ca, err := pki.NewCA(clusterName, now)
	if err != nil {
		return err
	}
	for _, dir := range []string{c.path(serverName, "tls"), c.path("root")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	if err := ca.Save(c.CACert(), c.path(serverName, "tls", "ca-key.pem")); err != nil {
		return err
	}
	c.keys = keys{root: sign.GenerateKey(), server: sign.GenerateKey()}
	grant, err := c.keys.root.SealGrant(sign.Grant{
		Cluster: clusterName, Serial: string(mesh.NewJobID()), Key: c.keys.server.Public(), Holder: "alps dev",
		NotAfter: now.AddDate(1, 0, 0).Unix(),
		Scope:    sign.Scope{Any: true, RunAs: []string{"*"}, Targets: "all", MaxNodes: 20000},
	})
	if err != nil {
		return err
	}
	doc, err := grant.Encode()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path("root", "root.key"), []byte(c.keys.root.Text()+"\n"), 0o600),
		os.WriteFile(c.path("root", "root.pub"), []byte(c.keys.root.Public().String()+"\n"), 0o600),
		os.WriteFile(c.path("root", "server.key"), []byte(c.keys.server.Text()+"\n"), 0o600),
		os.WriteFile(c.path("root", "server.grant"), append(doc, '\n'), 0o600),
	)
}

// writeRules puts the scripts of the library and the rules where the server
// looks for them.
func (c *Cluster) writeRules() error {
	if err := os.CopyFS(c.path(serverName, "scripts"), scripts.FS()); err != nil {
		return fmt.Errorf("write the script library: %w", err)
	}
	if c.o.Rules == nil {
		return nil
	}
	dir := c.path(serverName, "rules.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "rules.hcl"), []byte(c.o.Rules(c)), 0o600)
}

func (c *Cluster) startAgents(ctx context.Context) error {
	token, err := c.Client().CreateJoinToken(ctx, v1.JoinTokenRequest{Reusable: true, TTL: 24 * 3600})
	if err != nil {
		return fmt.Errorf("make a join token: %w", err)
	}
	c.join = token.Text
	if err := os.WriteFile(c.path("join.token"), []byte(c.join+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the join token: %w", err)
	}
	var names []string
	for _, n := range c.consul.Nodes() {
		if slices.Contains(c.o.NoAgent, n.Name) {
			continue
		}
		if err := c.addAgent(n); err != nil {
			return err
		}
		names = append(names, n.Name)
	}
	return c.AwaitLinked(ctx, names...)
}

func (c *Cluster) addAgent(n *cluster.Node) error {
	hcl := fmt.Sprintf(`data_dir = %q
consul { address = %q }
join {
  token_file = %q
  servers    = [%s]
}
dns {
  listen  = %q
  domains = [%s]
}
check { packs = [%s] }
%s`, c.path("agent", n.Name), n.HTTPAddr(), c.path("join.token"), c.linkAddrs(), DNSAddr(n), quoted(Domains()),
		quoted(c.packsOf(n.Name)), c.execOf(n.Name))
	p, err := c.newProcess(&Process{c: c, node: n.Name, verb: "agent", dir: c.path("agent", n.Name), env: c.envOf(n.Name)}, hcl)
	if err != nil {
		return err
	}
	c.agents = append(c.agents, p)
	return p.Start()
}

// AwaitLinked returns when the inventory shows a link to the agent of each
// node.
func (c *Cluster) AwaitLinked(ctx context.Context, names ...string) error {
	what := "the agents are linked: " + strings.Join(names, ", ")
	return c.await(ctx, nil, what, func(ctx context.Context) error {
		list, err := c.Client().Nodes(ctx, v1.NodeFilter{Query: "agent=linked", Limit: len(names) + len(c.agents)})
		if err != nil {
			return err
		}
		for _, name := range names {
			if !slices.ContainsFunc(list.Nodes, func(n mesh.Node) bool { return string(n.Name) == name }) {
				if p := c.Agent(name); p != nil && p.exited() {
					return permanent{p.diagnose()}
				}
				return fmt.Errorf("%s has no link yet", name)
			}
		}
		return nil
	})
}

// permanent ends a wait at once.
type permanent struct{ error }

// await polls until ok returns nil, the process ends (every server, if it is
// nil), or it has taken too long.
func (c *Cluster) await(ctx context.Context, p *Process, what string, ok func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		if p, ok := errors.AsType[permanent](err); ok {
			return p.error
		}
		if p := cmp.Or(p, c.deadServers()); p != nil && p.exited() {
			return p.diagnose()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// Process is one ALPS process of the cluster, with the same data directory
// however often it is started.
type Process struct {
	c       *Cluster
	node    string // empty for a server.
	verb    string
	label   string // of a server that is not the first.
	dir     string
	env     []string // beside that of all.
	running *proc.Process
	frozen  atomic.Bool
}

// newProcess writes the configuration of p and returns p.
func (c *Cluster) newProcess(p *Process, hcl string) (*Process, error) {
	if c.o.Configure != nil {
		hcl = c.o.Configure(p.node, hcl)
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if err := os.WriteFile(p.ConfigPath(), []byte(hcl), 0o600); err != nil {
		return nil, fmt.Errorf("write a config: %w", err)
	}
	return p, nil
}

// name is how people call the process.
func (p *Process) name() string {
	if p.node == "" {
		return cmp.Or(p.label, p.verb)
	}
	return p.verb + " of " + p.node
}

// Node is the name of the node that an agent lives on, empty for a server.
func (p *Process) Node() string { return p.node }

// Dir is the data directory.
func (p *Process) Dir() string { return p.dir }

// ConfigPath is the configuration file.
func (p *Process) ConfigPath() string { return filepath.Join(p.dir, p.verb+".hcl") }

// LogPath is the log.
func (p *Process) LogPath() string { return filepath.Join(p.dir, p.verb+".log") }

// Start starts the process. It must not be running.
func (p *Process) Start() error {
	name := p.name()
	running, err := p.c.group.Start(proc.Spec{
		Name: name, Path: p.c.o.Alps.Path, Args: []string{p.verb, "--config", p.ConfigPath()},
		Env: slices.Concat(os.Environ(), p.c.o.Alps.Env, p.env), Dir: p.dir, Log: p.LogPath(),
	})
	if err != nil {
		return fmt.Errorf("start alps %s: %w", name, err)
	}
	p.running = running
	p.frozen.Store(false)
	return nil
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() { p.running.Kill() }

// Stop ends the process with SIGTERM, later with SIGKILL, and waits for it.
func (p *Process) Stop() { p.running.Stop() }

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error { return p.running.Signal(sig) }

// Freeze stops the process where it stands; Thaw lets it go on.
func (p *Process) Freeze() error {
	p.frozen.Store(true)
	return p.running.Freeze()
}

// Thaw lets a frozen process go on. A second time does no harm.
func (p *Process) Thaw() error {
	p.frozen.Store(false)
	return p.running.Thaw()
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.running.Done() }

func (p *Process) exited() bool {
	select {
	case <-p.running.Done():
		return true
	default:
		return false
	}
}

// diagnose is an error with the last that the process has said.
func (p *Process) diagnose() error { return fmt.Errorf("alps %w", p.running.Err()) }

func trim(b []byte) string { return string(bytes.TrimSpace(b)) }

// quote makes s one word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoted is a list of strings as HCL has it, without its brackets.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = strconv.Quote(v)
	}
	return strings.Join(out, ", ")
}
