package ui

import (
	"bytes"
	"context"
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

//go:embed src
var sources embed.FS

// source calls f for each file of the application.
func source(t *testing.T, f func(name, text string)) {
	t.Helper()
	seen := 0
	err := fs.WalkDir(sources, "src", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := sources.ReadFile(name)
		seen++
		f(name, string(b))
		return err
	})
	if err != nil || seen < 20 {
		t.Fatalf("looked at %d files: %v", seen, err)
	}
}

// TestNothingWritesHTML keeps every way out by which foreign text could become
// more than text.
func TestNothingWritesHTML(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|createContextualFragment|DOMParser|\beval\(|new Function|javascript:`)
	source(t, func(name, text string) {
		if m := forbidden.FindString(text); m != "" {
			t.Errorf("%s uses %s", name, m)
		}
	})
}

// TestNothingIsFetchedFromElsewhere: the pages work where there is no internet.
func TestNothingIsFetchedFromElsewhere(t *testing.T) {
	address := regexp.MustCompile(`https?://[^\s"'` + "`" + `)]+`)
	source(t, func(name, text string) {
		for _, m := range address.FindAllString(text, -1) {
			if m != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", name, m)
			}
		}
	})
}

// TestFilesOfTheApplicationStayReadable holds them to what holds for Go.
func TestFilesOfTheApplicationStayReadable(t *testing.T) {
	const most = 500
	source(t, func(name, text string) {
		if n := strings.Count(text, "\n"); n > most {
			t.Errorf("%s has %d lines, at most %d fit one thought", name, n, most)
		}
	})
}

var (
	entry       = regexp.MustCompile(`(?m)^  "([^"]+)": "(.*)",$`)
	placeholder = regexp.MustCompile(`\{\w+\}`)
)

func texts(t *testing.T, name string) map[string]string {
	t.Helper()
	b, err := sources.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range entry.FindAllStringSubmatch(string(b), -1) {
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s has %s twice", name, m[1])
		}
		out[m[1]] = m[2]
	}
	if len(out) < 300 {
		t.Fatalf("%s has %d texts: this test would check nothing", name, len(out))
	}
	return out
}

func TestBothLanguagesAreComplete(t *testing.T) {
	en, zh := texts(t, "src/en.ts"), texts(t, "src/zh.ts")
	chinese := regexp.MustCompile(`\p{Han}`)
	for key, text := range en {
		other, ok := zh[key]
		if !ok || other == "" {
			t.Errorf("zh.ts lacks %s", key)
			continue
		}
		if diff := cmp.Diff(names(text), names(other)); diff != "" {
			t.Errorf("%s holds other values (-en +zh):\n%s", key, diff)
		}
		if chinese.MatchString(text) {
			t.Errorf("en.ts: %s is not English: %s", key, text)
		}
	}
	for key := range zh {
		if _, ok := en[key]; !ok {
			t.Errorf("en.ts lacks %s", key)
		}
	}
}

// names returns which values a text takes.
func names(text string) map[string]bool {
	out := map[string]bool{}
	for _, p := range placeholder.FindAllString(text, -1) {
		out[p] = true
	}
	return out
}

// TestTextsAreUsed finds what was left behind. A word of the API is used by
// its prefix.
func TestTextsAreUsed(t *testing.T) {
	var all strings.Builder
	source(t, func(name, text string) {
		if name != "src/en.ts" && name != "src/zh.ts" {
			all.WriteString(text)
		}
	})
	code := all.String()
	for key := range texts(t, "src/en.ts") {
		prefix, _, _ := strings.Cut(key, ".")
		used := strings.Contains(code, `"`+key+`"`) || strings.Contains(code, "`"+prefix+".${") || strings.Contains(code, `word("`+prefix+`"`)
		if !used {
			t.Errorf("nothing shows %s", key)
		}
	}
}

// node runs a program of the build with Node, and skips the test where it or
// the packages of package-lock.json are not there.
func node(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	if _, err := os.Stat("node_modules/esbuild"); err != nil {
		t.Skip("the packages are not there: npm ci in ui")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if said, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		t.Fatalf("node %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

func TestTypes(t *testing.T) { node(t, "node_modules/typescript/bin/tsc", "--noEmit") }

func TestFunctionsOfTheApplication(t *testing.T) { node(t, "test/run.mjs") }

// TestBuildIsUpToDate builds again and compares.
func TestBuildIsUpToDate(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	node(t, "build.mjs", "--out", out)
	committed, fresh := tree(t, "dist"), tree(t, out)
	for name, want := range fresh {
		if got, ok := committed[name]; !ok {
			t.Errorf("dist lacks %s: run npm run build in ui", name)
		} else if !bytes.Equal(got, want) {
			t.Errorf("dist/%s is not what the sources give: run npm run build in ui", name)
		}
	}
	for name := range committed {
		if _, ok := fresh[name]; !ok {
			t.Errorf("dist/%s is of an older build: run npm run build in ui", name)
		}
	}
}

func tree(t *testing.T, root string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root+string(filepath.Separator))] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
