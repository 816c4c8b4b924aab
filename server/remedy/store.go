package remedy

import (
	"cmp"
	"context"
	"slices"
	"time"

	"alps/mesh"
)

// Store keeps runs and the switch. Package remedytest has one in memory and the
// suite for every other. Its methods may be called from any goroutine.
type Store interface {
	// PutRemedyRuns writes new runs and new states of old ones, all or none, for the
	// leader of that term. mesh.Conflict says that a newer term has begun, that
	// a run would be open beside another of its group or on its node, or that a
	// new one is open while it is paused.
	PutRemedyRuns(ctx context.Context, term uint64, runs []Record) error
	// RemedyRuns lists runs, the newest first.
	RemedyRuns(ctx context.Context, f Filter) ([]Record, error)
	// RemedySwitch returns what people have paused and resumed.
	RemedySwitch(ctx context.Context) (Switch, error)
	// PauseRemedy pauses the policies that p is about. A second one of the same
	// changes nothing but by whom and why.
	PauseRemedy(ctx context.Context, p Pause) error
	// ResumeRemedy ends the pause that is about the same as p, and of no more or
	// less. With a policy it also forgives that one its failures and storms until
	// now. There need not be any.
	ResumeRemedy(ctx context.Context, p Pause) error
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
	mesh.RemedyScope

	By     string
	At     time.Time
	Reason string
}

// String says it in a reason.
func (p *Pause) String() string {
	text := "paused by "
	if p.RemedyScope != (mesh.RemedyScope{}) {
		text = "the " + p.RemedyScope.String() + " is paused by "
	}
	text += p.By + " at " + clock(p.At)
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// Switch is what people have paused and resumed.
type Switch struct {
	Paused  []Pause          // those in force, the widest first.
	Resumed map[string]Pause // by policy: the last time.
}

// Holds is the pause that keeps a policy from acting, the widest of several;
// nil: there is none.
func (s *Switch) Holds(policy, group string) *Pause {
	for i := range s.Paused {
		if s.Paused[i].Covers(policy, group) {
			return &s.Paused[i]
		}
	}
	return nil
}

// All is the pause of everything; nil: there is none.
func (s *Switch) All() *Pause {
	if len(s.Paused) > 0 && s.Paused[0].RemedyScope == (mesh.RemedyScope{}) {
		return &s.Paused[0]
	}
	return nil
}

// SortPauses puts the widest first: that of all, those of groups, those of
// policies, each by name.
func SortPauses(list []Pause) {
	slices.SortFunc(list, func(a, b Pause) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Group, b.Group))
	})
}
