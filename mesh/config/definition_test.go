package config

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

// TestDefinitions loads every testdata/{checks,rules,manifest}/*.txtar as
// TestCases does.
func TestDefinitions(t *testing.T) {
	loaders := map[string]func(path string) (any, error){
		"checks": func(path string) (any, error) { return LoadChecks(path) },
		"rules":  func(path string) (any, error) { return LoadRules(path) },
		"manifest": func(path string) (any, error) {
			src, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			return ParseManifest(path, src)
		},
	}
	for kind, load := range loaders {
		cases, err := filepath.Glob(filepath.Join("testdata", kind, "*.txtar"))
		if err != nil || len(cases) == 0 {
			t.Fatalf("no cases of %s: %v", kind, err)
		}
		for _, name := range cases {
			t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
				runCase(t, name, load)
			})
		}
	}
}

func TestWhatDoesNotExistDefinesNothing(t *testing.T) {
	only := t.TempDir()
	if err := os.WriteFile(filepath.Join(only, "README"), []byte("not HCL"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{
		"absent":                  filepath.Join(t.TempDir(), "checks.d"),
		"an empty directory":      t.TempDir(),
		"only files of other use": only,
	} {
		t.Run(name, func(t *testing.T) {
			checks, err := LoadChecks(at)
			if diff := cmp.Diff(&Checks{}, checks); err != nil || diff != "" {
				t.Errorf("LoadChecks: %v (-want +got):\n%s", err, diff)
			}
			rules, err := LoadRules(at)
			if diff := cmp.Diff(&Rules{}, rules); err != nil || diff != "" {
				t.Errorf("LoadRules: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	dangling := filepath.Join(t.TempDir(), "checks.d")
	if err := os.Mkdir(dangling, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dangling, "a.hcl")); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large.hcl")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "checks.yaml")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		code mesh.Code
	}{
		"a file that is gone": {dangling, mesh.NotFound},
		"too large":           {large, mesh.TooLarge},
		"of another kind":     {other, mesh.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LoadChecks(tc.path)
			if got != nil || mesh.CodeOf(err) != tc.code {
				t.Errorf("LoadChecks(%s): %v, %v, want the code %q", tc.path, got, err, tc.code)
			}
		})
	}
}

func TestErrorsDoNotShowSecrets(t *testing.T) {
	for name, src := range map[string]string{
		"a URL that is none":     "receiver \"a\" {\n url = \"http://very-secret\x01\"\n}",
		"a wrong scheme":         "receiver \"a\" {\n url = \"ftp://very-secret/\"\n}",
		"a wrong type of header": "receiver \"a\" {\n url = \"http://a/\"\n header = { Authorization = [\"very-secret\"] }\n}",
		"a line break in one":    "receiver \"a\" {\n url = \"http://a/\"\n header = { A = \"very-secret\\n\" }\n}",
		"a password":             "receiver \"a\" {\n url = \"http://a/\"\n password = \"very-secret\"\n}",
		"a syntax error":         "receiver \"a\" {\n url = \"https://very-secret\n}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRules("rules.hcl", []byte(src))
			if err == nil || strings.Contains(err.Error(), "very-secret") {
				t.Errorf("ParseRules: got %v, want an error without the secret", err)
			}
		})
	}
}

// FuzzChecks, FuzzRules and FuzzManifest look for panics, and for results that break what the
// documentation promises.
func FuzzChecks(f *testing.F) {
	addCases(f, "checks")
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		got, err := ParseChecks(name, src)
		if err != nil {
			if got != nil || err.Error() == "" || mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("ParseChecks: %v, %v", got, err)
			}
			return
		}
		ids := make(map[string]bool)
		for _, s := range got.Services {
			ids["service "+s.ID] = true
		}
		for _, c := range got.Checks {
			ttl := c.Kind == mesh.CheckTTL
			switch {
			case badText(c.ID) != "" || path.Clean("/"+c.ID) != "/"+c.ID || badText(c.Name) != "" || c.Attempts < 1 || c.Origin == "":
				t.Errorf("not complete: %+v", c)
			case ids["check "+c.ID]:
				t.Errorf("two checks are called %q", c.ID)
			case c.Service != "" && !ids["service "+c.Service]:
				t.Errorf("check %q is of service %q, which is not defined", c.ID, c.Service)
			case ttl != (c.TTL > 0) || ttl == (c.Interval > 0) || ttl == (c.Timeout > 0):
				t.Errorf("check %q has the times %s, %s and %s", c.ID, c.TTL, c.Interval, c.Timeout)
			}
			ids["check "+c.ID] = true
		}
	})
}

func FuzzRules(f *testing.F) {
	addCases(f, "rules")
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		got, err := ParseRules(name, src)
		if err != nil {
			if got != nil || err.Error() == "" || mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("ParseRules: %v, %v", got, err)
			}
			return
		}
		rules := make(map[string]bool)
		for _, r := range got.Rules {
			if r.Name == "" || rules[r.Name] || len(r.Status) == 0 || r.Severity == "" {
				t.Errorf("not complete: %+v", r)
			}
			rules[r.Name] = true
		}
		for _, r := range got.Receivers {
			if (r.URL == "") == (len(r.Command) == 0) || r.Timeout <= 0 {
				t.Errorf("not complete: %+v", r)
			}
		}
		for _, p := range got.Policies {
			if !rules[p.Rule] || p.Timeout <= 0 || p.PerHour < 1 || p.Storm < 2 || p.Failures < 1 {
				t.Errorf("not complete: %+v", p)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	addCases(f, "manifest")
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		got, err := ParseManifest(name, src)
		if err != nil {
			if got != nil || err.Error() == "" || mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("ParseManifest: %v, %v", got, err)
			}
			return
		}
		blank := func(s string) bool { return strings.TrimSpace(s) == "" }
		if blank(got.Description) || blank(got.Changes) || got.Timeout < time.Second || got.Timeout > time.Hour {
			t.Errorf("not complete: %+v", got)
		}
		names := make(map[string]bool)
		for i, p := range got.Parameters {
			switch {
			case !parameterName.MatchString(p.Name) || blank(p.Description):
				t.Errorf("not complete: %+v", p)
			case names[p.Name]:
				t.Errorf("two parameters are called %q", p.Name)
			case i > 0 && p.Required && !got.Parameters[i-1].Required:
				t.Errorf("%q is required and stands behind one that is not", p.Name)
			}
			names[p.Name] = true
		}
	})
}

// addCases seeds a fuzz test with the files of the cases.
func addCases(f *testing.F, kind string) {
	f.Helper()
	cases, err := filepath.Glob(filepath.Join("testdata", kind, "*.txtar"))
	if err != nil || len(cases) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		archive, err := txtarFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive {
			f.Add(file.Name, file.Data)
		}
	}
}
