// Package zone builds what ALPS answers names from, and brings it to the
// agents.
//
//	inventory: Changed() ──────┐
//	checks: CheckChanged(…) ───┼─► offer of each node ─► guard ─► entries ─► Zone
//	time: holds that end ──────┘                                              │
//	an agent: Have(digests) ────────────────► the buckets that differ ◄───────┤
//	all agents ◄──────────────────────────────── what has changed ◄───────────┘
//
// Each node of the inventory makes an offer: its name and address, and those
// of its service instances that are to be answered. A change of one node works
// out one offer and encodes the few entries that it is in.
//
// An instance is answered while none of its service's checks and none of its
// node's is critical, as Consul does it. Of what the link and the catalog say
// of a check the later counts, so that a failure seen by an agent takes the
// address out before Consul has told anybody. A check whose TTL has expired
// because its agent is lost says nothing of the service: the instance stays as
// it was for AgentLostHold, while gossip says that the node lives.
//
// A node's name stays while gossip or its agent says that it lives, and for
// NodeHold afterwards. One that has left goes at once.
//
// The guard is for what vanishes without a reason: a Consul that has lost its
// catalog, or half of the network, must not empty the zone. Losses have a
// reason when somebody near says so: a check that is critical, a node that has
// left, or that gossip and agent have both lost. Of the others at most a third
// of the zone goes within a minute; what would go beyond stays, with a
// Finding, until it is back, a reason comes, or Consul has said the same for
// ten minutes. Zones of fewer than ten names or instances are not guarded:
// there, a third is what a person restarts by hand.
//
// Before the inventory is loaded there is no zone: agents that ask are
// answered when there is. Everything that is sent is sent by the goroutine of
// Run, so that an agent gets it in order.
//
// The package imports mesh and no other server package; it declares what it
// needs of the inventory, the checks and the link.
package zone
