package api

import (
	"context"
	"iter"

	"alps/mesh"
	"alps/mesh/query"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// Jobs submits jobs and shows how they fare. Its methods may be called from
// any goroutine. Each acts for who and keeps to who.Scope: groups and targets
// outside are not shown, a job without any target inside is mesh.NotFound, and
// what would reach a node outside is mesh.Denied. Ids are complete. Submit,
// Sign and Steer write their audit lines themselves, refusals too.
type Jobs interface {
	// Submit may be called twice with the same SubmitToken.
	Submit(ctx context.Context, who auth.Actor, r v1.JobRequest) (v1.Submission, error)
	// Sign completes a draft of who; mesh.NotFound when there is none or it
	// has been forgotten.
	Sign(ctx context.Context, who auth.Actor, id mesh.JobID, env sign.Envelope) (v1.Submission, error)
	Job(ctx context.Context, who auth.Actor, id mesh.JobID) (v1.Job, error)
	// Jobs lists the newest first and leaves out those that are hidden.
	Jobs(ctx context.Context, who auth.Actor, f v1.JobFilter) ([]v1.Job, error)
	Targets(ctx context.Context, who auth.Actor, id mesh.JobID, f v1.TargetFilter) (v1.TargetList, error)
	// Output returns the kept bytes of one output of the job. mesh.Unavailable
	// means that they are known and still on their node.
	Output(ctx context.Context, who auth.Actor, id mesh.JobID, digest string) ([]byte, error)
	// Steer may be called twice: pausing what is paused changes nothing. A job
	// that has ended is mesh.Conflict.
	Steer(ctx context.Context, who auth.Actor, id mesh.JobID, what v1.Steer) (v1.Submission, error)
}

// Inventory knows the nodes. While it is not loaded its methods return
// mesh.Unavailable. What it returns is shared: api does not change it.
type Inventory interface {
	// Nodes returns a page of the nodes that match expr. after is the Next of
	// the page before; limit 0 means no limit.
	Nodes(ctx context.Context, expr *query.Expr, after string, limit int) (v1.NodeList, error)
	// Node finds a node by its name or its NodeID.
	Node(ctx context.Context, nameOrID string) (mesh.Node, error)
	// Members returns the members of all datacenters.
	Members(ctx context.Context) (v1.MemberList, error)
}

// Enrolment lets nodes in and shuts them out.
type Enrolment interface {
	CreateJoinToken(ctx context.Context, by string, r v1.JoinTokenRequest) (v1.NewJoinToken, error)
	// JoinTokens lists the newest first.
	JoinTokens(ctx context.Context) ([]v1.JoinToken, error)
	// ExpireJoinToken ends a join token now. It may be called twice.
	ExpireJoinToken(ctx context.Context, id string) error
	// Revoke shuts a node out for good, also on its live link. It may be
	// called twice.
	Revoke(ctx context.Context, id mesh.NodeID, by, reason string) error
}

// Tokens makes and checks API tokens; *auth.Tokens does.
type Tokens interface {
	Authenticate(ctx context.Context, text string) (auth.Actor, error)
	Create(ctx context.Context, r auth.Request) (auth.Token, string, error)
	List(ctx context.Context) ([]auth.Token, error)
	Delete(ctx context.Context, id string) error
}

// Audit keeps the record of who did what. api records what it refuses and
// every write, except for what it hands to Jobs, which records that itself, in
// the transaction that carries it out.
type Audit interface {
	Record(ctx context.Context, line mesh.Audit) error
	// Audit returns a page, the newest line first.
	Audit(ctx context.Context, f v1.AuditFilter) (v1.AuditList, error)
}

// Status says how the server is. It answers from memory.
type Status interface {
	Status(ctx context.Context) (v1.StatusDetail, error)
}

// Checks knows how every check is. It answers from memory.
type Checks interface {
	// Checks yields all, in any order; OfNode returns those of one node. The
	// slice is the caller's, what the states hold is shared.
	Checks(ctx context.Context) iter.Seq[mesh.CheckState]
	OfNode(ctx context.Context, dc string, name mesh.NodeName) []mesh.CheckState
	// RunNow asks a node to run checks, by id, at once, and returns when its
	// agent has taken that on; mesh.Unavailable when it has no link.
	RunNow(ctx context.Context, node mesh.NodeID, checks []string) error
}

// Consul shows what only Consul knows. An empty dc is the server's own.
type Consul interface {
	// Datacenters returns all that are known, the server's own first.
	Datacenters(ctx context.Context) ([]v1.Datacenter, error)
	// Sessions returns the sessions of a node with the keys that they lock.
	Sessions(ctx context.Context, dc string, node mesh.NodeName) ([]v1.LockSession, error)
	// RTTs returns the round-trip times in milliseconds from a node to the
	// others of its segment; none while there are no coordinates.
	RTTs(ctx context.Context, dc string, node mesh.NodeName) (map[mesh.NodeName]float64, error)
	// ACL lists tokens and policies without their secrets.
	ACL(ctx context.Context, dc string) (v1.ACL, error)
	// Names returns under which names DNS answers for a service.
	Names(service, dc string) []string
}

// KV is Consul's store of keys. An empty dc is the server's own.
type KV interface {
	// Keys returns the keys right below a prefix; what has more below it ends
	// with a slash.
	Keys(ctx context.Context, dc, prefix string) ([]string, error)
	// Get returns mesh.NotFound for a key that is not there.
	Get(ctx context.Context, dc, key string) (v1.KVPair, error)
	// Put writes if the key still has w.Index, and returns what is there now
	// without its value; mesh.Conflict otherwise.
	Put(ctx context.Context, dc, key string, w v1.KVWrite) (v1.KVPair, error)
	// Delete removes the key if it still has the index; mesh.Conflict otherwise.
	Delete(ctx context.Context, dc, key string, index uint64) error
}

// Settings knows the effective configuration of nodes.
type Settings interface {
	Settings(ctx context.Context, n mesh.Node) (v1.SettingList, error)
}

// Incidents keeps the problems and their stories. What it returns is the
// caller's.
type Incidents interface {
	// Incidents returns a page without timelines: open ones first, then the
	// newest. f.Query is not looked at.
	Incidents(ctx context.Context, f v1.IncidentFilter) (v1.IncidentList, error)
	// Incident finds one by its id or the unique beginning of it.
	Incident(ctx context.Context, id string) (mesh.Incident, error)
	// Change does what a person asks for; mesh.Conflict when the incident is
	// not in a status that allows it.
	Change(ctx context.Context, id mesh.IncidentID, actor string, what v1.IncidentChange, text string) (mesh.Incident, error)
	Rules(ctx context.Context) (v1.RuleList, error)
}

// Approvals is what a person says to a policy, and asks of it beforehand.
type Approvals interface {
	// Approve lets a run that was proposed act, and Reject ends it. mesh.Conflict
	// means that it waits for nobody, or not any more.
	Approve(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error
	Reject(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error
	// Reach lists the nodes that a run acts on when it is approved.
	Reach(ctx context.Context, id mesh.RemedyRunID) ([]mesh.NodeName, error)
	// Simulate says what a policy would do about an incident now. It asks the
	// nodes and changes nothing on them; ctx bounds it.
	Simulate(ctx context.Context, actor, policy string, incident mesh.IncidentID) (v1.Simulation, error)
}

// Remedies shows, asks and stops the policies.
type Remedies interface {
	Approvals

	Policies(ctx context.Context) (v1.PolicyList, error)
	// Runs returns the newest first, refusals included.
	Runs(ctx context.Context, f v1.RemedyRunFilter) ([]mesh.RemedyRun, error)
	Run(ctx context.Context, id mesh.RemedyRunID) (mesh.RemedyRun, error)
	// Pause keeps the policies that are meant from acting until Resume. It may
	// be called twice.
	Pause(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error
	// Resume ends the pause of exactly what is meant; with a policy it also
	// closes its breaker.
	Resume(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error
}
