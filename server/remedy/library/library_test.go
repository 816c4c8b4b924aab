package library_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/remedy/library"
)

const manifest = `# What restarts web.
description = "Restarts web."   // of nginx
changes     = "It is restarted \u2014 \"hard\"."
timeout     = "30s"
run_as      = "web"

parameter "control" {
  description = "A program."
  required    = true
}
parameter "grace" { description = "Seconds." }
/* the end */`

// script writes a script that is good, before a test spoils it.
func script(t *testing.T, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at, "run"), "#!/bin/sh\necho done\n", 0o755)
	write(t, filepath.Join(at, "manifest.hcl"), manifest, 0o644)
	return at
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is.
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "restart-web")
	script(t, dir, "clean_tmp")
	write(t, filepath.Join(dir, "README.md"), "not a script", 0o644)
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := library.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("#!/bin/sh\necho done\n")
	want := library.Script{
		Name: "restart-web", Body: body, Digest: mesh.Digest(body),
		Manifest: library.Manifest{
			Description: "Restarts web.", Changes: "It is restarted — \"hard\".", Timeout: 30 * time.Second, RunAs: "web",
			Parameters: []library.Parameter{{Name: "control", Description: "A program.", Required: true}, {Name: "grace", Description: "Seconds."}},
		},
	}
	got, err := l.Script("restart-web")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
	if all := l.Scripts(); len(all) != 2 || all[0].Name != "clean_tmp" {
		t.Errorf("scripts %+v, want two by name", all)
	}
	_, err = l.Script("restart-wbe")
	e, ok := err.(*mesh.Error) //nolint:errorlint // it is not wrapped.
	if !ok || e.Code != mesh.NotFound || !strings.Contains(e.Message, dir+"/restart-wbe/run") || !strings.Contains(e.Hint, "clean_tmp, restart-web") {
		t.Errorf("a script that is not there: %v", err)
	}
}

func TestLoadJSON(t *testing.T) {
	dir := t.TempDir()
	at := script(t, dir, "clean-tmp")
	remove(t, at, "manifest.hcl")
	write(t, at+"/manifest.json", `{"description": "d", "changes": "c", "timeout": "2s", "parameter": {"days": {"description": "p"}}}`, 0o644)
	l, err := library.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Script("clean-tmp")
	if err != nil {
		t.Fatal(err)
	}
	want := library.Manifest{Description: "d", Changes: "c", Timeout: 2 * time.Second, Parameters: []library.Parameter{{Name: "days", Description: "p"}}}
	if diff := cmp.Diff(want, got.Manifest); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestLoadNothing(t *testing.T) {
	l, err := library.Load(filepath.Join(t.TempDir(), "none"))
	if err != nil || len(l.Scripts()) != 0 {
		t.Fatalf("a directory that does not exist: %v, %v", l, err)
	}
	if _, err := l.Script("x"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("a script of it: %v", err)
	}
	if _, err := new(library.Library).Script("x"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("a script of the zero library: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, at string)
		want  string
	}{
		"no manifest":    {func(t *testing.T, at string) { remove(t, at, "manifest.hcl") }, "there is no file "},
		"no program":     {func(t *testing.T, at string) { remove(t, at, "run") }, "/run"},
		"not executable": {func(t *testing.T, at string) { write(t, at+"/run", "#!/bin/sh\n", 0o644) }, "chmod +x "},
		"for everybody":  {func(t *testing.T, at string) { write(t, at+"/run", "#!/bin/sh\n", 0o757) }, "chmod o-w "},
		"empty":          {func(t *testing.T, at string) { write(t, at+"/run", "", 0o755) }, "is empty"},
		"too large":      {func(t *testing.T, at string) { write(t, at+"/run", strings.Repeat("x", mesh.MaxScript+1), 0o755) }, "has 1048577 bytes"},
		"a directory":    {func(t *testing.T, at string) { remove(t, at, "run"); mkdir(t, at+"/run") }, "not a regular file"},
		"a bad manifest": {func(t *testing.T, at string) { write(t, at+"/manifest.hcl", "timeout = 3\n", 0o644) }, "manifest.hcl:1: manifest.timeout: want a duration "},
		"two manifests":  {func(t *testing.T, at string) { write(t, at+"/manifest.json", "{}", 0o644) }, "keep one of them"},
		"long manifest":  {func(t *testing.T, at string) { write(t, at+"/manifest.hcl", strings.Repeat("#", 1<<17), 0o644) }, "at most 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script(t, dir, "good")
			tt.spoil(t, script(t, dir, "bad"))
			script(t, dir, "Bad Name")
			_, err := library.Load(dir)
			for _, want := range []string{`script "bad": `, tt.want, `script "Bad Name": a name is`} {
				if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), want) {
					t.Errorf("load: %v, want %q", err, want)
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "", 0o600)
	if _, err := library.Load(file); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("a file for a library: %v", err)
	}
}

func remove(t *testing.T, at, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(at, name)); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCheckArgs(t *testing.T) {
	m := library.Manifest{Parameters: []library.Parameter{{Name: "a", Description: "what to do", Required: true}, {Name: "b"}}}
	for name, tt := range map[string]struct {
		args []string
		want string // empty: fine.
	}{
		"both":     {[]string{"x", "y"}, ""},
		"one":      {[]string{"x"}, ""},
		"none":     {nil, "argument 1, a, is missing: what to do"},
		"an empty": {[]string{"", "y"}, "argument 1, a, is missing"},
		"three":    {[]string{"x", "y", "z"}, "3 arguments are given, it takes 2"},
	} {
		err := m.CheckArgs(tt.args)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
