package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
)

// Base is what both daemons get from the command.
type Base struct {
	Version string
	Program string // the path of alps itself.
	Logger  hclog.Logger
}

// closers gives back what was acquired, in the reverse order.
type closers struct {
	list []namedCloser
}

type namedCloser struct {
	name  string
	close func() error
}

func (c *closers) add(name string, f func() error) {
	c.list = append(c.list, namedCloser{name, f})
}

// close runs every closer once and joins their errors.
func (c *closers) close() error {
	var errs []error
	for _, l := range slices.Backward(c.list) {
		if err := l.close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close %s: %w", l.name, err))
		}
	}
	c.list = nil
	return errors.Join(errs...)
}

// part is one engine of a daemon.
type part struct {
	name string
	run  func(context.Context) error
}

// runAll runs the parts until ctx ends or one of them fails, waits for all of
// them, and gives back what was acquired. The first failure is the error.
func runAll(ctx context.Context, parts []part, c *closers) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(func() error {
			err := p.run(gctx)
			if err == nil && gctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil && gctx.Err() == nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), c.close())
}

// NewConsul returns a client for the configured Consul.
func NewConsul(cfg config.Consul) (*consul.Client, error) {
	token := cfg.Token
	if cfg.TokenFile != "" {
		b, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "read consul.token_file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	return consul.New(consul.Options{Address: cfg.Address, Token: token, Datacenter: cfg.Datacenter})
}
