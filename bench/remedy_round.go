package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

// byALPS waits until the policy has proven what it did, and reads off the run
// when each of its steps was.
func (r *remedyRun) byALPS(ctx context.Context, n dataNode, broke time.Time) (remedyTimes, error) {
	var t remedyTimes
	run, err := r.awaitRun(ctx, n, broke, func(run mesh.RemedyRun) bool { return run.State == mesh.RemedySucceeded })
	if err != nil {
		return t, err
	}
	t.hard, t.decided, t.proven = run.Before.Result.HardSince.Sub(broke), run.Decided.Sub(broke), run.Ended.Sub(broke)
	for _, s := range run.Steps {
		switch s.Kind {
		case mesh.StepConfirm:
			t.confirmed = s.Ended.Sub(broke)
		case mesh.StepGuard:
			t.looked, t.guards = s.Ended.Sub(broke), s.Attempts
		case mesh.StepAct:
			t.action = s.Started.Sub(broke)
		case mesh.StepProve:
			t.proofs = s.Attempts
		default:
		}
	}
	if t.action <= 0 {
		return t, errors.New("the run has no step that acts")
	}
	return t, nil
}

// awaitRun waits until the run for a fault is as wanted. One that was refused by
// a step, or failed, ends the wait.
func (r *remedyRun) awaitRun(ctx context.Context, n dataNode, broke time.Time, ok func(mesh.RemedyRun) bool) (mesh.RemedyRun, error) {
	var found mesh.RemedyRun
	var bad error
	err := r.await(ctx, "the policy has acted on "+n.name, func(ctx context.Context) error {
		list, err := r.api.RemedyRuns(ctx, v1.RemedyRunFilter{Policy: diskPolicy, Limit: 10})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list, func(run mesh.RemedyRun) bool { return string(run.Node) == n.name && run.Decided.After(broke) })
		if at < 0 {
			return errors.New("nothing was decided")
		}
		found = list[at]
		switch {
		case ok(found):
			return nil
		case found.State.Ended():
			bad = fmt.Errorf("the run for %s is %s: %s %s", n.name, found.State, found.Guard, found.Reason)
			return nil
		}
		return fmt.Errorf("the run is %s", found.State)
	})
	return found, errors.Join(err, bad)
}

// byHand is what somebody types who has known of the fault in the same moment,
// reads nothing and hesitates nowhere: it is the tools' own time.
func (r *remedyRun) byHand(ctx context.Context, n dataNode, broke time.Time) (remedyTimes, error) {
	var t remedyTimes
	report, err := r.hdfs(ctx, "dfsadmin", "-report")
	if err != nil {
		return t, err
	}
	if !strings.Contains(report, "Missing blocks: 0") || !strings.Contains(report, fmt.Sprintf("Live datanodes (%d)", len(r.nodes))) {
		return t, fmt.Errorf("HDFS is not well:\n%s", report)
	}
	t.looked = time.Since(broke)
	t.action = time.Since(broke)
	if err := addLine(r.hosts, n.key); err != nil {
		return t, err
	}
	if _, err := r.hdfs(ctx, "dfsadmin", "-refreshNodes"); err != nil {
		return t, err
	}
	for !leftBy(report, n) {
		if report, err = r.hdfs(ctx, "dfsadmin", "-report"); err != nil {
			return t, err
		}
	}
	for {
		checked, err := r.hdfs(ctx, "fsck", "/")
		if err != nil {
			return t, err
		}
		if whole(checked) {
			t.proven = time.Since(broke)
			return t, nil
		}
	}
}

// addLine adds a line to a file.
func addLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// leftBy reports whether a report of dfsadmin shows a DataNode as decommissioned.
func leftBy(report string, n dataNode) bool {
	_, rest, _ := strings.Cut(report, "Hostname: "+n.name+"\n")
	rest, _, _ = strings.Cut(rest, "Hostname: ")
	return strings.Contains(rest, "Decommission Status : Decommissioned")
}

// whole reports whether fsck has found all blocks with all their copies.
func whole(checked string) bool {
	if !strings.Contains(checked, "is HEALTHY") {
		return false
	}
	for line := range strings.Lines(checked) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if (name == "Under-replicated blocks" || name == "Missing blocks") && !strings.HasPrefix(strings.TrimSpace(value), "0") {
			return false
		}
	}
	return true
}

func (r *remedyRun) print() {
	r.printf("%d rounds each, %d blocks with 3 copies, 4 DataNodes of 2 disks; seconds since the fault, median (range)\n", remedyRounds, demoFiles)
	r.printf("%-44s %22s %22s %6s\n", "", "ALPS", "by hand, known at once", "ratio")
	for _, row := range []struct {
		name string
		of   func(remedyTimes) time.Duration
	}{
		{"the check is critical, hard", func(t remedyTimes) time.Duration { return t.hard }},
		{"the policy has decided", func(t remedyTimes) time.Duration { return t.decided }},
		{"a second source has confirmed it", func(t remedyTimes) time.Duration { return t.confirmed }},
		{"HDFS can do without the DataNode", func(t remedyTimes) time.Duration { return t.looked }},
		{"first action", func(t remedyTimes) time.Duration { return t.action }},
		{"the NameNode: Decommission In Progress", func(t remedyTimes) time.Duration { return t.progress }},
		{"the NameNode: Decommissioned", func(t remedyTimes) time.Duration { return t.gone }},
		{"proven", func(t remedyTimes) time.Duration { return t.proven }},
	} {
		of := func(list []remedyTimes) []time.Duration {
			var out []time.Duration
			for _, t := range list {
				out = append(out, row.of(t))
			}
			return out
		}
		ours, theirs := of(r.ours), of(r.theirs)
		right, ratio := "", ""
		if median(theirs) > 0 {
			right, ratio = spread(theirs), fmt.Sprintf("%.2f", median(ours).Seconds()/median(theirs).Seconds())
		}
		r.printf("%-44s %22s %22s %6s\n", row.name, spread(ours), right, ratio)
	}
	for i, t := range r.ours {
		r.printf("  round %d: the guard was asked %d times, the proof %d times\n", i+1, t.guards, t.proofs)
	}
	target := 2*disksEvery + 5*time.Second
	r.printf("  target: first action at most %.0f s, two intervals of the check and five seconds (load %s)\n", target.Seconds(), load())
}

func spread(l []time.Duration) string {
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(l).Seconds(), slices.Min(l).Seconds(), slices.Max(l).Seconds())
}
