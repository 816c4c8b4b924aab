package scripts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alps/mesh"
	"alps/mesh/config"
	"alps/server/remedy/library"
)

const policies = "../deploy/policies"

// TestPolicies reads the policies that ship as a server would: all of them
// together, and each beside its receivers alone.
func TestPolicies(t *testing.T) {
	lib, err := library.Load(written(t))
	if err != nil {
		t.Fatal(err)
	}
	all, err := config.LoadRules(policies)
	if err != nil {
		t.Fatal(err)
	}
	// What several of them lean on is read beside each.
	shared := []string{"receivers.hcl", "hdfs-disk.hcl"}
	var beside []byte
	for _, name := range shared {
		b, err := os.ReadFile(filepath.Join(policies, name))
		if err != nil {
			t.Fatal(err)
		}
		beside = append(beside, b...)
	}
	files, err := filepath.Glob(policies + "/*.hcl")
	if err != nil || len(files) < 2 {
		t.Fatalf("policies %q, %v", files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(shared, filepath.Base(path)) {
			continue
		}
		one, err := config.ParseRules(path, append(text, beside...))
		if err != nil {
			t.Errorf("alone: %v", err)
			continue
		}
		plain := !slices.ContainsFunc(one.Policies, func(p mesh.Policy) bool { return len(p.Rungs) > 0 })
		for _, r := range one.Rules {
			if plain && (r.Owner == "" || len(r.Notify) == 0) {
				t.Errorf("%s: rule %s tells nobody, or not whose it is", path, r.Name)
			}
		}
		for i := range one.Policies {
			checkPolicy(t, lib, &one.Policies[i])
			_, block, _ := strings.Cut(string(text), "\npolicy ")
			block, _, _ = strings.Cut(block, "\n}\n")
			if n := strings.Count(block, "\n") + 2; len(one.Policies[i].Rungs) == 0 && n > 12 {
				t.Errorf("%s: policy %s has %d lines, at most 12", path, one.Policies[i].Name, n)
			}
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not say what it is for", path)
		}
	}
	if len(all.Policies) < len(files)-len(shared) {
		t.Errorf("%d policies in %d files", len(all.Policies), len(files))
	}
}

// checkPolicy holds a policy against the scripts of the library.
func checkPolicy(t *testing.T, lib *library.Library, p *mesh.Policy) {
	t.Helper()
	if p.Mode == mesh.RemedyAuto {
		t.Errorf("policy %s ships as %s: a policy earns its trust", p.Name, p.Mode)
	}
	if len(p.Rungs) > 0 {
		return // its scripts and their times are held against it by their own tests.
	}
	s, err := lib.Script(p.Script)
	if err != nil {
		t.Errorf("policy %s: %v", p.Name, err)
		return
	}
	if err := s.Manifest.CheckArgs(p.Args); err != nil {
		t.Errorf("policy %s: %v", p.Name, err)
	}
	if p.Timeout < s.Manifest.Timeout {
		t.Errorf("policy %s gives %s, its script may need %s", p.Name, p.Timeout, s.Manifest.Timeout)
	}
}

// TestOnceInHalfAnHour says what the policy for services promises: one try, and
// then a person who knows whom to call.
func TestOnceInHalfAnHour(t *testing.T) {
	all, err := config.LoadRules(policies)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all.Policies {
		p := &all.Policies[i]
		if p.Name != "restart-service" {
			continue
		}
		if p.Cooldown.Minutes() != 30 || p.Failures != 1 {
			t.Errorf("it waits %s and opens its breaker after %d", p.Cooldown, p.Failures)
		}
		return
	}
	t.Error("there is no policy restart-service")
}

// TestHDFSPage takes what docs/hdfs.md has people write: the agent's
// configuration and the definition are read as they stand there, and the
// policies that it names are those that ship for HDFS.
func TestHDFSPage(t *testing.T) {
	page, err := os.ReadFile("../docs/hdfs.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(first string) string {
		_, text, ok := strings.Cut(string(page), "```hcl\n"+first+"\n")
		text, _, end := strings.Cut(text, "```")
		if !ok || !end {
			t.Fatalf("the page has no block that begins with %q", first)
		}
		return text
	}
	conf := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(conf, []byte("data_dir = \"/var/lib/alps\"\n"+block("# /etc/alps/agent.hcl")), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := config.LoadAgent(conf)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(a.Check.Packs, "hdfs") || a.Exec.Env["HADOOP_CONF_DIR"] == "" {
		t.Errorf("an agent with the page's file has the packs %q and the environment %q", a.Check.Packs, a.Exec.Env)
	}
	def, err := config.ParseChecks("namenode.hcl", []byte(block("# "+a.Check.Dir+"/namenode.hcl")))
	if err != nil {
		t.Fatal(err)
	}
	if len(def.Services) != 1 || def.Services[0].Name != "namenode" || len(def.Checks) != 1 {
		t.Errorf("the page defines %+v, want the service namenode with a check", def)
	}

	rules, err := config.LoadRules(policies)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, p := range rules.Policies {
		if !strings.HasPrefix(p.Name, "hdfs-") {
			continue
		}
		told++
		if !strings.Contains(string(page), "| `"+p.Name+"` |") {
			t.Errorf("the page does not tell of the policy %s", p.Name)
		}
	}
	if told == 0 {
		t.Error("no policy for HDFS ships")
	}
}
