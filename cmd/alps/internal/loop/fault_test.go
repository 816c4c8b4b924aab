package loop_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// The rules that are always there.
const (
	ruleAgentLost  = "agent-lost"
	ruleNodeFailed = "node-failed"
	ruleConsul     = "consul-unavailable"
)

// reload has a process read its configuration again, and returns when it has.
func reload(t *testing.T, p *dev.Process) {
	t.Helper()
	const done, refused = "config reloaded", "reload refused"
	before, no := logged(t, p, done), logged(t, p, refused)
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "the config is read again", func(context.Context) error {
		if logged(t, p, refused) > no {
			t.Fatalf("the config is refused: see %s", p.LogPath())
		}
		if logged(t, p, done) == before {
			return fmt.Errorf("%s does not say so", p.LogPath())
		}
		return nil
	})
}

// logged counts how often a process has said something.
func logged(t *testing.T, p *dev.Process, what string) int {
	t.Helper()
	b, err := os.ReadFile(p.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), what)
}

// setRules puts rules in force, with HOOK and CTL filled in. What a policy of the
// rules before has begun is over then: it would hold up those of the new ones.
func setRules(t *testing.T, r *loop.Rig, rules string) {
	t.Helper()
	runs(t, r, "")
	text := strings.NewReplacer("HOOK", r.Hook.URL(), "CTL", r.WebControl()).Replace(rules)
	dir := filepath.Join(r.Server().Dir(), "rules.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, r.Server())
}

// restartWeb starts the demo service of a node again, as a person would.
func restartWeb(t *testing.T, r *loop.Rig, node string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.WebControl())
	cmd.Env = append(os.Environ(), "ALPS_NODE="+node)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("start web of %s again: %v\n%s", node, err, out)
	}
}

// alps runs the program as an admin of the cluster.
func alps(t *testing.T, r *loop.Rig, args ...string) string {
	t.Helper()
	token, err := r.Token()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), loop.Program(t), args...)
	cmd.Env = append(os.Environ(), "ALPS_ADDR="+r.Address(), "ALPS_TOKEN="+token, "ALPS_CACERT="+r.CACert())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("alps %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// notices are those of one rule, in the order in which they came.
func notices(r *loop.Rig, rule string) []loop.Notice {
	return slices.DeleteFunc(r.Hook.Notices(), func(n loop.Notice) bool { return n.Rule != rule })
}

// kinds say why each notice was sent.
func kinds(list []loop.Notice) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Kind
	}
	return out
}

// awaitNotices waits until the notices of a rule are of these kinds.
func awaitNotices(t *testing.T, r *loop.Rig, rule string, want ...string) []loop.Notice {
	t.Helper()
	var got []loop.Notice
	loop.Await(t, "the notices of "+rule+" have come", func(context.Context) error {
		if got = notices(r, rule); !slices.Equal(kinds(got), want) {
			return fmt.Errorf("they are %v, want %v: %s", kinds(got), want, bodies(got))
		}
		return nil
	})
	return got
}

func bodies(list []loop.Notice) []byte {
	var out []byte
	for _, n := range list {
		out = append(append(out, n.Body...), '\n')
	}
	return out
}

// noRepeats checks that no delivery was taken twice.
func noRepeats(t *testing.T, r *loop.Rig) {
	t.Helper()
	seen := make(map[string]bool)
	for _, n := range r.Hook.Notices() {
		if n.Delivery == "" || seen[n.Delivery] {
			t.Errorf("delivery %q was taken twice, or has no name: %s", n.Delivery, n.Body)
		}
		seen[n.Delivery] = true
	}
}

// count is how many lines of a kind an incident's story has.
func count(i mesh.Incident, kind mesh.IncidentEventKind) int {
	n := 0
	for _, k := range loop.Kinds(i) {
		if k == kind {
			n++
		}
	}
	return n
}

// decided waits until a policy has said something about an incident of a rule
// that ok agrees to.
func decided(t *testing.T, r *loop.Rig, rule, what string, ok func(mesh.IncidentEvent) bool) mesh.Incident {
	t.Helper()
	return r.AwaitIncident(t, rule, what, func(i mesh.Incident) bool {
		return slices.ContainsFunc(i.Timeline, func(e mesh.IncidentEvent) bool { return e.Kind == mesh.EventRemedy && ok(e) })
	})
}

func closed(i mesh.Incident) bool { return i.Status == mesh.IncidentClosed }

func anyState(mesh.Incident) bool { return true }

// runs are the runs of a policy, the newest first, or of all policies when they
// are called "". None is under way: a check may be seen to pass before its job
// has ended, and then the next result proves it.
func runs(t *testing.T, r *loop.Rig, policy string) []mesh.RemedyRun {
	t.Helper()
	var list []mesh.RemedyRun
	loop.Await(t, "no run of a policy is under way", func(ctx context.Context) (err error) {
		list, err = r.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Policy: policy})
		if err == nil && slices.ContainsFunc(list, func(run mesh.RemedyRun) bool { return run.State.Open() }) {
			err = fmt.Errorf("runs are %+v", list)
		}
		return err
	})
	return list
}

// jobs counts the jobs that a policy has submitted.
func jobs(t *testing.T, r *loop.Rig, policy string) int {
	t.Helper()
	list, err := r.Client().Jobs(t.Context(), v1.JobFilter{Author: "policy/" + policy})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Jobs)
}

// watch asks for a name without a pause until the test ends, so that an answer
// that is wrong for a moment is seen.
type watch struct {
	stop func() []string
}

// watchDNS begins to watch. stop ends it and returns the answers, one for each
// change, with what went wrong among them.
func watchDNS(t *testing.T, r *loop.Rig, from, name string) watch {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var said []string
	wg.Go(func() {
		for last := false; !last; {
			// What is asked after the end was told of is the last answer: a change
			// that the caller has just seen must not fall between two questions.
			select {
			case <-done:
				last = true
			case <-time.After(20 * time.Millisecond):
			}
			list, err := r.Lookup(t.Context(), from, name)
			now := strings.Join(list, " ")
			if err != nil {
				now = "error: " + err.Error()
			}
			if len(said) == 0 || said[len(said)-1] != now {
				said = append(said, now)
			}
		}
	})
	end := sync.OnceValue(func() []string {
		close(done)
		wg.Wait()
		return said
	})
	t.Cleanup(func() { end() })
	return watch{end}
}

// want ends a watch and checks what was answered.
func (w watch) want(t *testing.T, from string, want ...[]string) {
	t.Helper()
	var text []string
	for _, list := range want {
		text = append(text, strings.Join(list, " "))
	}
	if got := w.stop(); !slices.Equal(got, text) {
		t.Errorf("%s was answered\n%s\nwant\n%s", from, strings.Join(got, "\n"), strings.Join(text, "\n"))
	}
}

// processesWith are the processes of this machine that have a text in their
// environment.
func processesWith(t *testing.T, text string) []int {
	t.Helper()
	return processes(t, "environ", text)
}

func processes(t *testing.T, file, text string) []int {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), text) {
			continue // it has ended, or is somebody else's.
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
