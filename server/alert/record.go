package alert

import (
	"context"
	"strconv"
	"time"

	"alps/mesh"
)

// Bounds of a timeline. When it grows longer than both together, what is
// between its beginning and its end is left out, and a line says so.
const (
	TimelineHead = 50
	TimelineTail = 450
)

// Record is an incident with what only the engine must know to go on with it
// after a restart. Its Timeline is empty: lines go to the store one by one.
type Record struct {
	mesh.Incident

	// CheckID is the check that the incident follows; Check is empty where it
	// is about the node or the site.
	CheckID string `json:"check_id,omitempty"`
	// Fired is when it was last opened, or what opened it was received: only a
	// result that came later closes it.
	Fired time.Time `json:"fired,omitzero"`
	// Muted: a person has closed it while its check was bad, and the check has
	// not been good since.
	Muted bool `json:"muted,omitempty"`
	// Told are the receivers that know that it is open; Sent numbers all
	// deliveries, and LastTold is of the newest that says so.
	Told     []string  `json:"told,omitempty"`
	Sent     int       `json:"sent,omitempty"`
	LastTold time.Time `json:"last_told,omitzero"`
	// Lost: its agent is lost, and that was said. Flapping: the check flaps,
	// and that was said; Flaps counts the changes that were folded.
	Lost     bool `json:"lost,omitempty"`
	Flapping bool `json:"flapping,omitempty"`
	Flaps    int  `json:"flaps,omitempty"`

	// seen is when the newest observation that counted was received. A term
	// begins without.
	seen time.Time
}

func (r *Record) open() bool { return r != nil && r.Status != mesh.IncidentClosed }

func (r *Record) key() key { return key{r.Rule, r.DC, r.Node, r.CheckID} }

// key is what makes two incidents the same problem, with the check that is
// looked at.
type key struct {
	rule, dc string
	node     mesh.NodeName
	check    string
}

// DeliveryKind says why a receiver is told.
type DeliveryKind string

// The kinds of deliveries.
const (
	DeliveryFiring     DeliveryKind = "firing" // opened, or opened again.
	DeliveryRepeat     DeliveryKind = "repeat" // still open, and nobody has acknowledged it.
	DeliveryResolved   DeliveryKind = "resolved"
	DeliveryEscalation DeliveryKind = "escalation" // a human is called; Text says why.
)

// Delivery is one message to one receiver, written with the transition that it
// tells of.
type Delivery struct {
	// N counts the deliveries of an incident from 1. With the incident's id it
	// names the delivery for ever.
	N        int
	Receiver string
	Kind     DeliveryKind
	Text     string
	At       time.Time
	// Unleased may be sent while nobody can hold the lease.
	Unleased bool
	Incident mesh.Incident // as it was then, without timeline.
}

// ID names the delivery: a receiver that has seen it may drop it.
func (d *Delivery) ID() string { return string(d.Incident.ID) + "/" + strconv.Itoa(d.N) }

// Change is what has become of one incident.
type Change struct {
	Record     Record
	Events     []mesh.IncidentEvent // to be added to the timeline, in order.
	Deliveries []Delivery           // to be added to the outbox, in order.
}

// Filter limits a list of incidents. The zero Filter asks for all.
type Filter struct {
	Status []mesh.IncidentStatus // empty means all.
	Rule   string
	Before mesh.IncidentID // the last of the page before.
	Limit  int             // zero means no limit.
}

// Store keeps incidents. Methods may be called from any goroutine; times are
// kept to the millisecond.
type Store interface {
	// SaveIncidents stores changes in one transaction: the records, new or
	// not, the lines and the deliveries. mesh.Conflict says that a newer term
	// than term was seen, or that an incident with the same key is open;
	// nothing is stored then.
	SaveIncidents(ctx context.Context, term uint64, changes []Change) error
	// OpenIncidents returns those that are not closed, those that are muted,
	// and those that were closed at since or later.
	OpenIncidents(ctx context.Context, since time.Time) ([]Record, error)
	// IncidentRecord finds one by its id, or mesh.NotFound.
	IncidentRecord(ctx context.Context, id mesh.IncidentID) (Record, error)
	// Incident finds one by its id or the unique beginning of it, with its
	// timeline; mesh.NotFound when there is none, mesh.Invalid when there are
	// several.
	Incident(ctx context.Context, id string) (mesh.Incident, error)
	// Incidents lists without timelines: open ones first, then the newest. A
	// Before that does not exist is mesh.NotFound.
	Incidents(ctx context.Context, f Filter) ([]mesh.Incident, error)
}
