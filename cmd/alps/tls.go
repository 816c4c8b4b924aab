package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/mesh/pki"
)

func newTLS(a *app) *cobra.Command {
	return group("tls", "Make the CA of a cluster", newTLSInit(a))
}

func newTLSInit(a *app) *cobra.Command {
	var dir, cluster string
	c := &cobra.Command{
		Use:   "init --dir DATA_DIR/tls --cluster NAME",
		Short: "Make the CA that servers and agents of a cluster believe",
		Long: `Make the CA of a cluster: ca.pem, which operators and agents need, and
ca-key.pem, with which the server gives certificates to agents that enrol. The
server makes its own certificate from them when it starts.`,
		Example: "  alps tls init --dir /var/lib/alps/tls --cluster bj-e",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
			for _, path := range []string{cert, key} {
				if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					return mesh.Errorf(mesh.Conflict, "%s exists already; a new CA would shut every agent out", path).
						WithHint("name another --dir, or move the old CA away if that is what you want")
				}
			}
			ca, err := pki.NewCA(cluster, time.Now())
			if err != nil {
				return mesh.Errorf(mesh.Invalid, "make the CA: %w", err)
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make the directory: %w", err)
			}
			if err := ca.Save(cert, key); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"cluster": ca.Cluster(), "fingerprint": ca.Fingerprint(), "cert": cert, "key": key})
			}
			_, err = fmt.Fprintf(a.out, "CA of %s, fingerprint %s\n  %s  give it to operators (%s)\n  %s  keep it on the server\n",
				ca.Cluster(), ca.Fingerprint(), cert, envCACert, key)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "where to write: tls under the server's data_dir (required)")
	c.Flags().StringVar(&cluster, "cluster", "alps", "name of the cluster, as in the server's config")
	_ = c.MarkFlagRequired("dir")
	return c
}
