package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/proc"
)

// network is a bridge with an address range of its own, 10.77.<id>.0/24, and a
// network namespace on it for each DataNode. The name of the bridge is the
// reservation of the range: the kernel gives it to one. Each link bears the
// directory of the cluster as its alias, so that a later run knows whose it was.
type network struct{ id int }

const ipTimeout = 20 * time.Second

func (n *network) bridge() string       { return fmt.Sprintf("ah%d", n.id) }
func (n *network) addr(host int) string { return fmt.Sprintf("10.77.%d.%d", n.id, host) }

// newNetwork makes the bridge and the namespaces, which lie in dir/net by the
// names of their nodes. It needs root.
func newNetwork(dir string, names []string) (*network, error) {
	if os.Geteuid() != 0 {
		return nil, mesh.Errorf(mesh.Denied, "a network namespace for each DataNode needs root").
			WithHint("run it as root, or take the loopback layout")
	}
	n, err := newBridge(dir)
	if err != nil {
		return nil, err
	}
	if err := n.connect(dir, names); err != nil {
		return nil, errors.Join(err, dropNetwork(dir))
	}
	return n, nil
}

// newBridge takes a range that nobody has.
func newBridge(dir string) (*network, error) {
	var errs []error
	for range 20 {
		n := &network{id: rand.IntN(256)}
		if err := n.checkFree(); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := ip("link add " + n.bridge() + " type bridge"); mesh.CodeOf(err) == mesh.NotFound {
			return nil, err
		} else if err != nil {
			errs = append(errs, err)
			continue
		}
		lines := []string{alias(n.bridge(), dir), "link set " + n.bridge() + " up"}
		for host := 1; host <= len(journalNames()); host++ {
			lines = append(lines, fmt.Sprintf("addr add %s/24 dev %s", n.addr(host), n.bridge()))
		}
		if err := ip(lines...); err != nil {
			return nil, errors.Join(err, ip("link del "+n.bridge()))
		}
		return n, nil
	}
	return nil, fmt.Errorf("find a free network: %w", errors.Join(errs...))
}

// checkFree fails when an interface of ours is in the range.
func (n *network) checkFree() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list our addresses: %w", err)
	}
	ours := netip.MustParsePrefix(n.addr(0) + "/24")
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(ours) {
			return fmt.Errorf("the network %s is taken by %s", ours, p)
		}
	}
	return nil
}

// alias is the line that says whose a link is.
func alias(link, dir string) string { return fmt.Sprintf("link set dev %s alias \"%s\"", link, dir) }

// connect makes the namespaces and plugs them into the bridge.
func (n *network) connect(dir string, names []string) error {
	if err := os.MkdirAll(filepath.Join(dir, netDir), 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	for i, name := range names {
		path, link := filepath.Join(dir, netDir, name), fmt.Sprintf("%s-%d", n.bridge(), i+1)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return fmt.Errorf("make the namespace of %s: %w", name, err)
		}
		if err := proc.NewNetns(path); err != nil {
			return mesh.Errorf(mesh.Denied, "make the namespace of %s: %w", name, err).
				WithHint("run it where root may make network namespaces, or take the loopback layout")
		}
		err := ip(
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", link, path),
			alias(link, dir),
			fmt.Sprintf("link set %s master %s up", link, n.bridge()))
		if err != nil {
			return fmt.Errorf("connect %s: %w", name, err)
		}
		err = proc.InNetns(path, func() error {
			return ip("link set lo up", fmt.Sprintf("addr add %s/24 dev eth0", n.addr(i+firstData)), "link set eth0 up")
		})
		if err != nil {
			return fmt.Errorf("connect %s: %w", name, err)
		}
	}
	return nil
}

// ip runs lines of iproute2's commands, up to the first that fails. It has a
// deadline of its own and takes no context: what was made must be given back
// also when nobody wants it any more.
func ip(lines ...string) error {
	path, err := exec.LookPath("ip")
	if err != nil {
		return mesh.Errorf(mesh.NotFound, "a network namespace for each DataNode needs the command ip: %w", err).
			WithHint("apt-get install iproute2")
	}
	var said bytes.Buffer
	cmd := &exec.Cmd{
		Path: path, Args: []string{"ip", "-batch", "-"}, Stdout: &said, Stderr: &said,
		Stdin: strings.NewReader(strings.Join(lines, "\n") + "\n"),
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ip: %w", err)
	}
	late := time.AfterFunc(ipTimeout, func() { _ = cmd.Process.Kill() }) // fails if it has ended.
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(lines, "; "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// linksOf lists the links whose alias is dir: those of DataNodes first, the
// bridge last.
func linksOf(dir string) []string {
	files, _ := filepath.Glob("/sys/class/net/ah*/ifalias") // the pattern is good.
	var links []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && string(bytes.TrimSpace(b)) == dir {
			links = append(links, filepath.Base(filepath.Dir(f)))
		}
	}
	slices.SortFunc(links, func(a, b string) int { return strings.Count(b, "-") - strings.Count(a, "-") })
	return links
}

// dropNetwork takes the links of the cluster in dir down, and its namespaces,
// which end when the last process in them has. A link goes with its namespace,
// so somebody may be quicker.
func dropNetwork(dir string) error {
	var errs []error
	for _, link := range linksOf(dir) {
		err := ip("link del " + link)
		if _, there := os.Lstat(filepath.Join("/sys/class/net", link)); there == nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, unmountBelow(filepath.Join(dir, netDir)))...)
}
