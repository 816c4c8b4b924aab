package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newToken(a *app) *cobra.Command {
	return group("token", "Make, list and end API tokens", newTokenCreate(a), newTokenList(a), newTokenDelete(a))
}

func newTokenCreate(a *app) *cobra.Command {
	var r v1.TokenRequest
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "create --name NAME --role ROLE",
		Short: "Make an API token; its text is shown this once",
		Example: `  alps token create --name liu --role operator --scope 'role=hadoop'
  alps token create --name grafana --role viewer --ttl 720h`,
		Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			r.TTL = seconds(ttl)
			t, err := c.CreateToken(ctx, r)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			_, err = fmt.Fprintln(a.out, t.Text)
			return err
		}),
	}
	fl := c.Flags()
	fl.StringVar(&r.Name, "name", "", "whose it is or what for; the audit shows it (required)")
	fl.StringVar(&r.Role, "role", "", "viewer, operator or admin (required)")
	fl.StringVar(&r.Scope, "scope", "", "query over nodes that the token reaches (default all)")
	fl.DurationVar(&ttl, "ttl", 0, "how long it is good (default for ever)")
	_ = c.MarkFlagRequired("name")
	_ = c.MarkFlagRequired("role")
	return a.remote(c)
}

func newTokenList(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List API tokens, without their secrets", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Tokens(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("ID", "NAME", "ROLE", "CREATED", "EXPIRES", "USED", "SCOPE")
			for _, k := range list {
				t.row(k.ID, shorten(k.Name, 16), k.Role, clock(k.Created), clock(k.Expires), clock(k.LastUsed), k.Scope)
			}
			return t.print(a.out)
		}),
	})
}

func newTokenDelete(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use: "delete ID", Short: "End an API token at once", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return c.DeleteToken(ctx, args[0])
		}),
	})
}

func newJoin(a *app) *cobra.Command {
	return group("join-token", "Make, list and end the tokens that agents enrol with",
		newJoinCreate(a), newJoinList(a), newJoinExpire(a))
}

func newJoinCreate(a *app) *cobra.Command {
	var r v1.JoinTokenRequest
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a join token; its text is shown this once",
		Long: `Make a join token. It lets one machine enrol, once, unless --reusable. It also
tells the newcomer which CA to believe. Put it into join.token_file of the
agent's config.`,
		Example: "  alps join-token create --reusable --ttl 24h",
		Args:    cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			r.TTL = seconds(ttl)
			t, err := c.CreateJoinToken(ctx, r)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			_, err = fmt.Fprintln(a.out, t.Text)
			return err
		}),
	}
	c.Flags().StringVar(&r.Role, "role", "", "what nodes that use it are declared to be")
	c.Flags().BoolVar(&r.Reusable, "reusable", false, "good for any number of machines")
	c.Flags().DurationVar(&ttl, "ttl", 0, "how long it is good (default 24h)")
	return a.remote(c)
}

func newJoinList(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List join tokens, without their secrets", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.JoinTokens(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("ID", "ROLE", "REUSABLE", "USES", "BY", "CREATED", "EXPIRES")
			for _, k := range list {
				t.row(k.ID, k.Role, strconv.FormatBool(k.Reusable), strconv.Itoa(k.Uses), k.CreatedBy, clock(k.Created), clock(k.Expires))
			}
			return t.print(a.out)
		}),
	})
}

func newJoinExpire(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use: "expire ID", Short: "End a join token at once", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return c.ExpireJoinToken(ctx, args[0])
		}),
	})
}

func newAudit(a *app) *cobra.Command {
	var f v1.AuditFilter
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Show who did what, and what was refused, the newest first",
		Example: "  alps audit --action job.submit --actor liu",
		Args:    cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Audit(ctx, f)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("TIME", "ACTOR", "ACTION", "OBJECT", "OUTCOME")
			for _, l := range list.Lines {
				t.row(clock(l.Time), shorten(l.Actor, 16), l.Action, shorten(l.Object, 20), outcomeText(l))
			}
			return t.print(a.out)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&f.Actor, "actor", "", "only of this actor")
	fl.StringVar(&f.Action, "action", "", "only this action, as in job.submit")
	fl.StringVar(&f.Object, "object", "", "only on this object")
	fl.IntVar(&f.Limit, "limit", 50, "how many")
	return a.remote(c)
}

// outcomeText is how an action went, and why when it did not go well.
func outcomeText(l mesh.Audit) string {
	if l.Reason == "" {
		return string(l.Outcome)
	}
	return string(l.Outcome) + ": " + l.Reason
}
