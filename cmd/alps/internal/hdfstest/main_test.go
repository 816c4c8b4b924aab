package hdfstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := loop.CleanUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// sh runs a line in a shell that has read the cluster's env file, as a user
// does, and returns all that it printed.
func sh(t *testing.T, c *dev.Cluster, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", ". '"+c.EnvFile()+"' && "+line).CombinedOutput()
	return string(out), err
}

// passing lists the nodes whose service is passing in Consul.
func passing(ctx context.Context, c *dev.Cluster, service string) (nodes []string, err error) {
	where := "http://" + c.Consul().Nodes()[0].HTTPAddr() + "/v1/health/service/" + service + "?passing"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list []struct{ Node struct{ Node string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	for _, e := range list {
		nodes = append(nodes, e.Node.Node)
	}
	return nodes, nil
}

// awaitVolFails waits until the NameNode counts so many failed disks of n.
func awaitVolFails(t *testing.T, h *hdfs.Cluster, n *hdfs.Node, want int) {
	t.Helper()
	loop.Await(t, fmt.Sprintf("%s has %d failed disks", n.Name, want), func(ctx context.Context) error {
		live, err := h.Live(ctx, h.NameNodes()[0])
		if err != nil {
			return err
		}
		if got, ok := live[n.Key()]; !ok || got.VolFails != want {
			return fmt.Errorf("%s is %+v (there: %v)", n.Key(), got, ok)
		}
		return nil
	})
}

// leftIn lists what is left of a cluster in dir: processes that speak of it,
// mounts below it, links that bear its name.
func leftIn(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	for pattern, sign := range map[string]string{
		"/proc/[0-9]*/cmdline": dir + "/", "/sys/class/net/*/ifalias": dir + "/",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(sign)) {
				left = append(left, f+": "+string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
			}
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " "+dir+"/") {
			left = append(left, line)
		}
	}
	return left
}
