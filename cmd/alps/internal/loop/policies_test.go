package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// shipped is a policy of deploy/policies with its rule, in the mode auto and
// for a check of this cluster. Each change is an old text and a new one, and
// the old one must be there.
func shipped(t *testing.T, name string, changes ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "deploy", "policies", name+".hcl"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	changes = append(changes, `"observe"`, `"auto"`)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("the policy %s does not say %s any more", name, changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return "receiver \"ops\" {\n  url = \"HOOK\"\n}\n\n" + text
}

const policyOwner = "platform team, +86 10 5555 0100"

// policyRestarts has the policy for services restart web, and wait for it.
func policyRestarts(t *testing.T, r *loop.Rig) {
	const rule, policy, victim = "no-answer", "restart-service", loop.WebOne
	health := net.JoinHostPort(r.NodeAddr(victim), strconv.Itoa(dev.PortWeb))
	setRules(t, r, shipped(t, policy, `"web-down"`, `"`+rule+`"`, `"10s"`, `"0s"`, `["web", "127.0.0.1:8080"]`, `["CTL", "`+health+`"]`))
	r.Web(victim).Kill()
	r.AwaitIncident(t, rule, "closed", closed)
	awaitNotices(t, r, rule, "firing", "resolved")
	run := awaitSucceeded(t, r, policy)
	if text := jobSays(t, r, run); !strings.Contains(text, `"verdict":"ok"`) || !strings.Contains(text, health) {
		t.Errorf("the script says %q", text)
	}
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// policyCallsAPerson has the same policy meet what a restart does not help:
// one try, and then a person who is told whom to call.
func policyCallsAPerson(t *testing.T, r *loop.Rig) {
	const rule, policy, victim = "no-answer-at-all", "mend-in-vain", loop.WebTwo
	health := net.JoinHostPort(r.NodeAddr(victim), strconv.Itoa(dev.PortWeb))
	setRules(t, r, shipped(t, "restart-service", `"web-down"`, `"`+rule+`"`, `"10s"`, `"0s"`, `policy "restart-service"`, `policy "`+policy+`"`,
		`["web", "127.0.0.1:8080"]`, `["/bin/true", "`+health+`", "1"]`, `"1m"`, `"1s"`))
	r.Web(victim).Kill()
	got := awaitNotices(t, r, rule, "firing", "escalation")
	call := got[len(got)-1]
	if call.Owner != policyOwner || !strings.Contains(call.Text, "could not mend "+victim) || !strings.Contains(call.Text, "alps remedy resume "+policy) {
		t.Errorf("the call is %q, the owner %q; want it to say what to do, and %q", call.Text, call.Owner, policyOwner)
	}
	decided(t, r, rule, "refused from now on", func(e mesh.IncidentEvent) bool { return e.Data["guard"] == "breaker" })
	if n := jobs(t, r, policy); n != 1 {
		t.Errorf("it has tried %d times, want once", n)
	}
	restartWeb(t, r, victim)
	r.AwaitIncident(t, rule, "closed", closed)
	awaitNotices(t, r, rule, "firing", "escalation", "resolved")
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}

// policyCleans has a directory be full of old logs.
func policyCleans(t *testing.T, r *loop.Rig) {
	const rule, policy, node = "disk-full", "clean-logs", loop.WebThree
	dir := t.TempDir()
	log := func(name string, kb int, days float64) string {
		t.Helper()
		path := filepath.Join(dir, name)
		at := time.Now().Add(-time.Duration(days * 24 * float64(time.Hour)))
		if err := errors.Join(os.WriteFile(path, make([]byte, kb<<10), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for i := range 8 {
		log(fmt.Sprintf("app.log.%d", i), 100, 8+float64(i))
	}
	log("app.log", 100, 0)
	log("data", 10, 30)
	open, err := os.Open(log("app.log.held", 10, 20))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	path := filepath.Join(r.Agent(node).Dir(), "checks.d", "full.hcl")
	check := fmt.Sprintf("check \"full\" {\n  script   = \"[ $(du -sk %s | cut -f1) -lt 500 ] || { echo too full; exit 2; }\"\n  interval = \"1s\"\n}\n", dir)
	if err := os.WriteFile(path, []byte(check), 0o600); err != nil {
		t.Fatal(err)
	}
	setRules(t, r, shipped(t, policy, `"host-disk"`, `"full"`, `"/var/log/hdfs"`, `"`+dir+`"`, `, "20%"`, ``))
	reload(t, r.Agent(node))
	over := r.AwaitIncident(t, rule, "closed", closed)
	if string(over.Node) != node {
		t.Errorf("the incident is %+v", over)
	}
	awaitNotices(t, r, rule, "firing", "resolved")
	run := awaitSucceeded(t, r, policy)
	answer, ok := mesh.ParseAnswer([]byte(jobSays(t, r, run)))
	if e := answer.Evidence; !ok || answer.Verdict != mesh.VerdictOK || e["files"] != "6" || e["bytes"] != strconv.Itoa(6*100<<10) || !strings.Contains(e["left"], "1 open") {
		t.Errorf("the script answers %+v", answer)
	}
	left, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"app.log", "app.log.0", "app.log.1", "app.log.held", "data"}; !slices.Equal(left, want) {
		t.Errorf("left is %q, want %q", left, want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload(t, r.Agent(node))
}

// awaitSucceeded waits until the only run of a policy has.
func awaitSucceeded(t *testing.T, r *loop.Rig, policy string) mesh.RemedyRun {
	t.Helper()
	var run mesh.RemedyRun
	loop.Await(t, "the policy "+policy+" has helped", func(ctx context.Context) error {
		list, err := r.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Policy: policy})
		if err != nil || len(list) != 1 || list[0].State != mesh.RemedySucceeded {
			return fmt.Errorf("runs are %+v, %w", list, err)
		}
		run = list[0]
		return nil
	})
	if run.Before.Status == mesh.HealthPassing || run.After.Status != mesh.HealthPassing {
		t.Errorf("the evidence is %s before and %s after", run.Before.Status, run.After.Status)
	}
	return run
}

// jobSays is what the script of a run has printed.
func jobSays(t *testing.T, r *loop.Rig, run mesh.RemedyRun) string {
	t.Helper()
	job, err := r.Client().Job(t.Context(), string(run.ID))
	if err != nil || len(job.Groups) != 1 {
		t.Fatalf("the job of the run is %+v, %v", job, err)
	}
	if out := job.Groups[0].Stdout.Inline; len(out) > 0 {
		return string(out)
	}
	out, err := r.Client().Output(t.Context(), string(job.ID), job.Groups[0].Stdout.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
