// Package alert keeps incidents: one problem, one thread, told once.
//
//	server/check ──Observe, Gone──► Engine ──step (pure)──► Store: incident + timeline + outbox,
//	Consul's state ─ConsulAway,Back─►  ▲                       │    in one transaction
//	people, remedies ─Ack, Note, …─────┘                       └─► OnIncident, OnOutbox (server/notify)
//
// # Rules
//
// A rule looks at checks by id or name ("*": any check of a service or node,
// without the two that say whether the node itself lives). It is level
// triggered: what counts is how a check is now. Observe only makes that fast;
// at the start of a term, when rules change and every 30 s all checks are read
// again, so nothing that still holds is missed. What came and went while
// nobody led is.
//
// A check is bad when its status is in the rule's list, and opens an incident
// when it has been for For, measured by the result: from the first bad one to
// the newest by the node's clock, and from there by ours, so that a wrong
// clock on a node neither hastens nor delays. The target of a rule is asked
// when an incident opens and not again: an open one follows its check.
//
// No data never recovers. What a status outside of the list means:
//
//	passing, warning, critical   a real result: closes, if it came after the opening
//	unknown                      nothing; the incident is frozen
//	unknown, agent lost          nothing, not even for a rule that lists unknown
//	no report at all             nothing
//
// A flapping check keeps its incident open until it is quiet, and its changes
// are folded into one line. Three rules are always there; a rule of the same
// name replaces one. They tell every receiver:
//
//	agent-lost           the agent of a node is lost: one incident, whatever it ran
//	node-failed          Consul's gossip holds a node for failed
//	consul-unavailable   Consul does not answer: one for the site
//
// While Consul is away, and for a few seconds after, nothing that was read
// from its catalog opens or closes an incident; what agents report does.
//
// # Life of an incident
//
//	         ┌────────── good result ──────────┐
//	         │                                 ▼
//	──bad──► open ──ack──► acked ──good──► closed ──bad, within Reopen──► open again
//	         └──────────── by a person ────────┘  └──bad, later──────────► a new one
//
// Ack says that somebody is on it, and stops repeats alone: the resolution is
// told, remediation sees it. Who closes by hand an incident whose check is
// still bad has seen it: it opens again only when the check was good in
// between. A rule or a check that is gone closes its incidents, saying so.
//
// # One disk, one incident
//
// A check may name disks that it has found broken. Before a problem opens an
// incident, or opens one again, it looks for an open one on its node that names
// one of its disks, of whatever rule. If there is one, the problem joins it:
//
//	hdfs-volumes critical, sdb1 ──► incident of sdb1
//	hdfs-datanode warning, sdb1 ──► a line in it, once; who of its rule does not
//	                                know of the incident is told of it, once
//
// A joined problem has no incident of its own; who acts on incidents finds its
// rule in the one that it has joined. The incident
// gets the severity of the more severe. When it closes, or its check does not
// name the disk any more, a joined problem that is still bad opens its own; after
// a good result it has to say so anew, within one period of its check. Two
// that are open already stay two. Of those that come at the same time the one
// that was bad for long enough first has the incident, or that of the rule that
// stands first; a rule for any check is behind all others.
//
// # Who may act
//
// Only the leader writes and tells. Every write carries its term, and a store
// that has seen a newer one refuses. Without the lease observation goes on and
// nothing is written; a new term begins with what the store has. A failed
// write is never guessed about: the store is read again.
//
// The one exception is consul-unavailable: while Consul is away it can grant
// the lease to nobody, so the last incumbent writes and tells that one with
// its last term. If only this server is cut off and another leads already, a
// shared store has a newer term and refuses. With a store of its own the worst
// is that two servers say that Consul is away: true from where each stands, a
// message and no action. The repetition can be told by its id.
//
// # Restart
//
// Open incidents are loaded, their checks are unknown until reports come, and
// nothing is sent again: a delivery is a row that is written with the
// transition that caused it, or not at all.
//
// The package imports mesh and mesh/query alone. It must not import
// server/notify: they meet in the store.
package alert
