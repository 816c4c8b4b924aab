// Package check runs the checks of a node, keeps what each of them says, and
// tells it to two readers: to Consul, for discovery, and to the servers, for
// alerts.
//
//	                      ┌─► mirror ─► Catalog: raw status, TTL checks ─► DNS of Consul
//	heap ─► run ─► judge ─┤
//	  ▲                   └─► outbox ─► Reports: every result ───────────► servers
//	  └── SetDefinitions, RunNow
//
//	e, err := check.New(check.Options{Node: id, Dir: dir, Catalog: c, Local: c.Local, Reports: r, Probes: set})
//	err = e.SetDefinitions(defs.Services, defs.Checks)
//	go e.Run(ctx)
//	e.Resend() // at each new link.
//
// # When
//
// A check first runs within seconds of its definition, where a hash of node
// and check puts it, so that a thousand agents that are started together part
// ways. From then on it is due on a grid of its interval that does not drift
// and that every start of the agent finds again. It never overlaps itself:
// what is late leaves beats out, and what cannot be stopped is not started
// again. At most Concurrency run at once, and only what runs has a goroutine.
//
// # What it means
//
// The raw status is the last result. The hard status follows Nagios: a problem
// is hard after Attempts results in a row that are not passing, one good
// result is a hard recovery at once. A check whose raw status changes in half
// of its last results is flapping. Nothing but a good result makes a check
// passing: a timeout is critical where the thing asked did not answer, and
// unknown where the asker failed (mesh.CheckKind.TimeoutHealth).
//
// The last result of each check is kept on disk, so that an agent that
// restarts neither forgets a problem nor finds it anew.
//
// # What Consul is told
//
// For each check that ALPS runs there is a TTL check. A new status is written
// at once; the same one is written again after a third of the TTL, and with it
// what the text has become: Consul keeps a file for each write, and an entry
// in Raft for each new text. Unknown is a warning that says so. When the agent
// ends it leaves everything as it is: a lost agent is not a failed service.
// While Consul is away everything goes on, and the present state is written
// when it is back. What Consul has forgotten is registered again; a service
// without checks is missed only when the agent's own is gone as well. Only what
// this agent has registered is ever deregistered; the list is in Dir.
//
// Checks of kind ttl, and those with runner "consul", are registered as
// Consul's own. The engine reads what the local Consul agent thinks of them
// and makes results of it.
//
// # What servers are told
//
// A change of the raw or the hard status, and the begin and end of flapping,
// is handed to Reports at once and is durable. What only says that all is as
// it was is gathered: the newest of each check, every ten seconds, and only
// while there is a link. Each link begins with a full report.
//
// The package imports mesh, and plugin below it; it must not import another
// part of the agent. It knows no pack: probes are a function.
package check
