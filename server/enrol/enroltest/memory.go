// Package enroltest holds a Store in memory for tests, and the suite that
// every Store must pass:
//
//	func TestStore(t *testing.T) {
//		enroltest.Run(t, func(t *testing.T) enrol.Store { return open(t) })
//	}
//
// It must not be imported by anything but tests.
package enroltest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"alps/mesh"
	"alps/server/enrol"
)

// Memory is a Store that forgets when the process ends. Use NewMemory.
type Memory struct {
	mu     sync.Mutex
	tokens map[string]enrol.JoinToken
	nodes  map[mesh.NodeID]enrol.Node
}

// NewMemory returns an empty Store.
func NewMemory() *Memory {
	return &Memory{tokens: make(map[string]enrol.JoinToken), nodes: make(map[mesh.NodeID]enrol.Node)}
}

// SaveJoinToken implements enrol.Store.
func (m *Memory) SaveJoinToken(_ context.Context, t enrol.JoinToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tokens[t.ID]; ok {
		return mesh.Errorf(mesh.Conflict, "join token %s exists", t.ID)
	}
	t.Created, t.Expires, t.LastUsed = t.Created.UTC(), t.Expires.UTC(), t.LastUsed.UTC()
	m.tokens[t.ID] = t
	return nil
}

// JoinTokenByID implements enrol.Store.
func (m *Memory) JoinTokenByID(_ context.Context, id string) (enrol.JoinToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tokens[id]
	if !ok {
		return t, mesh.Errorf(mesh.NotFound, "no join token %s", id)
	}
	return t, nil
}

// JoinTokens implements enrol.Store.
func (m *Memory) JoinTokens(context.Context) ([]enrol.JoinToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.tokens), func(a, b enrol.JoinToken) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	}), nil
}

// UseJoinToken implements enrol.Store.
func (m *Memory) UseJoinToken(_ context.Context, id, key string, now time.Time) (enrol.JoinToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tokens[id]
	switch {
	case !ok:
		return t, mesh.Errorf(mesh.NotFound, "no join token %s", id)
	case !now.Before(t.Expires):
		return enrol.JoinToken{}, mesh.Errorf(mesh.Denied, "join token %s has expired", id)
	case !t.Reusable && t.Uses > 0 && t.UsedByKey == key:
		return t, nil
	case !t.Reusable && t.Uses > 0:
		return enrol.JoinToken{}, mesh.Errorf(mesh.Denied, "join token %s was used before", id)
	}
	t.Uses, t.LastUsed, t.UsedByKey = t.Uses+1, now.UTC(), key
	m.tokens[id] = t
	return t, nil
}

// ExpireJoinToken implements enrol.Store.
func (m *Memory) ExpireJoinToken(_ context.Context, id string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tokens[id]
	if !ok {
		return mesh.Errorf(mesh.NotFound, "no join token %s", id)
	}
	if at.Before(t.Expires) {
		t.Expires = at.UTC()
	}
	m.tokens[id] = t
	return nil
}

// SaveNode implements enrol.Store.
func (m *Memory) SaveNode(_ context.Context, n enrol.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n.EnrolledAt, n.NotAfter = n.EnrolledAt.UTC(), n.NotAfter.UTC()
	n.Notes = slices.Clone(n.Notes)
	n.Revocation = m.nodes[n.ID].Revocation
	m.nodes[n.ID] = n
	return nil
}

// NodeByID implements enrol.Store.
func (m *Memory) NodeByID(_ context.Context, id mesh.NodeID) (enrol.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[id]
	if !ok {
		return n, mesh.Errorf(mesh.NotFound, "no node %s", id)
	}
	return n, nil
}

// NodesByEvidence implements enrol.Store.
func (m *Memory) NodesByEvidence(_ context.Context, e enrol.Evidence) ([]enrol.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	same := func(a, b string) bool { return a != "" && a == b }
	var out []enrol.Node
	for _, n := range m.nodes {
		o := n.Evidence
		if same(o.MachineID, e.MachineID) || same(o.DMIUUID, e.DMIUUID) || same(o.Hostname, e.Hostname) || same(o.Key, e.Key) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b enrol.Node) int {
		return cmp.Or(a.EnrolledAt.Compare(b.EnrolledAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// Revoke implements enrol.Store.
func (m *Memory) Revoke(_ context.Context, id mesh.NodeID, r enrol.Revocation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[id]
	if !ok {
		return mesh.Errorf(mesh.NotFound, "no node %s", id)
	}
	if n.Revocation.At.IsZero() {
		r.At = r.At.UTC()
		n.Revocation = r
		m.nodes[id] = n
	}
	return nil
}

// Revoked implements enrol.Store.
func (m *Memory) Revoked(context.Context) ([]mesh.NodeID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []mesh.NodeID
	for id, n := range m.nodes {
		if !n.Revocation.At.IsZero() {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}
