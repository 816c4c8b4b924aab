package consul

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/consul/cluster"
)

// shared starts the one cluster that most tests use, when the first of them
// asks for it.
var shared = sync.OnceValues(func() (*cluster.Cluster, error) {
	return cluster.Start(context.Background(), cluster.Options{Datacenters: []cluster.Datacenter{{
		Name: "bj-e-01",
		Nodes: []cluster.NodeSpec{
			{Name: "bj-e-admin03", Server: true}, {Name: "bj-e-hadoop01-11-203"},
		},
	}}})
})

// sharedUsed is set by the test that makes shared start.
var sharedUsed bool

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedUsed {
		if c, err := shared(); err == nil {
			if err := c.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func sharedCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	sharedUsed = true
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serverClient returns a Client of the server, agentClient one of the other
// agent.
func serverClient(t *testing.T) *Client {
	t.Helper()
	return newClient(t, sharedCluster(t).Node("bj-e-admin03").HTTPAddr())
}

func agentClient(t *testing.T) *Client {
	t.Helper()
	return newClient(t, sharedCluster(t).Node("bj-e-hadoop01-11-203").HTTPAddr())
}

func newClient(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := New(Options{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// within fails the test unless ch gives a value in time.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}

// eventually polls until cond is nil.
func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s: %v", what, err)
		}
	}
}

func wantCode(t *testing.T, what string, err error, want mesh.Code) {
	t.Helper()
	if got := mesh.CodeOf(err); got != want {
		t.Errorf("%s: error %v has code %q, want %q", what, err, got, want)
	}
}
