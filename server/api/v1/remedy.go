package v1

import (
	"time"

	"alps/mesh"
)

// Policy is one policy and how it stands.
type Policy struct {
	mesh.Policy

	Paused   *RemedyPause    `json:"paused,omitempty" doc:"what keeps it from acting, the widest of several; absent: nothing"`
	Blocked  string          `json:"blocked,omitempty" doc:"why it would refuse now; absent: it would act"`
	LastHour int             `json:"last_hour" doc:"actions within the last hour"`
	InARow   int             `json:"failures_in_a_row" doc:"actions that failed since one succeeded; the breaker opens at failures"`
	Last     *mesh.RemedyRun `json:"last,omitempty" doc:"its newest run, if there is one that the token may see"`
}

// PolicyList is every policy.
type PolicyList struct {
	Policies []Policy     `json:"policies" nullable:"false"`
	Paused   *RemedyPause `json:"paused,omitempty" doc:"the pause of all; absent: there is none"`
}

// RemedyPause is the kill switch of all remediation, or of the policies of its
// scope.
type RemedyPause struct {
	mesh.RemedyScope

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

// ApprovalRequest says why a run that was proposed is approved or rejected.
type ApprovalRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"kept in the audit and in the incident's story"`
}

// SimulationRequest names the incident that a policy is tried on.
type SimulationRequest struct {
	Incident string `json:"incident" pattern:"^[0-9a-f]{4,16}$" patternDescription:"an incident's id or its beginning, at least 4 hexadecimal digits" doc:"an incident's id, or its unique beginning of at least 4 digits"`
}

// Simulation is what a policy would do about an incident now. What only looks
// was really asked; what acts was asked what it would do.
type Simulation struct {
	Policy   string          `json:"policy"`
	Incident mesh.IncidentID `json:"incident"`
	Node     mesh.NodeName   `json:"node"`
	Verdicts []GuardVerdict  `json:"verdicts" nullable:"false" doc:"of every guard, in the order in which they are asked"`
	Run      mesh.RemedyRun  `json:"run" doc:"with the steps as they would be taken; it is kept nowhere"`
	Would    bool            `json:"would" doc:"whether it would act"`
	Reason   string          `json:"reason,omitempty" doc:"why it would not"`
}

// GuardVerdict is what one guard says.
type GuardVerdict struct {
	Guard  string `json:"guard"`
	Reason string `json:"reason,omitempty" doc:"why it refuses; absent: it agrees"`
}
