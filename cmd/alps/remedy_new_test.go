package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh/config"
	"alps/server/remedy/library"
)

// remedyNew runs alps remedy new in a directory and returns what it printed.
func remedyNew(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	t.Chdir(dir)
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), slices.Concat([]string{"remedy", "new"}, args), stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return stdout.String() + stderr.String(), code
}

// TestRemedyNew says that what is written is what a server takes.
func TestRemedyNew(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		rule  string // of the policy.
		check string // of the new rule; empty: there is none.
	}{
		"a check":            {[]string{"--check", "cache"}, "mend-it", "cache"},
		"a rule":             {[]string{"--rule", "cache-full"}, "cache-full", ""},
		"both":               {[]string{"--rule", "cache-full", "--check", "cache"}, "cache-full", "cache"},
		"neither":            {nil, "mend-it", "mend-it"},
		"a check with words": {[]string{"--check", "script df -h"}, "mend-it", "script df -h"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if out, code := remedyNew(t, dir, append(tt.args, "mend-it")...); code != 0 {
				t.Fatalf("it exits with %d: %s", code, out)
			}
			policy, err := os.ReadFile("rules.d/mend-it.hcl")
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(policy, []byte("\n")); n > 12 {
				t.Errorf("it has %d lines, at most 12:\n%s", n, policy)
			}
			if tt.check == "" {
				policy = append(policy, "rule \"cache-full\" {\n  check = \"x\"\n}\n"...)
			}
			rules, err := config.ParseRules("mend-it.hcl", policy)
			if err != nil {
				t.Fatal(err)
			}
			p := rules.Policies[0]
			if p.Name != "mend-it" || p.Rule != tt.rule || p.Script != "mend-it" || p.Mode != "observe" {
				t.Errorf("the policy is %+v", p)
			}
			if r := rules.Rules[0]; r.Name != tt.rule || tt.check != "" && r.Check != tt.check {
				t.Errorf("the rule is %+v", r)
			}
			lib, err := library.Load("scripts")
			if err != nil {
				t.Fatal(err)
			}
			s, err := lib.Script(p.Script)
			if err != nil || s.Manifest.CheckArgs(p.Args) != nil || s.Manifest.Timeout > p.Timeout || !s.Manifest.DryRun {
				t.Errorf("the script is %+v, %v", s.Manifest, err)
			}
			for _, env := range []string{"ALPS_DRY_RUN=1", "ALPS_DRY_RUN="} {
				if out, err := runScript(t, dir+"/scripts/mend-it/run", env); err != nil || !strings.HasPrefix(out, "mend-it: ") {
					t.Errorf("with %s the script says %q, %v", env, out, err)
				}
			}
		})
	}
}

func runScript(t *testing.T, path, env string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRemediationPage follows docs/remediation.md from its first command to a
// script that has done its work: only the place of the caches is another.
func TestRemediationPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "remediation.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind, first string) string {
		t.Helper()
		for _, m := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			if strings.HasPrefix(m[1], first) {
				return m[1]
			}
		}
		t.Fatalf("the page has no %s block that begins with %q", kind, first)
		return ""
	}
	const command = "$ alps remedy new clear-cache --check cache\n"
	dir := t.TempDir()
	out, code := remedyNew(t, dir, strings.Fields(command)[4:]...)
	if d := cmp.Diff(strings.TrimPrefix(block("console", command), command), out); d != "" || code != 0 {
		t.Fatalf("it exits with %d (-page +printed):\n%s", code, d)
	}
	caches := filepath.Join(t.TempDir(), "cache")
	body := strings.ReplaceAll(block("sh", "#!/bin/sh"), "/var/cache", caches)
	err = errors.Join(
		os.WriteFile("scripts/clear-cache/run", []byte(body), 0o700),
		os.WriteFile("scripts/clear-cache/manifest.hcl", []byte(block("hcl", "# manifest")), 0o600),
		os.WriteFile("rules.d/clear-cache.hcl", []byte(block("hcl", "rule ")), 0o600),
		os.MkdirAll(caches+"/thumbs/deep", 0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"old", "deep/old", "new"} {
		path := caches + "/thumbs/" + name
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "new" {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}

	rules, err := config.LoadRules("rules.d")
	if err != nil {
		t.Fatal(err)
	}
	lib, err := library.Load("scripts")
	if err != nil {
		t.Fatal(err)
	}
	p := rules.Policies[0]
	s, err := lib.Script(p.Script)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Manifest.CheckArgs(p.Args); err != nil {
		t.Error(err)
	}
	left := func() int {
		t.Helper()
		all, err := filepath.Glob(caches + "/thumbs/*old")
		deep, err2 := filepath.Glob(caches + "/thumbs/deep/old")
		kept, err3 := filepath.Glob(caches + "/thumbs/new")
		if err := errors.Join(err, err2, err3); err != nil || len(kept) != 1 {
			t.Fatalf("what is new is gone: %v", err)
		}
		return len(all) + len(deep)
	}
	for _, step := range []struct {
		env   string
		lines int // that it prints, one for each file.
		left  int
	}{{"ALPS_DRY_RUN=1", 2, 2}, {"ALPS_DRY_RUN=", 2, 0}, {"ALPS_DRY_RUN=", 0, 0}} {
		out, err := runScript(t, dir+"/scripts/clear-cache/run", step.env, p.Args...)
		if err != nil || strings.Count(out, "\n") != step.lines || left() != step.left {
			t.Errorf("with %s it prints %q, %v, and %d are left; want %d lines and %d", step.env, out, err, left(), step.lines, step.left)
		}
	}
	if out, err := runScript(t, dir+"/scripts/clear-cache/run", "ALPS_DRY_RUN=", "none"); err == nil || !strings.Contains(out, "there is no") {
		t.Errorf("without its directory it prints %q, %v", out, err)
	}
}
