package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newRemedyShow(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "show [ID]",
		Short: "Show one run with its evidence, the newest without an id",
		Long: `Show one run from the check to the proof, with the evidence of each step, the
newest without an id. The start of an id is enough when no other run's begins
with it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := runOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			i, err := c.Incident(ctx, string(r.Incident))
			if err != nil && mesh.CodeOf(err) != mesh.NotFound {
				return err
			}
			a.showRun(&r, &i)
			return nil
		}),
	})
}

func runOrNewest(ctx context.Context, c *client.Client, args []string) (mesh.RemedyRun, error) {
	if len(args) == 1 {
		return runByStart(ctx, c, args[0])
	}
	runs, err := c.RemedyRuns(ctx, v1.RemedyRunFilter{Limit: 1})
	if err != nil {
		return mesh.RemedyRun{}, err
	}
	if len(runs) == 0 {
		return mesh.RemedyRun{}, mesh.Errorf(mesh.NotFound, "no policy has done or refused anything yet")
	}
	return runs[0], nil
}

// A run is found by its whole id, or by the start of one among the newest.
const (
	wholeRunID = 16
	searched   = 1000
)

func runByStart(ctx context.Context, c *client.Client, id string) (mesh.RemedyRun, error) {
	if len(id) == wholeRunID {
		return c.RemedyRun(ctx, id)
	}
	runs, err := c.RemedyRuns(ctx, v1.RemedyRunFilter{Limit: searched})
	if err != nil {
		return mesh.RemedyRun{}, err
	}
	runs = slices.DeleteFunc(runs, func(r mesh.RemedyRun) bool { return !strings.HasPrefix(string(r.ID), id) })
	switch len(runs) {
	case 0:
		return mesh.RemedyRun{}, mesh.Errorf(mesh.NotFound, "there is no run %s", id).WithHint("`alps remedy runs` shows them")
	case 1:
		return c.RemedyRun(ctx, string(runs[0].ID))
	}
	return mesh.RemedyRun{}, mesh.Errorf(mesh.Invalid, "the ids of %d runs begin with %s", len(runs), id).WithHint("type more of it")
}

// showRun prints the trace of a run in the order in which it came about. The
// incident is empty when it is gone.
func (a *app) showRun(r *mesh.RemedyRun, i *mesh.Incident) {
	a.told("run", string(r.ID))
	a.told("policy", r.Policy)
	a.told("incident", incidentLine(r, i))
	a.told("node", string(r.Node))
	a.told("script", r.Script)
	a.told("state", string(r.State))
	a.told("why", joined(": ", r.Guard, r.Reason))
	a.told("decided", clock(r.Decided))
	a.told("approved", r.Approved)
	if r.State == mesh.RemedyProposed {
		a.told("asks", fmt.Sprintf("alps remedy approve %s, or reject; until %s", shortID(string(r.ID)), clock(r.Deadline)))
	}
	if !r.Started.IsZero() && len(r.Steps) == 0 {
		a.told("started", fmt.Sprintf("%s, as job %s", clock(r.Started), r.ID))
	}
	a.told("job", jobText(r.Job))
	a.told("before", evidence(r.Before))
	a.showSteps(r.Steps)
	a.told("found", pairs(r.Facts))
	if p := progressOf(r.Steps); p != nil {
		a.told("progress", progressText(p))
	}
	a.told("after", evidence(r.After))
	if !r.Ended.IsZero() {
		a.told("ended", fmt.Sprintf("%s, %s after the decision", clock(r.Ended), brief(r.Ended.Sub(r.Decided))))
	}
}

// told prints a field that has something in it.
func (a *app) told(label, text string) {
	if strings.TrimSpace(text) != "" {
		a.field(label, text)
	}
}

func incidentLine(r *mesh.RemedyRun, i *mesh.Incident) string {
	parts := []string{string(r.Incident)}
	if !i.Opened.IsZero() {
		parts = append(parts, "opened "+clock(i.Opened))
	}
	if !i.Closed.IsZero() {
		parts = append(parts, "closed "+clock(i.Closed))
	}
	return strings.Join(parts, ", ")
}

// showSteps prints what was begun, step by step: how it stands, and on each of
// its nodes the job, what woke it, and what it answered.
func (a *app) showSteps(steps []mesh.RemedyStep) {
	rung := ""
	for i := range steps {
		s := &steps[i]
		if s.Rung != rung && (s.Rung != "main" || rung != "") {
			a.told("rung", s.Rung)
		}
		rung = s.Rung
		a.field(string(s.Kind), stepText(s))
		for _, n := range s.Nodes {
			a.under(2, joined(": ", string(n.Node), joined(", ", jobText(n.Job), stepJob(s))))
			if n.Answer == nil {
				continue
			}
			if n.Answer.Verdict != mesh.VerdictOK || n.Answer.Reason != "" {
				a.under(4, joined(": ", string(n.Answer.Verdict), n.Answer.Reason))
			}
			a.under(4, pairs(n.Answer.Evidence))
			if p := n.Answer.Progress; p != nil {
				a.under(4, progressText(p))
			}
		}
	}
}

func stepJob(s *mesh.RemedyStep) string {
	if s.Job == "" {
		return ""
	}
	return "job " + shortID(string(s.Job))
}

// stepText says how a step stands. The reason is left to the answers where one
// of them gives it.
func stepText(s *mesh.RemedyStep) string {
	text := s.Name + ": " + string(s.State)
	if !s.Ended.IsZero() {
		text += " after " + brief(s.Ended.Sub(s.Started))
	}
	if s.Attempts > 1 {
		text += fmt.Sprintf(", %d attempts", s.Attempts)
	}
	told := slices.ContainsFunc(s.Nodes, func(n mesh.StepNode) bool {
		return n.Answer != nil && n.Answer.Reason != "" && strings.HasSuffix(s.Reason, n.Answer.Reason)
	})
	if s.Reason != "" && !told {
		text += "; " + s.Reason
	}
	return text
}

// under prints text below a field, so much further in.
func (a *app) under(in int, text string) {
	const before = 10
	if text == "" {
		return
	}
	indent := strings.Repeat(" ", before+in)
	lines := wrapped(printable(text), max(lineWidth(a.out)-before-in, minLast))
	fmt.Fprintf(a.out, "%s%s\n", indent, strings.Join(lines, "\n"+indent))
}

func jobText(j mesh.JobState) string {
	text := string(j.State)
	if j.State == mesh.Failed {
		text += " with exit code " + strconv.Itoa(j.Code)
	}
	if j.Woke != "" {
		text = joined(", ", text, "woke by "+string(j.Woke))
	}
	return joined(": ", text, j.Reason)
}

// pairs prints a map in the order of its names, on one line: a value may have
// several, as a diff does.
func pairs(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+": "+strings.ReplaceAll(strings.TrimSpace(m[k]), "\n", " "))
	}
	return strings.Join(parts, "; ")
}

func evidence(s mesh.CheckState) string {
	if s.Result.Check == "" {
		return ""
	}
	return fmt.Sprintf("%s is %s (%s): %s", s.Result.Check, s.Status, s.Source, firstLine(s.Result.Output))
}

// whatNow says in a line what a run waits for, or why it ended.
func whatNow(r *mesh.RemedyRun) string {
	if why := joined(": ", r.Guard, r.Reason); why != "" {
		return why
	}
	if r.State == mesh.RemedyProposed {
		return "a person is asked until " + clock(r.Deadline)
	}
	if len(r.Steps) == 0 || r.State.Ended() {
		return ""
	}
	s := &r.Steps[len(r.Steps)-1]
	if p := progressOf(r.Steps[len(r.Steps)-1:]); p != nil {
		return progressText(p)
	}
	return fmt.Sprintf("%s %s %s", s.Kind, s.Name, s.State)
}

// progressOf is what the newest step that has said how far it is has said. Of
// several nodes the one counts that has the most before it.
func progressOf(steps []mesh.RemedyStep) *mesh.Progress {
	for _, s := range slices.Backward(steps) {
		var most *mesh.Progress
		for _, n := range s.Nodes {
			if n.Answer != nil && n.Answer.Progress != nil && (most == nil || n.Answer.Progress.Left > most.Left) {
				most = n.Answer.Progress
			}
		}
		if most != nil {
			return most
		}
	}
	return nil
}

// foreseen is how far ahead an end is worth a number.
const foreseen = 30 * 24 * time.Hour

func progressText(p *mesh.Progress) string {
	unit := cmp.Or(p.Unit, "items")
	left := fmt.Sprintf("%d %s left", p.Left, unit)
	if p.Total > 0 {
		left = fmt.Sprintf("%d of %d %s left", p.Left, p.Total, unit)
	}
	if p.Rate > 0 {
		left += fmt.Sprintf(", %s %s/s", rateText(p.Rate), unit)
		if s := float64(p.Left) / p.Rate; p.Left > 0 && s < foreseen.Seconds() {
			left += ", about " + brief(time.Duration(math.Ceil(s))*time.Second)
		}
	}
	return joined(": ", p.State, left)
}

func rateText(r float64) string {
	if r >= 10 {
		return strconv.FormatFloat(r, 'f', 0, 64)
	}
	return strconv.FormatFloat(r, 'g', 2, 64)
}

// joined puts a separator between the parts that are not empty.
func joined(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}
