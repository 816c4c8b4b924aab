package loop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/loop"
	"alps/mesh"
)

const web = "web.service.yixia"

// TestLoop is the whole story: web dies on one node, its address leaves DNS, an
// incident opens, somebody is told, a job restarts web there by a user event,
// the check passes, the address is back, the incident closes, and that is told
// too. Nothing of it happens twice.
func TestLoop(t *testing.T) {
	r := loop.Start(t, loop.Options{Rules: loop.Rules, For: 2 * time.Second})
	const victim = loop.WebTwo

	broke := time.Now()
	r.Web(victim).Kill()
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs(victim)...)
	if got, err := r.Lookup(t.Context(), victim, web); err != nil || !slices.Equal(got, r.WebAddrs(victim)) {
		t.Errorf("the agent beside the fault answers %v, %v; want %v", got, err, r.WebAddrs(victim))
	}

	open := r.AwaitIncident(t, "web-down", "open", func(i mesh.Incident) bool { return true })
	if open.Node != victim || open.Check != "web" || open.Severity != "critical" || open.Owner != "platform team" {
		t.Errorf("the incident is %+v, want one of web on %s", open, victim)
	}
	closed := r.AwaitIncident(t, "web-down", "closed", func(i mesh.Incident) bool { return i.Status == mesh.IncidentClosed })
	if closed.ID != open.ID || closed.ClosedBy != "alps" {
		t.Errorf("closed is %s by %s, want %s by alps", closed.ID, closed.ClosedBy, open.ID)
	}
	r.AwaitCheck(t, victim, "web", mesh.HealthPassing)
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)

	t.Run("the story is told in order", func(t *testing.T) {
		kinds := loop.Kinds(closed)
		at := 0
		for _, want := range []mesh.IncidentEventKind{mesh.EventOpened, mesh.EventNotified, mesh.EventRemedy, mesh.EventRecovered, mesh.EventClosed} {
			n := slices.Index(kinds[at:], want)
			if n < 0 {
				t.Fatalf("%s is missing behind %v in %v", want, kinds[:at], kinds)
			}
			at += n
		}
		if d := closed.Opened.Sub(broke); d < 2*time.Second {
			t.Errorf("it was opened %s after the fault, and the rule waits for 2 s", d)
		}
	})

	t.Run("the webhook", func(t *testing.T) {
		var got []loop.Notice
		loop.Await(t, "both notices have come", func(ctx context.Context) error {
			if got = r.Hook.Notices(); len(got) < 2 {
				return fmt.Errorf("%d have come", len(got))
			}
			return nil
		})
		if len(got) != 2 {
			t.Fatalf("%d notices, want 2: %+v", len(got), got)
		}
		for i, status := range []string{"firing", "resolved"} {
			n := got[i]
			if n.Status != status || n.Incident != string(open.ID) || n.Rule != "web-down" || n.Node != victim || n.Check != "web" ||
				n.Severity != "critical" || n.Owner != "platform team" || n.DC != "bj-e-01" {
				t.Errorf("notice %d is %s, want %s of %s", i, n.Body, status, open.ID)
			}
		}
		if got[0].Delivery == "" || got[0].Delivery == got[1].Delivery {
			t.Errorf("deliveries are %q and %q", got[0].Delivery, got[1].Delivery)
		}
	})

	t.Run("the job", func(t *testing.T) {
		all := runs(t, r, "restart-web")
		var acted []mesh.RemedyRun
		for _, run := range all {
			if run.State != mesh.RemedyRefused {
				acted = append(acted, run)
			}
		}
		if len(acted) != 1 || acted[0].State != mesh.RemedySucceeded || acted[0].Node != victim || acted[0].Incident != open.ID {
			t.Fatalf("runs are %+v, want one that succeeded on %s", all, victim)
		}
		job, err := r.Client().Job(t.Context(), string(acted[0].ID))
		if err != nil {
			t.Fatal(err)
		}
		if job.Counts[mesh.OK] != 1 || job.Counts.Total() != 1 || job.Author != "policy/restart-web" {
			t.Errorf("the job has %v, by %s; want one OK of one, by the policy", job.Counts, job.Author)
		}
		// The event and the watch race, and either may wake the node first;
		// that the event was there, Consul's agent beside it says.
		loop.Await(t, "the node has heard the user event", func(ctx context.Context) error {
			n, err := r.Events(ctx, victim, "alps")
			if err == nil && n == 0 {
				err = errors.New("it has heard none")
			}
			return err
		})
		out, err := r.Client().Output(t.Context(), string(job.ID), job.Groups[0].Stdout.Digest)
		if err == nil && len(out) == 0 {
			out = job.Groups[0].Stdout.Inline
		}
		if err != nil || !strings.Contains(string(out), "restarted by: ") {
			t.Errorf("the job says %q, %v", out, err)
		}
		if acted[0].After.Status != mesh.HealthPassing || acted[0].Before.Status != mesh.HealthCritical {
			t.Errorf("the evidence is %s before and %s after", acted[0].Before.Status, acted[0].After.Status)
		}
	})

	t.Run("others are untouched", func(t *testing.T) {
		if n := len(r.Incidents(t, "")); n != 1 {
			t.Errorf("%d incidents, want 1: %+v", n, r.Incidents(t, ""))
		}
		for _, name := range []string{loop.WebOne, loop.WebThree} {
			if s, err := r.Check(t.Context(), name, "web"); err != nil || s.Status != mesh.HealthPassing {
				t.Errorf("web of %s is %s, %v", name, s.Status, err)
			}
		}
	})
}
