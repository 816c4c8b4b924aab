package wire

import (
	"context"
	"maps"
	"slices"
	"time"

	"alps/mesh"
	"alps/mesh/consul"
	v1 "alps/server/api/v1"
	"alps/server/cmdb"
	"alps/server/stream"
)

// pages is api.Consul: what the browser shows of Consul and of nothing else.
type pages struct {
	c         *consul.Client
	inventory *cmdb.CMDB
	lock      string // the key of the servers' own lock.
}

func (p pages) Datacenters(context.Context) ([]v1.Datacenter, error) {
	var out []v1.Datacenter
	for _, d := range p.inventory.Snapshot().Datacenters() {
		out = append(out, v1.Datacenter{Name: d.Name, Own: d.Own, Nodes: d.Nodes, Loaded: d.Loaded, Away: d.Away, Error: d.Error})
	}
	slices.SortStableFunc(out, func(a, b v1.Datacenter) int {
		switch {
		case a.Own == b.Own:
			return 0
		case a.Own:
			return -1
		}
		return 1
	})
	return out, nil
}

// Sessions names of the keys that a session locks only the servers' own: to
// find the others all of KV would have to be read.
func (p pages) Sessions(ctx context.Context, dc string, node mesh.NodeName) ([]v1.LockSession, error) {
	list, _, err := p.c.In(dc).Sessions(ctx, node, consul.Query{})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	lock, _, err := p.c.In(dc).Get(ctx, p.lock, consul.Query{})
	if err != nil {
		return nil, err
	}
	out := make([]v1.LockSession, len(list))
	for i, s := range list {
		out[i].Session = s
		if lock != nil && lock.Session == s.ID {
			out[i].Keys = []string{p.lock}
		}
	}
	return out, nil
}

func (p pages) RTTs(ctx context.Context, dc string, node mesh.NodeName) (map[mesh.NodeName]float64, error) {
	all, _, err := p.c.In(dc).Coordinates(ctx, consul.Query{})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(c consul.Coordinate) bool { return c.Node == node })
	if at < 0 {
		return nil, nil
	}
	out := make(map[mesh.NodeName]float64, len(all))
	for _, c := range all {
		if d, ok := consul.RTT(all[at], c); ok && c.Node != node {
			out[c.Node] = float64(d) / float64(time.Millisecond)
		}
	}
	return out, nil
}

func (p pages) ACL(ctx context.Context, dc string) (v1.ACL, error) {
	c := p.c.In(dc)
	policies, enabled, err := c.ACLPolicies(ctx)
	if mesh.CodeOf(err) == mesh.Denied {
		return v1.ACL{Enabled: true, Why: "the server's Consul token may not list them: it needs acl = \"read\""}, nil
	}
	if err != nil || !enabled {
		return v1.ACL{}, err
	}
	tokens, _, err := c.ACLTokens(ctx)
	if err != nil {
		return v1.ACL{}, err
	}
	return v1.ACL{Enabled: true, Tokens: aclEntries(tokens), Policies: aclEntries(policies)}, nil
}

func aclEntries(list []consul.ACLEntry) []v1.ACLEntry {
	out := make([]v1.ACLEntry, len(list))
	for i, e := range list {
		out[i] = v1.ACLEntry{ID: e.ID, Name: e.Name, Description: e.Description, Policies: e.Policies, Local: e.Local}
	}
	return out
}

// Names asks what the agents of the datacenter say that they answer.
func (p pages) Names(service, dc string) []string {
	domains := map[string]bool{}
	for _, n := range p.inventory.Snapshot().Nodes() {
		if n.DC == dc && n.Facts != nil {
			for _, d := range n.Facts.Domains {
				domains[d] = true
			}
		}
	}
	var out []string
	for _, d := range slices.Sorted(maps.Keys(domains)) {
		out = append(out, service+".service."+dc+"."+d)
	}
	return out
}

// keys is api.KV. Whoever watches is told of what was changed through it.
type keys struct {
	c   *consul.Client
	hub *stream.Hub
}

func (k keys) Keys(ctx context.Context, dc, prefix string) ([]string, error) {
	list, _, err := k.c.In(dc).KeysBelow(ctx, prefix, "/", consul.Query{})
	return list, err
}

// Get asks the leader: what is shown here is about to be changed.
func (k keys) Get(ctx context.Context, dc, key string) (v1.KVPair, error) {
	p, _, err := k.c.In(dc).Get(ctx, key, consul.Query{Mode: consul.Default})
	if err != nil {
		return v1.KVPair{}, err
	}
	if p == nil {
		return v1.KVPair{}, mesh.Errorf(mesh.NotFound, "there is no key %q", key)
	}
	return v1.KVPair{Key: p.Key, Value: p.Value, Index: p.ModifyIndex, Created: p.CreateIndex, Session: p.Session}, nil
}

func (k keys) Put(ctx context.Context, dc, key string, w v1.KVWrite) (v1.KVPair, error) {
	ops := []consul.Op{{Verb: consul.OpCAS, Key: key, Value: w.Value, Index: w.Index}}
	if consul.TxnSize(ops) > consul.MaxTxnBytes {
		return k.putLarge(ctx, dc, key, w)
	}
	pairs, err := k.c.In(dc).Txn(ctx, ops)
	if err != nil {
		return v1.KVPair{}, err
	}
	k.hub.Publish(stream.Event{Topic: "kv", Type: "put"})
	p := pairs[0] // a CAS that was done gives one.
	return v1.KVPair{Key: p.Key, Index: p.ModifyIndex, Created: p.CreateIndex, Session: p.Session}, nil
}

// putLarge writes a value that fits under a key and into no transaction. Its
// index is read afterwards: it is that of another write if one came between.
func (k keys) putLarge(ctx context.Context, dc, key string, w v1.KVWrite) (v1.KVPair, error) {
	if err := k.c.In(dc).CAS(ctx, key, w.Value, w.Index); err != nil {
		return v1.KVPair{}, err
	}
	k.hub.Publish(stream.Event{Topic: "kv", Type: "put"})
	p, err := k.Get(ctx, dc, key)
	p.Value = nil
	return p, err
}

func (k keys) Delete(ctx context.Context, dc, key string, index uint64) error {
	err := k.c.In(dc).DeleteCAS(ctx, key, index)
	if err == nil {
		k.hub.Publish(stream.Event{Topic: "kv", Type: "deleted"})
	}
	return err
}
