package job_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
	"alps/server/job"
)

func TestSubmitReachesTheNodes(t *testing.T) {
	for _, n := range []int{1, 3, 64, 65, 300} { // inline and in parts.
		inBubble(t, n, func(t *testing.T, r *rig) {
			sub := r.submit(run("all"))
			if !sub.Published || sub.Warning != "" {
				t.Errorf("%d nodes: Published = %v, Warning = %q", n, sub.Published, sub.Warning)
			}
			if got := sub.Job.Counts; got[mesh.Pending] != n || got.Total() != n {
				t.Errorf("%d nodes: counts %v", n, got)
			}
			for _, node := range r.nodes.list {
				got := r.agent(string(node.Name)).look(r.boards[home])
				if !slices.Equal(got, []mesh.JobID{sub.Job.ID}) {
					t.Fatalf("%d nodes: node %s reads %v, want %s", n, node.Name, got, sub.Job.ID)
				}
			}
			events := r.boards[home].Events()
			if last := events[len(events)-1]; !last.Touches(r.nodes.list[0].ID) {
				t.Errorf("%d nodes: the event %v does not touch the shard of a target", n, last)
			}
			if got := r.audit(); !slices.Equal(got, []string{"job.submit done"}) {
				t.Errorf("audit %q", got)
			}
		})
	}
}

func TestSubmitRefusals(t *testing.T) {
	tests := []struct {
		name  string
		q     job.Request
		scope string
		code  mesh.Code
		text  string
	}{
		{"nothing to run", job.Request{Target: "all"}, "all", mesh.Invalid, "nothing to run"},
		{"both", job.Request{Target: "all", Command: []string{"a"}, Script: &job.Script{Name: "a", Body: []byte("b")}}, "all", mesh.Invalid, "not both"},
		{"empty command", job.Request{Target: "all", Command: []string{""}}, "all", mesh.Invalid, "command is empty"},
		{"arguments of a command", job.Request{Target: "all", Command: []string{"a"}, Args: []string{"b"}}, "all", mesh.Invalid, "belong to a script"},
		{"empty script", job.Request{Target: "all", Script: &job.Script{Name: "a"}}, "all", mesh.Invalid, "is empty"},
		{"large script", job.Request{Target: "all", Script: &job.Script{Name: "a", Body: make([]byte, mesh.MaxScript+1)}}, "all", mesh.TooLarge, "1048577 bytes"},
		{"path as a name", job.Request{Target: "all", Script: &job.Script{Name: "../a", Body: []byte("b")}}, "all", mesh.Invalid, "plain file name"},
		{"NUL", job.Request{Target: "all", Command: []string{"a\x00b"}}, "all", mesh.Invalid, "NUL"},
		{"bad variable", job.Request{Target: "all", Command: []string{"a"}, Env: map[string]string{"A=B": ""}}, "all", mesh.Invalid, "variable name"},
		{"NUL in a variable", job.Request{Target: "all", Command: []string{"a"}, Env: map[string]string{"A": "\x00"}}, "all", mesh.Invalid, "NUL"},
		{"long timeout", job.Request{Target: "all", Command: []string{"a"}, Timeout: 25 * time.Hour}, "all", mesh.Invalid, "timeout of 25h"},
		{"fraction", job.Request{Target: "all", Command: []string{"a"}, Grace: 1500 * time.Millisecond}, "all", mesh.Invalid, "grace of 1.5s"},
		{"short expiry", job.Request{Target: "all", Command: []string{"a"}, ExpiresIn: time.Second}, "all", mesh.Invalid, "expiry of 1s"},
		{"bad expression", run("role="), "all", mesh.Invalid, "target expression"},
		{"no match", run("role=nothing"), "all", mesh.NoTargets, "matches no node"},
		{"unknown name", run("n000,n999"), "all", mesh.NotFound, "no such node: n999"},
		{"outside the scope", run("all"), "name=n000", mesh.Denied, "n[001-002]"},
		{"no scope", run("all"), "", mesh.Denied, "n[000-002]"},
		{"negative canary", job.Request{Target: "all", Command: []string{"a"}, Canary: -1}, "all", mesh.Invalid, "--canary -1"},
		{"empty batch", job.Request{Target: "all", Command: []string{"a"}, Batch: "0"}, "all", mesh.Invalid, "none at all"},
		{"bad share", job.Request{Target: "all", Command: []string{"a"}, Batch: "101%"}, "all", mesh.Invalid, "neither a number nor a percentage"},
		{"bad max-fail", job.Request{Target: "all", Command: []string{"a"}, MaxFail: "x"}, "all", mesh.Invalid, "--max-fail"},
		{"confirm without canary", job.Request{Target: "all", Command: []string{"a"}, Confirm: true}, "all", mesh.Invalid, "there is none"},
		{"large envelope", job.Request{Target: "all", Command: []string{"echo", strings.Repeat("x", mesh.MaxEnvelope)}}, "all", mesh.TooLarge, "takes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 3, func(t *testing.T, r *rig) {
				who := job.Actor{Name: "li"}
				if tt.scope != "" {
					who.Scope = parse(t, tt.scope)
				}
				before := r.boards[home].Txns()
				_, err := r.service.Submit(t.Context(), who, tt.q)
				if mesh.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("Submit = %q %v, want %q and %q", mesh.CodeOf(err), err, tt.code, tt.text)
				}
				if got := r.boards[home].Txns(); got != before {
					t.Errorf("something was published")
				}
				if got := r.audit(); !slices.Equal(got, []string{"job.submit refused"}) {
					t.Errorf("audit %q", got)
				}
			})
		})
	}
}

func TestSubmitWithoutTrust(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		r.root = sign.Root{}
		_, err := r.service.Submit(t.Context(), r.actor(), run("all"))
		if mesh.CodeOf(err) != mesh.Denied || !strings.Contains(err.Error(), "no trust root") {
			t.Errorf("Submit = %v", err)
		}
	})
}

func TestAllowMissing(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		q := run("n000,n999")
		q.AllowMissing = true
		if got := r.submit(q).Job.Counts.Total(); got != 1 {
			t.Errorf("%d targets, want 1", got)
		}
	})
}

func TestSubmitToken(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		q := run("all")
		q.Token = "again"
		first := r.submit(q)
		second := r.submit(q)
		if first.Job.ID != second.Job.ID || first.Repeated || !second.Repeated {
			t.Errorf("jobs %s, %s, repeated %v, %v: want one job", first.Job.ID, second.Job.ID, first.Repeated, second.Repeated)
		}
		q.Command = []string{"false"}
		if _, err := r.service.Submit(t.Context(), r.actor(), q); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("another content: %v, want %q", err, mesh.Conflict)
		}
	})
}

func TestSubmitTokenAtOnce(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		q := run("all")
		q.Token = "once"
		ids := make([]mesh.JobID, 10)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() { ids[i] = r.submit(q).Job.ID })
		}
		wg.Wait()
		if got := slices.Compact(ids); len(got) != 1 {
			t.Errorf("%d jobs were made of one token", len(got))
		}
	})
}

func TestNodesWithoutAgent(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		r.nodes.add(mesh.Node{Name: "bare", DC: home, Agent: mesh.AgentNone})
		r.nodes.add(mesh.Node{ID: mesh.NewNodeID(), Name: "out", DC: home, Agent: mesh.AgentRevoked})
		r.nodes.add(mesh.Node{ID: mesh.NewNodeID(), Name: "silent", DC: home, Agent: mesh.AgentLost})

		id := r.submit(run("all")).Job.ID
		if got, want := countsOf(r.view(id).Job.Counts), "PENDING 2, REJECTED 2"; got != want {
			t.Errorf("counts %s, want %s", got, want)
		}
		if got := r.target(id, "bare").Reason; got != "no ALPS agent has enrolled on this node" {
			t.Errorf("reason of a node without agent: %q", got)
		}
		if got := r.target(id, "out").Reason; got != "the node's enrolment was revoked" {
			t.Errorf("reason of a revoked node: %q", got)
		}
		a := r.agent("n000")
		a.look(r.boards[home])
		if got := a.seen[id].Targets.Count; got != 2 {
			t.Errorf("%d nodes are in the signed list, want 2", got)
		}

		txns := r.boards[home].Txns()
		none := r.submit(run("bare,out"))
		if v := r.view(none.Job.ID); v.Job.Ended.IsZero() || !none.Published || v.Job.Envelope != nil {
			t.Errorf("a job without any agent: ended %v, published %v", v.Job.Ended, none.Published)
		}
		if got := r.boards[home].Txns(); got != txns {
			t.Error("a job without any agent was published")
		}
	})
}

func TestScripts(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		for _, size := range []int{mesh.MaxInlineScript, mesh.MaxInlineScript + 1} {
			body := append([]byte("#!/bin/sh\n\x00\xff"), make([]byte, size-12)...)
			q := job.Request{Target: "n000", Script: &job.Script{Name: "a.sh", Body: body}, Args: []string{"-v", "a b"}}
			id := r.submit(q).Job.ID
			a := r.agent("n000")
			a.look(r.boards[home])
			script := a.seen[id].Script
			if inline := size <= mesh.MaxInlineScript; (script.Body != nil) != inline || script.Size != size {
				t.Errorf("script of %d bytes: inline %v of %d bytes", size, script.Body != nil, script.Size)
			}
			got, err := r.service.Blob(t.Context(), r.node("n000").ID, script.SHA256)
			if err != nil || string(got) != string(body) {
				t.Errorf("Blob = %d bytes, %v", len(got), err)
			}
			if _, err := r.service.Blob(t.Context(), r.node("n001").ID, script.SHA256); mesh.CodeOf(err) != mesh.NotFound {
				t.Errorf("Blob for a node that does not run it: %v", err)
			}
			if got, want := r.view(id).Job.Title, `a.sh -v "a b"`; got != want {
				t.Errorf("title %s, want %s", got, want)
			}
		}
	})
}

func TestSeveralDatacenters(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		r.nodes.add(mesh.Node{ID: mesh.NewNodeID(), Name: "far", DC: "bj-e-02", Agent: mesh.AgentLinked})
		r.boards["bj-e-02"].SetAway(true)
		start := time.Now()
		sub := r.submit(run("all"))
		if sub.Published || !strings.Contains(sub.Warning, "bj-e-02") || strings.Contains(sub.Warning, home+",") {
			t.Errorf("Published = %v, Warning = %q, want one that names bj-e-02", sub.Published, sub.Warning)
		}
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("Submit waited %s for a datacenter that is away, want 5s", waited)
		}
		if got := r.agent("n000").look(r.boards[home]); len(got) != 1 {
			t.Errorf("the datacenter that is there was not told")
		}
		r.boards["bj-e-02"].SetAway(false)
		time.Sleep(10 * time.Second)
		if got := r.agent("far").look(r.boards["bj-e-02"]); !slices.Equal(got, []mesh.JobID{sub.Job.ID}) {
			t.Errorf("when it is back node far reads %v, want %s", got, sub.Job.ID)
		}
		if got := r.view(sub.Job.ID).Places; len(got) != 2 || !got[0].Published || !got[1].Published {
			t.Errorf("places %+v, want both published", got)
		}
	})
}

// TestKeptWhileConsulIsAway restarts the server before Consul is back.
func TestKeptWhileConsulIsAway(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		r.boards[home].SetAway(true)
		id := r.submit(run("all")).Job.ID
		r.stop()
		r.boards[home].SetAway(false)
		r.start()
		time.Sleep(time.Second)
		if got := r.agent("n000").look(r.boards[home]); !slices.Equal(got, []mesh.JobID{id}) {
			t.Errorf("after a restart the node reads %v, want %s", got, id)
		}
	})
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		var full atomic.Bool
		r.history.Fail = func() error {
			if full.Load() {
				return mesh.Errorf(mesh.Unavailable, "the disk is full")
			}
			return nil
		}
		r.start()
		defer r.stop()
		full.Store(true)
		if _, err := r.service.Submit(t.Context(), r.actor(), run("all")); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("Submit = %v, want %q", err, mesh.Unavailable)
		}
		full.Store(false)
		id := r.submit(run("all")).Job.ID
		full.Store(true)
		n := r.node("n000")
		if err := r.service.Commit(t.Context(), n.ID, []mesh.Report{report(id, n.ID, mesh.OK)}); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("Commit = %v, want %q", err, mesh.Unavailable)
		}
		if got := countsOf(r.view(id).Job.Counts); got != "PENDING 1" {
			t.Errorf("an end that is not stored shows: %s", got)
		}
		full.Store(false)
		r.say(id, "n000", mesh.OK)
		if got := countsOf(r.view(id).Job.Counts); got != "OK 1" {
			t.Errorf("counts %s, want OK 1", got)
		}
	})
}

// draftOf submits a request that the server may not sign.
func draftOf(r *rig, q job.Request) *job.DraftError {
	r.t.Helper()
	_, err := r.service.Submit(context.Background(), r.actor(), q)
	d, ok := errors.AsType[*job.DraftError](err)
	if !ok || mesh.CodeOf(err) != mesh.NeedsKey {
		r.t.Fatalf("Submit = %v, want a draft", err)
	}
	return d
}

func TestOperatorSigns(t *testing.T) {
	for name, scope := range map[string]sign.Scope{
		"no key at all":       {},
		"library alone":       {Scripts: []string{mesh.Digest([]byte("x"))}, Targets: "all", MaxNodes: 100},
		"too few nodes":       {Any: true, Targets: "all", MaxNodes: 1},
		"other nodes":         {Any: true, Targets: "name=n000", MaxNodes: 100},
		"a query that is bad": {Any: true, Targets: "name=", MaxNodes: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 2)
				r.scope = scope
				r.start()
				defer r.stop()
				d := draftOf(r, run("all"))
				op := r.signer("wang", sign.Scope{Any: true, Targets: "all", MaxNodes: 10})
				sub, err := r.service.Sign(t.Context(), r.actor(), d.Job, op.Key.Seal(d.Type, d.Payload, &op.Grant))
				if err != nil {
					t.Fatalf("Sign: %v", err)
				}
				if sub.Job.ID != d.Job || sub.Job.Signer != "wang" || !sub.Published {
					t.Errorf("Sign = %s by %q, published %v", sub.Job.ID, sub.Job.Signer, sub.Published)
				}
				if got := r.agent("n001").look(r.boards[home]); !slices.Equal(got, []mesh.JobID{d.Job}) {
					t.Errorf("the node reads %v, want %s", got, d.Job)
				}
			})
		})
	}
}

func TestSignRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		r.scope = sign.Scope{}
		r.start()
		defer r.stop()
		d := draftOf(r, run("all"))
		good := r.signer("wang", sign.Scope{Any: true, Targets: "all", MaxNodes: 10})
		small := r.signer("zhao", sign.Scope{Any: true, Targets: "all", MaxNodes: 1})
		elsewhere := r.signer("qian", sign.Scope{Any: true, Targets: "name=n000", MaxNodes: 10})
		other := r.actor()
		other.Name = "wang"
		tests := []struct {
			name string
			who  job.Actor
			id   mesh.JobID
			env  sign.Envelope
			code mesh.Code
		}{
			{"somebody else's draft", other, d.Job, good.Key.Seal(d.Type, d.Payload, &good.Grant), mesh.NotFound},
			{"unknown draft", r.actor(), mesh.NewJobID(), good.Key.Seal(d.Type, d.Payload, &good.Grant), mesh.NotFound},
			{"another payload", r.actor(), d.Job, good.Key.Seal(d.Type, []byte("{}"), &good.Grant), mesh.Denied},
			{"another type", r.actor(), d.Job, good.Key.Seal(sign.TypeCtl, d.Payload, &good.Grant), mesh.Denied},
			{"a key without grant", r.actor(), d.Job, sign.GenerateKey().Seal(d.Type, d.Payload, &good.Grant), mesh.Denied},
			{"too small a grant", r.actor(), d.Job, small.Key.Seal(d.Type, d.Payload, &small.Grant), mesh.Denied},
			{"a grant for other nodes", r.actor(), d.Job, elsewhere.Key.Seal(d.Type, d.Payload, &elsewhere.Grant), mesh.Denied},
		}
		for _, tt := range tests {
			if _, err := r.service.Sign(t.Context(), tt.who, tt.id, tt.env); mesh.CodeOf(err) != tt.code {
				t.Errorf("%s: Sign = %v, want %q", tt.name, err, tt.code)
			}
		}
		if got := len(r.history.Audit()); got != len(tests) {
			t.Errorf("%d audit lines, want one for each of %d refusals", got, len(tests))
		}
		time.Sleep(6 * time.Minute)
		if _, err := r.service.Sign(t.Context(), r.actor(), d.Job, good.Key.Seal(d.Type, d.Payload, &good.Grant)); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("Sign after six minutes = %v, want %q", err, mesh.NotFound)
		}
	})
}

// TestParallelSubmits shows that a job costs few Raft entries when many come
// at once, and that none is lost in the heads.
func TestParallelSubmits(t *testing.T) {
	inBubble(t, 40, func(t *testing.T, r *rig) {
		const jobs = 2000
		ids := make([]mesh.JobID, jobs)
		var wg sync.WaitGroup
		for i := range jobs {
			wg.Go(func() { ids[i] = r.submit(run(string(r.nodes.list[i%40].Name))).Job.ID })
		}
		wg.Wait()
		var got []mesh.JobID
		for _, n := range r.nodes.list {
			got = append(got, r.agent(string(n.Name)).look(r.boards[home])...)
		}
		slices.Sort(ids)
		slices.Sort(got)
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("what the nodes read (-submitted +read):\n%s", diff)
		}
		if txns, events := r.boards[home].Txns(), len(r.boards[home].Events()); txns > 100 || events > 10 {
			t.Errorf("%d jobs cost %d transactions and %d events", jobs, txns, events)
		}
		// The ids of nodes are random, and so is how many share a head: of all
		// heads together at least one has overflown.
		segments := 0
		for _, n := range r.nodes.list {
			head, err := dispatch.DecodeHead(r.boards[home].Get(dispatch.HeadKey(n.ID.Shard())))
			if err != nil {
				t.Fatal(err)
			}
			segments += head.Next
		}
		if segments == 0 {
			t.Error("no segment was written")
		}
	})
}
