package mesh

import "time"

// Audit is one line in the record of who did what. Lines are only ever added:
// a request that was refused leaves one as well as one that was carried out.
type Audit struct {
	Time time.Time `json:"time"`
	// Actor is the name of the token, or "node/<NodeID>" for an agent, or
	// "alps" for what the server does by itself.
	Actor string `json:"actor"`
	// From is the address that the request came from, empty for the server.
	From string `json:"from,omitempty"`
	// Action is a noun and a verb: job.submit, job.cancel, token.create.
	Action string `json:"action"`
	// Object is what was acted on: a JobID, a node's name, a token's id.
	Object  string  `json:"object,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Reason says in words why it was refused or how it failed.
	Reason string            `json:"reason,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// Outcome is how an audited action went.
type Outcome string

// The outcomes. OutcomeRefused means that nothing was changed because it was not
// allowed; OutcomeFailed that it was allowed and went wrong.
const (
	OutcomeDone    Outcome = "done"
	OutcomeRefused Outcome = "refused"
	OutcomeFailed  Outcome = "failed"
)
