package wire

import (
	"context"
	"net/netip"
	"slices"

	"alps/agent/dns"
	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/zone"
)

// lookups is dns.Fallback on the local Consul agent.
type lookups struct{ c *consul.Client }

func (l lookups) Node(ctx context.Context, dc, name string) (zone.Node, bool, error) {
	n, err := l.c.In(dc).Node(ctx, mesh.NodeName(name), consul.Query{})
	if err != nil || n == nil {
		return zone.Node{}, false, err
	}
	addr, err := netip.ParseAddr(n.Address)
	if err != nil { // a name, or nonsense: nothing that can be answered.
		return zone.Node{}, false, nil //nolint:nilerr // to whoever asks there is no such name.
	}
	return zone.Node{DC: n.Datacenter, Name: string(n.Name), Addresses: []netip.Addr{addr.Unmap()}}, true, nil
}

func (l lookups) Service(ctx context.Context, dc, name string) (zone.Service, bool, error) {
	list, _, err := l.c.In(dc).HealthService(ctx, name, false, consul.Query{})
	if err != nil || len(list) == 0 {
		return zone.Service{}, false, err
	}
	s := zone.Service{DC: dc, Name: name}
	for _, i := range list {
		if i.Status() == consul.Critical {
			continue
		}
		in := zone.Instance{
			Node: string(i.Node), ID: i.ID, Port: uint16(min(max(i.Port, 0), 1<<16-1)), Tags: slices.Clone(i.Tags),
		}
		if addr, err := netip.ParseAddr(i.Address); err == nil {
			in.Address = addr.Unmap()
		} else {
			in.Host = i.Address
		}
		s.Instances = append(s.Instances, in)
	}
	return s, true, nil
}

// upstreams are whom names that are not ours are asked of.
func upstreams(cfg config.DNS) ([]string, error) {
	switch {
	case slices.Equal(cfg.Forward, []string{config.DNSForwardNone}):
		return nil, nil
	case len(cfg.Forward) > 0:
		return cfg.Forward, nil
	}
	return dns.Upstreams(cfg.ResolvConf, cfg.Listen)
}
