package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/query"
	"alps/mesh/sign"
	"alps/server/job"
	"alps/server/job/jobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const home = "bj-e-01"

// tester is what a *testing.T and a *rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// rig is a Service with everything around it in memory. It runs in a synctest
// bubble: time passes only when everything waits.
type rig struct {
	t       tester
	service *job.Service
	history *jobtest.History
	boards  map[string]*jobtest.Board
	board   func(dc string) job.Board // of boards, unless a test has its own.
	nodes   *inventory
	stream  *recorder
	asked   *asker
	rootKey sign.PrivateKey
	root    sign.Root
	scope   sign.Scope            // of the server's grant.
	opened  map[string]*mesh.Spec // specs that were verified, by document.
	stop    func()
}

// inBubble runs a test with a rig of n nodes, which has been started.
func inBubble(t *testing.T, n int, fn func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, n)
		r.start()
		defer func() { r.stop() }() // the newest one, after a restart.
		fn(t, r)
	})
}

func newRig(t tester, n int) *rig {
	key := sign.GenerateKey()
	r := &rig{
		t: t, history: &jobtest.History{}, boards: map[string]*jobtest.Board{home: {}, "bj-e-02": {}}, nodes: &inventory{},
		stream: &recorder{}, asked: &asker{}, opened: make(map[string]*mesh.Spec), rootKey: key, root: sign.Root{Key: key.Public(), Cluster: "demo"},
		scope: sign.Scope{Any: true, Targets: "all", MaxNodes: 1 << 20},
	}
	r.board = func(dc string) job.Board { return r.boards[dc] }
	for i := range n {
		r.nodes.add(mesh.Node{
			ID: mesh.NewNodeID(), Name: mesh.NodeName(fmt.Sprintf("n%03d", i)), DC: home, Agent: mesh.AgentLinked,
			Naming: mesh.Naming{Rack: fmt.Sprint(i % 4)},
		})
	}
	return r
}

// signer makes a key with a grant of the root.
func (r *rig) signer(holder string, scope sign.Scope) *job.Signer {
	r.t.Helper()
	key := sign.GenerateKey()
	grant, err := r.rootKey.SealGrant(sign.Grant{
		Cluster: "demo", Serial: holder, Key: key.Public(), Holder: holder, NotAfter: time.Now().AddDate(1, 0, 0).Unix(), Scope: scope,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return &job.Signer{Key: key, Grant: grant}
}

func (r *rig) options() job.Options {
	o := job.Options{
		Cluster: "demo", DC: home, History: r.history, Resolver: r.nodes, Stream: r.stream, Asker: r.asked,
		Board: r.board,
		Root:  func() sign.Root { return r.root }, Logger: hclog.NewNullLogger(),
	}
	if r.scope.MaxNodes > 0 {
		o.Signer = r.signer("server", r.scope)
	}
	return o
}

// start starts a Service over what is there, as a restart of the server does.
func (r *rig) start() {
	r.t.Helper()
	s, err := job.New(r.options())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.service = s
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
	time.Sleep(100 * time.Millisecond) // for the publisher to have looked at its heads.
}

func everything(t tester) *query.Expr { return parse(t, "all") }

func parse(t tester, s string) *query.Expr {
	t.Helper()
	e, err := query.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (r *rig) actor() job.Actor {
	return job.Actor{Name: "li", From: "127.0.0.1", Scope: everything(r.t)}
}

// submit submits a request that must succeed.
func (r *rig) submit(q job.Request) job.Submission {
	r.t.Helper()
	sub, err := r.service.Submit(context.Background(), r.actor(), q)
	if err != nil {
		r.t.Fatalf("Submit: %v", err)
	}
	return sub
}

func run(target string) job.Request {
	return job.Request{Target: target, Command: []string{"true"}}
}

func (r *rig) node(name string) mesh.Node {
	r.t.Helper()
	n, ok := r.nodes.Node(name)
	if !ok {
		r.t.Fatalf("no node %q", name)
	}
	return n
}

// say commits reports of a node that must be taken.
func (r *rig) say(id mesh.JobID, name string, states ...mesh.State) {
	r.t.Helper()
	n := r.node(name)
	for _, s := range states {
		if err := r.service.Commit(context.Background(), n.ID, []mesh.Report{report(id, n.ID, s)}); err != nil {
			r.t.Fatalf("Commit of %s from %s: %v", s, name, err)
		}
	}
}

func report(id mesh.JobID, node mesh.NodeID, s mesh.State) mesh.Report {
	rep := mesh.Report{Job: id, Attempt: 1, Node: node, State: s, At: time.Now().UTC()}
	switch s {
	case mesh.Acked:
		rep.Woke = mesh.WokeEvent
	case mesh.Failed:
		rep.Code = 1
	}
	return rep
}

func (r *rig) view(id mesh.JobID) job.View {
	r.t.Helper()
	v, err := r.service.Get(context.Background(), r.actor(), id)
	if err != nil {
		r.t.Fatalf("Get: %v", err)
	}
	return v
}

func (r *rig) targets(id mesh.JobID) []job.Target {
	r.t.Helper()
	list, _, err := r.service.Targets(context.Background(), r.actor(), id, job.TargetPage{After: -1})
	if err != nil {
		r.t.Fatalf("Targets: %v", err)
	}
	return list
}

// target returns the target of one node.
func (r *rig) target(id mesh.JobID, name string) job.Target {
	r.t.Helper()
	list := r.targets(id)
	i := slices.IndexFunc(list, func(t job.Target) bool { return string(t.Name) == name })
	if i < 0 {
		r.t.Fatalf("job %s has no target %q", id, name)
	}
	return list[i]
}

// audit returns the actions and outcomes so far.
func (r *rig) audit() []string {
	var out []string
	for _, a := range r.history.Audit() {
		out = append(out, a.Action+" "+string(a.Outcome))
	}
	return out
}

// inventory is a job.Resolver.
type inventory struct {
	mu   sync.Mutex
	list []mesh.Node
}

func (v *inventory) add(n mesh.Node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, n)
}

func (v *inventory) Resolve(e *query.Expr) ([]mesh.Node, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []mesh.Node
	for i := range v.list {
		if e.Match(&v.list[i]) {
			out = append(out, v.list[i])
		}
	}
	return out, nil
}

func (v *inventory) Node(name string) (mesh.Node, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.list, func(n mesh.Node) bool { return string(n.Name) == name || string(n.ID) == name })
	if i < 0 {
		return mesh.Node{}, false
	}
	return v.list[i], true
}

// recorder is a job.Stream. It encodes at once, as the real one does.
type recorder struct {
	mu     sync.Mutex
	kinds  []string
	events []job.Event
}

func (s *recorder) Publish(topic, kind string, data any) {
	e := data.(job.Event)
	if _, err := json.Marshal(e); err != nil || topic != job.Topic(e.Job) {
		panic(fmt.Sprint("event on ", topic, ": ", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds, s.events = append(s.kinds, kind), append(s.events, e)
}

func (s *recorder) all() ([]string, []job.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kinds), slices.Clone(s.events)
}

// asker is a job.Asker.
type asker struct {
	mu    sync.Mutex
	away  bool
	asked []string // "<node> <digest>"
}

func (a *asker) Ask(_ context.Context, node mesh.NodeID, digests []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return errors.New("no link")
	}
	for _, d := range digests {
		a.asked = append(a.asked, string(node)+" "+d)
	}
	return nil
}

func (a *asker) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.asked
	a.asked = nil
	return out
}

// keys is what a node reads; nil is no such key.
type keys interface{ Get(key string) []byte }

// agent reads a board as a node does: its head, segments it has missed, and
// everything again in another epoch.
type agent struct {
	r      *rig
	id     mesh.NodeID
	epoch  string
	cursor uint64
	seen   map[mesh.JobID]*mesh.Spec
	ctl    map[mesh.JobID]dispatch.Ctl
}

func (r *rig) agent(name string) *agent {
	return &agent{r: r, id: r.node(name).ID, seen: make(map[mesh.JobID]*mesh.Spec), ctl: make(map[mesh.JobID]dispatch.Ctl)}
}

// look reads what is new and returns the jobs that the node had not seen.
func (a *agent) look(b keys) []mesh.JobID {
	a.r.t.Helper()
	head, err := dispatch.DecodeHead(b.Get(dispatch.HeadKey(a.id.Shard())))
	if err != nil {
		a.r.t.Fatalf("head of node %s: %v", a.id, err)
	}
	if head.Epoch != a.epoch || head.Seq < a.cursor {
		a.epoch, a.cursor = head.Epoch, 0
	}
	refs, complete := head.Since(a.cursor)
	for n := head.Next - 1; n >= 0 && !complete; n-- {
		doc := b.Get(dispatch.SegmentKey(a.id.Shard(), n))
		if doc == nil {
			break
		}
		seg, err := dispatch.DecodeSegment(doc)
		if err != nil {
			a.r.t.Fatal(err)
		}
		var older []dispatch.Ref
		older, complete = seg.Since(a.cursor)
		refs = append(slices.Clone(older), refs...)
	}
	a.cursor = head.Seq
	var fresh []mesh.JobID
	for _, ref := range refs {
		if ref.Expires < time.Now().Unix() {
			continue
		}
		if doc := b.Get(dispatch.CtlKey(ref.Job, ref.Attempt)); doc != nil {
			a.readCtl(doc)
		}
		if ref.Kind == dispatch.KindJob && a.seen[ref.Job] == nil && a.readSpec(b, ref) {
			fresh = append(fresh, ref.Job)
		}
	}
	return fresh
}

// open verifies the document of a job.
func (r *rig) open(id mesh.JobID, doc []byte) *mesh.Spec {
	r.t.Helper()
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		r.t.Fatalf("spec of job %s: %v", id, err)
	}
	payload, grant, err := r.root.Open(env, sign.TypeJob, time.Now())
	if err != nil {
		r.t.Fatalf("spec of job %s: %v", id, err)
	}
	spec := new(mesh.Spec)
	if err := errors.Join(json.Unmarshal(payload, spec), spec.Validate(), grant.Allows(spec)); err != nil {
		r.t.Fatalf("spec of job %s: %v", id, err)
	}
	return spec
}

// readSpec verifies a job as a node does, and reports whether it is for it.
func (a *agent) readSpec(b keys, ref dispatch.Ref) bool {
	a.r.t.Helper()
	doc := b.Get(dispatch.SpecKey(ref.Job, ref.Attempt))
	spec := a.r.opened[string(doc)]
	if spec == nil {
		spec = a.r.open(ref.Job, doc)
		a.r.opened[string(doc)] = spec
	}
	var part []byte
	if dispatch.NeedsPart(spec.Targets, a.id) {
		part = b.Get(dispatch.PartKey(ref.Job, ref.Attempt, a.id.Shard()))
	}
	switch _, err := dispatch.Find(spec.Targets, a.id, part); {
	case errors.Is(err, dispatch.ErrNotTarget):
		return false
	case err != nil:
		a.r.t.Fatalf("spec of job %s: %v", ref.Job, err)
	}
	a.seen[ref.Job] = spec
	return true
}

func (a *agent) readCtl(doc []byte) {
	a.r.t.Helper()
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		a.r.t.Fatal(err)
	}
	payload, _, err := a.r.root.Open(env, sign.TypeCtl, time.Now())
	if err != nil {
		a.r.t.Fatal(err)
	}
	c, err := dispatch.DecodeCtl(payload)
	if err != nil {
		a.r.t.Fatal(err)
	}
	if c.Gen > a.ctl[c.Job].Gen {
		a.ctl[c.Job] = c
	}
}

// countsOf prints counts in the order of states.
func countsOf(c mesh.Counts) string {
	var out []string
	for _, s := range slices.Sorted(maps.Keys(c)) {
		out = append(out, fmt.Sprintf("%s %d", s, c[s]))
	}
	return strings.Join(out, ", ")
}
