package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"alps/agent/dns"
	consultest "alps/mesh/consul/cluster"
	"alps/mesh/zone"
)

// dnsVerb makes this program a name server: `bench dns-server NODES`.
const dnsVerb = "dns-server"

const (
	dnsSeconds = "5"   // of each run.
	dnsNodes   = 5000  // that the agent's view holds, unless told otherwise.
	dnsFlight  = "200" // questions on the way at a time.
	dnsSockets = "16"  // that they come from.
	serverCore = "0"
	clientCore = "1"
)

// dnsGrowth is the nodes that smaller views hold.
func dnsGrowth() []int { return []int{5, 500} }

// dnsQuestion is asked of both; of nodes each knows its own.
type dnsQuestion struct{ what, alps, consul string }

func dnsQuestions(node *consultest.Node) []dnsQuestion {
	same := func(what, q string) dnsQuestion { return dnsQuestion{what, q, q} }
	return []dnsQuestion{
		same("a service, A", "web.service.consul A"),
		same("a service, SRV", "web.service.consul SRV"),
		same("a service there is not", "nobody.service.consul A"),
		{"a node, A", dnsNodeName(0) + ".node.consul A", node.Name + ".node.consul A"},
		{"a node's address, PTR", reverse(dnsNodeAddr(0)) + " PTR", reverse(netip.MustParseAddr(node.Addr)) + " PTR"},
	}
}

func dnsNodeName(i int) string { return fmt.Sprintf("bj-e-hadoop01-%d-%d", i>>8, i&255) }

func dnsNodeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 17, byte(i >> 8), byte(i)}) }

// reverse is the name under which the name of an address is found.
func reverse(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
}

// benchDNS asks a name server of ALPS and a Consul server the same questions,
// each alone on one core while dnsperf has another.
func benchDNS(ctx context.Context, e env) error {
	if runtime.NumCPU() < 2 {
		return fmt.Errorf("two cores are needed: one asks, one answers")
	}
	for _, tool := range []string{"dnsperf", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: apt-get install dnsperf util-linux", err)
		}
	}
	dir, err := os.MkdirTemp("", "alps-bench-dns-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary.
	alps, err := startDNS(ctx, dnsNodes)
	if err != nil {
		return err
	}
	defer alps.close()
	consul, node, err := startConsulDNS(ctx)
	if err != nil {
		return err
	}
	defer consul.close()

	e.printf("%-24s %-8s %12s %14s %12s  %s\n", "question", "server", "answers/s", "CPU µs each", "lost", "code")
	file := filepath.Join(dir, "questions")
	row := func(what, question string, s *nameServer) (dnsResult, error) {
		if err := os.WriteFile(file, []byte(question+"\n"), 0o600); err != nil {
			return dnsResult{}, err
		}
		r, err := s.load(ctx, file)
		if err == nil {
			e.printf("%-24s %-8s %12.0f %14.1f %12s  %s\n", what, s.name, r.rate, r.cpu, r.lost, r.code)
		}
		return r, err
	}
	for _, q := range dnsQuestions(node) {
		ours, err := row(q.what, q.alps, alps)
		if err != nil {
			return err
		}
		theirs, err := row("", q.consul, consul)
		if err != nil {
			return err
		}
		e.printf("  answers for the same CPU: x %.1f (load %s)\n", theirs.cpu/ours.cpu, load())
	}
	if err := printView(e, alps, dnsNodes); err != nil {
		return err
	}
	alps.close()
	for _, n := range dnsGrowth() {
		small, err := startDNS(ctx, n)
		if err != nil {
			return err
		}
		_, err = row("a service, A", "web.service.consul A", small)
		err = errors.Join(err, printView(e, small, n))
		small.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func printView(e env, s *nameServer, nodes int) error {
	m, err := memoryOf(s.pid)
	if err == nil {
		e.printf("  alps with %d nodes, and as many instances of one service: %.1f MB anonymous\n", nodes, mib(m.anonymous))
	}
	return err
}

// nameServer is one of the two, in a process of its own.
type nameServer struct {
	name  string
	addr  string
	pid   int
	close func()
}

// dnsResult is what dnsperf and the kernel say of one run.
type dnsResult struct {
	rate float64 // answers a second.
	cpu  float64 // microseconds of the server for each.
	lost string
	code string // and how many have it.
}

var (
	perfRate = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	perfDone = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	perfCode = regexp.MustCompile(`Response codes:\s+(.+)`)
	perfLost = regexp.MustCompile(`Queries lost:\s+(\d+ \([0-9.]+%\))`)
)

func (s *nameServer) load(ctx context.Context, questions string) (dnsResult, error) {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return dnsResult{}, err
	}
	before := cpuOf(s.pid)
	out, err := exec.CommandContext(ctx, "taskset", "-c", clientCore,
		"dnsperf", "-s", host, "-p", port, "-d", questions, "-l", dnsSeconds, "-q", dnsFlight, "-c", dnsSockets).CombinedOutput()
	used := cpuOf(s.pid) - before
	if err != nil {
		return dnsResult{}, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	var found [4]string
	for i, re := range []*regexp.Regexp{perfRate, perfDone, perfLost, perfCode} {
		m := re.FindSubmatch(out)
		if m == nil {
			return dnsResult{}, fmt.Errorf("dnsperf says nothing of %s:\n%s", re, out)
		}
		found[i] = string(m[1])
	}
	rate, err := strconv.ParseFloat(found[0], 64)
	if err != nil {
		return dnsResult{}, err
	}
	done, err := strconv.Atoi(found[1])
	if err != nil {
		return dnsResult{}, err
	}
	return dnsResult{rate: rate, cpu: float64(used.Microseconds()) / float64(max(done, 1)), lost: found[2], code: found[3]}, nil
}

// startDNS starts this program as a name server on one core.
func startDNS(ctx context.Context, nodes int) (*nameServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "taskset", "-c", serverCore, self, dnsVerb, strconv.Itoa(nodes))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // it ends with us, however we end.
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &nameServer{name: "alps", pid: cmd.Process.Pid, close: sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait() // nothing that it could still say matters.
	})}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.close()
		return nil, fmt.Errorf("the name server did not start: %w", err)
	}
	s.addr = strings.TrimSpace(line)
	return s, nil
}

// serveDNS is that name server. It ends when its standard input does.
func serveDNS(ctx context.Context, count string, in io.Reader, out io.Writer) error {
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return fmt.Errorf("%s: %q is no number of nodes", dnsVerb, count)
	}
	s, err := dns.New(dns.Options{
		Listen: "127.0.0.1:0", Domains: []string{"consul"}, DC: "bj-e-01", TTL: 5 * time.Second, NegativeTTL: 2 * time.Second,
	})
	if err != nil {
		return err
	}
	nodes := make([]zone.Node, n)
	everywhere := zone.Service{DC: "bj-e-01", Name: "datanode"}
	for i := range nodes {
		a := dnsNodeAddr(i)
		nodes[i] = zone.Node{DC: "bj-e-01", Name: dnsNodeName(i), Addresses: []netip.Addr{a}}
		everywhere.Instances = append(everywhere.Instances, zone.Instance{Node: nodes[i].Name, Address: a, Port: 9866})
	}
	web := zone.Service{DC: "bj-e-01", Name: "web"}
	for i := range 3 {
		web.Instances = append(web.Instances, zone.Instance{Node: nodes[0].Name, ID: strconv.Itoa(i), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Own: true, Port: 80})
	}
	z, err := zone.Build(1, time.Now(), nodes, []zone.Service{everywhere, web})
	if err != nil {
		return err
	}
	for _, doc := range zone.Split(z.Diff(zone.Have{})) {
		if err := s.Apply(doc); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	fmt.Fprintln(out, s.Addr())
	return s.Run(ctx)
}

// startConsulDNS starts a Consul server with the same service, and leaves it
// the same core. It holds one node, which is in its favour.
func startConsulDNS(ctx context.Context) (*nameServer, *consultest.Node, error) {
	// Go's own heap settings, not the smaller heap that clusters for tests get.
	if err := os.Setenv("GOGC", "100"); err != nil {
		return nil, nil, err
	}
	c, err := consultest.Start(ctx, consultest.Options{})
	if err != nil {
		return nil, nil, err
	}
	n := c.Nodes()[0]
	s := &nameServer{name: "consul", addr: n.DNSAddr(), pid: n.PID(), close: func() { _ = c.Close() }}
	for i := range 3 {
		body := fmt.Sprintf(`{"ID":"web-%d","Name":"web","Address":"10.0.0.%d","Port":80}`, i, i+1)
		if err := put(ctx, "http://"+n.HTTPAddr()+"/v1/agent/service/register", body); err != nil {
			s.close()
			return nil, nil, err
		}
	}
	if out, err := exec.CommandContext(ctx, "taskset", "-a", "-p", "-c", serverCore, strconv.Itoa(s.pid)).CombinedOutput(); err != nil {
		s.close()
		return nil, nil, fmt.Errorf("give Consul one core: %w\n%s", err, bytes.TrimSpace(out))
	}
	return s, n, nil
}

func put(ctx context.Context, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s: %s", url, res.Status)
	}
	return nil
}
