package cmdb_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
	"alps/server/cmdb"
	"alps/server/cmdb/cmdbtest"
)

func TestCommitRefuses(t *testing.T) {
	a, b := nodeID("a"), nodeID("b")
	nameless := observation(a, 2)
	nameless.Facts.Name = ""
	tests := map[string]struct {
		observations []mesh.Observation
		code         mesh.Code
	}{
		"another node":               {[]mesh.Observation{observation(b, 2)}, mesh.Denied},
		"another node among its own": {[]mesh.Observation{observation(b, 2), observation(a, 2)}, mesh.Denied},
		"no name":                    {[]mesh.Observation{nameless}, mesh.Invalid},
		"nothing":                    {nil, ""},
		"its own":                    {[]mesh.Observation{observation(a, 2)}, ""},
		"its own, before and after":  {[]mesh.Observation{observation(a, 2), observation(a, 4)}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := cmdb.New(cmdbtest.New(dc).Options())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Commit(t.Context(), a, tt.observations); mesh.CodeOf(err) != tt.code {
				t.Errorf("commit: %v, want code %q", err, tt.code)
			}
		})
	}
}

// keys counts what was written, by transaction.
func keys(e *cmdbtest.Estate) []int {
	out := []int{}
	for _, docs := range e.Consul.Writes() {
		out = append(out, len(docs))
	}
	return out
}

func commit(t *testing.T, c *cmdb.CMDB, o mesh.Observation) {
	t.Helper()
	if err := c.Commit(t.Context(), o.Node, []mesh.Observation{o}); err != nil {
		t.Fatal(err)
	}
}

func TestCommitWritesChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := nodeID("a")
		e := cmdbtest.New(dc)
		e.Consul.Set(dc, members("bj-e-admin01"))
		e.Roster.Set(cmdb.Enrolment{ID: a, EnrolledAt: time.Now()})
		c := run(t, e.Options())
		commit(t, c, observation(a, 2)) // before the inventory is loaded: it waits.
		settle()
		want(t, "transactions after the first facts", []int{1}, keys(e))
		want(t, "nodes by facts", []mesh.NodeName{"bj-e-admin01"}, names(t, c, "cpus=2"))
		if key := e.Consul.Writes()[0][0].Key; key != cmdb.RecordKey(a) {
			t.Errorf("written to %q, want %q", key, cmdb.RecordKey(a))
		}

		commit(t, c, observation(a, 2))
		settle()
		want(t, "transactions after the same facts", []int{1}, keys(e))

		changed := observation(a, 4)
		commit(t, c, changed)
		settle()
		want(t, "transactions after other facts", []int{1, 1}, keys(e))
		want(t, "nodes by new facts", []mesh.NodeName{"bj-e-admin01"}, names(t, c, "cpus=4"))
		want(t, "history", []cmdb.Change{
			{Node: a, Name: "bj-e-admin01", Field: "cpus", Old: "2", New: "4", At: changed.At.UTC()},
		}, e.History.Changes())
	})
}

// TestCommitClocks: the newest record wins among servers, so a record's time
// must rise with every change, whatever the node's clock does.
func TestCommitClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := nodeID("a")
		e := cmdbtest.New(dc)
		e.Roster.Set(cmdb.Enrolment{ID: a, EnrolledAt: time.Now()})
		c := run(t, e.Options())
		settle()
		var last time.Time
		for i, ahead := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour, time.Minute} {
			o := observation(a, 2+i)
			o.At = time.Now().Add(ahead)
			commit(t, c, o)
			settle()
			n, _ := c.Node(string(a))
			if n.Facts == nil || n.Facts.CPUs != 2+i {
				t.Fatalf("clock %v ahead: facts = %+v, want the newest", ahead, n.Facts)
			}
			if !n.FactsAt.After(last) || n.FactsAt.After(time.Now()) {
				t.Errorf("clock %v ahead: facts are of %v, want a time after %v and not after now", ahead, n.FactsAt, last)
			}
			last = n.FactsAt
		}
	})
}

func TestCommitTriesAgain(t *testing.T) {
	down := errors.New("no leader")
	tests := map[string]struct {
		fail func(e *cmdbtest.Estate, err error)
	}{
		"Consul":      {func(e *cmdbtest.Estate, err error) { e.Consul.Fail(err) }},
		"the history": {func(e *cmdbtest.Estate, err error) { e.History.Fail(err) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := nodeID("a")
				e := cmdbtest.New(dc)
				e.Roster.Set(cmdb.Enrolment{ID: a, EnrolledAt: time.Now()})
				c := run(t, e.Options())
				commit(t, c, observation(a, 2))
				settle()
				tt.fail(e, down)
				commit(t, c, observation(a, 4))
				time.Sleep(time.Minute)
				commit(t, c, observation(a, 8)) // overtakes what could not be written.
				time.Sleep(time.Minute)
				synctest.Wait()
				want(t, "transactions while it is away", []int{1}, keys(e))
				tt.fail(e, nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				want(t, "transactions when it is back", []int{1, 1}, keys(e))
				changes := e.History.Changes()
				if last := changes[len(changes)-1]; last.New != "8" {
					t.Errorf("history ends with %+v, want 8 processors", last)
				}
			})
		})
	}
}

// TestCommitBatches lets 1,000 agents send their facts at once, as after the
// first start of a server: few transactions, none too large, not too fast.
func TestCommitBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := cmdbtest.New(dc)
		c := run(t, e.Options())
		settle()
		began := time.Now()
		for i := range 1000 {
			o := observation(mesh.NodeID(fmt.Sprintf("%032x", i)), 2)
			commit(t, c, o)
			commit(t, c, o)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		sum := 0
		for _, n := range keys(e) {
			sum += n
			if n > 64 {
				t.Errorf("a transaction of %d operations, want at most 64", n)
			}
		}
		if n := len(keys(e)); sum != 1000 || n > 16+1 {
			t.Errorf("%d records in %d transactions since %v, want 1000 in 16", sum, n, began)
		}
	})
}
