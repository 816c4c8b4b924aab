package api

import (
	"context"

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
