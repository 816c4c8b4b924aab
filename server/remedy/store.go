package remedy

import (
	"context"
	"time"

	"alps/mesh"
)

// Store keeps runs and the switch. Package remedytest has one in memory and the
// suite for every other. Its methods may be called from any goroutine.
type Store interface {
	// PutRemedyRuns writes new runs and new states of old ones, all or none, for the
	// leader of that term. mesh.Conflict says that a newer term has begun, that
	// a run would be open beside another, or that a new one is open while
	// remediation is paused.
	PutRemedyRuns(ctx context.Context, term uint64, runs []Record) error
	// RemedyRuns lists runs, the newest first.
	RemedyRuns(ctx context.Context, f Filter) ([]Record, error)
	// RemedySwitch returns what people have paused and resumed.
	RemedySwitch(ctx context.Context) (Switch, error)
	// PauseRemedy pauses all remediation. A second one changes nothing but by whom
	// and why.
	PauseRemedy(ctx context.Context, p Pause) error
	// ResumeRemedy ends the pause, or, with a policy, forgives that policy its
	// failures and storms until now. There need not be any.
	ResumeRemedy(ctx context.Context, policy string, p Pause) error
}

// Filter limits a list of runs. The zero Filter asks for all.
type Filter struct {
	ID       mesh.RemedyRunID
	Policy   string
	Incident mesh.IncidentID
	Guard    Guard
	Acts     bool      // only those that acted.
	Open     bool      // only those that are under way.
	Proposed bool      // only those that a person is asked about.
	Untold   bool      // only those of which something is to be told.
	Since    time.Time // decided at this time or later.
	Limit    int       // 0 means no limit.
}

// Pause is that a person has paused or resumed something.
type Pause struct {
	By     string
	At     time.Time
	Reason string
}

// String says it in a reason.
func (p *Pause) String() string {
	text := "paused by " + p.By + " at " + clock(p.At)
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// Switch is what people have paused and resumed.
type Switch struct {
	Paused  *Pause           // nil: it is not.
	Resumed map[string]Pause // by policy: the last time.
}
