package jobtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/server/job"
)

// TestHistory checks that a History keeps its contract. open returns an empty
// one.
func TestHistory(t *testing.T, open func(t *testing.T) job.History) {
	tests := []struct {
		name string
		run  func(t *testing.T, h job.History)
	}{
		{"a job comes back as it was stored", testRoundTrip},
		{"an id and a submit token are used once", testConflict},
		{"what is unknown is not found", testNotFound},
		{"a change replaces what it names and nothing else", testApply},
		{"a change that fails changes nothing", testAllOrNothing},
		{"a change may be applied twice", testTwice},
		{"lists are newest first, filtered and paged", testList},
		{"outputs are kept by digest", testOutputs},
		{"marks and places are remembered", testBoards},
		{"ten thousand targets", testMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, int(123*time.Millisecond), time.UTC)

// NewJob returns a job with n targets, complete in every field, made at epoch
// plus the given seconds.
func NewJob(n, at int) job.NewJob {
	id := mesh.NewJobID()
	created := epoch.Add(time.Duration(at) * time.Second)
	targets := make([]job.Target, n)
	for i := range targets {
		targets[i] = job.Target{
			Index: i, Node: mesh.NewNodeID(), Name: mesh.NodeName(fmt.Sprintf("bj-e-node-%05d", i)), DC: "bj-e-01",
			Wave: i % 3, Listed: true, State: mesh.Pending, At: created,
		}
	}
	return job.NewJob{
		Job: job.Job{
			ID: id, Attempt: 1, Author: "li", Signer: "server", Title: "uptime -p", Expr: "role = datanode",
			Created: created, Expires: created.Add(time.Hour), Token: "token-" + string(id), Content: "content",
			Envelope: []byte(`{"type":"job"}`),
			Spec:     mesh.Spec{Version: 1, Cluster: "demo", Job: id, Attempt: 1, Command: []string{"uptime", "-p"}, Timeout: 60, Grace: 10},
			Plan:     job.Plan{Canary: 1, Batch: 2, MaxFail: 1, Confirm: true},
			Phase:    dispatch.PhaseRun, Counts: mesh.Counts{mesh.Pending: n}, Woke: map[mesh.Woke]int{},
		},
		Targets: targets,
		Places:  []job.Place{{Job: id, DC: "bj-e-01"}},
		Audit:   mesh.Audit{Time: created, Actor: "li", Action: "job.submit", Object: string(id), Outcome: mesh.OutcomeDone},
	}
}

// same compares what was stored with what came back; an empty list is as good
// as none.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func create(t *testing.T, h job.History, n job.NewJob) job.NewJob {
	t.Helper()
	if err := h.Create(t.Context(), n); err != nil {
		t.Fatalf("Create: %v", err)
	}
	return n
}

func testRoundTrip(t *testing.T, h job.History) {
	n := NewJob(3, 0)
	n.Targets[2] = job.Target{
		Index: 2, Name: "bj-e-new", DC: "bj-e-02", State: mesh.Rejected, Reason: "no agent", At: n.Job.Created,
	}
	n.Job.Spec.Script = &mesh.Script{Name: "x.sh", SHA256: mesh.Digest([]byte("true")), Size: 4}
	n.Script = []byte("true")
	create(t, h, n)
	same(t, "Job", n.Job, must[job.Job](t)(h.Job(t.Context(), n.Job.ID)))
	same(t, "Targets", n.Targets, must[[]job.Target](t)(h.Targets(t.Context(), n.Job.ID)))
	same(t, "JobByToken", n.Job, must[job.Job](t)(h.JobByToken(t.Context(), "li", n.Job.Token)))
	same(t, "the script", n.Script, must[[]byte](t)(h.Output(t.Context(), n.Job.Spec.Script.SHA256)))
}

func testConflict(t *testing.T, h job.History) {
	first := create(t, h, NewJob(1, 0))
	again := NewJob(1, 0)
	again.Job.ID = first.Job.ID
	if got := mesh.CodeOf(h.Create(t.Context(), again)); got != mesh.Conflict {
		t.Errorf("Create of an id that exists: code %q, want %q", got, mesh.Conflict)
	}
	token := NewJob(1, 0)
	token.Job.Token = first.Job.Token
	if got := mesh.CodeOf(h.Create(t.Context(), token)); got != mesh.Conflict {
		t.Errorf("Create with a token that was used: code %q, want %q", got, mesh.Conflict)
	}
	if _, err := h.Job(t.Context(), token.Job.ID); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("the job that conflicted is there: %v", err)
	}
	token.Job.Author = "wang"
	create(t, h, token)
	for range 2 { // no token is no token.
		n := NewJob(1, 0)
		n.Job.Token = ""
		create(t, h, n)
	}
	if _, err := h.JobByToken(t.Context(), "li", ""); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("JobByToken of no token: %v, want %q", err, mesh.NotFound)
	}
}

func testNotFound(t *testing.T, h job.History) {
	id := mesh.NewJobID()
	_, errJob := h.Job(t.Context(), id)
	_, errTargets := h.Targets(t.Context(), id)
	_, errToken := h.JobByToken(t.Context(), "li", "nothing")
	_, errOutput := h.Output(t.Context(), mesh.Digest(nil))
	for name, err := range map[string]error{"Job": errJob, "Targets": errTargets, "JobByToken": errToken, "Output": errOutput} {
		if got := mesh.CodeOf(err); got != mesh.NotFound {
			t.Errorf("%s: code %q, want %q", name, got, mesh.NotFound)
		}
	}
}

// changed returns a change of everything that Apply may change in n, and n as
// it must then be.
func changed(n job.NewJob) (job.Change, job.NewJob) {
	n.Targets = slices.Clone(n.Targets)
	j := &n.Job
	j.Phase, j.Gen, j.Wave, j.Ctl, j.Stopped = dispatch.PhasePause, 2, 1, []byte(`{"type":"ctl"}`), "1 node failed"
	j.Counts = mesh.Counts{mesh.Failed: 1, mesh.Pending: len(n.Targets) - 1}
	j.Woke, j.Ended = map[mesh.Woke]int{mesh.WokeEvent: 1}, epoch.Add(time.Minute)
	t := &n.Targets[1]
	t.State, t.Reason, t.Code, t.Signal, t.Woke, t.Inferred = mesh.Failed, "why", 3, "SIGHUP", mesh.WokeEvent, true
	t.At, t.Started, t.Ended = epoch.Add(3*time.Second), epoch.Add(time.Second), epoch.Add(2*time.Second)
	t.Stdout = mesh.Output{Bytes: 3, Digest: mesh.Digest([]byte("out"))}
	t.Stderr = mesh.Output{Bytes: 1 << 40, Truncated: true, Digest: mesh.Digest([]byte("err"))}
	n.Places = []job.Place{{Job: j.ID, DC: "bj-e-01", Published: true, Gen: 2}}
	return job.Change{
		Jobs: []job.Job{*j}, Targets: map[mesh.JobID][]job.Target{j.ID: {*t}}, Places: n.Places,
		Outputs: map[string][]byte{t.Stdout.Digest: []byte("out")},
		Wanted:  map[string][]mesh.NodeID{t.Stderr.Digest: {t.Node}},
		Marks:   map[string][mesh.Shards]job.Mark{"bj-e-01": {3: {Epoch: "e", Seq: 1 << 60}}},
		Audit:   []mesh.Audit{{Time: epoch, Actor: "alps", Action: "job.end", Outcome: mesh.OutcomeDone, Detail: map[string]string{"OK": "1"}}},
	}, n
}

func testApply(t *testing.T, h job.History) {
	other := create(t, h, NewJob(3, 1))
	c, want := changed(create(t, h, NewJob(3, 0)))
	// What Apply must not touch is other than what is stored.
	c.Jobs[0].Title, c.Jobs[0].Author, c.Jobs[0].Token = "other", "other", "other"
	c.Targets[want.Job.ID][0].Name, c.Targets[want.Job.ID][0].Listed = "other", false
	if err := h.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, n := range []job.NewJob{want, other} {
		same(t, "Job", n.Job, must[job.Job](t)(h.Job(t.Context(), n.Job.ID)))
		same(t, "Targets", n.Targets, must[[]job.Target](t)(h.Targets(t.Context(), n.Job.ID)))
	}
}

func testAllOrNothing(t *testing.T, h job.History) {
	n := create(t, h, NewJob(3, 0))
	c, _ := changed(n)
	c.Jobs = []job.Job{{ID: mesh.NewJobID()}}
	if got := mesh.CodeOf(h.Apply(t.Context(), c)); got != mesh.NotFound {
		t.Fatalf("Apply to an unknown job: code %q, want %q", got, mesh.NotFound)
	}
	same(t, "Job", n.Job, must[job.Job](t)(h.Job(t.Context(), n.Job.ID)))
	same(t, "Targets", n.Targets, must[[]job.Target](t)(h.Targets(t.Context(), n.Job.ID)))
	if marks := must[[mesh.Shards]job.Mark](t)(h.Marks(t.Context(), "bj-e-01")); marks != ([mesh.Shards]job.Mark{}) {
		t.Errorf("Marks = %v after a change that failed, want none", marks)
	}
}

func testTwice(t *testing.T, h job.History) {
	c, want := changed(create(t, h, NewJob(3, 0)))
	for range 2 {
		if err := h.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "Job", want.Job, must[job.Job](t)(h.Job(t.Context(), want.Job.ID)))
	same(t, "Targets", want.Targets, must[[]job.Target](t)(h.Targets(t.Context(), want.Job.ID)))
}

func testList(t *testing.T, h job.History) {
	var ids []mesh.JobID // the newest first.
	shared, own := mesh.NewNodeID(), mesh.NodeID("")
	for i := range 5 {
		n := NewJob(2, i)
		switch i {
		case 0, 4:
			n.Targets[1].Node = shared
		case 3:
			own = n.Targets[0].Node
			n.Targets[1].Node = "" // nobody has enrolled there.
		}
		if i == 1 {
			n.Job.Author = "wang"
		}
		if i == 2 {
			n.Job.Ended, n.Targets[0].State = n.Job.Created, mesh.Failed
			n.Job.Counts = mesh.Counts{mesh.Failed: 1, mesh.Pending: 1}
		}
		ids = append([]mesh.JobID{create(t, h, n).Job.ID}, ids...)
	}
	tests := []struct {
		name string
		f    job.Filter
		want []mesh.JobID
	}{
		{"all", job.Filter{}, ids},
		{"open", job.Filter{Open: true}, []mesh.JobID{ids[0], ids[1], ids[3], ids[4]}},
		{"by author", job.Filter{Author: "wang"}, ids[3:4]},
		{"by state", job.Filter{State: mesh.Failed}, ids[2:3]},
		{"by prefix", job.Filter{Prefix: string(ids[1])[:12]}, ids[1:2]},
		{"limited", job.Filter{Limit: 2}, ids[:2]},
		{"next page", job.Filter{Limit: 2, Before: ids[1]}, ids[2:4]},
		{"last page", job.Filter{Limit: 2, Before: ids[3]}, ids[4:]},
		{"past the end", job.Filter{Before: ids[4]}, nil},
		{"behind an unknown one", job.Filter{Before: mesh.NewJobID()}, nil},
		{"by node", job.Filter{Node: shared}, []mesh.JobID{ids[0], ids[4]}},
		{"by node and limited", job.Filter{Node: shared, Limit: 1}, ids[:1]},
		{"by node, next page", job.Filter{Node: shared, Before: ids[0]}, ids[4:]},
		{"by the node of one", job.Filter{Node: own}, ids[1:2]},
		{"by a node without jobs", job.Filter{Node: mesh.NewNodeID()}, nil},
		{"a prefix is no pattern", job.Filter{Prefix: "%"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []mesh.JobID
			for _, j := range must[[]job.Job](t)(h.Jobs(t.Context(), tt.f)) {
				got = append(got, j.ID)
			}
			same(t, "Jobs", tt.want, got)
		})
	}
}

func testOutputs(t *testing.T, h job.History) {
	a, b := []byte("hello\x00\xff"), []byte("other")
	da, db := mesh.Digest(a), mesh.Digest(b)
	n1, n2 := mesh.NewNodeID(), mesh.NewNodeID()
	err := h.Apply(t.Context(), job.Change{Wanted: map[string][]mesh.NodeID{da: {n1, n2}, db: {n1}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.PutOutput(t.Context(), da, a); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "Output", a, must[[]byte](t)(h.Output(t.Context(), da)))
	same(t, "KnownOutputs", []string{da}, must[[]string](t)(h.KnownOutputs(t.Context(), []string{db, da})))
	same(t, "KnownOutputs of none", []string{}, must[[]string](t)(h.KnownOutputs(t.Context(), nil)))
	same(t, "Wanted of a node that has the other", []string{db}, must[[]string](t)(h.Wanted(t.Context(), n1)))
	same(t, "Wanted of a node that has it", []string{}, must[[]string](t)(h.Wanted(t.Context(), n2)))
}

func testBoards(t *testing.T, h job.History) {
	open, ended, cleaned := NewJob(1, 0), NewJob(1, 0), NewJob(1, 0)
	ended.Job.Ended, cleaned.Job.Ended = epoch, epoch
	ended.Job.Expires = epoch.Add(-time.Hour)
	cleaned.Job.Expires, cleaned.Places[0].Cleaned = epoch.Add(-time.Hour), true
	for _, n := range []job.NewJob{open, ended, cleaned} {
		create(t, h, n)
	}
	same(t, "open places", open.Places, must[[]job.Place](t)(h.Places(t.Context(), true, time.Time{})))
	same(t, "expired places", ended.Places, must[[]job.Place](t)(h.Places(t.Context(), false, epoch)))

	var want [mesh.Shards]job.Mark
	for i := range want {
		want[i] = job.Mark{Epoch: "e", Seq: uint64(i)}
	}
	if err := h.Apply(t.Context(), job.Change{Marks: map[string][mesh.Shards]job.Mark{"a": want}}); err != nil {
		t.Fatal(err)
	}
	same(t, "Marks", want, must[[mesh.Shards]job.Mark](t)(h.Marks(t.Context(), "a")))
	same(t, "Marks of another", [mesh.Shards]job.Mark{}, must[[mesh.Shards]job.Mark](t)(h.Marks(t.Context(), "b")))
}

func testMany(t *testing.T, h job.History) {
	n := create(t, h, NewJob(10_000, 0))
	for i := range n.Targets {
		n.Targets[i].State = mesh.OK
	}
	c := job.Change{Targets: map[mesh.JobID][]job.Target{n.Job.ID: n.Targets}}
	if err := h.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	same(t, "Targets", n.Targets, must[[]job.Target](t)(h.Targets(t.Context(), n.Job.ID)))
}
