package dns

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"alps/mesh"
)

// maxUpstreams is how many name servers a resolv.conf may name, as libc sees
// it.
const maxUpstreams = 3

// Upstreams returns the name servers of a resolv.conf as ip:port, without the
// agent itself, which listens on self (ip:port): a machine whose resolv.conf
// names the agent alone has none.
func Upstreams(resolvConf, self string) ([]string, error) {
	text, err := os.ReadFile(resolvConf)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the name servers of this machine: %w", err).
			WithHint("name them in the agent's config: dns { forward = [\"10.0.0.2:53\"] }, or [\"none\"]")
	}
	own, err := netip.ParseAddrPort(self)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "dns: listen on %q: %w", self, err)
	}
	return nameServers(string(text), own), nil
}

// nameServers reads the text of a resolv.conf. Lines that it does not
// understand it leaves out, as libc does.
func nameServers(text string, self netip.AddrPort) []string {
	var out []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			continue
		}
		if addr := netip.AddrPortFrom(a, 53); !isSelf(addr, self) && len(out) < maxUpstreams {
			out = append(out, addr.String())
		}
	}
	return out
}

// isSelf reports whether what is sent to addr arrives at self.
func isSelf(addr, self netip.AddrPort) bool {
	a, own := addr.Addr().Unmap(), self.Addr().Unmap()
	switch {
	case addr.Port() != self.Port():
		return false
	case a == own:
		return true
	case !own.IsUnspecified():
		return false
	}
	return a.IsLoopback() || a.IsUnspecified() || isLocal(a)
}

// isLocal reports whether an address is one of this machine's.
func isLocal(a netip.Addr) bool {
	return slices.ContainsFunc(localNets(), func(p netip.Prefix) bool { return p.Addr() == a })
}

// localNets returns the addresses of this machine, each with the network that
// it is in.
func localNets() []netip.Prefix {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, i := range list {
		if p, err := netip.ParsePrefix(i.String()); err == nil {
			out = append(out, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return out
}

// carrier is what providers use behind their own translation (RFC 6598): as
// private as the private networks.
var carrier = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)
