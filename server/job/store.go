package job

import (
	"context"
	"encoding/json"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// History is the storage that jobs need. Its methods may be called from any
// goroutine. What names something unknown returns an error of code
// mesh.NotFound; a store that cannot write returns mesh.Unavailable and has
// changed nothing. Times are kept to the millisecond at least and returned in
// UTC; the zero time stays the zero time. package jobtest holds the suite that
// every implementation passes, and one in memory.
type History interface {
	Jobs
	Outputs
	Boards
}

// Jobs keeps jobs and their targets.
type Jobs interface {
	// Create adds a job, its targets, its places and its audit line, all or
	// nothing; mesh.Conflict when the ID exists or the author has used the
	// submit token before.
	Create(ctx context.Context, n NewJob) error
	// Apply writes what has changed, all or nothing. It may be called twice
	// with the same Change, except for its audit lines.
	Apply(ctx context.Context, c Change) error
	Job(ctx context.Context, id mesh.JobID) (Job, error)
	// JobByToken finds what an author submitted with a submit token.
	JobByToken(ctx context.Context, author, token string) (Job, error)
	// Jobs lists jobs, the newest first, then by ID.
	Jobs(ctx context.Context, f Filter) ([]Job, error)
	// Targets returns the whole list of a job, in its order.
	Targets(ctx context.Context, id mesh.JobID) ([]Target, error)
}

// Outputs keeps what processes wrote and the scripts that were submitted, by
// the SHA-256 of their bytes.
type Outputs interface {
	// PutOutput keeps a body under its digest, which the caller has checked,
	// and forgets who was asked for it. It may be called twice.
	PutOutput(ctx context.Context, digest string, body []byte) error
	Output(ctx context.Context, digest string) ([]byte, error)
	// KnownOutputs returns those of digests that are kept, in any order.
	KnownOutputs(ctx context.Context, digests []string) ([]string, error)
	// Wanted lists the digests that are not kept and that node has.
	Wanted(ctx context.Context, node mesh.NodeID) ([]string, error)
}

// Boards remembers what was written to the heads of each datacenter.
type Boards interface {
	// Marks returns the mark of each shard, those of an unknown datacenter
	// are zero.
	Marks(ctx context.Context, dc string) ([mesh.Shards]Mark, error)
	// Places returns the places that are not cleaned, in any order: those of
	// jobs that have not ended when open is set, otherwise those of jobs that
	// expired before the given time.
	Places(ctx context.Context, open bool, before time.Time) ([]Place, error)
}

// Job is one job as it is kept: what was asked, what was signed, how far it
// has come.
type Job struct {
	ID      mesh.JobID
	Attempt int
	Author  string // name of the token that submitted it.
	Signer  string // holder of the grant that it was signed under.
	Title   string // one line for lists: the command, or the script and its arguments.
	Expr    string // the target expression as it was understood.
	Created time.Time
	Expires time.Time
	// Token is the submit token, empty for none; Content is a digest of what
	// was asked, so that the same token with another content is found out.
	Token   string
	Content string
	// Envelope is the signed Spec as it lies in KV. It is null when no target
	// could be signed for, because none has an agent.
	Envelope json.RawMessage
	Spec     mesh.Spec
	Plan     Plan

	Phase dispatch.Phase
	// Gen counts the changes of Phase and Wave. 0 means that no ctl document
	// was written yet; Ctl is its signed envelope.
	Gen  int
	Wave int // the highest wave that may start.
	Ctl  json.RawMessage
	// Stopped says why no further wave is opened, empty while one may be.
	Stopped string

	Counts mesh.Counts
	Woke   map[mesh.Woke]int
	Ended  time.Time // zero while a target is open.
}

// Target is one node of a job: its part in the list and what is known of it.
type Target struct {
	Index int         // place in the list, from 0.
	Node  mesh.NodeID // empty when no agent has enrolled on the node.
	Name  mesh.NodeName
	DC    string
	Wave  int
	// Listed is set when the node is in the signed list; the others were
	// refused by the server and stay in the denominator.
	Listed bool

	State  mesh.State
	Reason string
	Code   int
	Signal string
	Woke   mesh.Woke
	// Inferred is set when the server concluded State from silence.
	Inferred bool
	At       time.Time // when State was entered, by the node's clock when it said so.
	Started  time.Time
	Ended    time.Time
	// The streams are kept without their Inline bytes.
	Stdout mesh.Output
	Stderr mesh.Output
}

// Place is one datacenter that a job is written in.
type Place struct {
	Job       mesh.JobID
	DC        string
	Published bool // its first announcement is in the heads.
	// Gen is the generation of the newest ctl that was written there.
	Gen     int
	Cleaned bool // its keys were deleted.
}

// Mark is the newest epoch and sequence that a server has seen in one head.
type Mark struct {
	Epoch string
	Seq   uint64
}

// NewJob is what Create stores.
type NewJob struct {
	Job     Job
	Targets []Target // by rising Index, from 0.
	Places  []Place
	Script  []byte // kept under Spec.Script.SHA256 when it is set.
	Audit   mesh.Audit
}

// Change is what Apply writes. Jobs replaces Phase and what follows it in Job
// and touches nothing else; Targets replaces State and what follows it; Places
// replaces both flags and Gen.
type Change struct {
	Jobs    []Job
	Targets map[mesh.JobID][]Target
	Outputs map[string][]byte // bodies by digest.
	// Wanted adds the nodes that hold a body which is not kept, by digest.
	Wanted map[string][]mesh.NodeID
	Places []Place
	Marks  map[string][mesh.Shards]Mark // by datacenter.
	Audit  []mesh.Audit
}

// Filter limits a list of jobs. The zero Filter asks for all of them.
type Filter struct {
	Open   bool       // only those that have not ended.
	State  mesh.State // only those whose Counts have some of it.
	Author string
	Prefix string      // of the ID.
	Node   mesh.NodeID // only those that have this node among their targets.
	Before mesh.JobID  // only those that come after this one in the list; unknown lists none.
	Limit  int         // 0 means no limit.
}
