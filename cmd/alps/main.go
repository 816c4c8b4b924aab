package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// stdio is where a command reads and writes: files for a user, buffers for a
// test.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program: it returns the exit code. ctx ends at the first
// interrupt.
func run(ctx context.Context, args []string, std stdio) int {
	a := &app{stdio: std}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	at, err := root.ExecuteContextC(ctx)
	a.help = at.CommandPath() + " --help"
	if err != nil && !a.began {
		// Flags may not have been read when it was they that made no sense.
		a.json = a.json || wantsJSON(args)
		err = misused(err, at, args)
	}
	return a.exit(err)
}
