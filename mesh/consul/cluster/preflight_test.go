package cluster

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"alps/mesh"
)

func TestCheckFree(t *testing.T) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	wide, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	local := netip.MustParseAddr("127.0.0.1")
	port := func(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }
	cases := []struct {
		name string
		s    socket
	}{
		{"tcp", socket{"tcp", netip.AddrPortFrom(local, port(tcp.Addr()))}},
		{"tcp on every address", socket{"tcp", netip.AddrPortFrom(local, port(wide.Addr()))}},
		{"udp", socket{"udp", netip.AddrPortFrom(local, port(udp.LocalAddr()))}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.s.checkFree(t.Context())
			if mesh.CodeOf(err) != mesh.Conflict {
				t.Fatalf("checkFree = %v, want a conflict", err)
			}
			if want := c.s.addr.String() + " is taken by cluster.test (pid "; !strings.Contains(err.Error(), want) {
				t.Errorf("checkFree = %q, want it to contain %q", err, want)
			}
		})
	}
	if err := tcp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cases[0].s.checkFree(t.Context()); err != nil {
		t.Errorf("checkFree after the listener closed = %v", err)
	}
}

func TestParseListeners(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	cases := []struct {
		name, text string
		want       []listener
	}{
		{"nothing", head, nil},
		{
			"a listener", head + "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n",
			[]listener{{netip.MustParseAddrPort("127.0.0.1:8080"), tcpListen, 4711}},
		},
		{
			"sixth version, every address", "0: 00000000000000000000000000000000:2134 0:0 0A 0 0 0 0 0 12\n",
			[]listener{{netip.MustParseAddrPort("[::]:8500"), tcpListen, 12}},
		},
		{
			"sixth version, mapped", "0: 0000000000000000FFFF00000100007F:2134 0:0 01 0 0 0 0 0 12\n",
			[]listener{{netip.MustParseAddrPort("127.0.0.1:8500"), 1, 12}},
		},
		{"damaged", "0: 0100:1F90 0:0 0A 0 0 0 0 0 1\n1: 0100007F 0:0 0A 0 0 0 0 0 1\n2: 0100007F:1F90 0:0 ZZ 0 0 0 0 0 1\n", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := parseListeners([]byte(c.text))
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("line %d: got %v, want %v", i, got[i], c.want[i])
				}
			}
		})
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add([]byte("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n"))
	f.Add([]byte("0: 00000000000000000000000000000000:2134 0:0 0A 0 0 0 0 0 12\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, l := range parseListeners(b) {
			if !l.addr.IsValid() {
				t.Errorf("parseListeners(%q) gave the invalid address %v", b, l.addr)
			}
		}
	})
}

func TestCheckDisk(t *testing.T) {
	if err := checkDisk(t.TempDir()); err != nil {
		t.Errorf("checkDisk = %v", err)
	}
	if err := checkDisk("/no/such/place"); err == nil || !strings.Contains(err.Error(), "/no/such/place") {
		t.Errorf("checkDisk of nothing = %v, want an error that names it", err)
	}
}

func TestReserve(t *testing.T) {
	a, err := reserve("127.251.3") // outside of the range that is picked from.
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve("127.251.3"); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("second reserve = %v, want a conflict", err)
	}
	b, err := reserve("127.251.4")
	if err != nil {
		t.Errorf("reserve of the next subnet: %v", err)
	} else if err := b.release(); err != nil {
		t.Error(err)
	}
	if err := a.release(); err != nil {
		t.Error(err)
	}
	c, err := reserve("127.251.3")
	if err != nil {
		t.Fatalf("reserve after release: %v", err)
	}
	if err := c.release(); err != nil {
		t.Error(err)
	}
}
