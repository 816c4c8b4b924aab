package v1

import "alps/mesh"

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
