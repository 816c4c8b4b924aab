package job_test

import (
	"fmt"
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

func head(t *testing.T, r *rig, shard int) dispatch.Head {
	t.Helper()
	h, err := dispatch.DecodeHead(r.boards[home].Get(dispatch.HeadKey(shard)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHeadsAreMadeAtStart(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, r *rig) {
		for shard := range mesh.Shards {
			if h := head(t, r, shard); h.Epoch == "" || h.Epoch != head(t, r, 0).Epoch || h.Seq == 0 {
				t.Errorf("head %d is %+v", shard, h)
			}
		}
		before := r.boards[home].Txns()
		time.Sleep(time.Hour)
		if got := r.boards[home].Txns(); got != before {
			t.Errorf("an idle hour cost %d transactions", got-before)
		}
	})
}

// jobBoard remembers what a Board was.
type jobBoard struct {
	*jobtest.Board
	saved []jobtest.Snapshot
}

func (b *jobBoard) save() { b.saved = append(b.saved, b.Save()) }

// TestRestore brings Consul back to states that it had before, without a new
// submission, and has the nodes look again.
func TestRestore(t *testing.T) {
	tests := []struct {
		name    string
		restart bool
		restore func(b *jobBoard)
	}{
		{"to before the last job", false, func(b *jobBoard) { b.Restore(b.saved[1]) }},
		{"to before all jobs", false, func(b *jobBoard) { b.Restore(b.saved[0]) }},
		{"to nothing", false, func(b *jobBoard) { b.Restore(nil) }},
		{"while the server is down", true, func(b *jobBoard) { b.Restore(b.saved[0]) }},
		{"one head is deleted", false, func(b *jobBoard) {
			s := b.Save()
			delete(s, dispatch.HeadKey(3))
			b.Restore(s)
		}},
		{"one head is garbage", false, func(b *jobBoard) {
			s := b.Save()
			d := s[dispatch.HeadKey(3)]
			d.Value = []byte("garbage")
			s[dispatch.HeadKey(3)] = d
			b.Restore(s)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 70, func(t *testing.T, r *rig) {
				b := &jobBoard{Board: r.boards[home]}
				b.save()
				open := []mesh.JobID{r.submit(run("all")).Job.ID}
				time.Sleep(time.Second)
				b.save()
				open = append(open, r.submit(run("n001,n002")).Job.ID)
				ended := r.submit(run("n001")).Job.ID
				r.say(ended, "n001", mesh.OK)
				paused := r.submit(run("n001")).Job.ID
				open = append(open, paused)
				if _, err := r.service.Pause(t.Context(), r.actor(), paused); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				before := head(t, r, 5)
				seen := r.agent("n001") // looked already, and remembers what it saw.
				seen.look(r.boards[home])

				if tt.restart {
					r.stop()
				}
				tt.restore(b)
				if tt.restart {
					r.start()
				}
				time.Sleep(15 * time.Second)

				after := head(t, r, 5)
				if after.Epoch == before.Epoch || after.Seq <= before.Seq {
					t.Errorf("head after the restore: epoch %q, seq %d; before it %q, %d", after.Epoch, after.Seq, before.Epoch, before.Seq)
				}
				fresh := r.agent("n001")
				got := fresh.look(r.boards[home])
				slices.Sort(got)
				slices.Sort(open)
				if !slices.Equal(got, open) {
					t.Errorf("a node that has seen nothing reads %v, want %v", got, open)
				}
				if fresh.ctl[paused].Phase != dispatch.PhasePause {
					t.Errorf("the ctl of the paused job is %+v", fresh.ctl[paused])
				}
				if got := seen.look(r.boards[home]); len(got) != 0 {
					t.Errorf("a node that has seen everything reads %v as new", got)
				}
				if got := r.boards[home].Txns(); got > 20 {
					t.Errorf("it cost %d transactions", got)
				}
			})
		})
	}
}

// TestRestoreIsMendedOnce shows that a mended board stays as it is.
func TestRestoreIsMendedOnce(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		saved := r.boards[home].Save()
		r.submit(run("all"))
		time.Sleep(time.Second)
		r.boards[home].Restore(saved)
		time.Sleep(time.Minute)
		txns := r.boards[home].Txns()
		time.Sleep(time.Hour / 2)
		if got := r.boards[home].Txns(); got != txns {
			t.Errorf("%d more transactions after it was mended", got-txns)
		}
	})
}

// TestConflicts has another server write heads in between.
func TestConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3)
		b := r.boards[home]
		var left atomic.Int32
		b.Before = func(writes []job.Write) error {
			cas := slices.ContainsFunc(writes, func(w job.Write) bool { return w.Verb == job.VerbCAS })
			if !cas || left.Add(-1) < 0 {
				return nil
			}
			s := b.Save()
			for shard := range mesh.Shards {
				d := s[dispatch.HeadKey(shard)]
				h, err := dispatch.DecodeHead(d.Value)
				if err != nil {
					return err
				}
				other, _ := h.Append(dispatch.Ref{Seq: h.Seq + 5, Kind: dispatch.KindJob, Job: "00000000000000aa", Attempt: 1})
				if d.Value, err = other.Encode(); err != nil {
					return err
				}
				d.Index += 1000 + uint64(left.Load())
				s[dispatch.HeadKey(shard)] = d
			}
			b.Restore(s)
			return nil
		}
		r.start()
		defer r.stop()
		epoch := head(t, r, 0).Epoch
		left.Store(3)
		id := r.submit(run("all")).Job.ID
		for shard := range mesh.Shards {
			if h := head(t, r, shard); h.Epoch != epoch || len(h.Refs) < 3 {
				t.Errorf("head %d after conflicts: %+v, want what the other wrote in the same epoch", shard, h)
			}
		}
		if !slices.ContainsFunc(head(t, r, r.node("n000").ID.Shard()).Refs, func(f dispatch.Ref) bool { return f.Job == id }) {
			t.Error("the job is not announced")
		}
	})
}

// TestForeignEpoch has another server begin an epoch, above everything.
func TestForeignEpoch(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		time.Sleep(time.Second)
		s := r.boards[home].Save()
		for shard := range mesh.Shards {
			d := s[dispatch.HeadKey(shard)]
			value, err := dispatch.Head{Epoch: "theirs", Seq: 1000}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			d.Value, d.Index = value, d.Index+1000
			s[dispatch.HeadKey(shard)] = d
		}
		r.boards[home].Restore(s)
		time.Sleep(15 * time.Second)
		h := head(t, r, r.node("n000").ID.Shard())
		if h.Epoch != "theirs" || h.Seq <= 1000 {
			t.Errorf("head is %q, %d: want to go on in their epoch", h.Epoch, h.Seq)
		}
		if got := r.agent("n000").look(r.boards[home]); !slices.Equal(got, []mesh.JobID{id}) {
			t.Errorf("in their epoch the node reads %v, want %s", got, id)
		}
	})
}

// TestRestoreIsNotLag shows that a read that lags is not taken for a restore.
func TestRestoreIsNotLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.boards[home].Lag = true
		r.start()
		defer r.stop()
		epoch := head(t, r, 0).Epoch
		for range 5 {
			r.submit(run("all"))
			time.Sleep(20 * time.Second)
		}
		if got := head(t, r, 0).Epoch; got != epoch {
			t.Errorf("the epoch changed from %q to %q", epoch, got)
		}
	})
}

// TestExpiredBeforePublished gives up what nobody may start any more.
func TestExpiredBeforePublished(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		r.boards[home].SetAway(true)
		q := run("all")
		q.ExpiresIn = 10 * time.Second
		id := r.submit(q).Job.ID
		time.Sleep(time.Minute)
		r.boards[home].SetAway(false)
		time.Sleep(time.Minute)
		if got := r.agent("n000").look(r.boards[home]); len(got) != 0 {
			t.Errorf("the node reads %v, which has expired", got)
		}
		if got := countsOf(r.view(id).Job.Counts); got != "EXPIRED 1" {
			t.Errorf("counts %s, want EXPIRED 1", got)
		}
	})
}

func TestLongListsFitTransactions(t *testing.T) {
	inBubble(t, 20_000, func(t *testing.T, r *rig) { // its parts are 700 KiB.
		before := r.boards[home].Txns()
		id := r.submit(run("all")).Job.ID
		if got := r.boards[home].Txns() - before; got > 6 {
			t.Errorf("%d transactions, want few", got)
		}
		for _, name := range []string{"n000", "n19999"} {
			if got := r.agent(name).look(r.boards[home]); !slices.Equal(got, []mesh.JobID{id}) {
				t.Errorf("node %s reads %v", name, got)
			}
		}
	})
}

func TestClean(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		for range 200 {
			r.submit(run("all"))
		}
		last := r.submit(run("all")).Job.ID
		shard := r.node("n000").ID.Shard()
		keys := func() string {
			b := r.boards[home]
			return fmt.Sprint(b.Get(dispatch.SegmentKey(shard, 0)) != nil, b.Get(dispatch.SpecKey(last, 1)) != nil)
		}
		if got := keys(); got != "true true" {
			t.Errorf("segment and spec after submitting: %s", got)
		}
		time.Sleep(3 * time.Hour)
		if got := keys(); got != "false true" {
			t.Errorf("segment and spec after three hours: %s", got)
		}
		time.Sleep(25 * time.Hour)
		if got := keys(); got != "false false" {
			t.Errorf("segment and spec after a day: %s", got)
		}
	})
}

func TestNewChecksItsOptions(t *testing.T) {
	if _, err := job.New(job.Options{}); err == nil {
		t.Errorf("New of nothing = %v, want an error", err)
	}
}
