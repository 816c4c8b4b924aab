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
