// Package check holds what the server believes of every check on every node.
//
//	link: Commit(reports) ──┐
//	                        ├─► judge ─► CheckState ─► OnChange, OnGone ─► rules, zone
//	inventory: Changed() ───┤                └───────► Get, Node, List, Each
//	time: Run ──────────────┘
//
// There are two readers. The link's results win while they come. A check that
// is silent for two periods, or whose agent has lost its link, is read from
// Consul's catalog instead, and what Consul alone knows (serfHealth, checks of
// others, other datacenters) always is. What nobody can say is unknown.
//
// The rules, in the order in which they are asked for one check:
//
//  1. its agent is lost                        unknown, AgentLost
//  2. the link's result is fresh               the hard status of the result
//  3. Consul does not answer                   as it was
//  4. the catalog speaks for a living agent    the catalog's status
//  5. nobody speaks for long enough            unknown
//     until then                               as it was
//
// An agent is lost when it is not connected and neither its own check in the
// catalog nor gossip vouches for it, for Options.AgentLost. That is one thing
// to tell about one node: its check mesh.AgentCheck is critical, all that it
// ran is unknown and says AgentLost. Where gossip has lost the node as well,
// serfHealth is what is critical, and the agent's check is unknown like the
// rest.
//
// A check becomes passing by a good result alone: one from the link, or one in
// the catalog that somebody alive has put there. After a start there are no
// states; those of a node appear with its agent's first report, or after a
// minute without one. Who asks before that is told that there is none, which
// is not the same as passing.
//
// The package imports mesh and no other server package; it declares what it
// needs of the inventory.
package check
