package remedy_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/remedy"
	"alps/server/remedy/library"
	"alps/server/remedy/remedytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fatal is the part of a test that helpers need; rapid has it too.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// errDead is what everything answers after a crash.
var errDead = errors.New("the server is dead")

// world is all that an engine sees: the store, the other parts of the server,
// and the nodes. A crash may be planned to happen before or after any effect.
type world struct {
	remedytest.Memory

	dir   string
	term  uint64
	leads bool
	// fuel is how many effects are left until the server dies, or loses its
	// lease; 0: it does not.
	fuel   int
	depose bool
	dead   bool
	// usurped counts the effects of a server that did not lead.
	usurped int
	// unread is set as long as nothing was read from Consul.
	unread bool

	incidents map[mesh.IncidentID]mesh.Incident
	checks    map[string]mesh.CheckState // by dc/node/check.
	nodes     map[mesh.NodeName]mesh.Node
	jobs      map[mesh.JobID]*job
	// attributes are what is declared, by node/name.
	attributes map[string]string
	submitErr  error
	// mute has the server die between a job and its announcement.
	mute     bool
	onSubmit func(remedy.Submission)             // nil: nobody looks.
	auto     func(remedy.Submission) mesh.Answer // nil: jobs wait for an answer.
	listed   func()                              // happens while the incidents are read; nil: nothing.
	noteErr  error
	slow     time.Duration // how long a note takes.

	notes  []string
	cries  []string
	audits []mesh.Audit
	runs   []mesh.RemedyRun // as OnRun was told.
}

type job struct {
	remedy.Submission
	state mesh.JobState
	mute  bool // it was made, and nobody was told of it.
	count int  // how often it was submitted.
	at    time.Time
	// answers are what the nodes of a step say, and ends how the job of single
	// nodes ended when it was not as state says.
	answers map[mesh.NodeID]mesh.Answer
	ends    map[mesh.NodeID]mesh.JobState
}

func newWorld(t testing.TB) *world {
	w := &world{
		dir: t.TempDir(), term: 1, leads: true,
		incidents: make(map[mesh.IncidentID]mesh.Incident), checks: make(map[string]mesh.CheckState),
		nodes: make(map[mesh.NodeName]mesh.Node), jobs: make(map[mesh.JobID]*job), attributes: make(map[string]string),
	}
	writeScript(t, w.dir, "ask", "timeout = \"20s\"\ndry_run = true\n")
	writeScript(t, w.dir, "wipe", "timeout = \"20s\"\nmay_lose_data = true\n")
	writeScript(t, w.dir, "undo", "timeout = \"20s\"\n")
	writeScript(t, w.dir, "restart-web", "timeout = \"20s\"\nrun_as = \"web\"\nparameter \"control\" {\n description = \"how\"\n}\n")
	return w
}

func writeScript(t testing.TB, dir, name, more string) {
	t.Helper()
	at := filepath.Join(dir, name)
	manifest := "description = \"It restarts.\"\nchanges = \"It is restarted.\"\n" + more
	if err := errors.Join(
		os.MkdirAll(at, 0o755),
		os.WriteFile(filepath.Join(at, "run"), []byte("#!/bin/sh\n"), 0o755),
		os.WriteFile(filepath.Join(at, "manifest.hcl"), []byte(manifest), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

func (w *world) library(t fatal) *library.Library {
	t.Helper()
	lib, err := library.Load(w.dir)
	if err != nil {
		t.Fatalf("load the library: %v", err)
	}
	return lib
}

// engine starts a server, which knows nothing but what is stored.
func (w *world) engine(t fatal, policies ...mesh.Policy) *remedy.Engine {
	t.Helper()
	w.dead, w.depose, w.fuel = false, false, 0
	e, err := remedy.New(remedy.Options{
		Store: w, Incidents: w, Checks: w, Jobs: w, Node: w.node, Nodes: w.allNodes, Ready: func() bool { return !w.unread }, Attribute: w.attribute,
		Lease: func() (uint64, bool) { return w.term, w.leads && !w.dead },
		Audit: func(_ context.Context, a mesh.Audit) error {
			return w.effect(func() { w.audits = append(w.audits, a) })
		},
		OnRun: func(r mesh.RemedyRun) { w.runs = append(w.runs, r) },
	})
	if err != nil {
		t.Fatalf("new engine: %v", err)
	}
	if err := e.SetPolicies(policies, w.library(t), mesh.RemedyAuto); err != nil {
		t.Fatalf("set the policies: %v", err)
	}
	return e
}

// effect does fn, unless the server dies before it; it may die after it.
func (w *world) effect(fn func()) error {
	if w.dead {
		return errDead
	}
	if !w.leads {
		w.usurped++
	}
	if !w.depose && w.burn() {
		return errDead
	}
	fn()
	if w.burn() {
		return errDead
	}
	return nil
}

// burn reports whether the server has died now.
func (w *world) burn() bool {
	if w.fuel == 0 {
		return false
	}
	if w.fuel--; w.fuel > 0 {
		return false
	}
	if w.depose {
		w.leads = false
		w.term++
		return false
	}
	w.dead = true
	return true
}

func (w *world) PutRemedyRuns(ctx context.Context, term uint64, runs []remedy.Record) error {
	var err error
	return cmpErr(w.effect(func() { err = w.Memory.PutRemedyRuns(ctx, term, runs) }), &err)
}

func cmpErr(first error, second *error) error {
	if first != nil {
		return first
	}
	return *second
}

func (w *world) RemedyRuns(ctx context.Context, f remedy.Filter) ([]remedy.Record, error) {
	if w.dead {
		return nil, errDead
	}
	return w.Memory.RemedyRuns(ctx, f)
}

func (w *world) Incidents(_ context.Context, since time.Time) ([]mesh.Incident, error) {
	if w.dead {
		return nil, errDead
	}
	var out []mesh.Incident
	for _, i := range w.incidents {
		if i.Status != mesh.IncidentClosed || !i.Opened.Before(since) {
			out = append(out, i)
		}
	}
	if w.listed != nil {
		w.listed()
	}
	return out, nil
}

func (w *world) Note(_ context.Context, id mesh.IncidentID, ev mesh.IncidentEvent) error {
	if w.noteErr != nil {
		return w.noteErr
	}
	time.Sleep(w.slow)
	return w.effect(func() { w.notes = append(w.notes, string(id)+" "+ev.Text) })
}

func (w *world) Escalate(_ context.Context, id mesh.IncidentID, receivers []string, text string) error {
	return w.effect(func() { w.cries = append(w.cries, string(id)+" "+text) })
}

func (w *world) Get(dc string, node mesh.NodeName, check string) (mesh.CheckState, bool) {
	s, ok := w.checks[dc+"/"+string(node)+"/"+check]
	return s, ok
}

func (w *world) node(_ string, name mesh.NodeName) (mesh.Node, bool) {
	n, ok := w.nodes[name]
	return n, ok
}

func (w *world) Submit(_ context.Context, s remedy.Submission) (bool, error) {
	if w.submitErr != nil {
		return false, w.submitErr
	}
	already := false
	return already, w.effect(func() {
		if j := w.jobs[s.ID]; j != nil {
			j.count++
			j.mute = false
			already = true
			return
		}
		if w.onSubmit != nil {
			w.onSubmit(s)
		}
		j := &job{Submission: s, state: mesh.JobState{State: mesh.Pending}, count: 1, at: time.Now()}
		w.jobs[s.ID] = j
		if w.mute {
			w.mute, j.mute, w.dead = false, true, true
			return
		}
		if w.auto == nil {
			return
		}
		j.state, j.answers = mesh.JobState{State: mesh.OK}, make(map[mesh.NodeID]mesh.Answer)
		a := w.auto(s)
		for _, n := range s.Nodes {
			j.answers[n] = a
		}
	})
}

func (w *world) Announced(_ context.Context, id mesh.JobID) (bool, error) {
	if w.dead {
		return false, errDead
	}
	return !w.jobs[id].mute, nil
}

func (w *world) State(_ context.Context, id mesh.JobID) (mesh.JobState, bool, error) {
	if w.dead {
		return mesh.JobState{}, false, errDead
	}
	j := w.jobs[id]
	if j == nil {
		return mesh.JobState{}, false, nil
	}
	return j.state, true, nil
}

func (w *world) Results(_ context.Context, id mesh.JobID) ([]remedy.Result, bool, error) {
	if w.dead {
		return nil, false, errDead
	}
	j := w.jobs[id]
	if j == nil {
		return nil, false, nil
	}
	out := make([]remedy.Result, len(j.Nodes))
	for i, n := range j.Nodes {
		out[i] = remedy.Result{Node: n, Job: j.state}
		if a, ok := j.answers[n]; ok {
			out[i].Answer = &a
		}
		if st, ok := j.ends[n]; ok {
			out[i].Job = st
		}
	}
	return out, true, nil
}

func (w *world) allNodes() []mesh.Node {
	return slices.SortedFunc(maps.Values(w.nodes), func(a, b mesh.Node) int { return strings.Compare(string(a.Name), string(b.Name)) })
}

func (w *world) attribute(n *mesh.Node, name string) string {
	return w.attributes[string(n.Name)+"/"+name]
}

// result has a node say how its check is.
func (w *world) result(node mesh.NodeName, h mesh.Health) {
	key := "dc1/" + string(node) + "/web"
	w.checks[key] = mesh.CheckState{
		Node: node, DC: "dc1", Status: h, Source: mesh.SourceLink, Received: time.Now(),
		Result: mesh.CheckResult{Check: "web", Status: h, Period: 10 * time.Second, Seq: w.checks[key].Result.Seq + 1},
	}
}

// open opens an incident on a node that has an agent and a bad check.
func (w *world) open(id mesh.IncidentID, node mesh.NodeName) mesh.Incident {
	w.nodes[node] = mesh.Node{ID: mesh.NodeID("id of " + node), Name: node, DC: "dc1", Agent: mesh.AgentLinked, Status: mesh.MemberAlive}
	w.result(node, mesh.HealthCritical)
	now := time.Now()
	i := mesh.Incident{
		ID: id, Rule: "web-down", DC: "dc1", Node: node, Check: "web", Service: "web",
		Status: mesh.IncidentOpen, Opened: now, Updated: now,
	}
	w.incidents[id] = i
	return i
}

// set changes the status of an incident.
func (w *world) set(id mesh.IncidentID, status mesh.IncidentStatus) mesh.Incident {
	i := w.incidents[id]
	i.Status, i.Updated = status, time.Now()
	w.incidents[id] = i
	return i
}

// stored lists the runs, the oldest first.
func (w *world) stored(t fatal) []remedy.Record {
	t.Helper()
	list, err := w.Memory.RemedyRuns(context.Background(), remedy.Filter{})
	if err != nil {
		t.Fatalf("list the runs: %v", err)
	}
	slices.Reverse(list)
	return list
}
