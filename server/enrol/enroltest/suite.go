package enroltest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/enrol"
)

var (
	now   = time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	token = enrol.JoinToken{
		ID: "0000aaaa", SecretHash: "hash", Role: "datanode", CreatedBy: "ann",
		Created: now, Expires: now.Add(time.Hour),
	}
	node = enrol.Node{
		ID:       "00112233445566778899aabbccddeeff",
		Evidence: enrol.Evidence{MachineID: "m1", DMIUUID: "d1", Hostname: "h1", Key: "k1"},
		Role:     "datanode", TokenID: token.ID, EnrolledAt: now, NotAfter: now.Add(time.Hour),
		Notes: []string{"clone?", "a \"quoted\" note"},
	}
)

// Run runs the suite; open returns an empty Store each time.
func Run(t *testing.T, open func(*testing.T) enrol.Store) {
	t.Helper()
	for name, f := range map[string]func(*testing.T, enrol.Store){
		"tokens":             tokens,
		"one-time token":     oneTime,
		"reusable token":     reusable,
		"race for one token": race,
		"expiry":             expiry,
		"nodes":              nodes,
		"evidence":           evidence,
		"revocation":         revocation,
		"not found":          notFound,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want mesh.Code) {
	t.Helper()
	if got := mesh.CodeOf(err); got != want {
		t.Errorf("got %v (code %q), want code %q", err, got, want)
	}
}

func tokens(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	must(t, s.SaveJoinToken(ctx, token))
	wantCode(t, s.SaveJoinToken(ctx, token), mesh.Conflict)
	got, err := s.JoinTokenByID(ctx, token.ID)
	must(t, err)
	if d := cmp.Diff(token, got); d != "" {
		t.Error(d)
	}
	later, twin := token, token
	later.ID, later.Created = "0000bbbb", now.Add(time.Minute)
	twin.ID = "0000cccc"
	must(t, s.SaveJoinToken(ctx, twin))
	must(t, s.SaveJoinToken(ctx, later))
	all, err := s.JoinTokens(ctx)
	must(t, err)
	if d := cmp.Diff([]enrol.JoinToken{later, token, twin}, all); d != "" {
		t.Error(d)
	}
}

func oneTime(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	must(t, s.SaveJoinToken(ctx, token))
	want := token
	want.Uses, want.LastUsed, want.UsedByKey = 1, now, "k1"
	for _, at := range []time.Time{now, now.Add(time.Minute)} { // the second is not counted.
		got, err := s.UseJoinToken(ctx, token.ID, "k1", at)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	_, err := s.UseJoinToken(ctx, token.ID, "k2", now)
	wantCode(t, err, mesh.Denied)
	got, err := s.JoinTokenByID(ctx, token.ID)
	must(t, err)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a refused use left a trace: %s", d)
	}
}

func reusable(t *testing.T, s enrol.Store) {
	ctx, tok := t.Context(), token
	tok.Reusable = true
	must(t, s.SaveJoinToken(ctx, tok))
	for i, key := range []string{"k1", "k2", "k2"} {
		got, err := s.UseJoinToken(ctx, tok.ID, key, now)
		must(t, err)
		if got.Uses != i+1 || got.UsedByKey != key {
			t.Errorf("after use %d: %d uses, the last by %q", i+1, got.Uses, got.UsedByKey)
		}
	}
}

func race(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	must(t, s.SaveJoinToken(ctx, token))
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := s.UseJoinToken(ctx, token.ID, fmt.Sprint("k", i), now)
			if err == nil {
				won.Add(1)
			} else if mesh.CodeOf(err) != mesh.Denied {
				t.Errorf("a loser got %v, want code %s", err, mesh.Denied)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d keys spent a one-time token, want 1", n)
	}
}

func expiry(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	must(t, s.SaveJoinToken(ctx, token))
	_, err := s.UseJoinToken(ctx, token.ID, "k1", token.Expires)
	wantCode(t, err, mesh.Denied)
	must(t, s.ExpireJoinToken(ctx, token.ID, now.Add(time.Minute)))
	must(t, s.ExpireJoinToken(ctx, token.ID, now.Add(time.Hour))) // later: nothing changes.
	got, err := s.JoinTokenByID(ctx, token.ID)
	must(t, err)
	if want := now.Add(time.Minute); !got.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", got.Expires, want)
	}
	_, err = s.UseJoinToken(ctx, token.ID, "k1", now.Add(time.Minute))
	wantCode(t, err, mesh.Denied)
	_, err = s.UseJoinToken(ctx, token.ID, "k1", now)
	must(t, err)
}

func nodes(t *testing.T, s enrol.Store) {
	ctx, n := t.Context(), node
	must(t, s.SaveNode(ctx, n))
	n.NotAfter = now.Add(2 * time.Hour)
	must(t, s.SaveNode(ctx, n))
	got, err := s.NodeByID(ctx, n.ID)
	must(t, err)
	if d := cmp.Diff(n, got); d != "" {
		t.Error(d)
	}
	bare := enrol.Node{ID: "ffffffffffffffffffffffffffffffff"}
	must(t, s.SaveNode(ctx, bare))
	got, err = s.NodeByID(ctx, bare.ID)
	must(t, err)
	if d := cmp.Diff(bare, got); d != "" {
		t.Errorf("a node without anything: %s", d)
	}
}

func evidence(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	add := func(id mesh.NodeID, at time.Time, e enrol.Evidence) {
		must(t, s.SaveNode(ctx, enrol.Node{ID: id, EnrolledAt: at, Evidence: e}))
	}
	add("a", now.Add(time.Second), enrol.Evidence{MachineID: "m1", Hostname: "h1"})
	add("b", now, enrol.Evidence{MachineID: "m1", DMIUUID: "d2"})
	add("c", now, enrol.Evidence{Hostname: "h1", Key: "k3"})
	add("d", now, enrol.Evidence{})
	for name, tc := range map[string]struct {
		e    enrol.Evidence
		want []mesh.NodeID
	}{
		"machine id":      {enrol.Evidence{MachineID: "m1"}, []mesh.NodeID{"b", "a"}},
		"host name":       {enrol.Evidence{Hostname: "h1"}, []mesh.NodeID{"c", "a"}},
		"DMI UUID":        {enrol.Evidence{DMIUUID: "d2"}, []mesh.NodeID{"b"}},
		"key":             {enrol.Evidence{Key: "k3"}, []mesh.NodeID{"c"}},
		"any of several":  {enrol.Evidence{DMIUUID: "d2", Hostname: "h1"}, []mesh.NodeID{"b", "c", "a"}},
		"another field":   {enrol.Evidence{MachineID: "h1", Hostname: "m1"}, nil},
		"nothing is said": {enrol.Evidence{}, nil},
	} {
		found, err := s.NodesByEvidence(ctx, tc.e)
		must(t, err)
		var got []mesh.NodeID
		for _, n := range found {
			got = append(got, n.ID)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func revocation(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	other := node
	other.ID = "0000000000000000000000000000000f"
	must(t, s.SaveNode(ctx, node))
	must(t, s.SaveNode(ctx, other))
	first := enrol.Revocation{At: now, By: "ann", Reason: "stolen"}
	must(t, s.Revoke(ctx, node.ID, first))
	must(t, s.Revoke(ctx, node.ID, enrol.Revocation{At: now.Add(time.Hour), By: "bob"}))
	must(t, s.SaveNode(ctx, node)) // a renewal that was under way.
	got, err := s.NodeByID(ctx, node.ID)
	must(t, err)
	if d := cmp.Diff(first, got.Revocation); d != "" {
		t.Error(d)
	}
	must(t, s.Revoke(ctx, other.ID, first))
	ids, err := s.Revoked(ctx)
	must(t, err)
	if want := []mesh.NodeID{node.ID, other.ID}; !slices.Equal(ids, slices.Sorted(slices.Values(want))) {
		t.Errorf("revoked: %v, want %v", ids, want)
	}
}

func notFound(t *testing.T, s enrol.Store) {
	ctx := t.Context()
	_, err := s.JoinTokenByID(ctx, "nobody")
	wantCode(t, err, mesh.NotFound)
	_, err = s.UseJoinToken(ctx, "nobody", "k", now)
	wantCode(t, err, mesh.NotFound)
	wantCode(t, s.ExpireJoinToken(ctx, "nobody", now), mesh.NotFound)
	_, err = s.NodeByID(ctx, "nobody")
	wantCode(t, err, mesh.NotFound)
	wantCode(t, s.Revoke(ctx, "nobody", enrol.Revocation{At: now}), mesh.NotFound)
	ids, err := s.Revoked(ctx)
	must(t, err)
	if len(ids) != 0 {
		t.Errorf("revoked: %v, want none", ids)
	}
}
