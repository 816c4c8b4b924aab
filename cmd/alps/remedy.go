package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
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
	return newRemedySwitch(a, &cobra.Command{
		Use:   "pause [POLICY]",
		Short: "Keep every policy, or one, or a group of them, from acting until resume",
		Long: `Keep policies from acting, everywhere, until somebody resumes. What a policy has
already started on a node goes on: cancel its job to stop it.`,
		Example: `  alps remedy pause --reason 'power work in rack 11'
  alps remedy pause --group hdfs --reason 'the NameNode is moved'`,
	}, func(ctx context.Context, c *client.Client, scope mesh.RemedyScope, reason string) (string, string, error) {
		what := "remediation is paused; alps remedy resume ends it"
		switch {
		case scope.Policy != "":
			what = "the policy " + scope.Policy + " is paused; alps remedy resume " + scope.Policy + " ends it"
		case scope.Group != "":
			what = "the policies of the group " + scope.Group + " are paused; alps remedy resume --group " + scope.Group + " ends it"
		}
		return "paused", what, c.PauseRemedy(ctx, scope, reason)
	})
}

func newRemedyResume(a *app) *cobra.Command {
	return newRemedySwitch(a, &cobra.Command{
		Use:   "resume [POLICY]",
		Short: "Let policies act again, or one, whose breaker is closed by it",
		Long: `Let the policies that were paused act again. What was paused with a group, or
with all, is resumed like that. Of a policy it also closes the breaker, and
forgives it its storms.`,
		Example: `  alps remedy resume
  alps remedy resume restart-web --reason 'the switch was mended'`,
	}, func(ctx context.Context, c *client.Client, scope mesh.RemedyScope, reason string) (string, string, error) {
		what := "policies may act again"
		switch {
		case scope.Policy != "":
			what = "the policy " + scope.Policy + " may act again"
		case scope.Group != "":
			what = "the policies of the group " + scope.Group + " may act again"
		}
		return "resumed", what, c.ResumeRemedy(ctx, scope, reason)
	})
}

// newRemedySwitch completes a verb that pauses or resumes. throw returns what
// has become so, as a word and as a sentence.
func newRemedySwitch(a *app, c *cobra.Command, throw func(context.Context, *client.Client, mesh.RemedyScope, string) (status, text string, err error)) *cobra.Command {
	var reason, of string
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		scope := mesh.RemedyScope{Group: of}
		if len(args) == 1 {
			scope.Policy = args[0]
		}
		status, text, err := throw(ctx, c, scope, reason)
		if err != nil {
			return err
		}
		return a.said(status, text)
	})
	c.Flags().StringVar(&of, "group", "", "the policies of this group")
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever finds it so and for the audit")
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
