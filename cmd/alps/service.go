package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"alps/server/api/client"
)

func newService(a *app) *cobra.Command {
	return group("service", "List services, show where one runs", newServiceList(a), newServiceShow(a))
}

func newServiceList(a *app) *cobra.Command {
	var dc string
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short: "List the services of all datacenters with how their instances are",
		Args:  cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Services(ctx, dc)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("SERVICE", "DC", "INSTANCES", "PASSING", "WARNING", "CRITICAL", "UNKNOWN", "TAGS")
			for _, s := range list.Services {
				t.row(s.Name, s.DC, strconv.Itoa(s.Instances), strconv.Itoa(s.Passing), strconv.Itoa(s.Warning),
					strconv.Itoa(s.Critical), strconv.Itoa(s.Unknown), strings.Join(s.Tags, ","))
			}
			return t.print(a.out)
		}),
	}
	c.Flags().StringVar(&dc, "dc", "", "only this datacenter")
	return a.remote(c)
}

func newServiceShow(a *app) *cobra.Command {
	var dc string
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show where a service runs, how it is there, and under which names DNS finds it",
		Example: "  alps service show web",
		Args:    cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := c.Service(ctx, args[0], dc)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(s)
			}
			for _, name := range s.DNS {
				fmt.Fprintf(a.out, "%-5s %s\n", "dns", printable(name))
			}
			t := newTable("NODE", "ADDRESS", "PORT", "STATUS", "ID", "TAGS")
			for _, i := range s.List {
				t.row(string(i.Node), i.Address, strconv.Itoa(i.Port), string(i.Status), i.ID, strings.Join(i.Tags, ","))
			}
			return t.print(a.out)
		}),
	}
	c.Flags().StringVar(&dc, "dc", "", "the datacenter (default: the first that has it)")
	return a.remote(c)
}
