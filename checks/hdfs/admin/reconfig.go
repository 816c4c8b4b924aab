package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// outcome is what a DataNode has said of a reconfiguration.
type outcome string

// The outcomes. Changed is said too when only the order is another.
const (
	running        outcome = "running"
	changed        outcome = "changed"
	nothing        outcome = "nothing changed"
	failedToChange outcome = "failed"
)

// dataDir is the property that a reconfiguration is about.
const dataDir = "dfs.datanode.data.dir"

// reconfigure has the DataNode read its configuration and waits for the end of
// that. What is said goes into the evidence.
func (a *Admin) reconfigure(ctx context.Context, v *volumes, e evidence) (outcome, error) {
	out, err := a.dfsadmin.run(ctx, v.command)
	e["command"], e["output"] = strings.Join(v.command, " "), out.text
	if err != nil {
		return "", err
	}
	if out.code != 0 || !strings.Contains(out.text, "tarted reconfiguration") {
		return "", fmt.Errorf("the DataNode at %s has begun no reconfiguration: %s", v.ipc, cmp.Or(lastLine(out.text), "it said nothing"))
	}
	for began := time.Now(); ; {
		out, err := a.dfsadmin.run(ctx, a.dfsadmin.reconfig(v.ipc, "status"))
		if err != nil {
			return "", err
		}
		if out.code != 0 {
			return "", fmt.Errorf("the DataNode at %s does not say how the reconfiguration went: %s", v.ipc, lastLine(out.text))
		}
		how := parseStatus(out.text, dataDir)
		e["output"], e["reconfig"] = out.text, string(how)
		switch {
		case how != running:
			return how, nil
		case time.Since(began) > a.o.Command+a.o.Settle:
			return "", errors.New("the reconfiguration does not end")
		case !sleep(ctx, look):
			return "", ctx.Err()
		}
	}
}

// parseStatus reads what -reconfig … status says. Its exit code is 0 however the
// reconfiguration went; a line for the property is the proof.
func parseStatus(text, property string) outcome {
	finished := false
	how := nothing
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		finished = finished || strings.Contains(line, "and finished at")
		what, about, _ := strings.Cut(line, ":")
		if !strings.Contains(about, property) {
			continue
		}
		switch {
		case what == "FAILED":
			how = failedToChange
		case what == "SUCCESS" && how != failedToChange:
			how = changed
		}
	}
	if !finished {
		return running
	}
	return how
}

// firstError is the reason that a status gives.
func firstError(text string) string {
	for line := range strings.Lines(text) {
		if _, reason, ok := strings.Cut(line, "Error:"); ok {
			return strings.TrimSuffix(strings.TrimSpace(reason), ".")
		}
	}
	return lastLine(text)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
