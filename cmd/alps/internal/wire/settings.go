package wire

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/mesh/frame"
	v1 "alps/server/api/v1"
	"alps/server/cmdb"
)

// settings brings every agent its configuration, at the beginning of its link
// and whenever it has changed, and remembers who has taken it over. It is
// api.Settings too. s and agents are set before anything runs.
type settings struct {
	s      *cmdb.Settings
	agents *agents
	log    hclog.Logger
	kick   chan struct{}

	mu        sync.Mutex
	due       map[mesh.NodeID]bool
	delivered map[mesh.NodeID]time.Time
}

const (
	// deliverTime bounds how long an agent may take to take its configuration
	// over, deliverAtOnce how many are told at the same time.
	deliverTime   = 10 * time.Second
	deliverAtOnce = 32
)

func newSettings(source cmdb.SettingSource, nodes func() []mesh.Node, a *agents, log hclog.Logger) (*settings, error) {
	s := &settings{
		agents: a, log: log, kick: make(chan struct{}, 1),
		due: map[mesh.NodeID]bool{}, delivered: map[mesh.NodeID]time.Time{},
	}
	var err error
	s.s, err = cmdb.NewSettings(cmdb.SettingsOptions{
		Source: source, Nodes: nodes, Logger: log,
		OnChange: func(n mesh.Node, _ []mesh.Setting) { s.deliver(n.ID) },
	})
	return s, err
}

// deliver has a node told, soon. It does not block.
func (s *settings) deliver(id mesh.NodeID) {
	s.mu.Lock()
	s.due[id] = true
	delete(s.delivered, id)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// run tells nodes until ctx ends.
func (s *settings) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		}
		s.mu.Lock()
		due := s.due
		s.due = map[mesh.NodeID]bool{}
		s.mu.Unlock()
		var g errgroup.Group
		g.SetLimit(deliverAtOnce)
		for id := range due {
			g.Go(func() error {
				s.tell(ctx, id)
				return nil
			})
		}
		_ = g.Wait() // nobody returns an error.
	}
}

// tell sends one node what it must know. A link that breaks meanwhile begins
// with the same again.
func (s *settings) tell(ctx context.Context, id mesh.NodeID) {
	if _, ok := s.agents.Connected(id); !ok {
		return
	}
	c := s.config(id)
	payload, err := json.Marshal(c)
	if err != nil {
		s.log.Error("encode a node's configuration", "node", id, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTime)
	defer cancel()
	if err := s.agents.link.Send(ctx, id, frame.Config, payload); err != nil {
		s.log.Debug("a node has not taken its configuration over", "node", id, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.due[id] && c.Settings != nil {
		s.delivered[id] = time.Now().UTC()
	}
}

// config is what a node is told. Before KV was read, and for a node that the
// inventory does not know yet, it says nothing of settings, so that the agent
// keeps those that it has.
func (s *settings) config(id mesh.NodeID) AgentConfig {
	c := AgentConfig{Revoked: s.agents.trust.revocations()}
	if n, ok := s.agents.inventory.Node(string(id)); ok && s.s.Ready() {
		list := append([]mesh.Setting{}, s.s.For(n)...) // none is a list too: null would say nothing.
		c.Settings = &list
	}
	return c
}

// Settings implements api.Settings.
func (s *settings) Settings(_ context.Context, n mesh.Node) (v1.SettingList, error) {
	if !s.s.Ready() {
		return v1.SettingList{}, mesh.Errorf(mesh.Unavailable, "the configuration was not read from Consul yet").WithHint("try again in a moment")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return v1.SettingList{Settings: s.s.For(n), Delivered: s.delivered[n.ID]}, nil
}
