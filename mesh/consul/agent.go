package consul

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// Self is what the local agent says of itself.
type Self struct {
	Name       mesh.NodeName
	NodeID     string // Consul's own id of the node, not a mesh.NodeID.
	Datacenter string
	Version    string
	Server     bool
}

// Self asks the agent who it is.
func (c *Client) Self(ctx context.Context) (Self, error) {
	var answer struct {
		Config struct {
			NodeName, NodeID, Datacenter, Version string
			Server                                bool
		}
	}
	if err := c.ask(ctx, "ask the agent who it is", "/v1/agent/self", &answer); err != nil {
		return Self{}, err
	}
	a := answer.Config
	return Self{
		Name: mesh.NodeName(a.NodeName), NodeID: a.NodeID,
		Datacenter: a.Datacenter, Version: a.Version, Server: a.Server,
	}, nil
}

// Member is one line of "consul members", in its words.
type Member struct {
	Name       mesh.NodeName // with ".datacenter" behind it in the WAN pool.
	Addr       string        // host:port of the gossip.
	Status     string        // alive, leaving, left, failed or none.
	Type       string        // server or client.
	Build      string
	Protocol   string
	Datacenter string
	Partition  string
	Segment    string
	NodeID     string // Consul's own id of the node.
}

// Members returns the gossip pool as the agent sees it, sorted by name: that
// of the datacenter, or all servers everywhere. Only a server knows the WAN
// pool.
func (c *Client) Members(ctx context.Context, wan bool) ([]Member, error) {
	path := "/v1/agent/members"
	if wan {
		path += "?wan=1"
	}
	var answer []api.AgentMember
	if err := c.ask(ctx, "list members", path, &answer); err != nil {
		return nil, err
	}
	members := make([]Member, len(answer))
	for i := range answer {
		members[i] = memberOf(&answer[i])
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return members, nil
}

func memberOf(m *api.AgentMember) Member {
	build, _, _ := strings.Cut(m.Tags["build"], ":")
	out := Member{
		Name: mesh.NodeName(m.Name), Addr: net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))),
		Build: build, Protocol: m.Tags["vsn"], Datacenter: m.Tags["dc"],
		Partition: cmp.Or(m.Tags["ap"], "default"), Segment: m.Tags["segment"], NodeID: m.Tags["id"],
	}
	switch m.Tags["role"] {
	case "consul":
		out.Type, out.Segment = "server", cmp.Or(out.Segment, "<all>")
	case "node":
		out.Type, out.Segment = "client", cmp.Or(out.Segment, "<default>")
	default:
		out.Type = "unknown"
	}
	if words := []string{"none", "alive", "leaving", "left", "failed"}; m.Status >= 0 && m.Status < len(words) {
		out.Status = words[m.Status]
	} else {
		out.Status = "unknown"
	}
	return out
}

// TTLCheck is a check whose result is told to the agent by UpdateTTL, and
// which turns critical when nothing is told for its TTL.
type TTLCheck struct {
	ID    string // unique on the node.
	Name  string
	Notes string
	TTL   time.Duration
	// Status until the first update. Empty means critical: nobody has said
	// that it is well.
	Status string
	// DeregisterAfter removes the service when the check was critical for
	// that long. Zero means never; Consul's least is a minute.
	DeregisterAfter time.Duration
}

// Registration is a service that the local agent announces.
type Registration struct {
	ID      string // unique on the node; empty means Name.
	Name    string
	Address string // empty means the node's.
	Port    int
	Tags    []string
	Meta    map[string]string
	Checks  []TTLCheck
	// Native are checks that Consul's own agent runs, see RegisterNative; what
	// they say of a service is not looked at.
	Native []mesh.CheckDef
}

// RegisterService makes the agent announce a service with exactly these
// checks. It may be called again with the same or another content; the status
// of a check that stays is kept. It lasts until it is deregistered, also over
// restarts of the agent.
func (c *Client) RegisterService(ctx context.Context, r Registration) error {
	reg := &api.AgentServiceRegistration{
		ID: r.ID, Name: r.Name, Address: r.Address, Port: r.Port, Tags: r.Tags, Meta: r.Meta,
	}
	for _, t := range r.Checks {
		reg.Checks = append(reg.Checks, t.service())
	}
	for i := range r.Native {
		check, err := native(&r.Native[i])
		if err != nil {
			return err
		}
		reg.Checks = append(reg.Checks, check)
	}
	return c.limited(ctx, fmt.Sprintf("register service %q", r.Name), func(ctx context.Context) error {
		opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
		return c.api.Agent().ServiceRegisterOpts(reg, opts)
	})
}

// DeregisterService ends what RegisterService began, checks included. An
// unknown id is a mesh.NotFound.
func (c *Client) DeregisterService(ctx context.Context, id string) error {
	return c.limited(ctx, fmt.Sprintf("deregister service %q", id), func(ctx context.Context) error {
		return c.api.Agent().ServiceDeregisterOpts(id, new(api.QueryOptions).WithContext(ctx))
	})
}

// RegisterCheck adds a check to a service of this node, or to the node itself
// if serviceID is empty. Every change of a node's own check wakes the readers
// of all its services: prefer a service's.
func (c *Client) RegisterCheck(ctx context.Context, serviceID string, t TTLCheck) error {
	return c.registerCheck(ctx, serviceID, t.service())
}

func (c *Client) registerCheck(ctx context.Context, serviceID string, check *api.AgentServiceCheck) error {
	reg := &api.AgentCheckRegistration{
		ID: check.CheckID, Name: check.Name, Notes: check.Notes, ServiceID: serviceID, AgentServiceCheck: *check,
	}
	reg.CheckID = "" // a check of its own has its id in another place, and Consul refuses both.
	return c.limited(ctx, fmt.Sprintf("register check %q", reg.ID), func(ctx context.Context) error {
		return c.api.Agent().CheckRegisterOpts(reg, new(api.QueryOptions).WithContext(ctx))
	})
}

// DeregisterCheck ends what RegisterCheck began. An unknown id is a
// mesh.NotFound.
func (c *Client) DeregisterCheck(ctx context.Context, id string) error {
	return c.limited(ctx, fmt.Sprintf("deregister check %q", id), func(ctx context.Context) error {
		return c.api.Agent().CheckDeregisterOpts(id, new(api.QueryOptions).WithContext(ctx))
	})
}

// UpdateTTL tells the agent how a TTL check is: passing, warning or critical,
// with a text. Consul writes a new status at once and a new text only after
// minutes; it keeps 4 KiB of it. An unknown check is a mesh.NotFound: the
// agent has forgotten it, register it again.
func (c *Client) UpdateTTL(ctx context.Context, checkID, status, output string) error {
	return c.limited(ctx, fmt.Sprintf("update check %q", checkID), func(ctx context.Context) error {
		return c.api.Agent().UpdateTTLOpts(checkID, output, status, new(api.QueryOptions).WithContext(ctx))
	})
}

func (t TTLCheck) service() *api.AgentServiceCheck {
	s := &api.AgentServiceCheck{
		CheckID: t.ID, Name: t.Name, Notes: t.Notes, TTL: t.TTL.String(), Status: t.Status,
	}
	if t.DeregisterAfter > 0 {
		s.DeregisterCriticalServiceAfter = t.DeregisterAfter.String()
	}
	return s
}
