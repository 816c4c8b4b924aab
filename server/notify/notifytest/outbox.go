package notifytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/notify"
)

// Store is an outbox that a test can put deliveries into.
type Store interface {
	notify.Outbox
	// Put adds deliveries as server/alert does: Seq and ID are given to them.
	Put(t *testing.T, term uint64, list ...notify.Delivery)
}

// Outbox is a Store in memory. The zero Outbox is empty.
type Outbox struct {
	mu       sync.Mutex
	fail     func() error
	term     uint64
	list     []notify.Delivery
	sent     map[mesh.IncidentID]int
	outcomes map[int64][]notify.Outcome
}

var _ Store = (*Outbox)(nil)

// Put implements Store.
func (o *Outbox) Put(_ *testing.T, term uint64, list ...notify.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = max(o.term, term)
	if o.sent == nil {
		o.sent, o.outcomes = make(map[mesh.IncidentID]int), make(map[int64][]notify.Outcome)
	}
	for _, d := range list {
		o.sent[d.Incident.ID]++
		d.ID = fmt.Sprintf("%s/%d", d.Incident.ID, o.sent[d.Incident.ID])
		d.Seq = int64(len(o.list) + 1)
		o.list = append(o.list, d)
	}
}

// WaitingDeliveries implements notify.Outbox.
func (o *Outbox) WaitingDeliveries(_ context.Context, receiver string, after int64, limit int) ([]notify.Delivery, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []notify.Delivery
	for _, d := range o.list {
		all := o.outcomes[d.Seq]
		if len(all) > 0 {
			last := all[len(all)-1]
			if last.State != notify.Waiting {
				continue
			}
			d.Tries, d.Next = last.Tries, last.Next
		}
		if d.Receiver == receiver && d.Seq > after && len(out) < limit {
			out = append(out, d)
		}
	}
	return out, nil
}

// SettleDelivery implements notify.Outbox.
func (o *Outbox) SettleDelivery(_ context.Context, term uint64, out notify.Outcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		if err := o.fail(); err != nil {
			return err
		}
	}
	if term < o.term {
		return mesh.Errorf(mesh.Conflict, "another server leads: term %d is over, %d has begun", term, o.term)
	}
	o.term = term
	if all := o.outcomes[out.Seq]; len(all) > 0 && all[len(all)-1].State != notify.Waiting {
		return nil
	}
	o.outcomes[out.Seq] = append(o.outcomes[out.Seq], out)
	return nil
}

// Settled returns how each delivery that waits no more has ended, by its ID.
func (o *Outbox) Settled() map[string]notify.State {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make(map[string]notify.State)
	for _, d := range o.list {
		if all := o.outcomes[d.Seq]; len(all) > 0 && all[len(all)-1].State != notify.Waiting {
			out[d.ID] = all[len(all)-1].State
		}
	}
	return out
}

// Lines returns the kinds of lines that were written for a delivery.
func (o *Outbox) Lines(id string) []mesh.IncidentEventKind {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []mesh.IncidentEventKind
	for _, d := range o.list {
		for _, c := range o.outcomes[d.Seq] {
			if d.ID == id && c.Event != nil {
				out = append(out, c.Event.Kind)
			}
		}
	}
	return out
}

// FailWith has fn asked before every write, which fails as it says; nil ends
// that.
func (o *Outbox) FailWith(fn func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = fn
}

// Fence raises the highest term that was seen.
func (o *Outbox) Fence(term uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = max(o.term, term)
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Delivery makes one for tests, of the incident with the given number.
func Delivery(incident int, receiver string, kind notify.Kind) notify.Delivery {
	i := mesh.Incident{
		ID: mesh.IncidentID(fmt.Sprintf("%016x", incident)), Rule: "web-down", Severity: "critical", Summary: "web is critical",
		DC: "bj-e-01", Node: mesh.NodeName(fmt.Sprintf("n%d", incident)), Check: "web", Status: mesh.IncidentOpen, Health: mesh.HealthCritical,
		Output: "refused", Began: noon, Opened: noon,
	}
	if kind == notify.KindResolved {
		i.Status, i.Closed, i.ClosedBy = mesh.IncidentClosed, noon.Add(time.Minute), "alps"
	}
	return notify.Delivery{Receiver: receiver, Kind: kind, Text: "why", At: noon, Incident: i}
}

// TestOutbox runs the suite of a notify.Outbox. fresh returns an empty one.
func TestOutbox(t *testing.T, fresh func(*testing.T) Store) {
	t.Helper()
	t.Run("gives in order what waits for a receiver", func(t *testing.T) { testOrder(t, fresh(t)) })
	t.Run("settles once", func(t *testing.T) { testSettle(t, fresh(t)) })
	t.Run("refuses a term that is over", func(t *testing.T) { testTerm(t, fresh(t)) })
}

func waiting(t *testing.T, s Store, receiver string, after int64, limit int) []notify.Delivery {
	t.Helper()
	list, err := s.WaitingDeliveries(t.Context(), receiver, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func ids(list []notify.Delivery) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func testOrder(t *testing.T, s Store) {
	urgent := Delivery(2, "ops", notify.KindFiring)
	urgent.Unleased = true
	s.Put(t, 1, Delivery(1, "ops", notify.KindFiring), Delivery(1, "boss", notify.KindFiring))
	s.Put(t, 1, urgent)
	s.Put(t, 1, Delivery(1, "ops", notify.KindResolved))
	list := waiting(t, s, "ops", 0, 9)
	want := []string{"0000000000000001/1", "0000000000000002/1", "0000000000000001/3"}
	if diff := gocmp.Diff(want, ids(list)); diff != "" {
		t.Fatalf("waiting (-want +got):\n%s", diff)
	}
	if !slices.IsSortedFunc(list, func(a, b notify.Delivery) int { return cmp.Compare(a.Seq, b.Seq) }) {
		t.Error("not in the order of Seq")
	}
	urgent.Seq, urgent.ID = list[1].Seq, list[1].ID
	if diff := gocmp.Diff(urgent, list[1]); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(want[1:2], ids(waiting(t, s, "ops", list[0].Seq, 1))); diff != "" {
		t.Errorf("a page (-want +got):\n%s", diff)
	}
	if got := waiting(t, s, "nobody", 0, 9); len(got) > 0 {
		t.Errorf("%d wait for nobody", len(got))
	}
}

func testSettle(t *testing.T, s Store) {
	s.Put(t, 1, Delivery(1, "ops", notify.KindFiring), Delivery(2, "ops", notify.KindFiring), Delivery(3, "ops", notify.KindFiring))
	list := waiting(t, s, "ops", 0, 9)
	next := noon.Add(time.Minute)
	for _, o := range []notify.Outcome{
		{Seq: list[0].Seq, State: notify.Waiting, Tries: 3, Next: next, Error: "down", At: noon},
		{Seq: list[1].Seq, State: notify.Delivered, At: noon},
		{Seq: list[1].Seq, State: notify.Waiting, Tries: 1, Next: next, At: noon}, // too late to be true.
		{Seq: list[2].Seq, State: notify.Refused, Error: "no", At: noon},
		{Seq: 4711, State: notify.Delivered, At: noon},
	} {
		if err := s.SettleDelivery(t.Context(), 1, o); err != nil {
			t.Fatal(err)
		}
	}
	got := waiting(t, s, "ops", 0, 9)
	if len(got) != 1 || got[0].ID != list[0].ID || got[0].Tries != 3 || !got[0].Next.Equal(next) || got[0].Incident.Output != "refused" {
		t.Errorf("got %+v", got)
	}
}

func testTerm(t *testing.T, s Store) {
	s.Put(t, 5, Delivery(1, "ops", notify.KindFiring))
	d := waiting(t, s, "ops", 0, 9)[0]
	err := s.SettleDelivery(t.Context(), 4, notify.Outcome{Seq: d.Seq, State: notify.Delivered, At: noon})
	if mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("got %v", err)
	}
	if got := waiting(t, s, "ops", 0, 9); len(got) != 1 {
		t.Errorf("%d wait, want it still", len(got))
	}
}
