package leader_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/server/leader"
)

// cable is a connection to Consul that can be pulled out.
type cable struct {
	to   string
	ln   net.Listener
	done sync.WaitGroup

	mu    sync.Mutex
	out   bool
	conns []net.Conn
}

func plug(t *testing.T, to string) *cable {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{to: to, ln: ln}
	c.done.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.done.Go(func() { c.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		c.set(true)
		c.done.Wait()
	})
	return c
}

func (c *cable) carry(from net.Conn) {
	to, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = from.Close()
		return
	}
	c.mu.Lock()
	if c.out {
		_ = from.Close()
		_ = to.Close()
	}
	c.conns = append(c.conns, from, to)
	c.mu.Unlock()
	c.done.Go(func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	})
	_, _ = io.Copy(from, to)
	_ = from.Close()
}

func (c *cable) set(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out = out; out {
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.conns = nil
	}
}

// TestCutOff is a leader that cannot reach Consul: it stops by its own clock,
// and only then does another lead.
func TestCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("a session of Consul takes 20 s to end")
	}
	cl := cluster.ForTest(t, cluster.Options{})
	addr := cl.Nodes()[0].HTTPAddr()
	wire := plug(t, addr)
	through := func(addr, name string) leader.Options {
		c, err := consul.New(consul.Options{Address: addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		lock := leader.FromConsul(c, "alps/leader")
		return leader.Options{Sessions: lock, Lock: lock, Me: leader.Info{Name: name}}
	}
	a := run(t, through(wire.ln.Addr().String(), "a"))
	first := leads(t, a)
	gone := a.Deposed()
	b := run(t, through(addr, "b"))

	wire.set(true)
	lapsed := false
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, at := a.Held()
		term, bt := b.Held()
		if at && bt {
			t.Fatal("both lead")
		}
		if !at && !lapsed {
			lapsed = true
			if in, ok := a.Incumbent(); !ok || in != first {
				t.Errorf("the lease has lapsed and a is incumbent in %+v, %v, want %+v", in, ok, first)
			}
		}
		if bt {
			if term.Index != first.Index+1 || !lapsed {
				t.Errorf("b leads in %+v after %+v, a's lease has lapsed: %v", term, first, lapsed)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody takes over")
		}
	}

	wire.set(false)
	select {
	case <-gone:
	case <-time.After(40 * time.Second):
		t.Fatal("a never learns that it is deposed")
	}
	if _, ok := a.Held(); ok {
		t.Error("a leads although it is deposed")
	}
	if term := leads(t, b); term.Index != first.Index+1 {
		t.Errorf("b leads in %+v, want it to go on", term)
	}
}
