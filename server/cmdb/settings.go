package cmdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// KindSetting is a setting in KV that does not reach a node.
const KindSetting Kind = "setting"

// SettingPrefix is where people keep the configuration of nodes.
const SettingPrefix = "alps/config/"

// The most that one node gets: what fits into one message of the link.
const (
	MaxSettings     = 1000
	MaxSettingBytes = 48 << 10 // as JSON.
)

// SettingSource is KV as the settings see it.
type SettingSource interface {
	// FollowSettings calls fn, from one goroutine, with everything that lies
	// under SettingPrefix, and again whenever it has changed, until ctx ends.
	// It tries again by itself when Consul is away.
	FollowSettings(ctx context.Context, fn func([]Document))
}

// SettingsOptions are what Settings are made of. All but Logger are required.
type SettingsOptions struct {
	Source SettingSource
	// Nodes returns the nodes that there are now; OnChange is told of those
	// that have an agent.
	Nodes func() []mesh.Node
	// OnChange is called with a node and its settings when these are not what
	// it was told before, and once for each node that is new; from one
	// goroutine, and not before KV was read. The list is shared.
	OnChange func(n mesh.Node, l []mesh.Setting)
	Logger   hclog.Logger // nil is silent.
}

// Settings resolves what people have written into KV for a node:
//
//	alps/config/node/<name>/<setting…>   nearest
//	alps/config/role/<role>/<setting…>
//	alps/config/dc/<dc>/<setting…>
//	alps/config/global/<setting…>        farthest
//
// KV is that of the server's own datacenter, for the nodes of all of them. The
// name of a setting may have slashes in it. Methods may be called from any
// goroutine, before and while Run runs.
type Settings struct {
	o    SettingsOptions
	log  hclog.Logger
	look chan struct{}

	mu       sync.Mutex
	tree     *settingTree // nil before the first read.
	findings []Finding    // about nodes.

	told map[mesh.NodeID]string // hashes; of the goroutine of Run alone.
}

// NewSettings returns Settings that know nothing yet.
func NewSettings(o SettingsOptions) (*Settings, error) {
	if o.Source == nil || o.Nodes == nil || o.OnChange == nil {
		return nil, errors.New("cmdb settings: a dependency is missing")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &Settings{o: o, log: o.Logger, look: make(chan struct{}, 1), told: make(map[mesh.NodeID]string)}, nil
}

// Run follows KV until ctx ends; then it returns nil. It may be called once.
func (s *Settings) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.o.Source.FollowSettings(ctx, s.read) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.look:
		}
		s.tell()
		if !sleep(ctx, buildEvery) {
			return nil
		}
	}
}

// NodesChanged makes the settings follow the nodes: one is new, or has another
// name or role. It never blocks.
func (s *Settings) NodesChanged() { signal(s.look) }

// Ready reports whether KV was read.
func (s *Settings) Ready() bool { return s.current() != nil }

// For returns the settings of a node by name, none before Ready. The list is
// shared: do not change it.
func (s *Settings) For(n mesh.Node) []mesh.Setting {
	t := s.current()
	if t == nil {
		return nil
	}
	return t.resolve(&n).list
}

// Findings lists the keys that are no settings, and the nodes that have more
// settings than they get.
func (s *Settings) Findings() []Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tree == nil {
		return nil
	}
	return append(slices.Clip(s.tree.findings), s.findings...)
}

func (s *Settings) current() *settingTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree
}

func (s *Settings) read(docs []Document) {
	t := newSettingTree(docs)
	s.mu.Lock()
	s.tree = t
	s.mu.Unlock()
	s.log.Debug("settings were read", "keys", len(docs))
	signal(s.look)
}

// tell hands every node what it was not told yet.
func (s *Settings) tell() {
	t := s.current()
	if t == nil {
		return
	}
	var findings []Finding
	nodes := s.o.Nodes()
	told := make(map[mesh.NodeID]string, len(s.told))
	for i := range nodes {
		n := &nodes[i]
		r := t.resolve(n)
		if r.over > 0 {
			findings = append(findings, overFinding(n, r))
		}
		if n.ID == "" {
			continue
		}
		told[n.ID] = r.hash
		if s.told[n.ID] != r.hash {
			s.o.OnChange(*n, r.list)
		}
	}
	s.told = told
	sortFindings(findings)
	s.mu.Lock()
	s.findings = findings
	s.mu.Unlock()
}

func overFinding(n *mesh.Node, r *resolved) Finding {
	f := Finding{
		Kind: KindSetting, DC: n.DC, Node: n.Name,
		Text: fmt.Sprintf("%d of its %d settings are left out, the first is %s: a node takes %d of them, or %d KiB",
			r.over, r.over+len(r.list), r.firstOver, MaxSettings, MaxSettingBytes>>10),
		Hint: "move what no check of it reads out of " + SettingPrefix,
	}
	if n.ID != "" {
		f.Nodes = []mesh.NodeID{n.ID}
	}
	return f
}
