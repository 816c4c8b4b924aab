package mesh

import "time"

// RemedyMode says what a policy may do.
type RemedyMode string

// The modes of a policy. The zero mode is off.
const (
	RemedyOff     RemedyMode = "off"
	RemedyObserve RemedyMode = "observe" // says what it would do.
	RemedyApprove RemedyMode = "approve" // asks a person each time.
	RemedyAuto    RemedyMode = "auto"
)

// Policy says what to do about an incident. The small form runs a script on the
// node of the incident, and the check proves that it helped. The large form has
// a ladder of rungs, the gentlest first, each with its own guards and proofs.
type Policy struct {
	Name   string     `json:"name"`
	Rule   string     `json:"rule"`             // of the incidents that it is for.
	Script string     `json:"script,omitempty"` // name of a script of the library; empty when there are Rungs.
	Args   []string   `json:"args,omitempty"`
	RunAs  string     `json:"run_as,omitempty"`
	Mode   RemedyMode `json:"mode"`
	Target string     `json:"target,omitempty"` // a query over nodes that it may act on; empty: all.
	// Group is whose runs are taken one at a time: those of all policies with
	// the same one. Those without a group share one too.
	Group string `json:"group,omitempty"`
	// Timeout bounds the script on the node. Verify is how long after its end
	// the check may take to pass.
	Timeout time.Duration `json:"timeout"`
	Verify  time.Duration `json:"verify"`
	// Cooldown lies between two actions on one node; PerHour bounds the
	// policy's actions everywhere, as PerDay does; Storm is how many incidents of the rule
	// within StormWindow are taken for a false alarm or a bigger problem, for
	// which nothing is done; Failures in a row open the breaker.
	Cooldown    time.Duration `json:"cooldown"`
	PerHour     int           `json:"per_hour"`
	PerDay      int           `json:"per_day"` // 0: no bound.
	Storm       int           `json:"storm"`
	StormWindow time.Duration `json:"storm_window"`
	Failures    int           `json:"failures"`
	Notify      []string      `json:"notify,omitempty"` // receivers that call a human; empty: the rule's.
	Origin      string        `json:"origin,omitempty"`

	Rungs []Rung `json:"rungs,omitempty"`
	// Retry is how long after a step has refused it is asked again.
	Retry time.Duration `json:"retry"`
	// MaxUnavailable is how many of the nodes of Target may be in trouble, the
	// incident's included, as ParseShare reads it; empty: any number.
	MaxUnavailable string `json:"max_unavailable,omitempty"`
	// Maintenance is when nothing is done, as ParseWindow reads it, in the
	// server's local time.
	Maintenance []string `json:"maintenance,omitempty"`
}

// Rung is one way of mending, as a list of steps in the order in which they are
// taken: what confirms the incident, what guards, what acts, what proves.
type Rung struct {
	Name  string     `json:"name"` // "main" when the policy has no ladder.
	Steps []PlanStep `json:"steps"`
}

// StepKind says what a step is for, and so what its answer means.
type StepKind string

// The kinds of steps, in the order in which a rung has them. The first two and
// the fourth change nothing.
const (
	StepConfirm StepKind = "confirm" // a second source says that it is true.
	StepGuard   StepKind = "guard"   // it is safe to act.
	StepAct     StepKind = "step"    // acts.
	StepProve   StepKind = "prove"   // it has helped, and nothing was lost.
	StepUndo    StepKind = "undo"    // takes a step back.
)

// PlanStep is one script of a rung.
type PlanStep struct {
	Kind   StepKind `json:"kind"`
	Name   string   `json:"name"`
	Script string   `json:"script"`
	Args   []string `json:"args,omitempty"`
	// On is a query over nodes: the script runs on each, and each must agree.
	// Empty: on the node of the incident.
	On    string `json:"on,omitempty"`
	RunAs string `json:"run_as,omitempty"`
	// Undo is the script that takes the step back on the same nodes, with the
	// same arguments; empty: it cannot be taken back.
	Undo string `json:"undo,omitempty"`
	// Timeout bounds one attempt. Within is how long it is asked again while
	// the answer is wait.
	Timeout time.Duration `json:"timeout"`
	Within  time.Duration `json:"within"`
}

// RemedyScope says which policies somebody means: all when it is zero, else
// those of a group, or one. At most one of the two is set.
type RemedyScope struct {
	Policy string `json:"policy,omitempty"`
	Group  string `json:"group,omitempty"`
}

// Covers reports whether a policy of that name and group is meant.
func (s RemedyScope) Covers(policy, group string) bool {
	switch {
	case s.Policy != "":
		return s.Policy == policy
	case s.Group != "":
		return s.Group == group
	}
	return true
}

// String names what is meant, for people: "all", "group hdfs", "policy x".
func (s RemedyScope) String() string {
	switch {
	case s.Policy != "":
		return "policy " + s.Policy
	case s.Group != "":
		return "group " + s.Group
	}
	return "all"
}

// RemedyRunID names one run of a policy, and its job: the id of the job is
// chosen before the job is made, so that whoever takes over can look whether
// it was.
type RemedyRunID = JobID

// RemedyState is how far a run of a policy has come.
type RemedyState string

// The states of a run. Those from decided to undoing are open: one run at most
// of a group, and on a node, is in them.
const (
	RemedyProposed  RemedyState = "proposed"  // a person is asked.
	RemedyDecided   RemedyState = "decided"   // the guards agree; the job may or may not exist yet.
	RemedyRunning   RemedyState = "running"   // the job was submitted.
	RemedyVerifying RemedyState = "verifying" // the job has ended; the check decides.
	RemedyUndoing   RemedyState = "undoing"   // what was done is taken back.
	RemedySucceeded RemedyState = "succeeded" // the check passes, or every proof was given.
	RemedyFailed    RemedyState = "failed"    // it does not, or the job could not run; a human is called.
	RemedyRefused   RemedyState = "refused"   // a guard said no; nothing was done.
	RemedyObserved  RemedyState = "observed"  // it would have acted.
)

// Ended reports whether nothing more happens in s.
func (s RemedyState) Ended() bool { return !s.Open() && s != RemedyProposed }

// Open reports whether s is that of a run that is under way.
func (s RemedyState) Open() bool {
	switch s {
	case RemedyDecided, RemedyRunning, RemedyVerifying, RemedyUndoing:
		return true
	case RemedyProposed, RemedySucceeded, RemedyFailed, RemedyRefused, RemedyObserved:
	}
	return false
}

// Acts reports whether a run in s has acted, or may have: it counts for the
// pace.
func (s RemedyState) Acts() bool {
	return s != RemedyRefused && s != RemedyObserved && s != RemedyProposed
}

// RemedyRun is one decision of a policy about one incident, and what came of
// it. Refusals are kept as well as actions.
type RemedyRun struct {
	ID       RemedyRunID `json:"id"`
	Policy   string      `json:"policy"`
	Group    string      `json:"group,omitempty"` // of the policy, when it was decided.
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
	// Approved is who has said yes to a policy that asks.
	Approved string `json:"approved,omitempty"`
	// Steps are those of the plan that were begun, in order, undone ones too,
	// and Facts what they have found out. Both are empty for the small form.
	Steps []RemedyStep      `json:"steps,omitempty"`
	Facts map[string]string `json:"facts,omitempty"`
}

// StepState is how far a step has come. It waits between two attempts.
type StepState string

// The states of a step.
const (
	StepRunning StepState = "running"
	StepWaiting StepState = "waiting"
	StepOK      StepState = "ok"
	StepNo      StepState = "no"   // refused, failed, or not proven.
	StepSkip    StepState = "skip" // not a case for its rung.
)

// RemedyStep is one step of a run.
type RemedyStep struct {
	Rung     string     `json:"rung"`
	Kind     StepKind   `json:"kind"`
	Name     string     `json:"name"`
	Script   string     `json:"script"`
	Job      JobID      `json:"job"` // of the newest attempt.
	Attempts int        `json:"attempts"`
	State    StepState  `json:"state"`
	Reason   string     `json:"reason,omitempty"`
	Started  time.Time  `json:"started"` // the first attempt.
	Tried    time.Time  `json:"tried"`   // the newest one.
	Ended    time.Time  `json:"ended,omitzero"`
	Deadline time.Time  `json:"deadline,omitzero"` // of the attempt, or of the next one while it waits.
	Nodes    []StepNode `json:"nodes"`
}

// Over reports whether nothing more happens in s.
func (s StepState) Over() bool { return s != StepRunning && s != StepWaiting }

// StepNode is a node that a step is taken on.
type StepNode struct {
	Node   NodeName `json:"node"`
	ID     NodeID   `json:"id"`
	Job    JobState `json:"job,omitzero"`
	Answer *Answer  `json:"answer,omitempty"` // of the newest attempt that gave one.
}

// JobState is how the one target of a job fares.
type JobState struct {
	State  State  `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	Code   int    `json:"code,omitempty"`
	Woke   Woke   `json:"woke,omitempty"`
}
