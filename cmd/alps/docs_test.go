package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/cmd/alps/internal/dev"
)

var update = flag.Bool("update", false, "write the true output into the documents")

// TestDocs runs every console block of the documents on a cluster of `alps
// dev`, in order, and compares what is printed with what is written; a story
// block is compared with what `alps dev` itself tells from the last command
// on. Times, durations, ids and sizes of this machine are compared by their
// form alone. `go test ./cmd/alps -run TestDocs -update` writes the true
// output.
func TestDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	var args []string
	if *update { // so that columns stand as a reader sees them.
		args = []string{"--subnet", dev.Subnet}
	}
	n := &newcomer{dev: startDev(t, filepath.Join(t.TempDir(), "dev"), args...)}
	n.dev.awaitUp(t)
	three := fmt.Sprintf("web.service.%s is %s.3 %[2]s.4 %[2]s.5\n", dev.Domains()[0], dev.Subnet)
	eventually(t, "every agent answers for the demo service", func() bool { return strings.Contains(n.told(t), three) })
	for _, path := range []string{"README.md", "docs/claims.md"} {
		t.Run(path, func(t *testing.T) {
			file := filepath.Join("..", "..", path)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if m := preamble.FindSubmatch(text); m != nil {
				n.before = string(m[1])
			}
			// A document begins on a cluster that is well; the inventory may hear a
			// little later than the rules that what was broken works again.
			eventually(t, "the demo service is well in the inventory", func() bool {
				return n.shell(t, `. "$DEV/env" && alps service list | awk '$1 == "web" { print $4 }'`) == "3\n"
			})
			// And its packs have looked once, which takes them some seconds. What they
			// say is the machine's own business, so nobody insists.
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
				if n.shell(t, `. "$DEV/env" && alps node list 'status!=passing' | sed 1d`) == "" {
					break
				}
			}
			// Consul's agents tell their coordinates some seconds after they came up.
			if strings.Contains(string(text), "/rtt ") {
				eventually(t, "the round-trip times to all others are known", func() bool {
					return n.shell(t, `api nodes/bj-e-admin03/rtt | grep -o '"node"' | wc -l`) == "4\n"
				})
			}
			doc := parseConsole(string(text))
			ran := 0
			for i, b := range doc {
				switch {
				case b.story:
					doc[i].output = n.compareStory(t, b.output)
				case b.command != "":
					ran++
					doc[i].output = n.compare(t, b)
				}
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

// newcomer does what the documents say.
type newcomer struct {
	dev    *devRun
	before string // what the document says to type first.
	from   int    // what dev had told before the last command.
}

// preamble is what a document wants typed before its commands, behind the
// place of the cluster.
var preamble = regexp.MustCompile("(?s)```sh\nDEV=.*?\n(.*?)```")

// tools are what a machine may lack, by the word that shows that a command
// needs it.
var tools = map[string]*regexp.Regexp{
	"dig":  regexp.MustCompile(`^dig `),
	"curl": regexp.MustCompile(`^api |^checks$|[$][(]checks `),
}

// compare runs a command and returns what it printed.
func (n *newcomer) compare(t *testing.T, p piece) string {
	t.Helper()
	for tool, needs := range tools {
		if _, err := exec.LookPath(tool); err != nil && needs.MatchString(p.command) {
			t.Logf("not run, as there is no %s here: %s", tool, p.command)
			return p.output
		}
	}
	n.from = len(n.told(t))
	got := n.onDeck(t, n.shell(t, p.command))
	if diff := cmp.Diff(settled(p.output), settled(got)); diff != "" && !*update {
		t.Errorf("$ %s (-written +printed):\n%s", p.command, diff)
	}
	return got
}

// compareStory waits until dev has told every line. Lines that two reporters
// tell of one moment come in either order.
func (n *newcomer) compareStory(t *testing.T, want string) string {
	t.Helper()
	got, diff := "", ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now := n.told(t)[n.from:]; now != got {
			got = now
			diff = cmp.Diff(sorted(normal(want)), sorted(normal(got)))
		}
		if diff == "" && got != "" {
			return got
		}
	}
	if !*update {
		t.Errorf("the story (-written +told):\n%s", diff)
	}
	return got
}

// settled is the normal form of what a command prints. The lines of an
// incident's story are in no order: two of one moment may come either way.
func settled(text string) string {
	text = normal(text)
	if head, story, ok := strings.Cut(text, "\nTIME AFTER WHAT STORY\n"); ok {
		return head + strings.Join(sorted(story), "")
	}
	return text
}

func sorted(text string) []string { return slices.Sorted(strings.Lines(text)) }

// told is all that dev has told, as if it ran on the deck's addresses.
func (n *newcomer) told(t *testing.T) string {
	t.Helper()
	return n.onDeck(t, n.dev.stderr.String())
}

func (n *newcomer) onDeck(t *testing.T, text string) string {
	t.Helper()
	env, err := os.ReadFile(filepath.Join(n.dev.dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`ALPS_ADDR='([0-9.]+)\.\d+:`).FindSubmatch(env)
	if m == nil {
		t.Fatalf("no address of a server in %s", env)
	}
	text = strings.ReplaceAll(text, string(m[1])+".", dev.Subnet+".")
	return strings.ReplaceAll(text, n.dev.dir, "~/.local/state/alps/dev")
}

// shell runs one command line and returns what it printed, with its exit code
// when that is not 0.
func (n *newcomer) shell(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", n.before+command)
	cmd.Env = append(os.Environ(), "DEV="+n.dev.dir)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		text += "[" + err.Error() + "]\n"
	}
	return text
}

// piece is a run of a document: text as it is, one command of a console block
// with its output, or a story.
type piece struct {
	text, command, output string
	story                 bool
}

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
			kind := strings.TrimSpace(line)
			inside = kind == "```console" || kind == "```story"
			doc = append(doc, piece{text: line, story: kind == "```story"})
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
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "<session>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<node id>"},
	{regexp.MustCompile(`\b([0-9a-f]{16}|[0-9a-f]{8})\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z| UTC)?)?`), "<time>"},
	{regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d\b`), "<time>"}, // of another day.
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d+)?`), "<time>"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(ns|µs|ms|s|m|h|d))+\b`), "<duration>"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (ms|s|seconds)\b`), "<duration>"},
	{regexp.MustCompile(`"ms":\d+(\.\d+)?|"(min|median|max)":\d+(\.\d+)?`), "<rtt>"},
	{regexp.MustCompile(`(?m)^alps-agent +bj-e-01 .*`), "alps-agent <as busy as this machine>"},
	{regexp.MustCompile(`\blinked +(passing|warning|critical)\b`), "linked <as busy as this machine>"},
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
