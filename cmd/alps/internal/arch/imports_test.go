package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A pkg is what the go command says about one package of the project.
type pkg struct {
	ImportPath, Dir, Doc string
	Imports              []string
	TestImports          []string
	XTestImports         []string
	Deps                 []string
}

// path is the import path below the module: "mesh/query".
func (p pkg) path() string { return below(p.ImportPath) }

func (p pkg) allImports() []string {
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

// below returns the path of a package of the project below the module, and
// that of a foreign one as it is.
func below(importPath string) string { return strings.TrimPrefix(importPath, "alps/") }

// under reports whether path is one of the roots or lies below it.
func under(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool {
		return path == r || strings.HasPrefix(path, r+"/")
	})
}

// packages lists the project once for all tests.
var packages = sync.OnceValues(func() ([]pkg, error) {
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,Deps", "alps/...").Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the list of packages: %w", err)
		}
		all = append(all, p)
	}
})

func list(t *testing.T) []pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: these tests would check nothing", len(all))
	}
	return all
}

// A rule forbids imports: what lies under from may not import what lies under
// any of to.
type rule struct {
	name string
	from string
	to   []string
	why  string
}

func layers() []rule {
	return []rule{
		{"mesh looks down", "mesh", []string{"agent", "server", "checks", "cmd"}, "everything leans on mesh, so it leans on nothing"},
		{"checks look down", "checks", []string{"agent", "server", "cmd"}, "a pack is used by the agent and does not know it"},
		{"agent is not the server", "agent", []string{"server", "cmd"}, "agent and server meet in mesh only"},
		{"server is not the agent", "server", []string{"agent", "checks", "cmd"}, "the server names a probe; a node runs it"},
		{"the client is not the server", "server/api/client", []string{"server/auth", "server/job", "server/cmdb", "server/store", "server/link", "server/enrol", "server/stream"}, "the CLI links the API's words, not what answers them"},
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, r := range layers() {
		t.Run(r.name, func(t *testing.T) {
			for _, p := range list(t) {
				imports := p.allImports()
				if r.from == "server/api/client" {
					imports = p.Imports // its tests may start a server.
				}
				for _, i := range imports {
					if under(p.path(), r.from) && under(below(i), r.to...) {
						t.Errorf("%s imports %s: %s", p.path(), below(i), r.why)
					}
				}
			}
		})
	}
}

func TestSiblingsNeverImportOneAnother(t *testing.T) {
	for _, p := range list(t) {
		for _, i := range p.Imports {
			if from, to := noun(p.path()), noun(below(i)); from != "" && to != "" && from != to && !meets(from) {
				t.Errorf("%s imports %s: declare the interface that you need, cmd/alps/internal/wire binds it", p.path(), below(i))
			}
		}
	}
}

// noun is the part of the agent or of the server that a package belongs to:
// "server/job" for server/job/jobtest; "" for a package outside the two.
func noun(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 2 || parts[0] != "agent" && parts[0] != "server" {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

// meets reports whether it is a noun's work to bring others together: the API
// speaks of all of them, and the store keeps their records.
func meets(noun string) bool { return noun == "server/api" || noun == "server/store" }

func TestForeignModulesStayWhereTheyBelong(t *testing.T) {
	for name, r := range map[string]struct {
		module string
		only   []string
	}{
		"Consul":  {"github.com/hashicorp/consul/api", []string{"mesh/consul"}},
		"DNS":     {"github.com/miekg/dns", []string{"agent/dns", "checks/dns"}},
		"SQLite":  {"modernc.org/sqlite", []string{"server/store/sqlite"}},
		"flags":   {"github.com/spf13/cobra", []string{"cmd/alps"}},
		"OpenAPI": {"github.com/danielgtaylor/huma", []string{"server/api"}},
		"HCL":     {"github.com/hashicorp/hcl", []string{"mesh/config", "checks"}},
		"testify": {"github.com/stretchr/testify", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range list(t) {
				for _, i := range p.allImports() {
					if under(i, r.module) && !under(p.path(), r.only...) {
						t.Errorf("%s imports %s, which belongs to %v", p.path(), i, r.only)
					}
				}
			}
		})
	}
}

func TestMeshItselfIsTheStandardLibrary(t *testing.T) {
	for _, p := range list(t) {
		if p.path() != "mesh" {
			continue
		}
		for _, i := range p.Imports {
			if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") || first == "alps" {
				t.Errorf("mesh imports %s", i)
			}
		}
		return
	}
	t.Fatal("there is no package mesh")
}

// TestTheAgentStaysSmall looks at what is linked in the end: an agent runs on
// every machine of an estate.
func TestTheAgentStaysSmall(t *testing.T) {
	heavy := []string{"modernc.org/sqlite", "github.com/danielgtaylor/huma", "github.com/prometheus", "alps/server", "go/parser"}
	for _, p := range list(t) {
		if !under(p.path(), "agent", "checks", "mesh/config") || strings.Contains(p.path(), "/internal/") {
			continue
		}
		for _, d := range p.Deps {
			if under(d, heavy...) {
				t.Errorf("%s links %s", p.path(), d)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.path())
		}
	}
}
