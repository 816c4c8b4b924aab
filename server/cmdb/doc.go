// Package cmdb holds the inventory: every node that Consul or ALPS knows, in
// one immutable snapshot that everything else reads.
//
//	Source (Consul, one feed per datacenter) ─┐
//	  members · nodes · checks · services     │
//	  KV: facts of the agents                 ├─► site ─┐
//	Roster (who has enrolled) ────────────────┘         ├─ build ─► Snapshot ─► Resolve, Node, List
//	Links (who is connected) ───────────────────────────┘            (atomic pointer)
//	Commit (facts from the link) ─► History ─► Writer (KV) ─► the feeds of all servers
//
// A node is what Consul has a member or a catalog entry of, or what an agent
// has enrolled from, joined by datacenter and name. The agent's NodeID is the
// identity, the name is an attribute that the agent claims: of two agents that
// claim one name, one holds it and the other is listed as "<name>~<id>" with
// a Finding; they are never merged. Who holds it is decided in claim.go.
//
// Where the data is old, it stays and its age is shown: a stale inventory is
// of more use than none. Before the first full read there is no inventory at
// all, and Resolve says so instead of naming half of the nodes.
//
// Health is followed cheaply: the whole list of checks is read every few
// minutes, the short lists of critical and warning checks are watched and laid
// over it. A check that has left both lists is passing.
//
// Facts are the truth in KV, written by the server that received them and read
// back by all. Only agents that have enrolled are shown: a record in KV by
// itself makes no node.
//
// Settings is the configuration that people keep in KV under alps/config:
// resolved here for each node, nearest wins, because no agent watches KV for
// it.
//
// The package must not import server/link, server/enrol or server/job; it
// declares what it needs of them, and is what they need of it.
package cmdb
