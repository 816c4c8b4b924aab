package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/server/api/client"
	"alps/server/leader"
)

// MaxServers is how many servers one file of the store is asked to bear.
const MaxServers = 3

// lockKey is where servers say who leads: the default of leader.key.
const lockKey = "alps/leader"

// server is one of the ALPS servers, and how to speak to it.
type server struct {
	*Process

	api    string // host:port
	client *client.Client
}

// Client speaks to a server that runs, as an admin. Ask for it again after a
// server was ended or frozen: any other passes on what it is asked.
func (c *Cluster) Client() *client.Client {
	for _, s := range c.servers {
		if !s.exited() && !s.frozen.Load() {
			return s.client
		}
	}
	return c.servers[0].client
}

// ClientOf speaks to one server.
func (c *Cluster) ClientOf(p *Process) *client.Client {
	for _, s := range c.servers {
		if s.Process == p {
			return s.client
		}
	}
	return nil
}

// Server is the process of the first ALPS server.
func (c *Cluster) Server() *Process { return c.servers[0].Process }

// Servers are the processes of all ALPS servers.
func (c *Cluster) Servers() []*Process {
	out := make([]*Process, len(c.servers))
	for i, s := range c.servers {
		out[i] = s.Process
	}
	return out
}

// Addresses are the host and port of each server's API, the first one's first.
func (c *Cluster) Addresses() []string {
	out := make([]string, len(c.servers))
	for i, s := range c.servers {
		out[i] = s.api
	}
	return out
}

// Leader is the server that holds the lock in Consul, which may have died a
// moment ago; mesh.NotFound when nobody holds it.
func (c *Cluster) Leader(ctx context.Context) (*Process, error) {
	cc, err := consul.New(consul.Options{Address: c.serverNode(0).HTTPAddr(), Token: c.o.ConsulToken})
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	pair, _, err := cc.Get(ctx, lockKey, consul.Query{Mode: consul.Consistent})
	if err != nil {
		return nil, err
	}
	if pair == nil || pair.Session == "" {
		return nil, mesh.Errorf(mesh.NotFound, "no server leads")
	}
	var who leader.Info
	if err := json.Unmarshal(pair.Value, &who); err != nil {
		return nil, fmt.Errorf("read who leads: %w", err)
	}
	for _, s := range c.servers {
		if s.api == who.API {
			return s.Process, nil
		}
	}
	return nil, fmt.Errorf("the server that leads, %s at %s, is none of this cluster", who.Name, who.API)
}

// serverDir is the directory of a server.
func serverDir(i int) string {
	if i == 0 {
		return serverName
	}
	return serverName + strconv.Itoa(i+1)
}

// serverNode is the Consul node beside a server: Consul's own servers come
// first.
func (c *Cluster) serverNode(i int) *cluster.Node {
	dc := c.o.Datacenters[0].Name
	all := c.consul.Servers(dc)[:1]
	for _, n := range c.consul.Nodes() {
		if n.Datacenter == dc && n != all[0] {
			all = append(all, n)
		}
	}
	return all[i]
}

func (c *Cluster) serverAddr(i, port int) string {
	return net.JoinHostPort(c.serverNode(i).Addr, strconv.Itoa(port))
}

// linkAddrs are where agents find servers, as a list of HCL's.
func (c *Cluster) linkAddrs() string {
	all := make([]string, len(c.servers))
	for i := range all {
		all[i] = strconv.Quote(c.serverAddr(i, PortLink))
	}
	return strings.Join(all, ", ")
}

// deadServers is a server when none runs any more, otherwise nil.
func (c *Cluster) deadServers() *Process {
	if len(c.servers) == 0 || slices.ContainsFunc(c.servers, func(s *server) bool { return !s.exited() }) {
		return nil
	}
	return c.servers[0].Process
}

// startServers starts the servers one after the other: the first one leads.
func (c *Cluster) startServers(ctx context.Context) error {
	if err := c.writeTrust(time.Now()); err != nil {
		return err
	}
	if err := c.writeRules(); err != nil {
		return err
	}
	for i := range c.o.Servers {
		s, err := c.newServer(i)
		if err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return err
		}
		c.servers = append(c.servers, s)
		if err := c.awaitServer(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// newServer writes the configuration of a server. All have a data directory of
// their own; the CA, the store, the keys, the rules and the scripts are those
// of the first.
func (c *Cluster) newServer(i int) (*server, error) {
	dir := c.path(serverDir(i))
	hcl := fmt.Sprintf(`data_dir = %q
cluster  = %q
consul { address = %q }
api { listen = %q }
link { listen = %q }
keys {
  root       = %q
  server_key = %q
  grant      = %q
}
`, dir, clusterName, c.serverNode(i).HTTPAddr(), c.serverAddr(i, PortAPI), c.serverAddr(i, PortLink),
		c.path("root", "root.pub"), c.path("root", "server.key"), c.path("root", "server.grant"))
	if i > 0 {
		hcl += fmt.Sprintf(`tls {
  ca_cert = %q
  ca_key  = %q
}
store { path = %q }
alert {
  dir = %q
}
remedy { scripts = %q }
`, c.CACert(), c.path(serverName, "tls", "ca-key.pem"), c.path(serverName, "alps.db"),
			c.path(serverName, "rules.d"), c.path(serverName, "scripts"))
	}
	p := &Process{c: c, verb: "server", dir: dir}
	if i > 0 {
		p.label = "server " + strconv.Itoa(i+1)
	}
	p, err := c.newProcess(p, hcl)
	return &server{Process: p, api: c.serverAddr(i, PortAPI)}, err
}

// awaitServer returns when a server answers, or passes on, to the first token.
func (c *Cluster) awaitServer(ctx context.Context, s *server) error {
	return c.await(ctx, s.Process, "the server answers", func(ctx context.Context) error {
		if s.client == nil {
			token, err := c.Token()
			if err != nil {
				return err
			}
			ca, err := os.ReadFile(c.CACert())
			if err != nil {
				return err
			}
			s.client, err = client.New(client.Options{Address: s.api, Token: token, CAPEM: ca})
			if err != nil {
				return err
			}
		}
		_, err := s.client.Status(ctx)
		return err
	})
}

// AwaitLeader returns the server that leads once it answers for itself, and is
// none of those in not.
func (c *Cluster) AwaitLeader(ctx context.Context, not ...*Process) (*Process, error) {
	var lead *Process
	err := c.await(ctx, nil, "a server leads", func(ctx context.Context) error {
		var err error
		if lead, err = c.Leader(ctx); err != nil {
			return err
		}
		if slices.Contains(not, lead) || lead.exited() {
			return errors.New("the lock is still that of the one before")
		}
		_, err = c.ClientOf(lead).Status(ctx)
		return err
	})
	return lead, err
}
