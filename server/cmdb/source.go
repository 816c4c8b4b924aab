package cmdb

import (
	"context"
	"time"

	"alps/mesh"
)

// Source is Consul as the CMDB sees it.
type Source interface {
	// Datacenters lists the datacenters that can be fed, in any order.
	Datacenters(ctx context.Context) ([]string, error)
	// Feed reads one datacenter and then follows it, until ctx ends; then it
	// returns nil. It hands over each part whole, whenever it has changed, and
	// Loaded when all parts have been handed over once. It waits and tries
	// again by itself while Consul is away, and says so by Contact. fn may be
	// called from several goroutines at a time; it does not block, and keeps
	// what it is given.
	Feed(ctx context.Context, dc string, fn func(Update)) error
}

// Update is one part of a datacenter's state; it replaces that part as it was
// before. It is one of Members, CatalogNodes, AllChecks, NodeChecks, CriticalChecks,
// WarningChecks, Services, Documents, Loaded and Contact.
type Update interface {
	apply(s *site) (changed bool)
}

// Members is the gossip pool. Only the server's own datacenter has one to
// read; of another the status is derived from its catalog.
type Members []mesh.Member

// CatalogNodes are all nodes of the catalog.
type CatalogNodes []CatalogNode

// CatalogNode is one node of the catalog.
type CatalogNode struct {
	Name    mesh.NodeName
	Address string
	Meta    map[string]string
}

// AllChecks is every check of the datacenter. It is long: a source hands it
// over now and then, and the two below whenever they change.
type AllChecks []NodeCheck

// NodeChecks is every check of one node, in the place of what AllChecks said of
// it. A source hands it over before a check leaves one of the two lists below,
// so that one that is no more is not taken for one that has recovered.
type NodeChecks struct {
	Node   mesh.NodeName
	Checks []mesh.Check
}

// CriticalChecks are the checks that are critical now. They outrank what
// WarningChecks and AllChecks say.
type CriticalChecks []NodeCheck

// WarningChecks are the checks that are warning now. They outrank what
// AllChecks says.
type WarningChecks []NodeCheck

// NodeCheck is a check and the node that it is on.
type NodeCheck struct {
	Node mesh.NodeName
	mesh.Check
}

// Services are the service instances on each node.
type Services map[mesh.NodeName][]mesh.Service

// Documents is all that lies in KV under Prefix, which is RecordPrefix or the
// ShardPrefix of one shard.
type Documents struct {
	Prefix string
	Docs   []Document
}

// Document is one key of KV.
type Document struct {
	Key   string
	Value []byte
}

// Loaded says that every part has been handed over once.
type Loaded struct{}

// Contact says that Consul does not answer, and why, or, with a nil Err, that
// it answers. Repeating it is harmless.
type Contact struct{ Err error }

// Writer writes the CMDB's documents.
type Writer interface {
	// Write sets the given keys in one transaction of the server's own
	// datacenter: all or none. It may be called twice with the same documents.
	Write(ctx context.Context, docs []Document) error
}

// Links knows which agents are connected to this server or, when there are
// several, to any of them. It answers from memory.
type Links interface {
	// Connected says since when an agent is connected, and false when it is
	// not.
	Connected(id mesh.NodeID) (since time.Time, ok bool)
}

// Roster lists the agents that have enrolled, the revoked ones too.
type Roster interface {
	Enrolled(ctx context.Context) ([]Enrolment, error)
}

// Enrolment is one agent's identity. Name is the Consul node that it claimed to
// be on when it enrolled, empty when it said none; the name in its facts
// outranks it. A host name is not such a name: several agents on one host
// share it.
type Enrolment struct {
	ID         mesh.NodeID
	Name       mesh.NodeName
	EnrolledAt time.Time
	Revoked    bool
}

// History keeps how nodes have changed.
type History interface {
	// RecordChanges keeps all of changes or none. It may be called twice with
	// the same ones: Node, Field and At together name a change.
	RecordChanges(ctx context.Context, changes []Change) error
}

// Change is one field of one node that was Old and is New since At. Empty
// means that the field is absent.
type Change struct {
	Node  mesh.NodeID
	Name  mesh.NodeName // the node's name after the change.
	Field string        // as in "kernel", "disk /data/1" or "interface bond0".
	Old   string
	New   string
	At    time.Time
}
