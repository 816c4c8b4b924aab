package job_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

// TestAnyOrder submits, reports, cancels, restarts the server and Consul in
// any order, with reports lost, doubled and reordered. At any time the counts
// of each job sum to its list and no target goes back; at the end every
// target has ended, as its node said if it said so.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// A bubble for each: rapid keeps its own time outside of it. What ends
		// a property is a panic, which must leave the bubble first.
		var failure any
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			anyOrder(rt)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func anyOrder(rt *rapid.T) {
	r := newRig(rt, 4)
	r.start()
	defer func() { r.stop() }()
	m := &model{r: r, jobs: make(map[mesh.JobID]*modelJob)}
	for range rapid.IntRange(1, 40).Draw(rt, "steps") {
		m.step(rt)
		m.check(rt)
	}
	r.boards[home].SetAway(false)
	time.Sleep(6 * time.Minute) // longer than any of its jobs takes.
	m.check(rt)
	m.checkEnded(rt)
}

type model struct {
	r     *rig
	jobs  map[mesh.JobID]*modelJob
	order []mesh.JobID
}

type modelJob struct {
	total int
	last  map[int]mesh.State            // what each target was.
	said  map[mesh.NodeID]mesh.State    // the first end that a node has told.
	asked map[mesh.NodeID][]mesh.Report // what was said, to be said again.
}

func (m *model) step(rt *rapid.T) {
	switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
	case what <= 1 || len(m.order) == 0:
		q := run(rapid.SampledFrom([]string{"all", "n000", "n001,n002"}).Draw(rt, "target"))
		q.ExpiresIn = time.Duration(rapid.IntRange(5, 120).Draw(rt, "expiry")) * time.Second
		q.Timeout = 10 * time.Second
		if rapid.Bool().Draw(rt, "waves") {
			q.Batch, q.MaxFail = "1", rapid.SampledFrom([]string{"0", "2", "100%"}).Draw(rt, "max fail")
		}
		j := m.r.submit(q).Job
		m.order = append(m.order, j.ID)
		m.jobs[j.ID] = &modelJob{
			total: j.Counts.Total(), last: make(map[int]mesh.State),
			said: make(map[mesh.NodeID]mesh.State), asked: make(map[mesh.NodeID][]mesh.Report),
		}
	case what <= 5:
		m.report(rt)
	case what == 6:
		time.Sleep(time.Duration(rapid.IntRange(0, 90_000).Draw(rt, "ms")) * time.Millisecond)
	case what == 7:
		m.r.stop()
		m.r.start()
	case what == 8:
		m.r.boards[home].SetAway(rapid.Bool().Draw(rt, "away"))
	default:
		id := rapid.SampledFrom(m.order).Draw(rt, "job")
		_, err := m.r.service.Cancel(context.Background(), m.r.actor(), id)
		if code := mesh.CodeOf(err); code != "" && code != mesh.Conflict {
			rt.Fatalf("Cancel: %v", err)
		}
	}
}

// report has a node say something of a job that it is in, or repeat itself.
func (m *model) report(rt *rapid.T) {
	id := rapid.SampledFrom(m.order).Draw(rt, "job")
	targets := m.r.targets(id)
	node := rapid.SampledFrom(targets).Draw(rt, "target").Node
	j := m.jobs[id]
	var batch []mesh.Report
	for range rapid.IntRange(1, 3).Draw(rt, "reports") {
		if old := j.asked[node]; len(old) > 0 && rapid.Bool().Draw(rt, "again") {
			batch = append(batch, rapid.SampledFrom(old).Draw(rt, "old"))
			continue
		}
		state := rapid.SampledFrom(append([]mesh.State{mesh.Acked, mesh.Queued, mesh.Running},
			mesh.OK, mesh.Failed, mesh.Timeout, mesh.Cancelled, mesh.Expired, mesh.Unknown)).Draw(rt, "state")
		batch = append(batch, report(id, node, state))
	}
	if err := m.r.service.Commit(context.Background(), node, batch); err != nil {
		rt.Fatalf("Commit: %v", err)
	}
	for _, rep := range batch {
		j.asked[node] = append(j.asked[node], rep)
		if _, ok := j.said[node]; !ok && rep.State.Ended() && !rep.State.Inferred() {
			j.said[node] = rep.State
		}
	}
}

func (m *model) check(rt *rapid.T) {
	for id, j := range m.jobs {
		v := m.r.view(id)
		if got := v.Job.Counts.Total(); got != j.total {
			rt.Fatalf("job %s counts %v: %d, its list has %d", id, v.Job.Counts, got, j.total)
		}
		counts := make(mesh.Counts)
		for _, t := range m.r.targets(id) {
			counts[t.State]++
			before := j.last[t.Index]
			if before != "" && before != t.State && before.Next(t.State) != t.State {
				rt.Fatalf("job %s target %d went from %s to %s", id, t.Index, before, t.State)
			}
			j.last[t.Index] = t.State
		}
		if fmt.Sprint(counts) != fmt.Sprint(v.Job.Counts) {
			rt.Fatalf("job %s counts %v, its targets are %v", id, v.Job.Counts, counts)
		}
		if (counts.Open() == 0) != !v.Job.Ended.IsZero() {
			rt.Fatalf("job %s has %d open targets and ended %s", id, counts.Open(), v.Job.Ended)
		}
	}
}

func (m *model) checkEnded(rt *rapid.T) {
	for id, j := range m.jobs {
		stored, err := m.r.history.Targets(context.Background(), id)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(m.r.targets(id), stored); diff != "" {
			rt.Fatalf("job %s is not stored as it is shown (-shown +stored):\n%s", id, diff)
		}
		for _, t := range stored {
			if !t.State.Ended() {
				rt.Fatalf("job %s target %d is still %s", id, t.Index, t.State)
			}
			if said, ok := j.said[t.Node]; ok && t.State != said {
				rt.Fatalf("job %s target %d is %s, its node said %s first", id, t.Index, t.State, said)
			}
		}
	}
}
