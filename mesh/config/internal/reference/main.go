// Command reference writes docs/config.md and docs/definitions.md: what every
// key of the configuration and of definitions is, taken from the comments of
// the structs that hold it.
//
//	go run ./internal/reference -config config.md -definitions definitions.md
//
// It is run by go generate in mesh/config; a test fails when a file on disk is
// not what it would write.
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"alps/mesh/config"
)

func main() {
	configOut := flag.String("config", "", "the file to write the configuration to")
	definitionsOut := flag.String("definitions", "", "the file to write the definitions to")
	flag.Parse()
	err := errors.Join(write(*configOut, reference), write(*definitionsOut, definitions))
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func write(path string, document func(dir string) (string, error)) error {
	text, err := document(".")
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

const intro = `# Configuration

<!-- Written by go generate from the comments in mesh/config. -->

` + "`alps agent`" + ` and ` + "`alps server`" + ` each read one file, which ends in ` + "`.hcl`" + ` or ` + "`.json`" + `, or a
directory of such files. The files of a directory are one configuration; a key
that is given twice is an error. Durations are strings such as ` + "`\"90s\"`, `\"5m\"` or `\"24h\"`" + `.
Keys marked *reload* are taken over when the process gets SIGHUP; a change of
any other needs a restart, and a reload with one is refused as a whole.

Commented samples: [agent.hcl](../mesh/config/sample/agent.hcl),
[server.hcl](../mesh/config/sample/server.hcl).
`

// reference reads the comments from the source of mesh/config in dir and
// returns the whole document.
func reference(dir string) (string, error) {
	docs, err := readComments(dir)
	if err != nil {
		return "", err
	}
	w := &writer{docs: docs}
	w.WriteString(intro)
	w.document("agent", "Agent", config.Describe(config.DefaultAgent()))
	w.document("server", "Server", config.Describe(config.DefaultServer()))
	if len(w.missing) > 0 {
		return "", fmt.Errorf("no comment on %s", strings.Join(w.missing, ", "))
	}
	return w.String(), nil
}

// readComments returns the comment of every struct, by its name, and of every
// field, by "Struct.Field".
func readComments(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("list the source in %s: %w", dir, err)
	}
	docs := make(map[string]string)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range decl.Specs {
				if spec, ok := s.(*ast.TypeSpec); ok {
					addStruct(docs, decl, spec)
				}
			}
		}
	}
	return docs, nil
}

func addStruct(docs map[string]string, decl *ast.GenDecl, spec *ast.TypeSpec) {
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	docs[spec.Name.Name] = oneLine(decl.Doc)
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			docs[spec.Name.Name+"."+n.Name] = oneLine(f.Doc)
		}
	}
}

func oneLine(c *ast.CommentGroup) string {
	return strings.Join(strings.Fields(c.Text()), " ")
}

type writer struct {
	strings.Builder
	docs    map[string]string
	missing []string
}

func (w *writer) document(name, root string, keys []config.Key) {
	fmt.Fprintf(w, "\n## %s.hcl\n", name)
	last := "\x00"
	for _, k := range keys {
		section, name, ok := strings.Cut(k.Path, ".")
		if !ok {
			section, name = "", k.Path
		}
		if section != last {
			w.section(section, root, k.Struct)
			last = section
		}
		w.key(name, k)
	}
}

func (w *writer) section(section, root, owner string) {
	if section == "" {
		fmt.Fprintf(w, "\n%s\n\n", w.doc(root))
	} else {
		fmt.Fprintf(w, "\n### %s { … }\n\n%s\n\n", section, w.doc(owner))
	}
	w.WriteString("| key | type | default | |\n|---|---|---|---|\n")
}

func (w *writer) key(name string, k config.Key) {
	notes := []string{w.doc(k.Struct + "." + k.Field)}
	if k.Bounds != "" {
		notes = append(notes, "Allowed: "+k.Bounds+".")
	}
	if k.Reload {
		notes = append(notes, "*reload*")
	}
	value := "`" + k.Default + "`"
	switch {
	case k.Required:
		value = "must be set"
	case k.Default == "":
		value = ""
	}
	fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", name, k.Type, value, strings.Join(notes, " "))
}

func (w *writer) doc(name string) string {
	d := w.docs[name]
	if d == "" {
		w.missing = append(w.missing, name)
	}
	return d
}
