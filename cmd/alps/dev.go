package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul/cluster"
)

// maxNodes is how many addresses 127.x.y.1 and those behind it are.
const maxNodes = 254

type devFlags struct {
	dir, subnet, consul string
	nodes, servers      int
	hdfs, verbose       bool
}

func newDev(a *app) *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use:   "dev",
		Short: "Start a whole cluster on this machine, to try things out",
		Long: `Start a whole cluster on this machine: real Consul agents on loopback
addresses, an ALPS agent beside each, one ALPS server or more. Everything lies
in one directory and is gone with the next start. Ctrl-C ends what was started
and nothing else; what a killed run left behind is cleaned up by the next one.`,
		Example: "  alps dev\n  alps dev --nodes 21 --subnet 127.0.12\n  alps dev --servers 2   # one leads, the other stands by\n  alps dev --hdfs        # a real HDFS beside it, whose disks can be broken",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dir, "dir", defaultDevDir(), "where everything lies; emptied at each start")
	fl.StringVar(&f.subnet, "subnet", dev.Subnet, "first three numbers of the nodes' addresses")
	fl.StringVar(&f.consul, "consul", "", "the consul to run (default: from PATH, or bin/consul)")
	fl.IntVar(&f.nodes, "nodes", 0, "how many nodes (default: the five of the tour)")
	fl.IntVar(&f.servers, "servers", 1, "how many ALPS servers; one leads, the others stand by")
	fl.BoolVar(&f.hdfs, "hdfs", false, "a real HDFS beside it (needs Java, and make hadoop once)")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "log what the starter does")
	c.AddCommand(newDevWeb(a), newBreakDisk(a), newMendDisk(a))
	return c
}

// defaultDevDir is where a user's state belongs by the XDG rules.
func defaultDevDir() string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "alps", "dev")
}

func (a *app) dev(ctx context.Context, f devFlags) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the alps binary: %w", err)
	}
	log := hclog.NewNullLogger()
	if f.verbose {
		log = hclog.New(&hclog.LoggerOptions{Name: "dev", Output: a.err, Level: hclog.Debug})
	}
	began := time.Now()
	if f.nodes < 0 || f.nodes > maxNodes {
		return usagef("--nodes %d: a subnet holds 1 to %d", f.nodes, maxNodes)
	}
	if f.servers < 1 || f.servers > dev.MaxServers {
		return usagef("--servers %d: 1 to %d can share a store", f.servers, dev.MaxServers)
	}
	told := &story{out: a.err, told: map[mesh.IncidentID]int{}}
	hook, hooks, err := told.hook(ctx)
	if err != nil {
		return err
	}
	dcs := devNodes(f)
	var withHDFS *hdfs.Options
	rules := demoRules
	if f.hdfs {
		withHDFS, rules = &hdfs.Options{}, demoRules+hdfsRules
	}
	c, err := dev.Start(ctx, dev.Options{
		Alps: dev.Program{Path: self}, Dir: f.dir, Consul: f.consul, Subnet: f.subnet,
		Datacenters: dcs, Servers: f.servers, HDFS: withHDFS, Logger: log, Web: demoNodes(dcs), Packs: []string{"host", "consul"},
		Rules: func(c *dev.Cluster) string {
			return strings.NewReplacer("HOOK", hook, "CTL", c.WebControl()).Replace(rules)
		},
		Progress: func(line string) { fmt.Fprintf(a.err, "  %s\n", line) },
	})
	if err != nil {
		return err
	}
	if err := errors.Join(a.fillHDFS(ctx, c), a.welcome(c, time.Since(began))); err != nil {
		return errors.Join(err, c.Close())
	}
	var wg sync.WaitGroup
	wg.Go(func() { told.run(ctx, c, hooks) })
	c.Wait(ctx, func(what string) { told.tell("%s", what) })
	wg.Wait()
	fmt.Fprintln(a.err, "\n  stopping")
	return c.Close()
}

// devNodes is the deck's cluster, with more hadoop nodes when more are asked
// for.
func devNodes(f devFlags) []cluster.Datacenter {
	dcs := dev.Deck()
	if f.hdfs {
		dcs = dev.HDFSDeck()
	}
	n, have := f.nodes, len(dcs[0].Nodes)
	if n == 0 {
		n = have
	}
	for i := have; i < n; i++ {
		dcs[0].Nodes = append(dcs[0].Nodes, cluster.NodeSpec{Name: fmt.Sprintf("bj-e-hadoop01-15-%d", 33+i-have)})
	}
	dcs[0].Nodes = dcs[0].Nodes[:n]
	return dcs
}

// demoNodes are the nodes that run the demo service: the last three, and never
// the first, where the servers are.
func demoNodes(dcs []cluster.Datacenter) []string {
	var names []string
	for _, n := range dcs[0].Nodes[1:] {
		names = append(names, n.Name)
	}
	return names[max(0, len(names)-3):]
}

// tour is what `alps dev` suggests. A test runs each line as it is printed.
func tour() []string {
	return []string{
		"alps members",
		"alps node list role=hadoop",
		"alps exec -t role=hadoop -- uptime",
		"alps exec -t all -- 'echo hello from a shell; exit 0'",
		"alps job list",
		"alps check list --check web",
		"alps alert list --all",
	}
}

func (a *app) welcome(c *dev.Cluster, took time.Duration) error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, `ALPS runs on %d nodes of %s, up in %.1f s.

  server  %s
  token   %s

In another terminal, first:

  . %s

and then:

`, len(c.Consul().Nodes()), c.Consul().Nodes()[0].Datacenter, took.Seconds(), c.Address(), token, c.EnvFile())
	for _, line := range tour() {
		fmt.Fprintf(a.out, "  %s\n", line)
	}
	if others := c.Addresses()[1:]; len(others) > 0 {
		fmt.Fprintf(a.out, "\nMore servers stand by, and answer as well: %s\n", strings.Join(others, ", "))
	}
	fmt.Fprintf(a.out, `
The same in a browser: https://%s/ui/
(paste the token; the certificate is of a CA made for this run, so accept it)
`, c.Address())
	if webs := c.Webs(); len(webs) > 0 {
		names := "web.service." + dev.Domains()[0]
		fmt.Fprintf(a.out, `
The service web runs on %d nodes. Ask any agent for it, break it on one node, and
read here what happens:

  dig @%s -p %d %s
  kill $(cat %s)
`, len(webs), c.Consul().Nodes()[0].Addr, dev.PortDNS, names, webs[0].PIDFile())
	}
	a.welcomeHDFS(c)
	_, err = fmt.Fprintf(a.out, "\nLogs and data: %s\nCtrl-C stops everything.\n", c.Dir())
	return err
}
