package dns

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// maxConns is how many clients may be connected at a time.
	maxConns = 128
	// maxPipelined is how many questions of one client may wait at a time.
	maxPipelined = 16
	// idleTime is how long a client may say nothing, and how long it may take
	// to take a reply.
	idleTime = 5 * time.Second
)

func newRandom() random { return random(rand.Uint64()) }

// serveTCP accepts clients until ctx ends.
func (s *Server) serveTCP(ctx context.Context) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := s.listener.AcceptTCP()
		if closed(err) {
			return nil
		}
		if err != nil { // out of descriptors, most likely: not for us to end the agent.
			rest(ctx, 100*time.Millisecond)
			continue
		}
		select {
		case s.tcpConns <- struct{}{}:
		default:
			s.extra.dropped.Add(1)
			_ = conn.Close() // it may come again when others have gone.
			continue
		}
		clients.Go(func() {
			defer func() { <-s.tcpConns }()
			s.serveConn(ctx, conn)
		})
	}
}

// rest waits a little, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// client is one connection. Replies go out in the order that they are ready
// in.
type client struct {
	conn    net.Conn
	mu      sync.Mutex // one reply at a time.
	waiting sync.WaitGroup
	slots   chan struct{}
}

func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read.
	c := &client{conn: conn, slots: make(chan struct{}, maxPipelined)}
	defer func() {
		stop()
		c.waiting.Wait()
		_ = conn.Close() // all that was to be said was said.
	}()
	w := worker{s: s, rnd: newRandom(), counts: &s.extra}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		w.from = a.AddrPort().Addr()
	}
	in := make([]byte, 0, minUDP)
	for {
		var err error
		if in, err = c.read(in); err != nil {
			return
		}
		reply, wait := w.answer(in, true)
		switch {
		case wait != nil:
			in = make([]byte, 0, minUDP) // the question may still be looked at.
			c.later(s, wait)
		case reply == nil: // no question: nothing more will make sense.
			return
		case !c.write(reply):
			return
		}
	}
}

// read reads a message of at most maxQuery bytes.
func (c *client) read(buf []byte) ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(idleTime)); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > maxQuery {
		return nil, io.ErrShortBuffer
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err := io.ReadFull(c.conn, buf)
	return buf, err
}

func (c *client) write(reply []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(idleTime)); err != nil {
		return false
	}
	var head [2]byte
	binary.BigEndian.PutUint16(head[:], uint16(len(reply)))
	bufs := net.Buffers{head[:], reply}
	_, err := bufs.WriteTo(c.conn)
	return err == nil
}

// later answers a question that has to wait; the client may ask on meanwhile,
// up to a limit.
func (c *client) later(s *Server, wait func(context.Context) []byte) {
	c.slots <- struct{}{}
	c.waiting.Add(1)
	done := func() { <-c.slots; c.waiting.Done() }
	ok := s.wait(func(ctx context.Context) []byte {
		defer done()
		if reply := wait(ctx); reply != nil {
			c.write(reply)
			s.extra.sent(reply)
		}
		return nil
	}, nil)
	if !ok {
		done()
	}
}
