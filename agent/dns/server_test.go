package dns

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	miekg "github.com/miekg/dns"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var built = time.UnixMilli(1_800_000_000_000)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// sample is a small estate in two datacenters.
func sample() ([]zone.Node, []zone.Service) {
	const dc = "bj-e-01"
	nodes := []zone.Node{
		{DC: dc, Name: "consul-1", Addresses: []netip.Addr{ip("10.0.0.1")}},
		{DC: dc, Name: "consul-2", Addresses: []netip.Addr{ip("10.0.0.2")}},
		{DC: dc, Name: "consul-3", Addresses: []netip.Addr{ip("10.0.0.3")}},
		{DC: dc, Name: "Dual", FQDN: "dual.example.com", Addresses: []netip.Addr{ip("10.0.0.4"), ip("fd00::4")}},
		{DC: dc, Name: "with.dots", Addresses: []netip.Addr{ip("10.0.0.5")}},
		{DC: "sh-a-01", Name: "far", Addresses: []netip.Addr{ip("10.9.0.1")}},
	}
	consul := zone.Service{DC: dc, Name: "consul"}
	for i := range 3 {
		consul.Instances = append(consul.Instances, zone.Instance{Node: nodes[i].Name, Address: nodes[i].Addresses[0], Port: 8300})
	}
	web := zone.Service{DC: dc, Name: "Web", Instances: []zone.Instance{
		{Node: "consul-1", ID: "a", Address: ip("10.0.0.1"), Port: 80, Tags: []string{"Primary", "v1.2"}, Weight: 10},
		{Node: "consul-1", ID: "b", Address: ip("10.0.0.1"), Port: 81, Tags: []string{"v2"}},
		{Node: "Dual", ID: "c", Address: ip("10.1.1.1"), Own: true, Port: 82},
		{Node: "Dual", ID: "d", Address: ip("fd00::99"), Own: true, Port: 83},
	}}
	many := zone.Service{DC: dc, Name: "many"}
	for i := range 60 {
		many.Instances = append(many.Instances, zone.Instance{
			Node: fmt.Sprintf("m-%d", i), Address: netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), Port: 1000,
		})
	}
	return nodes, []zone.Service{
		consul, web, many,
		{DC: dc, Name: "down"},
		{DC: dc, Name: "outside", Instances: []zone.Instance{{Node: "consul-1", Host: "db.example.com", Port: 5432}}},
		{DC: "sh-a-01", Name: "web", Instances: []zone.Instance{{Node: "far", Address: ip("10.9.0.1"), Port: 80}}},
	}
}

func build(t testing.TB, serial uint64, nodes []zone.Node, services []zone.Service) *zone.Zone {
	t.Helper()
	z, err := zone.Build(serial, built, nodes, services)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// options are those of a server on loopback, with EDNS by two sockets.
func options() Options {
	return Options{
		Listen: "127.0.0.1:0", Domains: []string{"yixia", "consul.corp.example"}, DC: "bj-e-01", Node: "consul-1",
		TTL: 5 * time.Second, NegativeTTL: 2 * time.Second, BareNames: true, sockets: 2,
	}
}

// start runs a server until the test ends.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// apply brings a server to a zone.
func apply(t testing.TB, s *Server, z *zone.Zone) {
	t.Helper()
	have, err := zone.DecodeHave(s.Have())
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range zone.Split(z.Diff(have)) {
		if err := s.Apply(doc); err != nil {
			t.Fatal(err)
		}
	}
}

func startSample(t testing.TB, o Options) *Server {
	t.Helper()
	s := start(t, o)
	nodes, services := sample()
	apply(t, s, build(t, 42, nodes, services))
	return s
}

// ask sends a question, waits for a reply, and reads it.
func ask(t testing.TB, s *Server, network string, m *miekg.Msg) *miekg.Msg {
	t.Helper()
	c := miekg.Client{Net: network, UDPSize: 65535, Timeout: 10 * time.Second}
	reply, _, err := c.Exchange(m, s.Addr().String())
	if err != nil {
		t.Fatalf("%s %s by %s: %v", m.Question[0].Name, miekg.TypeToString[m.Question[0].Qtype], network, err)
	}
	return reply
}

func question(name, typ string) *miekg.Msg {
	return new(miekg.Msg).SetQuestion(name, miekg.StringToType[typ])
}

// say writes a reply's records for people, sorted.
func say(rrs []miekg.RR) []string {
	out := make([]string, 0, len(rrs))
	for _, rr := range rrs {
		if rr.Header().Rrtype != miekg.TypeOPT {
			out = append(out, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(out)
	return out
}

type row struct {
	name, typ string
	rcode     string // empty: NOERROR.
	answer    []string
	soa       string // owner in the authority section; empty: none.
	extra     []string
}

func rows() []row {
	const dom, corp = "yixia.", "consul.corp.example."
	return []row{
		// Nodes.
		{name: "consul-1.node.yixia.", typ: "A", answer: []string{"consul-1.node.yixia. 5 IN A 10.0.0.1"}},
		{name: "consul-1.node.bj-e-01.yixia.", typ: "A", answer: []string{"consul-1.node.bj-e-01.yixia. 5 IN A 10.0.0.1"}},
		{name: "consul-1.node.bj-e-01.dc.yixia.", typ: "A", answer: []string{"consul-1.node.bj-e-01.dc.yixia. 5 IN A 10.0.0.1"}},
		{name: "consul-1.node.consul.corp.example.", typ: "A", answer: []string{"consul-1.node.consul.corp.example. 5 IN A 10.0.0.1"}},
		{name: "far.node.sh-a-01.yixia.", typ: "A", answer: []string{"far.node.sh-a-01.yixia. 5 IN A 10.9.0.1"}},
		{name: "far.node.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "with.dots.node.yixia.", typ: "A", answer: []string{"with.dots.node.yixia. 5 IN A 10.0.0.5"}},
		{name: "dual.node.yixia.", typ: "AAAA", answer: []string{"dual.node.yixia. 5 IN AAAA fd00::4"}},
		{name: "consul-1.node.yixia.", typ: "AAAA", soa: dom},
		{name: "consul-1.node.yixia.", typ: "MX", soa: dom},
		{name: "consul-1.node.yixia.", typ: "HTTPS", soa: dom},
		{name: "nobody.node.yixia.", typ: "MX", rcode: "NXDOMAIN", soa: dom},
		{name: "nobody.node.consul.corp.example.", typ: "A", rcode: "NXDOMAIN", soa: corp},
		{name: "consul-1.node.nowhere.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "consul-1.node.too.many.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "consul-1.node.yixia.", typ: "ANY", answer: []string{`consul-1.node.yixia. 5 IN HINFO "RFC8482" ""`}},

		// Names on the way to others.
		{name: "node.yixia.", typ: "A", soa: dom},
		{name: "node.bj-e-01.yixia.", typ: "A", soa: dom},
		{name: "service.yixia.", typ: "A", soa: dom},
		{name: "_tcp.service.yixia.", typ: "A", soa: dom},
		{name: "2.web.service.yixia.", typ: "A", soa: dom},
		{name: "bj-e-01.yixia.", typ: "A", soa: dom},
		{name: "sh-a-01.yixia.", typ: "A", soa: dom},
		{name: "elsewhere.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "a.b.c.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: `a\.b.node.yixia.`, typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: `with\.dots.node.yixia.`, typ: "A", rcode: "NXDOMAIN", soa: dom},

		// Services.
		{name: "consul.service.bj-e-01.yixia.", typ: "A", answer: []string{
			"consul.service.bj-e-01.yixia. 5 IN A 10.0.0.1", "consul.service.bj-e-01.yixia. 5 IN A 10.0.0.2", "consul.service.bj-e-01.yixia. 5 IN A 10.0.0.3",
		}},
		{name: "consul.service.yixia.", typ: "AAAA", soa: dom},
		{name: "web.service.yixia.", typ: "A", answer: []string{"web.service.yixia. 5 IN A 10.0.0.1", "web.service.yixia. 5 IN A 10.1.1.1"}},
		{name: "web.service.yixia.", typ: "AAAA", answer: []string{"web.service.yixia. 5 IN AAAA fd00::99"}},
		{name: "web.service.sh-a-01.yixia.", typ: "A", answer: []string{"web.service.sh-a-01.yixia. 5 IN A 10.9.0.1"}},
		{name: "primary.web.service.yixia.", typ: "A", answer: []string{"primary.web.service.yixia. 5 IN A 10.0.0.1"}},
		{name: "v1.2.web.service.yixia.", typ: "A", answer: []string{"v1.2.web.service.yixia. 5 IN A 10.0.0.1"}},
		{name: "nobody.web.service.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "nobody.service.yixia.", typ: "SRV", rcode: "NXDOMAIN", soa: dom},
		{name: "many/1.service.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "down.service.yixia.", typ: "A", soa: dom},
		{name: "outside.service.yixia.", typ: "A", answer: []string{"outside.service.yixia. 5 IN CNAME db.example.com."}},
		{name: "outside.service.yixia.", typ: "SRV", answer: []string{"outside.service.yixia. 5 IN SRV 1 1 5432 db.example.com."}},
		{
			name: "web.service.yixia.", typ: "SRV",
			answer: []string{
				"web.service.yixia. 5 IN SRV 1 1 81 consul-1.node.bj-e-01.yixia.", "web.service.yixia. 5 IN SRV 1 1 82 0a010101.addr.bj-e-01.yixia.",
				"web.service.yixia. 5 IN SRV 1 1 83 fd000000000000000000000000000099.addr.bj-e-01.yixia.", "web.service.yixia. 5 IN SRV 1 10 80 consul-1.node.bj-e-01.yixia.",
			},
			extra: []string{
				"0a010101.addr.bj-e-01.yixia. 5 IN A 10.1.1.1", "consul-1.node.bj-e-01.yixia. 5 IN A 10.0.0.1",
				"fd000000000000000000000000000099.addr.bj-e-01.yixia. 5 IN AAAA fd00::99",
			},
		},
		{
			name: "_web._v2.service.yixia.", typ: "SRV", answer: []string{"_web._v2.service.yixia. 5 IN SRV 1 1 81 consul-1.node.bj-e-01.yixia."},
			extra: []string{"consul-1.node.bj-e-01.yixia. 5 IN A 10.0.0.1"},
		},
		{name: "_web._tcp.service.sh-a-01.yixia.", typ: "A", answer: []string{"_web._tcp.service.sh-a-01.yixia. 5 IN A 10.9.0.1"}},
		{name: "_web._tcp.sh-a-01.yixia.", typ: "A", answer: []string{"_web._tcp.sh-a-01.yixia. 5 IN A 10.9.0.1"}},
		{name: "_web._none.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},

		// Addresses as names, the apex, bare names.
		{name: "0a010101.addr.bj-e-01.yixia.", typ: "A", answer: []string{"0a010101.addr.bj-e-01.yixia. 5 IN A 10.1.1.1"}},
		{name: "0a010101.addr.yixia.", typ: "AAAA", soa: dom},
		{name: "0a0101.addr.yixia.", typ: "A", rcode: "NXDOMAIN", soa: dom},
		{name: "yixia.", typ: "SOA", answer: []string{"yixia. 5 IN SOA ns.yixia. hostmaster.yixia. 42 3600 600 86400 2"}},
		{name: "yixia.", typ: "NS", answer: []string{"yixia. 5 IN NS ns.yixia."}},
		{name: "yixia.", typ: "A", soa: dom},
		{name: "ns.yixia.", typ: "A", answer: []string{"ns.yixia. 5 IN A 10.0.0.1"}},
		{name: "consul-2.", typ: "A", answer: []string{"consul-2. 5 IN A 10.0.0.2"}},
		{name: "consul-2.", typ: "AAAA", soa: "consul-2."},
		{name: "far.", typ: "A", answer: []string{"far. 5 IN A 10.9.0.1"}},
		{name: "with.dots.", typ: "A", answer: []string{"with.dots. 5 IN A 10.0.0.5"}},

		// Back from an address.
		{name: "2.0.0.10.in-addr.arpa.", typ: "PTR", answer: []string{"2.0.0.10.in-addr.arpa. 5 IN PTR consul-2.node.bj-e-01.yixia."}},
		{name: "4.0.0.10.in-addr.arpa.", typ: "PTR", answer: []string{"4.0.0.10.in-addr.arpa. 5 IN PTR Dual.node.bj-e-01.yixia."}},
		{name: "1.0.9.10.in-addr.arpa.", typ: "PTR", answer: []string{"1.0.9.10.in-addr.arpa. 5 IN PTR far.node.sh-a-01.yixia."}},
		{name: "1.1.1.10.in-addr.arpa.", typ: "PTR", answer: []string{"1.1.1.10.in-addr.arpa. 5 IN PTR Web.service.bj-e-01.yixia."}},
		{name: "4." + strings.Repeat("0.", 27) + "0.0.d.f.ip6.arpa.", typ: "PTR", answer: []string{"4." + strings.Repeat("0.", 27) + "0.0.d.f.ip6.arpa. 5 IN PTR Dual.node.bj-e-01.yixia."}},
		{name: "2.0.0.10.in-addr.arpa.", typ: "A", soa: "in-addr.arpa."},
		{name: "9.9.9.9.in-addr.arpa.", typ: "PTR", rcode: "NXDOMAIN", soa: "in-addr.arpa."},
		{name: "0.10.in-addr.arpa.", typ: "PTR", soa: "in-addr.arpa."},
		{name: "300.0.0.10.in-addr.arpa.", typ: "PTR", rcode: "NXDOMAIN", soa: "in-addr.arpa."},

		// Not ours, and nobody to ask.
		{name: "www.example.com.", typ: "A", rcode: "REFUSED"},
		{name: "nobody.", typ: "A", rcode: "REFUSED"},
		{name: ".", typ: "NS", rcode: "REFUSED"},
		{name: "yixia.", typ: "AXFR", rcode: "REFUSED"},
	}
}

func TestAnswers(t *testing.T) {
	s := startSample(t, options())
	for _, network := range []string{"udp", "tcp"} {
		for _, r := range rows() {
			if r.typ == "AXFR" && network == "tcp" {
				continue // the client reads it as a transfer.
			}
			t.Run(network+"/"+r.name+"/"+r.typ, func(t *testing.T) {
				// Twice: what was packed answers as what is packed now.
				for range 2 {
					m := question(r.name, r.typ)
					m.SetEdns0(4096, false)
					check(t, r, ask(t, s, network, m))
				}
			})
		}
	}
}

func check(t *testing.T, want row, got *miekg.Msg) {
	t.Helper()
	if want.rcode == "" {
		want.rcode = "NOERROR"
	}
	if code := miekg.RcodeToString[got.Rcode]; code != want.rcode {
		t.Fatalf("rcode %s, want %s\n%s", code, want.rcode, got)
	}
	slices.Sort(want.answer)
	if d := cmp.Diff(want.answer, say(got.Answer), empty); d != "" {
		t.Errorf("answer: %s", d)
	}
	if d := cmp.Diff(want.extra, say(got.Extra), empty); d != "" {
		t.Errorf("additional: %s", d)
	}
	var soa string
	if len(got.Ns) == 1 && got.Ns[0].Header().Rrtype == miekg.TypeSOA {
		soa = got.Ns[0].Header().Name
		if got.Ns[0].Header().Ttl != 2 || got.Ns[0].(*miekg.SOA).Minttl != 2 {
			t.Errorf("SOA %s, want the negative TTL of 2", got.Ns[0])
		}
	}
	if soa != want.soa || len(got.Ns) > 1 {
		t.Errorf("authority %v, want the SOA of %q", got.Ns, want.soa)
	}
	if aa := want.rcode != "REFUSED"; got.Authoritative != aa || got.Truncated || got.RecursionAvailable {
		t.Errorf("aa %v tc %v ra %v, want aa %v", got.Authoritative, got.Truncated, got.RecursionAvailable, aa)
	}
	if opt := got.IsEdns0(); opt == nil || opt.UDPSize() != udpSize || opt.Version() != 0 || len(opt.Option) > 0 {
		t.Errorf("OPT is %v", opt)
	}
}

var empty = cmp.Transformer("len", func(s []string) []string { return append([]string{}, s...) })

// TestThePacketOfTheTalk compares with what a client saw in 2018: three
// records, their order aside, and not a byte more.
func TestThePacketOfTheTalk(t *testing.T) {
	up := startUpstream(t, nil)
	o := options()
	o.Forward = []string{up.addr}
	s := startSample(t, o)
	for range 5 {
		packet, err := question("consul.service.bj-e-01.yixia.", "A").Pack()
		if err != nil {
			t.Fatal(err)
		}
		got := raw(t, s, packet)
		if len(got) != 94 {
			t.Fatalf("%d bytes, want 94: %x", len(got), got)
		}
		var rows []string
		for at := 46; at < len(got); at += 16 {
			rows = append(rows, hex.EncodeToString(got[at:at+16]))
		}
		slices.Sort(rows)
		head := fmt.Sprintf("%x", got[2:46])
		want := "8580" + "0001000300000000" + "06636f6e73756c" + "0773657276696365" + "07626a2d652d3031" + "05796978696100" + "00010001"
		if head != want {
			t.Errorf("head\n%s, want\n%s", head, want)
		}
		const rr = "c00c00010001000000050004"
		if d := cmp.Diff([]string{rr + "0a000001", rr + "0a000002", rr + "0a000003"}, rows); d != "" {
			t.Error(d)
		}
	}
}

func TestHostsOfHadoop(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "hosts-hadoop.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var nodes []zone.Node
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 1 {
			continue
		}
		n, ok := mesh.ParseNaming(mesh.NodeName(words[0]))
		if !ok {
			t.Fatalf("%q does not fit the naming convention", words[0])
		}
		nodes = append(nodes, zone.Node{DC: "bj-e-01", Name: words[0], Addresses: []netip.Addr{ip("172.17." + n.Rack + "." + n.Number)}})
	}
	if len(nodes) != 28 {
		t.Fatalf("%d hosts in the fixture, want 28", len(nodes))
	}
	o := options()
	o.Reverse = ReverseBare
	s := start(t, o)
	apply(t, s, build(t, 1, nodes, nil))
	for _, n := range nodes {
		a := n.Addresses[0].String()
		for _, name := range []string{n.Name + ".", n.Name + ".node.yixia."} {
			if got, want := say(ask(t, s, "udp", question(name, "A")).Answer), []string{name + " 5 IN A " + a}; !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		back, err := miekg.ReverseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := say(ask(t, s, "udp", question(back, "PTR")).Answer), []string{back + " 5 IN PTR " + n.Name + "."}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", back, got, want)
		}
	}

	// One that joins is there at once, one that fails is not.
	if got := ask(t, s, "udp", question("bj-e-hadoop01-15-39.node.yixia.", "A")); got.Rcode != miekg.RcodeNameError {
		t.Fatalf("before it joins: %s", got)
	}
	joined := append(slices.Clone(nodes[1:]), zone.Node{DC: "bj-e-01", Name: "bj-e-hadoop01-15-39", Addresses: []netip.Addr{ip("172.17.15.39")}})
	for _, doc := range zone.Split(zone.Between(s.Zone(), build(t, 2, joined, nil))) {
		if err := s.Apply(doc); err != nil {
			t.Fatal(err)
		}
	}
	if got := say(ask(t, s, "udp", question("bj-e-hadoop01-15-39.node.yixia.", "A")).Answer); len(got) != 1 {
		t.Errorf("after it has joined: %q", got)
	}
	if got := ask(t, s, "udp", question(nodes[0].Name+".node.yixia.", "A")); got.Rcode != miekg.RcodeNameError {
		t.Errorf("after it has failed: %s", got)
	}
}

func TestReverseNames(t *testing.T) {
	for mode, want := range map[Reverse]string{ReverseNode: "Dual.node.bj-e-01.yixia.", ReverseBare: "Dual.", ReverseFQDN: "dual.example.com."} {
		o := options()
		o.Reverse = mode
		s := startSample(t, o)
		got := say(ask(t, s, "udp", question("4.0.0.10.in-addr.arpa.", "PTR")).Answer)
		if want := []string{"4.0.0.10.in-addr.arpa. 5 IN PTR " + want}; !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", mode, got, want)
		}
	}
}

func TestAgeIsVisible(t *testing.T) {
	s := startSample(t, options())
	m := ask(t, s, "udp", question("age.alps.yixia.", "TXT"))
	if len(m.Answer) != 1 {
		t.Fatalf("answer %v", m.Answer)
	}
	texts := m.Answer[0].(*miekg.TXT).Txt
	age, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(texts[0], "age="), "s"))
	if err != nil || age > 60 || !slices.Contains(texts, "serial=42") || !slices.Contains(texts, "source=server") {
		t.Errorf("TXT is %q", texts)
	}
	st := s.Status()
	if st.Serial != 42 || st.Source != SourceServer || st.Stale || st.Nodes != 6 || st.Queries != 1 || st.OK != 1 {
		t.Errorf("status %+v", st)
	}
}
