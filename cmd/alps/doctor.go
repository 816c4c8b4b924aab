package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"alps/agent"
	"alps/agent/link"
	"alps/cmd/alps/internal/wire"
	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/sign"
)

func newDoctor(a *app) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "doctor --config FILE",
		Short: "Say in plain words what is wrong with the agent on this machine",
		Long: `Say in plain words what is wrong with the agent on this machine: its config, the
local Consul agent, its identity, its link to a server, the clock, the trust
root. Most of it is looked at even when the agent does not run.

Exit codes: 0 all is well or will be, 1 something does not work, 2 the config is
wrong.`,
		Example: "  alps doctor --config /etc/alps/agent.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadAgent(path)
			if err != nil {
				return badConfig(err)
			}
			return a.report(examine(cmd.Context(), cfg))
		},
	}
	c.Flags().StringVar(&path, "config", "/etc/alps/agent.hcl", "the agent's file (.hcl or .json) or directory")
	return c
}

func (a *app) report(findings []agent.Finding) error {
	bad := false
	for _, f := range findings {
		bad = bad || f.Grade == agent.Bad
	}
	if a.json {
		if err := a.printJSON(findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(a.out, "%-5s %-7s %s\n", f.Grade, f.Topic, printable(f.Text))
			if f.Hint != "" && f.Grade != agent.Good {
				fmt.Fprintf(a.out, "      %-7s try: %s\n", "", f.Hint)
			}
		}
	}
	if bad {
		return silentError{exitFailed}
	}
	return nil
}

// examine looks at everything that can be seen from this machine. What the
// running agent says of itself comes last; without it, what the files say.
func examine(ctx context.Context, cfg *config.Agent) []agent.Finding {
	findings := []agent.Finding{
		{Topic: "config", Grade: agent.Good, Text: "read, data in " + cfg.DataDir},
		examineConsul(ctx, cfg),
	}
	status, err := agent.Ask(ctx, cfg.Control.Socket)
	if err == nil {
		return append(findings, agent.Diagnose(status, time.Now())...)
	}
	findings = append(findings, found("agent", err))
	return append(findings, examineIdentity(cfg), examineRoot(cfg))
}

func examineConsul(ctx context.Context, cfg *config.Agent) agent.Finding {
	c, err := wire.NewConsul(cfg.Consul)
	if err != nil {
		return found("consul", err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	self, err := c.Self(ctx)
	if err != nil {
		return found("consul", err)
	}
	_, meta, err := c.Get(ctx, "alps/exec/head/00", consul.Query{})
	switch {
	case err != nil:
		return found("consul", err)
	case !meta.KnownLeader:
		return agent.Finding{
			Topic: "consul", Grade: agent.Warn, Text: fmt.Sprintf("%s of %s answers, but its datacenter has no leader", self.Name, self.Datacenter),
			Hint: "look at the servers: consul operator raft list-peers",
		}
	}
	return agent.Finding{Topic: "consul", Grade: agent.Good, Text: fmt.Sprintf("%s of %s answers, version %s", self.Name, self.Datacenter, self.Version)}
}

func examineIdentity(cfg *config.Agent) agent.Finding {
	id, err := link.LoadIdentity(cfg.DataDir)
	if err != nil {
		return found("cert", err)
	}
	f := agent.Finding{
		Topic: "cert", Grade: agent.Good,
		Text: fmt.Sprintf("enrolled in %s as %s, good until %s", id.Cluster(), id.NodeID(), id.NotAfter().Local().Format(time.DateTime)),
	}
	if time.Now().After(id.NotAfter()) {
		f.Grade, f.Text = agent.Bad, "ended "+id.NotAfter().Local().Format(time.DateTime)
		f.Hint = "enrol again: remove the identity directory, give the agent a join token, start it"
	}
	return f
}

func examineRoot(cfg *config.Agent) agent.Finding {
	text, err := os.ReadFile(cfg.Exec.TrustRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return agent.Finding{
			Topic: "exec", Grade: agent.Bad, Text: "no trust root is installed: every job is refused",
			Hint: "put the cluster's root.pub at " + cfg.Exec.TrustRoot,
		}
	}
	if err != nil {
		return found("exec", err)
	}
	key, err := sign.ParsePublicKey(string(text))
	if err != nil {
		return found("exec", fmt.Errorf("%s: %w", cfg.Exec.TrustRoot, err))
	}
	return agent.Finding{Topic: "exec", Grade: agent.Good, Text: "would trust the root " + string(key.ID())}
}

// found makes a bad finding of an error, with its hint.
func found(topic string, err error) agent.Finding {
	f := agent.Finding{Topic: topic, Grade: agent.Bad, Text: err.Error()}
	if e, ok := errors.AsType[*mesh.Error](err); ok {
		f.Hint = e.Hint
	}
	return f
}
