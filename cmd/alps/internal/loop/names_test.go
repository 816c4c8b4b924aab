package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh/consul/cluster"
	"alps/mesh/proc"
)

const (
	deckDC      = "bj-e-01"
	thirdServer = "bj-e-admin02" // Consul's third server.
)

// threeServers is the deck's cluster as it really is: with three servers of
// Consul.
func threeServers() []cluster.Datacenter {
	return []cluster.Datacenter{{Name: deckDC, Nodes: []cluster.NodeSpec{
		{Name: loop.ServerNode, Server: true},
		{Name: loop.Observer, Server: true},
		{Name: thirdServer, Server: true},
		{Name: loop.WebOne},
		{Name: loop.WebTwo},
	}}}
}

// TestNames asks the agents' DNS on the wire, with what a real Consul knows.
func TestNames(t *testing.T) {
	up := newUpstream(t, "example.org", "192.0.2.7")
	r := loop.Start(t, loop.Options{
		Web: []string{loop.WebOne, loop.WebTwo},
		Dev: dev.Options{Datacenters: threeServers(), Configure: func(node, hcl string) string {
			return strings.Replace(hcl, "domains = ", fmt.Sprintf("forward = [%q]\n  domains = ", up.addr), 1)
		}},
	})
	t.Run("what exists", func(t *testing.T) { testWhatExists(t, r) })
	t.Run("what does not", func(t *testing.T) { testWhatDoesNot(t, r) })
	t.Run("reverse", func(t *testing.T) { testReverse(t, r) })
	t.Run("the deck's packet", func(t *testing.T) { testDeckPacket(t, r) })
	t.Run("forwarding", func(t *testing.T) { testForwarding(t, r, up) })
	t.Run("a node that joins", func(t *testing.T) { testJoin(t, r) })
	t.Run("a start without Consul and server", func(t *testing.T) { testStartAlone(t, r) })
}

// dnsOf is the DNS of a node's agent.
func dnsOf(r *loop.Rig, node string) string { return dev.DNSAddr(r.Consul().Node(node)) }

func testWhatExists(t *testing.T, r *loop.Rig) {
	one, two := r.NodeAddr(loop.WebOne), r.NodeAddr(loop.WebTwo)
	node := []string{"A " + one}
	both := []string{"A " + one, "A " + two}
	srv := func(domain string) []string {
		return []string{
			"SRV 8080 " + loop.WebOne + ".node." + deckDC + "." + domain + ".",
			"SRV 8080 " + loop.WebTwo + ".node." + deckDC + "." + domain + ".",
		}
	}
	for _, q := range []struct {
		name string
		typ  uint16
		want []string
	}{
		{loop.WebOne + ".node.yixia", typeA, node},
		{loop.WebOne + ".node.bj-e-01.yixia", typeA, node},
		{loop.WebOne + ".node.consul", typeA, node},
		{loop.WebOne + ".node.bj-e-01.consul", typeA, node},
		{"BJ-E-Hadoop01-11-203.Node.YIXIA", typeA, node},
		{loop.WebOne, typeA, node},
		{"web.service.yixia", typeA, both},
		{"web.service.bj-e-01.consul", typeA, both},
		{"demo.web.service.yixia", typeA, both},
		{"web.service.yixia", typeSRV, srv("yixia")},
		{"web.service.consul", typeSRV, srv("consul")},
		{"_web._demo.yixia", typeSRV, srv("yixia")},
		{"_web._demo.service.bj-e-01.yixia", typeSRV, srv("yixia")},
		{"_web._tcp.service.yixia", typeSRV, srv("yixia")},
	} {
		for _, at := range []string{loop.Observer, loop.WebOne} {
			got := awaitReply(t, dnsOf(r, at), query{q.name, q.typ}, rcodeOK, q.want...)
			const authoritative = 0x8580 // qr aa rd ra.
			if got.Flags != authoritative {
				t.Errorf("%s: the flags are %04x, want %04x", q.name, got.Flags, authoritative)
			}
			for _, ttl := range got.TTLs {
				if ttl != 5 {
					t.Errorf("%s: the TTL is %d, want 5", q.name, ttl)
				}
			}
			tcp, err := askDNS(t.Context(), "tcp", dnsOf(r, at), q.name, q.typ)
			if err != nil || !slices.Equal(tcp.Answers, got.Answers) || tcp.Rcode != rcodeOK {
				t.Errorf("%s by TCP: %v with code %d, %v; by UDP it is %v", q.name, tcp.Answers, tcp.Rcode, err, got.Answers)
			}
		}
	}
}

func testWhatDoesNot(t *testing.T, r *loop.Rig) {
	for _, q := range []struct {
		name  string
		typ   uint16
		rcode int
	}{
		{loop.WebOne + ".node.yixia", typeAAAA, rcodeOK}, // there is one, without such an address.
		{"web.service.yixia", typeAAAA, rcodeOK},
		{loop.WebOne, typeAAAA, rcodeOK},
		{"node.yixia", typeA, rcodeOK}, // names end in it.
		{"nosuch.node.yixia", typeA, rcodeNotFound},
		{"nosuch.service.yixia", typeSRV, rcodeNotFound},
		{"nosuch.web.service.yixia", typeA, rcodeNotFound},
		{"web.service.sh-a-01.yixia", typeA, rcodeNotFound},
		{"nosuch.yixia", typeA, rcodeNotFound},
		{strings.Repeat("x", 63) + ".node.yixia", typeA, rcodeNotFound},
	} {
		for _, network := range []string{"udp", "tcp"} {
			got, err := askDNS(t.Context(), network, dnsOf(r, loop.Observer), q.name, q.typ)
			if err != nil || got.Rcode != q.rcode || len(got.Answers) > 0 {
				t.Errorf("%s %d by %s: %v with code %d, %v; want none with code %d", q.name, q.typ, network, got.Answers, got.Rcode, err, q.rcode)
			}
			if got.counts[2] != 1 { // the SOA, by which resolvers know how long to keep it.
				t.Errorf("%s %d by %s: %d records of authority, want 1", q.name, q.typ, network, got.counts[2])
			}
		}
	}
}

func testReverse(t *testing.T, r *loop.Rig) {
	for _, n := range r.Consul().Nodes() {
		p := strings.Split(n.Addr, ".")
		slices.Reverse(p)
		name := n.Name + ".node." + deckDC + ".yixia"
		awaitReply(t, dnsOf(r, loop.Observer), query{strings.Join(p, ".") + ".in-addr.arpa", typePTR}, rcodeOK, "PTR "+name+".")
		awaitReply(t, dnsOf(r, loop.Observer), query{name, typeA}, rcodeOK, "A "+n.Addr)
	}
}

// testDeckPacket holds the answer against what was shown first: three A
// records in 94 bytes, and dig reads it so.
func testDeckPacket(t *testing.T, r *loop.Rig) {
	const name = "consul.service.bj-e-01.yixia"
	var want []string
	for _, n := range r.Consul().Servers(deckDC) {
		want = append(want, "A "+n.Addr)
	}
	server := dnsOf(r, loop.WebOne)
	got := awaitReply(t, server, query{name, typeA}, rcodeOK, want...)
	type packet struct {
		Flags  uint16
		Size   int
		Counts [4]uint16
		TTLs   []uint32
	}
	wantPacket := packet{0x8580, 94, [4]uint16{1, 3, 0, 0}, []uint32{5, 5, 5}}
	if d := cmp.Diff(wantPacket, packet{got.Flags, got.Size, got.counts, got.TTLs}); d != "" {
		t.Errorf("the packet (-want +got):\n%s", d)
	}

	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("there is no dig to read it: apt-get install dnsutils")
	}
	host, port, _ := net.SplitHostPort(server)
	out, err := exec.CommandContext(t.Context(), dig, "@"+host, "-p", port, "+noedns", "+nocookie", name, "A").CombinedOutput()
	if err != nil {
		t.Fatalf("dig: %v\n%s", err, out)
	}
	for _, line := range []string{
		"status: NOERROR", "flags: qr aa rd ra; QUERY: 1, ANSWER: 3, AUTHORITY: 0, ADDITIONAL: 0", "MSG SIZE  rcvd: 94",
	} {
		if !strings.Contains(string(out), line) {
			t.Errorf("dig does not say %q:\n%s", line, out)
		}
	}
	for _, n := range r.Consul().Servers(deckDC) {
		fields := name + ".\t5\tIN\tA\t" + n.Addr
		if !strings.Contains(strings.Join(strings.Fields(string(out)), "\t"), fields) {
			t.Errorf("dig does not show %s:\n%s", n.Addr, out)
		}
	}
}

func testForwarding(t *testing.T, r *loop.Rig, up *upstream) {
	got := awaitReply(t, dnsOf(r, loop.WebTwo), query{up.name, typeA}, rcodeOK, "A "+up.answer)
	if aa := uint16(0x0400); got.Flags&aa != 0 {
		t.Errorf("the answer of another server is marked as ours: %04x", got.Flags)
	}
	awaitReply(t, dnsOf(r, loop.WebTwo), query{"nosuch.example.org", typeA}, rcodeNotFound)
}

// testJoin starts a Consul agent that was not there when the cluster began. No
// ALPS agent is beside it: its name comes from Consul alone.
func testJoin(t *testing.T, r *loop.Rig) {
	const name = "bj-e-hadoop01-15-33"
	watched := append(configs(t, r), "/etc/hosts", "/etc/resolv.conf")
	before := contents(t, watched)
	addr := r.Consul().Subnet() + "." + strconv.Itoa(len(r.Consul().Nodes())+1)
	binary, err := cluster.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g, err := proc.New(proc.Options{Record: filepath.Join(dir, "pids.json"), Grace: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Errorf("end the consul of %s: %v", name, err)
		}
	})
	started := time.Now()
	p, err := g.Start(proc.Spec{
		Name: name, Path: binary, Dir: dir, Log: filepath.Join(dir, "consul.log"), Env: os.Environ(),
		Args: []string{
			"agent", "-node=" + name, "-datacenter=" + deckDC, "-data-dir=" + filepath.Join(dir, "data"), "-disable-host-node-id",
			"-bind=" + addr, "-advertise=" + addr, "-client=" + addr, "-retry-join=" + r.NodeAddr(loop.ServerNode),
			"-grpc-port=-1", "-retry-interval=1s",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "Consul lists "+name, func(ctx context.Context) error {
		select {
		case <-p.Done():
			t.Fatalf("the consul of %s ended: %v\n%s", name, p.Err(), proc.Tail(filepath.Join(dir, "consul.log"), 20))
		default:
		}
		return inCatalog(ctx, r, name)
	})
	listed := time.Now()
	for _, n := range r.Consul().Nodes() {
		awaitReply(t, dnsOf(r, n.Name), query{name + ".node.yixia", typeA}, rcodeOK, "A "+addr)
		awaitReply(t, dnsOf(r, n.Name), query{name, typeA}, rcodeOK, "A "+addr)
	}
	t.Logf("%s resolves on all %d nodes %s after Consul listed it, %s after its start", name, len(r.Consul().Nodes()),
		time.Since(listed).Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
	if d := cmp.Diff(before, contents(t, watched)); d != "" {
		t.Errorf("a file was edited (-before +after):\n%s", d)
	}
}

// inCatalog says why Consul does not answer for a node by its own DNS.
func inCatalog(ctx context.Context, r *loop.Rig, name string) error {
	got, err := askDNS(ctx, "udp", r.Consul().Node(loop.ServerNode).DNSAddr(), name+".node.consul", typeA)
	if err == nil && len(got.Answers) == 0 {
		err = errors.New("Consul does not know it")
	}
	return err
}

// configs are the files that people have written for the cluster.
func configs(t *testing.T, r *loop.Rig) []string {
	t.Helper()
	files := []string{r.Server().ConfigPath()}
	for _, a := range r.Agents() {
		files = append(files, a.ConfigPath())
	}
	return files
}

func contents(t *testing.T, files []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		out[f] = string(b)
	}
	return out
}

// testStartAlone starts an agent while neither its Consul nor a server runs: it
// answers from its disk, and joins the others when they are back.
func testStartAlone(t *testing.T, r *loop.Rig) {
	node := r.Consul().Node(loop.WebTwo)
	a := r.Agent(loop.WebTwo)
	a.Stop()
	r.Server().Stop()
	node.Stop()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	server := dnsOf(r, loop.WebTwo)
	one := r.NodeAddr(loop.WebOne)
	first := awaitReply(t, server, query{loop.WebOne + ".node.yixia", typeA}, rcodeOK, "A "+one)
	for _, ttl := range first.TTLs {
		if ttl > 5 {
			t.Errorf("a name of the disk lives %d s, want at most 5", ttl)
		}
	}
	awaitReply(t, server, query{loop.WebOne, typeA}, rcodeOK, "A "+one)
	awaitReply(t, server, query{"web.service.yixia", typeA}, rcodeOK, "A "+one, "A "+node.Addr)
	if got, err := askDNS(t.Context(), "udp", server, "age.alps.yixia", typeTXT); err != nil || len(got.Answers) == 0 {
		t.Errorf("the age is %v, %v", got.Answers, err)
	} else {
		t.Logf("the age of the names: %v", got.Answers)
	}

	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Server().Start(); err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "the agent is linked", func(ctx context.Context) error {
		n, err := r.Client().Node(ctx, loop.WebTwo)
		if err == nil && n.Agent != "linked" {
			err = fmt.Errorf("it is %s", n.Agent)
		}
		return err
	})
	select {
	case <-a.Done():
		t.Error("the agent ended when Consul came back")
	default:
	}
	r.AwaitCheck(t, loop.WebTwo, "web", "passing")
}
