package mesh

import "time"

// Rule is a check rule: when a check is in one of Status for For, there is an
// incident.
type Rule struct {
	Name string `json:"name"`
	// Check is the id or name of the checks that it is about; "*" means any.
	Check  string   `json:"check"`
	Target string   `json:"target,omitempty"` // a query over nodes; empty: all.
	Status []Health `json:"status"`           // critical unless told otherwise.
	// For is how long the status must last; zero: the first result counts.
	For      time.Duration `json:"for"`
	Severity string        `json:"severity"` // critical, warning or info.
	Summary  string        `json:"summary,omitempty"`
	Notify   []string      `json:"notify,omitempty"` // names of receivers.
	Owner    string        `json:"owner,omitempty"`  // whom to call.
	Runbook  string        `json:"runbook,omitempty"`
	Origin   string        `json:"origin,omitempty"` // file:line, for messages.
}

// Receiver is told of incidents: by a webhook, or by a command on the server.
// Exactly one of URL and Command is set.
type Receiver struct {
	Name    string            `json:"name"`
	URL     string            `json:"url,omitempty"`
	Header  map[string]string `json:"-"` // may hold secrets.
	Command []string          `json:"command,omitempty"`
	// Resolved: whether it is told when an incident is closed too.
	Resolved bool          `json:"resolved"`
	Timeout  time.Duration `json:"timeout"`
	Origin   string        `json:"origin,omitempty"`
}

// IncidentID names one incident: 16 lower-case hexadecimal digits.
type IncidentID string

// NewIncidentID returns a fresh random IncidentID.
func NewIncidentID() IncidentID { return IncidentID(RandomHex(8)) }

// IncidentStatus is how far an incident has come.
type IncidentStatus string

// The statuses of an incident. It is closed by recovery or by a person, and
// opened again when the same comes back soon: one problem, one thread.
const (
	IncidentOpen   IncidentStatus = "open"
	IncidentAcked  IncidentStatus = "acked"
	IncidentClosed IncidentStatus = "closed"
)

// Incident is one problem with its story.
type Incident struct {
	ID       IncidentID `json:"id"`
	Rule     string     `json:"rule"`
	Severity string     `json:"severity"`
	Summary  string     `json:"summary"`
	Owner    string     `json:"owner,omitempty"`
	Runbook  string     `json:"runbook,omitempty"`
	// What it is about. Check is empty for a problem of the node itself, Node
	// for one of the whole site.
	DC      string   `json:"dc,omitempty"`
	Node    NodeName `json:"node,omitempty"`
	Check   string   `json:"check,omitempty"`
	Service string   `json:"service,omitempty"`
	// Disks are the broken disks that its check named when it was last bad. What
	// else is bad of one of them on this node is the same incident.
	Disks []string `json:"disks,omitempty"`
	// Joined are the problems of those disks that have no incident of their own
	// since this one was opened, in the order in which they came.
	Joined []JoinedProblem `json:"joined,omitempty"`

	Status IncidentStatus `json:"status"`
	Health Health         `json:"health"` // of the check, as last seen.
	Output string         `json:"output,omitempty"`
	// Began is when the check turned bad, by its node's clock; Opened when the
	// incident was made.
	Began   time.Time `json:"began,omitzero"`
	Opened  time.Time `json:"opened"`
	Updated time.Time `json:"updated"`
	Closed  time.Time `json:"closed,omitzero"`
	AckedBy string    `json:"acked_by,omitempty"`
	// ClosedBy is the name of a token, or "alps" when the check recovered.
	ClosedBy string `json:"closed_by,omitempty"`
	Reopened int    `json:"reopened,omitempty"` // how often.

	Timeline []IncidentEvent `json:"timeline,omitempty"` // oldest first; left out of lists.
}

// JoinedProblem is that a check of the node is bad by a rule as well.
type JoinedProblem struct {
	Rule  string `json:"rule"`
	Check string `json:"check"`
}

// Key is what makes two incidents the same problem.
func (i *Incident) Key() string {
	return i.Rule + "\x00" + i.DC + "\x00" + string(i.Node) + "\x00" + i.Check
}

// IncidentEventKind classes an IncidentEvent.
type IncidentEventKind string

// The kinds of events in an incident's timeline.
const (
	EventCheck        IncidentEventKind = "check"         // the check changed.
	EventOpened       IncidentEventKind = "opened"        // the rule held for long enough.
	EventNotified     IncidentEventKind = "notified"      // a receiver took it.
	EventNotifyFailed IncidentEventKind = "notify_failed" // a receiver did not; it is tried again.
	EventAcked        IncidentEventKind = "acked"
	EventComment      IncidentEventKind = "comment"
	EventRemedy       IncidentEventKind = "remedy"    // a policy decided, acted, or refused.
	EventRecovered    IncidentEventKind = "recovered" // a good result came.
	EventClosed       IncidentEventKind = "closed"
	EventReopened     IncidentEventKind = "reopened"
	EventEscalated    IncidentEventKind = "escalated" // a human was called.
)

// IncidentEvent is one line of an incident's story. Data holds what belongs to
// it as names and values: receiver, policy, job, guard, reason.
type IncidentEvent struct {
	At    time.Time         `json:"at"`
	Kind  IncidentEventKind `json:"kind"`
	Actor string            `json:"actor"` // a token's name, or alps.
	Text  string            `json:"text"`
	Data  map[string]string `json:"data,omitempty"`
}
