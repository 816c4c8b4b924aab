package hdfstest

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

var update = flag.Bool("update", false, "write what the commands of docs/claims.md print")

// hdfsBlocks are what docs/claims.md has of a cluster with an HDFS.
var hdfsBlocks = regexp.MustCompile("(?s)```hdfs\n(.*?)```")

// TestClaims types what docs/claims.md says about a broken disk, and holds what
// is printed against what is written, but for times, ids and addresses.
func TestClaims(t *testing.T) {
	const file = "../../../../docs/claims.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := hdfsBlocks.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("docs/claims.md says nothing of HDFS")
	}
	r := start(t, options{policy: "hdfs-disk-decommission.hcl"})
	same := r.put(t, "/demo/", 320, 3)
	after := string(text)
	for _, b := range blocks {
		printed := r.typed(t, b[1])
		if diff := cmp.Diff(masked(b[1]), masked(printed)); diff != "" && !*update {
			t.Errorf("docs/claims.md (-written +printed):\n%s", diff)
		}
		after = strings.Replace(after, b[1], printed, 1)
	}
	same()
	if *update {
		if err := os.WriteFile(file, []byte(after), 0o600); err != nil {
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
		typed := strings.Replace(command, "alps dev break-disk ", "alps dev break-disk --dir '"+r.Dir()+"' ", 1)
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
	{regexp.MustCompile(`, [0-9]+ attempts`), ""},
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
