package cluster

import (
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestStartRefuses(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lib := t.TempDir()
	if err := os.WriteFile(filepath.Join(lib, "a.jar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ALPS_HADOOP", lib)
	java := filepath.Join(t.TempDir(), "bin", "java")
	if err := errors.Join(os.MkdirAll(filepath.Dir(java), 0o700), os.WriteFile(java, []byte("#!/bin/sh\necho no Java\nexit 1\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", filepath.Dir(filepath.Dir(java)))
	for name, tc := range map[string]struct {
		o    Options
		code mesh.Code
		says string
	}{
		"more names than nodes":         {Options{DataNodes: 1, Names: []string{"a", "b"}}, mesh.Invalid, "2 names for 1 DataNodes"},
		"a name twice":                  {Options{Names: []string{"a", "a"}}, mesh.Invalid, `"a" is unnamed, there twice`},
		"a name that is a path":         {Options{Names: []string{"../a"}}, mesh.Invalid, `"../a"`},
		"two NameNodes without HA":      {Options{NameNodes: []string{"a", "b"}}, mesh.Invalid, "2 names for 1 NameNodes"},
		"too many":                      {Options{DataNodes: maxDataNodes + 1}, mesh.Invalid, "at most 200"},
		"racks on loopback":             {Options{Racks: []string{"/a", "/b", "/c", "/d"}}, mesh.Invalid, "racks"},
		"a directory of somebody else":  {Options{Dir: foreign}, mesh.Conflict, "is not empty"},
		"jars that are not there":       {Options{Jars: foreign}, mesh.NotFound, "holds none"},
		"a NameNode that cannot format": {Options{}, mesh.Internal, "no Java"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Start(t.Context(), tc.o)
			if mesh.CodeOf(err) != tc.code || err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Start = %v, %v (code %q), want %q and that %q", c, err, mesh.CodeOf(err), tc.code, tc.says)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(foreign, "precious")); err != nil {
		t.Error(err)
	}
}

func TestSiteXML(t *testing.T) {
	want := map[string]string{"a": "1 < 2 & 3", "b": "", "c.d": "[DISK]file:///x,[DISK]file:///y"}
	var doc struct {
		Property []struct {
			Name  string `xml:"name"`
			Value string `xml:"value"`
		} `xml:"property"`
	}
	if err := xml.Unmarshal([]byte(siteXML(want)), &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range doc.Property {
		got[p.Name] = p.Value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("siteXML (-want +got):\n%s", diff)
	}
}

// TestFaults breaks a directory in each way, and asks it as a disk is asked.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		root   bool
		breaks func(dir string) (func() error, error)
		write  error // what a write into current says.
	}{
		"read-only":           {true, ReadOnly, syscall.EROFS},
		"empty and read-only": {true, EmptyReadOnly, syscall.ENOENT},
		"full":                {true, Fill, syscall.ENOENT},
		"spoilt":              {false, SpoilCurrent, syscall.ENOTDIR},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.root {
				mustRoot(t)
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "current", "block")
			write := func(text string) error { return os.WriteFile(file, []byte(text), 0o600) }
			if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), write("content")); err != nil {
				t.Fatal(err)
			}
			mend, err := tc.breaks(dir)
			if err != nil {
				t.Fatal(err)
			}
			if broken, err := Broken(dir); err != nil || !broken {
				t.Errorf("Broken = %v, %v", broken, err)
			}
			if err := write("other"); !errors.Is(err, tc.write) {
				t.Errorf("a write: %v, want %v", err, tc.write)
			}
			if name == "full" {
				if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("a write beside: %v, want %v", err, syscall.ENOSPC)
				}
			}
			if _, err := tc.breaks(dir); mesh.CodeOf(err) != mesh.Conflict {
				t.Errorf("broken again: %v, want a conflict", err)
			}
			for range 2 {
				if err := mend(); err != nil {
					t.Errorf("mend: %v", err)
				}
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != "content" {
				t.Errorf("after mend: %q, %v, want what was there", got, err)
			}
			if broken, err := Broken(dir); err != nil || broken {
				t.Errorf("Broken after mend = %v, %v", broken, err)
			}
		})
	}
}

func TestFaultsOfADiskThatIsNotThere(t *testing.T) {
	nothing := filepath.Join(t.TempDir(), "nothing")
	for name, breaks := range map[string]func(dir string) (func() error, error){
		"ReadOnly": ReadOnly, "EmptyReadOnly": EmptyReadOnly, "Fill": Fill, "SpoilCurrent": SpoilCurrent,
	} {
		if _, err := breaks(nothing); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s = %v, want that it does not exist", name, err)
		}
	}
	if err := Mend(nothing); err != nil {
		t.Errorf("Mend = %v", err)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
