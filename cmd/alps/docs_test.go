package main

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/cmd/alps/internal/dev"
)

var update = flag.Bool("update", false, "write the true output into the documents")

// TestDocs runs every console block of the documents against the deck's
// cluster, in order, and compares what is printed with what is written. Times,
// durations, ids and sizes of this machine are compared by their form alone.
// `go test ./cmd/alps -run TestDocs -update` writes the true output.
func TestDocs(t *testing.T) {
	c := sharedCluster(t)
	token, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "ALPS_ADDR="+c.Address(), "ALPS_TOKEN="+token, "ALPS_CACERT="+c.CACert(),
		"CONSUL_HTTP_ADDR="+c.Consul().Nodes()[0].HTTPAddr(), "DEV="+c.Dir())
	for _, path := range []string{"README.md", "docs/claims.md"} {
		t.Run(path, func(t *testing.T) {
			file := filepath.Join("..", "..", path)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			doc := parseConsole(string(text))
			ran := 0
			for i, b := range doc {
				if b.command == "" {
					continue
				}
				ran++
				got := strings.ReplaceAll(shell(t, env, b.command), c.Consul().Subnet()+".", dev.Subnet+".")
				if diff := cmp.Diff(normal(b.output), normal(got)); diff != "" && !*update {
					t.Errorf("$ %s (-written +printed):\n%s", b.command, diff)
				}
				doc[i].output = got
			}
			if ran == 0 {
				t.Errorf("%s has no console block", path)
			}
			if *update {
				if err := os.WriteFile(file, []byte(doc.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// shell runs one command line as a reader would and returns what it printed,
// with its exit code when that is not 0.
func shell(t *testing.T, env []string, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = env
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		text += "[" + err.Error() + "]\n"
	}
	return text
}

// piece is a run of a document: text as it is, or one command of a console
// block with its output.
type piece struct{ text, command, output string }

type document []piece

// parseConsole cuts a document at the commands ("$ …") of its console blocks.
// What stands between a command and the next one, or the end of the block, is
// its output.
func parseConsole(s string) document {
	var doc document
	inside := false
	for line := range strings.Lines(s) {
		switch {
		case !inside:
			inside = strings.TrimSpace(line) == "```console"
			doc = append(doc, piece{text: line})
		case strings.HasPrefix(line, "```"):
			inside = false
			doc = append(doc, piece{text: line})
		case strings.HasPrefix(line, "$ "):
			doc = append(doc, piece{command: strings.TrimSpace(line[2:])})
		default:
			doc[len(doc)-1].output += line
		}
	}
	return doc
}

func (d document) String() string {
	var b strings.Builder
	for _, p := range d {
		b.WriteString(p.text)
		if p.command != "" {
			b.WriteString("$ " + p.command + "\n")
		}
		b.WriteString(p.output)
	}
	return b.String()
}

// forms are what differs from run to run and from machine to machine.
var forms = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<node id>"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z| UTC)?`), "<time>"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "<time>"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s|m|h)\b`), "<duration>"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (ms|s|seconds)\b`), "<duration>"},
	{regexp.MustCompile(`\b\d+ event, \d+ watch, \d+ poll`), "<woke>"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (GiB|MiB|KiB)\b`), "<size>"},
	{regexp.MustCompile(`(?m)\b\d+ +\d+(\.\d+)?[KMGT]$`), "<cpu> <size>"},
	{regexp.MustCompile(`(?m)[ \t]+`), " "},
}

func normal(s string) string {
	for _, f := range forms {
		s = f.pattern.ReplaceAllString(s, f.name)
	}
	return s
}
