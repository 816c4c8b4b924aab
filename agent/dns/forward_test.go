package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	miekg "github.com/miekg/dns"

	"alps/mesh/zone"
)

// fakeUpstream is another name server, by UDP and TCP on one port.
type fakeUpstream struct {
	addr string
	asks atomic.Int32
}

// startUpstream answers with what fn makes of each question; nil from fn is no
// reply at all. A nil fn knows one address for every name.
func startUpstream(t testing.TB, fn func(m *miekg.Msg, network string) *miekg.Msg) *fakeUpstream {
	t.Helper()
	if fn == nil {
		fn = func(m *miekg.Msg, _ string) *miekg.Msg { return withA(m, "192.0.2.1") }
	}
	u := &fakeUpstream{}
	l, pc := bindBoth(t)
	u.addr = l.Addr().String()
	handler := func(network string) miekg.HandlerFunc {
		return func(w miekg.ResponseWriter, m *miekg.Msg) {
			u.asks.Add(1)
			if reply := fn(m, network); reply != nil {
				_ = w.WriteMsg(reply)
			}
		}
	}
	var wg sync.WaitGroup
	for _, srv := range []*miekg.Server{{Listener: l, Handler: handler("tcp")}, {PacketConn: pc, Handler: handler("udp")}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { _ = srv.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = srv.Shutdown() })
	}
	return u
}

func bindBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, pc
		}
		_ = l.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

func withA(m *miekg.Msg, a string) *miekg.Msg {
	r := new(miekg.Msg).SetReply(m)
	r.RecursionAvailable = true
	r.Answer = []miekg.RR{&miekg.A{Hdr: miekg.RR_Header{Name: m.Question[0].Name, Rrtype: miekg.TypeA, Class: 1, Ttl: 77}, A: net.ParseIP(a)}}
	return r
}

func rcode(m *miekg.Msg, code int) *miekg.Msg { return new(miekg.Msg).SetRcode(m, code) }

func forwarding(t testing.TB, ups ...*fakeUpstream) *Server {
	t.Helper()
	o := options()
	for _, u := range ups {
		o.Forward = append(o.Forward, u.addr)
	}
	return startSample(t, o)
}

func TestForward(t *testing.T) {
	t.Parallel()
	good := startUpstream(t, nil)
	failing := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg { return rcode(m, miekg.RcodeServerFailure) })
	silent := startUpstream(t, func(*miekg.Msg, string) *miekg.Msg { return nil })
	lying := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg { r := withA(m, "6.6.6.6"); r.Id++; return r })
	nothing := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg { return rcode(m, miekg.RcodeNameError) })
	for name, tc := range map[string]struct {
		ups    []*fakeUpstream
		answer string
		rcode  int
		ede    bool
	}{
		"the first answers":          {ups: []*fakeUpstream{good, failing}, answer: "192.0.2.1"},
		"the first fails":            {ups: []*fakeUpstream{failing, good}, answer: "192.0.2.1"},
		"the first is silent":        {ups: []*fakeUpstream{silent, good}, answer: "192.0.2.1"},
		"the first lies":             {ups: []*fakeUpstream{lying, good}, answer: "192.0.2.1"},
		"no such name is an answer":  {ups: []*fakeUpstream{nothing, good}, rcode: miekg.RcodeNameError},
		"all fail, one says so":      {ups: []*fakeUpstream{failing}, rcode: miekg.RcodeServerFailure},
		"all are silent":             {ups: []*fakeUpstream{silent}, rcode: miekg.RcodeServerFailure, ede: true},
		"silent, failing and a liar": {ups: []*fakeUpstream{silent, failing, lying}, rcode: miekg.RcodeServerFailure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := forwarding(t, tc.ups...)
			m := question("WWW.example.COM.", "A")
			m.SetEdns0(1232, false)
			got := ask(t, s, "udp", m)
			if got.Rcode != tc.rcode || got.Question[0].Name != "WWW.example.COM." || got.Authoritative || !got.RecursionAvailable && tc.answer != "" {
				t.Fatalf("got %s", got)
			}
			if tc.answer != "" {
				if want := []string{"WWW.example.COM. 77 IN A " + tc.answer}; !slices.Equal(say(got.Answer), want) {
					t.Errorf("answer %q, want %q", say(got.Answer), want)
				}
			}
			if tc.ede != hasEDE(got, edeUnreachable) {
				t.Errorf("extended error is there: %v, want %v", !tc.ede, tc.ede)
			}
		})
	}
}

func hasEDE(m *miekg.Msg, code uint16) bool {
	o := m.IsEdns0()
	return o != nil && slices.ContainsFunc(o.Option, func(e miekg.EDNS0) bool {
		ede, ok := e.(*miekg.EDNS0_EDE)
		return ok && ede.InfoCode == code
	})
}

func TestWhatIsOursIsNeverForwarded(t *testing.T) {
	up := startUpstream(t, nil)
	s := forwarding(t, up)
	followed := int32(0)
	for _, r := range rows() {
		if r.name == "outside.service.yixia." && r.typ == "A" {
			followed++ // its target is not ours.
		}
		if r.rcode != "REFUSED" && !strings.HasSuffix(r.name, ".arpa.") {
			ask(t, s, "udp", question(r.name, r.typ))
		}
	}
	ask(t, s, "udp", question("2.0.0.10.in-addr.arpa.", "PTR"))
	ask(t, s, "udp", question("2.0.0.10.in-addr.arpa.", "A"))
	m := question("www.example.com.", "A")
	m.RecursionDesired = false
	if got := ask(t, s, "udp", m); got.Rcode != miekg.RcodeRefused {
		t.Errorf("without RD: %s", got)
	}
	if n := up.asks.Load(); n != followed {
		t.Errorf("%d questions were forwarded, want %d", n, followed)
	}
	for _, name := range []string{"9.9.9.9.in-addr.arpa.", "nobody.", "some.host.example.", "yixia.example."} {
		if got := ask(t, s, "udp", question(name, "A")); len(got.Answer) != 1 {
			t.Errorf("%s is not forwarded: %s", name, got)
		}
	}
}

func TestAHostNameIsFollowed(t *testing.T) {
	up := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg {
		r := withA(m, "192.0.2.7")
		if m.Question[0].Qtype != miekg.TypeA || m.Question[0].Name != "db.example.com." {
			return rcode(m, miekg.RcodeServerFailure)
		}
		// By way of one more name, and soon over.
		alias := &miekg.CNAME{Hdr: miekg.RR_Header{Name: "db.example.com.", Rrtype: miekg.TypeCNAME, Class: 1, Ttl: 3}, Target: "real.example.com."}
		r.Answer[0].Header().Name = "real.example.com."
		r.Answer = append([]miekg.RR{alias}, r.Answer...)
		return r
	})
	s := forwarding(t, up)
	const alias = "outside.service.yixia. 5 IN CNAME db.example.com."
	for typ, want := range map[string][]string{
		"A":     {"db.example.com. 3 IN A 192.0.2.7", "outside.service.yixia. 3 IN CNAME db.example.com."},
		"AAAA":  {alias},
		"CNAME": {alias},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := say(ask(t, s, network, question("outside.service.yixia.", typ)).Answer); !slices.Equal(got, want) {
				t.Errorf("%s by %s: %q, want %q", typ, network, got, want)
			}
		}
	}
}

func FuzzAddressesIn(f *testing.F) {
	b, err := withA(question("a.example.", "A"), "192.0.2.1").Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, qtype := range []uint16{typeA, typeAAAA} {
			got, _ := addressesIn(in, qtype)
			for _, a := range got {
				if a.Is4() != (qtype == typeA) {
					t.Fatalf("%s is not of type %d", a, qtype)
				}
			}
		}
	})
}

func TestForwardByTCP(t *testing.T) {
	up := startUpstream(t, func(m *miekg.Msg, network string) *miekg.Msg {
		if network == "udp" {
			r := new(miekg.Msg).SetReply(m)
			r.Truncated = true
			return r
		}
		return withA(m, "192.0.2.9")
	})
	s := forwarding(t, up)
	if got := ask(t, s, "udp", question("big.example.", "A")); !got.Truncated || len(got.Answer) != 0 {
		t.Errorf("by UDP: %s", got)
	}
	if got := ask(t, s, "tcp", question("big.example.", "A")); got.Truncated || len(got.Answer) != 1 {
		t.Errorf("by TCP: %s", got)
	}
}

// TestALoopEnds has two servers forward to one another.
func TestALoopEnds(t *testing.T) {
	t.Parallel()
	var asks atomic.Int32
	var loop atomic.Pointer[Server]
	back := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg {
		asks.Add(1)
		c := miekg.Client{Timeout: forwardTime + 5*time.Second}
		reply, _, err := c.Exchange(m, loop.Load().Addr().String())
		if err != nil {
			return nil
		}
		reply.Id = m.Id
		return reply
	})
	s := forwarding(t, back)
	loop.Store(s)
	if got := ask(t, s, "udp", question("loop.example.", "A")); got.Rcode != miekg.RcodeServerFailure {
		t.Errorf("got %s", got)
	}
	if n := asks.Load(); n != 1 {
		t.Errorf("the question went around %d times", n)
	}
}

func TestStrangersAreNotServed(t *testing.T) {
	s := idle(t, options())
	s.nets = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "::ffff:192.168.7.7": true, "fd00::1": true, "fe80::1%eth0": true,
		"100.64.1.1": true, "198.51.100.9": true, "198.51.101.9": false, "8.8.8.8": false, "2001:db8::1": false,
	} {
		if got := s.near(ip(addr)); got != want {
			t.Errorf("%s is near: %v, want %v", addr, got, want)
		}
	}
	s.upstreams = []*upstream{{}}
	nodes, services := sample()
	apply(t, s, build(t, 1, nodes, services))
	w := worker{s: s, from: ip("8.8.8.8"), counts: new(counters)}
	for name, want := range map[string]byte{"www.example.com.": rcodeRefused, "consul-1.node.yixia.": rcodeOK} {
		reply, wait := w.answer(packet(t, name, "A", nil), false)
		if wait != nil || reply[3]&0xf != want {
			t.Errorf("a stranger who asks for %s gets %x", name, reply)
		}
	}
}

func TestForwardToItself(t *testing.T) {
	for _, tc := range []struct {
		addr, self string
		want       bool
	}{
		{"127.0.0.1:53", "127.0.0.1:53", true},
		{"127.0.0.1:53", "127.0.0.1:8600", false},
		{"127.0.0.53:53", "127.0.0.1:53", false},
		{"127.0.0.53:53", "0.0.0.0:53", true},
		{"[::1]:53", "[::]:53", true},
		{"[::ffff:127.0.0.1]:53", "127.0.0.1:53", true},
		{"192.0.2.1:53", "0.0.0.0:53", false},
	} {
		if got := isSelf(netip.MustParseAddrPort(tc.addr), netip.MustParseAddrPort(tc.self)); got != tc.want {
			t.Errorf("%s is %s: %v", tc.addr, tc.self, got)
		}
	}
	if _, err := newUpstreams([]string{"127.0.0.1:5"}, netip.MustParseAddrPort("127.0.0.1:5")); err == nil {
		t.Error("it forwards to itself")
	}
	if _, err := newUpstreams([]string{"dns.example:53"}, netip.MustParseAddrPort("127.0.0.1:5")); err == nil {
		t.Error("a name is taken for an address")
	}
}

func TestNameServers(t *testing.T) {
	text := "# comment\n; nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.2\nnameserver\nnameserver nonsense\n" +
		"nameserver 127.0.0.1\n\tnameserver  2001:db8::1 # two\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions ndots:2\n"
	got := nameServers(text, netip.MustParseAddrPort("127.0.0.1:53"))
	if d := cmp.Diff([]string{"10.0.0.2:53", "[2001:db8::1]:53", "10.0.0.3:53"}, got); d != "" {
		t.Error(d)
	}
}

func FuzzNameServers(f *testing.F) {
	f.Add("nameserver 10.0.0.2\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range nameServers(text, netip.MustParseAddrPort("127.0.0.1:53")) {
			if _, err := netip.ParseAddrPort(s); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// fakeConsul knows one node and one service.
type fakeConsul struct {
	asks atomic.Int32
	away atomic.Bool
	gate chan struct{} // nil: open.
}

func (c *fakeConsul) wait(ctx context.Context) error {
	c.asks.Add(1)
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.away.Load() {
		return errors.New("connection refused")
	}
	return nil
}

func (c *fakeConsul) Node(ctx context.Context, dc, name string) (zone.Node, bool, error) {
	if err := c.wait(ctx); err != nil || name != "fresh" {
		return zone.Node{}, false, err
	}
	return zone.Node{DC: dc, Name: "Fresh", Addresses: []netip.Addr{ip("10.5.5.5")}}, true, nil
}

func (c *fakeConsul) Service(ctx context.Context, dc, name string) (zone.Service, bool, error) {
	if err := c.wait(ctx); err != nil || name != "new" {
		return zone.Service{}, false, err
	}
	return zone.Service{DC: dc, Name: "new", Instances: []zone.Instance{{Node: "fresh", Address: ip("10.5.5.5"), Port: 9}}}, true, nil
}

func TestConsulIsAskedWhileNoServerIsLinked(t *testing.T) {
	consul, up := new(fakeConsul), startUpstream(t, nil)
	var linked atomic.Bool
	o := options()
	o.Fallback, o.Linked, o.Forward = consul, linked.Load, []string{up.addr}
	s := startSample(t, o)
	for _, r := range []row{
		{name: "fresh.node.yixia.", typ: "A", answer: []string{"fresh.node.yixia. 5 IN A 10.5.5.5"}},
		{name: "FRESH.node.bj-e-01.yixia.", typ: "A", answer: []string{"FRESH.node.bj-e-01.yixia. 5 IN A 10.5.5.5"}},
		{name: "fresh.", typ: "A", answer: []string{"fresh. 5 IN A 10.5.5.5"}},
		{name: "new.service.dc-unseen.yixia.", typ: "A", answer: []string{"new.service.dc-unseen.yixia. 5 IN A 10.5.5.5"}},
		{name: "nobody.node.yixia.", typ: "A", rcode: "NXDOMAIN"},
		{name: "x?y/z.node.yixia.", typ: "A", rcode: "NXDOMAIN"},
		{name: "a/b.service.yixia.", typ: "A", rcode: "NXDOMAIN"},
		{name: "nobody.", typ: "A", answer: []string{"nobody. 77 IN A 192.0.2.1"}},
		{name: "consul-1.node.yixia.", typ: "A", answer: []string{"consul-1.node.yixia. 5 IN A 10.0.0.1"}},
	} {
		got := ask(t, s, "udp", question(r.name, r.typ))
		if r.rcode == "" {
			r.rcode = "NOERROR"
		}
		if d := cmp.Diff(r.answer, say(got.Answer), empty); d != "" || miekg.RcodeToString[got.Rcode] != r.rcode {
			t.Errorf("%s: %s %s", r.name, miekg.RcodeToString[got.Rcode], d)
		}
	}
	before := consul.asks.Load()
	ask(t, s, "udp", question("fresh.node.yixia.", "AAAA"))
	if n := consul.asks.Load(); n != before || n > 4 {
		t.Errorf("Consul was asked %d times, and again %d times for what it had just said", before, n-before)
	}
	linked.Store(true)
	if got := ask(t, s, "udp", question("other.node.yixia.", "A")); got.Rcode != miekg.RcodeNameError || consul.asks.Load() != before {
		t.Errorf("with a server: %s, and Consul was asked %d times", got, consul.asks.Load()-before)
	}
}

func TestConsulIsAskedBesideACopy(t *testing.T) {
	consul := new(fakeConsul)
	o := options()
	o.Fallback, o.Dir = consul, t.TempDir()
	nodes, services := sample()
	z := build(t, 1, nodes, services)
	if err := os.WriteFile(filepath.Join(o.Dir, copyFile), z.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, o)
	for _, name := range []string{"fresh.node.yixia.", "consul-1.node.yixia."} {
		if got := ask(t, s, "udp", question(name, "A")); len(got.Answer) != 1 {
			t.Errorf("before a server is there: %s", got)
		}
	}
	apply(t, s, z)
	if got := ask(t, s, "udp", question("fresh.node.yixia.", "A")); got.Rcode != miekg.RcodeNameError || consul.asks.Load() != 1 {
		t.Errorf("a server says that there is none: %s, Consul was asked %d times", got, consul.asks.Load())
	}
}

func TestNoViewAtAll(t *testing.T) {
	consul := new(fakeConsul)
	o := options()
	o.Fallback = consul
	s := start(t, o)
	if got := say(ask(t, s, "udp", question("new.service.yixia.", "SRV")).Answer); len(got) != 1 {
		t.Errorf("from Consul: %q", got)
	}
	consul.away.Store(true)
	m := question("other.node.yixia.", "A")
	m.SetEdns0(1232, false)
	if got := ask(t, s, "udp", m); got.Rcode != miekg.RcodeServerFailure || !hasEDE(got, edeNotReady) {
		t.Errorf("Consul is away: %s", got)
	}
	if got := ask(t, s, "udp", question("yixia.", "SOA")); len(got.Answer) != 1 {
		t.Errorf("the apex: %s", got)
	}
}

// TestWhoWaitsHoldsUpNobody asks, on one connection, for what an upstream is
// slow to answer, and then for what is known.
func TestWhoWaitsHoldsUpNobody(t *testing.T) {
	gate := make(chan struct{})
	up := startUpstream(t, func(m *miekg.Msg, _ string) *miekg.Msg { <-gate; return withA(m, "192.0.2.1") })
	s := forwarding(t, up)
	conn := dial(t, s, "tcp")
	for i, name := range []string{"slow.example.", "consul-1.node.yixia."} {
		b := packet(t, name, "A", func(m *miekg.Msg) { m.Id = uint16(i) })
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []byte{1, 0} {
		if b := readTCP(t, conn); b[1] != want {
			t.Errorf("reply %d came, want %d", b[1], want)
		}
		if want == 1 {
			close(gate)
		}
	}
}

func TestManyAskForOneName(t *testing.T) {
	consul := &fakeConsul{gate: make(chan struct{})}
	o := options()
	o.Fallback = consul
	s := start(t, o)
	replies := make(chan int, 20)
	for range 20 {
		go func() {
			c := miekg.Client{Timeout: 10 * time.Second}
			m, _, err := c.Exchange(question("fresh.node.yixia.", "A"), s.Addr().String())
			if err != nil {
				replies <- -1
				return
			}
			replies <- len(m.Answer)
		}()
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.Status().Queries < 20 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	close(consul.gate)
	for range 20 {
		if n := <-replies; n != 1 {
			t.Errorf("%d answers", n)
		}
	}
	if n := consul.asks.Load(); n != 1 {
		t.Errorf("Consul was asked %d times", n)
	}
}
