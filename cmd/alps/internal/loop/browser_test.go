package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	v1 "alps/server/api/v1"
)

// The pictures are always taken. They are thrown away without -shots; -readme
// puts three of them where the README shows them.
var (
	shots  = flag.String("shots", "", "a folder for the screenshots of the web UI")
	readme = flag.Bool("readme", false, "take the screenshots of the README anew")
)

const (
	uiDir      = "../../../../ui"
	readmeDir  = "../../../../docs/screenshots"
	readmeNode = "node.png" // taken when there are coordinates.
)

// readmeShots are the pictures of the README by their names here and there.
func readmeShots() map[string]string {
	return map[string]string{readmeNode: "nodes.png", "incident-closed.png": "alert.png", "job.png": "jobs.png"}
}

// browser makes sure that there is one, and the scripts' own modules. In
// continuous integration both must be there.
func browser(t *testing.T) {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing", what)
		}
		t.Skipf("%s is missing", what)
	}
	for _, name := range []string{"chromium", "node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing(name)
		}
	}
	if _, err := os.Stat(filepath.Join(uiDir, "node_modules", "playwright-core")); errors.Is(err, fs.ErrNotExist) {
		missing("ui/node_modules (make ui)")
	}
}

// script is one of ui/e2e, as an admin of the rig.
func script(ctx context.Context, t *testing.T, r *loop.Rig, name string, env ...string) *exec.Cmd {
	t.Helper()
	token, err := r.Token()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "npm", "run", "--silent", name)
	cmd.Dir = uiDir
	cmd.Env = append(os.Environ(), "ALPS_URL=https://"+r.Address(), "ALPS_TOKEN="+token)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// lookOn has a browser look at the page of alerts while a service dies that a
// policy starts again, and wants it to say the words in their order.
func lookOn(t *testing.T, r *loop.Rig, want []string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*loop.Patience)
	defer cancel()
	cmd := script(ctx, t, r, "watch", append(env, "ALPS_NODE="+loop.WebOne)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		word := strings.TrimSpace(lines.Text())
		if slices.Contains(want, word) {
			seen = append(seen, word)
		}
		if word == "watching" {
			r.Web(loop.WebOne).Kill() // the policy starts it again.
		}
	}
	if err := cmd.Wait(); err != nil || !slices.Equal(seen, want) {
		t.Errorf("the page of alerts has shown %v: %v\n%s", seen, err, &said)
	}
}

// TestBrowser is the web UI in a real browser: every tab, a script that is
// uploaded and run on two nodes, a key that is edited; then an incident that
// comes and goes on an open page, and a policy that asks there.
func TestBrowser(t *testing.T) {
	browser(t)
	r := loop.Start(t, loop.Options{Rules: loop.Rules, For: time.Second, Dev: dev.Options{Packs: []string{"host", "consul"}}})
	dir := *shots
	if dir == "" {
		dir = t.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("watches an incident live", func(t *testing.T) {
		lookOn(t, r, []string{"watching", "opened", "closed"}, "ALPS_SHOTS="+dir)
	})

	t.Run("says yes to a policy that asks", func(t *testing.T) {
		setRules(t, r, aRule("asked", "1s")+aPolicy("asked", "restart-service", restartArgs+"  mode = \"approve\"\n"))
		own := filepath.Join(dir, "approve")
		lookOn(t, r, []string{"watching", "opened", "approved", "closed"}, "ALPS_SHOTS="+own, "ALPS_APPROVE=1")
		runs, err := r.Client().RemedyRuns(t.Context(), v1.RemedyRunFilter{Limit: 1})
		if err != nil || len(runs) != 1 || !strings.Contains(runs[0].Approved, "watched by a browser") {
			t.Errorf("the newest run is %+v, %v; want one that a browser has approved", runs, err)
		}
	})

	t.Run("walks every tab", func(t *testing.T) {
		// Gossip measures for a while before Consul knows how far nodes are.
		loop.Await(t, "there are coordinates", func(ctx context.Context) error {
			rtt, err := r.Client().NodeRTT(ctx, loop.Observer)
			if err == nil && len(rtt.Peers) < 4 {
				err = fmt.Errorf("%d peers have some", len(rtt.Peers))
			}
			return err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*loop.Patience)
		defer cancel()
		out, err := script(ctx, t, r, "e2e", "ALPS_SHOTS="+dir).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for _, step := range []string{"services", "node", "key", "job", "alerts"} {
			if !bytes.Contains(bytes.ToLower(out), []byte(step)) {
				t.Errorf("no step is about %q:\n%s", step, out)
			}
		}
	})

	list, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil || len(list) < 3 {
		t.Errorf("%d pictures were taken, want at least 3: %v", len(list), err)
	}
	for here, there := range readmeShots() {
		b, err := os.ReadFile(filepath.Join(dir, here))
		if err == nil && *readme {
			err = os.WriteFile(filepath.Join(readmeDir, there), b, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(readmeDir, there)); err != nil {
			t.Errorf("%v; run this test with -readme", err)
		}
	}
}
