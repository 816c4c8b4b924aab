package link

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
)

// link is one agent's connection. Its goroutine reads and commits; writes
// come from anybody, under the mutex. It is kept small: there are thousands.
type link struct {
	s      *Server
	conn   *tls.Conn
	r      *frame.Reader
	peer   frame.Peer // Boot is the boot of the data being read; of the goroutine alone once it runs.
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of this link runs any more.

	mu      sync.Mutex
	since   time.Time             // when it was accepted; zero before.
	reason  error                 // why it ended; nil while it has not.
	sent    uint64                // the number of the last data message downward.
	waiting map[uint64]chan error // who waits for an answer to which number; nil while nobody.
}

// run owns the link until it ends. old is the node's link before this one,
// whose last commit must be over before our first.
func (l *link) run(ctx context.Context, hello frame.HelloPayload, old *link) {
	defer close(l.done)
	if old != nil {
		<-old.done
	}
	peer := l.peer // as of the hello: what both hooks are told.
	err := l.accept(hello)
	if err == nil {
		if l.s.o.OnConnect != nil {
			l.s.o.OnConnect(peer, hello)
		}
		err = l.loop(ctx)
		l.end(err)
		if l.s.o.OnDisconnect != nil {
			l.s.o.OnDisconnect(peer, l.why())
		}
	}
	l.end(err)
	l.s.unregister(l)
	l.s.log.Debug("link ended", "node", peer.NodeID, "name", peer.Name, "from", peer.Addr, "reason", l.why())
}

// accept answers the hello.
func (l *link) accept(hello frame.HelloPayload) error {
	now := time.Now()
	skew := hello.Time.Sub(now)
	if skew.Abs() > maxSkew {
		l.s.log.Warn("the clock of a node is wrong", "node", l.peer.NodeID, "name", l.peer.Name, "ahead", skew.Round(time.Second))
	}
	if hello.Dropped+hello.Corrupt > 0 {
		l.s.log.Warn("a node had to drop messages", "node", l.peer.NodeID, "name", l.peer.Name,
			"dropped", hello.Dropped, "unreadable", hello.Corrupt)
	}
	m, err := frame.JSON(frame.HelloOK, 0, frame.HelloOKPayload{
		Version: frame.Version,
		Server:  l.s.o.Name,
		Time:    now,
		Skew:    skew.Seconds(),
		Acked:   l.s.marks.get(l.peer.NodeID, l.peer.Boot),
		Lead:    l.s.o.Lead(),
		Nodes:   l.s.o.Nodes(),
	})
	if err != nil {
		return err
	}
	if err := l.write(m); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = now
	return l.reason
}

// loop reads and handles messages until the link breaks.
func (l *link) loop(ctx context.Context) error {
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(l.s.o.silence)); err != nil {
			return err
		}
		m, err := l.r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return mesh.Errorf(mesh.Unavailable, "nothing was heard for %s", l.s.o.silence)
		}
		if err != nil {
			return err
		}
		if l.s.o.Revoked(l.peer.NodeID) {
			return errRevoked(l.peer.NodeID)
		}
		batch := []frame.Message{m}
		var broken error
		if m.Kind.Up() {
			batch, broken = l.gather(batch)
		}
		if err := l.handle(ctx, batch); err != nil {
			return err
		}
		if broken != nil {
			return broken
		}
	}
}

// gather adds to a batch what is readable now or within a moment. An error is
// returned beside the messages that came before it.
func (l *link) gather(batch []frame.Message) ([]frame.Message, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(linger)); err != nil {
		return batch, err
	}
	size := len(batch[0].Payload)
	for len(batch) < maxBatch && size < maxBatchBytes {
		m, err := l.r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return batch, nil
		}
		if err != nil {
			return batch, err
		}
		batch = append(batch, m)
		size += len(m.Payload)
	}
	return batch, nil
}

// handle goes through a batch in order. Data of one kind that stands together
// is committed together; one Ack at the end covers all of a boot.
func (l *link) handle(ctx context.Context, batch []frame.Message) error {
	var acked uint64
	for len(batch) > 0 {
		n := 1
		var err error
		if m := batch[0]; m.Kind >= 16 {
			for n < len(batch) && batch[n].Kind == m.Kind {
				n++
			}
			var upTo uint64
			upTo, err = l.commit(ctx, batch[:n])
			acked = max(acked, upTo)
		} else {
			if m.Kind == frame.Boot {
				err = l.ack(acked)
				acked = 0
			}
			if err == nil {
				err = l.control(m)
			}
		}
		if err != nil {
			return errors.Join(err, l.ack(acked)) // what is committed is not sent again.
		}
		batch = batch[n:]
	}
	return l.ack(acked)
}

func (l *link) ack(seq uint64) error {
	if seq == 0 {
		return nil
	}
	return l.write(frame.Message{Kind: frame.Ack, Seq: seq, Payload: []byte(l.peer.Boot)})
}

// control handles a message that is not data.
func (l *link) control(m frame.Message) error {
	switch m.Kind {
	case frame.Ping:
		return l.write(frame.Message{Kind: frame.Pong})
	case frame.Boot:
		boot, err := frame.ParseBootID(string(m.Payload))
		if err != nil {
			return mesh.Errorf(mesh.Invalid, "switch boot: %w", err)
		}
		l.peer.Boot = boot
		return nil
	case frame.Ack:
		l.answer(m.Seq, nil)
		return nil
	case frame.Refuse:
		var r frame.Refusal
		if err := m.Decode(&r); err != nil {
			return err
		}
		l.answer(m.Seq, r.Err())
		return nil
	case frame.Hello, frame.HelloOK, frame.Pong:
		return mesh.Errorf(mesh.Invalid, "a %s message has no place here", m.Kind)
	default:
		return nil // of a later version; see package frame.
	}
}

// commit hands messages of one kind to their consumer and returns the number
// up to which they are done with, which may be part of them beside an error.
func (l *link) commit(ctx context.Context, ms []frame.Message) (uint64, error) {
	last := l.s.marks.get(l.peer.NodeID, l.peer.Boot)
	end := ms[len(ms)-1].Seq
	for i := 1; i < len(ms); i++ {
		if ms[i].Seq <= ms[i-1].Seq {
			return 0, mesh.Errorf(mesh.Invalid, "message %d comes after message %d of boot %s", ms[i].Seq, ms[i-1].Seq, l.peer.Boot)
		}
	}
	all := len(ms)
	for len(ms) > 0 && ms[0].Seq <= last {
		ms = ms[1:]
	}
	l.s.count.repeated.Add(int64(all - len(ms)))
	if len(ms) == 0 {
		return end, nil
	}
	c := l.s.o.Consumers[ms[0].Kind]
	if c == nil {
		err := mesh.Errorf(mesh.Invalid, "this server takes no %s messages", ms[0].Kind).WithHint("run the same release of alps on both")
		for _, m := range ms {
			if err := l.refuseMessage(m, err); err != nil {
				return 0, err
			}
		}
		return end, nil
	}
	err := l.try(ctx, c, ms)
	if !final(err) {
		if err != nil {
			return 0, uncommitted(ms[0], err)
		}
		return end, nil
	}
	return l.commitEach(ctx, c, ms)
}

// commitEach finds out which messages of a refused batch are to blame.
func (l *link) commitEach(ctx context.Context, c Consumer, ms []frame.Message) (upTo uint64, err error) {
	for i, m := range ms {
		err := l.try(ctx, c, ms[i:i+1])
		if final(err) {
			err = l.refuseMessage(m, err)
		}
		if err != nil {
			return upTo, uncommitted(m, err)
		}
		upTo = m.Seq
	}
	return upTo, nil
}

// try calls a consumer once and notes its success.
func (l *link) try(ctx context.Context, c Consumer, ms []frame.Message) error {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	if err := c.Commit(ctx, l.peer, ms); err != nil {
		return err
	}
	l.s.marks.set(l.peer.NodeID, l.peer.Boot, ms[len(ms)-1].Seq)
	l.s.count.commits.Add(1)
	l.s.count.messages.Add(int64(len(ms)))
	return nil
}

// final reports whether a Consumer's error means: never.
func final(err error) bool {
	code := mesh.CodeOf(err)
	return code == mesh.Invalid || code == mesh.Denied
}

// uncommitted is why a link ends whose messages could not be committed now.
// The agent is told, so that it waits before it sends them again.
func uncommitted(m frame.Message, err error) error {
	return mesh.Errorf(mesh.Unavailable, "commit %s messages from number %d on: %w", m.Kind, m.Seq, err)
}

// refuseMessage reports a message that will never be taken, to us and to the
// agent.
func (l *link) refuseMessage(m frame.Message, why error) error {
	l.s.count.refused.Add(1)
	l.s.log.Warn("message refused", "node", l.peer.NodeID, "name", l.peer.Name, "kind", m.Kind.String(), "seq", m.Seq, "error", why)
	if l.s.o.OnRefused != nil {
		l.s.o.OnRefused(l.peer, m, why)
	}
	l.s.marks.set(l.peer.NodeID, l.peer.Boot, m.Seq)
	r, err := frame.JSON(frame.Refuse, m.Seq, frame.RefusalOf(why))
	if err != nil {
		return err
	}
	return l.write(r)
}

// write sends messages, or ends the link.
func (l *link) write(ms ...frame.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(ms...)
}

func (l *link) writeLocked(ms ...frame.Message) error {
	if l.reason != nil {
		return l.reason
	}
	err := l.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil {
		err = frame.Write(l.conn, ms...)
	}
	if err != nil {
		// Half a TLS record may be out: nobody can write after it.
		_ = l.conn.NetConn().Close()
	}
	return err
}

// refuse tells the agent why there will be no link, as far as it listens.
func (l *link) refuse(why error) {
	if r, err := frame.JSON(frame.Refuse, 0, frame.RefusalOf(why)); err == nil {
		_ = l.write(r) // the agent may be gone already.
	}
}

// end closes the connection for a reason, which the agent is told when it is
// ours to tell. Only the first call counts. It does not wait for run.
func (l *link) end(why error) {
	if why == nil {
		why = errors.New("ended")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != nil {
		return
	}
	if _, ours := errors.AsType[*mesh.Error](why); ours {
		if r, err := frame.JSON(frame.Refuse, 0, frame.RefusalOf(why)); err == nil {
			_ = l.writeLocked(r) // as above.
		}
	}
	l.reason = why
	l.cancel()
	_ = l.conn.Close()
	for _, c := range l.waiting {
		c <- mesh.Errorf(mesh.Unavailable, "the link ended before the node answered: %w", why)
	}
	l.waiting = nil
}

// why returns the reason for the end.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

func errRevoked(id mesh.NodeID) *mesh.Error {
	return mesh.Errorf(mesh.Denied, "node %s is revoked", id).
		WithHint("enrol it again with a new join token if it should come back")
}
