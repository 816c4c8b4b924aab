package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"alps/mesh"
)

// Coordinate is where a node stands in the network, as its gossip has
// measured it. It says something only next to another: see RTT.
type Coordinate struct {
	Node    mesh.NodeName
	Segment string
	at      *coordinate.Coordinate
}

// Coordinates returns where the nodes of the datacenter stand. A node that
// joined a moment ago has no coordinate yet. They move all the time: do not
// wait on them.
func (c *Client) Coordinates(ctx context.Context, q Query) ([]Coordinate, Meta, error) {
	return read(ctx, c, q, "list coordinates", func(o *api.QueryOptions) ([]Coordinate, *api.QueryMeta, error) {
		es, m, err := c.api.Coordinate().Nodes(o)
		if err != nil {
			return nil, m, err
		}
		out := make([]Coordinate, 0, len(es))
		for _, e := range es {
			if e.Coord != nil {
				out = append(out, Coordinate{Node: mesh.NodeName(e.Node), Segment: e.Segment, at: e.Coord})
			}
		}
		return out, m, nil
	})
}

// RTT estimates the round-trip time between two nodes; false when they cannot
// be compared, because they gossip in different segments.
func RTT(a, b Coordinate) (time.Duration, bool) {
	if a.at == nil || b.at == nil || a.Segment != b.Segment || !a.at.IsCompatibleWith(b.at) {
		return 0, false
	}
	return a.at.DistanceTo(b.at), true
}
