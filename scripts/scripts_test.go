package scripts_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"alps/scripts"
	"alps/server/remedy/library"
)

// written returns the shipped library in a directory.
func written(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scripts")
	if err := os.CopyFS(dir, scripts.FS()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLibrary says that a server takes what is shipped, and that the README has
// a row for each script.
func TestLibrary(t *testing.T) {
	l, err := library.Load(written(t))
	if err != nil {
		t.Fatal(err)
	}
	all := l.Scripts()
	if len(all) == 0 {
		t.Fatal("no script is shipped")
	}
	here, err := library.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(here.Scripts()); got != len(all) {
		t.Errorf("%d scripts lie here, %d are shipped", got, len(all))
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !bytes.Contains(readme, []byte("| `"+s.Name+"` | ")) {
			t.Errorf("README.md has no row for %s", s.Name)
		}
	}
}

// TestSyntax has shellcheck, where there is one, or else the shell itself, read
// every script.
func TestSyntax(t *testing.T) {
	lint := []string{"sh", "-n"}
	if path, err := exec.LookPath("shellcheck"); err == nil {
		lint = []string{path}
	}
	runs, err := fs.Glob(scripts.FS(), "*/run")
	if err != nil || len(runs) == 0 {
		t.Fatalf("scripts %v, %v", runs, err)
	}
	for _, run := range runs {
		body, err := os.ReadFile(run)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(body, []byte("#!/bin/sh\n")) {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), lint[0], append(lint[1:], run)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(lint, " "), err, out)
		}
	}
}
