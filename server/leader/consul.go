package leader

import (
	"context"
	"time"

	"alps/mesh/consul"
)

// Consul is Sessions and Lock on a key of Consul.
type Consul struct {
	c   *consul.Client
	key string
}

// FromConsul returns the lock on key in the datacenter of c.
func FromConsul(c *consul.Client, key string) *Consul { return &Consul{c, key} }

// Create implements Sessions. The session is bound to no check, not even the
// gossip's: a node that is cut off for a moment has the TTL to come back.
func (c *Consul) Create(ctx context.Context, ttl time.Duration) (string, error) {
	return c.c.CreateSession(ctx, consul.SessionOptions{Name: c.key, TTL: ttl})
}

// Renew implements Sessions.
func (c *Consul) Renew(ctx context.Context, id string) error { return c.c.RenewSession(ctx, id) }

// Destroy implements Sessions.
func (c *Consul) Destroy(ctx context.Context, id string) error { return c.c.DestroySession(ctx, id) }

// Acquire implements Lock.
func (c *Consul) Acquire(ctx context.Context, session string, value []byte) (Holding, error) {
	pairs, err := c.c.Txn(ctx, []consul.Op{{Verb: consul.OpLock, Key: c.key, Value: value, Session: session}})
	if err != nil {
		return Holding{}, err
	}
	return holding(&pairs[0], consul.Meta{Index: pairs[0].ModifyIndex}), nil
}

// Read implements Lock.
func (c *Consul) Read(ctx context.Context) (Holding, error) {
	p, m, err := c.c.Get(ctx, c.key, consul.Query{Mode: consul.Default})
	return holding(p, m), err
}

// Follow implements Lock. A Consul that was restored is noticed when a wait
// ends, so waits are short.
func (c *Consul) Follow(ctx context.Context, fn func(Holding)) {
	o := consul.WatchOptions{Wait: 10 * time.Second, MinInterval: 200 * time.Millisecond, Burst: 10, Mode: consul.Default}
	consul.Watch(ctx, o, func(ctx context.Context, q consul.Query) (*consul.Pair, consul.Meta, error) {
		return c.c.Get(ctx, c.key, q)
	}, func(p *consul.Pair, m consul.Meta) { fn(holding(p, m)) })
}

// holding reads a pair, nil if the key is missing.
func holding(p *consul.Pair, m consul.Meta) Holding {
	h := Holding{Index: m.Index, Reset: m.Reset}
	if p != nil {
		h.Session, h.Value, h.LockIndex, h.CreateIndex = p.Session, p.Value, p.LockIndex, p.CreateIndex
	}
	return h
}
