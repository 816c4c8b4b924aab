package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

func newNode(a *app) *cobra.Command {
	return group("node", "List and show nodes, shut one out", newNodeList(a), newNodeShow(a), newNodeConfig(a), newNodeRevoke(a))
}

func newNodeList(a *app) *cobra.Command {
	var f v1.NodeFilter
	c := &cobra.Command{
		Use: "list [EXPR]", Aliases: []string{"ls"},
		Short: "List the nodes that an expression names, all without one",
		Long: `List the nodes that an expression names.

Conditions are FIELD OP VALUE with = != > >= < <= ~ !~ (regexp) ^ (prefix), put
together with and, or, not and brackets; a name or a range of names stands for
itself. The fields are:

  ` + strings.Join(wrapped(strings.Join(mesh.FieldNames(), ", "), 76), "\n  "),
		Example: `  alps node list 'role=hadoop status!=passing'
  alps node list 'mem_gb>64 and not rack=11'
  alps node list bj-e-hadoop01-11-[203-213]`,
		Args: cobra.ArbitraryArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if f.Query = strings.Join(args, " "); f.Query != "" {
				if _, err := query.Parse(f.Query); err != nil {
					return err
				}
			}
			list, err := c.Nodes(ctx, f)
			if err != nil {
				return err
			}
			return a.printNodes(list)
		}),
	}
	c.Flags().IntVar(&f.Limit, "limit", 1000, "how many")
	return a.remote(c)
}

func (a *app) printNodes(list v1.NodeList) error {
	if a.json {
		return a.printJSON(list)
	}
	t := newTable("NAME", "ADDRESS", "MEMBER", "AGENT", "STATUS", "ROLE", "CPU", "MEM")
	for _, n := range list.Nodes {
		cpus, mem := "", ""
		if n.Facts != nil {
			cpus, mem = strconv.Itoa(n.Facts.CPUs), sizeText(n.Facts.Memory)
		}
		t.row(string(n.Name), n.Address, string(n.Status), string(n.Agent), string(n.Health()), n.Naming.Role, cpus, mem)
	}
	if err := t.print(a.out); err != nil {
		return err
	}
	if list.Total > len(list.Nodes) {
		fmt.Fprintf(a.err, "%d of %d nodes: --limit %d shows all\n", len(list.Nodes), list.Total, list.Total)
	}
	return nil
}

// bytesText prints a size in the largest binary unit that leaves a number
// above one.
func bytesText(b uint64) string {
	if b < 1<<10 {
		return strconv.FormatUint(b, 10) + " B"
	}
	v, unit := inUnit(b)
	return fmt.Sprintf("%.1f %ciB", v, unit)
}

// sizeText is bytesText in at most four characters, as df -h writes it.
func sizeText(b uint64) string {
	v, unit := inUnit(b)
	if v < 9.95 {
		return fmt.Sprintf("%.1f%c", v, unit)
	}
	return fmt.Sprintf("%.0f%c", v, unit)
}

func inUnit(b uint64) (float64, byte) {
	const units = "KMGTPE"
	v, i := float64(b)/(1<<10), 0
	for ; v >= 999.5 && i < len(units)-1; i++ {
		v /= 1024
	}
	return v, units[i]
}

func newNodeShow(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "show NAME",
		Short:   "Show all that is known of one node, by name or id",
		Example: "  alps node show bj-e-hadoop01-11-203",
		Args:    cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := c.Node(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(n)
			}
			a.showNode(n)
			return nil
		}),
	})
}

func (a *app) showNode(n mesh.Node) {
	line := func(label, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			fmt.Fprintf(a.out, "%-10s %s\n", label, printable(text))
		}
	}
	line("name", "%s", n.Name)
	line("id", "%s", n.ID)
	line("address", "%s", n.Address)
	line("dc", "%s", n.DC)
	line("member", "%s %s %s", n.Status, n.Type, n.Build)
	line("agent", "%s", agentText(n))
	line("naming", "%s", namingText(n.Naming))
	if f := n.Facts; f != nil {
		line("host", "%s", f.Host)
		line("system", "%s %s, %s, kernel %s", f.Distro, f.Version, f.Arch, f.Kernel)
		line("cpu", "%d × %s", f.CPUs, f.CPUModel)
		line("memory", "%s", bytesText(f.Memory))
		for _, d := range f.Disks {
			line("disk", "%s on %s, %s %s", d.Mount, d.Device, bytesText(d.Size), d.Type)
		}
		for _, i := range f.Addresses {
			line("network", "%s %s", i.Name, strings.Join(i.Addresses, " "))
		}
		line("machine", "%s", f.MachineID)
		line("facts", "collected %s", clock(n.FactsAt))
	}
	for _, s := range n.Services {
		line("service", "%s", serviceText(s))
	}
	for _, c := range n.Checks {
		line("check", "%-8s %s: %s", c.Status, c.Name, firstLine(c.Output))
	}
}

func serviceText(s mesh.Service) string {
	text := s.Name
	if s.Port != 0 {
		text += " port " + strconv.Itoa(s.Port)
	}
	if len(s.Tags) > 0 {
		text += " tags " + strings.Join(s.Tags, ",")
	}
	return text
}

func agentText(n mesh.Node) string {
	if n.Since.IsZero() {
		return string(n.Agent)
	}
	return fmt.Sprintf("%s since %s", n.Agent, clock(n.Since))
}

func namingText(n mesh.Naming) string {
	var parts []string
	for _, p := range [][2]string{{"site", n.Site}, {"role", n.Role}, {"cluster", n.Cluster}, {"rack", n.Rack}, {"number", n.Number}} {
		if p[1] != "" {
			parts = append(parts, p[0]+"="+p[1])
		}
	}
	return strings.Join(parts, " ")
}

func newNodeConfig(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "config NAME",
		Short: "Show the effective configuration of a node and the key that each value comes from",
		Long: `Show the effective configuration of a node: of the keys in Consul's KV under
alps/config/{global,dc/<dc>,role/<role>,node/<name>}/ the nearest wins.`,
		Example: "  alps node config bj-e-hadoop01-11-203",
		Args:    cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			list, err := c.NodeConfig(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			t := newTable("NAME", "VALUE", "FROM")
			for _, s := range list.Settings {
				t.row(s.Name, shorten(firstLine(s.Value), 40), s.From)
			}
			if err := t.print(a.out); err != nil {
				return err
			}
			if list.Delivered.IsZero() && len(list.Settings) > 0 {
				fmt.Fprintln(a.err, "its agent has not taken them over yet")
			}
			return nil
		}),
	})
}

func newNodeRevoke(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "revoke NAME --reason TEXT",
		Short: "Shut a node's agent out for good, also on its live link",
		Long: `Shut a node's agent out for good: its certificate is refused from now on, its
link is cut, and it is no target any more. The machine can only come back by
enrolling again, as a new node.`,
		Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.Revoke(ctx, args[0], reason); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"node": args[0], "agent": string(mesh.AgentRevoked)})
			}
			_, err := fmt.Fprintf(a.out, "%s is revoked\n", args[0])
			return err
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit (required)")
	_ = c.MarkFlagRequired("reason")
	return a.remote(c)
}

func newMembers(a *app) *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "members",
		Short: "List the members of Consul, as consul members does",
		Args:  cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Members(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			// Consul's own order.
			slices.SortFunc(list.Members, func(a, b mesh.Member) int {
				return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Name, b.Name))
			})
			t := newTable("Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment")
			for _, m := range list.Members {
				addr := m.Address
				if m.Port != 0 { // gossip of another datacenter is not heard here.
					addr = net.JoinHostPort(addr, strconv.Itoa(m.Port))
				}
				t.row(string(m.Name), addr, string(m.Status), m.Type, m.Build, m.Protocol, m.DC, m.Segment)
			}
			return t.print(a.out)
		}),
	})
}
