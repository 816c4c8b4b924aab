package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/server/cmdb"
	"alps/server/enrol"
	"alps/server/job"
	"alps/server/link"
	"alps/server/store/sqlite"
)

// agents is what the rest of the server sees of the agents: who is linked, how
// to ask one for something, and what to do when one comes or goes. Its fields
// are set before anything runs.
type agents struct {
	link      *link.Server
	inventory *cmdb.CMDB
	jobs      *job.Service
	registrar *enrol.Registrar
	trust     *trust
	settings  *settings
	audit     *sqlite.DB
	log       hclog.Logger
	strangers seldom
}

// Connected implements cmdb.Links.
func (a *agents) Connected(id mesh.NodeID) (time.Time, bool) {
	if a.link == nil {
		return time.Time{}, false
	}
	return a.link.Connected(id)
}

// Ask implements job.Asker. The agent uploads each body by itself, later.
func (a *agents) Ask(ctx context.Context, node mesh.NodeID, digests []string) error {
	for _, d := range digests {
		payload, err := json.Marshal(frame.WantPayload{Digest: d})
		if err != nil {
			return err
		}
		if err := a.link.Send(ctx, node, frame.Want, payload); err != nil {
			return err
		}
	}
	return nil
}

// changed is told by the registrar that a node was let in or shut out.
func (a *agents) changed(id mesh.NodeID) {
	if a.registrar.IsRevoked(id) {
		a.link.Disconnect(id)
	}
	a.inventory.RosterChanged()
}

func (a *agents) connected(p frame.Peer, h frame.HelloPayload) {
	a.log.Debug("agent linked", "node", p.NodeID, "name", p.Name, "from", p.Addr, "release", h.Release)
	if h.Dropped > 0 || h.Corrupt > 0 {
		a.log.Warn("agent has lost messages", "node", p.NodeID, "name", p.Name, "no_room", h.Dropped, "unreadable", h.Corrupt)
	}
	a.inventory.LinkChanged(p.NodeID)
	a.jobs.Connected(p.NodeID)
	// Every link begins with it: it is also the agent's cue to say what it is
	// and holds.
	a.settings.deliver(p.NodeID)
}

func (a *agents) disconnected(p frame.Peer, reason error) {
	a.log.Debug("agent's link is gone", "node", p.NodeID, "name", p.Name, "reason", reason)
	a.inventory.LinkChanged(p.NodeID)
}

// tellAll sends every link what a link begins with.
func (a *agents) tellAll() {
	for _, n := range a.inventory.Snapshot().Nodes() {
		if n.ID != "" {
			a.settings.deliver(n.ID)
		}
	}
}

// refused records what an agent may not say. The consumers of jobs record
// their own refusals with more detail.
func (a *agents) refused(p frame.Peer, m frame.Message, reason error) {
	if m.Kind == frame.Exec {
		return
	}
	a.record(mesh.Audit{
		Time: time.Now().UTC(), Actor: "node/" + string(p.NodeID), From: p.Addr, Action: "link.message", Object: m.Kind.String(),
		Outcome: mesh.OutcomeRefused, Reason: reason.Error(),
	})
}

// turnedAway records who came with a certificate that does not let it in. A
// revoked node tries for ever, and a stranger may try as often as it likes:
// each is recorded once an hour.
func (a *agents) turnedAway(p frame.Peer, reason error) {
	host, _, err := net.SplitHostPort(p.Addr)
	if err != nil {
		host = p.Addr
	}
	if !a.strangers.first(host+" "+string(p.NodeID), time.Now()) {
		return
	}
	actor := "stranger"
	if p.NodeID != "" {
		actor = "node/" + string(p.NodeID)
	}
	text := reason.Error()
	text = "certificate refused: " + strings.ToValidUTF8(text[:min(len(text), maxStranger)], "\uFFFD") // a stranger wrote some of it.
	a.log.Warn("turned away", "from", p.Addr, "node", p.NodeID, "reason", text)
	a.record(mesh.Audit{
		Time: time.Now().UTC(), Actor: actor, From: host, Action: "link.open", Object: string(p.NodeID),
		Outcome: mesh.OutcomeRefused, Reason: text,
	})
}

func (a *agents) replaced(r link.Replacement) {
	if !r.Clone {
		a.log.Debug("agent linked again", "node", r.Node, "from", r.New.Addr)
		return
	}
	a.log.Warn("two machines use one identity", "node", r.Node, "first", r.Old.Addr, "second", r.New.Addr)
	a.record(mesh.Audit{
		Time: time.Now().UTC(), Actor: "node/" + string(r.Node), From: r.New.Addr, Action: "link.open", Object: string(r.Node),
		Outcome: mesh.OutcomeFailed, Reason: "two machines use this identity: " + r.Old.Addr + " and " + r.New.Addr,
	})
}

func (a *agents) record(line mesh.Audit) {
	// The link's callbacks carry no context.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.audit.Record(ctx, line); err != nil {
		a.log.Error("audit line lost", "action", line.Action, "actor", line.Actor, "reason", line.Reason, "error", err)
	}
}

// How often seldom lets the same through, how much of everything, and how
// many bytes of a stranger's reason are kept.
const (
	seldomEvery = time.Hour
	seldomMost  = 256
	maxStranger = 500
)

// seldom keeps what strangers cause from filling a record. Its methods may be
// called from any goroutine; the zero seldom is ready.
type seldom struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// first reports whether what has not been seen for an hour. When too much was
// seen in that hour, nothing is first any more.
func (s *seldom) first(what string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.seen, func(_ string, at time.Time) bool { return now.Sub(at) >= seldomEvery })
	if _, ok := s.seen[what]; ok || len(s.seen) >= seldomMost {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[string]time.Time)
	}
	s.seen[what] = now
	return true
}

// reports is link.Consumer for what nodes say of jobs.
type reports struct{ jobs *job.Service }

func (c reports) Commit(ctx context.Context, from frame.Peer, msgs []frame.Message) error {
	list, err := decodeAll[mesh.Report](msgs)
	return errors.Join(c.jobs.Commit(ctx, from.NodeID, list), err)
}

// facts is link.Consumer for what nodes are.
type facts struct{ inventory *cmdb.CMDB }

func (c facts) Commit(ctx context.Context, from frame.Peer, msgs []frame.Message) error {
	list, err := decodeAll[mesh.Observation](msgs)
	if err != nil {
		return err
	}
	return c.inventory.Commit(ctx, from.NodeID, list)
}

// decodeAll decodes every payload. One that cannot be read is mesh.Invalid,
// beside those that can.
func decodeAll[T any](msgs []frame.Message) ([]T, error) {
	var errs []error
	out := make([]T, 0, len(msgs))
	for _, m := range msgs {
		var v T
		if err := json.Unmarshal(m.Payload, &v); err != nil {
			errs = append(errs, mesh.Errorf(mesh.Invalid, "decode a %s message: %w", m.Kind, err))
			continue
		}
		out = append(out, v)
	}
	return out, errors.Join(errs...)
}

// bodies is link.Bodies on the jobs.
type bodies struct{ jobs *job.Service }

func (b bodies) PutOutput(ctx context.Context, from frame.Peer, digest string, r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return mesh.Errorf(mesh.Invalid, "read the output: %w", err)
	}
	return b.jobs.PutOutput(ctx, from.NodeID, digest, body)
}

func (b bodies) Blob(ctx context.Context, from frame.Peer, sha string) (io.ReadCloser, int64, error) {
	body, err := b.jobs.Blob(ctx, from.NodeID, sha)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
}
