package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is how a page of docs/decisions names a module.
var module = regexp.MustCompile("`((?:[a-z0-9-]+\\.)+[a-z]+/[A-Za-z0-9_./-]+)`")

func TestEveryDependencyIsADecision(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "[0-9]*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	var decided []string
	for _, name := range pages {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range module.FindAllStringSubmatch(string(text), -1) {
			decided = append(decided, m[1])
		}
	}
	told := make(map[string]bool)
	for _, p := range list(t) {
		for _, i := range p.allImports() {
			first, _, _ := strings.Cut(i, "/")
			foreign := strings.Contains(first, ".")
			if foreign && !under(i, decided...) && !told[i] {
				told[i] = true
				t.Errorf("%s imports %s, which no page of docs/decisions names", p.path(), i)
			}
		}
	}
	for _, d := range decided {
		used := slices.ContainsFunc(list(t), func(p pkg) bool {
			return slices.ContainsFunc(p.allImports(), func(i string) bool { return under(i, d) })
		})
		if !used {
			t.Errorf("docs/decisions names %s, which nothing imports any more", d)
		}
	}
}
