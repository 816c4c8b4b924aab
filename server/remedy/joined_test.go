package remedy_test

import (
	"testing"
	"time"

	"alps/mesh"
)

// TestOneDiskOneRemedy has an incident that tells of problems by other rules:
// the policies of the first rule that has any act, on the check of that rule.
func TestOneDiskOneRemedy(t *testing.T) {
	for name, tt := range map[string]struct {
		own  mesh.RemedyMode // of a policy for the incident's own rule; "": there is none.
		more mesh.RemedyMode // of one for the rule that was joined first.
		want string          // which policies have decided what, on which check.
	}{
		"the own rule has one":       {mesh.RemedyAuto, mesh.RemedyAuto, "own running disk"},
		"the own rule's only looks":  {mesh.RemedyObserve, mesh.RemedyAuto, "own observed disk"},
		"the own rule's is off":      {mesh.RemedyOff, mesh.RemedyAuto, "more running kafka"},
		"only those that joined do":  {"", mesh.RemedyAuto, "more running kafka"},
		"only the last of them does": {"", mesh.RemedyOff, "last running web"},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, nil, func(s *story) {
				of := func(name string, mode mesh.RemedyMode) mesh.Policy {
					p := policy()
					p.Name, p.Rule, p.Group, p.Mode = name, name, name, mode
					return p
				}
				policies := []mesh.Policy{of("last", mesh.RemedyAuto), of("more", tt.more)}
				if tt.own != "" {
					policies = append(policies, of("own", tt.own))
				}
				s.e = s.engine(s, policies...)
				i := s.open("i1", "web1")
				i.Rule, i.Check = "own", "disk"
				i.Joined = []mesh.JoinedProblem{{Rule: "nobody", Check: "log"}, {Rule: "more", Check: "kafka"}, {Rule: "last", Check: "web"}}
				s.incidents["i1"] = i
				for _, check := range []string{"disk", "kafka"} {
					c := s.checks["dc1/web1/web"]
					c.Result.Check = check
					s.checks["dc1/web1/"+check] = c
				}
				for range 3 {
					s.turn(time.Second)
				}
				got := ""
				for _, r := range s.stored(s) {
					got += r.Policy + " " + string(r.State) + " " + r.Check
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				for _, j := range s.jobs {
					if j.Env["ALPS_CHECK"] != s.stored(s)[0].Check {
						t.Errorf("the script is told of the check %q", j.Env["ALPS_CHECK"])
					}
				}
			})
		})
	}
}
