package fact

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

// What one machine may put on the link. A load balancer with hundreds of
// addresses on one interface shows the first of them.
const (
	maxInterfaces = 64
	maxAddresses  = 32
)

// noise are the beginnings of the names that container engines, network
// plug-ins and hypervisors give to what they create and remove by themselves.
var noise = []string{
	"veth", "docker", "br-", "cni", "cali", "flannel", "cilium", "lxc", "lxd", "nerdctl", "podman",
	"virbr", "vnet", "tap", "fwbr", "fwpr", "fwln", "ifb", "dummy", "kube-ipvs", "nodelocaldns", "vxlan.calico",
}

// link is one interface as the kernel lists it.
type link struct {
	name      string
	mac       string
	addresses []netip.Prefix
}

// systemLinks lists the interfaces of this process's network namespace without
// loopback and noise. The noise is dropped before the addresses are asked for:
// each question is a dump of all of them, and a host of containers has
// thousands.
func systemLinks() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var (
		links []link
		errs  []error
	)
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 || isNoise(i.Name) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			errs = append(errs, fmt.Errorf("list addresses of %s: %w", i.Name, err))
		}
		l := link{name: i.Name, mac: i.HardwareAddr.String()}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.addresses = append(l.addresses, p)
			}
		}
		links = append(links, l)
	}
	return links, errors.Join(errs...)
}

func isNoise(name string) bool {
	return slices.ContainsFunc(noise, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// readInterfaces keeps the ports that have hardware behind them and the
// others that carry an address, sorted by name.
func readInterfaces(t tree, links []link, f *mesh.Facts) error {
	temporary := t.temporaryAddresses()
	links = slices.SortedFunc(slices.Values(links), func(a, b link) int { return cmp.Compare(a.name, b.name) })
	for _, l := range links {
		dir := path.Join("sys/class/net", l.name)
		i := mesh.Interface{Name: l.name, MAC: l.mac}
		slices.SortFunc(l.addresses, netip.Prefix.Compare)
		for _, p := range l.addresses {
			if a := p.Addr(); a.IsLinkLocalUnicast() || a.IsLoopback() || temporary[a] {
				continue
			}
			if len(i.Addresses) < maxAddresses {
				i.Addresses = append(i.Addresses, p.String())
			}
		}
		if len(i.Addresses) == 0 && !t.exists(path.Join(dir, "device")) {
			continue
		}
		// A port in a bond shows the bond's address, which is that of whichever
		// port came first; its own is kept here.
		if own := t.optional(path.Join(dir, "bonding_slave/perm_hwaddr")); own != "" {
			i.MAC = own
		}
		if len(f.Addresses) == maxInterfaces {
			return fmt.Errorf("only the first %d of up to %d are listed", maxInterfaces, len(links))
		}
		f.Addresses = append(f.Addresses, i)
	}
	return nil
}

// temporaryAddresses returns the IPv6 addresses that the kernel replaces by
// itself every few hours to hide the machine.
func (t tree) temporaryAddresses() map[netip.Addr]bool {
	const flagTemporary = 0x01
	out := make(map[netip.Addr]bool)
	// address ifindex prefix scope flags name, in hexadecimal.
	for line := range strings.Lines(t.optional("proc/net/if_inet6")) {
		w := strings.Fields(line)
		if len(w) < 5 || len(w[0]) != 32 {
			continue
		}
		flags, err := strconv.ParseUint(w[4], 16, 32)
		if err != nil || flags&flagTemporary == 0 {
			continue
		}
		var groups []string
		for i := 0; i < 32; i += 4 {
			groups = append(groups, w[0][i:i+4])
		}
		if a, err := netip.ParseAddr(strings.Join(groups, ":")); err == nil {
			out[a] = true
		}
	}
	return out
}
