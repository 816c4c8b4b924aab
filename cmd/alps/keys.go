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
	"alps/mesh/query"
	"alps/mesh/sign"
)

// The files that `alps keys` writes, by convention of name.
const (
	rootKeyFile = "root.key"
	rootPubFile = "root.pub"
)

func newKeys(a *app) *cobra.Command {
	return group("keys", "Make and show the keys that decide what nodes run",
		newKeysInit(a), newKeysGrant(a), newKeysRevoke(a), newKeysShow(a))
}

func newKeysInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Make the root key: keep root.key offline, give root.pub to servers",
		Long: `Make the root key of a cluster.

The private half, DIR/root.key, signs grants and is needed for nothing else:
keep it off every server. The public half, DIR/root.pub, is what agents pin
when they enrol: set keys.root in the server's config.`,
		Example: `  alps keys init ./root
  alps keys grant ./root --holder server --out ./server-grant --any --max-nodes 20000`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			key := sign.GenerateKey()
			if err := os.MkdirAll(args[0], 0o700); err != nil {
				return fmt.Errorf("make key directory: %w", err)
			}
			if err := writeKeyPair(args[0], key); err != nil {
				return err
			}
			if a.json {
				return a.printKey("private", key.Public())
			}
			_, err := fmt.Fprintf(a.out, "root key %s\n  %s  private: keep it offline\n  %s  public: set keys.root in server.hcl\n",
				key.Public().ID(), filepath.Join(args[0], rootKeyFile), filepath.Join(args[0], rootPubFile))
			return err
		},
	}
}

func writeKeyPair(dir string, key sign.PrivateKey) error {
	private, public := filepath.Join(dir, rootKeyFile), filepath.Join(dir, rootPubFile)
	if err := notThere(private, public); err != nil {
		return err
	}
	if err := writeNew(private, []byte(key.Text()+"\n"), 0o600); err != nil {
		return err
	}
	return writeNew(public, []byte(key.Public().String()+"\n"), 0o644)
}

type grantFlags struct {
	holder, out, cluster, targets, key string
	any                                bool
	scripts, runAs                     []string
	maxNodes                           int
	ttl                                time.Duration
}

func newKeysGrant(a *app) *cobra.Command {
	var f grantFlags
	c := &cobra.Command{
		Use:   "grant DIR",
		Short: "Sign a grant with the root key in DIR",
		Long: `Sign a grant: what one key may have run, as whom, where, and until when.

A new key pair is made unless --key names the public key of the holder. The
grant is public; the new private key is written with mode 0600 beside it.`,
		Example: `  alps keys grant ./root --holder server --cluster bj-e --any --max-nodes 20000 --out server
  alps keys grant ./root --holder liu --cluster bj-e --script restart-web --targets 'role=hadoop' --out liu`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.keysGrant(args[0], f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.holder, "holder", "", "who holds the key (required)")
	fl.StringVar(&f.cluster, "cluster", "alps", "the cluster that the grant is for")
	fl.StringVar(&f.out, "out", "", "write OUT.grant, and OUT.key when a key is made (required)")
	fl.StringVar(&f.key, "key", "", "the holder's public key (alps-pub:…); made when empty")
	fl.BoolVar(&f.any, "any", false, "allow ad-hoc commands and every script")
	fl.StringSliceVar(&f.scripts, "script", nil, "allow this script file (repeat); its content is what is allowed")
	fl.StringSliceVar(&f.runAs, "run-as", nil, `allow to run as this user; "*" is every user that the node allows`)
	fl.StringVar(&f.targets, "targets", "all", "query that each node must match")
	fl.IntVar(&f.maxNodes, "max-nodes", 100, "most nodes of one job")
	fl.DurationVar(&f.ttl, "ttl", 365*24*time.Hour, "how long the grant is good")
	_ = c.MarkFlagRequired("holder")
	_ = c.MarkFlagRequired("out")
	return c
}

func (a *app) keysGrant(dir string, f grantFlags) error {
	if _, err := query.Parse(f.targets); err != nil {
		return fmt.Errorf("--targets: %w", err)
	}
	if !f.any && len(f.scripts) == 0 {
		return usagef("a grant needs --any or at least one --script")
	}
	root, err := readPrivateKey(filepath.Join(dir, rootKeyFile))
	if err != nil {
		return err
	}
	g := sign.Grant{
		Cluster: f.cluster, Holder: f.holder, Serial: string(mesh.NewJobID()), NotAfter: time.Now().Add(f.ttl).Unix(),
		Scope: sign.Scope{Any: f.any, RunAs: f.runAs, Targets: f.targets, MaxNodes: f.maxNodes},
	}
	for _, path := range f.scripts {
		body, err := os.ReadFile(path)
		if err != nil {
			return mesh.Errorf(mesh.Invalid, "read script: %w", err)
		}
		g.Scope.Scripts = append(g.Scope.Scripts, mesh.Digest(body))
	}
	if f.key != "" {
		if g.Key, err = sign.ParsePublicKey(f.key); err != nil {
			return mesh.Errorf(mesh.Invalid, "--key: %w", err)
		}
	} else {
		if err := notThere(f.out+".key", f.out+".grant"); err != nil {
			return err
		}
		key := sign.GenerateKey()
		g.Key = key.Public()
		if err := writeNew(f.out+".key", []byte(key.Text()+"\n"), 0o600); err != nil {
			return err
		}
	}
	env, err := root.SealGrant(g)
	if err != nil {
		return err
	}
	doc, err := env.Encode()
	if err != nil {
		return err
	}
	if err := writeNew(f.out+".grant", append(doc, '\n'), 0o644); err != nil {
		return err
	}
	return a.printGrant(g)
}

func newKeysRevoke(a *app) *cobra.Command {
	var cluster, out string
	var number uint64
	c := &cobra.Command{
		Use:   "revoke DIR SERIAL…",
		Short: "Sign the list of revoked grants with the root key in DIR",
		Long: `Sign the list of revoked grants. The list replaces the one before, so name
every serial that is to stay revoked; --number must rise each time. Set
keys.revoked in the server's config to the file.`,
		Example: `  alps keys revoke ./root 91f3c0de77aa1b2c --cluster bj-e --number 2 --out revoked`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			root, err := readPrivateKey(filepath.Join(args[0], rootKeyFile))
			if err != nil {
				return err
			}
			env, err := root.SealRevocations(sign.Revocations{Cluster: cluster, Number: number, Serials: args[1:]})
			if err != nil {
				return err
			}
			doc, err := env.Encode()
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, append(doc, '\n'), 0o644); err != nil {
				return fmt.Errorf("write revocation list: %w", err)
			}
			if a.json {
				return a.printJSON(map[string]any{"number": number, "serials": args[1:], "file": out})
			}
			_, err = fmt.Fprintf(a.out, "list %d revokes %d grants: %s\n", number, len(args)-1, out)
			return err
		},
	}
	c.Flags().StringVar(&cluster, "cluster", "alps", "the cluster that the list is for")
	c.Flags().StringVar(&out, "out", "revoked.list", "the file to write")
	c.Flags().Uint64Var(&number, "number", 1, "number of the list; nodes follow the highest")
	return c
}

func newKeysShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show a key or a grant; a private key is never printed",
		Example: `  alps keys show ./root/root.pub
  alps keys show server.grant`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[0])
			if err != nil {
				return mesh.Errorf(mesh.NotFound, "read key: %w", err)
			}
			if key, err := sign.ParsePrivateKey(string(b)); err == nil {
				return a.printKey("private", key.Public())
			}
			if key, err := sign.ParsePublicKey(string(b)); err == nil {
				return a.printKey("public", key)
			}
			g, err := decodeGrant(b)
			if err != nil {
				return mesh.Errorf(mesh.Invalid, "%s is neither a key nor a grant", args[0]).
					WithHint("alps keys init DIR makes a root key, alps keys grant DIR a grant")
			}
			return a.printGrant(g)
		},
	}
}

func (a *app) printKey(kind string, key sign.PublicKey) error {
	if a.json {
		return a.printJSON(map[string]string{"kind": kind, "id": string(key.ID()), "public": key.String()})
	}
	_, err := fmt.Fprintf(a.out, "%s key %s\n%s\n", kind, key.ID(), key)
	return err
}

func (a *app) printGrant(g sign.Grant) error {
	if a.json {
		return a.printJSON(g)
	}
	scope := "every command and script"
	if !g.Scope.Any {
		scope = fmt.Sprintf("%d scripts by digest", len(g.Scope.Scripts))
	}
	_, err := fmt.Fprintf(a.out, "grant %s\n  holder     %s\n  key        %s\n  cluster    %s\n  until      %s\n  may run    %s\n  as         %s\n  on         %s, at most %d nodes a job\n",
		g.Serial, g.Holder, g.Key.ID(), g.Cluster, time.Unix(g.NotAfter, 0).UTC().Format(time.RFC3339),
		scope, runAsText(g.Scope.RunAs), g.Scope.Targets, g.Scope.MaxNodes)
	return err
}

func runAsText(users []string) string {
	if len(users) == 0 {
		return "the agent's own user"
	}
	return fmt.Sprintf("the agent's own user, %v", users)
}

func decodeGrant(b []byte) (sign.Grant, error) {
	env, err := sign.DecodeEnvelope(b)
	if err != nil {
		return sign.Grant{}, err
	}
	return env.GrantUnverified()
}

func readPrivateKey(path string) (sign.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return sign.PrivateKey{}, mesh.Errorf(mesh.NotFound, "read private key: %w", err).WithHint("alps keys init DIR")
	}
	key, err := sign.ParsePrivateKey(string(b))
	if err != nil {
		return sign.PrivateKey{}, mesh.Errorf(mesh.Invalid, "%s: %w", path, err)
	}
	return key, nil
}

// writeNew writes a file that must not exist yet: a key is never replaced by
// mistake.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return existsAlready(path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// notThere refuses before anything is written: half a pair is of no use.
func notThere(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return existsAlready(path)
		}
	}
	return nil
}

func existsAlready(path string) error {
	return mesh.Errorf(mesh.Conflict, "%s exists already", path).WithHint("name another place, or move the file away")
}
