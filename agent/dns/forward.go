package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"alps/mesh"
)

const (
	// forwardTime is how long all upstreams together have: less than the 5 s
	// after which most clients ask again.
	forwardTime = 4 * time.Second
	// headStart is how long one upstream has before the next is asked as well.
	headStart = 250 * time.Millisecond
	// benched is how long an upstream that did not answer is asked last.
	benched = 10 * time.Second
)

// upstream is another name server.
type upstream struct {
	addr    netip.AddrPort
	benched atomic.Int64 // until then, Unix nanoseconds.
}

// newUpstreams checks whom to ask. self is where we listen.
func newUpstreams(list []string, self netip.AddrPort) ([]*upstream, error) {
	var out []*upstream
	for _, text := range list {
		addr, err := netip.ParseAddrPort(text)
		if err != nil || addr.Port() == 0 {
			return nil, mesh.Errorf(mesh.Invalid, "dns: forward to %q: want ip:port, such as 10.0.0.2:53", text)
		}
		if isSelf(addr, self) {
			return nil, mesh.Errorf(mesh.Invalid, "dns: forward to %s: that is this agent itself", addr).
				WithHint("name the servers that the machine asked before the agent was there")
		}
		out = append(out, &upstream{addr: addr})
	}
	return out, nil
}

// forward has a question answered by an upstream. The reply is the upstream's,
// with the id and the spelling of the question.
func (s *Server) forward(q *query) func(context.Context) []byte {
	own := q.clone()
	return func(ctx context.Context) []byte {
		s.extra.forwarded.Add(1)
		reply, _ := s.forwards.do(ctx, forwardKey(own), func() []byte { return s.exchange(ctx, own) })
		if reply == nil {
			s.extra.forwardFailed.Add(1)
			return s.reply(own, s.view.Load(), &answer{rcode: rcodeServFail, ede: edeUnreachable})
		}
		reply = slices.Clone(reply) // others got the same.
		reply[0], reply[1] = own.packet[0], own.packet[1]
		copy(reply[headerSize:], own.name)
		if !own.tcp && len(reply) > own.size {
			reply = cut(reply, own)
		}
		return reply
	}
}

// mayForward reports whether an upstream is to be asked for what is not ours.
func (s *Server) mayForward(q *query) bool {
	return len(s.upstreams) > 0 && q.rd() && s.near(q.from)
}

// near reports whether somebody belongs to this site: a server that asks
// others on behalf of the whole world is used to attack them.
func (s *Server) near(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || carrier.Contains(a) ||
		slices.ContainsFunc(s.nets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reply packs an answer apart from a worker.
func (s *Server) reply(q *query, v *view, a *answer) []byte {
	w := worker{s: s, rnd: newRandom()}
	var order []int
	if len(a.records) > 1 {
		order = w.rnd.order(a.records, fits(q.limit))
	}
	out, _ := s.packerOf(v).pack(nil, q, a, order)
	return out
}

// cut leaves of a reply that its header and the question, and says so.
func cut(reply []byte, q *query) []byte {
	reply = reply[:headerSize+len(q.name)+4]
	reply[2] |= bitTC
	clear(reply[6:headerSize])
	return reply
}

// clone copies a query with its packet.
func (q *query) clone() *query {
	c := &query{from: q.from}
	c.parse(slices.Clone(q.packet), q.tcp) // as it did before.
	return c
}

// forwardKey is equal for questions that get the same reply.
func forwardKey(q *query) string {
	b := slices.Clone(q.lower())
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	b = binary.BigEndian.AppendUint16(b, q.class)
	b = binary.BigEndian.AppendUint16(b, uint16(q.size))
	flags := byte(0)
	for i, on := range []bool{q.tcp, q.edns, q.do} {
		if on {
			flags |= 1 << i
		}
	}
	return string(append(b, flags, q.packet[3]))
}

// exchange asks the upstreams, one after the other with a head start each, and
// takes the first good reply. Where there is none it takes any, and nil where
// none has answered.
func (s *Server) exchange(ctx context.Context, q *query) []byte {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel() // the losers stop.
	list := s.inOrder(time.Now())
	results := make(chan []byte, len(list))
	next := time.NewTimer(0)
	defer next.Stop()
	var second []byte
	for asked, back := 0, 0; back < len(list); {
		select {
		case <-ctx.Done():
			return second
		case <-next.C:
			if asked == len(list) {
				continue
			}
			u := list[asked]
			asked++
			s.tasks.Go(func() { results <- u.ask(ctx, q) })
			next.Reset(headStart)
		case reply := <-results:
			back++
			if reply != nil && (reply[3]&0xf == rcodeOK || reply[3]&0xf == rcodeNXDomain) {
				return reply
			}
			if reply != nil {
				second = reply
			}
			next.Reset(0)
		}
	}
	return second
}

// inOrder returns the upstreams with those last that failed of late.
func (s *Server) inOrder(now time.Time) []*upstream {
	list := slices.Clone(s.upstreams)
	slices.SortStableFunc(list, func(a, b *upstream) int {
		return a.rank(now) - b.rank(now)
	})
	return list
}

func (u *upstream) rank(now time.Time) int {
	if u.benched.Load() > now.UnixNano() {
		return 1
	}
	return 0
}

// ask sends the question to one upstream; nil when it gives no reply to it.
func (u *upstream) ask(ctx context.Context, q *query) []byte {
	packet := slices.Clone(q.packet)
	binary.BigEndian.PutUint16(packet, uint16(rand.Uint32()))
	reply, err := u.once(ctx, "udp", packet)
	if err == nil && q.tcp && reply[2]&bitTC != 0 {
		reply, err = u.once(ctx, "tcp", packet)
	}
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // another one was faster: no fault of this one.
			u.benched.Store(time.Now().Add(benched).UnixNano())
		}
		return nil
	}
	u.benched.Store(0)
	return reply
}

// once makes one exchange on a socket of its own: the kernel chooses a port
// that nobody can guess.
func (u *upstream) once(ctx context.Context, network string, packet []byte) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, u.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // ends the read.
	defer stop()
	if network == "tcp" {
		return stream(conn, packet)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], packet) {
			return slices.Clone(buf[:n]), nil
		}
	}
}

func stream(conn net.Conn, packet []byte) ([]byte, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !answers(reply, packet) {
		return nil, fmt.Errorf("read reply: it is to another question")
	}
	return reply, nil
}

// answers reports whether reply is to the question in packet, whatever case
// its letters are in.
func answers(reply, packet []byte) bool {
	end := headerSize
	for packet[end] != 0 { // it was parsed.
		end += 1 + int(packet[end])
	}
	end += 5
	return len(reply) >= end && reply[0] == packet[0] && reply[1] == packet[1] && reply[2]&bitQR != 0 &&
		binary.BigEndian.Uint16(reply[4:]) == 1 && equalFold(reply[headerSize:end], packet[headerSize:end])
}

// equalFold compares questions without regard to the case of ASCII letters.
func equalFold(a, b []byte) bool {
	for i := range a {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}
