package remedy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"alps/mesh"
)

// in is a policy of a group, with a rule of its own.
func in(name, group string) mesh.Policy {
	p := policy()
	p.Name, p.Rule, p.Group, p.Storm = name, name, group, 0
	return p
}

// TestGroups says that what one group does holds no other up, but on one node.
func TestGroups(t *testing.T) {
	tell(t, nil, func(s *story) {
		drain, restart := in("drain", "hdfs"), in("restart", "web")
		s.e = s.engine(s, drain, restart)
		of := func(rule string, node mesh.NodeName) mesh.IncidentID {
			i := s.open(mesh.IncidentID(rule+" "+string(node)), node)
			i.Rule = rule
			s.incidents[i.ID] = i
			return i.ID
		}
		of("drain", "n1")
		s.turn(time.Second)
		of("drain", "n2")
		of("restart", "n3")
		of("restart", "n1")
		s.turn(6 * time.Second)
		s.want("the other group acts, and neither twice", "running running refused:concurrency refused:concurrency")
		for _, r := range s.stored(s) {
			if j := s.jobs[r.ID]; j != nil && r.Policy == "restart" {
				j.state = mesh.JobState{State: mesh.OK}
			}
		}
		s.turn(time.Second)
		time.Sleep(time.Second)
		s.result("n3", mesh.HealthPassing)
		s.turn(time.Second)
		s.want("what is over in one is not in the other", "running succeeded refused:concurrency refused:concurrency")
		for _, r := range s.stored(s) {
			if want := "of policy drain on n1 is under way"; r.Guard == "concurrency" && !strings.Contains(r.Reason, want) {
				t.Errorf("run of %s on %s is refused with %q, want %q", r.Policy, r.Node, r.Reason, want)
			}
		}
	})
}

// TestGroupsApart says that a run which cannot go on holds up neither the runs
// of other groups that are under way, nor those that are to begin.
func TestGroupsApart(t *testing.T) {
	tell(t, nil, func(s *story) {
		var policies []mesh.Policy
		for _, group := range []string{"a", "b", "c"} {
			p := policy()
			p.Name, p.Rule, p.Group = group, group, group
			policies = append(policies, p)
		}
		s.e = s.engine(s, policies...)
		begin := func(group string) {
			i := s.open(mesh.IncidentID("of "+group), mesh.NodeName("n"+group))
			i.Rule = group
			s.incidents[i.ID] = i
			s.e.OnIncident(i)
		}
		begin("b")
		s.turn(time.Second)
		s.submitErr = mesh.Errorf(mesh.Unavailable, "Consul is away")
		begin("a")
		if err := s.e.Turn(s.Context()); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("turn: %v, want that Consul is away", err)
		}
		s.want("one is submitted, one is not", "running decided")
		for _, j := range s.jobs {
			j.state = mesh.JobState{State: mesh.OK}
		}
		begin("c")
		if err := s.e.Turn(s.Context()); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("turn: %v, want that Consul is away", err)
		}
		s.want("the others go on", "verifying decided decided")
		s.submitErr = nil
		s.turn(time.Second)
		s.want("and it does", "verifying running running")
	})
}

// TestPauseOfSome pauses a group, and a policy.
func TestPauseOfSome(t *testing.T) {
	for name, scope := range map[string]mesh.RemedyScope{
		"policy": {Policy: "restart-web"}, "group": {Group: "web"},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(p *mesh.Policy) { p.Group, p.Storm = "web", 0 }, func(s *story) {
				other := policy()
				other.Name, other.Rule = "drain", "drain"
				s.e = s.engine(s, s.p, other)
				if err := s.e.Pause(s.Context(), "ann", scope, "rack 11"); err != nil {
					t.Fatal(err)
				}
				s.open("i1", "web1")
				i := s.open("i2", "web2")
				i.Rule = "drain"
				s.incidents["i2"] = i
				s.turn(time.Second)
				s.want("one is paused", "running refused:paused")
				list, all, err := s.e.Policies(s.Context())
				if err != nil || all != nil || list[0].Paused == nil || list[0].Paused.RemedyScope != scope || list[1].Paused != nil {
					t.Errorf("policies %+v, pause of all %+v, %v", list, all, err)
				}
				if want := "paused: the " + scope.String() + " is paused by ann"; !strings.HasPrefix(list[0].Blocked, want) {
					t.Errorf("blocked %q, want %q", list[0].Blocked, want)
				}
				if err := s.e.Resume(s.Context(), "ann", mesh.RemedyScope{}, ""); err != nil {
					t.Fatal(err)
				}
				s.turn(6 * time.Second)
				s.want("to resume all resumes no less", "running refused:paused")
				if err := s.e.Resume(s.Context(), "ann", scope, ""); err != nil {
					t.Fatal(err)
				}
				s.turn(6 * time.Second)
				s.want("resumed", "running refused:paused running")
			})
		})
	}
	w := newWorld(t)
	for name, tt := range map[string]struct {
		policies []mesh.Policy
		hint     string
	}{
		"there are some": {[]mesh.Policy{in("b", "web"), in("a", "hdfs"), in("c", "web"), in("d", "")}, "the groups are hdfs, web"},
		"there is none":  {[]mesh.Policy{in("d", "")}, "write `group = …` into policies that belong together"},
	} {
		err := w.engine(t, tt.policies...).Pause(t.Context(), "ann", mesh.RemedyScope{Group: "hdsf"}, "")
		e, ok := errors.AsType[*mesh.Error](err)
		if !ok || e.Code != mesh.NotFound || e.Hint != tt.hint {
			t.Errorf("%s: %v, want the hint %q", name, err, tt.hint)
		}
	}
	both := mesh.RemedyScope{Policy: "restart-web", Group: "web"}
	if err := w.engine(t, policy()).Pause(t.Context(), "ann", both, ""); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("pause %+v: %v, want it invalid", both, err)
	}
}
