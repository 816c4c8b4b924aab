package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/agent/exec/exectest"
	"alps/agent/exec/journal"
	"alps/agent/exec/run"
	"alps/mesh"
	"alps/mesh/dispatch"
)

func TestJobRuns(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = func(_ context.Context, tk run.Task) run.Result {
			time.Sleep(time.Second)
			return run.Result{State: mesh.Failed, Code: 3, Stdout: stream("out"), Stderr: stream("err")}
		}
		r.start()
		s := r.clerk.Spec(r.node)
		s.Command, s.Env, s.RunAs = []string{"df", "-h"}, map[string]string{"A": "b"}, "hdfs"
		r.publish(s)
		settle(2 * time.Second)
		r.wantStates(s, mesh.Acked, mesh.Running, mesh.Failed)
		got := r.reports.Of(s.Job)
		if got[0].Woke != mesh.WokeEvent && got[0].Woke != mesh.WokeWatch {
			t.Errorf("woke: got %q", got[0].Woke)
		}
		end := got[2]
		want := mesh.Report{
			Job: s.Job, Attempt: 1, Node: r.node, State: mesh.Failed, Code: 3,
			At: end.At, Started: end.Ended.Add(-time.Second), Ended: end.Ended,
			Stdout: mesh.Output{Bytes: 3, Digest: mesh.Digest([]byte("out")), Inline: []byte("out")},
			Stderr: mesh.Output{Bytes: 3, Digest: mesh.Digest([]byte("err")), Inline: []byte("err")},
		}
		if diff := cmp.Diff(want, end); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		task := r.runner.Tasks()[0]
		wantTask := run.Task{
			Job: s.Job, Attempt: 1, Mark: task.Mark, Command: []string{"df", "-h"}, Env: map[string]string{"A": "b"},
			RunAs: "hdfs", Timeout: time.Minute, Grace: 5 * time.Second,
			Vars: map[string]string{"ALPS": "", "ALPS_NODE": "bj-e-hadoop01-11-203", "ALPS_NODE_ID": string(r.node), "ALPS_CLUSTER": "lab"},
		}
		task.Started = nil
		if diff := cmp.Diff(wantTask, task); diff != "" {
			t.Errorf("task (-want +got):\n%s", diff)
		}
		r.end()
	})
}

func stream(s string) run.Stream {
	return run.Stream{Kept: []byte(s), Output: mesh.Output{Bytes: int64(len(s)), Digest: mesh.Digest([]byte(s))}}
}

func TestEachWayOfWaking(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *rig, s mesh.Spec)
		want mesh.Woke
	}{
		{"watch alone", func(r *rig, s mesh.Spec) {
			r.clerk.Quiet = true
			r.start()
			r.publish(s)
		}, mesh.WokeWatch},
		{"event while the watch is deaf", func(r *rig, s mesh.Spec) {
			r.start()
			r.board.Deaf(true)
			r.publish(s)
		}, mesh.WokeEvent},
		{"an event that cannot be read", func(r *rig, s mesh.Spec) {
			r.clerk.Quiet = true
			r.start()
			r.board.Deaf(true)
			r.publish(s)
			r.board.Fire("2 something new")
			synctest.Wait()
		}, mesh.WokeWatch},
		{"poll alone", func(r *rig, s mesh.Spec) {
			r.clerk.Quiet = true
			r.start()
			r.board.Deaf(true)
			r.publish(s)
			settle(75 * time.Second)
		}, mesh.WokePoll},
		{"start", func(r *rig, s mesh.Spec) {
			r.publish(s)
			time.Sleep(time.Minute) // the journal may not be younger than the job.
			r.start()
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				s := r.clerk.Spec(r.node)
				if tt.want == "" { // a node that was down for a while.
					r.start()
					r.end()
					tt.want = mesh.WokeStart
				}
				tt.do(r, s)
				if got := r.reports.Of(s.Job); len(got) == 0 || got[0].Woke != tt.want {
					t.Errorf("got %+v, want that %q woke it", got, tt.want)
				}
				r.wantLast(s, mesh.OK, "")
				r.end()
			})
		})
	}
}

func TestTargetsInParts(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		targets := []mesh.Target{{Node: r.node}}
		for range 200 {
			targets = append(targets, mesh.Target{Node: mesh.NewNodeID()})
		}
		list, parts, err := dispatch.Split(targets)
		if err != nil {
			t.Fatal(err)
		}
		write := func(change func([]byte) []byte) mesh.Spec {
			t.Helper()
			s := r.clerk.Spec()
			s.Targets = list
			for shard, doc := range parts {
				r.board.Set(dispatch.PartKey(s.Job, 1, shard), change(bytes.Clone(doc)))
			}
			r.publish(s)
			return s
		}
		r.wantLast(write(func(b []byte) []byte { return b }), mesh.OK, "")
		altered := write(func(b []byte) []byte { b[0] ^= 1; return b })
		r.wantLast(altered, mesh.Rejected, fmt.Sprintf("part %d of the target list: the document is not the one that was signed", r.node.Shard()))

		// A part that has not arrived yet is waited for.
		late := write(func([]byte) []byte { return nil })
		if got := r.reports.Of(late.Job); got != nil {
			t.Errorf("got %v, want silence", got)
		}
		for shard, doc := range parts {
			r.board.Set(dispatch.PartKey(late.Job, 1, shard), doc)
		}
		settle(2 * time.Second)
		r.wantLast(late, mesh.OK, "")
		r.end()
	})
}

func TestOverrunHeadIsReadFromSegments(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.change = func(o *Options) { o.Limits.Queue = 500 }
		r.start()
		r.board.Away(true)
		var specs []mesh.Spec
		for range 300 {
			specs = append(specs, r.clerk.Spec(r.node))
		}
		for i := 0; i < len(specs); i += 50 {
			if err := r.clerk.Publish(specs[i : i+50]...); err != nil {
				t.Fatal(err)
			}
		}
		r.board.Away(false)
		settle(2 * time.Minute)
		for _, s := range specs {
			if r.runner.Starts(s.Job) != 1 || r.reports.Last(s.Job).State != mesh.OK {
				t.Fatalf("job %s: started %d times, %v", s.Job, r.runner.Starts(s.Job), r.reports.States(s.Job))
			}
		}
		if got := r.runner.Most(); got > 4 {
			t.Errorf("%d jobs ran at once, want at most 4", got)
		}
		r.end()
	})
}

func TestWavesPauseAndCancel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.start()
		steer := func(s mesh.Spec, gen int, p dispatch.Phase, wave int) {
			t.Helper()
			if err := r.clerk.Steer(s, gen, p, wave); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		inWave := func(n int) mesh.Spec {
			s := r.clerk.Spec(r.node)
			s.Targets.Inline[0].Wave = n
			return s
		}
		second := inWave(2)
		r.publish(second)
		r.wantLast(second, mesh.Queued, "waits for wave 2 to be opened")
		steer(second, 1, dispatch.PhaseRun, 1)
		r.wantStates(second, mesh.Acked, mesh.Queued)
		steer(second, 2, dispatch.PhasePause, 2)
		r.wantStates(second, mesh.Acked, mesh.Queued)
		steer(second, 1, dispatch.PhaseRun, 2) // an old one, written again.
		r.wantStates(second, mesh.Acked, mesh.Queued)
		steer(second, 3, dispatch.PhaseRun, 2)
		r.wantStates(second, mesh.Acked, mesh.Queued, mesh.Running)
		steer(second, 4, dispatch.PhasePause, 2) // stops nothing.
		settle(time.Second)
		r.wantStates(second, mesh.Acked, mesh.Queued, mesh.Running)
		steer(second, 5, dispatch.PhaseCancel, 2)
		r.wantLast(second, mesh.Cancelled, "an operator cancelled it; 1 process was stopped")

		waiting := inWave(1)
		r.publish(waiting)
		steer(waiting, 1, dispatch.PhaseCancel, 0)
		r.wantLast(waiting, mesh.Cancelled, "cancelled before it started")
		steer(waiting, 2, dispatch.PhaseRun, 9) // cancel is final.
		settle(time.Minute)
		r.wantStarts(waiting, 0)

		unopened := inWave(1)
		r.publish(unopened)
		settle(time.Hour + 2*time.Second)
		r.wantLast(unopened, mesh.Expired, "its time passed while it waited for wave 1 to be opened")
		r.end()
	})
}

func TestCancelAndJobInOneLook(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.board.Away(true)
		s := r.clerk.Spec(r.node)
		if err := errors.Join(r.clerk.Publish(s), r.clerk.Steer(s, 1, dispatch.PhaseCancel, 0)); err != nil {
			t.Fatal(err)
		}
		r.board.Away(false)
		settle(time.Minute)
		r.wantStates(s, mesh.Acked, mesh.Cancelled)
		r.wantStarts(s, 0)
		r.end()
	})
}

func TestStartWindow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		s := r.clerk.Spec(r.node)
		s.Window = 10_000
		at := time.Now().Add(offset(r.node, journal.Key{Job: s.Job, Attempt: 1}, s.Window))
		r.publish(s)
		settle(11 * time.Second)
		r.wantStates(s, mesh.Acked, mesh.Queued, mesh.Running, mesh.OK)
		if got := r.reports.Last(s.Job).Started; !got.Equal(at) {
			t.Errorf("started at %v, want %v", got, at)
		}
		r.end()
	})
	var sum time.Duration
	for range 2000 {
		d := offset(mesh.NewNodeID(), journal.Key{Job: "00000000000000aa", Attempt: 1}, 1000)
		if d < 0 || d >= time.Second {
			t.Fatalf("offset %v is outside the window", d)
		}
		sum += d
	}
	if mean := sum / 2000; mean < 450*time.Millisecond || mean > 550*time.Millisecond {
		t.Errorf("mean offset is %v, want about 500ms", mean)
	}
}

func TestScriptBlobs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		body := bytes.Repeat([]byte("echo long\n"), 500)
		withScript := func(digest string, size int) mesh.Spec {
			s := r.clerk.Spec(r.node)
			s.Command, s.Script = nil, &mesh.Script{Name: "long.sh", SHA256: digest, Size: size}
			return s
		}
		digest := mesh.Digest(body)
		r.blobs.Put(digest, body)
		for range 2 {
			s := withScript(digest, len(body))
			r.publish(s)
			r.wantLast(s, mesh.OK, "")
		}
		if got := r.blobs.Asked(); got != 1 {
			t.Errorf("fetched %d times, want once", got)
		}
		if got := r.runner.Tasks()[0]; !bytes.Equal(got.Script, body) || got.Name != "long.sh" {
			t.Errorf("task: got %d bytes called %q", len(got.Script), got.Name)
		}
		wrong := mesh.Digest([]byte("good"))
		r.blobs.Put(wrong, []byte("evil"))
		s := withScript(wrong, 4)
		r.publish(s)
		r.wantLast(s, mesh.Rejected, "its script could not be fetched: what the server sent is not the script that was signed")

		late := []byte("the server changes meanwhile")
		r.blobs.Put(mesh.Digest(late), late)
		r.blobs.Away(true)
		s = withScript(mesh.Digest(late), len(late))
		r.publish(s)
		settle(50 * time.Second)
		r.wantStarts(s, 0)
		r.blobs.Away(false)
		settle(10 * time.Second)
		r.wantLast(s, mesh.OK, "")

		s = withScript(mesh.Digest([]byte("nowhere")), 7)
		r.publish(s)
		settle(20 * time.Second)
		r.wantLast(s, mesh.Rejected, "its script could not be fetched: no server has it")
		r.wantStarts(s, 0)

		s = withScript(mesh.Digest([]byte("nowhere")), 7)
		r.publish(s)
		if err := r.clerk.Steer(s, 1, dispatch.PhaseCancel, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.wantLast(s, mesh.Cancelled, "cancelled before it started")
		r.end()
	})
}

func TestLongOutputIsKeptByDigest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		long := strings.Repeat("0123456789abcdef", 256) // 4 KiB.
		r.runner.Do = func(context.Context, run.Task) run.Result {
			return run.Result{State: mesh.OK, Stdout: stream(long), Stderr: stream("e")}
		}
		r.start()
		s := r.clerk.Spec(r.node)
		r.publish(s)
		got := r.reports.Last(s.Job)
		if got.Stdout.Inline != nil || got.Stderr.Inline != nil || got.Stdout.Digest != mesh.Digest([]byte(long)) {
			t.Errorf("got %+v", got)
		}
		for digest, want := range map[string]string{got.Stdout.Digest: long, got.Stderr.Digest: "e"} {
			f, err := r.e.Output(digest)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(f)
			if err := errors.Join(err, f.Close()); err != nil || string(b) != want {
				t.Errorf("output: got %d bytes, %v", len(b), err)
			}
		}
		if _, err := r.e.Output(mesh.Digest([]byte("other"))); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("unknown digest: got %v", err)
		}
		if _, err := r.e.Output("../journal"); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("path for a digest: got %v", err)
		}
		r.end()
	})
}

func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		born := time.Now()
		r.start()
		s := r.clerk.Spec(r.node)
		r.publish(s)
		got := r.e.Status()
		want := Status{
			Enabled: true, TrustRoot: r.clerk.Root().Key.ID(), Limits: DefaultLimits(),
			Epoch: "epoch-0", Cursor: 1, Born: got.Born, LookedAt: born, LookedBy: got.LookedBy,
		}
		if !got.Born.Equal(born) || !got.LookedAt.Equal(born) {
			t.Errorf("got born %v, looked at %v; want %v", got.Born, got.LookedAt, born)
		}
		want.LookedAt = got.LookedAt
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		r.board.Away(true)
		settle(2 * time.Minute)
		if got := r.e.Status(); got.LastError != "head not read: "+exectest.ErrAway.Error() {
			t.Errorf("last error: got %q", got.LastError)
		}
		r.end()
	})
}
