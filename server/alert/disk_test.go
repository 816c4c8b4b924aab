package alert_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/alert"
)

// Two rules about two checks of a node that see its disks.
var (
	volumesBad  = mesh.Rule{Name: "volumes-bad", Check: "volumes", Severity: "warning", Notify: []string{"ops"}}
	datanodeBad = mesh.Rule{Name: "datanode-bad", Check: "datanode", Status: []mesh.Health{warning, critical}, Severity: "warning", Notify: []string{"ops", "boss"}}
)

// disks is a hard result that names disks.
func disks(check string, h mesh.Health, names ...string) mesh.CheckState {
	s := state("n1", check, h)
	s.Result.Disks = mesh.Disks(names)
	return s
}

// says sets a check a second later.
func (r *rig) says(check string, h mesh.Health, names ...string) {
	pass(time.Second)
	r.set(disks(check, h, names...))
}

// of returns the newest incident of a rule.
func (r *rig) of(rule string) mesh.Incident {
	r.t.Helper()
	for _, i := range r.incidents() {
		if i.Rule == rule {
			return i
		}
	}
	r.t.Fatalf("rule %s has no incident", rule)
	return mesh.Incident{}
}

// open returns the rules of the incidents that are open, sorted.
func (r *rig) open() []string {
	r.t.Helper()
	var out []string
	for _, i := range r.incidents() {
		if i.Status != mesh.IncidentClosed {
			out = append(out, i.Rule)
		}
	}
	slices.Sort(out)
	return out
}

func wantOpen(t *testing.T, r *rig, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.open()); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
}

// joins returns the lines that tell of another problem.
func joins(i mesh.Incident) []string {
	var out []string
	for _, l := range i.Timeline {
		if strings.Contains(l.Text, "of the same disk") {
			out = append(out, string(l.Kind)+" "+l.Data["rule"]+": "+l.Text)
		}
	}
	return out
}

func TestOneDiskIsOneIncident(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says("volumes", critical, "sdb1")
		r.says("datanode", warning, "sdb1")
		i := r.only(mesh.IncidentOpen)
		if diff := cmp.Diff([]string{"sdb1"}, i.Disks); diff != "" {
			t.Errorf("disks (-want +got):\n%s", diff)
		}
		line := "check datanode-bad: datanode is warning, of the same disk sdb1: datanode warning"
		for range 3 { // it is said once, also after it has come and gone.
			r.says("datanode", passing)
			r.says("datanode", warning, "sdb1")
			pass(time.Minute)
		}
		if diff := cmp.Diff([]string{line}, joins(r.only(mesh.IncidentOpen))); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		// ops knows already; boss, of the second rule alone, is told once.
		wantTold(t, r, "firing ops", "firing boss")
		d := r.store.Deliveries()[1]
		if d.Incident.ID != i.ID || d.Text != "datanode is warning, of the same disk sdb1: datanode warning" {
			t.Errorf("boss is told of %s: %q", d.Incident.ID, d.Text)
		}
		r.says("datanode", passing)
		r.says("volumes", passing)
		r.only(mesh.IncidentClosed)
		wantTold(t, r, "firing ops", "firing boss", "resolved ops", "resolved boss")
	}, volumesBad, datanodeBad)
}

func TestWhatIsOneDisk(t *testing.T) {
	other := func(s mesh.CheckState) mesh.CheckState { s.Node = "n2"; return s }
	far := func(s mesh.CheckState) mesh.CheckState { s.DC = "bj-w-02"; return s }
	for name, tt := range map[string]struct {
		first, second mesh.CheckState
		want          []string
	}{
		"the same":             {disks("volumes", critical, "sdb1"), disks("datanode", warning, "sdb1"), []string{"volumes-bad"}},
		"one of two":           {disks("volumes", critical, "sdb1", "sdc1"), disks("datanode", warning, "sdc1"), []string{"volumes-bad"}},
		"one more":             {disks("volumes", critical, "sdb1"), disks("datanode", warning, "sdb1", "sdc1"), []string{"volumes-bad"}},
		"another disk":         {disks("volumes", critical, "sdb1"), disks("datanode", warning, "sdc1"), []string{"datanode-bad", "volumes-bad"}},
		"a disk and none":      {disks("volumes", critical, "sdb1"), disks("datanode", warning), []string{"datanode-bad", "volumes-bad"}},
		"none at all":          {disks("volumes", critical), disks("datanode", warning), []string{"datanode-bad", "volumes-bad"}},
		"on another node":      {disks("volumes", critical, "sdb1"), other(disks("datanode", warning, "sdb1")), []string{"datanode-bad", "volumes-bad"}},
		"in another place":     {disks("volumes", critical, "sdb1"), far(disks("datanode", warning, "sdb1")), []string{"datanode-bad", "volumes-bad"}},
		"what is not bad":      {disks("volumes", warning, "sdb1"), disks("datanode", warning, "sdb1"), []string{"datanode-bad"}},
		"the other way around": {disks("datanode", warning, "sdb1"), disks("volumes", critical, "sdb1"), []string{"datanode-bad"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.set(tt.first)
				pass(time.Second)
				s := tt.second
				now := time.Now()
				s.Received, s.Since, s.Result.At, s.Result.HardSince = now, now, now, now
				r.set(s)
				pass(time.Minute)
				wantOpen(t, r, tt.want...)
			}, volumesBad, datanodeBad)
		})
	}
}

func TestAnAckedIncidentIsJoined(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says("volumes", critical, "sdb1")
		if _, err := r.engine.Ack(t.Context(), r.only(mesh.IncidentOpen).ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		r.says("datanode", warning, "sdb1")
		if i := r.only(mesh.IncidentAcked); len(joins(i)) != 1 {
			t.Errorf("lines: %v", joins(i))
		}
		wantTold(t, r, "firing ops", "firing boss")
	}, volumesBad, datanodeBad)
}

// TestInOneTurn has both problems open at once: when all is read, when their
// time has come, and for two rules about one check.
func TestInOneTurn(t *testing.T) {
	slow := func(rule mesh.Rule) mesh.Rule { rule.For += 10 * time.Second; return rule }
	anything := mesh.Rule{Name: "anything", Check: "*", Notify: []string{"boss"}}
	for name, tt := range map[string]struct {
		rules []mesh.Rule
		held  time.Duration // for which volumes was bad, and datanode 15 s.
		first string
		lines int
	}{
		"read at once":              {[]mesh.Rule{volumesBad, datanodeBad}, 15 * time.Second, "datanode-bad", 1},
		"the one that is bad first": {[]mesh.Rule{volumesBad, datanodeBad}, 20 * time.Second, "volumes-bad", 1},
		"the one that waits less":   {[]mesh.Rule{volumesBad, slow(datanodeBad)}, 12 * time.Second, "volumes-bad", 1},
		"as their time has come":    {[]mesh.Rule{slow(slow(volumesBad)), slow(slow(datanodeBad))}, 15 * time.Second, "datanode-bad", 1},
		"two rules for one check":   {[]mesh.Rule{anything, volumesBad}, 15 * time.Second, "anything", 2},
		"a rule for any is last":    {[]mesh.Rule{anything, datanodeBad}, 15 * time.Second, "datanode-bad", 2},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // whatever the order of a map is.
				bubble(t, func(r *rig) {
					datanode, volumes := disks("datanode", critical, "sdb1"), disks("volumes", critical, "sdb1")
					datanode.Result.HardSince = datanode.Result.HardSince.Add(-15 * time.Second)
					volumes.Result.HardSince = volumes.Result.HardSince.Add(-tt.held)
					r.checks.states[[2]string{"n1", "datanode"}] = datanode
					r.checks.states[[2]string{"n1", "volumes"}] = volumes
					r.rules(tt.rules...)
					pass(time.Minute)
					i := r.only(mesh.IncidentOpen)
					if i.Rule != tt.first || len(joins(i)) != tt.lines {
						t.Errorf("rule %s has the incident, want %s; joined: %v", i.Rule, tt.first, joins(i))
					}
				})
			}
		})
	}
}

func TestWhatJoinedOpensWhenTheOtherCloses(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *rig){
		"by recovery": func(_ *testing.T, r *rig) { r.says("volumes", passing) },
		"by hand": func(t *testing.T, r *rig) {
			t.Helper()
			if _, err := r.engine.Close(t.Context(), r.of("volumes-bad").ID, "ann", "enough"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		},
		"as its rule is gone": func(_ *testing.T, r *rig) { r.rules(datanodeBad); synctest.Wait() },
		"as its check is gone": func(_ *testing.T, r *rig) {
			r.checks.mu.Lock()
			delete(r.checks.states, [2]string{"n1", "volumes"})
			r.checks.mu.Unlock()
			r.engine.Gone(dc, "n1", "volumes")
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.says("volumes", critical, "sdb1")
				r.says("datanode", warning, "sdb1")
				pass(time.Minute)
				wantOpen(t, r, "volumes-bad")
				r.web(critical) // of nobody's interest.
				end(t, r)
				pass(10 * time.Millisecond) // long before all is read anyway.
				wantOpen(t, r, "datanode-bad")
				if i := r.of("datanode-bad"); len(i.Disks) != 1 || i.Reopened != 0 {
					t.Errorf("got %+v", i)
				}
				told := r.told()
				slices.Sort(told)
				want := []string{"firing boss", "firing boss", "firing ops", "firing ops", "resolved boss", "resolved ops"}
				if diff := cmp.Diff(want, told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			}, volumesBad, datanodeBad)
		})
	}
	t.Run("not what has recovered", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.says("volumes", critical, "sdb1")
			r.says("datanode", warning, "sdb1")
			r.says("datanode", passing)
			r.says("volumes", passing)
			pass(time.Minute)
			r.only(mesh.IncidentClosed)
		}, volumesBad, datanodeBad)
	})
}

// TestWhatJoinedSaysItAnew has the disk mended: what was said of it before by
// another check, which is asked seldom, is not believed for longer than until
// that is asked again.
func TestWhatJoinedSaysItAnew(t *testing.T) {
	const period = 30 * time.Second
	for name, tt := range map[string]struct {
		then  mesh.Health // ten seconds later; "": nothing.
		early []string
		late  []string
	}{
		"it is well":       {passing, nil, nil},
		"it is bad still":  {warning, []string{"datanode-bad"}, []string{"datanode-bad"}},
		"nothing is heard": {"", nil, []string{"datanode-bad"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				seldom := func(h mesh.Health) {
					s := disks("datanode", h, "sdb1")
					s.Result.Period = period
					r.set(s)
				}
				r.says("volumes", critical, "sdb1")
				pass(time.Second)
				seldom(warning)
				r.says("volumes", passing)
				pass(10 * time.Second)
				wantOpen(t, r)
				if tt.then != "" {
					seldom(tt.then)
				}
				pass(10 * time.Second)
				wantOpen(t, r, tt.early...)
				pass(11 * time.Second)
				wantOpen(t, r, tt.late...)
			}, volumesBad, datanodeBad)
		})
	}
}

// TestWhatWouldReopenJoins has a problem come back while another incident of
// the disk is open, by itself and by hand.
func TestWhatWouldReopenJoins(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says("datanode", warning, "sdb1")
		r.says("datanode", passing)
		r.says("volumes", critical, "sdb1")
		r.says("datanode", warning, "sdb1")
		wantOpen(t, r, "volumes-bad")
		i := r.of("datanode-bad")
		if i.Reopened != 0 || len(joins(r.of("volumes-bad"))) != 1 {
			t.Errorf("reopened %d times, joined: %v", i.Reopened, joins(r.of("volumes-bad")))
		}
		_, err := r.engine.Reopen(t.Context(), i.ID, "ann", "look")
		want := "open incident " + string(i.ID) + " again: its disk sdb1 is incident " + string(r.of("volumes-bad").ID) + " now"
		if mesh.CodeOf(err) != mesh.Conflict || err.Error() != want {
			t.Errorf("reopen by hand: %v, want %s", err, want)
		}
		r.says("volumes", passing)
		pass(time.Second)
		if i := r.of("datanode-bad"); i.Status != mesh.IncidentOpen || i.Reopened != 1 {
			t.Errorf("it is %s, reopened %d times", i.Status, i.Reopened)
		}
		r.says("volumes", critical, "sdb1")
		wantOpen(t, r, "datanode-bad")
	}, volumesBad, datanodeBad)
}

// TestJoinsAnew has an incident open again: what joined it before is told again.
func TestJoinsAnew(t *testing.T) {
	bubble(t, func(r *rig) {
		for range 2 {
			r.says("volumes", critical, "sdb1")
			r.says("datanode", warning, "sdb1")
			r.says("datanode", passing)
			r.says("volumes", passing)
		}
		if i := r.only(mesh.IncidentClosed); i.Reopened != 1 || len(joins(i)) != 2 {
			t.Errorf("reopened %d times, joined: %v", i.Reopened, joins(i))
		}
		once := []string{"firing ops", "firing boss", "resolved ops", "resolved boss"}
		wantTold(t, r, slices.Concat(once, once)...)
	}, volumesBad, datanodeBad)
}

// TestTwoThatAreOpenStayTwo has an open incident begin to name the disk of
// another.
func TestTwoThatAreOpenStayTwo(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says("datanode", critical)
		r.says("volumes", critical, "sdb1")
		r.says("datanode", warning, "sdb1")
		pass(time.Minute)
		wantOpen(t, r, "datanode-bad", "volumes-bad")
		i := r.of("datanode-bad")
		if diff := cmp.Diff([]string{"sdb1"}, i.Disks); diff != "" || i.Timeline[len(i.Timeline)-1].Text != "it is about the disk sdb1 too" {
			t.Errorf("disks (-want +got):\n%s\n%+v", diff, i.Timeline)
		}
		if n := len(joins(i)) + len(joins(r.of("volumes-bad"))); n != 0 {
			t.Errorf("%d lines of a problem that joins, want none", n)
		}
	}, volumesBad, datanodeBad)
}

// TestDisksOfAnIncident follows those of its check.
func TestDisksOfAnIncident(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, step := range []struct {
			h          mesh.Health
			says, want []string
		}{
			{critical, []string{"sdb1"}, []string{"sdb1"}},
			{critical, []string{"sdb1", "sdc1"}, []string{"sdb1", "sdc1"}},
			{critical, nil, []string{"sdb1", "sdc1"}},             // it does not say.
			{unknown, []string{"sdx1"}, []string{"sdb1", "sdc1"}}, // nothing can be said.
			{critical, []string{"sdc1"}, []string{"sdc1"}},
			{passing, nil, []string{"sdc1"}}, // what it was about.
		} {
			r.says("volumes", step.h, step.says...)
			if diff := cmp.Diff(step.want, r.of("volumes-bad").Disks); diff != "" {
				t.Errorf("after %s of %v (-want +got):\n%s", step.h, step.says, diff)
			}
		}
		r.says("volumes", critical, "sdd1")
		if i := r.of("volumes-bad"); i.Reopened != 1 || !slices.Equal(i.Disks, []string{"sdd1"}) {
			t.Errorf("opened again: %+v", i)
		}
	}, volumesBad, datanodeBad)
}

// TestTheOtherNamesTheDiskNoMore has the disk of the open incident mended while
// another one of it has failed.
func TestTheOtherNamesTheDiskNoMore(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says("volumes", critical, "sdb1")
		r.says("datanode", warning, "sdb1")
		r.says("volumes", critical, "sdc1")
		pass(time.Minute)
		wantOpen(t, r, "datanode-bad", "volumes-bad")
	}, volumesBad, datanodeBad)
}

func TestTheMoreSevereCounts(t *testing.T) {
	severe := datanodeBad
	severe.Severity, severe.Notify = "critical", []string{"boss"}
	info := mesh.Rule{Name: "info", Check: "kafka", Severity: "info"}
	bubble(t, func(r *rig) {
		r.says("volumes", critical, "sdb1")
		r.says("kafka", critical, "sdb1")
		if i := r.only(mesh.IncidentOpen); i.Severity != "warning" {
			t.Errorf("it is %s by one that is less severe", i.Severity)
		}
		r.says("datanode", warning, "sdb1")
		if i := r.only(mesh.IncidentOpen); i.Severity != "critical" || len(joins(i)) != 2 {
			t.Errorf("it is %s, joined: %v", i.Severity, joins(i))
		}
		wantTold(t, r, "firing ops", "firing boss")
		if d := r.store.Deliveries()[1]; d.Incident.Severity != "critical" {
			t.Errorf("boss is told of a %s", d.Incident.Severity)
		}
	}, volumesBad, severe, info)
}

// TestJoinsOverRestarts begins anew after every step, with what the store has.
func TestJoinsOverRestarts(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, s := range []mesh.CheckState{disks("volumes", critical, "sdb1"), disks("datanode", warning, "sdb1")} {
			r.set(s)
			for range 3 {
				pass(time.Minute)
				r.restart()
			}
		}
		if i := r.only(mesh.IncidentOpen); len(joins(i)) != 1 {
			t.Errorf("joined: %v", joins(i))
		}
		wantTold(t, r, "firing ops", "firing boss")
		// The one that covers closes, and the server ends before it looks again.
		r.stop()
		list, err := r.store.OpenIncidents(t.Context(), time.Now())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d are open, %v", len(list), err)
		}
		rec := list[0]
		rec.Status, rec.Closed, rec.ClosedBy = mesh.IncidentClosed, time.Now().UTC(), "alps"
		if err := r.store.SaveIncidents(t.Context(), 1, []alert.Change{{Record: rec}}); err != nil {
			t.Fatal(err)
		}
		r.checks.mu.Lock()
		r.checks.states[[2]string{"n1", "volumes"}] = disks("volumes", passing)
		r.checks.mu.Unlock()
		r.start(volumesBad, datanodeBad)
		pass(time.Second)
		wantOpen(t, r, "datanode-bad")
	}, volumesBad, datanodeBad)
}
