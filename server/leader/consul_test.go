package leader_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/server/leader"
)

// runner is a server on the real Consul.
type runner struct {
	*leader.Leader

	stop func()
}

func run(t *testing.T, c leader.Options) *runner {
	t.Helper()
	l, err := leader.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return &runner{l, stop}
}

// leads waits until r leads.
func leads(t *testing.T, r *runner) leader.Term {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	term, err := r.Await(ctx)
	if err != nil {
		t.Fatalf("it never leads: %v", err)
	}
	return term
}

// TestOnConsul goes through the life of a lock on the real Consul.
func TestOnConsul(t *testing.T) {
	cl := cluster.ForTest(t, cluster.Options{})
	c, err := consul.New(consul.Options{Address: cl.Nodes()[0].HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const key = "alps/leader"
	ctx, lock := t.Context(), leader.FromConsul(c, key)
	options := func(name string) leader.Options {
		return leader.Options{Sessions: lock, Lock: lock, Me: leader.Info{Name: name, API: "https://" + name}}
	}
	a := run(t, options("a"))
	first := leads(t, a)
	sessions, _, err := c.Sessions(ctx, "", consul.Query{Mode: consul.Consistent})
	if err != nil || len(sessions) != 1 || sessions[0].ID != first.Session || len(sessions[0].Checks) != 0 || sessions[0].TTL != leader.MinTTL {
		t.Errorf("sessions = %+v, %v, want a's alone, bound to no check", sessions, err)
	}

	// A standby knows who leads, and takes over from a clean stop.
	b := run(t, options("b"))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if who, ok := b.Leader.Leader(); ok && who.Name == "a" && who.API == "https://a" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("b never hears that a leads")
		}
	}
	a.stop()
	second := leads(t, b)
	if second.Index != first.Index+1 || second.Session == first.Session {
		t.Errorf("b leads in %+v after %+v", second, first)
	}

	// What the deposed writes with its session is refused.
	if _, err := c.Txn(ctx, []consul.Op{
		{Verb: consul.OpCheckSession, Key: key, Session: first.Session}, {Verb: consul.OpSet, Key: "effect", Value: []byte("a")},
	}); err == nil {
		t.Error("the deposed may write")
	}
	if _, err := c.Txn(ctx, []consul.Op{
		{Verb: consul.OpCheckSession, Key: key, Session: second.Session}, {Verb: consul.OpSet, Key: "effect", Value: []byte("b")},
	}); err != nil {
		t.Errorf("the leader may not write: %v", err)
	}

	// The session is destroyed behind its back: nobody else wants the lock.
	gone := b.Deposed()
	if err := c.DestroySession(ctx, second.Session); err != nil {
		t.Fatal(err)
	}
	third := until(t, b, func(term leader.Term) bool { return term.Index > second.Index })
	if third.Index != second.Index+1 {
		t.Errorf("b leads again in %+v, want the next term", third)
	}
	select {
	case <-gone:
		t.Error("b was deposed by nobody")
	default:
	}

	// The key is deleted: terms grow all the same.
	if err := c.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	fourth := until(t, b, func(term leader.Term) bool { return term.Index > third.Index })
	p, _, err := c.Get(ctx, key, consul.Query{Mode: consul.Consistent})
	if err != nil || p == nil || p.LockIndex >= fourth.Index || p.Session != fourth.Session {
		t.Errorf("the key is %+v, %v in %+v", p, err, fourth)
	}
}

// until waits for a term that is as wanted.
func until(t *testing.T, r *runner, want func(leader.Term) bool) leader.Term {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if term, ok := r.Held(); ok && want(term) {
			return term
		}
		if time.Now().After(deadline) {
			t.Fatal("the term never comes")
		}
	}
}

// TestRestartAfterKill ends the session that a killed process has left, and
// does not wait for it to end by itself.
func TestRestartAfterKill(t *testing.T) {
	cl := cluster.ForTest(t, cluster.Options{})
	c, err := consul.New(consul.Options{Address: cl.Nodes()[0].HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, file := t.Context(), filepath.Join(t.TempDir(), "session")
	lock := leader.FromConsul(c, "alps/leader")
	// Its Destroy is never heard of, as when it was killed.
	killed := run(t, leader.Options{Sessions: immortal{lock}, Lock: lock, Me: leader.Info{Name: "a"}, SessionFile: file})
	first := leads(t, killed)
	saved := filepath.Join(t.TempDir(), "kept")
	copyFile(t, file, saved)
	killed.stop()
	if p, _, err := c.Get(ctx, "alps/leader", consul.Query{Mode: consul.Consistent}); err != nil || p.Session != first.Session {
		t.Fatalf("key = %+v, %v, want it locked by the killed process", p, err)
	}
	next := run(t, leader.Options{Sessions: lock, Lock: lock, Me: leader.Info{Name: "a"}, SessionFile: saved})
	if got := leads(t, next); got.Index != first.Index+1 {
		t.Errorf("the next process leads in %+v after %+v", got, first)
	}
}

// immortal loses what ends a session.
type immortal struct{ leader.Sessions }

func (immortal) Destroy(context.Context, string) error { return nil }

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
