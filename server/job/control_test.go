package job_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
	"alps/server/job"
)

// do calls a method that changes a job and must succeed.
func (r *rig) do(id mesh.JobID, method func(context.Context, job.Actor, mesh.JobID) (job.Submission, error)) {
	r.t.Helper()
	if _, err := method(context.Background(), r.actor(), id); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Second) // for it to be announced.
}

func TestControl(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		r.say(id, "n000", mesh.Running)
		a := r.agent("n000")
		ctl := func() dispatch.Ctl {
			a.look(r.boards[home])
			return a.ctl[id]
		}
		r.do(id, r.service.Pause)
		if got := ctl(); got.Phase != dispatch.PhasePause || got.Gen != 1 {
			t.Errorf("ctl after a pause: %+v", got)
		}
		r.do(id, r.service.Pause)
		r.do(id, r.service.Resume)
		if got := ctl(); got.Phase != dispatch.PhaseRun || got.Gen != 2 {
			t.Errorf("ctl after pausing twice and resuming: %+v", got)
		}
		r.do(id, r.service.Cancel)
		r.do(id, r.service.Cancel)
		if got := ctl(); got.Phase != dispatch.PhaseCancel || got.Gen != 3 {
			t.Errorf("ctl after cancelling twice: %+v", got)
		}
		if got := countsOf(r.view(id).Job.Counts); got != "PENDING 2, RUNNING 1" {
			t.Errorf("counts before anybody has confirmed: %s", got)
		}
		r.say(id, "n000", mesh.Cancelled)
		r.say(id, "n001", mesh.Cancelled)
		if got := countsOf(r.view(id).Job.Counts); got != "CANCELLED 2, PENDING 1" {
			t.Errorf("counts when two have confirmed: %s", got)
		}
		if _, err := r.service.Resume(t.Context(), r.actor(), id); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("Resume of a cancelled job: %v, want %q", err, mesh.Conflict)
		}
		time.Sleep(2 * time.Hour)
		if got := countsOf(r.view(id).Job.Counts); got != "CANCELLED 2, EXPIRED 1" {
			t.Errorf("counts when it has expired: %s", got)
		}
		if _, err := r.service.Cancel(t.Context(), r.actor(), id); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("Cancel of a job that has ended: %v, want %q", err, mesh.Conflict)
		}
		if _, err := r.service.Cancel(t.Context(), r.actor(), mesh.NewJobID()); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("Cancel of no job: %v, want %q", err, mesh.NotFound)
		}
		want := []string{
			"job.submit done", "job.pause done", "job.resume done", "job.cancel done", "job.resume refused", "job.end done",
			"job.cancel refused", "job.cancel refused",
		}
		if got := r.audit(); !slices.Equal(got, want) {
			t.Errorf("audit %q, want %q", got, want)
		}
	})
}

func TestControlSurvivesARestart(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, r *rig) {
		id := r.submit(run("all")).Job.ID
		r.boards[home].SetAway(true)
		r.do(id, r.service.Cancel)
		r.stop()
		r.boards[home].SetAway(false)
		r.start()
		time.Sleep(time.Second)
		a := r.agent("n000")
		a.look(r.boards[home])
		if got := a.ctl[id].Phase; got != dispatch.PhaseCancel {
			t.Errorf("phase %q, want %q", got, dispatch.PhaseCancel)
		}
	})
}

func TestOperatorSignsControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.scope = sign.Scope{}
		r.start()
		defer r.stop()
		op := r.signer("wang", sign.Scope{Any: true, Targets: "all", MaxNodes: 10})
		d := draftOf(r, run("all"))
		if _, err := r.service.Sign(t.Context(), r.actor(), d.Job, op.Key.Seal(d.Type, d.Payload, &op.Grant)); err != nil {
			t.Fatal(err)
		}
		_, err := r.service.Cancel(t.Context(), r.actor(), d.Job)
		c, ok := errors.AsType[*job.DraftError](err)
		if !ok || c.Type != sign.TypeCtl {
			t.Fatalf("Cancel = %v, want a draft of a ctl", err)
		}
		if _, err := r.service.Sign(t.Context(), r.actor(), d.Job, op.Key.Seal(c.Type, c.Payload, &op.Grant)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a := r.agent("n000")
		a.look(r.boards[home])
		if got := a.ctl[d.Job].Phase; got != dispatch.PhaseCancel {
			t.Errorf("phase %q, want %q", got, dispatch.PhaseCancel)
		}
	})
}

// wave returns the names in a wave of a job.
func (r *rig) wave(id mesh.JobID, wave int) (names []string) {
	for _, t := range r.targets(id) {
		if t.Wave == wave && t.Listed {
			names = append(names, string(t.Name))
		}
	}
	return names
}

func TestWaves(t *testing.T) {
	inBubble(t, 10, func(t *testing.T, r *rig) {
		q := run("all")
		q.Canary, q.Batch, q.MaxFail, q.Confirm = 1, "40%", "1", true
		id := r.submit(q).Job.ID
		if got := []int{len(r.wave(id, 0)), len(r.wave(id, 1)), len(r.wave(id, 2)), len(r.wave(id, 3))}; !slices.Equal(got, []int{1, 4, 4, 1}) {
			t.Fatalf("waves of %v nodes", got)
		}
		before := r.boards[home].Txns()
		r.say(id, r.wave(id, 0)[0], mesh.OK)
		time.Sleep(time.Minute)
		if got := r.view(id).Job.Wave; got != 0 {
			t.Fatalf("wave %d is open before it was confirmed", got)
		}
		r.do(id, r.service.OpenWave)
		for i, name := range r.wave(id, 1) {
			if got := r.view(id).Job.Wave; got != 1 {
				t.Fatalf("wave %d is open when %d of wave 1 have ended", got, i)
			}
			state := mesh.OK
			if i == 0 {
				state = mesh.Failed
			}
			r.say(id, name, state)
		}
		time.Sleep(time.Second)
		a := r.agent(r.wave(id, 2)[0])
		a.look(r.boards[home])
		if got := a.ctl[id]; got.Wave != 2 || got.Phase != dispatch.PhaseRun || got.Gen != 2 {
			t.Errorf("ctl when wave 1 has ended: %+v, want wave 2", got)
		}
		r.say(id, r.wave(id, 2)[0], mesh.Timeout) // the second failure of the one that is allowed.
		v := r.view(id)
		if !strings.Contains(v.Job.Stopped, "2 nodes failed, 1 may") || v.Job.Phase != dispatch.PhasePause {
			t.Errorf("after too many failures: %q, %q", v.Job.Stopped, v.Job.Phase)
		}
		if got := countsOf(v.Job.Counts); got != "FAILED 1, OK 4, PENDING 3, SKIPPED 1, TIMEOUT 1" {
			t.Errorf("counts %s", got)
		}
		for _, method := range []func(context.Context, job.Actor, mesh.JobID) (job.Submission, error){r.service.Resume, r.service.OpenWave} {
			if _, err := method(t.Context(), r.actor(), id); mesh.CodeOf(err) != mesh.Conflict {
				t.Errorf("going on after a stop: %v, want %q", err, mesh.Conflict)
			}
		}
		time.Sleep(time.Second)
		if got := r.boards[home].Txns() - before; got != 3 {
			t.Errorf("two waves and a stop cost %d transactions, want 3", got)
		}
	})
}

// TestWavesSpreadOverRacks has four racks and a wave for each quarter.
func TestWavesSpreadOverRacks(t *testing.T) {
	inBubble(t, 40, func(t *testing.T, r *rig) {
		q := run("all")
		q.Batch = "25%"
		id := r.submit(q).Job.ID
		for wave := range 4 {
			racks := make(map[string]int)
			for _, name := range r.wave(id, wave) {
				racks[r.node(name).Naming.Rack]++
			}
			for rack := range 4 {
				if got := racks[string(rune('0'+rack))]; got < 2 || got > 3 {
					t.Errorf("wave %d has %d nodes of rack %d: %v", wave, got, rack, racks)
				}
			}
		}
	})
}
