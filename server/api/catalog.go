package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

type datacentersOut struct{ Body v1.DatacenterList }

func (s *Server) listDatacenters(ctx context.Context, _ *struct{}) (*datacentersOut, error) {
	list, err := s.Consul.Datacenters(ctx)
	if err != nil {
		return nil, err
	}
	return &datacentersOut{v1.DatacenterList{Datacenters: full(list)}}, nil
}

type dcIn struct {
	DC string `query:"dc" maxLength:"64" doc:"a datacenter; absent means all"`
}

type servicesOut struct{ Body v1.ServiceList }

func (s *Server) listServices(ctx context.Context, in *dcIn) (*servicesOut, error) {
	details, asOf, err := s.services(ctx, in.DC, "")
	if err != nil {
		return nil, err
	}
	out := v1.ServiceList{Services: make([]v1.ServiceSummary, len(details)), AsOf: asOf}
	for i, d := range details {
		out.Services[i] = d.ServiceSummary
	}
	return &servicesOut{out}, nil
}

type serviceIn struct {
	Name string `path:"name" maxLength:"256"`
	DC   string `query:"dc" maxLength:"64" doc:"a datacenter; absent means the first that has it"`
}

type serviceOut struct{ Body v1.ServiceDetail }

func (s *Server) getService(ctx context.Context, in *serviceIn) (*serviceOut, error) {
	details, _, err := s.services(ctx, in.DC, in.Name)
	if err != nil {
		return nil, err
	}
	if len(details) == 0 {
		return nil, mesh.Errorf(mesh.NotFound, "there is no service %q", in.Name).WithHint("`alps service list` shows the services")
	}
	d := details[0]
	d.DNS = full(s.Consul.Names(d.Name, d.DC))
	return &serviceOut{d}, nil
}

// services gathers the services of the nodes that the caller may see; dc and
// name narrow them when they are set.
func (s *Server) services(ctx context.Context, dc, name string) (details []v1.ServiceDetail, asOf time.Time, err error) {
	list, err := s.Inventory.Nodes(ctx, callFrom(ctx).actor.Scope, "", 0)
	if err != nil {
		return nil, asOf, err
	}
	found := map[place]*v1.ServiceDetail{}
	for i := range list.Nodes {
		n := &list.Nodes[i]
		if dc != "" && dc != n.DC {
			continue
		}
		for j := range n.Services {
			sv := &n.Services[j]
			if name != "" && sv.Name != name {
				continue
			}
			at := place{n.DC, mesh.NodeName(sv.Name)}
			d := found[at]
			if d == nil {
				d = &v1.ServiceDetail{ServiceSummary: v1.ServiceSummary{Name: sv.Name, DC: n.DC}}
				found[at] = d
			}
			addInstance(d, n, sv)
		}
	}
	details = make([]v1.ServiceDetail, 0, len(found))
	for _, d := range found {
		slices.Sort(d.Tags)
		d.Tags = slices.Compact(d.Tags)
		slices.SortFunc(d.List, func(a, b v1.ServiceInstance) int {
			return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
		})
		details = append(details, *d)
	}
	slices.SortFunc(details, func(a, b v1.ServiceDetail) int {
		return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Name, b.Name))
	})
	return details, list.AsOf, nil
}

// addInstance counts one instance by the worst of its own checks and those of
// its node, as Consul does.
func addInstance(d *v1.ServiceDetail, n *mesh.Node, sv *mesh.Service) {
	in := v1.ServiceInstance{
		ID: sv.ID, Node: n.Name, Address: cmp.Or(sv.Address, n.Address), Port: sv.Port, Tags: sv.Tags, Checks: []mesh.Check{},
	}
	for _, c := range n.Checks {
		if c.ServiceID == sv.ID || c.ServiceID == "" && c.Service == "" {
			c.Status, _ = mesh.CatalogHealth(c.Status, c.Output)
			in.Checks = append(in.Checks, c)
		}
	}
	in.Status = worst(in.Checks)
	d.List = append(d.List, in)
	d.Tags = append(d.Tags, sv.Tags...)
	d.Instances++
	switch in.Status {
	case mesh.HealthPassing:
		d.Passing++
	case mesh.HealthWarning:
		d.Warning++
	case mesh.HealthCritical:
		d.Critical++
	case mesh.HealthUnknown:
		d.Unknown++
	}
}

// worst is the status of an instance: critical before unknown before warning;
// one without any check passes, as in Consul.
func worst(checks []mesh.Check) mesh.Health {
	rank := map[mesh.Health]int{mesh.HealthPassing: 0, mesh.HealthWarning: 1, mesh.HealthUnknown: 2, mesh.HealthCritical: 3}
	status := mesh.HealthPassing
	for _, c := range checks {
		if rank[c.Status] > rank[status] {
			status = c.Status
		}
	}
	return status
}

type sessionsOut struct{ Body v1.SessionList }

func (s *Server) nodeSessions(ctx context.Context, in *nodeIn) (*sessionsOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list, err := s.Consul.Sessions(ctx, n.DC, n.Name)
	if err != nil {
		return nil, err
	}
	out := make([]v1.LockSession, len(list))
	for i, session := range list {
		session.Keys = full(session.Keys)
		out[i] = session
	}
	return &sessionsOut{v1.SessionList{Sessions: out}}, nil
}

type tomographyOut struct{ Body v1.Tomography }

func (s *Server) nodeTomography(ctx context.Context, in *nodeIn) (*tomographyOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	see, err := s.sees(ctx, nil)
	if err != nil {
		return nil, err
	}
	peers, err := s.Consul.RTTs(ctx, n.DC, n.Name)
	if err != nil {
		return nil, err
	}
	return &tomographyOut{tomography(n, peers, see)}, nil
}

// tomography sums up the round-trip times to the peers that the caller may
// see.
func tomography(n mesh.Node, peers map[mesh.NodeName]float64, see lookout) v1.Tomography {
	out := v1.Tomography{Peers: []v1.RTT{}}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		if name != n.Name && see(n.DC, name) {
			out.Peers = append(out.Peers, v1.RTT{Node: name, MS: peers[name]})
		}
	}
	if len(out.Peers) == 0 {
		return out
	}
	slices.SortStableFunc(out.Peers, func(a, b v1.RTT) int { return cmp.Compare(a.MS, b.MS) })
	last := len(out.Peers) - 1
	out.Min, out.Max = out.Peers[0].MS, out.Peers[last].MS
	out.Median = (out.Peers[last/2].MS + out.Peers[(last+1)/2].MS) / 2
	return out
}

type settingsOut struct{ Body v1.SettingList }

func (s *Server) nodeSettings(ctx context.Context, in *nodeIn) (*settingsOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list, err := s.Settings.Settings(ctx, n)
	if err != nil {
		return nil, err
	}
	list.Settings = full(list.Settings)
	return &settingsOut{list}, nil
}

type aclOut struct{ Body v1.ACL }

func (s *Server) getACL(ctx context.Context, in *dcIn) (*aclOut, error) {
	acl, err := s.Consul.ACL(ctx, in.DC)
	if err != nil {
		return nil, err
	}
	acl.Tokens, acl.Policies = full(acl.Tokens), full(acl.Policies)
	return &aclOut{acl}, nil
}
