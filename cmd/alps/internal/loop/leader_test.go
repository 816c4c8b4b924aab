package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// TestLeader has two servers, and takes the leader away in every way and at
// every step of the loop.
func TestLeader(t *testing.T) {
	p := startPair(t)
	t.Run("the standby", p.standby)
	t.Run("a clean stop", p.cleanStop)
	for i, s := range steps() {
		t.Run("killed "+s.name, func(t *testing.T) { p.killedAt(t, s, loop.WebNodes()[i%3]) })
	}
	t.Run("frozen", p.frozen)
}

// standby is what a server does that does not lead: it answers everything by
// the one that does, and agents cannot come to it.
func (p *pair) standby(t *testing.T) {
	leads, waits := p.leader(t)
	if leads != p.Server() {
		t.Fatal("the server that was started first does not lead")
	}
	c := p.ClientOf(waits)
	list, err := c.Nodes(t.Context(), v1.NodeFilter{Query: "agent=linked"})
	if err != nil || list.Total != len(allNodes()) {
		t.Errorf("the standby lists %d linked nodes, %v; want %d", list.Total, err, len(allNodes()))
	}

	heard := make(chan v1.Event, 100)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range c.Events(ctx, []string{"job"}, "") {
			if err != nil {
				continue
			}
			select {
			case heard <- e:
			case <-ctx.Done():
			}
		}
	}()
	defer func() { stop(); <-done }()
	if e := <-heard; e.Type != v1.EventReset {
		t.Errorf("a stream begins with %+v", e)
	}
	sub, err := c.Submit(t.Context(), v1.JobRequest{Target: "all", Command: []string{"true"}})
	if err != nil || sub.Job == nil {
		t.Fatalf("submit to the standby: %+v, %v", sub, err)
	}
	loop.Await(t, "the job that the standby took has ended", func(ctx context.Context) error {
		j, err := c.Job(ctx, string(sub.Job.ID))
		if err == nil && (j.Ended.IsZero() || j.Counts[mesh.OK] != len(allNodes())) {
			err = fmt.Errorf("it has %v", j.Counts)
		}
		return err
	})
	select {
	case e := <-heard:
		if !strings.Contains(e.Topic, string(sub.Job.ID)) {
			t.Errorf("the standby's stream tells of %+v, want job %s", e, sub.Job.ID)
		}
	case <-time.After(loop.Patience):
		t.Error("the standby's stream tells nothing of the job")
	}

	if out, err := p.alps(t, waits, "node", "list"); err != nil || !strings.Contains(out, loop.WebThree) {
		t.Errorf("alps node list by the standby: %v\n%s", err, out)
	}
	p.onlyService(t, leads)
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.linkOf(waits)); err == nil {
		_ = conn.Close()
		t.Error("the standby listens for agents")
	}
}

// cleanStop hands over at once, and agents go to the server that leads then.
func (p *pair) cleanStop(t *testing.T) {
	leads, waits := p.leader(t)
	leads.Stop()
	now, _ := p.leader(t, leads)
	if now != waits {
		t.Fatal("nobody took over")
	}
	if err := p.AwaitLinked(t.Context(), allNodes()...); err != nil {
		t.Fatal(err)
	}
	p.onlyService(t, now)
	// An agent knows where it is, and nothing is wrong with it.
	out, err := p.alps(t, now, "doctor", "--config", p.Agent(loop.WebOne).ConfigPath())
	if err != nil || !strings.Contains(out, p.linkOf(now)) {
		t.Errorf("alps doctor after the change: %v\n%s", err, out)
	}
	p.restart(t, leads, now)
	if again, _ := p.leader(t); again != now {
		t.Error("a server that was started again took the lock away")
	}
}

// step is a moment of the loop at which the leader is killed.
type step struct {
	name string
	hold string // the control script waits, or does nothing; empty: it works.
	at   func(t *testing.T, p *pair, node string, starts int)
}

// steps are those of the loop, in order.
func steps() []step {
	run := func(states ...mesh.RemedyState) func(*testing.T, *pair, string, int) {
		return func(t *testing.T, p *pair, node string, _ int) {
			t.Helper()
			loop.Await(t, fmt.Sprintf("a run is %v", states), func(ctx context.Context) error {
				i, err := p.newest(ctx, node)
				if err != nil {
					return err
				}
				runs, err := p.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Incident: i.ID})
				if err == nil && !slices.ContainsFunc(runs, func(r mesh.RemedyRun) bool { return slices.Contains(states, r.State) }) {
					err = fmt.Errorf("runs are %+v", runs)
				}
				return err
			})
		}
	}
	return []step{
		{"right after the fault", "", func(*testing.T, *pair, string, int) {}},
		{"when the incident is open", "", func(t *testing.T, p *pair, node string, _ int) {
			t.Helper()
			loop.Await(t, "an incident is open", func(ctx context.Context) error {
				_, err := p.newest(ctx, node)
				return err
			})
		}},
		{"when the receiver was told", "", func(t *testing.T, p *pair, node string, _ int) {
			t.Helper()
			loop.Await(t, "a notice has come", func(context.Context) error {
				all := p.Hook.Notices()
				if len(all) == 0 || all[len(all)-1].Status != "firing" || all[len(all)-1].Node != node {
					return fmt.Errorf("%d have, none of it", len(all))
				}
				return nil
			})
		}},
		{"when the remedy is decided", "hold", run(mesh.RemedyDecided, mesh.RemedyRunning)},
		{"while the job runs", "hold", func(t *testing.T, p *pair, _ string, starts int) {
			t.Helper()
			loop.Await(t, "the script runs", func(context.Context) error {
				if p.starts(t) == starts {
					return errors.New("it was not started")
				}
				return nil
			})
		}},
		{"before it has seen whether it helped", "idle", run(mesh.RemedyVerifying)},
		{"after the recovery", "", func(t *testing.T, p *pair, node string, _ int) {
			t.Helper()
			loop.Await(t, "the incident is closed", func(ctx context.Context) error {
				i, err := p.newest(ctx, node)
				if err == nil && i.Status != mesh.IncidentClosed {
					err = fmt.Errorf("it is %s", i.Status)
				}
				return err
			})
		}},
	}
}

// before is what there was before a fault, so that what is new can be counted.
type before struct {
	at        time.Time
	incidents map[mesh.IncidentID]bool
	notices   int
	starts    int
}

func (p *pair) count(t *testing.T) before {
	t.Helper()
	b := before{at: time.Now(), incidents: map[mesh.IncidentID]bool{}, notices: len(p.Hook.Notices()), starts: p.starts(t)}
	for _, i := range p.Incidents(t, "web-down") {
		b.incidents[i.ID] = true
	}
	return b
}

// newest is the newest incident of a node that is not older than the moment at
// which its web was last killed.
func (p *pair) newest(ctx context.Context, node string) (mesh.Incident, error) {
	list, err := p.Client().Incidents(ctx, v1.IncidentFilter{Rule: "web-down", Limit: 1000})
	if err != nil {
		return mesh.Incident{}, err
	}
	killed, err := os.Stat(p.file("killed"))
	if err != nil {
		return mesh.Incident{}, err
	}
	for _, i := range list.Incidents {
		if string(i.Node) == node && !i.Opened.Before(killed.ModTime()) {
			return i, nil
		}
	}
	return mesh.Incident{}, errors.New("there is none")
}

// killedAt breaks web on a node, kills the leader at a step of what follows,
// and has the other server finish it.
func (p *pair) killedAt(t *testing.T, s step, node string) {
	leads, waits := p.leader(t)
	was := p.count(t)
	if s.hold != "" {
		p.write(t, s.hold, "")
		defer p.remove(t, s.hold)
	}
	p.kill(t, node)
	s.at(t, p, node, was.starts)
	leads.Kill()
	p.leaderless(t, leads, waits)
	p.leader(t, leads)
	if s.hold == "idle" { // the script did nothing: somebody else mends it.
		p.remove(t, s.hold)
		p.mend(t, node)
	} else if s.hold != "" {
		p.remove(t, s.hold)
	}
	p.finished(t, was, node)
	p.restart(t, leads, waits)
	p.onlyService(t, waits)
}

// leaderless is what a user sees until another server leads.
func (p *pair) leaderless(t *testing.T, dead, waits *dev.Process) {
	t.Helper()
	out, err := p.alps(t, waits, "node", "list")
	if who, e := p.Leader(t.Context()); e != nil || who != dead {
		return // it leads by now, and may have done so then.
	}
	if err == nil || !strings.Contains(out, "the server that leads does not answer") || !strings.Contains(out, "try: ") {
		t.Errorf("alps node list while nobody leads: %v\n%s", err, out)
	}
}

// finished waits for the end of the loop, and checks that nothing in it
// happened twice.
func (p *pair) finished(t *testing.T, was before, node string) {
	t.Helper()
	var closed mesh.Incident
	loop.Await(t, "the incident of "+node+" is closed", func(ctx context.Context) error {
		i, err := p.newest(ctx, node)
		if err != nil {
			return err
		}
		if closed, err = p.Client().Incident(ctx, string(i.ID)); err == nil && closed.Status != mesh.IncidentClosed {
			err = fmt.Errorf("it is %s: %s", closed.Status, loop.Story(closed))
		}
		return err
	})
	notices := func() map[string][]string { // deliveries by status.
		got := map[string][]string{}
		for _, n := range p.Hook.Notices()[was.notices:] {
			if n.Incident == string(closed.ID) && !slices.Contains(got[n.Status], n.Delivery) {
				got[n.Status] = append(got[n.Status], n.Delivery)
			}
		}
		return got
	}
	loop.Await(t, "the receiver knows that it is over", func(context.Context) error {
		if len(notices()["resolved"]) == 0 {
			return fmt.Errorf("it has heard %v", notices())
		}
		return nil
	})
	p.AwaitCheck(t, node, "web", mesh.HealthPassing)
	loop.Await(t, "no run of the policy is open", func(ctx context.Context) error {
		runs, err := p.acted(ctx, closed.ID)
		if err == nil && !slices.ContainsFunc(runs, func(r mesh.RemedyRun) bool { return r.State.Ended() }) {
			err = fmt.Errorf("runs are %+v", runs)
		}
		return err
	})
	p.once(t, was, closed, notices())
}

// once checks that nothing of an incident happened twice.
func (p *pair) once(t *testing.T, was before, closed mesh.Incident, notices map[string][]string) {
	t.Helper()
	for _, i := range p.Incidents(t, "") {
		if !was.incidents[i.ID] && i.ID != closed.ID && !i.Opened.Before(was.at) {
			t.Errorf("another incident: %+v", i)
		}
	}
	if a, b := notices["firing"], notices["resolved"]; len(notices) != 2 || len(a) != 1 || len(b) != 1 || a[0] == b[0] {
		t.Errorf("deliveries are %v, want one of each kind", notices)
	}
	if n := len(p.Hook.Notices()) - was.notices; n > 4 { // one more of each, where the kill came between sent and recorded.
		t.Errorf("%d notices came", n)
	}
	if n := p.starts(t) - was.starts; n != 1 {
		t.Errorf("the script was started %d times, want once", n)
	}
	runs, err := p.acted(t.Context(), closed.ID)
	if err != nil || len(runs) != 1 || runs[0].State != mesh.RemedySucceeded {
		t.Errorf("runs are %+v, %v; want one that succeeded", runs, err)
	}
	for _, k := range []mesh.IncidentEventKind{mesh.EventOpened, mesh.EventRecovered, mesh.EventClosed} {
		n := 0
		for _, got := range loop.Kinds(closed) {
			if got == k {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is told %d times, want once: %s", k, n, loop.Story(closed))
		}
	}
}

// acted are the runs about an incident that were not refused.
func (p *pair) acted(ctx context.Context, id mesh.IncidentID) ([]mesh.RemedyRun, error) {
	runs, err := p.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Incident: id})
	return slices.DeleteFunc(runs, func(r mesh.RemedyRun) bool { return r.State == mesh.RemedyRefused }), err
}

// frozen is a leader that is stopped for longer than its lock lasts while an
// incident is on its way, and goes on when another leads.
func (p *pair) frozen(t *testing.T) {
	leads, waits := p.leader(t)
	if err := p.AwaitLinked(t.Context(), allNodes()...); err != nil {
		t.Fatal(err)
	}
	was := p.count(t)
	log, err := os.Stat(leads.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	p.kill(t, loop.WebTwo)
	if err := leads.Freeze(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leads.Thaw() })
	p.leader(t, leads)
	if err := leads.Thaw(); err != nil {
		t.Fatal(err)
	}
	p.finished(t, was, loop.WebTwo)
	p.awaitRelay(t, leads, waits)
	if err := p.AwaitLinked(t.Context(), allNodes()...); err != nil {
		t.Fatal(err)
	}
	p.onlyService(t, waits)

	text, err := os.ReadFile(leads.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	after := string(text[log.Size():])
	if !strings.Contains(after, "this server leads no more") || !strings.Contains(after, "standing by") {
		t.Errorf("the server does not say that it stands by:\n%s", after)
	}
	if n := strings.Count(after, "[ERROR]") + strings.Count(after, "[WARN]"); n > 20 {
		t.Errorf("%d warnings and errors of a server that was deposed:\n%s", n, after)
	}
}
