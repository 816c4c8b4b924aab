// Package remedy acts on incidents by policies, and proves that it helped.
//
//	incident ─► guards ─► decided ─► steps … ─► proofs ─► succeeded
//	              │  │        │         │          └─► undone ─► next rung, or failed ─► a human
//	              │  └► proposed        └► refused, before anything has acted
//	              └► refused, observed
//
// The small form of a policy runs one script on the node of an incident, and the
// check alone says whether it helped: by a result that was received after the
// job ended, and is passing. The large form is a plan: rungs of a ladder, the
// gentlest first, each with steps that confirm, guard, act and prove. Every step
// is a job of the library's scripts, on the node or on every node that a query
// matches, and answers with a mesh.Answer; all of them must agree. An exit code
// proves nothing, in either direction. What a failed rung has done is taken back
// before the next one is asked. The function next is the whole of a plan's
// order.
//
// # Guards
//
// Before anything is done, and again before the first job that acts, every
// guard must agree. They are asked in this order, and the first that refuses is
// told:
//
//	paused       it is paused, or its group, or all: the kill switch
//	mode         the policy, or the server, is off
//	acked        somebody has taken the incident in hand
//	lease        this server does not lead
//	maintenance  people work on the node, or it is the time for it
//	lost         nobody can say how the check is, or the agent is not there to act
//	stale        the check is not bad now, by a fresh result of the node itself
//	flapping     the check changes back and forth
//	storm        many incidents of the rule at once: a false alarm, or something bigger
//	unavailable  too many of the policy's nodes are in trouble
//	loss         data can be lost, and the node is not declared to bear that
//	settled      what can be done was done, and proven
//	breaker      the last runs have failed
//	retry        a step has refused a moment ago
//	cooldown     the node was acted on a moment ago
//	rate         the policy has acted often enough within the hour or the day
//	concurrency  another run of its group is under way, or one on the node
//
// What people have decided comes first, then whether it is true, then whether
// it is something that a script should mend, and at last the pace: storm and
// breaker must be heard while another run is under way.
//
// A refusal is kept with its reason, once for each change of the guard, and the
// question is asked again while the incident is open. Pace passes by itself. A
// storm and an open breaker do not: an incident that was refused for a storm
// stays refused, and a policy whose breaker is open does nothing, until a
// person resumes the policy. A policy that observes is judged alike, and then
// only says what it would have done; one that asks (approve) proposes the run
// to a person, and every guard is asked again when that one says yes.
//
// # What survives
//
// The engine is level-triggered: OnIncident makes it look at once, and it reads
// the open incidents again every few seconds and at the start of a term. The
// store is the queue: everything is written, fenced by the leader's term, before
// it has an effect. The id of a small run is the id of its job, and every attempt
// at a step has one of its own, chosen and stored before the job is made. Whoever leads next finds the open run, asks for its job and goes
// on; submitting it again starts nothing twice. What is to be told of a run
// (timeline, audit, a call to a human) is told after it was stored, and again by
// the next leader when nobody has noted that it was: at least once.
//
// The package knows nothing of what it mends. It imports mesh, mesh/query and
// its own library of scripts, and no other server package; what it needs of
// them it declares as Incidents, Checks, Jobs and Store.
package remedy
