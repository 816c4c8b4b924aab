package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh/config"
)

func TestTheReferenceIsUpToDate(t *testing.T) {
	for name, document := range map[string]func(dir string) (string, error){
		"config.md":      reference,
		"definitions.md": definitions,
	} {
		t.Run(name, func(t *testing.T) {
			want, err := document("../..")
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("../../../../docs", name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("docs/%s is old: run make generate (-want +got):\n%s", name, diff)
			}
		})
	}
}

var sample = regexp.MustCompile("(?s)```hcl\n(.*?)```")

func TestTheExamplesLoad(t *testing.T) {
	examples := sample.FindAllStringSubmatch(definitionsIntro, -1)
	if len(examples) != 3 {
		t.Fatalf("got %d examples, want 3", len(examples))
	}
	if _, err := config.ParseChecks("example.hcl", []byte(examples[0][1])); err != nil {
		t.Error(err)
	}
	if _, err := config.ParseRules("example.hcl", []byte(examples[1][1])); err != nil {
		t.Error(err)
	}
	if _, err := config.ParseManifest("example.hcl", []byte(examples[2][1])); err != nil {
		t.Error(err)
	}
	for _, line := range strings.Split(examples[1][1], "policy ")[1:] {
		if n := strings.Count(line, "\n"); n > 12 {
			t.Errorf("the policy has %d lines, at most 12 were promised", n)
		}
	}
}
