package notify

import (
	"context"
	"errors"
	"time"

	"alps/mesh"
)

// Kind says why a receiver is told.
type Kind string

// The kinds of deliveries.
const (
	KindFiring     Kind = "firing"
	KindRepeat     Kind = "repeat"
	KindResolved   Kind = "resolved"
	KindEscalation Kind = "escalation"
)

// Delivery is one message to one receiver that waits to be taken.
type Delivery struct {
	Seq      int64  // where it stands in the outbox.
	ID       string // names it for ever: incident and number.
	Receiver string
	Kind     Kind
	Text     string // why, in words; may be empty.
	At       time.Time
	Unleased bool          // may be sent without the lease.
	Incident mesh.Incident // as it was at At.
	Tries    int           // how often it was tried in vain.
	Next     time.Time     // not before; zero: at once.
}

// State is how far a delivery has come.
type State string

// The states of a delivery. The first is the only one that can change.
const (
	Waiting   State = "waiting"
	Delivered State = "delivered"
	Refused   State = "refused"  // the receiver does not want it.
	Expired   State = "expired"  // nobody took it for too long.
	Unwanted  State = "unwanted" // there was no need to send it.
)

// Outcome is what has come of a delivery.
type Outcome struct {
	Seq   int64
	State State
	Tries int
	Next  time.Time // of one that waits.
	Error string
	At    time.Time
	// Event is added to the incident's timeline, nil for none.
	Event *mesh.IncidentEvent
}

// Outbox is where deliveries wait. Methods may be called from any goroutine.
type Outbox interface {
	// WaitingDeliveries returns those of a receiver that wait, from after the
	// given Seq on and in its order; limit bounds how many.
	WaitingDeliveries(ctx context.Context, receiver string, after int64, limit int) ([]Delivery, error)
	// SettleDelivery records an outcome and its line in one transaction. One
	// that does not wait any more is left as it is. mesh.Conflict says that a
	// newer term than term was seen; nothing is recorded then.
	SettleDelivery(ctx context.Context, term uint64, o Outcome) error
}

// Sender tells one receiver. It may be called from several goroutines at once.
type Sender interface {
	// Send returns nil when the receiver has taken the message. An error that
	// Refuse made is final; any other means to try again. It returns soon after
	// ctx ends, and leaves nothing running.
	Send(ctx context.Context, m Message) error
}

// Message is what a Sender is to say.
type Message struct {
	Delivery

	URL string // where a person reads the incident; may be empty.
}

// refusal is an error after which nothing is tried again.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Refuse marks an error as the receiver's last word.
func Refuse(err error) error { return &refusal{err} }

// IsRefused reports whether Refuse has marked err.
func IsRefused(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// postponed is an error of a receiver that has said when to come again.
type postponed struct {
	err   error
	after time.Duration
}

func (p *postponed) Error() string { return p.err.Error() }
func (p *postponed) Unwrap() error { return p.err }

// Postpone marks an error of a receiver that wants to be left alone for a
// while.
func Postpone(err error, after time.Duration) error { return &postponed{err, after} }

// Document is what a receiver gets as JSON. Fields are added, never changed;
// Version would say otherwise.
type Document struct {
	Version    int        `json:"version"` // 1
	Delivery   string     `json:"delivery"`
	Status     string     `json:"status"` // firing or resolved.
	Kind       Kind       `json:"kind"`   // why it is sent now.
	Text       string     `json:"text,omitempty"`
	Incident   string     `json:"incident"`
	Rule       string     `json:"rule"`
	Severity   string     `json:"severity"`
	Summary    string     `json:"summary"`
	DC         string     `json:"dc,omitempty"`
	Node       string     `json:"node,omitempty"`
	Check      string     `json:"check,omitempty"`
	Service    string     `json:"service,omitempty"`
	Disks      []string   `json:"disks,omitempty"` // that are broken.
	Health     string     `json:"health"`
	Output     string     `json:"output,omitempty"` // at most MaxOutput bytes.
	Owner      string     `json:"owner,omitempty"`
	Runbook    string     `json:"runbook,omitempty"`
	Began      *time.Time `json:"began,omitempty"`
	Opened     time.Time  `json:"opened"`
	Closed     *time.Time `json:"closed,omitempty"`
	Reopened   int        `json:"reopened,omitempty"`
	AckedBy    string     `json:"acked_by,omitempty"`
	ClosedBy   string     `json:"closed_by,omitempty"`
	URL        string     `json:"url,omitempty"`
	Occurrence time.Time  `json:"at"` // of what it tells.
}

// The words of Document.Status.
const (
	StatusFiring   = "firing"
	StatusResolved = "resolved"
)

// MaxOutput bounds the output in a Document.
const MaxOutput = 2 << 10

// Document makes what a receiver gets.
func (m *Message) Document() Document {
	i := &m.Incident
	d := Document{
		Version: 1, Delivery: m.ID, Status: StatusFiring, Kind: m.Kind, Text: m.Text,
		Incident: string(i.ID), Rule: i.Rule, Severity: i.Severity, Summary: i.Summary,
		DC: i.DC, Node: string(i.Node), Check: i.Check, Service: i.Service, Disks: i.Disks, Health: string(i.Health), Output: cut(i.Output, MaxOutput),
		Owner: i.Owner, Runbook: i.Runbook, Began: given(i.Began), Opened: i.Opened, Closed: given(i.Closed),
		Reopened: i.Reopened, AckedBy: i.AckedBy, ClosedBy: i.ClosedBy, URL: m.URL, Occurrence: m.At,
	}
	if i.Status == mesh.IncidentClosed {
		d.Status = StatusResolved
	}
	return d
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
