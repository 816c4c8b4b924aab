package cmdb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// Kind classes a Finding.
type Kind string

// The kinds of findings.
const (
	KindNaming     Kind = "naming"        // a name that does not fit the convention.
	KindConflict   Kind = "name_conflict" // several agents claim one name.
	KindClone      Kind = "clone"         // several agents report one machine.
	KindSilent     Kind = "silent"        // an agent that has enrolled and not said where it is.
	KindStranger   Kind = "stranger"      // facts in KV of agents that have not enrolled.
	KindUnreadable Kind = "unreadable"    // facts in KV that cannot be decoded.
	KindDatacenter Kind = "datacenter"    // a datacenter that is not, or no longer, read.
)

// Finding is something about the inventory that a person should look at. None
// of them keeps anything from working.
type Finding struct {
	Kind  Kind          `json:"kind"`
	DC    string        `json:"dc,omitempty"`
	Node  mesh.NodeName `json:"node,omitempty"` // as the snapshot lists it.
	Nodes []mesh.NodeID `json:"nodes,omitempty"`
	Text  string        `json:"text"`
	Hint  string        `json:"hint,omitempty"`
}

func sortFindings(l []Finding) {
	slices.SortStableFunc(l, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.DC, b.DC), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Text, b.Text))
	})
}

func namingFinding(n *mesh.Node) Finding {
	return Finding{
		Kind: KindNaming, DC: n.DC, Node: n.Name,
		Text: fmt.Sprintf("the name %q does not fit the convention <city>-<zone>-<role>-<octets or number>", n.Name),
	}
}

// conflictFinding is about every claimant of p but the first, its holder.
func conflictFinding(p place, listed mesh.NodeName, holder, other *agent) Finding {
	f := Finding{
		Kind: KindConflict, DC: p.dc, Node: listed, Nodes: []mesh.NodeID{holder.ID, other.ID},
		Text: fmt.Sprintf("agents %s and %s both claim the name %q; %s holds it",
			shortID(holder.ID), shortID(other.ID), p.name, shortID(holder.ID)),
	}
	if !other.linked && holder.machine() == other.machine() && holder.machine() != "" {
		f.Hint = fmt.Sprintf("the machine seems to have enrolled again; then: alps node revoke %s --reason TEXT", other.ID)
	}
	return f
}

func unreadableFinding(dc string, id mesh.NodeID, err error) Finding {
	return Finding{
		Kind: KindUnreadable, DC: dc, Nodes: []mesh.NodeID{id},
		Text: fmt.Sprintf("the facts of agent %s in KV: %v", shortID(id), err),
		Hint: "restart the agent: it sends its facts again",
	}
}

func strangerFinding(dc string, ids []mesh.NodeID) Finding {
	return Finding{
		Kind: KindStranger, DC: dc, Nodes: ids,
		Text: fmt.Sprintf("KV holds facts of %d agents that have not enrolled, the first is %s; they are not shown", len(ids), shortID(ids[0])),
		Hint: "if nobody misses them: consul kv delete " + RecordKey(ids[0]),
	}
}

func silentFinding(a *agent) Finding {
	return Finding{
		Kind: KindSilent, Nodes: []mesh.NodeID{a.ID},
		Text: fmt.Sprintf("agent %s enrolled at %s and has not said which node it is on", shortID(a.ID), a.EnrolledAt.UTC().Format(time.DateTime)),
		Hint: "is it running, and does the Consul beside it answer? see: alps doctor",
	}
}

func cloneFinding(machine string, l []*agent) Finding {
	f := Finding{Kind: KindClone}
	var who []string
	for _, a := range l {
		f.Nodes = append(f.Nodes, a.ID)
		name := a.Name
		if a.record.Facts.Name != "" {
			name = a.record.Facts.Name
		}
		who = append(who, fmt.Sprintf("%s (%s)", name, shortID(a.ID)))
	}
	f.Text = fmt.Sprintf("machine id %s is reported by %s: a clone", machine, strings.Join(who, ", "))
	return f
}

// bootApart is how many seconds the boot times that agents of one machine report
// may lie apart: the kernel's follows the clock.
const bootApart = 60

// oneHost reports whether agents that report one machine id are on one machine:
// a clone has network cards of its own, and was booted by itself.
func oneHost(l []*agent) bool {
	var cards []string
	for i, a := range l {
		f := &a.record.Facts
		var own []string
		for _, n := range f.Addresses {
			if n.MAC != "" {
				own = append(own, n.MAC)
			}
		}
		slices.Sort(own)
		apart := f.BootTime - l[0].record.Facts.BootTime
		if len(own) == 0 || f.BootTime == 0 || max(apart, -apart) > bootApart || i > 0 && !slices.Equal(own, cards) {
			return false
		}
		cards = own
	}
	return true
}

// shortID is as much of a NodeID as people compare by eye.
func shortID(id mesh.NodeID) string { return string(id[:min(8, len(id))]) }
