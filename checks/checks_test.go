package checks

import (
	"context"
	"errors"
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

func TestManyFindingsAreOneProblem(t *testing.T) {
	var f Findings
	for i := range 30 {
		f.Add(mesh.HealthWarning, "warning %d", i)
	}
	f.Add(mesh.HealthCritical, "the worst")
	f.Add(mesh.HealthUnknown, "nobody knows")
	r := f.Result("well")
	lines := strings.Split(r.Output, "\n")
	if r.Status != mesh.HealthCritical || lines[0] != "the worst" || len(lines) != maxFindings+1 || lines[maxFindings] != "and 22 more" {
		t.Errorf("got %s:\n%s", r.Status, r.Output)
	}
}

func TestWorse(t *testing.T) {
	off := math.NaN()
	for name, tc := range map[string]struct {
		value, warn, critical float64
		want                  mesh.Health
	}{
		"below":           {1, 2, 3, mesh.HealthPassing},
		"at the first":    {2, 2, 3, mesh.HealthWarning},
		"at the second":   {3, 2, 3, mesh.HealthCritical},
		"both off":        {9, off, off, mesh.HealthPassing},
		"the first off":   {2, off, 3, mesh.HealthPassing},
		"the second off":  {9, 2, off, mesh.HealthWarning},
		"in wrong order":  {2, 9, 1, mesh.HealthCritical},
		"nobody knows it": {off, 1, 1, mesh.HealthPassing},
	} {
		t.Run(name, func(t *testing.T) {
			var f Findings
			f.Worse(tc.value, tc.warn, tc.critical, "it is too much")
			if got := f.Result("well").Status; got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestHere(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		applies   func(context.Context) (bool, error)
		appliesTo func(context.Context, string) (bool, error)
		want      string
		err       error
	}{
		"everywhere":      {nil, nil, "demo.one demo.two", nil},
		"not here":        {func(context.Context) (bool, error) { return false, nil }, nil, "", nil},
		"nobody knows":    {func(context.Context) (bool, error) { return true, broken }, nil, "", broken},
		"one of two":      {nil, func(_ context.Context, p string) (bool, error) { return p == "demo.two", nil }, "demo.two", nil},
		"one of two, ill": {nil, func(_ context.Context, p string) (bool, error) { return true, broken }, "", broken},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := NewPack("demo", definitions, map[string]Probe{"one": ProbeFunc(passing), "two": ProbeFunc(passing)})
			if err != nil {
				t.Fatal(err)
			}
			p.Applies, p.AppliesTo = tc.applies, tc.appliesTo
			here, err := p.Here(t.Context())
			var got []string
			for _, c := range here {
				got = append(got, c.Probe)
			}
			if strings.Join(got, " ") != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Here: %v, %v, want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestAsk(t *testing.T) {
	pack := Pack{Name: "demo", Judges: map[string]Judge{
		"good": {Keys: []string{"a", "b"}, Ask: func(_ context.Context, a Args) mesh.Answer {
			return mesh.Answer{Verdict: mesh.VerdictOK, Facts: map[string]string{"got": a.Get("a") + a.Get("b") + a.Get("c")}}
		}},
		"panics": {Ask: func(context.Context, Args) mesh.Answer { panic("index out of range") }},
		"silent": {Ask: func(context.Context, Args) mesh.Answer { return mesh.Answer{} }},
		"waits":  {Ask: func(context.Context, Args) mesh.Answer { return Wait("%d blocks are left", 3) }},
	}}
	set, err := NewSet([]Pack{pack})
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"ALPS_FACT_B=fact", "ALPS_FACT_A=hidden", "OTHER=x", "ALPS_FACT_C=c"}
	for name, tc := range map[string]struct {
		judge string
		given map[string]string
		want  mesh.Answer
	}{
		"good":           {"demo.good", map[string]string{"a": "said-"}, mesh.Answer{Verdict: mesh.VerdictOK, Facts: map[string]string{"got": "said-factc"}}},
		"waits":          {"demo.waits", nil, mesh.Answer{Verdict: mesh.VerdictWait, Reason: "3 blocks are left"}},
		"a typing error": {"demo.good", map[string]string{"aa": "1"}, Refuse(`demo.good knows no "aa": it may be told a, b`)},
		"no such judge":  {"demo.none", nil, Refuse(`there is no judge "demo.none": it is none of demo.good, demo.panics, demo.silent, demo.waits`)},
		"a fault":        {"demo.panics", nil, Refuse("demo.panics has a fault: index out of range")},
		"nothing said":   {"demo.silent", nil, Refuse("demo.silent gave no answer")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, set.Ask(t.Context(), tc.judge, NewArgs(tc.given, environ))); diff != "" {
				t.Errorf("Ask (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := NewSet([]Pack{pack, pack}); err == nil {
		t.Error("two packs with one judge were taken")
	}
}

func TestFindingsNameDisks(t *testing.T) {
	for name, tt := range map[string]struct {
		find func(*Findings)
		want []string
	}{
		"none":           {func(*Findings) {}, nil},
		"each once":      {func(f *Findings) { f.Disk("sdc1"); f.Disk("sdb1"); f.Disk("sdc1") }, []string{"sdb1", "sdc1"}},
		"nobody knows":   {func(f *Findings) { f.Disk("") }, nil},
		"with a problem": {func(f *Findings) { f.Add(mesh.HealthCritical, "bad"); f.Disk("sdb1") }, []string{"sdb1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var f Findings
			tt.find(&f)
			if diff := cmp.Diff(tt.want, f.Result("well").Disks); diff != "" {
				t.Errorf("disks (-want +got):\n%s", diff)
			}
		})
	}
}
