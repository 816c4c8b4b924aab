package dns

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxSockets bounds how many cores answer: eight of them answer a million
	// questions a second.
	maxSockets = 8
	// maxQuery is the longest packet that is read: a question with all that
	// EDNS may add. What is longer is cut, and then does not parse.
	maxQuery = 4096
	// receiveBuffer is what the kernel may hold while we are not running.
	receiveBuffer = 1 << 20
)

// socket is one of several that share an address; the kernel spreads packets
// over them.
type socket struct {
	conn *net.UDPConn
	addr netip.AddrPort
	// wildcard sockets learn which address a packet was for, and reply from
	// it: a client takes no answer from another.
	wildcard bool
}

// listen binds TCP first, so that a port that the kernel chooses is free for
// both, then as many sockets for UDP as there are cores.
func (s *Server) listen(addr netip.AddrPort) error {
	for range 8 {
		l, err := net.ListenTCP(network("tcp", addr.Addr()), net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return errListen("TCP", addr, err)
		}
		chosen := l.Addr().(*net.TCPAddr).AddrPort() // what ListenTCP returns.
		chosen = netip.AddrPortFrom(addr.Addr(), chosen.Port())
		err = s.listenUDP(chosen)
		if err == nil {
			s.listener = l
			return nil
		}
		_ = l.Close() // nobody has connected.
		if addr.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return errListen("UDP", chosen, err)
		}
	}
	return errListen("UDP", addr, syscall.EADDRINUSE)
}

// network says which family to bind: 0.0.0.0 means IPv4 alone, [::] means both.
func network(proto string, a netip.Addr) string {
	switch {
	case a.Is4():
		return proto + "4"
	case a.IsUnspecified():
		return proto
	}
	return proto + "6"
}

func (s *Server) listenUDP(addr netip.AddrPort) error {
	// Sockets that share an address would share it with another agent of the
	// same user as well, and each get half of the questions. One that does not
	// share finds out whether the address is free.
	probe, err := net.ListenUDP(network("udp", addr.Addr()), net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	_ = probe.Close() // nothing was read.
	n := s.o.sockets
	if n == 0 {
		n = min(runtime.GOMAXPROCS(0), maxSockets)
	}
	var opened []*socket
	for range n {
		c, err := openSocket(addr)
		if err != nil {
			for _, o := range opened {
				_ = o.conn.Close() // nothing was read.
			}
			return err
		}
		opened = append(opened, c)
		s.counts = append(s.counts, new(counters))
	}
	s.sockets = opened
	return nil
}

// openSocket binds one socket that shares its address with the others.
func openSocket(addr netip.AddrPort) (*socket, error) {
	family, sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "udp")
	// What is used is a duplicate.
	defer f.Close()
	wildcard := addr.Addr().IsUnspecified()
	if err := setOptions(fd, addr.Addr(), wildcard); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)             // what FilePacketConn returns for UDP.
	_ = conn.SetReadBuffer(receiveBuffer) // the kernel may allow less.
	return &socket{conn: conn, addr: addr, wildcard: wildcard}, nil
}

func sockaddr(addr netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	a := addr.Addr()
	if a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: a.As4()}, nil
	}
	six := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: a.As16()}
	if a.Zone() != "" {
		i, err := net.InterfaceByName(a.Zone())
		if err != nil {
			return 0, nil, err
		}
		six.ZoneId = uint32(i.Index)
	}
	return unix.AF_INET6, six, nil
}

func setOptions(fd int, a netip.Addr, wildcard bool) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	switch {
	case err != nil:
		return err
	case a.Is4() && wildcard:
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	case a.Is4():
		return nil
	case !wildcard:
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return errors.Join( // [::] is for both families.
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
}

// serveUDP answers what comes in on one socket.
func (s *Server) serveUDP(c *socket, counts *counters) error {
	w := worker{s: s, out: make([]byte, 0, udpSize), rnd: newRandom(), counts: counts}
	in := make([]byte, maxQuery)
	var oob []byte
	if c.wildcard {
		oob = make([]byte, 128)
	}
	for {
		n, oobn, _, from, err := c.conn.ReadMsgUDPAddrPort(in, oob)
		if closed(err) {
			return nil
		}
		if err != nil { // of one packet, or no memory: neither ends the agent.
			rest(s.ctx, 10*time.Millisecond)
			continue
		}
		info := replyFrom(oob[:oobn])
		w.from = from.Addr()
		reply, wait := w.answer(in[:n], false)
		if wait != nil {
			info := append([]byte(nil), info...)
			s.wait(wait, func(reply []byte) { c.send(reply, info, from) })
			continue
		}
		if reply != nil {
			c.send(reply, info, from)
		}
	}
}

// send sends a reply. A client that cannot be reached is its own problem.
func (c *socket) send(reply, info []byte, to netip.AddrPort) {
	_, _, _ = c.conn.WriteMsgUDPAddrPort(reply, info, to)
}

// replyFrom turns the control message that a packet came with into the one
// that makes the reply leave from the address that was asked.
func replyFrom(oob []byte) []byte {
	const head = unix.SizeofCmsghdr
	if len(oob) < head {
		return nil
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0])) //nolint:gosec // the kernel wrote it, and its length was looked at.
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(oob) >= head+unix.SizeofInet4Pktinfo:
		// Which way it goes is for the routes to say, not the interface that
		// the question came by.
		binary.NativeEndian.PutUint32(oob[head:], 0)
		return oob[:unix.CmsgSpace(unix.SizeofInet4Pktinfo)]
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(oob) >= head+unix.SizeofInet6Pktinfo:
		return oob[:unix.CmsgSpace(unix.SizeofInet6Pktinfo)]
	}
	return nil
}
