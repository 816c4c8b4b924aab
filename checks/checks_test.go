package checks

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"alps/mesh"
)

const definitions = `
check "demo-one" {
  probe    = "demo.one"
  notes    = "n"
  settings = { warn = "90%", large = "20GB" }
}
check "demo-two" { probe = "demo.two" }
`

func passing(context.Context, *Settings) Result {
	return Result{Status: mesh.HealthPassing, Output: "well"}
}

func TestNewPack(t *testing.T) {
	p := ProbeFunc(passing)
	for name, tc := range map[string]struct {
		hcl    string
		probes map[string]Probe
		want   string
	}{
		"good":                  {definitions, map[string]Probe{"one": p, "two": p}, ""},
		"not HCL":               {"check {", map[string]Probe{}, "demo/pack.hcl:1"},
		"a probe too few":       {definitions, map[string]Probe{"one": p}, "check demo-two runs no probe of it"},
		"a probe too many":      {definitions, map[string]Probe{"one": p, "two": p, "three": p}, "3 probes have 2 checks"},
		"a probe with two":      {definitions + `check "demo-three" { probe = "demo.two" }`, map[string]Probe{"one": p, "two": p}, "two checks run demo.two"},
		"a check of another":    {`check "a" { probe = "host.disk" }`, map[string]Probe{}, "check a runs no probe of it"},
		"a check without probe": {`check "a" { tcp = "localhost:1" }`, map[string]Probe{}, "check a runs no probe of it"},
		"a service":             {definitions + `service "web" {}`, map[string]Probe{"one": p, "two": p}, "1 services"},
	} {
		t.Run(name, func(t *testing.T) {
			pack, err := NewPack("demo", tc.hcl, tc.probes)
			if tc.want == "" {
				if err != nil || pack.Checks[0].Origin != "pack demo" {
					t.Errorf("NewPack: %v, %+v", err, pack.Checks)
				}
				if diff := cmp.Diff([]string{"demo.one", "demo.two"}, pack.Names()); diff != "" {
					t.Errorf("Names (-want +got):\n%s", diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewPack: %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestSetRun(t *testing.T) {
	probe := func(f func(s *Settings) Result) ProbeFunc {
		return func(_ context.Context, s *Settings) Result { return f(s) }
	}
	for name, tc := range map[string]struct {
		run      func(s *Settings) Result
		name     string
		settings map[string]string
		want     Result
	}{
		"defaults": {
			func(s *Settings) Result { return Result{Status: mesh.HealthPassing, Output: s.Text("warn")} },
			"demo.one", nil,
			Result{Status: mesh.HealthPassing, Output: "90%"},
		},
		"what differs": {
			func(s *Settings) Result {
				return Result{Status: mesh.HealthWarning, Output: s.Text("warn") + s.Text("large")}
			},
			"demo.one",
			map[string]string{"warn": "1%"},
			Result{Status: mesh.HealthWarning, Output: "1%20GB"},
		},
		"no such probe": {nil, "demo.none", nil, Unknown(`there is no probe "demo.none": it is none of demo.one, demo.two`)},
		"a panic": {
			func(*Settings) Result { panic("index out of range") },
			"demo.one", nil, Unknown("probe demo.one has a fault: index out of range"),
		},
		"no status": {func(*Settings) Result { return Result{} }, "demo.one", nil, Unknown("probe demo.one gave no status")},
		"too long": {
			func(*Settings) Result {
				return Result{Status: mesh.HealthPassing, Output: strings.Repeat("é", mesh.MaxCheckOutput)}
			},
			"demo.one", nil,
			Result{Status: mesh.HealthPassing, Output: strings.Repeat("é", mesh.MaxCheckOutput/2)},
		},
		"not UTF-8": {
			func(*Settings) Result { return Result{Status: mesh.HealthPassing, Output: "a\xffb"} },
			"demo.one", nil,
			Result{Status: mesh.HealthPassing, Output: "ab"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pack, err := NewPack("demo", definitions, map[string]Probe{"one": probe(tc.run), "two": ProbeFunc(passing)})
			if err != nil {
				t.Fatal(err)
			}
			set, err := NewSet([]Pack{pack})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, set.Run(t.Context(), tc.name, tc.settings)); diff != "" {
				t.Errorf("Run (-want +got):\n%s", diff)
			}
			if _, err := NewSet([]Pack{pack, pack}); err == nil {
				t.Error("two packs of one name were taken")
			}
		})
	}
}

func TestSettings(t *testing.T) {
	nan := math.NaN()
	for name, tc := range map[string]struct {
		value string
		read  func(s *Settings) float64
		want  float64
		bad   bool
	}{
		"percent":            {"90%", percent, 90, false},
		"percent, bare":      {"12.5", percent, 12.5, false},
		"percent, off":       {"off", percent, nan, false},
		"percent, too much":  {"101%", percent, 101, true},
		"percent, negative":  {"-1%", percent, nan, true},
		"number":             {" 3 ", number, 3, false},
		"number, empty":      {"", number, nan, true},
		"number, infinite":   {"1e999", number, nan, true},
		"number, none":       {"NaN", number, nan, true},
		"size":               {"20GB", size, 20e9, false},
		"size, binary":       {"1.5GiB", size, 1.5 * (1 << 30), false},
		"size, bytes":        {"512", size, 512, false},
		"size, off":          {"off", size, nan, false},
		"size, strange":      {"20Gb", size, nan, true},
		"size, unit alone":   {"GB", size, nan, true},
		"duration":           {"1m", duration, 60, false},
		"duration, bare":     {"60", duration, nan, true},
		"duration, negative": {"-1s", duration, nan, true},
		"duration, off":      {"off", duration, nan, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSettings(map[string]string{"x": ""}, map[string]string{"x": tc.value})
			got := tc.read(s)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.value, diff)
			}
			if err := s.Err(); (err != nil) != tc.bad || err != nil && !strings.Contains(err.Error(), "setting x") {
				t.Errorf("%q: Err: %v, want one: %v", tc.value, err, tc.bad)
			}
		})
	}
}

func percent(s *Settings) float64  { return s.Percent("x") }
func number(s *Settings) float64   { return s.Number("x") }
func size(s *Settings) float64     { return s.Size("x") }
func duration(s *Settings) float64 { return s.Duration("x") }

func TestSettingsThatDoNotExist(t *testing.T) {
	s := NewSettings(map[string]string{"warn": "1", "critical": "2"}, map[string]string{"b": "1", "a": "1"})
	want := `there is no setting "a": want one of critical, warn; there is no setting "b": want one of critical, warn`
	if err := s.Err(); err == nil || err.Error() != want {
		t.Errorf("Err: %v, want %s", err, want)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("90%")
	f.Add("20GiB")
	f.Add("1m30s")
	f.Add("off")
	f.Fuzz(func(t *testing.T, v string) {
		for _, read := range []func(*Settings) float64{percent, number, size, duration} {
			s := NewSettings(map[string]string{"x": ""}, map[string]string{"x": v})
			got := read(s)
			if s.Err() == nil && (got < 0 || math.IsInf(got, 0)) {
				t.Errorf("%q reads as %v", v, got)
			}
		}
		NewSettings(map[string]string{"x": ""}, map[string]string{"x": v}).Words("x")
	})
}

func TestOverride(t *testing.T) {
	def := mesh.CheckDef{
		ID: "host-disk", Probe: "host.disk", Interval: 30 * time.Second,
		Settings: map[string]string{"warn": "90%", "critical": "95%"},
	}
	values := map[string]string{
		"check/host-disk/warn":     "80%",
		"check/host-disk/interval": "1s",
		"check/other/critical":     "1%",
		"warn":                     "2%",
	}
	got := Override(def, func(name string) (string, bool) { v, ok := values[name]; return v, ok })
	want := def
	want.Settings = map[string]string{"warn": "80%", "critical": "95%"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Override (-want +got):\n%s", diff)
	}
	if def.Settings["warn"] != "90%" {
		t.Error("Override has changed what it was given")
	}
}
