package check_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/check"
)

const (
	passing  = mesh.HealthPassing
	warning  = mesh.HealthWarning
	critical = mesh.HealthCritical
	unknown  = mesh.HealthUnknown
)

// step is one thing that happens, and what is believed of a check then.
type step struct {
	what string
	do   func(*testing.T, *rig, *speaker)
	want string // of the check "web".
}

func list(n mesh.Node) func(*testing.T, *rig, *speaker) {
	return func(_ *testing.T, r *rig, _ *speaker) { r.list(n) }
}

func wait(d time.Duration) func(*testing.T, *rig, *speaker) {
	return func(*testing.T, *rig, *speaker) { pass(d) }
}

func says(h mesh.Health) func(*testing.T, *rig, *speaker) {
	return func(t *testing.T, r *rig, s *speaker) { s.says(t, r, "web", h) }
}

func fullOf(h mesh.Health) func(*testing.T, *rig, *speaker) {
	return func(t *testing.T, r *rig, s *speaker) { s.full(t, r, map[string]mesh.Health{"web": h}) }
}

func TestBelief(t *testing.T) {
	ok, bad := cc("web", passing, "200 OK"), cc("web", critical, "refused")
	unlinked := func(n mesh.Node) mesh.Node { n.Agent = mesh.AgentLost; return n }
	serfDown := cc(mesh.SerfCheck, critical, "Agent not live or unreachable")
	for name, steps := range map[string][]step{
		"the link says it": {
			{"listed, the agent has said nothing", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"it fails", says(critical), "critical by link"},
			{"the catalog is behind", list(machine(ok)), "critical by link"},
			{"it recovers", says(passing), "passing by link"},
		},
		"reports come before the inventory": {
			{"first report", fullOf(warning), "nothing"},
			{"listed", list(machine(ok)), "warning by link"},
		},
		"the link is silent, the catalog speaks": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"the link is gone", list(unlinked(machine(ok))), "passing by link"},
			{"still within its reconnection", wait(30 * time.Second), "passing by link"},
			{"for too long", wait(10 * time.Second), "passing by catalog"},
			{"Consul sees it fail", list(unlinked(machine(bad))), "critical by catalog"},
			{"and recover", list(unlinked(machine(ok))), "passing by catalog"},
			{"the link is back", list(machine(ok)), "passing by catalog"},
			{"with a word", fullOf(warning), "warning by link"},
		},
		"the link is there and says nothing": {
			{"listed", list(machine(bad)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"nothing for too long", wait(time.Minute), "critical by catalog"},
			{"TTL expired: nobody asks any more", list(machine(cc("web", critical, expired))), "unknown by catalog"},
		},
		"an agent is lost": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"its link and its check are gone", list(dead(machine(ok))), "critical by link"},
			{"not for long enough", wait(25 * time.Second), "critical by link"},
			{"long enough", wait(10 * time.Second), "unknown by catalog, agent lost"},
			{"TTL expired", list(with(dead(machine()), cc("web", critical, expired))), "unknown by catalog, agent lost"},
			{"the agent is connected again", list(with(machine(), cc("web", critical, expired))), "unknown by catalog, agent lost"},
			{"and says it", fullOf(critical), "critical by link"},
		},
		"a lost agent speaks before the inventory knows": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"its link and its check are gone", list(dead(machine(ok))), "passing by link"},
			{"long enough", wait(40 * time.Second), "unknown by catalog, agent lost"},
			{"it speaks", fullOf(passing), "passing by link"},
		},
		"a lost agent's check is deleted": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"its link and its check are gone", list(dead(machine(ok))), "critical by link"},
			{"long enough", wait(40 * time.Second), "unknown by catalog, agent lost"},
			{"which the inventory shows as passing", list(unlinked(machine(ok))), "unknown by catalog, agent lost"},
			{"a word of the agent", list(with(unlinked(machine(ok)), cc(mesh.AgentCheck, passing, "alive"))), "passing by catalog"},
		},
		"the machine is off": {
			{"listed", list(machine(bad)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"gossip loses it; the link does not know yet, and Consul shows what was", list(with(machine(ok), serfDown)), "critical by link"},
			{"much later", wait(80 * time.Second), "critical by link"},
			{"the link notices", list(unlinked(with(machine(ok), serfDown))), "critical by link"},
			{"lost", wait(40 * time.Second), "unknown by catalog, agent lost"},
		},
		"Consul is away": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"away", func(_ *testing.T, r *rig, _ *speaker) { r.consulAway(11 * time.Second); pass(2 * time.Second) }, "critical by link"},
			{"and the link too", list(dead(machine(ok))), "critical by link"},
			{"for an hour", wait(time.Hour), "critical by link"},
			{"it is back with what was", func(_ *testing.T, r *rig, _ *speaker) { r.consulAway(0); pass(2 * time.Second) }, "critical by link"},
			{"and the link is back", list(machine(ok)), "critical by link"},
			{"with a word", fullOf(passing), "passing by link"},
		},
		"the server starts, the agent is dead": {
			{"listed", list(with(dead(machine()), cc("web", critical, expired))), "nothing"},
			{"waits for the agent", wait(20 * time.Second), "nothing"},
			{"long enough", wait(time.Minute), "unknown by catalog, agent lost"},
		},
		"a check of the catalog alone": {
			{"listed", list(machine(bad)), "nothing"},
			{"the agent does not know it", func(t *testing.T, r *rig, s *speaker) { s.full(t, r, nil) }, "nothing"},
			{"it may be about to", wait(40 * time.Second), "nothing"},
			{"it is not", wait(10 * time.Second), "critical by catalog"},
			{"TTL expired means what it says", list(machine(cc("web", critical, expired))), "critical by catalog"},
			{"no more", list(machine()), "nothing"},
		},
		"a node without agent": {
			{"listed", list(mesh.Node{Name: web, DC: dc, Checks: []mesh.Check{bad}}), "critical by catalog"},
			{"TTL expired means what it says", list(mesh.Node{Name: web, DC: dc, Checks: []mesh.Check{cc("web", critical, expired)}}), "critical by catalog"},
			{"unknown as the catalog spells it", list(mesh.Node{Name: web, DC: dc, Checks: []mesh.Check{cc("web", warning, mesh.UnknownOutput+"x")}}), "unknown by catalog"},
		},
		"an agent registers before it is known": {
			{"listed as registered", list(mesh.Node{Name: web, DC: dc, Checks: []mesh.Check{cc("web", critical, "")}}), "nothing"},
			{"known, and it has not run yet", list(machine(cc("web", critical, ""))), "nothing"},
			{"the time without an agent", wait(11 * time.Second), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
		},
		"registered by our agent, and never run": {
			{"known, and it has not run yet", list(machine(cc("web", critical, ""))), "nothing"},
			{"for a long time", wait(2 * time.Minute), "unknown by catalog"},
			{"first report", fullOf(passing), "passing by link"},
		},
		"registered without agent, and never run": {
			{"listed", list(mesh.Node{Name: web, DC: dc, Checks: []mesh.Check{cc("web", critical, "")}}), "nothing"},
			{"long enough", wait(11 * time.Second), "critical by catalog"},
		},
		"an agent of another datacenter's servers": {
			{"listed", list(mesh.Node{Name: web, DC: dc, Status: mesh.MemberAlive, Checks: []mesh.Check{cc(mesh.AgentCheck, passing, ""), ok}}), "passing by catalog"},
			{"its agent dies", list(mesh.Node{Name: web, DC: dc, Status: mesh.MemberAlive, Checks: []mesh.Check{cc(mesh.AgentCheck, critical, expired), ok}}), "passing by catalog"},
			{"TTL expired", list(mesh.Node{Name: web, DC: dc, Status: mesh.MemberAlive, Checks: []mesh.Check{cc(mesh.AgentCheck, critical, expired), cc("web", critical, expired)}}), "passing by catalog"},
			{"lost", wait(31 * time.Second), "unknown by catalog, agent lost"},
		},
		"a check is no more": {
			{"listed", list(machine(bad)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"gone", func(t *testing.T, r *rig, s *speaker) { s.reports(t, r, mesh.CheckReport{Gone: []string{"web"}}) }, "nothing"},
			{"the catalog lists it for a while, as passing", list(machine(ok)), "nothing"},
			{"for minutes", wait(5 * time.Minute), "nothing"},
			{"it is defined again", says(warning), "warning by link"},
		},
		"a full report lacks it": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"time goes by", wait(10 * time.Second), "passing by link"},
			{"another", func(t *testing.T, r *rig, s *speaker) { s.full(t, r, map[string]mesh.Health{"other": passing}) }, "passing by link"},
			{"it is not run again", wait(60 * time.Second), "nothing"},
		},
		"an agent starts again, and has not run its checks yet": {
			{"listed", list(machine(bad)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"another run", func(t *testing.T, r *rig, s *speaker) {
				s.boot, s.seq = "0000000200000000", make(map[string]uint64)
				s.full(t, r, nil)
			}, "critical by link"},
			{"in a moment", wait(20 * time.Second), "critical by link"},
			{"it has run", says(passing), "passing by link"},
			{"and stays", wait(30 * time.Second), "passing by link"},
		},
		"a full report comes in two": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"time goes by", wait(10 * time.Second), "passing by link"},
			{"another", func(t *testing.T, r *rig, s *speaker) { s.full(t, r, map[string]mesh.Health{"other": passing}) }, "passing by link"},
			{"its second part", says(passing), "passing by link"},
			{"later", wait(60 * time.Second), "passing by catalog"},
		},
		"the node leaves": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"left, and the agent is still there", func(_ *testing.T, r *rig, _ *speaker) {
				n := machine(ok)
				n.Status = mesh.MemberLeft
				r.list(n)
			}, "passing by link"},
			{"gone as well", func(_ *testing.T, r *rig, _ *speaker) {
				n := dead(machine(ok))
				n.Status = mesh.MemberLeft
				r.list(n)
				pass(6 * time.Second)
			}, "nothing"},
		},
		"the node is listed no more": {
			{"listed", list(machine(ok)), "nothing"},
			{"first report", fullOf(critical), "critical by link"},
			{"not listed", func(_ *testing.T, r *rig, _ *speaker) { r.list(mesh.Node{Name: "other", DC: dc}) }, "critical by link"},
			{"for long", wait(70 * time.Second), "nothing"},
			{"listed again, with a living agent", list(machine(ok)), "passing by catalog"},
			{"it speaks", fullOf(passing), "passing by link"},
		},
		"the agent is revoked": {
			{"listed", list(machine(bad)), "nothing"},
			{"first report", fullOf(passing), "passing by link"},
			{"revoked", func(_ *testing.T, r *rig, _ *speaker) {
				n := machine(bad)
				n.Agent = mesh.AgentRevoked
				r.list(n)
			}, "critical by catalog"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := start(t), speak(webID)
				for _, st := range steps {
					st.do(t, r, s)
					if got := r.is(web, "web"); got != st.want {
						t.Fatalf("%s: %s, want %s", st.what, got, st.want)
					}
				}
			})
		})
	}
}

func TestAgentCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t), speak(webID)
		r.list(machine())
		s.full(t, r, map[string]mesh.Health{"a": passing, "b": critical})
		r.told()
		r.list(dead(machine()))
		pass(35 * time.Second)
		want := []string{
			"a unknown by catalog, agent lost",
			"alps-agent critical by catalog",
			"b unknown by catalog, agent lost",
		}
		if d := cmp.Diff(want, r.told()); d != "" {
			t.Errorf("what is told of a lost agent (-want +got):\n%s", d)
		}
		off := with(dead(machine()), cc(mesh.SerfCheck, critical, "unreachable"))
		off.Status = mesh.MemberFailed
		r.list(off)
		want = []string{"alps-agent unknown by catalog, agent lost", "serfHealth critical by catalog"}
		if d := cmp.Diff(want, r.told()); d != "" {
			t.Errorf("what is told when gossip loses the node, too (-want +got):\n%s", d)
		}
	})
}

func TestOrderOfResults(t *testing.T) {
	const older, newer = "0000000100000000", "0000000200000000"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	result := func(seq uint64, h mesh.Health, after time.Duration) mesh.CheckReport {
		return mesh.CheckReport{Results: []mesh.CheckResult{{
			Check: "web", Seq: seq, Status: h, Hard: h, At: at.Add(after), Period: time.Minute,
		}}}
	}
	type said struct {
		boot string
		mesh.CheckReport
	}
	for name, tc := range map[string]struct {
		said []said
		want string
	}{
		"an older number of one run": {[]said{{older, result(2, critical, 2)}, {older, result(1, passing, 1)}}, "critical by link"},
		"a later number of one run":  {[]said{{older, result(1, critical, 1)}, {older, result(9, passing, 2)}}, "passing by link"},
		"a later run begins anew":    {[]said{{older, result(9, critical, 1)}, {newer, result(1, passing, 2)}}, "passing by link"},
		"a later run, its clock was set back": {
			[]said{{older, result(9, critical, 5)}, {newer, result(1, passing, 2)}}, "passing by link",
		},
		"what is left of an earlier run": {[]said{{newer, result(1, critical, 2)}, {older, result(9, passing, 1)}}, "critical by link"},
		"a later run that lost its spool": {
			[]said{{newer, result(9, critical, 1)}, {older, result(1, passing, 2)}}, "passing by link",
		},
		"an earlier run says gone": {
			[]said{{newer, result(1, critical, 2)}, {older, mesh.CheckReport{Gone: []string{"web"}}}}, "critical by link",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t)
				r.list(machine())
				for _, s := range tc.said {
					for range 2 { // the link may bring it twice.
						if err := r.Commit(t.Context(), webID, s.boot, []mesh.CheckReport{s.CheckReport}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := r.is(web, "web"); got != tc.want {
					t.Errorf("it is %s, want %s", got, tc.want)
				}
			})
		})
	}
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t), speak(webID)
		r.list(machine())
		s.full(t, r, nil)
		r.told()
		flapping := s.result("web", critical)
		flapping.Flapping = true
		soft := s.result("web", critical)
		soft.Hard = passing
		s.reports(t, r,
			mesh.CheckReport{Results: []mesh.CheckResult{flapping}},
			mesh.CheckReport{Results: []mesh.CheckResult{s.result("web", passing)}},
			mesh.CheckReport{Results: []mesh.CheckResult{s.result("web", passing)}},
			mesh.CheckReport{Gone: []string{"web"}},
		)
		want := []string{"web critical by link, flapping", "web passing by link", "web gone"}
		if d := cmp.Diff(want, r.told()); d != "" {
			t.Errorf("told inside Commit (-want +got):\n%s", d)
		}
		soft.Seq = 100
		s.reports(t, r, mesh.CheckReport{Results: []mesh.CheckResult{soft}})
		if got, _ := r.Get(dc, web, "web"); got.Status != passing || got.Result.Status != critical {
			t.Errorf("a soft result: %+v, want hard passing and raw critical", got)
		}
	})
}

func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t), speak(webID)
		r.list(machine())
		began := time.Now().Add(-time.Hour)
		res := s.result("web", critical)
		res.HardSince = began
		s.reports(t, r, mesh.CheckReport{Full: true, Results: []mesh.CheckResult{res}})
		pass(10 * time.Second)
		again := s.result("web", critical)
		again.HardSince = time.Now() // the agent was started again.
		s.reports(t, r, mesh.CheckReport{Results: []mesh.CheckResult{again}})
		if got, _ := r.Get(dc, web, "web"); !got.Since.Equal(began) {
			t.Errorf("since %v, want %v: the status did not change", got.Since, began)
		}
		future := s.result("web", passing)
		future.HardSince = time.Now().Add(time.Hour)
		s.reports(t, r, mesh.CheckReport{Results: []mesh.CheckResult{future}})
		if got, _ := r.Get(dc, web, "web"); !got.Since.Equal(time.Now()) {
			t.Errorf("since %v by a clock that is ahead, want now, %v", got.Since, time.Now())
		}
	})
}

func TestConsulBackWithTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		ids := "bcdef"
		fleet := func() []mesh.Node {
			var nodes []mesh.Node
			for _, d := range ids {
				n := machine(cc("native", critical, "x"))
				n.ID, n.Name = nodeID(string(d)), mesh.NodeName("n-"+string(d))
				nodes = append(nodes, n)
			}
			return nodes
		}
		r.list(fleet()...)
		for _, d := range ids {
			speak(nodeID(string(d))).full(t, r, map[string]mesh.Health{"web": passing})
		}
		pass(30 * time.Second)
		r.told()
		r.consulAway(11 * time.Second)
		pass(time.Hour)
		r.consulAway(0)
		r.list(fleet()...)
		pass(4 * time.Second)
		if got := r.told(); len(got) > 0 {
			t.Errorf("Consul was away and is back with what it had; told: %v", got)
		}
	})
}

func TestRefusesWhatIsOverTheLimits(t *testing.T) {
	many := func(n int, prefix string) (out []mesh.CheckResult) {
		for i := range n {
			out = append(out, mesh.CheckResult{Check: prefix + strings.Repeat("x", i%200) + string(rune('a'+i/200)), Seq: 1})
		}
		return out
	}
	one := func(r mesh.CheckResult) []mesh.CheckReport {
		return []mesh.CheckReport{{Results: []mesh.CheckResult{r}}}
	}
	for name, reports := range map[string][]mesh.CheckReport{
		"no id":                   one(mesh.CheckResult{}),
		"a long id":               one(mesh.CheckResult{Check: strings.Repeat("x", 300)}),
		"a control character":     one(mesh.CheckResult{Check: "a\nb"}),
		"no UTF-8":                one(mesh.CheckResult{Check: "a\xff"}),
		"no status":               one(mesh.CheckResult{Check: "a", Status: "fine"}),
		"no hard status":          one(mesh.CheckResult{Check: "a", Hard: "fine"}),
		"a long name":             one(mesh.CheckResult{Check: "a", Name: strings.Repeat("x", 5000)}),
		"samples":                 one(mesh.CheckResult{Check: "a", Samples: make([]mesh.Sample, 1000)}),
		"disks":                   one(mesh.CheckResult{Check: "a", Disks: make([]string, 1000)}),
		"a disk without a name":   one(mesh.CheckResult{Check: "a", Disks: []string{""}}),
		"a disk twice":            one(mesh.CheckResult{Check: "a", Disks: []string{"sdb1", "sdb1"}}),
		"disks out of order":      one(mesh.CheckResult{Check: "a", Disks: []string{"sdc1", "sdb1"}}),
		"a disk's long name":      one(mesh.CheckResult{Check: "a", Disks: []string{strings.Repeat("x", 300)}}),
		"a disk that hides":       one(mesh.CheckResult{Check: "a", Disks: []string{"sdb\x1b[1"}}),
		"a bad id that is gone":   {{Gone: []string{""}}},
		"checks in one report":    {{Results: many(check.MaxChecks+1, "")}},
		"checks in several":       {{Results: many(1500, "a")}, {Results: many(1500, "b")}},
		"gone in one report":      {{Gone: make([]string, check.MaxChecks+1)}},
		"good and bad in a batch": {{Results: many(1, "")}, {Results: []mesh.CheckResult{{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t)
				r.list(machine())
				err := r.Commit(t.Context(), webID, "1", reports)
				if got := mesh.CodeOf(err); got != mesh.Invalid {
					t.Errorf("Commit = %v, want code %s", err, mesh.Invalid)
				}
				if got := len(r.Node(dc, web)); got > 2 {
					t.Errorf("there are %d states, want the node's own two: none of it is taken", got)
				}
			})
		})
	}
	t.Run("what a full report replaces does not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t)
			r.list(machine())
			for _, p := range []string{"a", "b"} {
				if err := r.Commit(t.Context(), webID, p, []mesh.CheckReport{{Full: true, Results: many(1500, p)}}); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// TestDisks sees that another disk is news, and that disks stand while the
// catalog says what the agent has said, and no longer.
func TestDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t), speak(webID)
		bad := cc("disk", critical, "it is broken")
		r.list(machine(bad))
		say := func(disks ...string) {
			t.Helper()
			res := s.result("disk", critical)
			res.Output, res.Disks = bad.Output, disks
			s.reports(t, r, mesh.CheckReport{Full: true, Results: []mesh.CheckResult{res}})
		}
		want := func(disks ...string) {
			t.Helper()
			got, _ := r.Get(dc, web, "disk")
			if diff := cmp.Diff(disks, got.Result.Disks); diff != "" {
				t.Errorf("disks, %s (-want +got):\n%s", brief(got), diff)
			}
		}
		say("sdb1")
		r.told()
		say("sdb1")
		if got := r.told(); len(got) > 0 {
			t.Errorf("told of the same: %v", got)
		}
		say("sdb1", "sdc1")
		if diff := cmp.Diff([]string{"disk critical by link"}, r.told()); diff != "" {
			t.Errorf("told of another disk (-want +got):\n%s", diff)
		}
		want("sdb1", "sdc1")

		silent := machine(bad)
		silent.Agent = mesh.AgentLost
		r.list(silent)
		pass(5 * time.Minute)
		if got := r.is(web, "disk"); got != "critical by catalog" {
			t.Fatalf("it is %s", got)
		}
		want("sdb1", "sdc1")
		r.list(with(silent, cc("disk", critical, "it does not answer")))
		pass(time.Minute)
		want()
	})
}

func TestOutputIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := start(t), speak(webID)
		r.list(machine())
		res := s.result("web", passing)
		res.Output = strings.Repeat("é", mesh.MaxCheckOutput)
		s.reports(t, r, mesh.CheckReport{Results: []mesh.CheckResult{res}})
		got, _ := r.Get(dc, web, "web")
		if len(got.Result.Output) > mesh.MaxCheckOutput || !got.Result.Truncated {
			t.Errorf("%d bytes are kept, truncated %v; want at most %d, true", len(got.Result.Output), got.Result.Truncated, mesh.MaxCheckOutput)
		}
	})
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		var nodes []mesh.Node
		for _, name := range []mesh.NodeName{"n-b", "n-a", "n-c"} {
			nodes = append(nodes, mesh.Node{Name: name, DC: dc, Checks: []mesh.Check{cc("x/1", passing, ""), cc("x/2", critical, "bad")}})
		}
		nodes = append(nodes, mesh.Node{Name: "n-a", DC: "aa", Checks: []mesh.Check{cc("x/1", warning, "")}})
		r.list(nodes...)
		var got []string
		f := check.Filter{Limit: 2}
		for {
			l := r.List(f)
			if l.Total != 7 {
				t.Fatalf("total %d, want 7", l.Total)
			}
			for _, s := range l.Checks {
				got = append(got, key(s.DC, s.Node, s.Result.Check))
			}
			if l.Next == "" {
				break
			}
			f.After = l.Next
		}
		want := []string{
			"aa/n-a/x/1", "bj-e-01/n-a/x/1", "bj-e-01/n-a/x/2", "bj-e-01/n-b/x/1", "bj-e-01/n-b/x/2", "bj-e-01/n-c/x/1", "bj-e-01/n-c/x/2",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("pages (-want +got):\n%s", d)
		}
		var each []string
		r.Each(func(s mesh.CheckState) bool { each = append(each, key(s.DC, s.Node, s.Result.Check)); return true })
		if d := cmp.Diff(want, each); d != "" {
			t.Errorf("Each (-want +got):\n%s", d)
		}
		only := r.List(check.Filter{
			Status: critical, Match: func(_ string, n mesh.NodeName) bool { return n == "n-c" }, Check: "x/2",
		})
		if only.Total != 1 || only.Checks[0].Node != "n-c" || only.Next != "" {
			t.Errorf("filtered: %+v, want x/2 of n-c alone", only)
		}
	})
}

func TestCallbacksMayRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := &inventory{nodes: []mesh.Node{machine()}}
		var (
			s    *check.Store
			seen []mesh.Health
		)
		s, err := check.New(check.Options{Inventory: inv, OnChange: func(st mesh.CheckState) {
			if got, ok := s.Get(st.DC, st.Node, st.Result.Check); ok && st.Result.Check == "web" {
				seen = append(seen, got.Status)
			}
			s.List(check.Filter{})
		}})
		if err != nil {
			t.Fatal(err)
		}
		go s.Run(t.Context()) //nolint:errcheck // it returns nil.
		synctest.Wait()
		if err := s.Commit(t.Context(), webID, "1", []mesh.CheckReport{{Results: []mesh.CheckResult{{Check: "web", Seq: 1, Hard: warning}}}}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]mesh.Health{warning}, seen); d != "" {
			t.Errorf("a callback reads (-want +got):\n%s", d)
		}
	})
}
