package consul

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// Leader returns the address (host:port) of the server that leads Consul, ""
// when there is none.
func (c *Client) Leader(ctx context.Context) (string, error) {
	var addr string
	err := c.ask(ctx, "ask who leads Consul", "/v1/status/leader", &addr)
	return addr, err
}

// Peers returns the addresses (host:port) of the servers that vote.
func (c *Client) Peers(ctx context.Context) ([]string, error) {
	var addrs []string
	err := c.ask(ctx, "list Consul's voters", "/v1/status/peers", &addrs)
	return addrs, err
}

// Node returns one node of the catalog, nil when there is none of that name.
func (c *Client) Node(ctx context.Context, name mesh.NodeName, q Query) (*Node, error) {
	n, _, err := read(ctx, c, q, fmt.Sprintf("read node %q", name), func(o *api.QueryOptions) (*Node, *api.QueryMeta, error) {
		l, m, err := c.api.Catalog().NodeServiceList(string(name), o)
		if err != nil || l == nil || l.Node == nil {
			return nil, m, err
		}
		return &Node{
			Name: mesh.NodeName(l.Node.Node), ID: l.Node.ID, Address: l.Node.Address,
			Datacenter: l.Node.Datacenter, Meta: l.Node.Meta, ModifyIndex: l.Node.ModifyIndex,
		}, m, nil
	})
	return n, err
}
