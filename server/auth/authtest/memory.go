package authtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"alps/mesh"
	"alps/server/auth"
)

// Memory is an auth.Store that forgets everything when it is dropped. The
// zero Memory is empty and ready; it must not be copied.
type Memory struct {
	mu     sync.Mutex
	tokens map[string]auth.Token
	err    error
}

var _ auth.Store = (*Memory)(nil)

// Fail makes every later call return err; nil ends it.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// SaveToken implements auth.Store.
func (m *Memory) SaveToken(_ context.Context, t auth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if _, ok := m.tokens[t.ID]; ok {
		return mesh.Errorf(mesh.Conflict, "token %s exists", t.ID)
	}
	if m.tokens == nil {
		m.tokens = map[string]auth.Token{}
	}
	m.tokens[t.ID] = t
	return nil
}

// TokenByID implements auth.Store.
func (m *Memory) TokenByID(_ context.Context, id string) (auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(id)
}

// Tokens implements auth.Store.
func (m *Memory) Tokens(context.Context) ([]auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	return slices.SortedFunc(maps.Values(m.tokens), func(a, b auth.Token) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	}), nil
}

// DeleteToken implements auth.Store.
func (m *Memory) DeleteToken(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(id); err != nil {
		return err
	}
	delete(m.tokens, id)
	return nil
}

// TouchToken implements auth.Store.
func (m *Memory) TouchToken(_ context.Context, id string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.find(id)
	if err != nil {
		return err
	}
	if at.After(t.LastUsed) {
		t.LastUsed = at.UTC()
		m.tokens[id] = t
	}
	return nil
}

func (m *Memory) find(id string) (auth.Token, error) {
	if m.err != nil {
		return auth.Token{}, m.err
	}
	t, ok := m.tokens[id]
	if !ok {
		return auth.Token{}, mesh.Errorf(mesh.NotFound, "there is no token %s", id)
	}
	return t, nil
}
