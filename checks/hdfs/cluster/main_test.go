package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// starterEnv makes the test binary start an HDFS in that directory, break a
// disk, and wait to be killed.
const starterEnv = "ALPS_HDFS_TEST_STARTER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(starterEnv); dir != "" {
		playStarter(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func playStarter(dir string) {
	say := func(s string) { _, _ = io.WriteString(os.Stdout, s+"\n") } // the test sees what is missing.
	c, err := Start(context.Background(), Options{Dir: dir, Layout: Namespaces, DataNodes: 1, Replication: 1})
	if err == nil {
		_, err = ReadOnly(c.DataNodes()[0].DataDirs[0])
	}
	if err != nil {
		say(err.Error())
		return
	}
	say("ready")
	time.Sleep(2 * time.Minute)
}

// starts skips what starts daemons when it is to be quick.
func starts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
}

// mustRoot skips what needs root, which continuous integration has.
func mustRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this needs root")
	}
	t.Skip("this needs root")
}

func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// leftIn lists what is left of an HDFS in dir: processes that speak of it,
// mounts below it, links with its alias.
func leftIn(t *testing.T, dir string) []string {
	t.Helper()
	left := linksOf(dir)
	points, err := mounts(func(p string) bool { return strings.HasPrefix(p, dir+"/") })
	if err != nil {
		t.Fatal(err)
	}
	left = append(left, points...)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(dir+"/")) {
			left = append(left, f)
		}
	}
	return left
}

// memory is what the daemons of c hold, in MiB, by kind.
func memory(t *testing.T, c *Cluster) string {
	t.Helper()
	sums, total := map[Kind][]string{}, 0
	for _, n := range c.Nodes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "VmRSS:")
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatal(err)
		}
		sums[n.Kind], total = append(sums[n.Kind], strconv.Itoa(kb>>10)), total+kb>>10
	}
	return fmt.Sprintf("%v, together %d MiB", sums, total)
}

// volFails returns when the NameNode counts so many failed disks of n.
func volFails(t *testing.T, c *Cluster, n *Node, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d failed disks", n.Name, want), func() error {
		live, err := c.Live(t.Context(), c.NameNodes()[0])
		if err != nil {
			return err
		}
		if got, ok := live[n.Key()]; !ok || got.VolFails != want {
			return fmt.Errorf("%s is %+v (there: %v)", n.Key(), got, ok)
		}
		return nil
	})
}
