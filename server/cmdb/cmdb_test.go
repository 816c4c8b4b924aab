package cmdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/cmdb"
	"alps/server/cmdb/cmdbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	dc   = "bj-e-01"
	west = "sh-w-01"
)

// nodeID returns the NodeID whose digits are all d.
func nodeID(d string) mesh.NodeID { return mesh.NodeID(strings.Repeat(d, 32)) }

func members(names ...mesh.NodeName) cmdb.Members {
	out := cmdb.Members{}
	for _, n := range names {
		out = append(out, mesh.Member{Name: n, Status: mesh.MemberAlive, DC: dc})
	}
	return out
}

func observation(id mesh.NodeID, cpus int) mesh.Observation {
	return mesh.Observation{
		Node: id, Collector: "agent/fact", At: time.Now(), Facts: mesh.Facts{Name: "bj-e-admin01", DC: dc, OS: "linux", CPUs: cpus},
	}
}

// run runs a CMDB until the test ends.
func run(t *testing.T, o cmdb.Options) *cmdb.CMDB {
	t.Helper()
	c, err := cmdb.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// settle lets everything that is under way come to its end.
func settle() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

func expr(t *testing.T, text string) *query.Expr {
	t.Helper()
	e, err := query.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func names(t *testing.T, c *cmdb.CMDB, text string) []mesh.NodeName {
	t.Helper()
	nodes, err := c.Resolve(expr(t, text))
	if err != nil {
		t.Fatal(err)
	}
	out := []mesh.NodeName{}
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

func want[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestReady(t *testing.T) {
	away := errors.New("connection refused")
	tests := map[string]struct {
		prepare func(e *cmdbtest.Estate)
		ready   bool
		hint    string
	}{
		"everything was read": {func(*cmdbtest.Estate) {}, true, ""},
		"Consul is away":      {func(e *cmdbtest.Estate) { e.Consul.Fail(away) }, false, "Consul cannot be read: connection refused"},
		"no roster":           {func(e *cmdbtest.Estate) { e.Roster.Fail(errors.New("disk full")) }, false, "try again in a moment"},
		"another datacenter is away": {func(e *cmdbtest.Estate) {
			e.Consul.Set(west, cmdb.Contact{Err: away})
		}, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := cmdbtest.New(dc)
				e.Consul.Set(dc, members("bj-e-admin01"))
				tt.prepare(e)
				c := run(t, e.Options())
				settle()
				if c.Ready() != tt.ready {
					t.Fatalf("ready = %v, want %v", c.Ready(), tt.ready)
				}
				_, err := c.Resolve(expr(t, "all"))
				if tt.ready {
					if err != nil {
						t.Fatalf("resolve: %v", err)
					}
					return
				}
				if mesh.CodeOf(err) != mesh.Unavailable || err.Error() != "the inventory is still loading" {
					t.Fatalf("resolve: %v, want that the inventory is still loading", err)
				}
				if me, _ := errors.AsType[*mesh.Error](err); me.Hint != tt.hint {
					t.Errorf("hint = %q, want %q", me.Hint, tt.hint)
				}
				if _, err := c.List(expr(t, "all"), cmdb.Page{}); mesh.CodeOf(err) != mesh.Unavailable {
					t.Errorf("list: %v, want unavailable", err)
				}
				e.Consul.Fail(nil)
				e.Consul.Set(dc, cmdb.Loaded{})
				e.Roster.Fail(nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				want(t, "nodes once it is back", []mesh.NodeName{"bj-e-admin01"}, names(t, c, "all"))
			})
		})
	}
}

func TestResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := cmdbtest.New(dc)
		e.Consul.Set(dc, members("bj-e-hadoop01-11-203", "bj-e-hadoop01-11-204", "bj-e-admin01"))
		c := run(t, e.Options())
		settle()
		want(t, "by role", []mesh.NodeName{"bj-e-hadoop01-11-203", "bj-e-hadoop01-11-204"}, names(t, c, "role=hadoop"))
		want(t, "by range", []mesh.NodeName{"bj-e-hadoop01-11-204"}, names(t, c, "bj-e-hadoop01-11-[204-209]"))
		want(t, "by nothing", []mesh.NodeName{}, names(t, c, "role=kafka"))
		want(t, "by meta", []mesh.NodeName{}, names(t, c, "meta.rack=r7"))
		_, err := c.Resolve(expr(t, "rol!=canary"))
		if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), `"rol"`) {
			t.Errorf("resolve of an unknown field: %v, want it refused", err)
		}
		if n, ok := c.Node("bj-e-admin01"); !ok || n.Status != mesh.MemberAlive {
			t.Errorf("node = %+v, %v", n, ok)
		}
	})
}

// TestChangesAreCoalesced hands over changes much faster than snapshots are
// built, and wants the last of them within a second.
func TestChangesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := cmdbtest.New(dc)
		o := e.Options()
		var built atomic.Int32
		o.OnSnapshot = func(*cmdb.Snapshot) { built.Add(1) }
		c := run(t, o)
		settle()
		before := built.Load()
		for i := range 1000 {
			e.Consul.Set(dc, members(mesh.NodeName(fmt.Sprintf("bj-e-admin%d", i))))
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := built.Load() - before; n < 4 || n > 12 {
			t.Errorf("%d snapshots in 3 seconds, want about 8", n)
		}
		want(t, "nodes", []mesh.NodeName{"bj-e-admin999"}, names(t, c, "all"))
		before = built.Load()
		e.Consul.Set(dc, members("bj-e-admin999"), cmdb.CriticalChecks{}, cmdb.Contact{}, cmdb.Loaded{})
		settle()
		if n := built.Load() - before; n != 0 {
			t.Errorf("%d snapshots of nothing new, want none", n)
		}
	})
}

func TestConsulAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := cmdbtest.New(dc)
		e.Consul.Set(dc, members("bj-e-admin01"))
		o := e.Options()
		o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: new(sync.Mutex)})
		c := run(t, o)
		settle()
		want(t, "age", 0, c.Age())
		for range 10 {
			e.Consul.Fail(errors.New("connection refused"))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if age := c.Age(); age < 9*time.Second || age > 11*time.Second {
			t.Errorf("age = %v after 10 s, want that", age)
		}
		want(t, "nodes", []mesh.NodeName{"bj-e-admin01"}, names(t, c, "all"))
		if f := c.Snapshot().Findings(); len(f) != 1 || f[0].Kind != cmdb.KindDatacenter || f[0].Hint != "connection refused" {
			t.Errorf("findings = %+v, want one of the datacenter", f)
		}
		e.Consul.Fail(nil)
		settle()
		want(t, "age when it is back", 0, c.Age())
		if f := c.Snapshot().Findings(); len(f) != 0 {
			t.Errorf("findings when it is back = %+v", f)
		}
		for _, line := range []string{"Consul cannot be read", "Consul can be read again"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q was logged %d times, want once:\n%s", line, n, log.String())
			}
		}
	})
}

// TestDatacenterJoins lets a second datacenter come while the server runs.
func TestDatacenterJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := cmdbtest.New(dc)
		e.Consul.Set(dc, members("bj-e-admin01"))
		c := run(t, e.Options())
		settle()
		e.Consul.Set(west, cmdb.CatalogNodes{{Name: "sh-w-admin01", Address: "10.1.0.1"}})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want(t, "nodes", []mesh.NodeName{"bj-e-admin01", "sh-w-admin01"}, names(t, c, "all"))
		want(t, "nodes there", []mesh.NodeName{"sh-w-admin01"}, names(t, c, "dc=sh-w-01"))
	})
}

func TestLinksAndRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := cmdbtest.New(dc)
		e.Consul.Set(dc, members("bj-e-admin01"))
		c := run(t, e.Options())
		settle()
		status := func() mesh.AgentStatus { n, _ := c.Node("bj-e-admin01"); return n.Agent }
		want(t, "agent at first", mesh.AgentNone, status())

		a := nodeID("a")
		e.Roster.Set(cmdb.Enrolment{ID: a, Name: "bj-e-admin01", EnrolledAt: time.Now()})
		e.Links.Connect(a)
		c.LinkChanged(a) // it has enrolled a moment ago: the roster is read for it.
		settle()
		want(t, "agent when it has connected", mesh.AgentLinked, status())

		e.Links.Disconnect(a)
		c.LinkChanged(a)
		settle()
		want(t, "agent when it is gone", mesh.AgentLost, status())

		e.Roster.Set(cmdb.Enrolment{ID: a, Name: "bj-e-admin01", EnrolledAt: time.Now(), Revoked: true})
		c.RosterChanged()
		settle()
		want(t, "agent when it is revoked", mesh.AgentRevoked, status())

		e.Roster.Set()
		time.Sleep(time.Minute) // nobody tells; it is noticed all the same.
		synctest.Wait()
		want(t, "agent when it is forgotten", mesh.AgentNone, status())
	})
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]func(o *cmdb.Options){
		"no datacenter": func(o *cmdb.Options) { o.Datacenter = "" },
		"no source":     func(o *cmdb.Options) { o.Source = nil },
		"no links":      func(o *cmdb.Options) { o.Links = nil },
		"no roster":     func(o *cmdb.Options) { o.Roster = nil },
		"no writer":     func(o *cmdb.Options) { o.Writer = nil },
		"no history":    func(o *cmdb.Options) { o.History = nil },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			o := cmdbtest.New(dc).Options()
			spoil(&o)
			if _, err := cmdb.New(o); err == nil {
				t.Error("New returned no error")
			}
		})
	}
}
