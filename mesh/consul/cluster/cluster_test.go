package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
)

// starterEnv makes the test binary start a cluster in that directory and wait
// to be killed.
const starterEnv = "ALPS_CLUSTER_TEST_STARTER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(starterEnv); dir != "" {
		playStarter(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func playStarter(dir string) {
	say := func(s string) { _, _ = io.WriteString(os.Stdout, s+"\n") } // the test sees what is missing.
	c, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		say(err.Error())
		return
	}
	say("ready " + c.Subnet())
	time.Sleep(2 * time.Minute)
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
		time.Sleep(50 * time.Millisecond)
	}
}

func runs(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

func waitReady(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, n *Node, key, value string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n.HTTPAddr()+"/v1/kv/"+key, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := n.c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("put %s: %s", key, resp.Status)
	}
}

// value reads a key through n.
func value(ctx context.Context, n *Node, key string) (string, error) {
	var pairs []struct{ Value []byte }
	if err := n.get(ctx, "/v1/kv/"+key, &pairs); err != nil {
		return "", err
	}
	return string(pairs[0].Value), nil
}

// TestOneDatacenter walks one cluster of five through everything that can be
// done to a node.
func TestOneDatacenter(t *testing.T) {
	names := []string{
		"bj-e-admin03", "bj-e-admin01", "bj-e-hadoop01-11-203", "bj-e-hadoop01-11-204", "bj-e-hadoop01-13-220",
	}
	dc := Datacenter{Name: "bj-e-01"}
	for i, name := range names {
		dc.Nodes = append(dc.Nodes, NodeSpec{Name: name, Server: i == 0})
	}
	c := ForTest(t, Options{Datacenters: []Datacenter{dc}})
	server, client := c.Node("bj-e-admin03"), c.Node("bj-e-hadoop01-11-204")
	ctx := t.Context()

	t.Run("all nodes are there", func(t *testing.T) {
		var got []string
		addrs := map[string]bool{}
		for _, n := range c.Nodes() {
			got = append(got, n.Name)
			addrs[n.Addr] = true
			if !strings.HasPrefix(n.Addr, c.Subnet()+".") {
				t.Errorf("%s has address %s outside of %s", n.Name, n.Addr, c.Subnet())
			}
		}
		if !slices.Equal(got, names) || len(addrs) != len(names) {
			t.Errorf("nodes = %v on %v, want %v on as many addresses", got, addrs, names)
		}
		if got := c.Servers("bj-e-01"); len(got) != 1 || got[0] != server {
			t.Errorf("servers = %v, want bj-e-admin03 alone", got)
		}
		if got := c.Node("nobody"); got != nil {
			t.Errorf("Node(nobody) = %v, want nil", got)
		}
		if leader, err := c.Leader(ctx, "bj-e-01"); err != nil || leader != server {
			t.Errorf("Leader = %v, %v, want %v", leader, err, server)
		}
	})

	t.Run("dns answers", func(t *testing.T) {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, client.DNSAddr())
		}}
		got, err := r.LookupHost(ctx, "bj-e-admin01.node.consul.")
		if want := []string{c.Node("bj-e-admin01").Addr}; err != nil || !slices.Equal(got, want) {
			t.Errorf("lookup = %v, %v, want %v", got, err, want)
		}
	})

	t.Run("kill and restart", func(t *testing.T) {
		pid := client.PID()
		client.Kill()
		if runs(pid) {
			t.Errorf("pid %d still runs", pid)
		}
		if err := client.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("Err = %v, want killed", err)
		}
		eventually(t, "the catalog sees it failed", func() error {
			if err := server.passing(ctx, map[string]bool{client.Name: true}); err == nil {
				return errors.New("still passing")
			}
			return nil
		})
		waitReady(t, c) // of the others.
		if err := client.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		waitReady(t, c)
	})

	t.Run("stop keeps the data", func(t *testing.T) {
		put(t, client, "kept", "yes")
		server.Stop()
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		waitReady(t, c)
		if got, err := value(ctx, client, "kept"); err != nil || got != "yes" {
			t.Errorf("value = %q, %v, want yes", got, err)
		}
	})

	t.Run("freeze and thaw", func(t *testing.T) {
		if err := client.Freeze(); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		var leader string
		if err := client.get(short, "/v1/status/leader", &leader); err == nil {
			t.Error("a frozen node answered")
		}
		if client.up() {
			t.Error("a frozen node counts as up")
		}
		if err := client.Thaw(); err != nil {
			t.Fatal(err)
		}
		waitReady(t, c)
	})

	t.Run("close ends all and tidies", func(t *testing.T) {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes() {
			if runs(n.PID()) {
				t.Errorf("%s still runs", n.Name)
			}
		}
		if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("directory after Close: %v, want it removed", err)
		}
		r, err := reserve(c.Subnet())
		if err != nil {
			t.Fatalf("the subnet is not free again: %v", err)
		}
		if err := r.release(); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaderIsKilled(t *testing.T) {
	c := ForTest(t, Options{Datacenters: []Datacenter{{Name: "bj-e-01", Nodes: []NodeSpec{
		{Name: "bj-e-admin01", Server: true}, {Name: "bj-e-admin02", Server: true}, {Name: "bj-e-admin03", Server: true},
	}}}})
	old, err := c.Leader(t.Context(), "bj-e-01")
	if err != nil {
		t.Fatal(err)
	}
	put(t, old, "before", "1")
	old.Kill()
	waitReady(t, c)
	now, err := c.Leader(t.Context(), "bj-e-01")
	if err != nil {
		t.Fatal(err)
	}
	if now == old {
		t.Errorf("the killed %s still leads", old.Name)
	}
	put(t, now, "after", "2")
	if err := old.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c)
	for key, want := range map[string]string{"before": "1", "after": "2"} {
		if got, err := value(t.Context(), old, key+"?consistent"); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", key, got, err, want)
		}
	}
}

func TestTwoDatacenters(t *testing.T) {
	c := ForTest(t, Options{Datacenters: []Datacenter{
		{Name: "bj-e-01", Nodes: []NodeSpec{{Name: "bj-e-admin03", Server: true}, {Name: "bj-e-admin01"}}},
		{Name: "sh-w-01", Nodes: []NodeSpec{{Name: "sh-w-admin03", Server: true}}},
	}})
	put(t, c.Node("bj-e-admin01"), "where?dc=sh-w-01", "there")
	got, err := value(t.Context(), c.Node("sh-w-admin03"), "where")
	if err != nil || got != "there" {
		t.Errorf("value = %q, %v, want what the other datacenter wrote", got, err)
	}
	var dcs []string
	if err := c.Node("bj-e-admin01").get(t.Context(), "/v1/catalog/datacenters", &dcs); err != nil {
		t.Fatal(err)
	}
	if want := []string{"bj-e-01", "sh-w-01"}; !slices.Equal(dcs, want) {
		t.Errorf("datacenters = %v, want %v", dcs, want)
	}
}

func TestSweepAfterTheStarterWasKilled(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starter := exec.Command(exe)
	starter.Env = append(os.Environ(), starterEnv+"="+dir)
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	subnet, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("the starter said %q, %v", line, err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("Start in a directory in use = %v, want a conflict", err)
	}
	if _, err := reserve(subnet); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("reserve of a subnet in use = %v, want a conflict", err)
	}
	_ = starter.Process.Signal(syscall.SIGKILL)
	_ = starter.Wait() // says that it was killed.

	// The orphan still holds its addresses, so the same subnet can only be
	// used again because Start sweeps the directory first.
	c := ForTest(t, Options{Dir: dir, Subnet: subnet})
	if got, err := value(t.Context(), c.nodes[0], "nothing"); err == nil {
		t.Errorf("value of a missing key = %q", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bj-e-admin03", "data")); err != nil {
		t.Errorf("data after Close in a directory that was given: %v", err)
	}
	if ended, err := Sweep(dir); err != nil || ended != nil {
		t.Errorf("Sweep after Close = %v, %v, want nothing", ended, err)
	}
}

func TestStartSaysWhyConsulEnded(t *testing.T) {
	_, err := Start(t.Context(), Options{ExtraConfig: map[string]any{"no_such_key": 1}})
	if err == nil {
		t.Fatal("Start succeeded")
	}
	for _, want := range []string{"bj-e-admin03", "no_such_key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error = %q, want it to contain %q", err, want)
		}
	}
}

func TestStartSaysWhatHoldsAPort(t *testing.T) {
	// The first free address of a subnet that is ours for the test.
	var l net.Listener
	var subnet string
	for range 20 {
		subnet = randomSubnet()
		var err error
		if l, err = net.Listen("tcp", subnet+".1:8500"); err == nil {
			break
		}
	}
	if l == nil {
		t.Fatal("no free subnet")
	}
	defer l.Close()
	_, err := Start(t.Context(), Options{Subnet: subnet})
	if mesh.CodeOf(err) != mesh.Conflict {
		t.Fatalf("Start = %v, want a conflict", err)
	}
	for _, want := range []string{subnet + ".1:8500", "taken by", "pid " + itoa(os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error = %q, want it to contain %q", err, want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	server := NodeSpec{Name: "a", Server: true}
	many := []NodeSpec{server}
	for i := range 254 {
		many = append(many, NodeSpec{Name: "n" + itoa(i)})
	}
	cases := []struct {
		name string
		o    Options
	}{
		{"no server", Options{Datacenters: []Datacenter{{Name: "x", Nodes: []NodeSpec{{Name: "a"}}}}}},
		{"a datacenter without a name", Options{Datacenters: []Datacenter{{Nodes: []NodeSpec{server}}}}},
		{"a node twice", Options{Datacenters: []Datacenter{{Name: "x", Nodes: []NodeSpec{server, server}}}}},
		{"a node without a name", Options{Datacenters: []Datacenter{{Name: "x", Nodes: []NodeSpec{{Server: true}}}}}},
		{"too many nodes", Options{Datacenters: []Datacenter{{Name: "x", Nodes: many}}}},
		{"a subnet that is not loopback", Options{Subnet: "10.0.0"}},
		{"a subnet that is none", Options{Subnet: "127.0.0.1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Start(t.Context(), c.o); mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("Start = %v, want it invalid", err)
			}
		})
	}
}
