package alert_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/alert"
)

func TestConsulAway(t *testing.T) {
	bubble(t, func(r *rig) {
		r.engine.Back()
		r.web(passing)
		pass(time.Minute)
		away := time.Now()
		r.engine.ConsulAway(away)
		catalog := func(node, check string, h mesh.Health) mesh.CheckState {
			s := state(node, check, h)
			s.Source = mesh.SourceCatalog
			return s
		}
		r.set(catalog("n2", "web", critical))
		r.set(catalog("n2", mesh.SerfCheck, critical))
		r.set(catalog("n2", mesh.AgentCheck, critical))
		pass(5 * time.Second)
		r.lease(1, false) // nobody can renew it.
		if n := len(r.incidents()); n != 0 {
			t.Fatalf("%d incidents", n)
		}
		pass(15 * time.Second)
		i := r.only(mesh.IncidentOpen)
		if i.Rule != alert.RuleConsulUnavailable || i.Node != "" || i.Check != "" || !i.Began.Equal(away.UTC().Truncate(time.Millisecond)) {
			t.Errorf("got %+v", i)
		}
		wantTold(t, r, "firing ops", "firing boss")
		for _, d := range r.store.Deliveries() {
			if !d.Unleased {
				t.Errorf("%s may not be sent without the lease", d.ID())
			}
		}
		r.web(critical) // nobody leads: it is not told.
		pass(time.Minute)
		r.only(mesh.IncidentOpen)

		r.lease(1, true)
		r.engine.Back()
		pass(2 * time.Second)
		list := r.incidents() // the present is looked at: web is bad, Consul is back.
		if len(list) != 2 || list[0].Rule != "web-down" || list[1].Status != mesh.IncidentClosed {
			t.Fatalf("got %+v", list)
		}
		r.set(catalog("n2", "web", passing))
		r.set(catalog("n2", mesh.SerfCheck, passing))
		r.set(state("n2", mesh.AgentCheck, passing))
		pass(time.Minute)
		if n := len(r.incidents()); n != 2 {
			t.Errorf("%d incidents, want none of what is over", n)
		}
	}, webDown)
}

// TestThaw sees that the catalog is looked at as soon as it can be believed.
func TestThaw(t *testing.T) {
	bubble(t, func(r *rig) {
		failed := func(node string) {
			s := state(node, mesh.SerfCheck, critical)
			s.Source = mesh.SourceCatalog
			r.set(s)
		}
		r.engine.Back() // as at the start: it was not away.
		failed("n1")
		r.only(mesh.IncidentOpen)
		pass(time.Minute)
		r.engine.ConsulAway(time.Now())
		pass(5 * time.Second)
		r.engine.Back()
		failed("n2")
		pass(9 * time.Second)
		r.only(mesh.IncidentOpen)
		pass(2 * time.Second)
		if n := len(r.incidents()); n != 2 {
			t.Errorf("%d incidents", n)
		}
	})
}

func TestConsulBlinks(t *testing.T) {
	bubble(t, func(r *rig) {
		r.engine.ConsulAway(time.Now())
		pass(10 * time.Second)
		r.engine.ConsulAway(time.Now()) // said again: it has not begun anew.
		r.engine.Back()
		pass(time.Minute)
		if n := len(r.incidents()); n != 0 {
			t.Errorf("%d incidents for an election", n)
		}
	})
}

func TestLease(t *testing.T) {
	t.Run("what still holds is told when it is back", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.lease(1, false)
			pass(2 * time.Second)
			r.web(critical)
			r.set(state("n2", "web", critical))
			pass(time.Second)
			r.set(state("n2", "web", passing))
			pass(2 * time.Second) // all checks are read again later than this.
			if _, err := r.engine.Ack(t.Context(), "00000000000000ff", "ann", ""); mesh.CodeOf(err) != mesh.Unavailable {
				t.Errorf("ack without the lease: %v", err)
			}
			wantTold(t, r)
			r.lease(1, true)
			pass(2 * time.Second)
			if i := r.only(mesh.IncidentOpen); i.Node != "n1" {
				t.Errorf("got %+v", i)
			}
		}, webDown)
	})
	t.Run("a new term begins with what the store has", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.web(critical)
			i := r.only(mesh.IncidentOpen)
			rec, err := r.store.IncidentRecord(t.Context(), i.ID)
			if err != nil {
				t.Fatal(err)
			}
			// Another leader has it acknowledged.
			rec.Status, rec.AckedBy = mesh.IncidentAcked, "bob"
			if err := r.store.SaveIncidents(t.Context(), 2, []alert.Change{{Record: rec}}); err != nil {
				t.Fatal(err)
			}
			r.lease(3, true)
			pass(time.Second)
			if _, err := r.engine.Ack(t.Context(), i.ID, "ann", ""); err == nil || !strings.Contains(err.Error(), "bob") {
				t.Errorf("ack of what bob has: %v", err)
			}
			if _, err := r.engine.Comment(t.Context(), i.ID, "ann", "bob has it"); err != nil {
				t.Errorf("comment in the new term: %v", err)
			}
		}, webDown)
	})
	t.Run("a term that is over writes nothing", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.store.Fence(7)
			r.web(critical)
			pass(time.Minute)
			wantTold(t, r)
			r.lease(8, true)
			pass(2 * time.Second)
			r.only(mesh.IncidentOpen)
			wantTold(t, r, "firing ops")
		}, webDown)
	})
}

func TestRestart(t *testing.T) {
	bubble(t, func(r *rig) {
		r.web(critical)
		r.stop()
		r.checks.mu.Lock()
		clear(r.checks.states)
		r.checks.mu.Unlock()
		r.lease(2, true)
		r.start(webDown)
		pass(10 * time.Minute)
		r.only(mesh.IncidentOpen)
		wantTold(t, r, "firing ops")
		r.web(critical)
		pass(time.Minute)
		wantTold(t, r, "firing ops")
		r.web(passing)
		r.only(mesh.IncidentClosed)
		wantTold(t, r, "firing ops", "resolved ops")
	}, webDown)
}

func TestStoreFails(t *testing.T) {
	bubble(t, func(r *rig) {
		r.store.FailWith(func() error { return errors.New("the disk is full") })
		r.web(critical)
		pass(10 * time.Second)
		if len(r.events) > 0 || r.kicks > 0 {
			t.Error("told of what is not stored")
		}
		r.store.FailWith(nil)
		pass(2 * time.Second)
		r.only(mesh.IncidentOpen)
		wantTold(t, r, "firing ops")
	}, webDown)
}
