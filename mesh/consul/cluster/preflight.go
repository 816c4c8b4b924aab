package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"alps/mesh"
)

const (
	minFree  = 500 << 20 // bytes on disk: raft logs and Consul's own logs.
	minFiles = 4096      // file descriptors of one process.
)

// raiseFiles lifts our limit of open files to what is allowed, for us and for
// the children to come.
func raiseFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if l.Max < minFiles {
		return mesh.Errorf(mesh.Unavailable, "the limit of open files is %d; Consul needs at least %d", l.Max, minFiles).
			WithHint("raise it: ulimit -Hn 65536 as root, or LimitNOFILE= of the service")
	}
	// Set it even if it is there: the runtime takes back for children what it
	// raised by itself, but not what we set.
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", l.Max, err)
	}
	return nil
}

// maxConns is how many connections one source address may have to a Consul.
// All clients of a test or a benchmark share one address, so the default of
// 200 is far too low. Consul refuses to start when it comes near the limit of
// open files.
func maxConns() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 200
	}
	return int(min(l.Cur/2, 16384))
}

// checkDisk fails if dir lies on a file system that is nearly full.
func checkDisk(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	if free < minFree {
		return mesh.Errorf(mesh.Unavailable, "%s has %d MiB free; a cluster needs %d", dir, free>>20, minFree>>20).
			WithHint("make room, or use another directory")
	}
	return nil
}

// socket is one address that a node will listen on.
type socket struct {
	network string // "tcp" or "udp".
	addr    netip.AddrPort
}

func (n *Node) sockets() []socket {
	ip := netip.MustParseAddr(n.Addr)
	tcp := []uint16{portLAN, portHTTP, portDNS}
	udp := []uint16{portLAN, portDNS}
	if n.Server {
		tcp = append(tcp, portRPC, portWAN)
		udp = append(udp, portWAN)
	}
	var ss []socket
	for _, p := range tcp {
		ss = append(ss, socket{"tcp", netip.AddrPortFrom(ip, p)})
	}
	for _, p := range udp {
		ss = append(ss, socket{"udp", netip.AddrPortFrom(ip, p)})
	}
	return ss
}

// checkFree fails with a mesh.Conflict if something listens on s, and says
// what.
func (s socket) checkFree(ctx context.Context) error {
	var lc net.ListenConfig
	var c io.Closer
	var err error
	if s.network == "tcp" {
		c, err = lc.Listen(ctx, s.network, s.addr.String())
	} else {
		c, err = lc.ListenPacket(ctx, s.network, s.addr.String())
	}
	if err == nil {
		return c.Close()
	}
	by := ""
	if who, ok := s.holder(); ok {
		by = " by " + who
	}
	return mesh.Errorf(mesh.Conflict, "%s %s is taken%s: %w", s.network, s.addr, by, err).
		WithHint("end that process, or choose another subnet")
}

// holder names the process that listens on s, as far as we may see it.
func (s socket) holder() (string, bool) {
	for _, file := range []string{"/proc/net/" + s.network, "/proc/net/" + s.network + "6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, l := range parseListeners(b) {
			ip := l.addr.Addr()
			if l.addr.Port() != s.addr.Port() || (ip != s.addr.Addr() && !ip.IsUnspecified()) {
				continue
			}
			if s.network == "tcp" && l.state != tcpListen {
				continue
			}
			return ownerOf(l.inode)
		}
	}
	return "", false
}

// ownerOf finds the process that has a socket open, by its inode.
func ownerOf(inode uint64) (string, bool) {
	want := fmt.Sprintf("socket:[%d]", inode)
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good.
	for _, fd := range fds {
		if got, err := os.Readlink(fd); err != nil || got != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm")) // the pid alone is worth saying.
		return fmt.Sprintf("%s (pid %s)", bytes.TrimSpace(comm), filepath.Base(dir)), true
	}
	return "", false
}

// tcpListen is the kernel's number of the state LISTEN.
const tcpListen = 0x0a

type listener struct {
	addr  netip.AddrPort
	state uint64
	inode uint64
}

// parseListeners reads /proc/net/tcp and its like. Lines that it cannot read
// are left out: they only cost a name in an error message.
func parseListeners(b []byte) []listener {
	var ls []listener
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		addr, ok := parseProcAddr(f[1])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if ok && err1 == nil && err2 == nil {
			ls = append(ls, listener{addr, state, inode})
		}
	}
	return ls
}

// parseProcAddr reads "0100007F:1F90": each four bytes of the address are a
// number in the machine's own byte order, in hexadecimal.
func parseProcAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(host)
	if err != nil || (len(b) != 4 && len(b) != 16) {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	ip, _ := netip.AddrFromSlice(b) // has one of the two lengths.
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)), true
}
