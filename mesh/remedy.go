package mesh

import "time"

// RemedyMode says what a policy may do.
type RemedyMode string

// The modes of a policy. The zero mode is off.
const (
	RemedyOff     RemedyMode = "off"
	RemedyObserve RemedyMode = "observe" // says what it would do.
	RemedyAuto    RemedyMode = "auto"
)

// Policy says what to do about an incident: run a script on its node, and
// prove by the check that it helped.
type Policy struct {
	Name   string     `json:"name"`
	Rule   string     `json:"rule"`   // of the incidents that it is for.
	Script string     `json:"script"` // name of a script of the library.
	Args   []string   `json:"args,omitempty"`
	RunAs  string     `json:"run_as,omitempty"`
	Mode   RemedyMode `json:"mode"`
	Target string     `json:"target,omitempty"` // a query over nodes that it may act on; empty: all.
	// Timeout bounds the script on the node. Verify is how long after its end
	// the check may take to pass.
	Timeout time.Duration `json:"timeout"`
	Verify  time.Duration `json:"verify"`
	// Cooldown lies between two actions on one node; PerHour bounds the
	// policy's actions everywhere; Storm is how many incidents of the rule
	// within StormWindow are taken for a false alarm or a bigger problem, for
	// which nothing is done; Failures in a row open the breaker.
	Cooldown    time.Duration `json:"cooldown"`
	PerHour     int           `json:"per_hour"`
	Storm       int           `json:"storm"`
	StormWindow time.Duration `json:"storm_window"`
	Failures    int           `json:"failures"`
	Notify      []string      `json:"notify,omitempty"` // receivers that call a human; empty: the rule's.
	Origin      string        `json:"origin,omitempty"`
}

// RemedyRunID names one run of a policy, and its job: the id of the job is
// chosen before the job is made, so that whoever takes over can look whether
// it was.
type RemedyRunID = JobID

// RemedyState is how far a run of a policy has come.
type RemedyState string

// The states of a run. The first three are open.
const (
	RemedyDecided   RemedyState = "decided"   // the guards agree; the job may or may not exist yet.
	RemedyRunning   RemedyState = "running"   // the job was submitted.
	RemedyVerifying RemedyState = "verifying" // the job has ended; the check decides.
	RemedySucceeded RemedyState = "succeeded" // the check passes.
	RemedyFailed    RemedyState = "failed"    // it does not, or the job could not run; a human is called.
	RemedyRefused   RemedyState = "refused"   // a guard said no; nothing was done.
	RemedyObserved  RemedyState = "observed"  // it would have acted.
)

// Ended reports whether nothing more happens in s.
func (s RemedyState) Ended() bool {
	switch s {
	case RemedyDecided, RemedyRunning, RemedyVerifying:
		return false
	case RemedySucceeded, RemedyFailed, RemedyRefused, RemedyObserved:
	}
	return true
}

// RemedyRun is one decision of a policy about one incident, and what came of
// it. Refusals are kept as well as actions.
type RemedyRun struct {
	ID       RemedyRunID `json:"id"`
	Policy   string      `json:"policy"`
	Incident IncidentID  `json:"incident"`
	DC       string      `json:"dc"`
	Node     NodeName    `json:"node"`
	Check    string      `json:"check"`
	Script   string      `json:"script"`
	State    RemedyState `json:"state"`
	// Guard names the guard that refused; Reason says why it refused, or why
	// the run failed, in words.
	Guard    string     `json:"guard,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Decided  time.Time  `json:"decided"`
	Started  time.Time  `json:"started,omitzero"`
	Ended    time.Time  `json:"ended,omitzero"`
	Deadline time.Time  `json:"deadline,omitzero"` // of the state that it is in.
	Job      JobState   `json:"job,omitzero"`
	Before   CheckState `json:"before,omitzero"` // the evidence.
	After    CheckState `json:"after,omitzero"`
}

// JobState is how the one target of a job fares.
type JobState struct {
	State  State  `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	Code   int    `json:"code,omitempty"`
	Woke   Woke   `json:"woke,omitempty"`
}
