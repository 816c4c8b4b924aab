package zone

import (
	"cmp"
	"slices"
	"time"

	"alps/mesh"
)

// Kind classes a Finding.
type Kind string

// The kinds of findings.
const (
	KindName     Kind = "dns_name"     // a node's name, or address, cannot be answered.
	KindInstance Kind = "dns_instance" // a service instance cannot be answered.
	KindConflict Kind = "dns_conflict" // two nodes' names differ in case only.
	KindShrink   Kind = "dns_shrink"   // the guard keeps what has vanished.
)

// Finding is something about names that a person should look at.
type Finding struct {
	Kind    Kind          `json:"kind"`
	DC      string        `json:"dc,omitempty"`
	Node    mesh.NodeName `json:"node,omitempty"`
	Service string        `json:"service,omitempty"`
	Text    string        `json:"text"`
	Hint    string        `json:"hint,omitempty"`
}

// Status is how the zone is.
type Status struct {
	Serial    uint64    `json:"serial"` // 0: there is no zone yet.
	Built     time.Time `json:"built,omitzero"`
	Nodes     int       `json:"nodes"`
	Services  int       `json:"services"`
	Instances int       `json:"instances"`
	// Invalid counts the nodes and instances that cannot be answered, Held
	// those that the guard keeps.
	Invalid  int       `json:"invalid"`
	Held     int       `json:"held"`
	Findings []Finding `json:"findings,omitempty"` // at most MaxFindings.
}

// MaxFindings bounds Status.Findings; Status.Invalid has the number.
const MaxFindings = 500

// Status returns how the zone is. What it holds is shared: do not change it.
func (b *Builder) Status() Status { return *b.status.Load() }

func (h *host) problem(k Kind, service string, err error) {
	f := Finding{Kind: k, DC: h.dc, Node: h.name, Service: service, Text: err.Error()}
	h.want.problems = append(h.want.problems, f)
}

// report works out the status when something in it has changed.
func (b *Builder) report(now time.Time) {
	z := b.Zone()
	s := Status{Serial: z.Serial(), Built: z.Built(), Nodes: b.counts.nodes, Services: z.Services(), Instances: b.counts.instances}
	if old := b.status.Load(); old.Serial == s.Serial && !b.counts.stale {
		return
	}
	b.counts.stale = false
	for h := range b.held {
		s.Held += h.kept()
	}
	if f, ok := b.shrinkFinding(s.Held, now); ok {
		s.Findings = append(s.Findings, f)
	}
	var all []Finding
	for _, h := range b.hosts {
		all = append(all, h.want.problems...)
	}
	for _, e := range b.entries {
		all = append(all, e.problems...)
	}
	slices.SortFunc(all, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.DC, y.DC), cmp.Compare(x.Node, y.Node), cmp.Compare(x.Text, y.Text))
	})
	s.Invalid = len(all)
	s.Findings = append(s.Findings, all[:min(len(all), MaxFindings-len(s.Findings))]...)
	b.status.Store(&s)
}
