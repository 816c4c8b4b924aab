package v1

import (
	"time"

	"alps/mesh"
)

// IncidentFilter limits a list of incidents. The zero IncidentFilter asks for
// the newest.
type IncidentFilter struct {
	Status []mesh.IncidentStatus // empty means all.
	Query  string                // over nodes; empty means all, and those of no node.
	Rule   string
	Before mesh.IncidentID // the Next of the page before.
	Limit  int             // zero takes the server's default.
}

// IncidentList is a page of incidents without their timelines, open ones
// first, then the newest.
type IncidentList struct {
	Incidents []mesh.Incident `json:"incidents" nullable:"false"`
	Next      mesh.IncidentID `json:"next,omitempty" doc:"goes into before to read on; absent at the end"`
}

// IncidentChange is what a person does about an incident.
type IncidentChange string

// What can be done about an incident.
const (
	IncidentAck     IncidentChange = "ack"
	IncidentClose   IncidentChange = "close"
	IncidentReopen  IncidentChange = "reopen"
	IncidentComment IncidentChange = "comment"
)

// IncidentRequest goes with an IncidentChange. A comment needs its text.
type IncidentRequest struct {
	Text string `json:"text,omitempty" maxLength:"2000" doc:"goes into the story; a comment must have one"`
}

// RuleList is the rules and receivers in force, and what is wrong with them.
// Of a receiver's URL only where it goes is shown: the rest is a secret of many
// services.
type RuleList struct {
	Rules     []mesh.Rule     `json:"rules" nullable:"false"`
	Receivers []mesh.Receiver `json:"receivers" nullable:"false" doc:"of a URL only the scheme and the host"`
	Problems  []string        `json:"problems,omitempty" nullable:"false" doc:"in words, such as a rule for a check that no node has"`
}

// Policy is one policy and how it stands.
type Policy struct {
	mesh.Policy

	Blocked  string          `json:"blocked,omitempty" doc:"why it would refuse now; absent: it would act"`
	LastHour int             `json:"last_hour" doc:"actions within the last hour"`
	InARow   int             `json:"failures_in_a_row" doc:"actions that failed since one succeeded; the breaker opens at failures"`
	Last     *mesh.RemedyRun `json:"last,omitempty" doc:"its newest run, if there is one that the token may see"`
}

// PolicyList is every policy.
type PolicyList struct {
	Policies []Policy     `json:"policies" nullable:"false"`
	Paused   *RemedyPause `json:"paused,omitempty" doc:"absent: not paused"`
}

// RemedyPause is the kill switch of all remediation.
type RemedyPause struct {
	By     string    `json:"by" doc:"name of the token"`
	At     time.Time `json:"at" doc:"since when"`
	Reason string    `json:"reason,omitempty"`
}

// PauseRequest says why remediation is paused or resumed.
type PauseRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"kept in the audit"`
}

// RemedyRunFilter limits a list of runs. The zero one asks for the newest.
type RemedyRunFilter struct {
	Policy   string
	Incident mesh.IncidentID
	Limit    int // zero takes the server's default.
}

// RemedyRunList is runs of policies, the newest first, refusals included.
type RemedyRunList struct {
	Runs []mesh.RemedyRun `json:"runs" nullable:"false"`
}
