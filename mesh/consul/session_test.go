package consul

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestSession(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	const node = mesh.NodeName("bj-e-hadoop01-11-203")
	id, err := c.CreateSession(ctx, SessionOptions{Name: "test", TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	bound, err := c.CreateSession(ctx, SessionOptions{
		Name: "bound", LockDelay: 2 * time.Second, Behavior: "delete", Checks: []string{mesh.SerfCheck},
	})
	if err != nil {
		t.Fatal(err)
	}
	find := func(list []mesh.Session, id string) mesh.Session {
		if i := slices.IndexFunc(list, func(s mesh.Session) bool { return s.ID == id }); i >= 0 {
			return list[i]
		}
		return mesh.Session{}
	}
	list, meta, err := c.Sessions(ctx, node, sure)
	if err != nil {
		t.Fatal(err)
	}
	got := []mesh.Session{find(list, id), find(list, bound)}
	want := []mesh.Session{
		{ID: id, Name: "test", Node: node, TTL: 10 * time.Second, LockDelay: time.Millisecond, Behavior: "release"},
		{ID: bound, Name: "bound", Node: node, LockDelay: 2 * time.Second, Behavior: "delete", Checks: []string{mesh.SerfCheck}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if err := c.RenewSession(ctx, id); err != nil {
		t.Errorf("RenewSession = %v", err)
	}

	gone := make(chan []mesh.Session, 1)
	go func() {
		list, _, err := c.Sessions(ctx, node, Query{Index: meta.Index, Wait: 20 * time.Second, Mode: Default})
		if err != nil {
			t.Error(err)
		}
		gone <- list
	}()
	if err := c.DestroySession(ctx, bound); err != nil {
		t.Error(err)
	}
	if list := within(t, "the watch of sessions wakes", gone); find(list, bound).ID != "" || find(list, id).ID == "" {
		t.Errorf("sessions after one is destroyed = %+v", list)
	}
	for range 2 { // it may be gone already.
		if err := c.DestroySession(ctx, id); err != nil {
			t.Errorf("DestroySession = %v", err)
		}
	}
	wantCode(t, "RenewSession of one that is gone", c.RenewSession(ctx, id), mesh.NotFound)
	if list, _, err := c.Sessions(ctx, "", sure); err != nil || find(list, id).ID != "" {
		t.Errorf("sessions everywhere = %+v, %v, want the destroyed one gone", list, err)
	}
}

func TestLock(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	const key = "lock/leader"
	var ids [2]string
	for i := range ids {
		id, err := c.CreateSession(ctx, SessionOptions{TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.DestroySession(context.WithoutCancel(ctx), id) })
		ids[i] = id
	}
	must := func(what string, want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			if err != nil || got != want {
				t.Fatalf("%s = %v, %v, want %v", what, got, err, want)
			}
		}
	}
	holder := func(value, session string, index uint64) {
		t.Helper()
		p, _, err := c.Get(ctx, key, sure)
		if err != nil || p == nil || string(p.Value) != value || p.Session != session || p.LockIndex != index {
			t.Fatalf("key = %+v, %v, want %q held by %q the %d. time", p, err, value, session, index)
		}
	}
	must("Acquire", true)(c.Acquire(ctx, key, []byte("a"), ids[0]))
	must("Acquire by another", false)(c.Acquire(ctx, key, []byte("b"), ids[1]))
	holder("a", ids[0], 1)
	must("Acquire again", true)(c.Acquire(ctx, key, []byte("a2"), ids[0]))
	holder("a2", ids[0], 1)
	must("Release by another", false)(c.Release(ctx, key, nil, ids[1]))
	must("Release", true)(c.Release(ctx, key, nil, ids[0]))
	holder("", "", 1)
	must("Acquire what is free", true)(c.Acquire(ctx, key, []byte("b"), ids[1]))
	holder("b", ids[1], 2)

	// Without a lock delay the lock of a session that ends is free at once.
	if err := c.DestroySession(ctx, ids[1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock is free", func() error {
		if ok, err := c.Acquire(ctx, key, []byte("c"), ids[0]); err != nil || !ok {
			return mesh.Errorf(mesh.Conflict, "%v, %v", ok, err)
		}
		return nil
	})
	holder("c", ids[0], 3)
	_, err := c.Acquire(ctx, key, nil, ids[1])
	wantCode(t, "Acquire with a session that is gone", err, mesh.NotFound)

	_, err = c.Txn(ctx, []Op{{Verb: OpLock, Key: key, Session: ids[1]}})
	wantCode(t, "OpLock with a session that is gone", err, mesh.NotFound)
	other, err := c.CreateSession(ctx, SessionOptions{TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.DestroySession(context.WithoutCancel(ctx), other) })
	_, err = c.Txn(ctx, []Op{{Verb: OpLock, Key: key, Session: other}})
	wantCode(t, "OpLock of what another holds", err, mesh.Conflict)
	pairs, err := c.Txn(ctx, []Op{{Verb: OpLock, Key: key, Value: []byte("d"), Session: ids[0]}})
	if err != nil || len(pairs) != 1 || pairs[0].LockIndex != 3 || pairs[0].Session != ids[0] || pairs[0].ModifyIndex == 0 || pairs[0].CreateIndex == 0 {
		t.Errorf("OpLock by the holder = %+v, %v, want its third lock", pairs, err)
	}
	holder("d", ids[0], 3)

	_, err = c.Txn(ctx, []Op{{Verb: OpCheckSession, Key: key, Session: ids[1]}, {Verb: OpSet, Key: "lock/effect", Value: []byte("x")}})
	wantCode(t, "a write of the deposed", err, mesh.Conflict)
	if _, err = c.Txn(ctx, []Op{{Verb: OpCheckSession, Key: key, Session: ids[0]}, {Verb: OpSet, Key: "lock/effect", Value: []byte("x")}}); err != nil {
		t.Errorf("a write of the holder = %v", err)
	}
}

func TestKeysBelowAndDeleteCAS(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	for _, key := range []string{"tree/a", "tree/b/x", "tree/b/y/z", "tree/c"} {
		if err := c.Put(ctx, key, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{
		"tree/":   {"tree/a", "tree/b/", "tree/c"},
		"tree/b/": {"tree/b/x", "tree/b/y/"},
		"tree/-":  nil,
	} {
		got, _, err := c.KeysBelow(ctx, prefix, "/", sure)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("KeysBelow %q: %v (-want +got):\n%s", prefix, err, diff)
		}
	}
	p, _, err := c.Get(ctx, "tree/a", sure)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "DeleteCAS at an old index", c.DeleteCAS(ctx, "tree/a", p.ModifyIndex-1), mesh.Conflict)
	if err := c.DeleteCAS(ctx, "tree/a", p.ModifyIndex); err != nil {
		t.Errorf("DeleteCAS = %v", err)
	}
	if p, _, err := c.Get(ctx, "tree/a", sure); err != nil || p != nil {
		t.Errorf("key after DeleteCAS = %+v, %v", p, err)
	}
	if err := c.DeleteCAS(ctx, "tree/a", p.ModifyIndex); err != nil {
		t.Errorf("DeleteCAS of what is gone = %v", err)
	}
}

func TestCoordinates(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if testing.Short() {
		t.Skip("an agent tells where it stands after half a minute")
	}
	at := make(map[mesh.NodeName]Coordinate)
	for deadline := time.Now().Add(3 * time.Minute); len(at) < 2; time.Sleep(100 * time.Millisecond) {
		list, _, err := c.Coordinates(ctx, Query{Mode: Default})
		if err != nil {
			t.Fatal(err)
		}
		for _, co := range list {
			at[co.Node] = co
		}
		if time.Now().After(deadline) {
			t.Fatalf("coordinates are %v, want those of both nodes", at)
		}
	}
	a, b := at["bj-e-admin03"], at["bj-e-hadoop01-11-203"]
	there, ok := RTT(a, b)
	back, _ := RTT(b, a)
	if !ok || there != back || there <= 0 || there > time.Minute {
		t.Errorf("RTT = %s and %s back, %v", there, back, ok)
	}
	b.Segment = "dmz"
	if d, ok := RTT(a, b); ok || d != 0 {
		t.Errorf("RTT over segments = %s, %v, want none", d, ok)
	}
	if d, ok := RTT(a, Coordinate{}); ok || d != 0 {
		t.Errorf("RTT to nowhere = %s, %v, want none", d, ok)
	}
}

func TestACLsOff(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if list, on, err := c.ACLTokens(ctx); list != nil || on || err != nil {
		t.Errorf("ACLTokens = %v, %v, %v, want off", list, on, err)
	}
	if list, on, err := c.ACLPolicies(ctx); list != nil || on || err != nil {
		t.Errorf("ACLPolicies = %v, %v, %v, want off", list, on, err)
	}
}
