package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"alps/cmd/alps/internal/wire"
	"alps/mesh"
	"alps/mesh/config"
)

func newAgent(a *app) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "agent --config FILE",
		Short: "Run the agent of a node",
		Long: `Run the agent of a node, beside the node's Consul agent. It enrols with the join
token of its config, keeps a link to a server, runs the jobs that are signed for
it, and reports facts.

SIGHUP reads the config again: a bad file changes nothing and the log says why.
SIGTERM and SIGINT end the agent.`,
		Example: "  alps agent --config /etc/alps/agent.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), a.err, path, config.LoadAgent, wire.NewAgent)
		},
	}
	c.Flags().StringVar(&path, "config", "/etc/alps/agent.hcl", "file (.hcl or .json) or directory")
	return c
}

func newServer(a *app) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "server --config FILE",
		Short: "Run an ALPS server",
		Long: `Run an ALPS server: the inventory, jobs, and the API. It needs a Consul agent on
its machine and the CA that alps tls init made.

The first start writes an admin token to DATA_DIR/admin.token. SIGHUP reads the
config again: a bad file changes nothing and the log says why.`,
		Example: "  alps server --config /etc/alps/server.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), a.err, path, config.LoadServer, wire.NewServer)
		},
	}
	c.Flags().StringVar(&path, "config", "/etc/alps/server.hcl", "file (.hcl or .json) or directory")
	return c
}

// daemon is what wire builds.
type daemon[C any] interface {
	// Run blocks until ctx ends or the daemon cannot go on.
	Run(ctx context.Context) error
	// Reload takes over what can change while it runs.
	Reload(cfg *C) error
}

// serve runs a daemon until ctx ends, and reloads its config at SIGHUP.
func serve[C config.Agent | config.Server, D daemon[C]](ctx context.Context, stderr io.Writer, path string,
	load func(string) (*C, error), build func(context.Context, *C, wire.Base) (D, error),
) error {
	cfg, err := load(path)
	if err != nil {
		return badConfig(err)
	}
	log := newLogger(stderr, logOf(cfg))
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the alps binary: %w", err)
	}
	d, err := build(ctx, cfg, wire.Base{Version: version, Program: self, Logger: log})
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-hup:
			next, err := reload(path, cfg, load, d)
			if err != nil {
				log.Error("reload refused, the old config stays", "error", err)
				continue
			}
			cfg = next
			log.SetLevel(hclog.LevelFromString(logOf(cfg).Level))
			log.Info("config reloaded", "path", path)
		}
	}
}

// badConfig makes every fault of a configuration, also that there is none, one
// of usage.
func badConfig(err error) error {
	bad := mesh.Errorf(mesh.Invalid, "%w", err)
	if e, ok := errors.AsType[*mesh.Error](err); ok {
		bad.Hint = e.Hint
	}
	return bad
}

// reload returns the config that is in force afterwards. On an error nothing
// has changed.
func reload[C config.Agent | config.Server](path string, old *C, load func(string) (*C, error), d daemon[C]) (*C, error) {
	next, err := load(path)
	if err != nil {
		return nil, err
	}
	if err := config.Changed(old, next).Refused(); err != nil {
		return nil, err
	}
	if err := d.Reload(next); err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	return next, nil
}

func logOf(cfg any) config.Log {
	switch c := cfg.(type) {
	case *config.Agent:
		return c.Log
	case *config.Server:
		return c.Log
	}
	return config.Log{Level: "info"}
}

func newLogger(w io.Writer, o config.Log) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Output: w, Level: hclog.LevelFromString(o.Level), JSONFormat: o.JSON, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}
