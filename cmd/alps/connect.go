package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/server/api/client"
)

// connection is how an operator's verb reaches a server: flags over the
// environment.
type connection struct{ addr, token, cacert string }

// Environment variables, in the manner of Consul's own.
const (
	envAddr   = "ALPS_ADDR"
	envToken  = "ALPS_TOKEN"
	envCACert = "ALPS_CACERT"
)

// remote adds the flags of a verb that speaks to a server.
func (a *app) remote(c *cobra.Command) *cobra.Command {
	fl := c.Flags()
	fl.StringVar(&a.conn.addr, "addr", "", "host:port of a server ("+envAddr+"; 127.0.0.1:8780)")
	fl.StringVar(&a.conn.token, "token", "", "API token ("+envToken+", which others cannot see)")
	fl.StringVar(&a.conn.cacert, "ca-cert", "", "file with the CA's certificate ("+envCACert+")")
	return c
}

// client returns a client for the flags and the environment.
func (a *app) client() (*client.Client, error) {
	o := client.Options{
		Address: first(a.conn.addr, os.Getenv(envAddr), "127.0.0.1:8780"),
		Token:   first(a.conn.token, os.Getenv(envToken)),
	}
	path := first(a.conn.cacert, os.Getenv(envCACert))
	if path == "" {
		return nil, mesh.Errorf(mesh.Invalid, "no CA certificate is given, so the server could not be told from another").
			WithHint("set %s to the cluster's ca.pem, or use --ca-cert", envCACert)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the CA certificate: %w", err).WithHint("set %s to the cluster's ca.pem", envCACert)
	}
	o.CAPEM = pem
	if o.Token == "" {
		return nil, mesh.Errorf(mesh.Unauthorized, "no API token is given").
			WithHint("set %s; the server wrote the first one to DATA_DIR/admin.token", envToken)
	}
	return client.New(o)
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// with is the body of a verb that speaks to a server.
func (a *app) with(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd.Context(), c, args)
	}
}
