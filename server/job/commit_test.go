package job_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/job"
)

func TestReportsOfOneNode(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		r.say(id, "n000", mesh.Running, mesh.Acked, mesh.Acked) // reordered and doubled.
		if got := countsOf(r.view(id).Job.Counts); got != "PENDING 1, RUNNING 1" {
			t.Errorf("counts %s", got)
		}
		if got := r.view(id).Job.Woke; got[mesh.WokeEvent] != 1 || len(got) != 1 {
			t.Errorf("woke %v, want one by the event", got)
		}
		n := r.node("n000")
		at := time.Now().UTC()
		end := mesh.Report{
			Job: id, Attempt: 1, Node: n.ID, State: mesh.Failed, Reason: "no such file", Code: 127,
			At: at, Started: at.Add(-time.Second), Ended: at,
			Stderr: mesh.Output{Bytes: 3, Digest: mesh.Digest([]byte("bad")), Inline: []byte("bad")},
		}
		for range 2 {
			if err := r.service.Commit(t.Context(), n.ID, []mesh.Report{end}); err != nil {
				t.Fatal(err)
			}
		}
		r.say(id, "n000", mesh.OK) // an end is final.
		want := job.Target{
			Index: 0, Node: n.ID, Name: "n000", DC: home, Listed: true, State: mesh.Failed, Reason: "no such file", Code: 127,
			Woke: mesh.WokeEvent, At: at, Started: at.Add(-time.Second), Ended: at,
			Stderr: mesh.Output{Bytes: 3, Digest: mesh.Digest([]byte("bad"))},
		}
		if diff := cmp.Diff(want, r.target(id, "n000")); diff != "" {
			t.Errorf("target (-want +got):\n%s", diff)
		}
		if body, err := r.service.Output(t.Context(), r.actor(), id, end.Stderr.Digest); err != nil || string(body) != "bad" {
			t.Errorf("Output = %q, %v", body, err)
		}
		r.say(id, "n001", mesh.OK)
		if v := r.view(id); v.Job.Ended.IsZero() || countsOf(v.Job.Counts) != "FAILED 1, OK 1" {
			t.Errorf("counts %s, ended %s", countsOf(v.Job.Counts), v.Job.Ended)
		}
		if got := r.audit(); !slices.Equal(got, []string{"job.submit done", "job.end done"}) {
			t.Errorf("audit %q", got)
		}
		kinds, events := r.stream.all()
		want3 := []string{"job.submitted", "job.targets", "job.targets", "job.targets", "job.ended"}
		if !slices.Equal(kinds, want3) && !slices.Equal(kinds, want3[1:]) {
			t.Errorf("events %q, want %q", kinds, want3)
		}
		for _, e := range events {
			if e.Counts.Total() != 2 {
				t.Errorf("an event counts %v, want 2 targets", e.Counts)
			}
		}
	})
}

func TestReportRefusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *rig, rep *mesh.Report)
		code   mesh.Code
		text   string
	}{
		{"in the name of another", func(r *rig, rep *mesh.Report) { rep.Node = r.node("n001").ID }, mesh.Denied, "in the name of"},
		{"unknown job", func(_ *rig, rep *mesh.Report) { rep.Job = "00000000000000ff" }, mesh.Invalid, "no such job"},
		{"not the form of a job", func(_ *rig, rep *mesh.Report) { rep.Job = "'; DROP" }, mesh.Invalid, "form of a job's id"},
		{"not a target", func(r *rig, rep *mesh.Report) { rep.Job = r.submit(run("n001")).Job.ID }, mesh.Denied, "not in its list"},
		{"unknown state", func(_ *rig, rep *mesh.Report) { rep.State = "DONE" }, mesh.Invalid, "cannot be in state"},
		{"pending", func(_ *rig, rep *mesh.Report) { rep.State = mesh.Pending }, mesh.Invalid, "cannot be in state"},
		{"skipped", func(_ *rig, rep *mesh.Report) { rep.State = mesh.Skipped }, mesh.Invalid, "cannot be in state"},
		{"woken by magic", func(_ *rig, rep *mesh.Report) { rep.Woke = "magic" }, mesh.Invalid, "cause of waking"},
		{"a later attempt", func(_ *rig, rep *mesh.Report) { rep.Attempt = 2 }, mesh.Invalid, "attempt 2"},
		{"long output", func(_ *rig, rep *mesh.Report) {
			rep.Stdout.Inline = make([]byte, mesh.MaxInlineOutput+1)
			rep.Stdout.Digest = mesh.Digest(rep.Stdout.Inline)
		}, mesh.Invalid, "too long"},
		{"wrong digest", func(_ *rig, rep *mesh.Report) {
			rep.Stdout = mesh.Output{Inline: []byte("a"), Digest: mesh.Digest([]byte("b"))}
		}, mesh.Invalid, "not what its digest says"},
		{"no digest", func(_ *rig, rep *mesh.Report) { rep.Stderr.Inline = []byte("a") }, mesh.Invalid, "not what its digest says"},
		{"strange digest", func(_ *rig, rep *mesh.Report) { rep.Stderr.Digest = strings.Repeat("G", 64) }, mesh.Invalid, "no proper digest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, r *rig) {
				id := r.submit(run("all")).Job.ID
				from := r.node("n000").ID
				bad, good := report(id, from, mesh.OK), report(id, from, mesh.Running)
				tt.change(r, &bad)
				before := len(r.history.Audit())
				for range 3 {
					err := r.service.Commit(t.Context(), from, []mesh.Report{bad, good})
					if mesh.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
						t.Errorf("Commit = %v, want %q and %q", err, tt.code, tt.text)
					}
				}
				if got := countsOf(r.view(id).Job.Counts); got != "PENDING 1, RUNNING 1" {
					t.Errorf("counts %s: the good report beside it is lost", got)
				}
				lines := r.history.Audit()[before:]
				if len(lines) != 1 || lines[0].Action != "job.report" || lines[0].Outcome != mesh.OutcomeRefused || lines[0].Actor != "node/"+string(from) {
					t.Errorf("audit %+v, want one refusal", lines)
				}
			})
		})
	}
}

func TestSilence(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, r *rig) {
		q := run("all")
		q.ExpiresIn, q.Timeout, q.Grace = time.Minute, 10*time.Second, time.Second
		id := r.submit(q).Job.ID
		r.say(id, "n001", mesh.Acked)
		r.say(id, "n002", mesh.Acked, mesh.Running)
		r.say(id, "n003", mesh.OK)

		time.Sleep(time.Minute)
		if got := countsOf(r.view(id).Job.Counts); got != "ACKED 1, OK 1, PENDING 1, RUNNING 1" {
			t.Errorf("counts at its expiry: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := countsOf(r.view(id).Job.Counts); got != "ACKED 1, EXPIRED 1, OK 1, RUNNING 1" {
			t.Errorf("counts after its expiry: %s", got)
		}
		time.Sleep(4 * time.Minute)
		v := r.view(id)
		if got := countsOf(v.Job.Counts); got != "EXPIRED 1, OK 1, UNKNOWN 2" || v.Job.Ended.IsZero() {
			t.Errorf("counts when all must have ended: %s", got)
		}
		for name, want := range map[string]string{
			"n000": "no word from the node before the job expired",
			"n001": "the node took it on and has not been heard since",
			"n002": "it was started, and the node has not said how it ended",
		} {
			if got := r.target(id, name); got.Reason != want || !got.Inferred {
				t.Errorf("node %s: %q, inferred %v, want %q", name, got.Reason, got.Inferred, want)
			}
		}
		// A late word replaces what was inferred, also after a restart, and an
		// end of the node's own stays.
		time.Sleep(time.Hour)
		r.stop()
		r.start()
		r.say(id, "n000", mesh.Running, mesh.OK, mesh.Failed)
		r.say(id, "n002", mesh.Unknown)
		if got := countsOf(r.view(id).Job.Counts); got != "OK 2, UNKNOWN 2" {
			t.Errorf("counts after late words: %s", got)
		}
		if got := r.target(id, "n002"); got.Inferred || got.Reason != "" {
			t.Errorf("the node's own UNKNOWN: %q, inferred %v", got.Reason, got.Inferred)
		}
	})
}

// TestProgressIsStored kills nothing: it asks the store.
func TestProgressIsStored(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		r.say(id, "n000", mesh.Acked, mesh.Running)
		time.Sleep(time.Second)
		stored, err := r.history.Targets(t.Context(), id)
		if err != nil || stored[0].State != mesh.Running {
			t.Errorf("stored %+v, %v, want RUNNING", stored, err)
		}
		if j, err := r.history.Job(t.Context(), id); err != nil || countsOf(j.Counts) != "RUNNING 1" || j.Woke[mesh.WokeEvent] != 1 {
			t.Errorf("stored counts %v, woke %v, %v", j.Counts, j.Woke, err)
		}
	})
}

// end is a report with an output that does not travel with it.
func end(id mesh.JobID, node mesh.NodeID, body string) mesh.Report {
	rep := report(id, node, mesh.OK)
	rep.Stdout = mesh.Output{Bytes: int64(len(body)), Digest: mesh.Digest([]byte(body))}
	return rep
}

func TestOutputsAreAskedForOnce(t *testing.T) {
	inBubble(t, 5, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		body := strings.Repeat("same\n", 2000)
		digest := mesh.Digest([]byte(body))
		for _, n := range r.nodes.list {
			if err := r.service.Commit(t.Context(), n.ID, []mesh.Report{end(id, n.ID, body)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		first, second := r.nodes.list[0].ID, r.nodes.list[1].ID
		if got := r.asked.take(); !slices.Equal(got, []string{string(first) + " " + digest}) {
			t.Errorf("asked %q, want the first node once", got)
		}
		if _, err := r.service.Output(t.Context(), r.actor(), id, digest); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("Output before it is there: %v, want %q", err, mesh.Unavailable)
		}
		time.Sleep(time.Second)
		r.asked.take()
		time.Sleep(time.Minute)
		if got := r.asked.take(); len(got) == 0 || !strings.HasPrefix(got[0], string(second)) {
			t.Errorf("when the first does not deliver, asked %q, want the second", got)
		}
		r.stop() // what is waited for is remembered over a restart.
		r.start()
		r.service.Connected(first)
		time.Sleep(time.Second)
		if got := r.asked.take(); !slices.Equal(got, []string{string(first) + " " + digest}) {
			t.Errorf("when it connects, asked %q, want the first", got)
		}

		if err := r.service.PutOutput(t.Context(), first, digest, []byte("other")); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("PutOutput of another body: %v, want %q", err, mesh.Invalid)
		}
		stranger := mesh.NewNodeID()
		if err := r.service.PutOutput(t.Context(), stranger, digest, []byte(body)); mesh.CodeOf(err) != mesh.Denied {
			t.Errorf("PutOutput of a node that was not asked: %v, want %q", err, mesh.Denied)
		}
		for range 2 {
			if err := r.service.PutOutput(t.Context(), first, digest, []byte(body)); err != nil {
				t.Errorf("PutOutput: %v", err)
			}
		}
		if got, err := r.service.Output(t.Context(), r.actor(), id, digest); err != nil || string(got) != body {
			t.Errorf("Output = %d bytes, %v", len(got), err)
		}
		r.service.Connected(first)
		again := r.submit(run("n000")).Job.ID
		if err := r.service.Commit(t.Context(), first, []mesh.Report{end(again, first, body)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := r.asked.take(); len(got) != 0 {
			t.Errorf("asked %q for what is kept", got)
		}
		if g := r.view(id).Groups; len(g) != 1 || g[0].Count != 5 || g[0].Nodes != "n[000-004]" {
			t.Errorf("groups %+v, want one of five", g)
		}
	})
}

func TestViews(t *testing.T) {
	inBubble(t, 6, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		other := r.submit(run("n005")).Job.ID
		for i, out := range []string{"a", "a", "b", "a"} {
			n := r.nodes.list[i]
			rep := report(id, n.ID, mesh.OK)
			rep.Stdout = mesh.Output{Bytes: 1, Digest: mesh.Digest([]byte(out)), Inline: []byte(out)}
			if err := r.service.Commit(t.Context(), n.ID, []mesh.Report{rep}); err != nil {
				t.Fatal(err)
			}
		}
		r.say(id, "n004", mesh.Failed)
		var got []string
		for _, g := range r.view(id).Groups {
			got = append(got, string(g.State)+" "+g.Nodes)
		}
		if want := []string{"PENDING n005", "OK n[000-001,003]", "OK n002", "FAILED n004"}; !slices.Equal(got, want) {
			t.Errorf("groups %q, want %q", got, want)
		}

		names := func(who job.Actor, p job.TargetPage) (out []string, more bool) {
			list, more, err := r.service.Targets(t.Context(), who, id, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				out = append(out, string(x.Name))
			}
			return out, more
		}
		if got, more := names(r.actor(), job.TargetPage{After: 0, State: mesh.OK, Limit: 2}); !slices.Equal(got, []string{"n001", "n002"}) || !more {
			t.Errorf("page of OK behind the first: %q, more %v", got, more)
		}
		if got, more := names(r.actor(), job.TargetPage{After: -1, Group: r.view(id).Groups[1].ID}); len(got) != 3 || more {
			t.Errorf("targets of the largest group: %q, more %v", got, more)
		}

		few := job.Actor{Name: "few", Scope: parse(t, "n000,n004")}
		if got, _ := names(few, job.TargetPage{After: -1}); !slices.Equal(got, []string{"n000", "n004"}) {
			t.Errorf("targets in a scope: %q", got)
		}
		v, err := r.service.Get(t.Context(), few, id)
		if err != nil || v.Hidden != 4 || len(v.Groups) != 2 || v.Job.Counts.Total() != 6 {
			t.Errorf("view in a scope: %d hidden, %d groups, %d in all, %v", v.Hidden, len(v.Groups), v.Job.Counts.Total(), err)
		}
		if _, err := r.service.Get(t.Context(), few, other); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("a job outside the scope: %v, want %q", err, mesh.NotFound)
		}
		if _, err := r.service.Output(t.Context(), few, id, mesh.Digest([]byte("b"))); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("an output outside the scope: %v, want %q", err, mesh.NotFound)
		}
		if jobs, err := r.service.List(t.Context(), few, job.Filter{Limit: 1}); err != nil || len(jobs) != 1 || jobs[0].ID != id {
			t.Errorf("List in a scope: %d, %v, want %s", len(jobs), err, id)
		}
		if jobs, err := r.service.List(t.Context(), r.actor(), job.Filter{}); err != nil || len(jobs) != 2 {
			t.Errorf("List = %d, %v, want both", len(jobs), err)
		}
		for _, action := range []func(context.Context, job.Actor, mesh.JobID) (job.Submission, error){r.service.Cancel, r.service.Pause} {
			if _, err := action(t.Context(), few, id); mesh.CodeOf(err) != mesh.Denied {
				t.Errorf("changing a job half in the scope: %v, want %q", err, mesh.Denied)
			}
		}
		if got, err := r.service.Find(t.Context(), r.actor(), string(id[:8])); err != nil || got != id {
			t.Errorf("Find = %s, %v, want %s", got, err, id)
		}
		for prefix, code := range map[string]mesh.Code{"12": mesh.Invalid, "zzzz": mesh.NotFound} {
			if _, err := r.service.Find(t.Context(), r.actor(), prefix); mesh.CodeOf(err) != code {
				t.Errorf("Find(%q) = %v, want %q", prefix, err, code)
			}
		}
	})
}
