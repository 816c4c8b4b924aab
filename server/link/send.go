package link

import (
	"context"
	"maps"
	"slices"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
)

// Send sends a message to a node and waits until the node has handled it. It
// returns what the node answered if it refused, mesh.Unavailable when there
// is no link or it breaks, and ctx's error when ctx ends; in the last two
// cases nobody knows whether the node handled it. It is not sent again: links
// have no spool downward.
func (s *Server) Send(ctx context.Context, to mesh.NodeID, k frame.Kind, payload []byte) error {
	answer := make(chan error, 1)
	l, seq, err := s.post(to, frame.Message{Kind: k, Payload: payload}, answer)
	if err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		l.forget(seq)
		return ctx.Err()
	}
}

// Post sends a message to a node and does not wait for the answer. Its errors
// are those of Send from before it waits.
func (s *Server) Post(to mesh.NodeID, k frame.Kind, payload []byte) error {
	_, _, err := s.post(to, frame.Message{Kind: k, Payload: payload}, nil)
	return err
}

// Broadcast posts a message to every node that has a link and waits for no
// answer. A link that is just opening is left out: OnConnect comes after it,
// and is where to say what every link begins with. One that fails is ended,
// and its node comes back to OnConnect too. The errors, of a kind or a size
// that cannot be sent, concern all alike.
func (s *Server) Broadcast(k frame.Kind, payload []byte) error {
	if !k.Down() {
		return mesh.Errorf(mesh.Invalid, "send to all nodes: %s is not a kind that servers send", k)
	}
	if err := frame.CheckSize(k, payload); err != nil {
		return err
	}
	s.mu.Lock()
	nodes := slices.Collect(maps.Keys(s.links))
	s.mu.Unlock()
	for _, id := range nodes {
		if err := s.Post(id, k, payload); err != nil {
			s.log.Debug("a node has missed what was sent to all", "node", id, "kind", k.String(), "error", err)
		}
	}
	return nil
}

// post numbers and writes a message. A non-nil answer gets exactly one value
// when the node answers or the link ends.
func (s *Server) post(to mesh.NodeID, m frame.Message, answer chan error) (*link, uint64, error) {
	if !m.Kind.Down() {
		return nil, 0, mesh.Errorf(mesh.Invalid, "send to node %s: %s is not a kind that servers send", to, m.Kind)
	}
	if err := frame.CheckSize(m.Kind, m.Payload); err != nil {
		return nil, 0, err
	}
	l := s.link(to)
	if l == nil {
		return nil, 0, mesh.Errorf(mesh.Unavailable, "node %s has no link to this server", to).
			WithHint("look at the node: `alps doctor`")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || l.reason != nil {
		return nil, 0, mesh.Errorf(mesh.Unavailable, "the link of node %s is just opening or closing", to)
	}
	l.sent++
	m.Seq = l.sent
	if answer != nil {
		if l.waiting == nil {
			l.waiting = make(map[uint64]chan error)
		}
		l.waiting[m.Seq] = answer
	}
	if err := l.writeLocked(m); err != nil {
		l.dropLocked(m.Seq)
		return nil, 0, mesh.Errorf(mesh.Unavailable, "send to node %s: %w", to, err)
	}
	return l, m.Seq, nil
}

// answer passes on what the node says of one of our messages.
func (l *link) answer(seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.waiting[seq]; ok {
		c <- err // has room for the one value that it gets.
		l.dropLocked(seq)
	}
}

// forget is called by one who waits no longer.
func (l *link) forget(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(seq)
}

func (l *link) dropLocked(seq uint64) {
	delete(l.waiting, seq)
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
}

// Connected reports whether a node has a link to this server, and since when.
func (s *Server) Connected(id mesh.NodeID) (since time.Time, ok bool) {
	l := s.link(id)
	if l == nil {
		return time.Time{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || l.reason != nil {
		return time.Time{}, false
	}
	return l.since, true
}

// Disconnect ends the link of a node that was revoked, if it has one here.
// Make Revoked say so first, or the node comes back.
func (s *Server) Disconnect(id mesh.NodeID) {
	if l := s.link(id); l != nil {
		l.end(errRevoked(id))
	}
}

func (s *Server) link(id mesh.NodeID) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[id]
}
