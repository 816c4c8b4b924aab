package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newRemedy(a *app) *cobra.Command {
	return group("remedy", "What policies do about incidents, and the switch that stops them",
		newRemedyList(a), newRemedyRuns(a), newRemedyShow(a),
		newRemedyAnswer(a, answers{
			use: "approve ID", short: "Let a policy do what it has proposed", done: "approved",
			give: (*client.Client).ApproveRemedy,
		}),
		newRemedyAnswer(a, answers{
			use: "reject ID", short: "Keep a policy from what it has proposed", done: "rejected",
			give: (*client.Client).RejectRemedy,
		}),
		newRemedySimulate(a), newRemedyPause(a), newRemedyResume(a),
		newRemedyNew(a))
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
			t := newTable("POLICY", "RULE", "MODE", "LAST HOUR", "NOW")
			t.wrap = true
			for _, p := range list.Policies {
				t.row(p.Name, p.Rule, string(p.Mode), fmt.Sprintf("%d/%d", p.LastHour, p.PerHour), standing(p))
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

// standing says what a policy would do now, and what it did last.
func standing(p v1.Policy) string {
	now := "would act"
	if why, ok := strings.CutPrefix(p.Blocked, "mode: "); ok {
		now = why // it is what it was told to be, and refuses nothing.
	} else if p.Blocked != "" {
		now = "would refuse: " + p.Blocked
	}
	if p.Last != nil {
		now += fmt.Sprintf("; last %s %s ago", p.Last.State, ago(p.Last.Decided))
	}
	return now
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
			t := newTable("ID", "TIME", "NODE", "STATE", "POLICY")
			t.wrap = true
			for _, r := range runs {
				t.row(shortID(string(r.ID)), clock(r.Decided), string(r.Node), string(r.State), joined(": ", r.Policy, whatNow(&r)))
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
