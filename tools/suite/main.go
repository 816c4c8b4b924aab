// Command suite runs the project's test suites one after the other and says
// how long each took:
//
//	go run ./tools/suite          # all but those that take long
//	go run ./tools/suite loop     # one of them
//
// It exits with 1 when one fails, after it has run them all. The last line is
// always go test's own, because programs that run tests look for it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A suite is a set of packages that are tested together.
type suite struct {
	name string
	// The package that its tests start processes with. What belongs to no
	// other suite belongs to the one that says "".
	starter string
	args    []string // further arguments to go test.
	apart   bool     // it takes long, and runs only when it is named.
}

// suites is the order in which they run: what fails fast comes first. One
// package at a time where processes are started: a cluster that is starved of
// CPU loses its leader.
func suites() []suite {
	return []suite{
		{name: "unit"},
		{name: "consul", starter: "alps/mesh/consul/cluster", args: []string{"-p", "1"}},
		{name: "e2e", starter: "alps/cmd/alps/internal/dev", args: []string{"-p", "1"}},
		// Its tests wait more than they work: two clusters at a time.
		{name: "loop", starter: "alps/cmd/alps/internal/loop", args: []string{"-p", "1", "-parallel", "2", "-timeout", "20m"}, apart: true},
		{name: "hdfs", starter: "alps/checks/hdfs/cluster", args: []string{"-p", "1", "-timeout", "30m"}, apart: true},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, out io.Writer) error {
	all := suites()
	for _, n := range names {
		if !slices.ContainsFunc(all, func(s suite) bool { return s.name == n }) {
			return fmt.Errorf("no suite is called %q", n)
		}
	}
	// One line a package: its path, then what its tests import.
	format := `{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	list, err := exec.CommandContext(ctx, "go", "list", "-f", format, "./...").Output()
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	packages := assign(all, string(list))

	failed, last := false, ""
	for _, s := range all {
		wanted := slices.Contains(names, s.name) || len(names) == 0 && !s.apart
		if !wanted || len(packages[s.name]) == 0 {
			continue
		}
		var ok bool
		ok, last = test(ctx, s, packages[s.name], out)
		failed = failed || !ok
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if failed && last != "FAIL\n" {
		_, _ = io.WriteString(out, "FAIL\n")
	}
	if failed {
		return fmt.Errorf("a suite failed: search the lines above for FAIL")
	}
	return nil
}

// test runs one suite. It reports whether it passed, and go test's last line,
// which it has printed after the line with the time.
func test(ctx context.Context, s suite, packages []string, out io.Writer) (ok bool, last string) {
	_, _ = fmt.Fprintf(out, "suite %s: %d packages\n", s.name, len(packages))
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"test"}, s.args, packages)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	held := &lineHolder{out: out}
	cmd.Stdout, cmd.Stderr = held, held
	start := time.Now()
	err := cmd.Run()
	verdict := "passed"
	if err != nil {
		verdict = "failed, " + err.Error()
	}
	_, _ = fmt.Fprintf(out, "suite %s: %s, %.1f s\n", s.name, verdict, time.Since(start).Seconds())
	_, _ = out.Write(held.line)
	return err == nil, string(held.line)
}

// assign gives every package to a suite, by the name of the suite. Each line of
// list is a package and what its tests import; the starter's own tests belong
// to its suite too.
func assign(suites []suite, list string) map[string][]string {
	got := make(map[string][]string)
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		name := ""
		for _, s := range suites {
			if s.starter == "" || slices.Contains(words, s.starter) {
				name = s.name
			}
		}
		got[name] = append(got[name], words[0])
	}
	return got
}

// A lineHolder passes on what is written to it except for the last line, which
// it keeps.
type lineHolder struct {
	out  io.Writer
	line []byte
}

func (h *lineHolder) Write(p []byte) (int, error) {
	h.line = append(h.line, p...)
	cut := bytes.LastIndexByte(bytes.TrimSuffix(h.line, []byte("\n")), '\n') + 1
	if cut == 0 {
		return len(p), nil
	}
	if _, err := h.out.Write(h.line[:cut]); err != nil {
		return 0, err
	}
	h.line = append(h.line[:0], h.line[cut:]...)
	return len(p), nil
}
