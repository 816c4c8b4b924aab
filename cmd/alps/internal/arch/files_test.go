package arch

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top of the project.
const root = "../../../.."

// maxLines is where a file holds more than one thought. The house aims at 500.
const maxLines = 700

func TestFilesStayReadable(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path != root && strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "node_modules", "testdata"}, d.Name())):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go":
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		if n := bytes.Count(src, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, at most %d fit one thought", strings.TrimPrefix(path, root+"/"), n, maxLines)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Fatalf("looked at %d files: %v", seen, err)
	}
}

var (
	quoted = regexp.MustCompile("`([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*/?)`")
	linked = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// pathsIn returns the paths of the project that a document names: the targets
// of its links, and what stands in backquotes and has a slash or an extension
// of ours. What make builds, names in the key-value store and import paths of
// others are not the project's.
func pathsIn(text string) []string {
	var paths []string
	for _, m := range linked.FindAllStringSubmatch(text, -1) {
		paths = append(paths, m[1])
	}
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		p := m[1]
		first, _, nested := strings.Cut(p, "/")
		ours := nested || slices.Contains([]string{".md", ".mod", ".yml"}, filepath.Ext(p))
		if ours && first != "bin" && first != "alps" && (!strings.Contains(first, ".") || !nested || strings.HasPrefix(first, ".")) {
			paths = append(paths, p)
		}
	}
	return paths
}

func TestDocumentsNameWhatExists(t *testing.T) {
	for _, doc := range []string{"README.md", "AGENTS.md"} {
		t.Run(doc, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, doc))
			if err != nil {
				t.Fatal(err)
			}
			paths := pathsIn(string(text))
			if len(paths) == 0 {
				t.Fatal("it names no path: this test would check nothing")
			}
			for _, p := range paths {
				if _, err := os.Stat(filepath.Join(root, p)); err != nil {
					t.Errorf("%s names %s, which does not exist", doc, p)
				}
			}
		})
	}
}

func TestPathsIn(t *testing.T) {
	text := "See [it](docs/a.md#part), `mesh/query`, `go.mod`, `.ci/run` and `mesh/doc.go`;\n" +
		"not `bin/alps`, `alps/exec/`, `github.com/x/y`, `make test`, [web](https://x.example/y) or its `doc.go`."
	want := []string{"docs/a.md", "mesh/query", "go.mod", ".ci/run", "mesh/doc.go"}
	if got := pathsIn(text); !slices.Equal(got, want) {
		t.Errorf("pathsIn: got %q, want %q", got, want)
	}
}
