package v1

import (
	"time"

	"alps/mesh"
	"alps/mesh/sign"
)

// JobRequest says what to run and where. Exactly one of Command and Script is
// set.
type JobRequest struct {
	Target  string            `json:"target" minLength:"1" maxLength:"4096" doc:"a query over nodes, as in role=web status=passing; all means every node"`
	Command []string          `json:"command,omitempty" doc:"an argument vector, run without a shell"`
	Script  *ScriptFile       `json:"script,omitempty"`
	Args    []string          `json:"args,omitempty" doc:"arguments of the script"`
	Env     map[string]string `json:"env,omitempty"`
	RunAs   string            `json:"run_as,omitempty" doc:"a user that the nodes allow; empty means the agent's own"`
	// The durations are seconds; zero takes the server's default.
	Timeout      int  `json:"timeout,omitempty" minimum:"0" doc:"seconds that a process may run"`
	Grace        int  `json:"grace,omitempty" minimum:"0" doc:"seconds between TERM and KILL"`
	ExpiresIn    int  `json:"expires_in,omitempty" minimum:"0" doc:"seconds in which a node that is away may come back and still run it"`
	Idempotent   bool `json:"idempotent,omitempty" doc:"a node may run it again after a restart in the middle of it"`
	AllowMissing bool `json:"allow_missing,omitempty" doc:"names in target that no node has are no error"`
	// SubmitToken makes it safe to send the same request again: it gets the
	// same job.
	SubmitToken string `json:"submit_token,omitempty" maxLength:"128" doc:"any text; the same text with the same content gets the same job"`

	Canary  int    `json:"canary,omitempty" minimum:"0" doc:"how many nodes run it first"`
	Batch   string `json:"batch,omitempty" doc:"how many nodes at once after the canary, as a number or a percentage"`
	MaxFail string `json:"max_fail,omitempty" doc:"how many may fail before no further wave is opened, as a number or a percentage"`
	Confirm bool   `json:"confirm,omitempty" doc:"wait after the canary until somebody opens the next wave"`
}

// ScriptFile is a file to run, of any executable format, at most 1 MiB.
type ScriptFile struct {
	Name string `json:"name" minLength:"1" maxLength:"128" doc:"a plain file name"`
	Body []byte `json:"body" doc:"the file, in base64"`
}

// Submission is the answer to everything that must be signed before nodes
// believe it: the Job as it now is when the server could sign, otherwise a
// Draft that an operator's key must sign.
type Submission struct {
	Job   *Job   `json:"job,omitempty"`
	Draft *Draft `json:"draft,omitempty"`
	// Warning says what keeps the job from being announced at once.
	Warning string `json:"warning,omitempty" doc:"why the job is not announced yet; it is kept and will be"`
	// Repeated means that the submit token was used before: Job is the earlier
	// one, and nothing was started.
	Repeated bool `json:"repeated,omitempty"`
}

// Draft is what waits for a signature over Payload, byte for byte.
type Draft struct {
	Job     mesh.JobID `json:"job"`
	Type    sign.Type  `json:"type" doc:"the type of the envelope to make"`
	Payload []byte     `json:"payload" doc:"the bytes to sign, in base64"`
	Why     string     `json:"why" doc:"why the server may not sign"`
	Expires time.Time  `json:"expires" doc:"when the draft is forgotten"`
}

// Signature completes a Draft: its sealed payload with the grant of the key
// that sealed it.
type Signature struct {
	Envelope sign.Envelope `json:"envelope"`
}

// Job is one job and how far it has come. To a token with a scope the groups
// and targets outside it are not shown; the counts are those of the whole
// list, which is the denominator everywhere.
type Job struct {
	ID      mesh.JobID `json:"id"`
	Attempt int        `json:"attempt"`
	Author  string     `json:"author" doc:"name of the token that submitted it"`
	Signer  string     `json:"signer,omitempty" doc:"holder of the key that signed it"`
	Title   string     `json:"title" doc:"what runs, in one line"`
	Target  string     `json:"target" doc:"the target expression as it was understood"`
	Created time.Time  `json:"created"`
	Expires time.Time  `json:"expires"`
	Ended   time.Time  `json:"ended,omitzero" doc:"absent while a target is open"`
	Phase   string     `json:"phase" doc:"what the operator wants: run, pause or cancel"`
	// Wave is the highest wave that may start, from 0; Waves how many there
	// are.
	Wave    int    `json:"wave"`
	Waves   int    `json:"waves"`
	Stopped string `json:"stopped,omitempty" doc:"why no further wave is opened"`
	// Unpublished names the datacenters in which it could not be announced yet.
	Unpublished []string          `json:"unpublished,omitempty" doc:"datacenters in which it is not announced yet; absent in lists"`
	Counts      mesh.Counts       `json:"counts" doc:"targets by state; they sum to the length of the list"`
	Woke        map[mesh.Woke]int `json:"woke,omitempty" doc:"by what the nodes learned of it"`
	Groups      []Group           `json:"groups,omitempty" doc:"targets that fared alike; absent in lists"`
	Hidden      int               `json:"hidden,omitempty" doc:"targets outside the token's scope: counted, in no group; absent in lists"`
}

// Group is the targets of a job that are in the same state for the same
// reason with the same output.
type Group struct {
	ID     string      `json:"id" doc:"for asking for its targets; good while nothing changes"`
	State  mesh.State  `json:"state"`
	Reason string      `json:"reason,omitempty"`
	Code   int         `json:"code,omitempty"`
	Signal string      `json:"signal,omitempty"`
	Count  int         `json:"count"`
	Nodes  string      `json:"nodes" doc:"folded names, as in web[01-20]"`
	Stdout mesh.Output `json:"stdout,omitzero"`
	Stderr mesh.Output `json:"stderr,omitzero"`
}

// Target is one node of a job.
type Target struct {
	Index    int           `json:"index" doc:"place in the list, from 0"`
	Node     mesh.NodeID   `json:"node,omitempty" doc:"absent when no agent has enrolled on it"`
	Name     mesh.NodeName `json:"name"`
	DC       string        `json:"dc"`
	Wave     int           `json:"wave"`
	State    mesh.State    `json:"state"`
	Reason   string        `json:"reason,omitempty"`
	Code     int           `json:"code,omitempty"`
	Signal   string        `json:"signal,omitempty"`
	Woke     mesh.Woke     `json:"woke,omitempty"`
	Inferred bool          `json:"inferred,omitempty" doc:"the server concluded the state from silence"`
	At       time.Time     `json:"at,omitzero" doc:"when it entered the state"`
	Started  time.Time     `json:"started,omitzero"`
	Ended    time.Time     `json:"ended,omitzero"`
	Stdout   mesh.Output   `json:"stdout,omitzero"`
	Stderr   mesh.Output   `json:"stderr,omitzero"`
}

// TargetFilter says which targets to list. The zero TargetFilter asks for the
// first page of all.
type TargetFilter struct {
	State mesh.State // empty means all.
	Group string     // ID of a Group; empty means all.
	From  int        // only those with this Index or a later one.
	Limit int        // zero takes the server's default.
}

// TargetList is a page of the targets of a job, in the order of its list.
type TargetList struct {
	Targets []Target `json:"targets" nullable:"false"`
	Next    int      `json:"next,omitempty" doc:"goes into from to read on; absent at the end"`
}

// JobFilter limits a list of jobs. The zero JobFilter asks for the newest.
type JobFilter struct {
	Open   bool       // only those that have not ended.
	State  mesh.State // only those with a target in it.
	Author string
	Prefix string      // of the id.
	Node   mesh.NodeID // only those that it is a target of.
	Before mesh.JobID  // only those that come after this one in the list.
	Limit  int         // zero takes the server's default.
}

// JobList is a list of jobs, the newest first. Next, when it is set, goes into
// Before to read on.
type JobList struct {
	Jobs []Job      `json:"jobs" nullable:"false"`
	Next mesh.JobID `json:"next,omitempty"`
}

// JobEvent is the data of every event on the topic "job/<id>": how the job
// stands, and which of its targets have changed since the event before.
// Targets outside a token's scope are left out.
type JobEvent struct {
	Job     mesh.JobID    `json:"job"`
	Counts  mesh.Counts   `json:"counts"`
	Phase   string        `json:"phase"`
	Wave    int           `json:"wave"`
	Stopped string        `json:"stopped,omitempty"`
	Ended   bool          `json:"ended" doc:"no target is open"`
	Targets []TargetEvent `json:"targets,omitempty"`
}

// TargetEvent is a target that has changed.
type TargetEvent struct {
	Index  int           `json:"index"`
	Node   mesh.NodeID   `json:"node,omitempty"`
	Name   mesh.NodeName `json:"name"`
	State  mesh.State    `json:"state"`
	Reason string        `json:"reason,omitempty"`
	Code   int           `json:"code,omitempty"`
	Signal string        `json:"signal,omitempty"`
	Stdout mesh.Output   `json:"stdout,omitzero"`
	Stderr mesh.Output   `json:"stderr,omitzero"`
}

// Steer is what an operator wants of a job that runs.
type Steer string

// The ways to steer a job.
const (
	Cancel   Steer = "cancel"    // stop what runs, start nothing more.
	Pause    Steer = "pause"     // start nothing more for now.
	Resume   Steer = "resume"    // go on after a pause.
	OpenWave Steer = "open-wave" // let the next wave start.
)
