package link

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"alps/agent/link/spool"
	"alps/mesh"
	"alps/mesh/frame"
)

const (
	dialTime = 10 * time.Second
	// helloTime is what a server has to answer a hello: it may have to wait
	// for the end of our link before this one.
	helloTime = 30 * time.Second
	// pingEvery keeps a link alive: servers, and filters in between, forget
	// what is silent for longer. A fifth more or less, at random.
	pingEvery = 30 * time.Second
	// silence is after how long without a word, pongs included, a link is
	// given up.
	silence = 90 * time.Second
	// writeTime is how long a write may block: a server may be slow to
	// commit, and silence is the better judge of whether it lives.
	writeTime = 90 * time.Second
	// maxInFlight and maxInFlightBytes bound what is sent and not yet
	// acknowledged: it fits the sockets' buffers, and is what a broken link
	// may repeat.
	maxInFlight      = 256
	maxInFlightBytes = 256 << 10
	// maxSkew is how far the clock may be off before it is worth a warning.
	maxSkew = 2 * time.Minute
)

// session is one connection to one server.
type session struct {
	l     *Link
	conn  *tls.Conn
	r     *frame.Reader
	boot  frame.BootID       // the one that the server counts our data in; of the sender.
	inbox chan frame.Message // from the reader to the handlers.
	space chan struct{}      // signalled when the window has opened.

	writing sync.Mutex

	mu     sync.Mutex
	flying []flight
	bytes  int
}

// flight is a message that is sent and not yet acknowledged.
type flight struct {
	boot  frame.BootID
	seq   uint64
	bytes int
}

// refusalError is the error of a link that the server refused, or ended, with
// a word of why.
type refusalError struct{ why *mesh.Error }

// Error returns the server's word.
func (r refusalError) Error() string { return r.why.Message }

// Unwrap makes the code and the hint reachable.
func (r refusalError) Unwrap() error { return r.why }

func isRefusal(err error) bool {
	_, ok := errors.AsType[refusalError](err)
	return ok
}

// session connects to one server and serves the link until it ends. began
// says whether the server took us.
func (l *Link) session(ctx context.Context, addr string) (began bool, err error) {
	conn, err := l.dial(ctx, addr)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()

	s := &session{
		l: l, conn: conn, r: frame.NewReader(conn),
		inbox: make(chan frame.Message, 16),
		space: make(chan struct{}, 1),
	}
	if err := s.hello(addr); err != nil {
		return false, err
	}
	g, ctx := errgroup.WithContext(ctx)
	stop2 := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() }) // one that fails ends all.
	defer stop2()
	g.Go(func() error { return s.read(ctx) })
	g.Go(func() error { return afterReader(ctx, s.send(ctx)) })
	g.Go(func() error { return afterReader(ctx, s.handle(ctx)) })
	err = g.Wait()
	s.l.lead.seenUntil(time.Now())
	if err := s.l.lead.save(); err != nil {
		s.l.log.Debug("the leader's term is not kept", "error", err)
	}
	return true, err
}

// afterReader gives the reader a moment to fail first: a write to a closed
// connection only says that it is closed, the last thing that came says why.
func afterReader(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		sleep(ctx, time.Second)
	}
	return err
}

func (l *Link) dial(ctx context.Context, addr string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// hello introduces us and reads the answer.
func (s *session) hello(addr string) error {
	sp := s.l.spool
	dropped, damaged := sp.Losses()
	m, err := frame.JSON(frame.Hello, 0, frame.HelloPayload{
		Version: frame.Version,
		Boot:    sp.Boot(),
		Release: s.l.o.Release,
		Name:    s.l.o.Name,
		Time:    time.Now(),
		Dropped: dropped,
		Corrupt: damaged,
	})
	if err != nil {
		return err
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(helloTime)); err != nil {
		return err
	}
	_ = s.write(m) // where it fails the read does too, and that error says why.
	m, err = s.r.Next()
	if err != nil {
		return err
	}
	var ok frame.HelloOKPayload
	switch m.Kind {
	case frame.Refuse:
		return refusalOf(m)
	case frame.HelloOK:
		err = m.Decode(&ok)
	default:
		err = mesh.Errorf(mesh.Invalid, "the server answered hello with %s", m.Kind)
	}
	if err != nil {
		return err
	}
	if err := s.l.lead.take(ok.Server, ok.Lead, time.Now()); err != nil {
		return err // what such a server says that it has committed is worth nothing either.
	}
	if err := s.l.lead.save(); err != nil {
		s.l.log.Warn("the leader's term is not kept", "error", err)
	}
	sp.Reported(dropped, damaged)
	sp.Ack(sp.Boot(), ok.Acked)
	s.boot = sp.Boot()
	s.l.began(addr, ok)
	return nil
}

func refusalOf(m frame.Message) error {
	var r frame.Refusal
	if err := m.Decode(&r); err != nil {
		return err
	}
	return refusalError{r.Err()}
}

// read takes what the server says.
func (s *session) read(ctx context.Context) error {
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.l.o.silence)); err != nil {
			return err
		}
		m, err := s.r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return mesh.Errorf(mesh.Unavailable, "the server has said nothing for %s", s.l.o.silence)
		}
		if err != nil {
			return err
		}
		switch {
		case m.Kind == frame.Ack:
			boot := frame.BootID(m.Payload)
			s.l.spool.Ack(boot, m.Seq)
			s.landed(boot, m.Seq)
		case m.Kind == frame.Refuse && m.Seq == 0:
			return refusalOf(m)
		case m.Kind == frame.Refuse:
			s.l.refusedMessage(m)
		case m.Kind >= 16:
			select {
			case s.inbox <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// refusedMessage notes that a message of ours will never be taken. The Ack
// that follows takes it out of the spool.
func (l *Link) refusedMessage(m frame.Message) {
	err := refusalOf(m)
	e, ok := errors.AsType[*mesh.Error](err)
	if !ok {
		return
	}
	l.mu.Lock()
	l.status.Refused++
	l.status.LastRefusal = e
	l.mu.Unlock()
	l.log.Warn("the server will not take a message", "seq", m.Seq, "error", e)
}

// send delivers what the spool holds, and pings.
func (s *session) send(ctx context.Context) error {
	sp := s.l.spool
	sp.Rewind()
	ping := time.NewTimer(s.nextPing())
	defer ping.Stop()
	for {
		if err := s.sendWaiting(); err != nil {
			return err
		}
		select {
		case <-sp.Wake():
		case <-s.space:
		case <-ping.C:
			if err := s.write(frame.Message{Kind: frame.Ping}); err != nil {
				return err
			}
			ping.Reset(s.nextPing())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) nextPing() time.Duration {
	p := s.l.o.ping
	return p*4/5 + rand.N(p*2/5)
}

// sendWaiting sends until the spool is empty or the window is full, many
// messages to a write.
func (s *session) sendWaiting() error {
	for {
		var batch []frame.Message
		for size := 0; size < frame.MaxFrame && s.open(); {
			r, ok := s.l.spool.Next()
			if !ok {
				break
			}
			batch = s.add(batch, r)
			size += len(r.Payload) + frame.HeaderSize
		}
		if len(batch) == 0 {
			return nil
		}
		if err := s.write(batch...); err != nil {
			return err
		}
	}
}

// add appends a record to a batch, behind a switch of the boot if it is of
// another, and counts it as flying.
func (s *session) add(batch []frame.Message, r spool.Record) []frame.Message {
	if r.Boot != s.boot {
		s.boot = r.Boot
		batch = append(batch, frame.Message{Kind: frame.Boot, Payload: []byte(r.Boot)})
	}
	s.mu.Lock()
	s.flying = append(s.flying, flight{r.Boot, r.Seq, len(r.Payload)})
	s.bytes += len(r.Payload)
	s.mu.Unlock()
	return append(batch, r.Message)
}

// open reports whether the window has room.
func (s *session) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flying) < maxInFlight && s.bytes < maxInFlightBytes
}

// landed takes acknowledged messages out of the window. They fly in order.
func (s *session) landed(boot frame.BootID, seq uint64) {
	s.mu.Lock()
	n := 0
	for n < len(s.flying) && s.flying[n].boot == boot && s.flying[n].seq <= seq {
		s.bytes -= s.flying[n].bytes
		n++
	}
	s.flying = s.flying[n:]
	s.mu.Unlock()
	select {
	case s.space <- struct{}{}:
	default:
	}
}

// handle gives messages to their handlers and tells the server the outcome.
func (s *session) handle(ctx context.Context) error {
	for {
		select {
		case m := <-s.inbox:
			answer := frame.Message{Kind: frame.Ack, Seq: m.Seq}
			err := s.handleOne(ctx, m)
			if ctx.Err() != nil {
				return ctx.Err() // the handler was interrupted: what it says is no answer.
			}
			if err != nil {
				s.l.log.Warn("message of the server not handled", "kind", m.Kind.String(), "error", err)
				if answer, err = frame.JSON(frame.Refuse, m.Seq, frame.RefusalOf(err)); err != nil {
					return err
				}
			}
			if err := s.write(answer); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) handleOne(ctx context.Context, m frame.Message) error {
	h := s.l.o.Handlers[m.Kind]
	if h == nil {
		return mesh.Errorf(mesh.Invalid, "this agent takes no %s messages", m.Kind).WithHint("run the same release of alps on both")
	}
	return h(ctx, m.Payload)
}

func (s *session) write(ms ...frame.Message) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	return frame.Write(s.conn, ms...)
}
