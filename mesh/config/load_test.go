package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"alps/mesh"
)

var update = flag.Bool("update", false, "write what the tests get as what they want")

// TestCases loads every testdata/*.txtar: the files in it are the
// configuration, "want" is the error, or the result as JSON. With a directory
// conf/ the directory is loaded, else the file agent.* or server.*.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			runCase(t, name, func(path string) (any, error) {
				if strings.HasPrefix(filepath.Base(path), "server") {
					return LoadServer(path)
				}
				return LoadAgent(path)
			})
		})
	}
}

// runCase compares what load makes of the files of a case with its file want.
func runCase(t *testing.T, name string, load func(path string) (any, error)) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
	if i < 0 {
		t.Fatal("the case has no file want")
	}
	got := loadCase(t, archive.Files[:i], load)
	if good := strings.HasPrefix(filepath.Base(name), "good"); good && !strings.HasPrefix(got, "{") {
		t.Errorf("a good case is refused:\n%s", got)
	}
	if *update {
		archive.Files[i].Data = []byte(got)
		if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(archive.Files[i].Data), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// loadCase writes the files and loads them, and returns what came of it.
func loadCase(t *testing.T, files []txtar.File, load func(path string) (any, error)) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, files[0].Name)
	if first, _, ok := strings.Cut(files[0].Name, "/"); ok {
		path = filepath.Join(dir, first)
	}
	got, err := load(path)
	if err != nil {
		if mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("code = %q, want %q", mesh.CodeOf(err), mesh.Invalid)
		}
		return strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), dir+"/", "") + "\n"
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		path string
		code mesh.Code
	}{
		"absent":               {filepath.Join(dir, "none.hcl"), mesh.NotFound},
		"an empty directory":   {t.TempDir(), mesh.NotFound},
		"neither hcl nor json": {write("agent.yaml", 1), mesh.Invalid},
		"too large":            {write("large.hcl", maxFile+1), mesh.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadAgent(tc.path)
			if got := mesh.CodeOf(err); got != tc.code {
				t.Fatalf("LoadAgent(%s): code %q, want %q (%v)", tc.path, got, tc.code, err)
			}
			if !strings.Contains(err.Error(), filepath.Dir(tc.path)) {
				t.Errorf("the error does not name the place: %v", err)
			}
		})
	}
}

func TestErrorsCanBeReadOneByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte("data_dir = \"/d\"\nexec {\n  slots = \"4\"\n}\nfact { }\nlogs = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadAgent(path)
	got, ok := errors.AsType[Errors](err)
	if !ok || len(got) != 2 {
		t.Fatalf("LoadAgent: got %v, want two Errors", err)
	}
	want := Error{
		File: path, Line: 3, Column: 3, Key: "exec.slots",
		Message: "exec.slots: want a whole number without quotes, got a string",
		Snippet: "    3 |   slots = \"4\"\n          ^^^^^",
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("first error (-want +got):\n%s", diff)
	}
}

func TestValidateNeedsNoFile(t *testing.T) {
	a := DefaultAgent()
	a.DataDir, a.Exec.Slots, a.Exec.Enabled = "/var/lib/alps", 0, "on"
	got, ok := errors.AsType[Errors](a.Validate())
	if !ok {
		t.Fatalf("Validate: got %v, want Errors", a.Validate())
	}
	var keys []string
	for _, e := range got {
		keys = append(keys, e.Key)
	}
	if diff := cmp.Diff([]string{"exec.enabled", "exec.slots"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestDefaultsLackOnlyTheDataDirectory(t *testing.T) {
	a, s := DefaultAgent(), DefaultServer()
	a.DataDir, s.DataDir = "/a", "/s"
	if err := errors.Join(a.Validate(), s.Validate()); err != nil {
		t.Errorf("defaults with a data_dir are not valid: %v", err)
	}
}

// commented is a line of a sample that shows a default.
var commented = regexp.MustCompile(`(?m)^( *)# ([a-z_]+ = )`)

func TestSamplesAreTheDefaults(t *testing.T) {
	t.Run("agent", func(t *testing.T) {
		want := DefaultAgent()
		want.DataDir = "/var/lib/alps"
		sample := fromSample(t, SampleAgent, DefaultAgent(), want)
		compareSample(t, sample, want)
	})
	t.Run("server", func(t *testing.T) {
		want := DefaultServer()
		want.DataDir = "/var/lib/alps-server"
		sample := fromSample(t, SampleServer, DefaultServer(), want)
		compareSample(t, sample, want)
	})
}

// fromSample parses a sample as it is, into want, and again with every
// commented key brought to life, into live, which it returns. It fails when a
// key is not shown.
func fromSample[C Agent | Server](t *testing.T, sample string, live, want *C) *C {
	t.Helper()
	if errs := merge("sample", []*source{parse("sample.hcl", []byte(sample))}, want); len(errs) > 0 {
		t.Errorf("the sample as it is: %v", errs)
	}
	s := parse("sample.hcl", []byte(commented.ReplaceAllString(sample, "$1$2")))
	if errs := merge("sample", []*source{s}, live); len(errs) > 0 {
		t.Errorf("the sample with every key: %v", errs)
	}
	shown := make(map[string]bool)
	for _, it := range s.items {
		shown[it.name] = true
		for _, inner := range it.items {
			shown[it.name+"."+inner.name] = true
		}
	}
	for _, k := range Describe(live) {
		if !shown[k.Path] {
			t.Errorf("the sample does not show %s", k.Path)
		}
	}
	return live
}

func compareSample[C Agent | Server](t *testing.T, got, want *C) {
	t.Helper()
	for _, c := range Changed(want, got) {
		t.Errorf("the sample shows another value for %s than the default", c.Key)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.hcl", []byte(SampleAgent))
	f.Add("a.hcl", []byte(commented.ReplaceAllString(SampleAgent, "$1$2")))
	f.Add("a.hcl", []byte("consul = { address = \"${x}\" }\nexec \"a\" {\n slots = 1e9\n}\nnode_name = <<E\n"))
	f.Add("a.json", []byte(`{"data_dir": "/d", "//": 1, "exec": {"slots": 4.5, "run_as": ["a", null]}, "exec": []}`))
	f.Add("a.json", []byte(`[{"token": "é\ttoken = x"}`))
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		a := DefaultAgent()
		errs := merge(name, []*source{parse(name, src), parse("second.hcl", []byte("exec { slots = 2 }"))}, a)
		if len(errs) > 0 {
			if errs.Error() == "" {
				t.Error("errors without a word")
			}
			return
		}
		if err := a.Validate(); err != nil {
			t.Errorf("loaded without errors, yet not valid: %v", err)
		}
	})
}

// txtarFile returns the files of a case that are configuration.
func txtarFile(name string) ([]txtar.File, error) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" }), nil
}
