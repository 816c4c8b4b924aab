package client_test

import (
	"testing"

	"alps/mesh"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// TestNamesStayNames sends names that mean something in a URL: each is asked
// for as it is, and an empty one asks for nothing else.
func TestNamesStayNames(t *testing.T) {
	e := apitest.Start(t)
	odd := "a/b?c=d&e#f%2f é"
	n := apitest.Node(odd, "web")
	n.Services = []mesh.Service{{ID: odd, Name: odd}}
	e.SetNodes(n)
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Checks = []mesh.CheckState{{DC: "dc1", Node: n.Name, NodeID: n.ID, Result: mesh.CheckResult{Check: odd}}}
		s.Keys = map[string]v1.KVPair{odd: {Key: odd, Index: 1}}
	})
	c := e.Client(t, auth.Admin, "")
	ctx := t.Context()
	calls := map[string]func(*client.Client, string) error{
		"a node's checks":        func(c *client.Client, name string) error { _, err := c.NodeChecks(ctx, name); return err },
		"a node's configuration": func(c *client.Client, name string) error { _, err := c.NodeConfig(ctx, name); return err },
		"a service":              func(c *client.Client, name string) error { _, err := c.Service(ctx, name, ""); return err },
		"a check": func(c *client.Client, name string) error {
			_, err := c.RunCheck(ctx, v1.RunCheckRequest{Check: name})
			return err
		},
		"a key": func(c *client.Client, name string) error { _, err := c.Key(ctx, "", name); return err },
	}
	for name, do := range calls {
		t.Run(name, func(t *testing.T) {
			if err := do(c, odd); err != nil {
				t.Errorf("an odd name: %v", err)
			}
			if err := do(c, ""); mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("no name: got %v (code %q), want it refused", err, mesh.CodeOf(err))
			}
		})
	}
	if got, err := c.Checks(ctx, v1.CheckFilter{Check: odd}); err != nil || got.Total != 1 {
		t.Errorf("a filter by an odd name: %+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"changing no incident": func() error { _, err := c.ChangeIncident(ctx, "", v1.IncidentAck, ""); return err }(),
		"showing no incident":  func() error { _, err := c.Incident(ctx, ""); return err }(),
		"showing no run":       func() error { _, err := c.RemedyRun(ctx, ""); return err }(),
		"approving no run":     func() error { _, err := c.ApproveRemedy(ctx, "", ""); return err }(),
		"rejecting no run":     func() error { _, err := c.RejectRemedy(ctx, "", ""); return err }(),
		"simulating no policy": func() error { _, err := c.SimulatePolicy(ctx, "", "0001"); return err }(),
	} {
		if mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
}
