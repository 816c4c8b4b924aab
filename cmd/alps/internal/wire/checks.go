package wire

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/server/check"
	"alps/server/cmdb"
	"alps/server/stream"
	"alps/server/zone"
)

// catalog is what the checks and the zone see of the inventory.
type catalog struct{ c *cmdb.CMDB }

// Ready implements zone.Inventory.
func (c catalog) Ready() bool { return c.c.Ready() }

// Nodes implements check.Inventory and zone.Inventory.
func (c catalog) Nodes() []mesh.Node {
	if !c.c.Ready() {
		return nil
	}
	return c.c.Snapshot().Nodes()
}

// node finds a node by its place.
func (c catalog) node(dc string, name mesh.NodeName) (mesh.Node, bool) {
	return c.c.Snapshot().Node(string(name) + "." + dc)
}

// age is for how long Consul has not answered about a datacenter.
func (c catalog) age(dc string) time.Duration {
	for _, d := range c.c.Snapshot().Datacenters() {
		if d.Name == dc && !d.Away.IsZero() {
			return time.Since(d.Away)
		}
	}
	return 0
}

// results is link.Consumer for what checks say.
type results struct{ s *check.Store }

func (c results) Commit(ctx context.Context, from frame.Peer, msgs []frame.Message) error {
	list, err := decodeAll[mesh.CheckReport](msgs)
	return errors.Join(c.s.Commit(ctx, from.NodeID, string(from.Boot), list), err)
}

// haves is link.Consumer for what agents hold of the zone.
type haves struct{ b *zone.Builder }

func (c haves) Commit(_ context.Context, from frame.Peer, msgs []frame.Message) error {
	return c.b.Have(from.NodeID, msgs[len(msgs)-1].Payload)
}

// runTime bounds how long an agent may take to say that it runs a check now.
const runTime = 5 * time.Second

// states is api.Checks.
type states struct {
	s      *check.Store
	agents *agents
}

func (c states) Checks(context.Context) iter.Seq[mesh.CheckState] { return c.s.Each }

func (c states) OfNode(_ context.Context, dc string, name mesh.NodeName) []mesh.CheckState {
	return c.s.Node(dc, name)
}

func (c states) RunNow(ctx context.Context, node mesh.NodeID, checks []string) error {
	payload, err := json.Marshal(frame.RunCheckPayload{Checks: checks})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	return c.agents.link.Send(ctx, node, frame.RunCheck, payload)
}

// changedCheck is the event of a check that has another state. The state
// itself is read by whoever wants it.
func changedCheck(s mesh.CheckState) stream.Event {
	data, err := json.Marshal(map[string]string{"dc": s.DC, "check": s.Result.Check, "status": string(s.Status)})
	if err != nil { // strings always encode.
		data = nil
	}
	return stream.Event{Topic: "check", Type: "changed", Node: s.Node, Data: data}
}
