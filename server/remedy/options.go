package remedy

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// Incidents is what is acted on, and where the story of it is told.
type Incidents interface {
	// Incidents lists every incident that is open or acked, and every one that
	// was opened at since or later, in any order.
	Incidents(ctx context.Context, since time.Time) ([]mesh.Incident, error)
	// Note adds a line to an incident's timeline.
	Note(ctx context.Context, id mesh.IncidentID, ev mesh.IncidentEvent) error
	// Escalate calls humans about an incident; without receivers, those of its
	// rule.
	Escalate(ctx context.Context, id mesh.IncidentID, receivers []string, text string) error
}

// Foresight is what an Incidents may be too. Pending says how many incidents a
// rule is about to open, without those that were opened at since or later. The
// storm brake counts them.
type Foresight interface {
	Pending(rule string, since time.Time) int
}

// Checks knows how every check is; false when nothing is known of it.
type Checks interface {
	Get(dc string, node mesh.NodeName, check string) (mesh.CheckState, bool)
}

// Jobs runs scripts on nodes.
type Jobs interface {
	// Submit makes a job under the id that it is given; already says that it
	// was made before, and nothing else is changed then. When it fails the job
	// may have been made all the same.
	Submit(ctx context.Context, s Submission) (already bool, err error)
	// State says how the one target of a job fares, and false when there is no
	// such job.
	State(ctx context.Context, id mesh.JobID) (mesh.JobState, bool, error)
	// Announced reports whether the targets of a job that exists may have been
	// told of it. Who made it may have lost the lease before: then nobody will
	// be, until it is submitted again.
	Announced(ctx context.Context, id mesh.JobID) (bool, error)
	// Results says how every target of a job fares, and false when there is no
	// such job. What a target has written may come a while after its end:
	// Pending says so.
	Results(ctx context.Context, id mesh.JobID) ([]Result, bool, error)
}

// Result is one target of a job.
type Result struct {
	Node    mesh.NodeID
	Job     mesh.JobState
	Answer  *mesh.Answer // nil: it has given none.
	Pending bool
	// Complaint is the last that a job has said which failed.
	Complaint string
}

// Submission is a job for one node or several.
type Submission struct {
	ID     mesh.JobID
	Author string // policy/<name>
	DC     string
	// Node and NodeID are the one node of a job of the small form; a step of a
	// plan has Nodes, and its script may run twice.
	Node   mesh.NodeName
	NodeID mesh.NodeID
	Nodes  []mesh.NodeID
	Script string
	Body   []byte // do not change it.
	Args   []string
	Env    map[string]string
	RunAs  string
	// Timeout bounds the script on the node; Expires is how long after its
	// submission it may still start.
	Timeout time.Duration
	Expires time.Duration
}

// Options are what an Engine is made of. Ready, Attribute, OnRun and Logger may
// be nil; the rest is required.
type Options struct {
	Store     Store
	Incidents Incidents
	Checks    Checks
	Jobs      Jobs
	// Node finds a node of the inventory, and Nodes returns all. They are
	// shared: do not change them.
	Node  func(dc string, name mesh.NodeName) (mesh.Node, bool)
	Nodes func() []mesh.Node
	// Ready reports whether the inventory, and what people have declared, were
	// read. Until then no node is there and none is in maintenance, so that
	// nothing is decided and no step begun. Nil means that they were.
	Ready func() bool
	// Attribute is what people have declared of a node under a name, such as
	// loss_tolerant; "" when nothing. Nil means that nobody declares anything.
	Attribute func(n *mesh.Node, name string) string
	// Lease says in which term this server leads, and false when it does not.
	// It is asked right before every effect; it does not block.
	Lease func() (term uint64, ok bool)
	// Audit records who did what.
	Audit func(ctx context.Context, a mesh.Audit) error
	// OnRun is told every new state of a run, in order, after it was stored. It
	// is called from Run and must not block.
	OnRun  func(mesh.RemedyRun)
	Logger hclog.Logger
}

func (o *Options) complete() error {
	if o.Store == nil || o.Incidents == nil || o.Checks == nil || o.Jobs == nil || o.Node == nil || o.Nodes == nil || o.Lease == nil || o.Audit == nil {
		return errors.New("new remedy engine: a dependency is missing")
	}
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Attribute == nil {
		o.Attribute = func(*mesh.Node, string) string { return "" }
	}
	if o.OnRun == nil {
		o.OnRun = func(mesh.RemedyRun) {}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return nil
}
