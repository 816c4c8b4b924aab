package remedy_test

import (
	"strings"
	"testing"
	"time"

	"alps/mesh"
)

// TestEstate says what an engine makes of what is declared of nodes, of the time
// and of the other nodes.
func TestEstate(t *testing.T) {
	for name, tt := range map[string]struct {
		policy func(*mesh.Policy)
		world  func(*story)
		want   string // of the runs; empty: a run begins.
		reason string
	}{
		"nothing is declared": {want: "running"},
		"under maintenance": {
			world: func(s *story) { s.attributes["web1/maintenance"] = "ann, new fans" },
			want:  "refused:maintenance", reason: "under maintenance: ann, new fans",
		},
		"maintenance is over":     {world: func(s *story) { s.attributes["web1/maintenance"] = "false" }, want: "running"},
		"another is maintained":   {world: func(s *story) { s.attributes["web2/maintenance"] = "true" }, want: "running"},
		"the time for it":         {policy: func(p *mesh.Policy) { p.Maintenance = []string{"00:00-24:00"} }, want: "refused:maintenance", reason: "00:00-24:00"},
		"data can be lost":        {policy: func(p *mesh.Policy) { p.Script = "wipe" }, want: "refused:loss", reason: "data can be lost by wipe"},
		"where that is borne":     {policy: func(p *mesh.Policy) { p.Script = "wipe" }, world: func(s *story) { s.attributes["web1/loss_tolerant"] = "true" }, want: "running"},
		"loss_tolerant otherwise": {policy: func(p *mesh.Policy) { p.Script = "wipe" }, world: func(s *story) { s.attributes["web1/loss_tolerant"] = "yes" }, want: "refused:loss"},
		"two of three are ill": {
			policy: func(p *mesh.Policy) { p.MaxUnavailable = "50%" }, want: "running",
			world: func(s *story) { s.peer("web2", mesh.HealthCritical); s.peer("web3", mesh.HealthPassing) },
		},
		"all of three are ill": {
			policy: func(p *mesh.Policy) { p.MaxUnavailable = "50%" }, want: "refused:unavailable", reason: "3 of 3 nodes are in trouble, at most 2",
			world: func(s *story) { s.peer("web2", mesh.HealthCritical); s.peer("web3", mesh.HealthUnknown) },
		},
		"dead nodes count": {
			policy: func(p *mesh.Policy) { p.MaxUnavailable = "1" }, want: "refused:unavailable", reason: "2 of 3",
			world: func(s *story) {
				s.peer("web2", mesh.HealthPassing)
				s.peer("web3", mesh.HealthPassing)
				n := s.nodes["web2"]
				n.Status = mesh.MemberFailed
				s.nodes["web2"] = n
			},
		},
		"others do not have the check": {
			policy: func(p *mesh.Policy) { p.MaxUnavailable = "1" }, want: "running",
			world: func(s *story) { s.nodes["db1"] = mesh.Node{Name: "db1", DC: "dc1", Status: mesh.MemberFailed} },
		},
		"it may act on few of them": {
			policy: func(p *mesh.Policy) { p.MaxUnavailable, p.Target = "1", "name=web1" }, want: "running",
			world: func(s *story) { s.peer("web2", mesh.HealthCritical) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, tt.policy, func(s *story) {
				if tt.world != nil {
					tt.world(s)
				}
				s.open("i1", "web1")
				s.turn(0)
				s.want("at once", tt.want)
				if r := s.stored(s)[0].Reason; !strings.Contains(r, tt.reason) {
					t.Errorf("reason %q, want %q in it", r, tt.reason)
				}
			})
		})
	}
}

// peer is another node with the check.
func (s *story) peer(name mesh.NodeName, h mesh.Health) {
	s.nodes[name] = mesh.Node{ID: mesh.NodeID("id of " + name), Name: name, DC: "dc1", Agent: mesh.AgentLinked, Status: mesh.MemberAlive}
	s.result(name, h)
}

// TestUnavailableIsSeenInTime says that a policy which has begun does not act
// when the others fall ill before it does.
func TestUnavailableIsSeenInTime(t *testing.T) {
	climb(t, plan(), func(s *story) {
		s.e = s.engine(t, func() mesh.Policy { p := s.p; p.MaxUnavailable = "1"; return p }())
		s.turn(0)
		s.say(mesh.VerdictOK, "")
		s.peer("web2", mesh.HealthCritical)
		s.turn(2 * time.Second)
		s.say(mesh.VerdictOK, "")
		s.want("before anything has acted", "refused:unavailable")
	})
}
