package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// app is what the verbs of one run share. It is filled before a verb runs and
// not changed by it.
type app struct {
	stdio
	json  bool
	conn  connection
	began bool   // a verb runs: what fails from now on is not the usage.
	help  string // what tells how the verb is used.
}

// newRoot builds the command tree. The list is the order of the help.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "alps",
		Short: "Inventory, checks, batch jobs and name discovery on top of Consul",
		Long: `ALPS runs beside Consul: an inventory that is true, checks and alerts, batch
jobs and name discovery, for teams that run a data platform themselves.

` + exitHelp,
		Example: `  make dev                                   a cluster on this machine
  alps exec -t role=hadoop -- uptime         run a command on every hadoop node
  alps node list 'mem_gb>64 status!=passing' ask the inventory`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // misused makes them.
		DisableAutoGenTag:  true,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON instead of text")
	groups := []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"operate", "Operate:", []*cobra.Command{
			newExec(a), newJob(a), newNode(a), newService(a), newCheck(a), newAlert(a), newRemedy(a), newMembers(a), newHDFS(a),
		}},
		{"run", "Run:", []*cobra.Command{
			newAgent(a), newServer(a), newDev(a), newDoctor(a), newProbe(a), newProbeVolume(a),
		}},
		{"node", "On a node, for scripts:", []*cobra.Command{
			newAwait(a), newClean(a), newEnd(a),
		}},
		{"trust", "Trust:", []*cobra.Command{
			newKeys(a), newTLS(a), newToken(a), newJoin(a), newAudit(a),
		}},
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(newVersion(a))
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Run, c.RunE = nil, help
		}
	}
	// Helps fit a terminal of 80 columns.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", "Flags.FlagUsagesWrapped 80"))
	a.noteBegin(root)
	return root
}

// help shows the help of a command, which there must be: cobra's own shows that
// of alps instead, as if all were well.
func help(c *cobra.Command, args []string) error {
	at, rest, err := c.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("there is no help about %q", strings.Join(args, " "))
	}
	if err != nil {
		return misused(err, at, args)
	}
	at.InitDefaultHelpFlag()
	return at.Help()
}

// noteBegin makes every command below c say when it begins: after its flags
// and arguments were found good.
func (a *app) noteBegin(c *cobra.Command) {
	if do := c.RunE; do != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.began = true
			return do(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.noteBegin(sub)
	}
}

// group returns a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(subs...)
	return c
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": version, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(a.out, "alps %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
