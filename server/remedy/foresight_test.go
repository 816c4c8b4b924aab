package remedy_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
	"alps/server/remedy"
)

// seer is an Incidents that knows what is about to be opened.
type seer struct {
	*world

	pending int
	since   time.Time
}

func (s *seer) Pending(rule string, since time.Time) int {
	if rule != "web-down" {
		return 0
	}
	s.since = since
	return s.pending
}

// TestStormIsForeseen says that the first of many is not acted on when the
// others are about to follow.
func TestStormIsForeseen(t *testing.T) {
	for name, c := range map[string]struct {
		pending int
		want    mesh.RemedyState
	}{
		"it is alone":         {0, mesh.RemedyRunning},
		"one more is chance":  {1, mesh.RemedyRunning},
		"two more is a storm": {2, mesh.RemedyRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &seer{world: newWorld(t), pending: c.pending}
				e, err := remedy.New(remedy.Options{
					Store: s.world, Incidents: s, Checks: s.world, Jobs: s.world, Node: s.node, Nodes: s.allNodes,
					Lease: func() (uint64, bool) { return s.term, true },
					Audit: func(context.Context, mesh.Audit) error { return nil },
				})
				if err != nil {
					t.Fatal(err)
				}
				p := mesh.Policy{
					Name: "restart-web", Rule: "web-down", Script: "restart-web", Args: []string{"ctl"}, Mode: mesh.RemedyAuto,
					Timeout: 20 * time.Second, Verify: 30 * time.Second, PerHour: 6, Storm: 3, StormWindow: time.Minute,
				}
				if err := e.SetPolicies([]mesh.Policy{p}, s.library(t), mesh.RemedyAuto); err != nil {
					t.Fatal(err)
				}
				s.open("i1", "web1")
				if err := e.Turn(t.Context()); err != nil {
					t.Fatal(err)
				}
				runs := s.stored(t)
				if len(runs) != 1 || runs[0].State != c.want {
					t.Fatalf("runs are %+v, want one that is %s", runs, c.want)
				}
				if refused := c.want == mesh.RemedyRefused; refused != (runs[0].Guard == string(remedy.GuardStorm)) || refused != strings.Contains(runs[0].Reason, "3 incidents") {
					t.Errorf("guard %q: %s", runs[0].Guard, runs[0].Reason)
				}
				if got := time.Since(s.since); got != time.Minute {
					t.Errorf("it asked for what was not opened within %s, want the storm's window", got)
				}
			})
		})
	}
}
