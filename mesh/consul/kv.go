package consul

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// MaxValue is the most bytes that Consul keeps under one key.
const MaxValue = 512 << 10

// Pair is one key with its value.
type Pair struct {
	Key         string
	Value       []byte
	CreateIndex uint64
	ModifyIndex uint64 // what CAS compares.
	LockIndex   uint64 // how often the key was locked.
	Session     string // of the holder of the lock, if any.
	Flags       uint64 // means nothing to Consul.
}

func pairOf(p *api.KVPair) Pair {
	return Pair{
		Key: p.Key, Value: p.Value, Session: p.Session, Flags: p.Flags,
		CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, LockIndex: p.LockIndex,
	}
}

// Get reads one key. A missing one is nil, and can be waited for.
func (c *Client) Get(ctx context.Context, key string, q Query) (*Pair, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("read key %q", key), func(o *api.QueryOptions) (*Pair, *api.QueryMeta, error) {
		p, m, err := c.api.KV().Get(key, o)
		if err != nil || p == nil {
			return nil, m, err
		}
		pair := pairOf(p)
		return &pair, m, nil
	})
}

// List reads every key under prefix, in order. A read that waits is woken by
// any change below the prefix: do not wait on one that changes all the time.
func (c *Client) List(ctx context.Context, prefix string, q Query) ([]Pair, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list keys under %q", prefix), func(o *api.QueryOptions) ([]Pair, *api.QueryMeta, error) {
		ps, m, err := c.api.KV().List(prefix, o)
		if err != nil {
			return nil, m, err
		}
		pairs := make([]Pair, len(ps))
		for i, p := range ps {
			pairs[i] = pairOf(p)
		}
		return pairs, m, nil
	})
}

// Keys reads the names of the keys under prefix, in order.
func (c *Client) Keys(ctx context.Context, prefix string, q Query) ([]string, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list names of keys under %q", prefix), func(o *api.QueryOptions) ([]string, *api.QueryMeta, error) {
		return c.api.KV().Keys(prefix, "", o)
	})
}

// KeysBelow reads the names of the keys under prefix up to the next separator,
// in order: what ends with it has more below it. It is for looking around in
// a large tree.
func (c *Client) KeysBelow(ctx context.Context, prefix, separator string, q Query) ([]string, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list names of keys below %q", prefix), func(o *api.QueryOptions) ([]string, *api.QueryMeta, error) {
		return c.api.KV().Keys(prefix, separator, o)
	})
}

// Put writes a key, whatever it held.
func (c *Client) Put(ctx context.Context, key string, value []byte) error {
	if err := checkValue(key, value); err != nil {
		return err
	}
	return c.write(ctx, fmt.Sprintf("write key %q", key), func(o *api.WriteOptions) error {
		_, err := c.api.KV().Put(&api.KVPair{Key: key, Value: value}, o)
		return err
	})
}

// CAS writes a key if it still has the ModifyIndex given; 0 means if it is
// missing. If not it is a mesh.Conflict.
func (c *Client) CAS(ctx context.Context, key string, value []byte, index uint64) error {
	if err := checkValue(key, value); err != nil {
		return err
	}
	won := false
	err := c.write(ctx, fmt.Sprintf("write key %q", key), func(o *api.WriteOptions) (err error) {
		won, _, err = c.api.KV().CAS(&api.KVPair{Key: key, Value: value, ModifyIndex: index}, o)
		return err
	})
	if err == nil && !won {
		return mesh.Errorf(mesh.Conflict, "write key %q: it is not at index %d any more", key, index)
	}
	return err
}

// Delete removes a key. A missing one is no error.
func (c *Client) Delete(ctx context.Context, key string) error {
	return c.write(ctx, fmt.Sprintf("delete key %q", key), func(o *api.WriteOptions) error {
		_, err := c.api.KV().Delete(key, o)
		return err
	})
}

// DeleteCAS removes a key if it still has the ModifyIndex given. If not, or if
// it is missing while the index is not 0, it is a mesh.Conflict.
func (c *Client) DeleteCAS(ctx context.Context, key string, index uint64) error {
	won := false
	err := c.write(ctx, fmt.Sprintf("delete key %q", key), func(o *api.WriteOptions) (err error) {
		won, _, err = c.api.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: index}, o)
		return err
	})
	if err == nil && !won {
		return mesh.Errorf(mesh.Conflict, "delete key %q: it is not at index %d any more", key, index)
	}
	return err
}

// DeleteTree removes every key that begins with prefix. The empty prefix,
// which would remove all there is, is refused.
func (c *Client) DeleteTree(ctx context.Context, prefix string) error {
	if prefix == "" {
		return mesh.Errorf(mesh.Invalid, "delete every key of Consul: refused")
	}
	return c.write(ctx, fmt.Sprintf("delete keys under %q", prefix), func(o *api.WriteOptions) error {
		_, err := c.api.KV().DeleteTree(prefix, o)
		return err
	})
}

func checkValue(key string, value []byte) error {
	if len(value) > MaxValue {
		return mesh.Errorf(mesh.TooLarge, "write key %q: %d bytes are more than the %d that Consul keeps", key, len(value), MaxValue)
	}
	return nil
}
