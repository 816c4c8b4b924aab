package job_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/server/job"
	"alps/server/job/jobtest"
)

const lockKey = "alps/leader"

// fenced is a request with an id of its own, under the lock of a session.
func fenced(id mesh.JobID, target, session string) job.Request {
	q := run(target)
	q.ID, q.Fence = id, &job.Fence{Key: lockKey, Session: session}
	return q
}

func TestFencedJob(t *testing.T) {
	inBubble(t, 70, func(t *testing.T, r *rig) {
		b := r.boards[home]
		b.SetLock(lockKey, "mine")
		before := b.Txns()
		id := mesh.NewJobID()
		sub := r.submit(fenced(id, "all", "mine"))
		if sub.Job.ID != id || !sub.Published || sub.Repeated {
			t.Errorf("submission = %+v, want it published under %s", sub, id)
		}
		if got := b.Txns() - before; got != 1 {
			t.Errorf("it took %d transactions, want 1", got)
		}
		if got := r.agent("n001").look(b); !slices.Equal(got, []mesh.JobID{id}) {
			t.Errorf("a node reads %v, want %s", got, id)
		}
		again := r.submit(fenced(id, "all", "mine"))
		if !again.Repeated || again.Job.ID != id || b.Txns()-before != 1 {
			t.Errorf("submitted again = repeated %v, job %s, %d transactions", again.Repeated, again.Job.ID, b.Txns()-before)
		}
		other := fenced(id, "n001", "mine")
		if _, err := r.service.Submit(t.Context(), r.actor(), other); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("another job under the same id: %v, want %q", err, mesh.Conflict)
		}
		// What has no fence goes out whoever leads.
		b.SetLock(lockKey, "theirs")
		if sub := r.submit(run("n002")); !sub.Published {
			t.Errorf("a job without a fence: %+v", sub)
		}
	})
}

// TestLostFence is a leader that is deposed between its decision and the
// transaction.
func TestLostFence(t *testing.T) {
	for _, target := range []string{"all", "n001"} {
		inBubble(t, 70, func(t *testing.T, r *rig) {
			b := r.boards[home]
			b.SetLock(lockKey, "theirs")
			id := mesh.NewJobID()
			_, err := r.service.Submit(t.Context(), r.actor(), fenced(id, target, "mine"))
			if mesh.CodeOf(err) != mesh.Conflict {
				t.Errorf("Submit without the lock: %v, want %q", err, mesh.Conflict)
			}
			if sub := r.submit(run("n002")); !sub.Published {
				t.Errorf("what comes behind it: %+v, want it announced", sub)
			}
			for range 2 {
				time.Sleep(10 * time.Second)
				if b.Get(dispatch.SpecKey(id, 1)) != nil || slices.Contains(r.agent("n001").look(b), id) {
					t.Fatal("it was announced without the lock")
				}
				r.stop() // and after a restart, again.
				r.start()
			}
			announced := func(want bool) {
				t.Helper()
				if got, err := r.service.Announced(t.Context(), id); err != nil || got != want {
					t.Errorf("announced: %v, %v, want %v", got, err, want)
				}
			}
			announced(false)
			b.SetLock(lockKey, "mine2")
			sub := r.submit(fenced(id, target, "mine2"))
			announced(true)
			if _, err := r.service.Announced(t.Context(), mesh.NewJobID()); mesh.CodeOf(err) != mesh.NotFound {
				t.Errorf("announced, of no job: %v", err)
			}
			if !sub.Repeated || !sub.Published {
				t.Errorf("submitted again by the leader = repeated %v, published %v", sub.Repeated, sub.Published)
			}
			if got := r.agent("n001").look(b); !slices.Contains(got, id) {
				t.Errorf("a node reads %v, want %s", got, id)
			}
		})
	}
}

// TestFenceAndHeads has another server write the heads in between: that is no
// reason to give up.
func TestFenceAndHeads(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, r *rig) {
		b := r.boards[home]
		b.SetLock(lockKey, "mine")
		other := b.Get(dispatch.HeadKey(0))
		meddled := false
		meddle := &meddler{Board: b, before: func() {
			if !meddled {
				meddled = true
				if _, err := b.Txn(t.Context(), []job.Write{{Verb: job.VerbSet, Key: dispatch.HeadKey(r.nodes.list[0].ID.Shard()), Value: other}}); err != nil {
					t.Error(err)
				}
			}
		}}
		r.stop()
		r.board = func(string) job.Board { return meddle }
		r.start()
		synctest.Wait()
		meddle.on = true
		sub := r.submit(fenced(mesh.NewJobID(), "n000", "mine"))
		if !sub.Published || !meddled {
			t.Errorf("published %v, meddled %v", sub.Published, meddled)
		}
	})
}

// TestFenceAfterLostAnswer has the answer of the transaction lost: the job is
// there, and is announced once more under the same bytes.
func TestFenceAfterLostAnswer(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, r *rig) {
		b := r.boards[home]
		b.SetLock(lockKey, "mine")
		deaf := &meddler{Board: b, loseAnswers: 1}
		r.stop()
		r.board = func(string) job.Board { return deaf }
		r.start()
		synctest.Wait()
		deaf.on = true
		id := mesh.NewJobID()
		sub := r.submit(fenced(id, "n000", "mine"))
		if !sub.Published || deaf.loseAnswers != 0 {
			t.Errorf("published %v, %d answers left to lose", sub.Published, deaf.loseAnswers)
		}
		if !bytes.Equal(b.Get(dispatch.SpecKey(id, 1)), sub.Job.Envelope) {
			t.Error("what lies in KV is not what was signed")
		}
	})
}

// TestFenceAndNoNote kills a leader between the transaction and its note: nodes
// have read the job, so that nobody may take it for one that was never announced.
func TestFenceAndNoNote(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, r *rig) {
		b := r.boards[home]
		b.SetLock(lockKey, "mine")
		var dead atomic.Bool
		dying := &meddler{Board: b, before: func() { dead.Store(true) }}
		r.stop()
		r.board = func(string) job.Board { return dying }
		r.history.Fail = func() error {
			if dead.Load() {
				return errors.New("it is dead")
			}
			return nil
		}
		r.start()
		synctest.Wait()
		dying.on = true
		id := mesh.NewJobID()
		r.submit(fenced(id, "n000", "mine"))
		r.stop()
		dying.on = false
		dead.Store(false)
		b.SetLock(lockKey, "mine2")

		// The note is made as soon as somebody asks, and Consul answers.
		for _, step := range []struct {
			away bool
			want bool
			code mesh.Code
		}{{true, false, mesh.Unavailable}, {false, true, ""}, {true, true, ""}} {
			r.start()
			b.SetAway(step.away)
			got, err := r.service.Announced(t.Context(), id)
			if got != step.want || err != nil && mesh.CodeOf(err) != step.code || err == nil && step.code != "" {
				t.Errorf("Consul is away: %v; announced: %v, %v, want %v, %q", step.away, got, err, step.want, step.code)
			}
			b.SetAway(false)
			r.stop()
		}
		if got := r.agent("n000").look(b); !slices.Equal(got, []mesh.JobID{id}) {
			t.Errorf("a node reads %v, want %s", got, id)
		}
		r.start()
	})
}

// TestFenceInAnotherDatacenter looks at the lock at home.
func TestFenceInAnotherDatacenter(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		r.nodes.add(mesh.Node{ID: mesh.NewNodeID(), Name: "far", DC: "bj-e-02", Agent: mesh.AgentLinked})
		_, err := r.service.Submit(t.Context(), r.actor(), fenced(mesh.NewJobID(), "far", "mine"))
		if mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("Submit without the lock: %v, want %q", err, mesh.Conflict)
		}
		r.boards[home].SetLock(lockKey, "mine")
		id := mesh.NewJobID()
		if sub := r.submit(fenced(id, "far", "mine")); !sub.Published || r.boards["bj-e-02"].Get(dispatch.SpecKey(id, 1)) == nil {
			t.Errorf("submission = %+v, want it announced there", sub)
		}
	})
}

func TestChosenIDRefusals(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		id := mesh.NewJobID()
		for name, mend := range map[string]func(*job.Request){
			"a fence without an id":       func(q *job.Request) { q.Fence = &job.Fence{Key: lockKey, Session: "mine"} },
			"an id and a submit token":    func(q *job.Request) { q.ID, q.Token = id, "mine" },
			"no form of an id":            func(q *job.Request) { q.ID = "nonsense" },
			"a token that looks like one": func(q *job.Request) { q.Token = "id/" + string(id) },
		} {
			q := run("all")
			mend(&q)
			if _, err := r.service.Submit(t.Context(), r.actor(), q); mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("%s: %v, want %q", name, err, mesh.Invalid)
			}
		}
	})
}

// TestChosenIDIsSignedByTheServer: nobody waits with a key for what a policy
// decides.
func TestChosenIDIsSignedByTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.scope.MaxNodes = 0 // no key.
		r.start()
		defer r.stop()
		_, err := r.service.Submit(t.Context(), r.actor(), fenced(mesh.NewJobID(), "all", "mine"))
		if mesh.CodeOf(err) != mesh.Denied {
			t.Errorf("Submit = %v, want %q", err, mesh.Denied)
		}
	})
}

// meddler is a Board on which something goes wrong.
type meddler struct {
	*jobtest.Board

	on          bool
	before      func()
	loseAnswers int
}

func (m *meddler) Txn(ctx context.Context, writes []job.Write) (uint64, error) {
	if m.on && m.before != nil {
		m.before()
	}
	index, err := m.Board.Txn(ctx, writes)
	if m.on && m.loseAnswers > 0 && err == nil {
		m.loseAnswers--
		return 0, mesh.Errorf(mesh.Unavailable, "the answer is lost")
	}
	return index, err
}
