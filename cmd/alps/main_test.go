package main

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"

	"alps/cmd/alps/internal/dev"
)

// TestMain makes the test binary the program itself under the name alps: what
// the tests and the clusters run is the real main.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"alps": main})
}

// suite ends the shared cluster after the last test.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	code := s.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		_ = shared.cluster.Close()
	}
	return code
}

var shared struct {
	sync.Mutex
	cluster *dev.Cluster
}

// sharedCluster is the deck's cluster for tests that leave it as they found
// it. It stands until the last test has ended.
func sharedCluster(t *testing.T) *dev.Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		shared.cluster = startCluster(t, dev.Options{})
	}
	return shared.cluster
}

// ownCluster is a cluster for a test that breaks it.
func ownCluster(t *testing.T, o dev.Options) *dev.Cluster {
	t.Helper()
	c := startCluster(t, o)
	t.Cleanup(func() {
		if t.Failed() {
			logTails(t, c)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return c
}

func startCluster(t *testing.T, o dev.Options) *dev.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	path, err := exec.LookPath("alps")
	if err != nil {
		t.Fatal(err)
	}
	o.Alps = dev.Program{Path: path}
	o.Logger = hclog.New(&hclog.LoggerOptions{Name: "dev", Output: os.Stderr, Level: hclog.Warn})
	// Not the test's context: a shared cluster outlives the test.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := dev.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// logTails shows the last words of every process of a failed test.
func logTails(t *testing.T, c *dev.Cluster) {
	t.Helper()
	for _, p := range append(c.Agents(), c.Server()) {
		b, err := os.ReadFile(p.LogPath())
		if err != nil {
			continue
		}
		t.Logf("%s:\n%s", p.LogPath(), b[max(0, len(b)-4000):])
	}
}
