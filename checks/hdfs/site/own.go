package site

import (
	"context"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// Own returns the NameNode that runs with this configuration on this machine:
// the one that dfs.ha.namenode.id names, else the one whose address is the
// machine's. Nil means that it is none of them.
func (s *Site) Own(ctx context.Context) (*NameNode, error) {
	nns, err := s.NameNodes()
	if err != nil {
		return nil, err
	}
	id := s.Get("dfs.ha.namenode.id")
	var own *NameNode
	for _, n := range nns {
		if id != "" && n.ID != id {
			continue
		}
		if host, _, _ := net.SplitHostPort(n.RPC); !Local(ctx, host) {
			continue
		}
		if own != nil {
			return nil, s.badf("dfs.ha.namenode.id", "want the id of this NameNode, as %s and %s are both on this machine", own.Name(), n.Name())
		}
		own = &n
	}
	return own, nil
}

// NameDirs returns the directories of dfs.namenode.name.dir that are on this
// machine's disks; none when it is not set.
func (s *Site) NameDirs() ([]string, error) {
	const key = "dfs.namenode.name.dir"
	var out []string
	for _, word := range s.list(key) {
		dir := word
		if u, err := url.Parse(word); err == nil && u.Scheme == "file" && u.Host == "" {
			dir = u.Path
		}
		if !path.IsAbs(dir) || strings.Contains(dir, "${") {
			return nil, s.badf(key, "want an absolute path such as file:///data/name, got %q", word)
		}
		out = append(out, path.Clean(dir))
	}
	return out, nil
}

// lookTime bounds a question to the resolver.
const lookTime = 3 * time.Second

// Local reports whether a host, a name or an address, is this machine. A name
// that nobody knows is another's.
func Local(ctx context.Context, host string) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ip := range Addresses(ctx, host) {
		if ip.IsLoopback() || slices.ContainsFunc(own, func(o net.Addr) bool {
			n, ok := o.(*net.IPNet)
			return ok && n.IP.Equal(ip)
		}) {
			return true
		}
	}
	return false
}

// Addresses returns the addresses of a host; none when nobody knows it.
func Addresses(ctx context.Context, host string) []net.IP {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return ips
}

// Alone says which nameservice there is; an error when there are several: what
// is done to one DataNode would have to be done in each.
func (s *Site) Alone() error {
	if n := s.Services(); len(n) > 1 {
		return mesh.Errorf(mesh.Invalid, "%s has %d nameservices, %s: federation is not looked after", s.Dir, len(n), strings.Join(n, ", "))
	}
	return nil
}
