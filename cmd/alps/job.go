package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newJob(a *app) *cobra.Command {
	return group("job", "List, show and steer jobs",
		newJobList(a), newJobShow(a),
		newJobSteer(a, v1.Cancel, "cancel ID", "Stop a job on all its nodes and say how many have confirmed it"),
		newJobSteer(a, v1.Pause, "pause ID", "Start nothing more of a job for now"),
		newJobSteer(a, v1.Resume, "resume ID", "Go on with a paused job"),
		newJobSteer(a, v1.OpenWave, "open-wave ID", "Let the next wave of a job start"),
	)
}

func newJobList(a *app) *cobra.Command {
	var f v1.JobFilter
	var state string
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short:   "List jobs, the newest first",
		Example: "  alps job list --open\n  alps job list --state FAILED",
		Args:    cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			if state != "" {
				s, err := mesh.ParseState(strings.ToUpper(state))
				if err != nil {
					return usagef("--state: %w", err)
				}
				f.State = s
			}
			list, err := c.Jobs(ctx, f)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("ID", "CREATED", "BY", "OK", "NOT OK", "OPEN", "COMMAND")
			for _, j := range list.Jobs {
				ok, open := j.Counts[mesh.OK], j.Counts.Open()
				t.row(string(j.ID), clock(j.Created), shorten(j.Author, 16), strconv.Itoa(ok),
					strconv.Itoa(j.Counts.Total()-ok-open), strconv.Itoa(open), j.Title)
			}
			return t.print(a.out)
		}),
	}
	fl := c.Flags()
	fl.BoolVar(&f.Open, "open", false, "only jobs that have not ended")
	fl.StringVar(&state, "state", "", "only jobs with a target in this state")
	fl.StringVar(&f.Author, "by", "", "only jobs of this token's name")
	fl.IntVar(&f.Limit, "limit", 20, "how many")
	return a.remote(c)
}

func newJobShow(a *app) *cobra.Command {
	var nodes bool
	c := &cobra.Command{
		Use:   "show [ID]",
		Short: "Show one job, the newest without an id: states, who said what, what woke the nodes",
		Long: `Show one job, the newest one without an id. The start of an id is enough when no
other job's begins with it.

Exit codes are those of exec: 0 only if every target is OK.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			job, err := jobOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJobJSON(ctx, c, job)
			} else {
				err = a.showJob(ctx, c, job, nodes)
			}
			if err == nil && job.Counts[mesh.OK] != job.Counts.Total() {
				err = silentError{exitFailed}
			}
			return err
		}),
	}
	c.Flags().BoolVar(&nodes, "nodes", false, "list the targets one by one, in place of groups")
	return a.remote(c)
}

func jobOrNewest(ctx context.Context, c *client.Client, args []string) (v1.Job, error) {
	if len(args) == 1 {
		return c.Job(ctx, args[0])
	}
	list, err := c.Jobs(ctx, v1.JobFilter{Limit: 1})
	if err != nil {
		return v1.Job{}, err
	}
	if len(list.Jobs) == 0 {
		return v1.Job{}, mesh.Errorf(mesh.NotFound, "there is no job yet").WithHint("alps exec -t all -- uptime")
	}
	return c.Job(ctx, string(list.Jobs[0].ID))
}

func (a *app) showJob(ctx context.Context, c *client.Client, job v1.Job, nodes bool) error {
	fmt.Fprintf(a.out, "job      %s\nruns     %s\non       %s\nby       %s\n", job.ID, printable(job.Title), job.Target, job.Author)
	if job.Signer != "" {
		fmt.Fprintf(a.out, "signed   %s\n", job.Signer)
	}
	fmt.Fprintf(a.out, "created  %s, expires %s\n", clock(job.Created), clock(job.Expires))
	fmt.Fprintf(a.out, "states   %s\n", countsText(job.Counts))
	fmt.Fprintf(a.out, "woke by  %s\n", wokeText(job.Woke))
	if job.Waves > 1 {
		fmt.Fprintf(a.out, "waves    %d of %d open\n", job.Wave+1, job.Waves)
	}
	if job.Stopped != "" {
		fmt.Fprintf(a.out, "note     %s\n", job.Stopped)
	}
	for _, dc := range job.Unpublished {
		fmt.Fprintf(a.out, "note     not announced yet in %s\n", dc)
	}
	if nodes {
		list, err := allTargets(ctx, c, job.ID)
		if err != nil {
			return err
		}
		t := newTable("NODE", "STATE", "WOKE", "TOOK", "REASON")
		for _, n := range list {
			t.row(string(n.Name), stateText(n.State, n.Code, n.Signal), string(n.Woke), took(n), n.Reason)
		}
		return t.print(a.out)
	}
	for _, g := range job.Groups {
		fmt.Fprintf(a.out, "%-12s %s (%d)%s\n", stateText(g.State, g.Code, g.Signal), g.Nodes, g.Count, dash(g.Reason))
	}
	return a.printGroups(ctx, c, job)
}

// allTargets reads every page of a job's list.
func allTargets(ctx context.Context, c *client.Client, id mesh.JobID) ([]v1.Target, error) {
	var all []v1.Target
	for f := (v1.TargetFilter{}); ; {
		page, err := c.Targets(ctx, string(id), f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Targets...)
		if page.Next == 0 {
			return all, nil
		}
		f.From = page.Next
	}
}

func took(t v1.Target) string {
	if t.Started.IsZero() || t.Ended.IsZero() {
		return ""
	}
	return t.Ended.Sub(t.Started).Round(time.Millisecond).String()
}

// countsText is the counts by state in the order of the states, with their
// sum: the list.
func countsText(c mesh.Counts) string {
	var parts []string
	for _, s := range mesh.States() {
		if n := c[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("%s of %d", strings.Join(parts, ", "), c.Total())
}

func wokeText(w map[mesh.Woke]int) string {
	parts := []string{}
	for _, by := range []mesh.Woke{mesh.WokeEvent, mesh.WokeWatch, mesh.WokePoll, mesh.WokeStart} {
		if n := w[by]; n > 0 || by != mesh.WokeStart {
			parts = append(parts, fmt.Sprintf("%d %s", n, by))
		}
	}
	return strings.Join(parts, ", ")
}

// printJobJSON prints the job with the output of its groups filled in.
func (a *app) printJobJSON(ctx context.Context, c *client.Client, job v1.Job) error {
	for i := range job.Groups {
		for _, o := range []*mesh.Output{&job.Groups[i].Stdout, &job.Groups[i].Stderr} {
			if o.Digest == "" {
				continue
			}
			b, err := body(ctx, c, job.ID, *o)
			if err != nil && mesh.CodeOf(err) != mesh.NotFound && mesh.CodeOf(err) != mesh.Unavailable {
				return err
			}
			o.Inline = b
		}
	}
	return a.printJSON(job)
}

func newJobSteer(a *app, what v1.Steer, use, short string) *cobra.Command {
	var k operatorKey
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			job, err := c.Job(ctx, args[0])
			if err != nil {
				return err
			}
			if what == v1.Cancel {
				return a.cancel(ctx, c, job.ID, k)
			}
			job, err = a.steer(ctx, c, job.ID, what, k)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(job)
			}
			_, err = fmt.Fprintf(a.out, "%s: %s, wave %d of %d, %s\n", job.ID, job.Phase, job.Wave+1, max(1, job.Waves), countsText(job.Counts))
			return err
		}),
	}
	k.flags(c.Flags())
	return a.remote(c)
}

func (a *app) steer(ctx context.Context, c *client.Client, id mesh.JobID, what v1.Steer, k operatorKey) (v1.Job, error) {
	sub, err := c.Steer(ctx, string(id), what)
	if err != nil {
		return v1.Job{}, err
	}
	return a.signed(ctx, c, sub, k, func(payload []byte) error { return sameSteer(id, payload) })
}

// cancelPatience is how long cancel waits for the confirmations: the grace of
// most jobs, and the time to prove that nothing is left.
const cancelPatience = 20 * time.Second

// cancel stops a job and waits for the nodes to confirm it. It is an error
// unless every node that had begun has.
func (a *app) cancel(ctx context.Context, c *client.Client, id mesh.JobID, k operatorKey) error {
	job, err := a.steer(ctx, c, id, v1.Cancel, k)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(cancelPatience)
	for unconfirmed(job) > 0 && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if job, err = c.Job(ctx, string(id)); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(job)
	}
	stopped, left := job.Counts[mesh.Cancelled], job.Counts.Open()
	fmt.Fprintf(a.out, "job %s: %d of %d nodes confirmed stopped, %d had ended before, %d have not answered\n",
		id, stopped, job.Counts.Total(), job.Counts.Total()-stopped-left, left)
	if left == 0 {
		return nil
	}
	for _, g := range job.Groups {
		if !g.State.Ended() {
			fmt.Fprintf(a.out, "%-12s %s (%d)\n", g.State, g.Nodes, g.Count)
		}
	}
	return silentError{exitFailed}
}

// unconfirmed is how many nodes have taken a job on and not ended it.
func unconfirmed(job v1.Job) int {
	return job.Counts[mesh.Acked] + job.Counts[mesh.Queued] + job.Counts[mesh.Running]
}

// clock prints a moment shortly: the time of today, the day and time of this
// year, the date of another.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.Local()
	now := time.Now()
	switch {
	case t.Year() != now.Year():
		return t.Format(time.DateOnly)
	case t.YearDay() != now.YearDay():
		return t.Format("01-02 15:04")
	}
	return t.Format(time.TimeOnly)
}

// shorten cuts s to n characters, and says so.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(slices.Concat(r[:n-1], []rune("…")))
	}
	return s
}
