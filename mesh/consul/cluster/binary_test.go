package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"alps/mesh"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fakeConsul writes a program that prints text when it is run.
func fakeConsul(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consul")
	script := "#!/bin/sh\ncat <<'END'\n" + text + "\nEND\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	good := fakeConsul(t, "Consul v1.22.5\nBuild Date x")
	edge := fakeConsul(t, "Consul v1.15.0-dev (abc)")
	old := fakeConsul(t, "Consul v1.14.9")
	other := fakeConsul(t, "hello")
	shell := os.Getenv("PATH") // the fakes are shell scripts.
	// In a directory outside of any module nothing else is found.
	t.Chdir(t.TempDir())
	module := t.TempDir()
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte("module alps\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(module, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fakeConsul(t, "Consul v1.22.5+ent"), filepath.Join(module, "bin", "consul")); err != nil {
		t.Fatal(err)
	}
	inModule := filepath.Join(module, "bin", "consul")
	below := filepath.Join(module, "mesh", "x")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name                    string
		explicit, env, path, wd string
		want                    string
		err                     string
	}{
		{name: "explicit wins", explicit: good, env: edge, path: edge, want: good},
		{name: "explicit is too old", explicit: old, env: good, err: "it is Consul 1.14.9, wanted is 1.15.0"},
		{name: "explicit is missing", explicit: "/nowhere/consul", err: "/nowhere/consul"},
		{name: "environment before path", env: edge, path: good, want: edge},
		{name: "environment is something else", env: other, path: good, err: "hello"},
		{name: "path", path: good, want: good},
		{name: "path is too old, module has one", path: old, wd: below, want: inModule},
		{name: "path is too old, nothing else", path: old, err: "it is Consul 1.14.9, wanted is 1.15.0"},
		{name: "module", wd: below, want: inModule},
		{name: "nothing", err: "none on PATH"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(binaryEnv, c.env)
			path := shellOnly(t, shell)
			if c.path != "" {
				path = filepath.Dir(c.path) + ":" + path
			}
			t.Setenv("PATH", path)
			if c.wd != "" {
				t.Chdir(c.wd)
			}
			got, err := Find(t.Context(), c.explicit)
			if c.err == "" {
				if err != nil || got != c.want {
					t.Errorf("Find = %q, %v, want %q", got, err, c.want)
				}
				return
			}
			if mesh.CodeOf(err) != mesh.NotFound || !strings.Contains(err.Error(), c.err) {
				t.Errorf("Find = %q, %v, want not_found with %q", got, err, c.err)
			}
			if e, ok := errors.AsType[*mesh.Error](err); ok && !strings.Contains(e.Hint, "make consul") {
				t.Errorf("hint = %q, want the command to type", e.Hint)
			}
		})
	}
}

// shellOnly is a PATH that has what the fakes need and no Consul.
func shellOnly(t *testing.T, path string) string {
	t.Helper()
	var dirs []string
	for _, dir := range filepath.SplitList(path) {
		if _, err := os.Stat(filepath.Join(dir, "consul")); err != nil {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

func TestParseVersion(t *testing.T) {
	cases := []struct {
		name, out string
		want      version
		bad       bool
	}{
		{name: "release", out: "Consul v1.22.5\nBuild Date 1970\n", want: version{1, 22, 5}},
		{name: "enterprise", out: "Consul v1.15.10+ent\n", want: version{1, 15, 10}},
		{name: "development", out: "Consul v1.23.0-dev (1234+CHANGES)", want: version{1, 23, 0}},
		{name: "candidate", out: "Consul v2.0.0-rc1", want: version{2, 0, 0}},
		{name: "a warning first", out: "==> be careful\nConsul v1.22.5", want: version{1, 22, 5}},
		{name: "carriage return", out: "Consul v1.22.5\r\n", want: version{1, 22, 5}},
		{name: "empty", bad: true},
		{name: "another program", out: "Vault v1.22.5", bad: true},
		{name: "two numbers", out: "Consul v1.22", bad: true},
		{name: "a number too large", out: "Consul v1.99999999999999999999.0", bad: true},
		{name: "dots alone", out: "Consul v..", bad: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseVersion(c.out)
			if (err != nil) != c.bad || got != c.want {
				t.Errorf("parseVersion(%q) = %v, %v, want %v, error %v", c.out, got, err, c.want, c.bad)
			}
		})
	}
}

func TestVersionBefore(t *testing.T) {
	in := []version{{0, 9, 9}, {1, 14, 9}, {1, 15, 0}, {1, 15, 1}, {2, 0, 0}}
	for i, a := range in {
		for j, b := range in {
			if got, want := a.before(b), i < j; got != want {
				t.Errorf("%v.before(%v) = %v, want %v", a, b, got, want)
			}
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add("Consul v1.22.5\nBuild Date")
	f.Add("Consul v1.15.0-dev")
	f.Add("Consul v..")
	f.Fuzz(func(t *testing.T, out string) {
		v, err := parseVersion(out)
		if err != nil {
			return
		}
		again, err := parseVersion("Consul v" + v.String())
		if err != nil || again != v {
			t.Errorf("parseVersion(%q) = %v, which reads back as %v, %v", out, v, again, err)
		}
	})
}
