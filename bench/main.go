package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bench is one benchmark. It prints its own table.
type bench struct {
	name, what string
	run        func(context.Context, env) error
}

// env is what the benchmarks need of the outside.
type env struct {
	alps string // the built binary.
	out  io.Writer
}

func (e env) printf(format string, args ...any) { fmt.Fprintf(e.out, format, args...) }

func benches() []bench {
	return []bench{
		{"exec", "alps exec beside consul exec", benchExec},
		{"agent", "an idle agent", benchAgent},
		{"link", "1,000 agents on one server", benchLink},
		{"dns", "names on one core, beside Consul", benchDNS},
		{"loop", "from a fault to DNS and to a webhook", benchLoop},
		{"checks", "agents that run checks, beside Consul", benchChecks},
		{"api", "lists of 1,000 and 5,000 nodes, beside Consul", benchAPI},
		{"remedy", "from a failed disk of HDFS to the proof, beside the same by hand", benchRemedy},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == floorVerb {
		return serveFloor(args[1], os.Stdin, os.Stdout)
	}
	if len(args) == 2 && args[0] == dnsVerb {
		return serveDNS(ctx, args[1], os.Stdin, os.Stdout)
	}
	if len(args) == 2 && args[0] == shopVerb {
		return serveShop(ctx, args[1], os.Stdin, os.Stdout)
	}
	alps, err := filepath.Abs(filepath.Join("bin", "alps"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(alps); err != nil {
		return fmt.Errorf("%w: run `make build consul` first", err)
	}
	chosen, err := choose(args)
	if err != nil {
		return err
	}
	e := env{alps: alps, out: os.Stdout}
	e.printf("%s, %d cores, %s\n", runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format("2006-01-02 15:04"))
	var errs []error
	for _, b := range chosen {
		e.printf("\n== %s: %s (load %s)\n", b.name, b.what, load())
		if err := b.run(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	return errors.Join(errs...)
}

// choose returns the benchmarks of these names, all when there are none.
func choose(names []string) ([]bench, error) {
	if len(names) == 0 {
		return benches(), nil
	}
	var out []bench
	for _, name := range names {
		before := len(out)
		var known []string
		for _, b := range benches() {
			known = append(known, b.name)
			if b.name == name {
				out = append(out, b)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("there is no benchmark %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
