package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// SessionOptions say what a session is. The zero value lives until it is
// destroyed and depends on no check.
type SessionOptions struct {
	Name string
	// TTL is for how long it lives without a renewal: from 10 s to a day, and
	// in fact up to twice as long. Zero means for ever.
	TTL time.Duration
	// LockDelay is how long nobody can take a lock after the session was lost
	// with it. Consul's own default of 15 s does not apply: zero is a
	// millisecond.
	LockDelay time.Duration
	// Behavior says what becomes of the keys that it has locked: "release",
	// the default, or "delete".
	Behavior string
	// Checks are ids of checks of this node, ServiceChecks those of its
	// services, with which the session ends when one turns critical. Without
	// any, not even the gossip's, it is the TTL alone that counts.
	Checks        []string
	ServiceChecks []string
}

// CreateSession begins a session of the local agent's node.
func (c *Client) CreateSession(ctx context.Context, s SessionOptions) (id string, err error) {
	entry := &api.SessionEntry{
		// A zero would be dropped on the way, and Consul's default taken.
		Name: s.Name, LockDelay: max(s.LockDelay, time.Millisecond), Behavior: s.Behavior, NodeChecks: s.Checks,
	}
	if s.TTL > 0 {
		entry.TTL = s.TTL.String()
	}
	for _, id := range s.ServiceChecks {
		entry.ServiceChecks = append(entry.ServiceChecks, api.ServiceCheck{ID: id})
	}
	err = c.write(ctx, fmt.Sprintf("create session %q", s.Name), func(o *api.WriteOptions) (err error) {
		create := c.api.Session().Create
		if len(entry.NodeChecks)+len(entry.ServiceChecks) == 0 {
			create = c.api.Session().CreateNoChecks
		}
		id, _, err = create(entry, o)
		return err
	})
	return id, err
}

// RenewSession lets a session live for another TTL. A session that is gone is
// a mesh.NotFound: its locks are lost.
func (c *Client) RenewSession(ctx context.Context, id string) error {
	var entry *api.SessionEntry
	what := fmt.Sprintf("renew session %q", id)
	err := c.write(ctx, what, func(o *api.WriteOptions) (err error) {
		entry, _, err = c.api.Session().Renew(id, o)
		return err
	})
	if err == nil && entry == nil {
		return mesh.Errorf(mesh.NotFound, "%s: it is gone", what)
	}
	return err
}

// DestroySession ends a session and gives its locks back. A missing one is no
// error.
func (c *Client) DestroySession(ctx context.Context, id string) error {
	return c.write(ctx, fmt.Sprintf("destroy session %q", id), func(o *api.WriteOptions) error {
		_, err := c.api.Session().Destroy(id, o)
		return err
	})
}

// Sessions returns the sessions of one node, or of all if node is empty.
func (c *Client) Sessions(ctx context.Context, node mesh.NodeName, q Query) ([]mesh.Session, Meta, error) {
	return read(ctx, c, q, fmt.Sprintf("list sessions of node %q", node), func(o *api.QueryOptions) ([]mesh.Session, *api.QueryMeta, error) {
		list, m, err := c.listSessions(node, o)
		if err != nil {
			return nil, m, err
		}
		out := make([]mesh.Session, len(list))
		for i, s := range list {
			out[i] = sessionOf(s)
		}
		return out, m, nil
	})
}

func (c *Client) listSessions(node mesh.NodeName, o *api.QueryOptions) ([]*api.SessionEntry, *api.QueryMeta, error) {
	if node == "" {
		return c.api.Session().List(o)
	}
	return c.api.Session().Node(string(node), o)
}

func sessionOf(s *api.SessionEntry) mesh.Session {
	ttl, _ := time.ParseDuration(s.TTL) // empty means none.
	out := mesh.Session{
		ID: s.ID, Name: s.Name, Node: mesh.NodeName(s.Node), TTL: ttl, LockDelay: s.LockDelay, Behavior: s.Behavior,
		Checks: append([]string(nil), s.NodeChecks...),
	}
	for _, sc := range s.ServiceChecks {
		out.Checks = append(out.Checks, sc.ID)
	}
	return out
}

// Acquire writes a key and locks it with a session, if nobody else has locked
// it; it reports whether the session holds it now. A holder may acquire again
// to write another value. A session that is gone is a mesh.NotFound.
func (c *Client) Acquire(ctx context.Context, key string, value []byte, session string) (held bool, err error) {
	if err := checkValue(key, value); err != nil {
		return false, err
	}
	err = c.write(ctx, fmt.Sprintf("lock key %q", key), func(o *api.WriteOptions) (err error) {
		held, _, err = c.api.KV().Acquire(&api.KVPair{Key: key, Value: value, Session: session}, o)
		return err
	})
	return held, err
}

// Release gives a lock back and leaves value in the key. It reports whether
// the session did hold it; if not, nothing is written.
func (c *Client) Release(ctx context.Context, key string, value []byte, session string) (held bool, err error) {
	if err := checkValue(key, value); err != nil {
		return false, err
	}
	err = c.write(ctx, fmt.Sprintf("unlock key %q", key), func(o *api.WriteOptions) (err error) {
		held, _, err = c.api.KV().Release(&api.KVPair{Key: key, Value: value, Session: session}, o)
		return err
	})
	return held, err
}
