package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// The words for the status of a check, and Any for asking after all.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
	Any      = "any"
)

// Node is a node of the catalog.
type Node struct {
	Name        mesh.NodeName
	ID          string // Consul's own id, not a mesh.NodeID.
	Address     string
	Datacenter  string
	Meta        map[string]string
	ModifyIndex uint64
}

// Service is one instance of a service on a node.
type Service struct {
	Node    mesh.NodeName
	ID      string // unique on the node.
	Name    string
	Address string // the node's, if the service has none of its own.
	Port    int
	Tags    []string
	Meta    map[string]string
}

// Check is the state of one check in the catalog.
type Check struct {
	Node        mesh.NodeName
	ID          string // unique on the node; "serfHealth" is the gossip's own.
	Name        string
	Status      string
	Output      string
	Notes       string
	Type        string // ttl, http and so on; empty for the gossip's.
	ServiceID   string // empty for a check of the node.
	ServiceName string
	ServiceTags []string
	ModifyIndex uint64
}

// Instance is a service with the checks that it and its node have.
type Instance struct {
	Service
	Checks []Check
}

// Status returns the worst status among the checks; Passing if there are
// none.
func (i Instance) Status() string {
	worst := Passing
	for _, c := range i.Checks {
		switch c.Status {
		case Critical:
			return Critical
		case Warning:
			worst = Warning
		}
	}
	return worst
}

// Datacenters returns the names of all that are known, nearest first.
func (c *Client) Datacenters(ctx context.Context) ([]string, error) {
	var dcs []string
	err := c.ask(ctx, "list datacenters", "/v1/catalog/datacenters", &dcs)
	return dcs, err
}

// Nodes returns every node of the datacenter, by name. A read that waits is
// woken by nodes alone, not by their checks.
func (c *Client) Nodes(ctx context.Context, q Query) ([]Node, Meta, error) {
	return read(ctx, c, q, "list nodes", func(o *api.QueryOptions) ([]Node, *api.QueryMeta, error) {
		ns, m, err := c.api.Catalog().Nodes(o)
		if err != nil {
			return nil, m, err
		}
		nodes := make([]Node, len(ns))
		for i, n := range ns {
			nodes[i] = Node{
				Name: mesh.NodeName(n.Node), ID: n.ID, Address: n.Address,
				Datacenter: n.Datacenter, Meta: n.Meta, ModifyIndex: n.ModifyIndex,
			}
		}
		return nodes, m, nil
	})
}

// Services returns the name of every service with all tags in use: the cheap
// overview.
func (c *Client) Services(ctx context.Context, q Query) (map[string][]string, Meta, error) {
	return read(ctx, c, q, "list services", func(o *api.QueryOptions) (map[string][]string, *api.QueryMeta, error) {
		return c.api.Catalog().Services(o)
	})
}

// Instances returns where a service runs, without its checks. It is far
// cheaper than HealthService for a service that is on many nodes.
func (c *Client) Instances(ctx context.Context, name string, q Query) ([]Service, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list instances of %q", name), func(o *api.QueryOptions) ([]Service, *api.QueryMeta, error) {
		ss, m, err := c.api.Catalog().Service(name, "", o)
		if err != nil {
			return nil, m, err
		}
		services := make([]Service, len(ss))
		for i, s := range ss {
			services[i] = Service{
				Node: mesh.NodeName(s.Node), ID: s.ServiceID, Name: s.ServiceName,
				Address: cmp.Or(s.ServiceAddress, s.Address), Port: s.ServicePort,
				Tags: s.ServiceTags, Meta: s.ServiceMeta,
			}
		}
		return services, m, nil
	})
}

// AllInstances returns the instances of every service, one cheap read a
// service, one after the other. Services for which skip says so are left out:
// those that run on every node anyhow. A nil skip leaves out none. Together
// with HealthState it is the whole catalog for a fraction of what
// HealthService of everything costs. What could be read is returned beside
// the error.
func (c *Client) AllInstances(ctx context.Context, skip func(name string) bool) ([]Service, error) {
	names, _, err := c.Services(ctx, Query{})
	if err != nil {
		return nil, err
	}
	var all []Service
	var errs []error
	for name := range names {
		if skip != nil && skip(name) {
			continue
		}
		services, _, err := c.Instances(ctx, name, Query{})
		all, errs = append(all, services...), append(errs, err)
	}
	slices.SortFunc(all, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
	})
	return all, errors.Join(errs...)
}

// NodeServices returns what runs on one node, by id. An unknown node has
// nothing.
func (c *Client) NodeServices(ctx context.Context, node mesh.NodeName, q Query) ([]Service, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list services of node %q", node), func(o *api.QueryOptions) ([]Service, *api.QueryMeta, error) {
		l, m, err := c.api.Catalog().NodeServiceList(string(node), o)
		if err != nil || l == nil || l.Node == nil {
			return nil, m, err
		}
		services := make([]Service, len(l.Services))
		for i, s := range l.Services {
			services[i] = serviceOf(l.Node, s)
		}
		return services, m, nil
	})
}

// HealthService returns the instances of a service with their checks; only
// those whose checks all pass if passing is set. Do not use it for a service
// that is on every node: one answer is megabytes, and every change wakes it.
func (c *Client) HealthService(ctx context.Context, name string, passing bool, q Query) ([]Instance, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("read the health of service %q", name), func(o *api.QueryOptions) ([]Instance, *api.QueryMeta, error) {
		es, m, err := c.api.Health().Service(name, "", passing, o)
		if err != nil {
			return nil, m, err
		}
		instances := make([]Instance, len(es))
		for i, e := range es {
			instances[i] = Instance{Service: serviceOf(e.Node, e.Service), Checks: checksOf(e.Checks)}
		}
		return instances, m, nil
	})
}

// HealthState returns every check of the datacenter in a state: Passing,
// Warning, Critical or Any. A read that waits on Critical is woken by what
// enters or leaves that state; one on Any by every change anywhere.
func (c *Client) HealthState(ctx context.Context, state string, q Query) ([]Check, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list checks that are %s", state), func(o *api.QueryOptions) ([]Check, *api.QueryMeta, error) {
		cs, m, err := c.api.Health().State(state, o)
		return checksOf(cs), m, err
	})
}

// HealthNode returns the checks of one node, those of its services included.
func (c *Client) HealthNode(ctx context.Context, node mesh.NodeName, q Query) ([]Check, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list checks of node %q", node), func(o *api.QueryOptions) ([]Check, *api.QueryMeta, error) {
		cs, m, err := c.api.Health().Node(string(node), o)
		return checksOf(cs), m, err
	})
}

func serviceOf(n *api.Node, s *api.AgentService) Service {
	return Service{
		Node: mesh.NodeName(n.Node), ID: s.ID, Name: s.Service,
		Address: cmp.Or(s.Address, n.Address), Port: s.Port, Tags: s.Tags, Meta: s.Meta,
	}
}

func checksOf(cs api.HealthChecks) []Check {
	checks := make([]Check, len(cs))
	for i, c := range cs {
		checks[i] = Check{
			Node: mesh.NodeName(c.Node), ID: c.CheckID, Name: c.Name, Status: c.Status,
			Output: c.Output, Notes: c.Notes, Type: c.Type,
			ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: c.ServiceTags,
			ModifyIndex: c.ModifyIndex,
		}
	}
	return checks
}
