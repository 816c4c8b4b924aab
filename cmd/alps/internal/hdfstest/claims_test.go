package hdfstest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

var update = flag.Bool("update", false, "write what the commands of the pages print")

const docs = "../../../../docs"

// pages have blocks that are typed on a cluster with an HDFS: hdfs-before while
// all is well, hdfs from the broken disk to the proof, hdfs-after when it is
// over.
var (
	pages  = []string{"claims.md", "hdfs.md"}
	phases = []string{"hdfs-before", "hdfs", "hdfs-after"}
)

// TestClaims types what the pages say about a broken disk, and holds what is
// printed against what is written, but for times, ids and addresses.
func TestClaims(t *testing.T) {
	text := make(map[string]string)
	for _, page := range pages {
		b, err := os.ReadFile(filepath.Join(docs, page))
		if err != nil {
			t.Fatal(err)
		}
		text[page] = string(b)
	}
	r := start(t, options{policy: "hdfs-disk-decommission.hcl"})
	same := r.put(t, "/demo/", 320, 3)
	for _, phase := range phases {
		typed := 0
		for _, page := range pages {
			for _, b := range regexp.MustCompile("(?s)```"+phase+"\n(.*?)```").FindAllStringSubmatch(text[page], -1) {
				typed++
				printed := r.typed(t, b[1])
				if diff := cmp.Diff(masked(b[1]), masked(printed)); diff != "" && !*update {
					t.Errorf("docs/%s (-written +printed):\n%s", page, diff)
				}
				text[page] = strings.Replace(text[page], b[1], printed, 1)
			}
		}
		if typed == 0 {
			t.Errorf("no page has a block %s", phase)
		}
	}
	same()
	if !*update {
		return
	}
	for page, after := range text {
		if err := os.WriteFile(filepath.Join(docs, page), []byte(after), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// typed runs the commands of a block and returns the block with what they have
// printed. What follows a disk that was broken is typed when the run is over.
func (r *rig) typed(t *testing.T, block string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(block) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		typed := command
		for _, verb := range []string{"break-disk", "mend-disk"} {
			typed = strings.Replace(typed, "alps dev "+verb+" ", "alps dev "+verb+" --dir '"+r.Dir()+"' ", 1)
		}
		printed, err := sh(t, r.Cluster, typed)
		if err != nil {
			t.Errorf("$ %s: %v: %s", command, err, printed)
		}
		out.WriteString(line + strings.ReplaceAll(printed, r.Dir(), "~/.local/state/alps/dev"))
		if strings.HasPrefix(command, "alps dev break-disk ") {
			r.awaitRun(t, one, "has succeeded", func(run mesh.RemedyRun) bool { return run.State == mesh.RemedySucceeded })
		}
	}
	return out.String()
}

// masks are what is another with every run, the longer forms first.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`[0-9]{8}T[0-9]{6}Z`), "TIME"},
	{regexp.MustCompile(`\b([0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}|[0-9]{2}:[0-9]{2}:[0-9]{2})\b`), "TIME"}, // of another day, of today.
	{regexp.MustCompile(`, [0-9]+ attempts`), ""},
	{regexp.MustCompile(`\b([0-9]+(\.[0-9]+)?(h|ms|m|s))+\b`), "N"},
	{regexp.MustCompile(`alps-canary-\w+`), "alps-canary"},
	{regexp.MustCompile(`woke by \w+`), "woke"},
	{regexp.MustCompile(`\b[0-9a-f]{8}([0-9a-f]{8})?\b`), "ID"},
	{regexp.MustCompile(`[0-9]+(\.[0-9]+)*(ms|s|m|MB|GB|TB)?\b`), "N"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// masked is a text without what is another with every run.
func masked(s string) []string {
	for _, m := range masks {
		s = m.what.ReplaceAllString(s, m.with)
	}
	return strings.Split(s, "\n")
}
