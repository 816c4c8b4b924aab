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
	"alps/mesh/query"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newCheck(a *app) *cobra.Command {
	return group("check", "List checks, run one now", newCheckList(a), newCheckRun(a))
}

func newCheckList(a *app) *cobra.Command {
	var (
		f    v1.CheckFilter
		node string
	)
	c := &cobra.Command{
		Use: "list [EXPR]", Aliases: []string{"ls"},
		Short: "List checks with how they are, those of all nodes without EXPR",
		Example: `  alps check list --node bj-e-hadoop01-11-203
  alps check list role=hadoop --status critical
  alps check list --check web`,
		Args: cobra.ArbitraryArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if f.Query = strings.Join(args, " "); f.Query != "" {
				if _, err := query.Parse(f.Query); err != nil {
					return err
				}
			}
			if node != "" && f.Query != "" {
				return usagef("--node and an expression exclude one another")
			}
			list, err := checks(ctx, c, node, f)
			if err != nil {
				return err
			}
			return a.printChecks(list)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&node, "node", "", "only the checks of this node, by name or id")
	fl.StringVar(&f.Check, "check", "", "only this check, by id or name")
	fl.StringVar((*string)(&f.Status), "status", "", "only checks that are passing, warning, critical or unknown")
	fl.IntVar(&f.Limit, "limit", 1000, "how many")
	return a.remote(c)
}

// checks reads one page, of one node when it is named.
func checks(ctx context.Context, c *client.Client, node string, f v1.CheckFilter) (v1.CheckList, error) {
	if node == "" {
		return c.Checks(ctx, f)
	}
	list, err := c.NodeChecks(ctx, node)
	if err != nil {
		return list, err
	}
	list.Checks = slices.DeleteFunc(list.Checks, func(s mesh.CheckState) bool {
		return f.Check != "" && f.Check != s.Result.Check && f.Check != s.Result.Name || f.Status != "" && f.Status != s.Status
	})
	list.Total = len(list.Checks)
	return list, nil
}

func (a *app) printChecks(list v1.CheckList) error {
	if a.json {
		return a.printJSON(list)
	}
	t := newTable("NODE", "CHECK", "STATUS", "SINCE", "OUTPUT")
	for _, s := range list.Checks {
		t.row(string(s.Node), s.Result.Check, checkStatus(s), ago(s.Since), firstLine(s.Result.Output))
	}
	if err := t.print(a.out); err != nil {
		return err
	}
	if list.Total > len(list.Checks) {
		fmt.Fprintf(a.err, "%d of %d checks: --limit %d shows all\n", len(list.Checks), list.Total, list.Total)
	}
	return nil
}

// checkStatus is the status with what makes it doubtful.
func checkStatus(s mesh.CheckState) string {
	switch {
	case s.AgentLost:
		return string(s.Status) + " (agent lost)"
	case s.Result.Flapping:
		return string(s.Status) + " (flapping)"
	case s.Result.Hard != "" && s.Result.Status != s.Result.Hard:
		return fmt.Sprintf("%s (%s %d/%d)", s.Status, s.Result.Status, s.Result.Attempt, s.Result.Attempts)
	}
	return string(s.Status)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// ago is how long something lasts, in the two largest units.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return brief(time.Since(t))
}

// brief prints a duration in its two largest units: 3d4h, 12m3s, 850ms.
func brief(d time.Duration) string {
	switch d = max(d, 0); {
	case d == 0:
		return "0s"
	case d < time.Second:
		return strconv.Itoa(int(d.Milliseconds())) + "ms"
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + "s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// runWait is how long `alps check run` waits beyond a check's own timeout.
const runWait = 15 * time.Second

func newCheckRun(a *app) *cobra.Command {
	var (
		node string
		wait time.Duration
	)
	c := &cobra.Command{
		Use:   "run NAME",
		Short: "Run a check now, on every node that has it or on one",
		Long: `Run a check now, on every node that has it, and print the results. The result
counts as any other: it goes to Consul, to the rules and to the history.
Exits 0 if every node answered and passes.`,
		Example: "  alps check run web\n  alps check run host-disk --node bj-e-admin01",
		Args:    cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			r := v1.RunCheckRequest{Check: args[0]}
			if node != "" {
				n, err := c.Node(ctx, node)
				if err != nil {
					return err
				}
				r.Target = "id=" + string(n.ID)
				if n.ID == "" {
					return mesh.Errorf(mesh.NotFound, "no ALPS agent has enrolled on %s", n.Name).WithHint("docs/install.md")
				}
			}
			answer, err := c.RunCheck(ctx, r)
			if err != nil {
				return err
			}
			list, missing, err := awaitResults(ctx, c, args[0], answer, wait)
			if err != nil {
				return err
			}
			if err := a.printChecks(list); err != nil {
				return err
			}
			return a.ranAll(args[0], list, answer, missing)
		}),
	}
	c.Flags().StringVar(&node, "node", "", "only on this node, by name or id")
	c.Flags().DurationVar(&wait, "wait", runWait, "how long to wait for the results")
	return a.remote(c)
}

// awaitResults polls until every node that was asked has a new result.
func awaitResults(ctx context.Context, c *client.Client, check string, asked v1.RunCheckAnswer, wait time.Duration) (v1.CheckList, []string, error) {
	deadline := time.Now().Add(wait)
	for {
		all, err := c.Checks(ctx, v1.CheckFilter{Check: check, Limit: 10_000})
		if err != nil {
			return all, nil, err
		}
		fresh := v1.CheckList{Checks: []mesh.CheckState{}}
		var missing []string
		for _, name := range asked.Asked {
			at := slices.IndexFunc(all.Checks, func(s mesh.CheckState) bool {
				return s.Node == name && s.Source == mesh.SourceLink && !s.Received.Before(asked.Since)
			})
			if at < 0 {
				missing = append(missing, string(name))
				continue
			}
			fresh.Checks = append(fresh.Checks, all.Checks[at])
		}
		fresh.Total = len(fresh.Checks)
		if len(missing) == 0 || time.Now().After(deadline) {
			return fresh, missing, nil
		}
		select {
		case <-ctx.Done():
			return fresh, missing, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ranAll says who did not answer, and fails unless all did and pass.
func (a *app) ranAll(check string, list v1.CheckList, answer v1.RunCheckAnswer, missing []string) error {
	for name, why := range answer.Missed {
		fmt.Fprintf(a.err, "%s: not asked: %s\n", printable(name), printable(why))
	}
	for _, name := range missing {
		fmt.Fprintf(a.err, "%s: no result yet\n", printable(name))
	}
	bad := 0
	for _, s := range list.Checks {
		if s.Result.Status != mesh.HealthPassing {
			bad++
		}
	}
	if bad+len(missing)+len(answer.Missed) == 0 {
		return nil
	}
	fmt.Fprintf(a.err, "%s passes on %d of %d nodes\n", printable(check), len(list.Checks)-bad, len(answer.Asked)+len(answer.Missed))
	return silentError{exitFailed}
}
