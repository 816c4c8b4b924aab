package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// day is when everything in the estate happens: so long ago that only the day
// of it is printed.
func day() time.Time { return time.Date(2001, 9, 9, 12, 0, 0, 0, time.UTC) }

// TestScriptOnEstate is the contract of what shows runs of policies, in states
// that a cluster takes hours to come into.
func TestScriptOnEstate(t *testing.T) {
	all := scripts(t, onEstate)
	for _, file := range all.Files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := all
			p.Files = []string{file}
			p.Setup = storageEstate(t) // of its own: one script answers what another shows.
			testscript.Run(t, p)
		})
	}
}

// storageEstate starts a server and returns how a script finds it.
func storageEstate(t *testing.T) func(*testscript.Env) error {
	t.Helper()
	e := apitest.Start(t)
	e.SetNodes(apitest.Node("bj-e-hadoop01-11-203", "hadoop"), apitest.Node("nn1", "hadoop"))
	token := e.Token(t, auth.Request{Name: "li.wei", Role: auth.Operator})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, e.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Runs, s.Simulation = storageRuns(), simulation()
		s.Incidents = []mesh.Incident{{
			ID: "5d0e11c2ab349f70", Rule: "hdfs-disk", Severity: "critical", DC: "dc1", Node: "bj-e-hadoop01-11-203", Check: "hdfs-disk",
			Disks:  []string{"sdb1", "sdc1"},
			Status: mesh.IncidentOpen, Health: mesh.HealthCritical, Opened: day(), Updated: day(),
		}}
		s.Policies = v1.PolicyList{Policies: []v1.Policy{
			{Policy: mesh.Policy{Name: "hdfs-disk-decommission", Rule: "hdfs-disk", Mode: mesh.RemedyApprove, PerHour: 3}, LastHour: 1, Blocked: "mode: it asks a person first"},
			{Policy: mesh.Policy{Name: "hdfs-disk-ladder", Rule: "hdfs-disk", Mode: mesh.RemedyAuto, PerHour: 3}, Blocked: "storm: 3 incidents of the rule hdfs-disk within 10m0s"},
		}}
	})
	return func(env *testscript.Env) error {
		env.Setenv(envAddr, e.Address)
		env.Setenv(envToken, token)
		env.Setenv(envCACert, ca)
		env.Setenv("COLUMNS", "80")
		env.Setenv("TZ", "UTC")
		return nil
	}
}

// storageRuns are runs of a policy of several steps in each state in which one
// shows something of its own, the newest first.
func storageRuns() []mesh.RemedyRun {
	run := func(id mesh.RemedyRunID, s mesh.RemedyState) mesh.RemedyRun {
		return mesh.RemedyRun{
			ID: id, Policy: "hdfs-disk-decommission", Incident: "5d0e11c2ab349f70", DC: "dc1", Node: "bj-e-hadoop01-11-203", Check: "hdfs-disk",
			State: s, Decided: day().Add(30 * time.Second), Deadline: day().Add(time.Hour),
			Before: mesh.CheckState{
				Status: mesh.HealthCritical, Source: "link",
				Result: mesh.CheckResult{Check: "hdfs-disk", Output: "/data07 cannot be written: input/output error"},
			},
		}
	}
	refused := run("0d00000000000004", mesh.RemedyRefused)
	refused.Guard, refused.Reason, refused.Ended = "storm", "3 incidents of the rule hdfs-disk within 10m0s, at most 2 are no storm", day().Add(31*time.Second)
	proving := run("0a00000000000001", mesh.RemedyVerifying)
	proving.Approved, proving.Started, proving.Steps = "li.wei", day().Add(31*time.Second), provingSteps()
	proving.Facts = map[string]string{"datanode": "dn3:9866", "volumes": "/data07", "missing_before": "0"}
	undoing := run("0c00000000000003", mesh.RemedyUndoing)
	undoing.Reason, undoing.Steps = "the name of the host does not resolve on nn1", undoingSteps()
	return []mesh.RemedyRun{proving, run("0b00000000000002", mesh.RemedyProposed), undoing, refused}
}

func planStep(kind mesh.StepKind, name string, state mesh.StepState, nodes ...mesh.StepNode) mesh.RemedyStep {
	s := mesh.RemedyStep{
		Rung: "main", Kind: kind, Name: name, Script: name, Job: "77e2c40f91d3ab56", Attempts: 1, State: state,
		Started: day().Add(time.Minute), Nodes: nodes,
	}
	if state != mesh.StepWaiting && state != mesh.StepRunning {
		s.Ended = s.Started.Add(1200 * time.Millisecond)
	}
	return s
}

func answered(node mesh.NodeName, a mesh.Answer) mesh.StepNode {
	return mesh.StepNode{Node: node, Job: mesh.JobState{State: mesh.OK, Woke: mesh.WokeEvent}, Answer: &a}
}

func provingSteps() []mesh.RemedyStep {
	prove := planStep(mesh.StepProve, "hdfs-proven", mesh.StepWaiting,
		answered("nn1", mesh.Answer{
			Verdict: mesh.VerdictWait, Reason: "120 blocks are not copied yet",
			Evidence: map[string]string{"missing blocks": "0", "low redundancy": "120"},
			Progress: &mesh.Progress{State: "Decommission In Progress", Left: 120, Total: 320, Unit: "blocks", Rate: 13.7},
		}),
		answered("nn2", mesh.Answer{
			Verdict: mesh.VerdictWait, Reason: "118 blocks are not copied yet",
			Progress: &mesh.Progress{State: "Decommission In Progress", Left: 118, Total: 320, Unit: "blocks"},
		}))
	prove.Attempts, prove.Reason = 12, "nn1: 120 blocks are not copied yet"
	return []mesh.RemedyStep{
		planStep(mesh.StepConfirm, "hdfs-confirm", mesh.StepOK, answered("bj-e-hadoop01-11-203", mesh.Answer{
			Verdict: mesh.VerdictOK, Reason: "the kernel's log and a write of the DataNode agree that /data07 has failed",
			Evidence: map[string]string{"device": "/dev/sdh1", "kernel": "Buffer I/O error on dev sdh1", "write": "EIO"},
		})),
		planStep(mesh.StepAct, "hdfs-decommission", mesh.StepOK, answered("nn1", mesh.Answer{Verdict: mesh.VerdictOK}), answered("nn2", mesh.Answer{Verdict: mesh.VerdictOK})),
		prove,
	}
}

func undoingSteps() []mesh.RemedyStep {
	failed := planStep(mesh.StepAct, "hdfs-decommission", mesh.StepNo, mesh.StepNode{
		Node: "nn1", Job: mesh.JobState{State: mesh.Failed, Code: 1, Woke: mesh.WokeWatch, Reason: "exit status 1"},
	})
	failed.Rung, failed.Reason = "decommission", "nn1 gave no answer"
	undo := planStep(mesh.StepUndo, "hdfs-decommission", mesh.StepRunning, mesh.StepNode{Node: "nn1", Job: mesh.JobState{State: mesh.Running}})
	undo.Rung = "decommission"
	return []mesh.RemedyStep{failed, undo}
}

// simulation is of a policy that one guard keeps from acting.
func simulation() v1.Simulation {
	return v1.Simulation{
		Node: "bj-e-hadoop01-11-203", Reason: "may-leave: nn1 is in safe mode",
		Verdicts: []v1.GuardVerdict{{Guard: "paused"}, {Guard: "storm", Reason: "3 incidents of the rule hdfs-disk within 10m0s, at most 2 are no storm"}, {Guard: "cooldown"}},
		Run: mesh.RemedyRun{
			Steps: []mesh.RemedyStep{
				planStep(mesh.StepConfirm, "hdfs-confirm", mesh.StepOK, answered("bj-e-hadoop01-11-203", mesh.Answer{Verdict: mesh.VerdictOK, Reason: "two sources agree"})),
				planStep(mesh.StepGuard, "may-leave", mesh.StepNo, answered("nn1", mesh.Answer{Verdict: mesh.VerdictNo, Reason: "nn1 is in safe mode"})),
			},
			Facts: map[string]string{"datanode": "dn3:9866"},
		},
	}
}

func TestProgressText(t *testing.T) {
	tests := map[string]struct {
		p    mesh.Progress
		want string
	}{
		"everything is known": {
			mesh.Progress{State: "Decommission In Progress", Left: 120, Total: 320, Unit: "blocks", Rate: 13.7},
			"Decommission In Progress: 120 of 320 blocks left, 14 blocks/s, about 9s",
		},
		"no rate":    {mesh.Progress{State: "Entering Maintenance", Left: 7, Total: 9, Unit: "blocks"}, "Entering Maintenance: 7 of 9 blocks left"},
		"no total":   {mesh.Progress{Left: 7, Unit: "files", Rate: 0.25}, "7 files left, 0.25 files/s, about 28s"},
		"no unit":    {mesh.Progress{Left: 2, Total: 4}, "2 of 4 items left"},
		"at the end": {mesh.Progress{State: "Decommissioned", Total: 320, Unit: "blocks", Rate: 2}, "Decommissioned: 0 of 320 blocks left, 2 blocks/s"},
		"for ever":   {mesh.Progress{Left: 1 << 62, Unit: "blocks", Rate: 1e-300}, "4611686018427387904 blocks left, 1e-300 blocks/s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, progressText(&tt.p)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
