package loop_test

import (
	"bytes"
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
	"testing"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh/consul"
)

// leaderRules mend by a control script that counts its starts and can be held.
// No guard of the policy is in the way of one problem after the other.
const leaderRules = `receiver "hook" {
  url = "HOOK"
}

rule "web-down" {
  check    = "web"
  status   = "critical"
  for      = "2s"
  severity = "critical"
  summary  = "web does not answer"
  notify   = ["hook"]
}

policy "restart-web" {
  rule     = "web-down"
  script   = "restart-service"
  args     = ["CTL"]
  mode     = "auto"
  cooldown = "0s"
  per_hour = 100
  storm    = 100
  failures = 100
  timeout  = "2m"
  verify   = "2m"
}
`

// control writes a line when it starts, waits while "hold" is there, and
// restarts nothing when "idle" is.
const control = `#!/bin/sh
dir=$(dirname "$0")
echo "$ALPS_NODE" >>"$dir/starts"
while [ -e "$dir/hold" ]; do sleep 0.05; done
[ -e "$dir/idle" ] || exec "$dir/ctl"
`

// pair is a cluster with two servers.
type pair struct {
	*loop.Rig
}

func startPair(t *testing.T) *pair {
	t.Helper()
	hook := loop.NewHook(t)
	p := &pair{loop.Start(t, loop.Options{Dev: dev.Options{
		Servers: 2,
		Rules: func(c *dev.Cluster) string {
			return strings.NewReplacer("HOOK", hook.URL(), "CTL", filepath.Join(c.Dir(), "web", "counted")).Replace(leaderRules)
		},
		Configure: func(node, hcl string) string {
			switch {
			case node != "":
			case strings.Contains(hcl, "alert {\n"):
				hcl = strings.Replace(hcl, "alert {\n", "alert {\n  reopen = \"0s\"\n", 1)
			default:
				hcl += "alert {\n  reopen = \"0s\"\n}\n"
			}
			return hcl
		},
	}})}
	p.Hook = hook
	p.write(t, "counted", control)
	return p
}

// write puts a file beside the demo service's control script.
func (p *pair) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(p.file(name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) file(name string) string { return filepath.Join(p.Dir(), "web", name) }

func (p *pair) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(p.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// starts is how often the control script was started so far.
func (p *pair) starts(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(p.file("starts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// leader is the server that leads and the one that stands by.
func (p *pair) leader(t *testing.T, not ...*dev.Process) (leads, waits *dev.Process) {
	t.Helper()
	leads, err := p.AwaitLeader(t.Context(), not...)
	if err != nil {
		t.Fatal(err)
	}
	return leads, p.other(leads)
}

func (p *pair) other(s *dev.Process) *dev.Process {
	all := p.Servers()
	return all[(slices.Index(all, s)+1)%len(all)]
}

// restart starts a server and waits until it answers by the one that leads.
func (p *pair) restart(t *testing.T, s, leads *dev.Process) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	p.awaitRelay(t, s, leads)
}

// awaitRelay waits until a server passes on what it is asked.
func (p *pair) awaitRelay(t *testing.T, s, leads *dev.Process) {
	t.Helper()
	want, err := p.ClientOf(leads).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "the other server stands by", func(ctx context.Context) error {
		got, err := p.ClientOf(s).Status(ctx)
		if err == nil && got.Detail.Name != want.Detail.Name {
			err = fmt.Errorf("it answers as %s", got.Detail.Name)
		}
		return err
	})
}

func allNodes() []string {
	return append([]string{loop.ServerNode, loop.Observer}, loop.WebNodes()...)
}

// linkOf is where agents come to a server when it leads.
func (p *pair) linkOf(s *dev.Process) string {
	node := []string{loop.ServerNode, loop.Observer}[slices.Index(p.Servers(), s)]
	return net.JoinHostPort(p.NodeAddr(node), strconv.Itoa(dev.PortLink))
}

// onlyService waits until agents that look into Consul find one server.
func (p *pair) onlyService(t *testing.T, want *dev.Process) {
	t.Helper()
	cc, err := consul.New(consul.Options{Address: p.Consul().Nodes()[0].HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	loop.Await(t, "Consul has the service alps-server of the leader alone", func(ctx context.Context) error {
		list, _, err := cc.HealthService(ctx, "alps-server", true, consul.Query{})
		if err != nil {
			return err
		}
		var got []string
		for _, i := range list {
			got = append(got, net.JoinHostPort(i.Address, strconv.Itoa(i.Port)))
		}
		if !slices.Equal(got, []string{p.linkOf(want)}) {
			return fmt.Errorf("it has %v, want %s", got, p.linkOf(want))
		}
		return nil
	})
}

// kill breaks web on a node.
func (p *pair) kill(t *testing.T, node string) {
	t.Helper()
	p.write(t, "killed", node)
	p.Web(node).Kill()
}

// mend starts web on a node as a person would.
func (p *pair) mend(t *testing.T, node string) {
	t.Helper()
	dir := filepath.Join(p.Dir(), "web", node)
	if err := os.WriteFile(filepath.Join(dir, "restart"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// alps runs a verb of an operator against one server, and returns all that it
// says.
func (p *pair) alps(t *testing.T, s *dev.Process, args ...string) (string, error) {
	t.Helper()
	token, err := p.Token()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), loop.Program(t), args...)
	cmd.Env = append(os.Environ(), "ALPS_ADDR="+p.Addresses()[slices.Index(p.Servers(), s)], "ALPS_TOKEN="+token, "ALPS_CACERT="+p.CACert())
	out, err := cmd.CombinedOutput()
	return string(out), err
}
