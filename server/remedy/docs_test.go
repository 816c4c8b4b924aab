package remedy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"alps/mesh"
	"alps/mesh/config"
	"alps/server/remedy"
	"alps/server/remedy/library"
)

// TestDocumentation reads docs/remediation.md as a team would follow it: the
// script, its manifest and the policy are taken as they stand there, and the
// table of guards is the guards.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/remediation.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := make(map[string]string) // by a word of its first lines.
	for _, m := range regexp.MustCompile("(?s)```(?:sh|hcl)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, word := range []string{"#!/bin/sh", "# manifest", "rule \"", "confirm \""} {
			if strings.Contains(m[1], word) {
				samples[word] = m[1]
			}
		}
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "clear-cache")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, word := range map[string]string{"run": "#!/bin/sh", "manifest.hcl": "# manifest"} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(samples[word]), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join(at, "run")).CombinedOutput(); err != nil {
		t.Errorf("the script: %v\n%s", err, out)
	}
	lib, err := library.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := config.ParseRules("rules.hcl", []byte(samples["rule \""]))
	if err != nil {
		t.Fatal(err)
	}
	e := newWorld(t).engine(t)
	if err := e.SetPolicies(rules.Policies, lib, mesh.RemedyAuto); err != nil {
		t.Error(err)
	}
	_, policy, _ := strings.Cut(samples["rule \""], "policy \"")
	if n := strings.Count(policy, "\n"); len(rules.Policies) != 1 || n > 12 {
		t.Errorf("%d policies, the last of %d lines; a policy is at most 12", len(rules.Policies), n)
	}

	plan, err := config.ParseRules("plan.hcl", []byte("rule \"hdfs-disk\" { check = \"c\" }\n"+samples["confirm \""]))
	if err != nil || len(plan.Policies) != 1 || len(plan.Policies[0].Rungs) != 1 {
		t.Errorf("the plan: %v", err)
	}

	rest := string(text)
	for _, v := range remedy.Explain(good()) {
		var ok bool
		if _, rest, ok = strings.Cut(rest, "| `"+string(v.Guard)+"` | "); !ok {
			t.Errorf("the guard %s is not in the table, or not in its place", v.Guard)
		}
	}
}
