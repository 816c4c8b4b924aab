package exec

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"alps/agent/exec/exectest"
	"alps/agent/exec/run"
	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
)

func TestReplayStartsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		s := r.clerk.Spec(r.node)
		r.publish(s)
		settle(time.Second)
		r.publish(s) // announced again.
		if err := r.clerk.NewEpoch(exectest.Ref(s)); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		r.end()
		r.start()
		if err := r.clerk.NewEpoch(exectest.Ref(s)); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		r.wantStarts(s, 1)
		r.wantStates(s, mesh.Acked, mesh.Running, mesh.OK)
		r.end()
	})
}

func TestLaggingServers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.start()
		s := r.clerk.Spec(r.node)
		r.board.Lag(dispatch.SpecKey(s.Job, 1), nil) // the head arrived first.
		r.publish(s)
		r.wantStates(s, mesh.Acked, mesh.Running)

		r.board.Lag(dispatch.CtlKey(s.Job, 1), nil)
		if err := r.clerk.Steer(s, 1, dispatch.PhaseCancel, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.wantLast(s, mesh.Cancelled, "an operator cancelled it; 1 process was stopped")

		// An old head from a follower is not a restored Consul.
		old := r.board.Snapshot()[dispatch.HeadKey(r.node.Shard())]
		other := r.clerk.Spec(mesh.NewNodeID())
		r.publish(other)
		r.board.Lag(dispatch.HeadKey(r.node.Shard()), old)
		before := r.board.Reads(dispatch.SpecKey(other.Job, 1))
		settle(3 * time.Minute)
		if got := r.board.Reads(dispatch.SpecKey(other.Job, 1)); got != before {
			t.Errorf("a job that was seen was read %d times more", got-before)
		}
		r.end()
	})
}

func TestDocumentThatComesLate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		s := r.clerk.Spec(r.node)
		if err := r.clerk.Announce(exectest.Ref(s)); err != nil {
			t.Fatal(err)
		}
		settle(10 * time.Second)
		after := r.clerk.Spec(r.node)
		r.publish(after) // does not wait for the other.
		r.wantLast(after, mesh.OK, "")
		r.end() // its reference must not be lost with the process.
		r.start()
		doc, err := r.clerk.Seal(sign.TypeJob, s).Encode()
		if err != nil {
			t.Fatal(err)
		}
		r.board.Set(dispatch.SpecKey(s.Job, 1), doc)
		settle(2 * time.Minute)
		r.wantLast(s, mesh.OK, "")
		r.wantStarts(after, 1)
		r.end()
	})
}

func TestCrashes(t *testing.T) {
	tests := []struct {
		name       string
		idempotent bool
		left       run.Stopped
		wantStarts int
		want       mesh.State
		reason     string
	}{
		{"nothing left", false, run.Stopped{}, 1, mesh.Unknown, "the agent was restarted while it ran; nothing of it was left"},
		{"processes left", false, run.Stopped{Count: 3, Killed: 1}, 1, mesh.Unknown, "the agent was restarted while it ran; 3 processes were stopped, 1 of them by KILL"},
		{
			"left for good", false,
			run.Stopped{Count: 1, Left: []string{"7 (dd, waits for a device)"}},
			1,
			mesh.Unknown, "the agent was restarted while it ran, and processes are left that cannot be stopped: 7 (dd, waits for a device)",
		},
		{"idempotent", true, run.Stopped{Count: 1}, 2, mesh.OK, "started again after a restart of the agent"},
		{
			"idempotent, left for good", true,
			run.Stopped{Count: 1, Left: []string{"7 (dd)"}},
			1,
			mesh.Unknown, "the agent was restarted while it ran, and processes are left that cannot be stopped: 7 (dd)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.runner.Do = exectest.Sleep(time.Minute)
				r.change = func(o *Options) { o.Limits.Slots = 1 }
				r.start()
				s, next := r.clerk.Spec(r.node), r.clerk.Spec(r.node)
				s.Idempotent = tt.idempotent
				r.publish(s, next)
				r.wantStates(s, mesh.Acked, mesh.Running)
				mark := r.runner.Tasks()[0].Mark
				r.crash()
				r.runner.Left = tt.left
				r.start()
				settle(3 * time.Minute)
				r.wantStarts(s, tt.wantStarts)
				r.wantLast(s, tt.want, tt.reason)
				if got := r.runner.Swept(); len(got) != 1 || got[0] != mark {
					t.Errorf("swept %v, want [%s]", got, mark)
				}
				// What had not started is neither lost nor unknown.
				r.wantStarts(next, 1)
				r.wantLast(next, mesh.OK, "")
				r.end()
			})
		})
	}
}

func TestAgentStopsInGoodOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.change = func(o *Options) { o.Limits.Slots = 2 }
		r.start()
		plain, idem, waits := r.clerk.Spec(r.node), r.clerk.Spec(r.node), r.clerk.Spec(r.node)
		idem.Idempotent = true
		r.publish(plain, idem, waits)
		r.end()
		r.wantLast(plain, mesh.Unknown, "the agent was stopped while it ran; 1 process was stopped")
		r.wantStates(idem, mesh.Acked, mesh.Running)
		r.start()
		settle(3 * time.Minute)
		r.wantStarts(plain, 1)
		r.wantStarts(idem, 2)
		r.wantLast(idem, mesh.OK, "started again after a restart of the agent")
		r.wantLast(waits, mesh.OK, "")
		r.end()
	})
}

func TestCancelledWhileTheAgentWasDown(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.change = func(o *Options) { o.Limits.Slots = 1 }
		r.start()
		idem, waits := r.clerk.Spec(r.node), r.clerk.Spec(r.node)
		idem.Idempotent = true
		r.publish(idem, waits)
		r.crash()
		for _, s := range []mesh.Spec{idem, waits} {
			if err := r.clerk.Steer(s, 1, dispatch.PhaseCancel, 0); err != nil {
				t.Fatal(err)
			}
		}
		r.start()
		settle(time.Minute)
		r.wantLast(idem, mesh.Cancelled, "the agent was restarted while it ran, and it is not started again: cancelled before it started")
		r.wantStarts(idem, 1)
		r.wantLast(waits, mesh.Cancelled, "cancelled before it started")
		r.wantStarts(waits, 0)
		r.end()
	})
}

func TestEndIsHandedOverAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.reports.Fail(errors.New("spool is full"))
		s := r.clerk.Spec(r.node)
		r.publish(s)
		r.wantStates(s)
		settle(15 * time.Second)
		r.reports.Fail(nil)
		settle(15 * time.Second)
		r.wantStates(s, mesh.OK)

		r.reports.Fail(errors.New("spool is full"))
		s = r.clerk.Spec(r.node)
		r.publish(s)
		r.crash()
		r.reports.Fail(nil)
		r.start()
		r.wantStates(s, mesh.OK)
		r.wantStarts(s, 1)
		r.end()
	})
}

func TestLostJournalRefusesWhatWasIssuedBefore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		s := r.clerk.Spec(r.node)
		r.publish(s)
		r.end()
		time.Sleep(time.Minute)
		r.dir = filepath.Join(r.dir, "new disk")
		r.start()
		r.wantLast(s, mesh.Rejected, "issued before this agent's journal began")
		r.wantStarts(s, 1)
		after := r.clerk.Spec(r.node)
		r.publish(after)
		r.wantLast(after, mesh.OK, "")
		r.end()
	})
}

func TestRestoredConsul(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		before := r.clerk.Spec(r.node)
		r.publish(before)
		snapshot := r.board.Snapshot()
		lost := r.clerk.Spec(r.node)
		r.publish(lost)
		r.board.Restore(snapshot)
		settle(2 * time.Minute)
		fresh := r.clerk.Spec(r.node)
		doc, err := r.clerk.Seal(sign.TypeJob, fresh).Encode()
		if err != nil {
			t.Fatal(err)
		}
		r.board.Set(dispatch.SpecKey(fresh.Job, 1), doc)
		if err := r.clerk.NewEpoch(exectest.Ref(before), exectest.Ref(lost), exectest.Ref(fresh)); err != nil {
			t.Fatal(err)
		}
		settle(2 * time.Minute)
		for _, s := range []mesh.Spec{before, lost, fresh} {
			r.wantStarts(s, 1)
			r.wantLast(s, mesh.OK, "")
		}
		r.end()
	})
}
