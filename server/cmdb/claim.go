package cmdb

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"alps/mesh"
)

// place is a name in a datacenter.
type place struct {
	dc   string
	name mesh.NodeName
}

// agent is one enrolled agent with all that is known of it.
type agent struct {
	Enrolment
	record *record // nil: it has not said what it is.
	linked bool
	since  time.Time // of linked, or of not linked; zero when that is not known.
	held   bool      // it held its name in the snapshot before.
}

func (a *agent) status() mesh.AgentStatus {
	switch {
	case a.Revoked:
		return mesh.AgentRevoked
	case a.linked:
		return mesh.AgentLinked
	default:
		return mesh.AgentLost
	}
}

// claim returns the place that an agent says is its own: by its facts or, while
// it has sent none, by its enrolment.
func (a *agent) claim(own string) place {
	if a.record != nil && a.record.Facts.Name != "" {
		return place{cmp.Or(a.record.Facts.DC, own), a.record.Facts.Name}
	}
	return place{own, a.Name}
}

func (a *agent) machine() string {
	if a.record == nil {
		return ""
	}
	return a.record.Facts.MachineID
}

// precedes orders the agents that claim one place: the first of them holds it.
//
// An agent that is connected comes before one that is not, and of two that
// are, the one that enrolled first: whoever comes later cannot take a name from
// a living node. When none is connected the name stays where it was, so that a
// broken network moves no name; after a start of the server, when nobody
// remembers, it goes to the one that was heard of last, which after a machine
// was enrolled again is its new identity.
func (a *agent) precedes(b *agent) int {
	if c := compareBool(!a.Revoked, !b.Revoked); c != 0 {
		return c
	}
	if c := compareBool(a.linked, b.linked); c != 0 {
		return c
	}
	if !a.linked {
		if c := compareBool(a.held, b.held); c != 0 {
			return c
		}
		if c := b.heard().Compare(a.heard()); c != 0 {
			return c
		}
	}
	return cmp.Or(a.EnrolledAt.Compare(b.EnrolledAt), cmp.Compare(a.ID, b.ID))
}

// heard is when an agent has last said something new.
func (a *agent) heard() time.Time {
	if a.record != nil && a.record.At.After(a.EnrolledAt) {
		return a.record.At
	}
	return a.EnrolledAt
}

// compareBool sorts true before false.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// claims sorts agents by the place that they claim and by precedence. Agents
// without a name are under the empty one.
func claims(agents []*agent, own string) map[place][]*agent {
	out := make(map[place][]*agent, len(agents))
	for _, a := range agents {
		p := a.claim(own)
		out[p] = append(out[p], a)
	}
	for _, l := range out {
		slices.SortFunc(l, (*agent).precedes)
	}
	return out
}

// clones finds the machine ids that several unrevoked agents report.
func clones(agents []*agent) []Finding {
	by := make(map[string][]*agent)
	for _, a := range agents {
		if id := a.machine(); id != "" && !a.Revoked {
			by[id] = append(by[id], a)
		}
	}
	var out []Finding
	for _, machine := range slices.Sorted(maps.Keys(by)) {
		if l := by[machine]; len(l) > 1 && !oneHost(l) {
			slices.SortFunc(l, (*agent).precedes)
			out = append(out, cloneFinding(machine, l))
		}
	}
	return out
}
