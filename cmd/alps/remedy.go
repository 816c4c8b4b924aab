package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newRemedy(a *app) *cobra.Command {
	return group("remedy", "What policies do about incidents, and the switch that stops them",
		newRemedyList(a), newRemedyRuns(a), newRemedyShow(a), newRemedyPause(a), newRemedyResume(a))
}

func newRemedyList(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short: "List the policies and why each would refuse now",
		Args:  cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Policies(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("POLICY", "RULE", "MODE", "LAST HOUR", "LAST", "NOW")
			t.wrap = true
			for _, p := range list.Policies {
				last := ""
				if p.Last != nil {
					last = fmt.Sprintf("%s %s ago", p.Last.State, ago(p.Last.Decided))
				}
				now := "would act"
				if p.Blocked != "" {
					now = "would refuse: " + p.Blocked
				}
				t.row(p.Name, p.Rule, string(p.Mode), fmt.Sprintf("%d/%d", p.LastHour, p.PerHour), last, now)
			}
			if err := t.print(a.out); err != nil {
				return err
			}
			if p := list.Paused; p != nil {
				fmt.Fprintf(a.err, "paused by %s since %s: %s\n", printable(p.By), clock(p.At), printable(p.Reason))
			}
			return nil
		}),
	})
}

func newRemedyRuns(a *app) *cobra.Command {
	var f v1.RemedyRunFilter
	c := &cobra.Command{
		Use:   "runs",
		Short: "List what policies did and refused to do, the newest first",
		Args:  cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			runs, err := c.RemedyRuns(ctx, f)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(v1.RemedyRunList{Runs: runs})
			}
			t := newTable("ID", "TIME", "POLICY", "NODE", "STATE", "WHY")
			t.wrap = true
			for _, r := range runs {
				t.row(shortID(string(r.ID)), clock(r.Decided), r.Policy, string(r.Node), string(r.State), whyRefused(r))
			}
			return t.print(a.out)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&f.Policy, "policy", "", "only runs of this policy")
	fl.StringVar((*string)(&f.Incident), "incident", "", "only runs for this incident, by its whole id")
	fl.IntVar(&f.Limit, "limit", 20, "how many")
	return a.remote(c)
}

func whyRefused(r mesh.RemedyRun) string {
	return strings.TrimPrefix(strings.Join([]string{r.Guard, r.Reason}, ": "), ": ")
}

func newRemedyShow(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "show [ID]",
		Short: "Show one run with its evidence, the newest without an id",
		Long: `Show one run with its evidence, the newest without an id. The start of an id is
enough when no other run's begins with it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := runOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.showRun(r)
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

func (a *app) showRun(r mesh.RemedyRun) {
	line := func(label, text string) {
		if strings.TrimSpace(text) != "" {
			a.field(label, text)
		}
	}
	line("run", string(r.ID))
	line("policy", r.Policy)
	line("incident", string(r.Incident))
	line("node", string(r.Node))
	line("script", r.Script)
	line("state", string(r.State))
	line("why", whyRefused(r))
	line("decided", clock(r.Decided))
	if !r.Started.IsZero() {
		line("started", fmt.Sprintf("%s, as job %s", clock(r.Started), r.ID))
	}
	if r.Job.State != "" {
		job := string(r.Job.State)
		if r.Job.State == mesh.Failed {
			job += " with exit code " + strconv.Itoa(r.Job.Code)
		}
		if r.Job.Woke != "" {
			job += ", woke by " + string(r.Job.Woke)
		}
		line("job", job)
	}
	line("before", evidence(r.Before))
	line("after", evidence(r.After))
	if !r.Ended.IsZero() {
		line("ended", fmt.Sprintf("%s, %s after the decision", clock(r.Ended), brief(r.Ended.Sub(r.Decided))))
	}
}

func evidence(s mesh.CheckState) string {
	if s.Result.Check == "" {
		return ""
	}
	return fmt.Sprintf("%s is %s (%s): %s", s.Result.Check, s.Status, s.Source, firstLine(s.Result.Output))
}

func newRemedyPause(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause",
		Short: "Keep every policy from acting until resume",
		Long: `Keep every policy from acting, everywhere, until somebody resumes. What a policy
has already started on a node goes on: cancel its job to stop it.`,
		Example: "  alps remedy pause --reason 'power work in rack 11'",
		Args:    cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.PauseRemedy(ctx, reason); err != nil {
				return err
			}
			return a.said("paused", "remediation is paused; alps remedy resume ends it")
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever finds it paused")
	return a.remote(c)
}

func newRemedyResume(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "resume [POLICY]",
		Short: "Let policies act again, or close the breaker of one",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			policy := ""
			if len(args) == 1 {
				policy = args[0]
			}
			if err := c.ResumeRemedy(ctx, policy, reason); err != nil {
				return err
			}
			if policy != "" {
				return a.said("resumed", "the policy "+policy+" may act again")
			}
			return a.said("resumed", "policies may act again")
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return a.remote(c)
}

// said prints what has become so.
func (a *app) said(status, text string) error {
	if a.json {
		return a.printJSON(map[string]string{"status": status})
	}
	_, err := fmt.Fprintln(a.out, printable(text))
	return err
}
