package dns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"alps/mesh/zone"
)

// send sends packets on one socket.
func dial(t testing.TB, s *Server, network string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// raw sends a packet and returns the reply, byte by byte.
func raw(t testing.TB, s *Server, packet []byte) []byte {
	t.Helper()
	conn := dial(t, s, "udp")
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// packet packs a question after edit has changed it.
func packet(t testing.TB, name, typ string, edit func(*miekg.Msg)) []byte {
	t.Helper()
	m := question(name, typ)
	m.Id = 0x1234
	if edit != nil {
		edit(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opt(size uint16, do bool) func(*miekg.Msg) {
	return func(m *miekg.Msg) { m.SetEdns0(size, do) }
}

func TestOddQuestions(t *testing.T) {
	s := startSample(t, options())
	const name = "consul-1.node.yixia."
	plain := packet(t, name, "A", nil)
	edns := packet(t, name, "A", opt(1232, false))
	with := func(b []byte, at int, v byte) []byte { b = slices.Clone(b); b[at] = v; return b }
	for _, tc := range []struct {
		what   string
		packet []byte
		rcode  int
		opt    bool
		header bool // nothing but a header comes back.
	}{
		{what: "opcode 15", packet: with(plain, 2, 0x79), rcode: rcodeNotImp, header: true},
		{what: "an update", packet: with(plain, 2, 5<<3), rcode: rcodeNotImp, header: true},
		{what: "no question", packet: with(plain, 5, 0), rcode: rcodeFormErr, header: true},
		{what: "two questions", packet: with(plain, 5, 2), rcode: rcodeFormErr, header: true},
		{what: "cut in the name", packet: plain[:20], rcode: rcodeFormErr, header: true},
		{what: "cut before the type", packet: plain[:len(plain)-4], rcode: rcodeFormErr, header: true},
		{what: "header alone", packet: plain[:12], rcode: rcodeFormErr, header: true},
		{what: "a name that points", packet: with(plain, 12, 0xc0), rcode: rcodeFormErr, header: true},
		{what: "a record that is not there", packet: with(plain, 11, 1), rcode: rcodeFormErr, header: true},
		{what: "OPT of another name", packet: with(edns, len(edns)-11, 1), rcode: rcodeFormErr, header: true},
		{what: "two OPT", packet: with(append(slices.Clone(edns), edns[len(edns)-11:]...), 11, 2), rcode: rcodeFormErr, header: true},
		{what: "EDNS version 1", packet: with(edns, len(edns)-5, 1), rcode: rcodeBadVers, opt: true},
		{what: "class CHAOS", packet: packet(t, "version.bind.", "TXT", func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS }), rcode: rcodeRefused},
		{what: "class CHAOS with EDNS", packet: packet(t, name, "A", func(m *miekg.Msg) { m.Question[0].Qclass = 3; m.SetEdns0(1232, false) }), rcode: rcodeRefused, opt: true},
		{what: "an unknown option", packet: packet(t, name, "A", func(m *miekg.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &miekg.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
		}), opt: true},
		{what: "junk behind", packet: append(slices.Clone(plain), "junk"...)},
		{what: "a transfer by serial", packet: packet(t, "yixia.", "IXFR", func(m *miekg.Msg) {
			m.Ns = []miekg.RR{&miekg.SOA{Hdr: miekg.RR_Header{Name: "yixia.", Rrtype: miekg.TypeSOA, Class: 1}, Ns: ".", Mbox: "."}}
			m.SetEdns0(1232, false)
		}), rcode: rcodeRefused, opt: true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			b := raw(t, s, tc.packet)
			if tc.header && len(b) != headerSize {
				t.Fatalf("%d bytes, want a header: %x", len(b), b)
			}
			if b[0] != 0x12 || b[1] != 0x34 || b[2]&bitQR == 0 {
				t.Fatalf("header %x", b[:headerSize])
			}
			if tc.header {
				if got := int(b[3] & 0xf); got != tc.rcode {
					t.Errorf("rcode %d, want %d", got, tc.rcode)
				}
				return
			}
			m := new(miekg.Msg)
			if err := m.Unpack(b); err != nil {
				t.Fatal(err)
			}
			o := m.IsEdns0()
			if m.Rcode != tc.rcode || (o != nil) != tc.opt {
				t.Errorf("got %s, want rcode %d, OPT %v", m, tc.rcode, tc.opt)
			}
			if o != nil && (o.Version() != 0 || len(o.Option) != 0) {
				t.Errorf("OPT %v", o)
			}
		})
	}
}

func TestDropped(t *testing.T) {
	s := startSample(t, options())
	good := packet(t, "consul-1.node.yixia.", "A", nil)
	reply := slices.Clone(good)
	reply[2] |= bitQR
	conn := dial(t, s, "udp")
	for _, b := range [][]byte{{}, good[:11], reply, []byte("GET /")} {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(good); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil || n < len(good) {
		t.Fatalf("the first reply is %x, %v, want that to the good question", buf[:n], err)
	}
	if got := s.Status().Dropped; got != 4 {
		t.Errorf("%d dropped, want 4", got)
	}
}

func TestTheQuestionComesBackAsItWas(t *testing.T) {
	s := startSample(t, options())
	for _, name := range []string{"consul-1.node.yixia.", "CoNsUl-1.NoDe.YiXiA.", "CONSUL-1.NODE.YIXIA.", "WEB.service.yixia.", "nobody.SERVICE.yixia."} {
		for range 2 {
			for _, edit := range []func(*miekg.Msg){nil, opt(1232, true), opt(1232, false), opt(600, true)} {
				b := packet(t, name, "A", edit)
				got := raw(t, s, b)
				end := headerSize + len(name) + 1 + 4
				if !bytes.Equal(got[headerSize:end], b[headerSize:end]) {
					t.Errorf("question %q, want %q", got[headerSize:end], b[headerSize:end])
				}
				m := new(miekg.Msg)
				if err := m.Unpack(got); err != nil {
					t.Fatal(err)
				}
				asked := new(miekg.Msg)
				if err := asked.Unpack(b); err != nil {
					t.Fatal(err)
				}
				if (m.IsEdns0() != nil) != (edit != nil) || edit != nil && m.IsEdns0().Do() != asked.IsEdns0().Do() {
					t.Errorf("OPT %v to %v", m.IsEdns0(), asked.IsEdns0())
				}
			}
		}
	}
	for _, rd := range []bool{true, false, true} {
		got := ask(t, s, "udp", func() *miekg.Msg { m := question("consul-1.node.yixia.", "A"); m.RecursionDesired = rd; return m }())
		if got.RecursionDesired != rd {
			t.Errorf("rd %v came back as %v", rd, got.RecursionDesired)
		}
	}
}

func TestCutAnswers(t *testing.T) {
	s := startSample(t, options())
	for _, tc := range []struct {
		name, typ string
		edit      func(*miekg.Msg)
		limit     int
		whole     bool
	}{
		{"many.service.yixia.", "A", nil, 512, false},
		{"many.service.yixia.", "A", opt(100, false), 512, false},
		{"many.service.yixia.", "A", opt(800, true), 800, false},
		{"many.service.yixia.", "A", opt(1232, false), 1232, true},
		{"many.service.yixia.", "A", opt(65535, true), 1232, true},
		{"many.service.yixia.", "SRV", opt(4096, false), 1232, false},
		{"many.service.yixia.", "SRV", nil, 512, false},
	} {
		what := fmt.Sprintf("%s limit %d", tc.typ, tc.limit)
		m := question(tc.name, tc.typ)
		if tc.edit != nil {
			tc.edit(m)
		}
		b := raw(t, s, packet(t, tc.name, tc.typ, tc.edit))
		got := new(miekg.Msg)
		if err := got.Unpack(b); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(b) > tc.limit || got.Truncated == tc.whole || (len(got.Answer) == 60) != tc.whole {
			t.Errorf("%s: %d bytes, %d answers, tc %v", what, len(b), len(got.Answer), got.Truncated)
		}
		// One record more would not have fitted.
		if !tc.whole && len(b)+60 < tc.limit {
			t.Errorf("%s: %d bytes are fewer than need be", what, len(b))
		}
		if (got.IsEdns0() != nil) != (tc.edit != nil) {
			t.Errorf("%s: OPT %v", what, got.IsEdns0())
		}
		full := ask(t, s, "tcp", m)
		if len(full.Answer) != 60 || full.Truncated {
			t.Errorf("%s: by TCP %d answers, tc %v", what, len(full.Answer), full.Truncated)
		}
		if tc.typ == "SRV" && len(full.Extra) < 60 {
			t.Errorf("%s: by TCP %d additional records", what, len(full.Extra))
		}
	}
}

func TestAdditionalIsLeftOutFirst(t *testing.T) {
	s := start(t, options())
	web := zone.Service{DC: "bj-e-01", Name: "web"}
	for i := range 8 {
		web.Instances = append(web.Instances, zone.Instance{Node: fmt.Sprintf("some-node-%d", i), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 80})
	}
	apply(t, s, build(t, 1, nil, []zone.Service{web}))
	got := new(miekg.Msg)
	if err := got.Unpack(raw(t, s, packet(t, "web.service.yixia.", "SRV", nil))); err != nil {
		t.Fatal(err)
	}
	if len(got.Answer) != 8 || got.Truncated || len(got.Extra) >= 8 {
		t.Errorf("%d answers, tc %v, %d additional", len(got.Answer), got.Truncated, len(got.Extra))
	}
}

func TestAServiceOnFiveThousandNodes(t *testing.T) {
	s := start(t, options())
	z := estate(t, 5000)
	apply(t, s, z)
	if m := ask(t, s, "tcp", question("datanode.service.yixia.", "SRV")); !m.Truncated || len(m.Answer) < 500 {
		t.Errorf("SRV by TCP: tc %v, %d answers", m.Truncated, len(m.Answer))
	}
	if m := ask(t, s, "tcp", question("datanode.service.yixia.", "A")); m.Truncated != (len(m.Answer) < 5000) || len(m.Answer) < 4000 {
		t.Errorf("A by TCP: tc %v, %d answers", m.Truncated, len(m.Answer))
	}
	if m := ask(t, s, "udp", question("datanode.service.yixia.", "A")); !m.Truncated || len(m.Answer) == 0 {
		t.Errorf("A by UDP: tc %v, %d answers", m.Truncated, len(m.Answer))
	}
}

// estate is n nodes with three services each.
func estate(t testing.TB, n int) *zone.Zone {
	t.Helper()
	names := []string{"datanode", "nodemanager", "regionserver"}
	nodes, services := make([]zone.Node, n), make([]zone.Service, len(names))
	for i := range nodes {
		a := netip.AddrFrom4([4]byte{10, 17, byte(i >> 8), byte(i)})
		nodes[i] = zone.Node{DC: "bj-e-01", Name: fmt.Sprintf("bj-e-hadoop01-%d-%d", i>>8, i&255), Addresses: []netip.Addr{a}}
		for s := range services {
			services[s].DC, services[s].Name = "bj-e-01", names[s]
			services[s].Instances = append(services[s].Instances, zone.Instance{Node: nodes[i].Name, Address: a, Port: uint16(8000 + s)})
		}
	}
	return build(t, 1, nodes, services)
}

func TestLoadIsSpread(t *testing.T) {
	s := start(t, options())
	web := zone.Service{DC: "bj-e-01", Name: "web"}
	for i := range 4 {
		web.Instances = append(web.Instances, zone.Instance{Node: "n", ID: fmt.Sprint(i), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 80})
	}
	uneven := zone.Service{DC: "bj-e-01", Name: "uneven", Instances: slices.Clone(web.Instances)}
	uneven.Instances[0].Weight = 1000
	apply(t, s, build(t, 1, nil, []zone.Service{web, uneven}))
	firsts := func(name string) map[string]int {
		first := make(map[string]int)
		for range 400 {
			m := ask(t, s, "udp", question(name, "A"))
			first[m.Answer[0].(*miekg.A).A.String()]++
		}
		return first
	}
	got := firsts("web.service.yixia.")
	for i := range 4 {
		// Each is expected to be first 100 times of 400, give or take 9; forty
		// is more than six times that away.
		if n := got[fmt.Sprintf("10.0.0.%d", i)]; n < 40 || n > 160 {
			t.Errorf("10.0.0.%d came first %d times of 400: %v", i, n, got)
		}
	}
	if got := firsts("uneven.service.yixia."); got["10.0.0.0"] < 300 {
		t.Errorf("the one of weight 1,000 beside three of 1 came first %d times of 400", got["10.0.0.0"])
	}
}

func TestTCP(t *testing.T) {
	s := startSample(t, options())
	conn := dial(t, s, "tcp")
	var all []byte
	for i := range 50 {
		b := packet(t, "consul.service.yixia.", "A", func(m *miekg.Msg) { m.Id = uint16(i) })
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	// In pieces that respect no message.
	for chunk := range slices.Chunk(all, 7) {
		if _, err := conn.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint16]bool)
	for range 50 {
		m := new(miekg.Msg)
		if err := m.Unpack(readTCP(t, conn)); err != nil {
			t.Fatal(err)
		}
		seen[m.Id] = len(m.Answer) == 3
	}
	if len(seen) != 50 {
		t.Errorf("%d different replies, want 50", len(seen))
	}

	for what, b := range map[string][]byte{
		"longer than any question": {0xff, 0xff, 0},
		"no question":              append([]byte{0, 5}, "junk!"...),
	} {
		conn := dial(t, s, "tcp")
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: %d bytes came back, want the end", what, n)
		}
	}
}

func readTCP(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTooManyClients(t *testing.T) {
	s := startSample(t, options())
	for range maxConns {
		conn := dial(t, s, "tcp")
		b := packet(t, "consul-1.node.yixia.", "A", nil)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			t.Fatal(err)
		}
		readTCP(t, conn) // it was let in.
	}
	if n, err := dial(t, s, "tcp").Read(make([]byte, 1)); err == nil {
		t.Errorf("client %d is served %d bytes", maxConns+1, n)
	}
	if got := ask(t, s, "udp", question("consul-1.node.yixia.", "A")); len(got.Answer) != 1 {
		t.Error("UDP suffers from it")
	}
}

// TestTheReplyComesFromWhereItWasAsked asks a server that listens on all
// addresses at one of the loopback's many: a connected socket takes no reply
// from another.
func TestTheReplyComesFromWhereItWasAsked(t *testing.T) {
	for _, tc := range []struct{ listen, to string }{
		{"0.0.0.0:0", "127.0.0.7"}, {"0.0.0.0:0", "127.0.0.1"}, {"[::]:0", "127.0.0.7"}, {"[::]:0", "::1"}, {"[::1]:0", "::1"},
	} {
		t.Run(tc.listen+" "+tc.to, func(t *testing.T) {
			if strings.Contains(tc.listen+tc.to, "::") && !hasIPv6() {
				t.Skip("there is no IPv6 here")
			}
			o := options()
			o.Listen = tc.listen
			s := startSample(t, o)
			conn, err := net.Dial("udp", netip.AddrPortFrom(ip(tc.to), s.Addr().Port()).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"consul-1.node.yixia.", "consul-2.node.yixia."} {
				if _, err := conn.Write(packet(t, name, "A", nil)); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Read(make([]byte, 512)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		_ = l.Close()
	}
	return err == nil
}

func TestTheAddressIsTaken(t *testing.T) {
	s := startSample(t, options())
	o := options()
	o.Listen = s.Addr().String()
	if _, err := New(o); err == nil {
		t.Error("two servers share an address")
	}
}

func FuzzPacket(f *testing.F) {
	nodes, services := sample()
	s, err := New(options())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	apply(f, s, build(f, 1, nodes, services))
	for _, r := range rows() {
		f.Add(packet(f, r.name, r.typ, nil), false)
		f.Add(packet(f, r.name, r.typ, opt(1232, true)), true)
	}
	w := worker{s: s, rnd: 1, counts: new(counters)}
	f.Fuzz(func(t *testing.T, in []byte, tcp bool) {
		for range 2 { // what was packed is sent the second time.
			reply, wait := w.answer(in, tcp)
			if wait != nil {
				t.Fatal("something waits, and there is nobody to wait for")
			}
			sane(t, in, reply, tcp)
		}
	})
}

func sane(t *testing.T, in, reply []byte, tcp bool) {
	t.Helper()
	if len(in) < headerSize || in[2]&bitQR != 0 {
		if reply != nil {
			t.Fatalf("a reply to what is no question: %x", reply)
		}
		return
	}
	if len(reply) < headerSize || reply[0] != in[0] || reply[1] != in[1] || reply[2]&bitQR == 0 {
		t.Fatalf("reply %x", reply)
	}
	limit := udpSize
	if tcp {
		limit = tcpSize
	}
	if len(reply) > limit {
		t.Fatalf("%d bytes", len(reply))
	}
	m := new(miekg.Msg)
	if err := m.Unpack(reply); err != nil && len(reply) > headerSize {
		t.Fatalf("%v: %x", err, reply)
	}
	if len(reply) > minUDP && !tcp && m.IsEdns0() == nil {
		t.Fatalf("%d bytes to a client without EDNS", len(reply))
	}
}
