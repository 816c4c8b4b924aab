package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newAlert(a *app) *cobra.Command {
	return group("alert", "List and show incidents, take one on, close one",
		newAlertList(a), newAlertShow(a),
		newAlertChange(a, v1.IncidentAck, "ack ID", "Take an incident on: somebody looks after it"),
		newAlertChange(a, v1.IncidentClose, "close ID", "Close an incident by hand"),
		newAlertChange(a, v1.IncidentReopen, "reopen ID", "Open a closed incident again"),
		newAlertChange(a, v1.IncidentComment, "comment ID", "Add a line to an incident's story"),
		newAlertRules(a),
	)
}

func newAlertList(a *app) *cobra.Command {
	var (
		all bool
		f   v1.IncidentFilter
	)
	c := &cobra.Command{
		Use: "list [EXPR]", Aliases: []string{"ls"},
		Short:   "List the incidents that are not closed",
		Example: "  alps alert list\n  alps alert list role=hadoop --all",
		Args:    cobra.ArbitraryArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			f.Query = strings.Join(args, " ")
			if !all {
				f.Status = []mesh.IncidentStatus{mesh.IncidentOpen, mesh.IncidentAcked}
			}
			list, err := c.Incidents(ctx, f)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("ID", "STATUS", "SEVERITY", "SINCE", "NODE", "SUMMARY")
			t.wrap = true
			for _, i := range list.Incidents {
				t.row(shortID(string(i.ID)), string(i.Status), i.Severity, clock(i.Opened), string(i.Node), i.Summary)
			}
			if err := t.print(a.out); err != nil {
				return err
			}
			if list.Next != "" {
				fmt.Fprintf(a.err, "there are more: --limit shows them\n")
			}
			return nil
		}),
	}
	fl := c.Flags()
	fl.BoolVarP(&all, "all", "a", false, "closed ones too")
	fl.StringVar(&f.Rule, "rule", "", "only incidents of this rule")
	fl.IntVar(&f.Limit, "limit", 50, "how many")
	return a.remote(c)
}

func newAlertShow(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "show [ID]",
		Short: "Show one incident with its story, the newest without an id",
		Long: `Show one incident with its story, the newest one without an id. The start of an
id is enough when no other incident's begins with it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			i, err := incidentOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(i)
			}
			return a.showIncident(i)
		}),
	})
}

func incidentOrNewest(ctx context.Context, c *client.Client, args []string) (mesh.Incident, error) {
	if len(args) == 1 {
		return c.Incident(ctx, args[0])
	}
	list, err := c.Incidents(ctx, v1.IncidentFilter{Limit: 1})
	if err != nil {
		return mesh.Incident{}, err
	}
	if len(list.Incidents) == 0 {
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident")
	}
	return c.Incident(ctx, string(list.Incidents[0].ID))
}

func (a *app) showIncident(i mesh.Incident) error {
	line := func(label, text string) {
		if strings.TrimSpace(text) != "" {
			a.field(label, text)
		}
	}
	line("incident", string(i.ID))
	line("summary", i.Summary)
	line("status", incidentStatus(i))
	line("severity", i.Severity)
	line("rule", i.Rule)
	line("node", string(i.Node))
	check := i.Check
	if check == "" {
		check = "node"
	}
	line("check", strings.TrimSpace(check+" "+string(i.Health)))
	line("disks", strings.Join(i.Disks, ", "))
	line("output", firstLine(i.Output))
	line("owner", i.Owner)
	line("runbook", i.Runbook)
	fmt.Fprintln(a.out)
	t := newTable("TIME", "AFTER", "WHAT", "STORY")
	t.wrap = true
	begin := i.Began
	if begin.IsZero() {
		begin = i.Opened
	}
	for _, e := range i.Timeline {
		t.row(e.At.Local().Format("15:04:05.0"), brief(e.At.Sub(begin)), string(e.Kind), storyText(e))
	}
	return t.print(a.out)
}

func incidentStatus(i mesh.Incident) string {
	text := string(i.Status)
	switch {
	case i.Status == mesh.IncidentAcked && i.AckedBy != "":
		text += " by " + i.AckedBy
	case i.Status == mesh.IncidentClosed:
		text += fmt.Sprintf(" by %s after %s", i.ClosedBy, brief(i.Closed.Sub(i.Opened)))
	}
	if i.Reopened > 0 {
		text += ", opened again " + times(i.Reopened)
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// storyText is a line of the story, and who has done it when it was a person.
func storyText(e mesh.IncidentEvent) string {
	if e.Actor == "" || e.Actor == "alps" || strings.HasPrefix(e.Actor, "policy/") {
		return e.Text
	}
	return strings.TrimSpace(e.Text + " (" + e.Actor + ")")
}

// shortID is as much of an id as a list shows: the start of one is enough
// wherever an id is asked for.
func shortID(id string) string { return id[:min(len(id), 8)] }

func newAlertChange(a *app, what v1.IncidentChange, use, short string) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			i, err := c.ChangeIncident(ctx, args[0], what, text)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(i)
			}
			_, err = fmt.Fprintf(a.out, "%s is %s\n", i.ID, printable(incidentStatus(i)))
			return err
		}),
	}
	c.Flags().StringVarP(&text, "message", "m", "", "what to say with it; it stays in the story")
	if what == v1.IncidentComment {
		_ = c.MarkFlagRequired("message")
	}
	return a.remote(c)
}

func newAlertRules(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "rules",
		Short: "List the rules in force and what is wrong with them",
		Args:  cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Rules(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("RULE", "CHECK", "STATUS", "FOR", "SEVERITY", "NOTIFY", "TARGET")
			for _, r := range list.Rules {
				var status []string
				for _, h := range r.Status {
					status = append(status, string(h))
				}
				t.row(r.Name, r.Check, strings.Join(status, ","), brief(r.For), r.Severity, strings.Join(r.Notify, ","), r.Target)
			}
			if err := t.print(a.out); err != nil {
				return err
			}
			for _, p := range list.Problems {
				fmt.Fprintf(a.err, "problem: %s\n", printable(p))
			}
			return nil
		}),
	})
}
