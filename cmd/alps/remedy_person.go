package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

// answers is one of the two that a person can give to a policy that asks.
type answers struct {
	use, short, done string

	give func(c *client.Client, ctx context.Context, id, reason string) (mesh.RemedyRun, error)
}

func newRemedyAnswer(a *app, w answers) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: w.use, Short: w.short,
		Long: w.short + `. The start of the id of its run is
enough when no other run's begins with it; alps remedy runs shows them.`,
		Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := runByStart(ctx, c, args[0])
			if err != nil {
				return err
			}
			if r, err = w.give(c, ctx, string(r.ID), reason); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			_, err = fmt.Fprintf(a.out, "%s: %s on %s is %s\n", w.done, printable(r.Policy), printable(string(r.Node)), r.State)
			return err
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit and the incident's story")
	return a.remote(c)
}

func newRemedySimulate(a *app) *cobra.Command {
	var incident string
	c := &cobra.Command{
		Use:   "simulate POLICY --incident ID",
		Short: "Say what a policy would do about an incident now, and do nothing",
		Long: `Say what a policy would do about an incident now, and do nothing. Every guard is
asked, and on the nodes every script that only looks; those that act are asked
what they would do. It may take two minutes.

It ends with 0 when the policy would act, and with 1 when it would not.`,
		Example: "  alps remedy simulate hdfs-disk-decommission --incident 5d0e11c2",
		Args:    cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if incident == "" {
				return usagef("--incident is missing: a policy is tried on an incident; alps alert list shows them")
			}
			s, err := c.SimulatePolicy(ctx, args[0], incident)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(s)
			} else {
				err = a.showSimulation(&s)
			}
			if err == nil && !s.Would {
				return silentError{exitFailed}
			}
			return err
		}),
	}
	c.Flags().StringVar(&incident, "incident", "", "id of the incident, or the start of it")
	return a.remote(c)
}

func (a *app) showSimulation(s *v1.Simulation) error {
	a.told("policy", s.Policy)
	a.told("incident", string(s.Incident))
	a.told("node", string(s.Node))
	t := newTable("GUARD", "SAYS")
	t.wrap = true
	for _, v := range s.Verdicts {
		says := "agrees"
		if v.Reason != "" {
			says = "refuses: " + v.Reason
		}
		t.row(v.Guard, says)
	}
	fmt.Fprintln(a.out)
	if err := t.print(a.out); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	a.showSteps(s.Run.Steps)
	a.told("found", pairs(s.Run.Facts))
	end := "it would act"
	if !s.Would {
		end = joined(": ", "it would not act", s.Reason)
	}
	a.told("result", end)
	return nil
}
