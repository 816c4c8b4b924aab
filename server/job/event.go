package job

import (
	"cmp"
	"slices"

	"alps/mesh"
	"alps/mesh/dispatch"
)

// The kinds of events on the topic of a job, "job/<id>".
const (
	eventSubmitted = "job.submitted"
	eventTargets   = "job.targets" // targets have changed.
	eventSteered   = "job.steered" // the phase or the open wave has changed.
	eventEnded     = "job.ended"   // the last target has ended.
)

// Topic is the topic on which a job's events are published.
func Topic(id mesh.JobID) string { return "job/" + string(id) }

// Event is the data of every event of a job: how it stands, and which targets
// have changed since the last one. Targets of several reports that were stored
// together share an event.
type Event struct {
	Job     mesh.JobID     `json:"job"`
	Counts  mesh.Counts    `json:"counts"`
	Phase   dispatch.Phase `json:"phase"`
	Wave    int            `json:"wave"`
	Stopped string         `json:"stopped,omitempty"`
	Ended   bool           `json:"ended"`
	Targets []TargetEvent  `json:"targets,omitempty"`
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

// A change is what is told of a job.
type change struct {
	kind    string
	job     Job
	targets []TargetEvent
}

func (e *edit) event() change {
	c := change{kind: eventTargets, job: e.job}
	switch {
	case e.ended:
		c.kind = eventEnded
	case e.steered:
		c.kind = eventSteered
	}
	for i, t := range e.targets {
		c.targets = append(c.targets, TargetEvent{
			Index: i, Node: t.Node, Name: t.Name, State: t.State, Reason: t.Reason,
			Code: t.Code, Signal: t.Signal, Stdout: t.Stdout, Stderr: t.Stderr,
		})
	}
	slices.SortFunc(c.targets, func(a, b TargetEvent) int { return cmp.Compare(a.Index, b.Index) })
	return c
}

func (s *Service) tell(c change) {
	s.o.Stream.Publish(Topic(c.job.ID), c.kind, Event{
		Job: c.job.ID, Counts: c.job.Counts, Phase: c.job.Phase, Wave: c.job.Wave,
		Stopped: c.job.Stopped, Ended: !c.job.Ended.IsZero(), Targets: c.targets,
	})
}
