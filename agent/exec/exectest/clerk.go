package exectest

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
)

// Clerk signs and announces jobs on a Board as a server does.
type Clerk struct {
	Board   *Board
	Cluster string
	// Quiet has it fire no events.
	Quiet bool

	root, key sign.PrivateKey
	grant     sign.Envelope

	mu    sync.Mutex
	epoch int
	seq   uint64
	heads [mesh.Shards]dispatch.Head
}

// AnyScope allows everything on every node.
func AnyScope() sign.Scope {
	return sign.Scope{Any: true, RunAs: []string{"*"}, Targets: "all", MaxNodes: 1 << 20}
}

// NewClerk returns a clerk with a root and a key of its own, which the root
// has given the scope for a year.
func NewClerk(b *Board, cluster string, scope sign.Scope) *Clerk {
	c := &Clerk{Board: b, Cluster: cluster, root: sign.GenerateKey(), key: sign.GenerateKey()}
	c.grant = c.Grant(sign.Grant{Scope: scope})
	for i := range c.heads {
		c.heads[i].Epoch = "epoch-0"
	}
	return c
}

// Root is what nodes that believe the clerk have installed.
func (c *Clerk) Root() sign.Root { return sign.Root{Key: c.root.Public(), Cluster: c.Cluster} }

// Grant seals a grant for the clerk's own key. What g leaves out is filled in.
func (c *Clerk) Grant(g sign.Grant) sign.Envelope {
	if g.Cluster == "" {
		g.Cluster = c.Cluster
	}
	if g.Serial == "" {
		g.Serial = "1"
	}
	if g.Holder == "" {
		g.Holder = "clerk"
	}
	if g.Key.IsZero() {
		g.Key = c.key.Public()
	}
	if g.NotAfter == 0 {
		g.NotAfter = time.Now().AddDate(1, 0, 0).Unix()
	}
	e, err := c.root.SealGrant(g)
	if err != nil {
		panic(err) // a grant is plain data.
	}
	return e
}

// Use has the clerk sign under another grant from now on.
func (c *Clerk) Use(grant sign.Envelope) { c.grant = grant }

// Spec returns a job for the nodes, all of wave 0, that is sound and begins
// now.
func (c *Clerk) Spec(nodes ...mesh.NodeID) mesh.Spec {
	now := time.Now().Unix()
	s := mesh.Spec{
		Version: mesh.SpecVersion, Cluster: c.Cluster, Job: mesh.NewJobID(), Attempt: 1, Author: "tester",
		Command: []string{"true"}, Timeout: 60, Grace: 5, NotBefore: now, Expires: now + 3600,
		Targets: mesh.TargetList{Count: len(nodes)},
	}
	for _, n := range nodes {
		s.Targets.Inline = append(s.Targets.Inline, mesh.Target{Node: n})
	}
	return s
}

// Seal signs a document.
func (c *Clerk) Seal(t sign.Type, v any) sign.Envelope {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // documents are plain data.
	}
	return c.key.Seal(t, b, &c.grant)
}

// Publish signs specs, writes them and announces them together. Lists that
// are cut into parts must be announced by hand.
func (c *Clerk) Publish(specs ...mesh.Spec) error {
	var refs []dispatch.Ref
	for _, s := range specs {
		doc, err := c.Seal(sign.TypeJob, s).Encode()
		if err != nil {
			return err
		}
		c.Board.Set(dispatch.SpecKey(s.Job, s.Attempt), doc)
		refs = append(refs, Ref(s))
	}
	return c.Announce(refs...)
}

// Ref is the reference to a spec, without a sequence.
func Ref(s mesh.Spec) dispatch.Ref {
	return dispatch.Ref{Kind: dispatch.KindJob, Job: s.Job, Attempt: s.Attempt, Expires: s.Expires}
}

// Steer signs, writes and announces a ctl of a job.
func (c *Clerk) Steer(s mesh.Spec, gen int, phase dispatch.Phase, wave int) error {
	doc, err := c.Seal(sign.TypeCtl, dispatch.Ctl{
		Cluster: c.Cluster, Job: s.Job, Attempt: s.Attempt, Gen: gen, Phase: phase, Wave: wave,
	}).Encode()
	if err != nil {
		return err
	}
	c.Board.Set(dispatch.CtlKey(s.Job, s.Attempt), doc)
	r := Ref(s)
	r.Kind, r.Gen = dispatch.KindCtl, gen
	return c.Announce(r)
}

// Announce appends references to the heads of all shards and fires an event.
// It gives out the sequences.
func (c *Clerk) Announce(refs ...dispatch.Ref) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range refs {
		c.seq++
		refs[i].Seq = c.seq
	}
	for shard := range c.heads {
		if err := c.writeLocked(shard, refs...); err != nil {
			return err
		}
	}
	if !c.Quiet {
		c.Board.Fire(dispatch.Event{Shards: 0xffff, Seq: c.seq}.String())
	}
	return nil
}

func (c *Clerk) writeLocked(shard int, refs ...dispatch.Ref) error {
	h, segments := c.heads[shard].Append(refs...)
	for i, s := range segments {
		doc, err := s.Encode()
		if err != nil {
			return err
		}
		c.Board.Set(dispatch.SegmentKey(shard, c.heads[shard].Next+i), doc)
	}
	doc, err := h.Encode()
	if err != nil {
		return err
	}
	c.heads[shard] = h
	c.Board.Set(dispatch.HeadKey(shard), doc)
	return nil
}

// NewEpoch announces the references anew in heads of another epoch, as a
// server does that has found Consul to be restored.
func (c *Clerk) NewEpoch(refs ...dispatch.Ref) error {
	c.mu.Lock()
	c.epoch++
	for i := range c.heads {
		c.heads[i] = dispatch.Head{Epoch: fmt.Sprintf("epoch-%d", c.epoch)}
	}
	c.mu.Unlock()
	return c.Announce(refs...)
}
