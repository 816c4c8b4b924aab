package consul

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/consul/cluster"
)

// sure reads what was written, whoever is asked.
var sure = Query{Mode: Consistent}

func TestKV(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if p, m, err := c.Get(ctx, "kv/missing", sure); p != nil || err != nil || m.Index == 0 || !m.KnownLeader {
		t.Errorf("Get of a missing key = %v, %+v, %v, want nothing and an index to wait on", p, m, err)
	}
	for _, key := range []string{"kv/b", "kv/a/x", "kv/a/y z", "kv/a/?%"} {
		if err := c.Put(ctx, key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	p, m, err := c.Get(ctx, "kv/a/?%", sure)
	if err != nil || p == nil || string(p.Value) != "kv/a/?%" || p.ModifyIndex != m.Index {
		t.Fatalf("Get = %+v, %+v, %v", p, m, err)
	}
	keys, _, err := c.Keys(ctx, "kv/a/", sure)
	if want := []string{"kv/a/?%", "kv/a/x", "kv/a/y z"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("Keys = %q, %v, want %q", keys, err, want)
	}
	pairs, _, err := c.List(ctx, "kv/", sure)
	if err != nil || len(pairs) != 4 || pairs[3].Key != "kv/b" {
		t.Errorf("List = %v, %v, want four keys in order", pairs, err)
	}
	if err := c.Delete(ctx, "kv/b"); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, "kv/b"); err != nil {
		t.Errorf("Delete of a missing key = %v", err)
	}
	if err := c.DeleteTree(ctx, "kv/"); err != nil {
		t.Error(err)
	}
	if pairs, _, err := c.List(ctx, "kv/", sure); err != nil || len(pairs) != 0 {
		t.Errorf("List after DeleteTree = %v, %v", pairs, err)
	}
	wantCode(t, "DeleteTree of everything", c.DeleteTree(ctx, ""), mesh.Invalid)
}

func TestCAS(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if err := c.Delete(ctx, "cas"); err != nil { // of an earlier run.
		t.Fatal(err)
	}
	if err := c.CAS(ctx, "cas", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "CAS of a key that is there as if missing", c.CAS(ctx, "cas", []byte("2"), 0), mesh.Conflict)
	p, _, err := c.Get(ctx, "cas", sure)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CAS(ctx, "cas", []byte("2"), p.ModifyIndex); err != nil {
		t.Errorf("CAS at the right index = %v", err)
	}
	wantCode(t, "CAS at an old index", c.CAS(ctx, "cas", []byte("3"), p.ModifyIndex), mesh.Conflict)
	if p, _, err = c.Get(ctx, "cas", sure); err != nil || string(p.Value) != "2" {
		t.Errorf("value = %v, %v, want the one that won", p, err)
	}
}

func TestValueSize(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if err := c.Put(ctx, "big", make([]byte, MaxValue)); err != nil {
		t.Errorf("Put of the largest value = %v", err)
	}
	wantCode(t, "Put of more", c.Put(ctx, "big", make([]byte, MaxValue+1)), mesh.TooLarge)
	wantCode(t, "CAS of more", c.CAS(ctx, "big", make([]byte, MaxValue+1), 0), mesh.TooLarge)
	if err := c.Delete(ctx, "big"); err != nil {
		t.Error(err)
	}
}

func TestTxn(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	pairs, err := c.Txn(ctx, []Op{
		{Verb: OpSet, Key: "txn/a", Value: []byte("1")},
		{Verb: OpCAS, Key: "txn/b", Value: []byte("2")},
		{Verb: OpCheckNotExists, Key: "txn/none"},
		{Verb: OpDelete, Key: "txn/gone"},
		{Verb: OpGet, Key: "txn/a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) != 3 || pairs[0].Key != "txn/a" || pairs[1].Key != "txn/b" || string(pairs[2].Value) != "1" {
		t.Fatalf("pairs = %+v, want the two sets and the get", pairs)
	}
	index := pairs[0].ModifyIndex
	if index == 0 || pairs[1].ModifyIndex != index {
		t.Errorf("indexes %d and %d, want one for the whole transaction", index, pairs[1].ModifyIndex)
	}

	_, err = c.Txn(ctx, []Op{
		{Verb: OpSet, Key: "txn/a", Value: []byte("changed")},
		{Verb: OpCheckIndex, Key: "txn/a", Index: index - 1},
		{Verb: OpCAS, Key: "txn/b", Value: []byte("changed"), Index: index - 1},
	})
	wantCode(t, "stale transaction", err, mesh.Conflict)
	failed, ok := errors.AsType[*TxnError](err)
	if !ok || len(failed.Failed) != 2 {
		t.Fatalf("error %v, want a TxnError of two operations", err)
	}
	for i, f := range failed.Failed {
		want := OpError{Op: i + 1, Key: []string{"txn/a", "txn/b"}[i], What: f.What}
		if f != want || f.What == "" {
			t.Errorf("failure %d = %+v, want %+v with a reason", i, f, want)
		}
	}
	if want := `operation 2 on "txn/b"`; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want it to contain %q", err, want)
	}
	if p, _, err := c.Get(ctx, "txn/a", sure); err != nil || string(p.Value) != "1" {
		t.Errorf("value after a refused transaction = %v, %v, want it unchanged", p, err)
	}
	if pairs, err := c.Txn(ctx, []Op{
		{Verb: OpCheckIndex, Key: "txn/a", Index: index},
		{Verb: OpGetTree, Key: "txn/"},
		{Verb: OpDeleteCAS, Key: "txn/b", Index: index},
		{Verb: OpDeleteTree, Key: "txn/"},
	}); err != nil || len(pairs) < 2 {
		t.Errorf("Txn = %v, %v", pairs, err)
	}
	if pairs, err := c.Txn(ctx, nil); err != nil || pairs != nil {
		t.Errorf("Txn of nothing = %v, %v", pairs, err)
	}
}

func TestTxnLimits(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	ops := make([]Op, MaxTxnOps)
	for i := range ops {
		ops[i] = Op{Verb: OpSet, Key: fmt.Sprintf("lim/%d", i), Value: []byte("x")}
	}
	if _, err := c.Txn(ctx, ops); err != nil {
		t.Errorf("Txn of %d operations = %v", len(ops), err)
	}
	_, err := c.Txn(ctx, append(ops, ops[0]))
	wantCode(t, "one operation more", err, mesh.TooLarge)

	// As many bytes as the limit allows, which base64 and the frame eat from.
	big := []Op{{Verb: OpSet, Key: "lim/big"}}
	room := (MaxTxnBytes - TxnSize(big) - len(`,"Value":""`)) / 4 * 3
	big[0].Value = bytes.Repeat([]byte{0xff}, room)
	if n := TxnSize(big); n > MaxTxnBytes || n < MaxTxnBytes-4 {
		t.Fatalf("TxnSize = %d, want it just below %d", n, MaxTxnBytes)
	}
	if _, err := c.Txn(ctx, big); err != nil {
		t.Errorf("Txn of %d bytes = %v", TxnSize(big), err)
	}
	big[0].Value = append(big[0].Value, "1234"...)
	_, err = c.Txn(ctx, big)
	wantCode(t, "a few bytes more", err, mesh.TooLarge)
	if err := c.DeleteTree(ctx, "lim/"); err != nil {
		t.Error(err)
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(`{"Results":null,"Errors":[{"OpIndex":1,"What":"index is stale"}]}`)
	f.Add(`{"Errors":[{"OpIndex":-7}]}`)
	f.Add(`rpc error`)
	f.Fuzz(func(t *testing.T, body string) {
		ops := []Op{{Key: "a"}, {Key: "b"}}
		e, ok := refusal(ops, statusError(409, body))
		if ok != (len(e.Failed) > 0) {
			t.Errorf("refusal(%q) = %v with %d failures", body, ok, len(e.Failed))
		}
		if ok && e.Error() == "" {
			t.Errorf("refusal(%q) says nothing", body)
		}
	})
}

// TestACL runs against a Consul that hides "secret/" from our token.
func TestACL(t *testing.T) {
	const root = "11111111-2222-3333-4444-555555555555"
	cl := cluster.ForTest(t, cluster.Options{ExtraConfig: map[string]any{"acl": map[string]any{
		"enabled": true, "default_policy": "allow", "tokens": map[string]any{"initial_management": root},
	}}})
	addr, ctx := cl.Nodes()[0].HTTPAddr(), t.Context()
	admin, err := New(Options{Address: addr, Token: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	token := restrictedToken(t, admin, `key_prefix "secret/" { policy = "deny" } event "alps" { policy = "deny" } agent_prefix "" { policy = "deny" }`)
	c, err := New(Options{Address: addr, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, key := range []string{"secret/a", "open/a"} {
		if err := admin.Put(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = c.Get(ctx, "secret/a", Query{})
	wantCode(t, "Get", err, mesh.Denied)
	if e, ok := errors.AsType[*mesh.Error](err); !ok || !strings.Contains(e.Message, "Consul at http://"+addr) || e.Hint == "" {
		t.Errorf("error %q, want one that names the agent, with a hint", err)
	}
	wantCode(t, "Put", c.Put(ctx, "secret/a", nil), mesh.Denied)
	_, err = c.Fire(ctx, "alps", nil)
	wantCode(t, "Fire", err, mesh.Denied)
	_, err = c.Self(ctx)
	wantCode(t, "Self", err, mesh.Denied)
	_, err = c.Txn(ctx, []Op{{Verb: OpSet, Key: "open/a"}, {Verb: OpSet, Key: "secret/a"}})
	wantCode(t, "Txn", err, mesh.Denied)
	keys, m, err := c.Keys(ctx, "", Query{})
	if diff := cmp.Diff([]string{"open/a"}, keys); err != nil || diff != "" || !m.Filtered {
		t.Errorf("Keys = %v, filtered %v, %v, want what is open and to be told", keys, m.Filtered, err)
	}
	_, on, err := c.ACLTokens(ctx)
	wantCode(t, "ACLTokens", err, mesh.Denied)
	if on {
		t.Error("ACLTokens says on beside an error")
	}
	tokens, on, err := admin.ACLTokens(ctx)
	i := slices.IndexFunc(tokens, func(e ACLEntry) bool { return slices.Equal(e.Policies, []string{"restricted"}) })
	if err != nil || !on || i < 0 || tokens[i].ID == "" || tokens[i].ID == token {
		t.Errorf("ACLTokens = %+v, %v, %v, want the restricted one by its accessor", tokens, on, err)
	}
	if said := fmt.Sprintf("%+v", tokens); strings.Contains(said, token) || strings.Contains(said, root) {
		t.Errorf("ACLTokens gives a secret away: %s", said)
	}
	policies, on, err := admin.ACLPolicies(ctx)
	if err != nil || !on || !slices.ContainsFunc(policies, func(e ACLEntry) bool { return e.Name == "restricted" && e.ID != "" }) {
		t.Errorf("ACLPolicies = %+v, %v, %v, want the restricted one", policies, on, err)
	}
}
