package loop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// TestFaults are faults that leave the cluster as they found it, one after the
// other. Each has rules of its own, so that none goes on with the incidents of
// another.
func TestFaults(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel() // beside those that wait for most of their time.
	r := loop.Start(t, loop.Options{Rules: loop.RulesOnly, For: time.Second})
	for _, part := range []struct {
		name string
		run  func(*testing.T, *loop.Rig)
	}{
		{"the receiver is down", receiverDown},
		{"remediation is paused", remedyPaused},
		{"a policy observes", remedyObserves},
		{"a policy restarts a service", policyRestarts},
		{"a policy calls a person", policyCallsAPerson},
		{"a policy cleans logs", policyCleans},
		{"a storm", remedyStorm},
		{"the server is killed during a remediation", serverKilled},
		{"a check runs wild", checkRunsWild},
		{"a check flaps", checkFlaps},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, r) })
	}
	noRepeats(t, r)
	for _, rule := range []string{ruleAgentLost, ruleNodeFailed, ruleConsul} {
		if list := r.Incidents(t, rule); len(list) != 0 {
			t.Errorf("incidents of %s were opened: %+v", rule, list)
		}
	}
}

// aRule is a rule over web and its receiver.
func aRule(name, wait string) string {
	return fmt.Sprintf("receiver \"hook\" {\n  url = \"HOOK\"\n}\n\nrule %q {\n  check  = \"web\"\n  for    = %q\n  notify = [\"hook\"]\n}\n", name, wait)
}

// aPolicy is a policy of the same name as its rule, with more keys.
func aPolicy(name, script, more string) string {
	return fmt.Sprintf("policy %q {\n  rule     = %q\n  script   = %q\n  cooldown = \"1s\"\n  verify   = \"30s\"\n%s}\n", name, name, script, more)
}

const restartArgs = "  args = [\"CTL\"]\n"

// receiverDown has an incident begin and end while nobody takes the notices.
func receiverDown(t *testing.T, r *loop.Rig) {
	const rule, victim = "untold", loop.WebOne
	setRules(t, r, aRule(rule, "0s"))
	before := r.Hook.Refused()
	r.Hook.Refuse(503)
	r.Web(victim).Kill()
	r.AwaitIncident(t, rule, "told in vain", func(i mesh.Incident) bool { return count(i, mesh.EventNotifyFailed) > 0 })
	restartWeb(t, r, victim)
	over := r.AwaitIncident(t, rule, "closed", closed)
	if n := r.Hook.Refused(); n == before || len(notices(r, rule)) != 0 {
		t.Errorf("%d were refused and %d taken", n-before, len(notices(r, rule)))
	}
	r.Hook.Refuse(0)
	got := awaitNotices(t, r, rule, "firing", "resolved")
	for _, n := range got {
		if n.Incident != string(over.ID) {
			t.Errorf("a notice is about %s, want %s", n.Incident, over.ID)
		}
	}
	over = r.AwaitIncident(t, rule, "told", func(i mesh.Incident) bool { return count(i, mesh.EventNotified) == 2 })
	kinds := loop.Kinds(over)
	if first := slices.Index(kinds, mesh.EventNotified); first < slices.Index(kinds, mesh.EventClosed) {
		t.Errorf("it was told before it was closed: %s", loop.Story(over))
	}
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// remedyPaused presses the kill switch.
func remedyPaused(t *testing.T, r *loop.Rig) {
	const rule, victim = "switched-off", loop.WebTwo
	setRules(t, r, aRule(rule, "0s")+aPolicy(rule, "restart-service", restartArgs+"  mode = \"auto\"\n"))
	alps(t, r, "remedy", "pause", "--reason", "power work in rack 11")
	r.Web(victim).Kill()
	i := decided(t, r, rule, "refused for the pause", func(e mesh.IncidentEvent) bool { return e.Data["guard"] == "paused" })
	if !strings.Contains(loop.Story(i), "power work in rack 11") {
		t.Errorf("the story does not say why: %s", loop.Story(i))
	}
	// The policy looks again every few seconds; it must say the same and not
	// act, however fresh the check is.
	since := time.Now()
	loop.Await(t, "the check was bad for a while", func(ctx context.Context) error {
		if s, err := r.Check(ctx, victim, "web"); err != nil || s.Received.Sub(since) < 8*time.Second {
			return fmt.Errorf("received %s, %w", s.Received, err)
		}
		return nil
	})
	if list := runs(t, r, rule); len(list) != 1 || list[0].State != mesh.RemedyRefused || jobs(t, r, rule) != 0 {
		t.Errorf("%d jobs, and runs %+v; want one refusal alone", jobs(t, r, rule), list)
	}
	alps(t, r, "remedy", "resume", "--reason", "the work is done")
	r.AwaitIncident(t, rule, "closed", closed)
	if list := runs(t, r, rule); len(list) != 2 || list[0].State != mesh.RemedySucceeded || jobs(t, r, rule) != 1 {
		t.Errorf("%d jobs, and runs %+v; want one success and one refusal", jobs(t, r, rule), list)
	}
	awaitNotices(t, r, rule, "firing", "resolved")
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// remedyObserves has a policy say what it would do.
func remedyObserves(t *testing.T, r *loop.Rig) {
	const rule, victim = "watched", loop.WebOne
	setRules(t, r, aRule(rule, "0s")+aPolicy(rule, "restart-service", restartArgs+"  mode = \"observe\"\n"))
	r.Web(victim).Kill()
	i := decided(t, r, rule, "observed", func(e mesh.IncidentEvent) bool { return e.Data["state"] == string(mesh.RemedyObserved) })
	if want := "would run restart-service on " + victim; !strings.Contains(loop.Story(i), want) {
		t.Errorf("the story is %s, want it to say %q", loop.Story(i), want)
	}
	since := time.Now()
	loop.Await(t, "the check was bad for a while", func(ctx context.Context) error {
		if s, err := r.Check(ctx, victim, "web"); err != nil || s.Received.Sub(since) < 8*time.Second || s.Status != mesh.HealthCritical {
			return fmt.Errorf("it is %s, received %s, %w", s.Status, s.Received, err)
		}
		return nil
	})
	if list := runs(t, r, rule); len(list) != 1 || list[0].State != mesh.RemedyObserved || jobs(t, r, rule) != 0 {
		t.Errorf("%d jobs, and runs %+v; want one that observed", jobs(t, r, rule), list)
	}
	restartWeb(t, r, victim)
	r.AwaitIncident(t, rule, "closed", closed)
	awaitNotices(t, r, rule, "firing", "resolved")
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// remedyStorm has every web die at once: no script mends what takes all of
// them down, and one human is called, once.
func remedyStorm(t *testing.T, r *loop.Rig) {
	const rule = "all-down"
	setRules(t, r, aRule(rule, "3s")+aPolicy(rule, "restart-service", restartArgs+"  mode = \"auto\"\n  storm = 2\n"))
	for _, node := range loop.WebNodes() {
		r.Web(node).Kill()
	}
	loop.Await(t, "each incident says that it is part of a storm", func(ctx context.Context) error {
		list, err := r.Client().Incidents(ctx, v1.IncidentFilter{Rule: rule})
		if err != nil || len(list.Incidents) != 3 {
			return fmt.Errorf("%d incidents, %w", len(list.Incidents), err)
		}
		for _, short := range list.Incidents {
			i, err := r.Client().Incident(ctx, string(short.ID))
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(i.Timeline, func(e mesh.IncidentEvent) bool { return e.Data["guard"] == "storm" && e.Data["reason"] != "" }) {
				return errors.New("it is silent: " + loop.Story(i))
			}
		}
		return nil
	})
	r.AwaitDNS(t, loop.Observer, web)
	for _, run := range runs(t, r, rule) {
		if run.State != mesh.RemedyRefused || run.Guard != "storm" {
			t.Errorf("run %s is %s (%s): %s; want a refusal for the storm", run.ID, run.State, run.Guard, run.Reason)
		}
	}
	if n := jobs(t, r, rule); n != 0 {
		t.Errorf("%d jobs in a storm, want none", n)
	}
	for _, node := range loop.WebNodes() {
		restartWeb(t, r, node)
	}
	loop.Await(t, "all is over and told", func(context.Context) error {
		got := kinds(notices(r, rule))
		slices.Sort(got)
		if want := []string{"escalation", "firing", "firing", "firing", "resolved", "resolved", "resolved"}; !slices.Equal(got, want) {
			return fmt.Errorf("notices are %v, want %v", got, want)
		}
		return nil
	})
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// slowScript notes each start of it and waits until somebody lets it go on. It
// is idempotent in nothing: a second start is seen.
const slowScript = `#!/bin/sh
echo "$ALPS_INCIDENT" >> "$2/starts"
for _ in $(seq 600); do
	[ -e "$2/go" ] && exec "$1"
	sleep 0.1
done
exit 1
`

const slowManifest = `description = "Restarts web when it is told to."
changes     = "As restart-service."
timeout     = "60s"

parameter "control" {
  description = "The program that restarts web."
}

parameter "dir" {
  description = "Where it notes its starts, and finds the word to go on."
}
`

// serverKilled kills the server while a script runs for an open incident.
func serverKilled(t *testing.T, r *loop.Rig) {
	const rule, victim = "slowly-mended", loop.WebTwo
	dir, script := t.TempDir(), filepath.Join(r.Server().Dir(), "scripts", "slow-restart")
	if err := os.MkdirAll(script, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"run": slowScript, "manifest.hcl": slowManifest} {
		if err := os.WriteFile(filepath.Join(script, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	setRules(t, r, aRule(rule, "0s")+aPolicy(rule, "slow-restart", "  mode = \"auto\"\n  timeout = \"60s\"\n  args = [\"CTL\", \""+dir+"\"]\n"))
	r.Web(victim).Kill()
	starts := func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "starts")) // before the first start there is none.
		return string(b)
	}
	i := decided(t, r, rule, "being mended", func(e mesh.IncidentEvent) bool { return e.Data["state"] == string(mesh.RemedyRunning) })
	loop.Await(t, "the script runs", func(context.Context) error {
		if starts() == "" {
			return errors.New("it has not started")
		}
		return nil
	})
	awaitNotices(t, r, rule, "firing")

	r.Server().Kill()
	if err := r.Server().Start(); err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "the server has found the run again", func(ctx context.Context) error {
		list, err := r.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Policy: rule})
		if err != nil || len(list) != 1 || list[0].State != mesh.RemedyRunning || list[0].Incident != i.ID {
			return fmt.Errorf("runs are %+v, %w", list, err)
		}
		// The agent is back, and the check is bad by its word.
		s, err := r.Check(ctx, victim, "web")
		if err == nil && (s.Status != mesh.HealthCritical || s.Source != mesh.SourceLink) {
			err = fmt.Errorf("web is %s by %s", s.Status, s.Source)
		}
		return err
	})
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	over := r.AwaitIncident(t, rule, "closed", closed)
	awaitNotices(t, r, rule, "firing", "resolved")
	loop.Await(t, "the run has ended", func(ctx context.Context) error {
		list, err := r.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Policy: rule})
		if err != nil || len(list) != 1 || list[0].State != mesh.RemedySucceeded {
			return fmt.Errorf("runs are %+v, %w", list, err)
		}
		return nil
	})
	if got, want := starts(), string(i.ID)+"\n"; got != want {
		t.Errorf("the script was started by %q, want once: %q", got, want)
	}
	if n := jobs(t, r, rule); n != 1 {
		t.Errorf("%d jobs, want 1", n)
	}
	if over.ID != i.ID || over.Reopened != 0 || len(r.Incidents(t, rule)) != 1 || count(over, mesh.EventOpened) != 1 || count(over, mesh.EventClosed) != 1 {
		t.Errorf("the incident was not one through the restart: %s", loop.Story(over))
	}
	if err := r.AwaitLinked(t.Context(), loop.ServerNode, loop.Observer, loop.WebOne, loop.WebTwo, loop.WebThree); err != nil {
		t.Error(err)
	}
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}
