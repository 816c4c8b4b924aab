// Package checktest is the suite that every probe passes.
//
//	func TestConformance(t *testing.T) {
//		pack, err := host.New(host.Options{Root: "testdata/well"})
//		…
//		checktest.Run(t, pack, checktest.Options{})
//	}
//
// It imports mesh and checks.
package checktest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"alps/checks"
	"alps/mesh"
)

// Options say what is special about a pack.
type Options struct {
	// Slow is the same pack over sources that do not answer: its probes return
	// when the context ends. Nil when no probe of the pack waits for anything.
	Slow *checks.Pack
	// Waits are the probes, without the pack's name, that Slow must make wait.
	Waits []string
}

// hang is when a test gives up on a probe that does not return.
const hang = 30 * time.Second

// Run runs the suite over a pack whose sources say that all is well.
func Run(t *testing.T, p checks.Pack, o Options) {
	t.Helper()
	set, err := checks.NewSet([]checks.Pack{p})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Checks) == 0 {
		t.Fatal("the pack has no checks")
	}
	for _, def := range p.Checks {
		t.Run(def.ID, func(t *testing.T) {
			t.Run("definition", func(t *testing.T) { definition(t, p, def) })
			t.Run("passes", func(t *testing.T) { passes(t, set, def) })
			t.Run("says the same twice", func(t *testing.T) { stable(t, set, def) })
			t.Run("hostile settings", func(t *testing.T) { hostile(t, set, def) })
			t.Run("an ended context", func(t *testing.T) { ended(t, set, def) })
		})
	}
	if o.Slow != nil {
		slow(t, *o.Slow, o.Waits)
	}
}

func definition(t *testing.T, p checks.Pack, def mesh.CheckDef) {
	if want := "pack " + p.Name; def.Origin != want {
		t.Errorf("origin %q, want %q", def.Origin, want)
	}
	if def.Kind != mesh.CheckProbe || def.Runner != mesh.RunnerAgent || !strings.HasPrefix(def.Probe, p.Name+".") {
		t.Errorf("it is a %s by %s of %q", def.Kind, def.Runner, def.Probe)
	}
	if !strings.HasPrefix(def.ID, p.Name+"-") {
		t.Errorf("the id does not begin with %s-", p.Name)
	}
	if def.Notes == "" {
		t.Error("it has no notes: whoever sees it fail learns nothing")
	}
}

func passes(t *testing.T, set *checks.Set, def mesh.CheckDef) {
	r := set.Run(t.Context(), def.Probe, def.Settings)
	if r.Status != mesh.HealthPassing {
		t.Errorf("it is %s where all is well: %s", r.Status, r.Output)
	}
	if len(r.Output) > 200 || strings.Contains(r.Output, "\n") || r.Output == "" {
		t.Errorf("a passing output is one short line, got %q", r.Output)
	}
	checkResult(t, r)
}

// stable lets numbers move between two runs, but no text.
func stable(t *testing.T, set *checks.Set, def mesh.CheckDef) {
	first := set.Run(t.Context(), def.Probe, nil)
	for range 5 {
		again := set.Run(t.Context(), def.Probe, nil)
		if diff := cmp.Diff(first.Output, again.Output); diff != "" {
			t.Fatalf("the output changes by itself (-first +again):\n%s", diff)
		}
	}
}

// hostile gives every setting values that nobody means.
func hostile(t *testing.T, set *checks.Set, def mesh.CheckDef) {
	values := []string{
		"-1", "NaN", "1e999", "-Inf", "%s%n%s", "\x00", "\xff\xfe", "90%%", "0x10", strings.Repeat("9", 5000),
		"٣", "1 2", "off off", "../../etc", "GB", "[", "*[", "",
	}
	for name := range def.Settings {
		for _, v := range values {
			r := set.Run(t.Context(), def.Probe, map[string]string{name: v})
			checkResult(t, r)
			if strings.Contains(r.Output, "has a fault") {
				t.Errorf("%s = %.20q: %s", name, v, r.Output)
			}
			if r.Status == mesh.HealthUnknown && !strings.Contains(r.Output, name) {
				t.Errorf("%s = %.20q: the output does not name the setting: %s", name, v, r.Output)
			}
		}
	}
	r := set.Run(t.Context(), def.Probe, map[string]string{"no_such_setting": "1"})
	if r.Status != mesh.HealthUnknown || !strings.Contains(r.Output, "no_such_setting") {
		t.Errorf("a setting that does not exist: %s, %q", r.Status, r.Output)
	}
}

func ended(t *testing.T, set *checks.Set, def mesh.CheckDef) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checkResult(t, within(t, func() checks.Result { return set.Run(ctx, def.Probe, nil) }))
}

// slow ends the context while the probe waits.
func slow(t *testing.T, p checks.Pack, waits []string) {
	set, err := checks.NewSet([]checks.Pack{p})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range waits {
		t.Run("a source that does not answer/"+name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			r := within(t, func() checks.Result { return set.Run(ctx, p.Name+"."+name, nil) })
			if r.Status == mesh.HealthPassing {
				t.Errorf("it passes though nothing answered: %s", r.Output)
			}
			checkResult(t, r)
		})
	}
}

func within(t *testing.T, run func() checks.Result) checks.Result {
	t.Helper()
	got := make(chan checks.Result, 1)
	go func() { got <- run() }()
	select {
	case r := <-got:
		return r
	case <-time.After(hang):
		t.Fatal("the probe does not return when its context ends")
		return checks.Result{}
	}
}

// checkResult holds every result against what its readers expect.
func checkResult(t *testing.T, r checks.Result) {
	t.Helper()
	if !utf8.ValidString(r.Output) || len(r.Output) > mesh.MaxCheckOutput || r.Output == "" {
		t.Errorf("output of %d bytes: %.80q", len(r.Output), r.Output)
	}
	if want := mesh.Disks(r.Disks); !slices.Equal(r.Disks, want) {
		t.Errorf("it names the disks %q, want them as %q", r.Disks, want)
	}
	seen := make(map[string]bool)
	for _, s := range r.Samples {
		var faults []string
		if s.Name == "" || seen[s.Name] {
			faults = append(faults, "its name is empty or not its own")
		}
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			faults = append(faults, fmt.Sprintf("its value is %v", s.Value))
		}
		switch s.Unit {
		case "", "s", "B", "%", "c":
		default:
			faults = append(faults, "its unit is no base unit")
		}
		if len(faults) > 0 {
			t.Errorf("sample %+v: %s", s, strings.Join(faults, ", "))
		}
		seen[s.Name] = true
	}
}
