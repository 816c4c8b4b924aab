package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// onCluster begins the names of the scripts that are run as an admin of the
// shared cluster, onEstate of those that are run against a server over states
// that were made up. The others need nothing but the program.
const (
	onCluster = "cluster_"
	onEstate  = "estate_"
)

// TestScript is the contract of the command line without a cluster: messages,
// hints and exit codes. `go test ./cmd/alps -run Script -update` writes what
// is printed into the scripts.
func TestScript(t *testing.T) {
	testscript.Run(t, scripts(t, ""))
}

// TestScriptOnCluster is the contract with those who speak to a server.
func TestScriptOnCluster(t *testing.T) {
	c := sharedCluster(t)
	token, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	p := scripts(t, onCluster)
	p.Setup = func(e *testscript.Env) error {
		e.Setenv(envAddr, c.Address())
		e.Setenv(envToken, token)
		e.Setenv(envCACert, c.CACert())
		e.Setenv("HOST", c.Consul().Subnet()+".1") // the server's.
		return nil
	}
	testscript.Run(t, p)
}

func scripts(t *testing.T, kind string) testscript.Params {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool {
		name := filepath.Base(f)
		if kind == "" {
			return strings.HasPrefix(name, onCluster) || strings.HasPrefix(name, onEstate)
		}
		return !strings.HasPrefix(name, kind)
	})
	return testscript.Params{
		Files: files, UpdateScripts: *update, RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "fits": fits, "capture": capture,
		},
	}
}

// exits runs a program and fails unless it ends with the code:
//
//	exits CODE PROGRAM [ARG…]
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%q exits with %d, want %d", args[1:], got, want)
	}
}

// fits fails if the last output has no rows, or a line wider than the columns
// that it is given:
//
//	fits COLUMNS
func fits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fits COLUMNS")
	}
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	lines := slices.Collect(strings.Lines(ts.ReadFile("stdout")))
	if len(lines) < 2 {
		ts.Fatalf("the table has no rows")
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > most {
			ts.Fatalf("a line of %d columns, want at most %d:\n%s", n, most, l)
		}
	}
}

// capture sets a variable of the environment to the last output:
//
//	capture NAME [PROGRAM ARG…]
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: capture NAME [PROGRAM ARG…]")
	}
	if len(args) > 1 {
		ts.Check(ts.Exec(args[1], args[2:]...))
	}
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if text == "" {
		ts.Fatalf("nothing was printed to capture")
	}
	ts.Setenv(args[0], text)
}

// TestTableFits holds the tables against the longest that is usual: the names
// and addresses of the estate that ALPS was made for.
func TestTableFits(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	nodes := newTable("NAME", "ADDRESS", "MEMBER", "AGENT", "STATUS", "ROLE", "CPU", "MEM")
	for i, n := range []string{"bj-e-hadoop01-11-203", "bj-e-general-zk-01"} {
		nodes.row(n, fmt.Sprintf("172.17.11.%d", 203+i), "failed", "linked", "critical", "hadoop", "128", "252G")
	}
	jobs := newTable("ID", "CREATED", "BY", "OK", "NOT OK", "OPEN", "COMMAND")
	jobs.row("298f2572076a84ca", "11-21 07:20", "deploy-pipeline", "1000", "12", "3", strings.Repeat("a long command ", 9))
	audit := newTable("TIME", "ACTOR", "ACTION", "OBJECT", "OUTCOME")
	audit.row("11-21 07:20", "deploy-pipeline", "join_token.create", "bj-e-hadoop01-11-203", "done")
	tests := map[string]struct {
		table *table
		cut   bool
	}{
		"nodes": {nodes, false},
		"jobs":  {jobs, true},
		"audit": {audit, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := tt.table.print(&b); err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 80 {
					t.Errorf("a line of %d columns: %s", n, l)
				}
			}
			if got := strings.Contains(b.String(), "…"); got != tt.cut {
				t.Errorf("cut = %v, want %v:\n%s", got, tt.cut, &b)
			}
		})
	}
}
