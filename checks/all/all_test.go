package all

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alps/checks"
	"alps/mesh"
	"alps/mesh/config"
)

type asker struct{}

func (asker) Leader(context.Context) (string, error)         { return "", nil }
func (asker) Peers(context.Context) ([]string, error)        { return nil, nil }
func (asker) Members(context.Context) ([]mesh.Member, error) { return nil, nil }

func TestPacks(t *testing.T) {
	packs, err := Packs(Env{Consul: asker{}, Node: "n1", TryVolume: []string{"alps"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := checks.NewSet(packs)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, n := range set.Names() {
		known[n] = true
	}
	var names []string
	ids := make(map[string]bool)
	for _, p := range packs {
		names = append(names, p.Name)
		readme, err := os.ReadFile(filepath.Join("..", p.Name, "README.md"))
		if err != nil {
			t.Errorf("pack %s explains nothing: %v", p.Name, err)
		}
		for _, def := range p.Checks {
			if !known[def.Probe] || ids[def.ID] {
				t.Errorf("check %s: its probe %s is not known, or its id is taken", def.ID, def.Probe)
			}
			ids[def.ID] = true
			if !strings.Contains(string(readme), def.ID) {
				t.Errorf("the README of pack %s says nothing of %s", p.Name, def.ID)
			}
			for setting := range def.Settings {
				if !strings.Contains(string(readme), "`"+setting+"`") {
					t.Errorf("the README of pack %s says nothing of the setting %s of %s", p.Name, setting, def.ID)
				}
			}
		}
	}
	// What the agent's configuration turns on by default is what there is.
	if want := config.DefaultAgent().Check.Packs; strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("packs %v, check.packs has %v", names, want)
	}
}

func TestWithoutConsulThereIsNoPackOfIt(t *testing.T) {
	packs, err := Packs(Env{})
	if err != nil || len(packs) != 1 || packs[0].Name != "host" {
		t.Errorf("Packs: %v, %v, want host alone", packs, err)
	}
	if _, err := Packs(Env{Consul: asker{}}); err == nil {
		t.Error("pack consul was made without the node's name")
	}
}
