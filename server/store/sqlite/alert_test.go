package sqlite

import (
	"testing"
	"time"

	"alps/mesh"
	"alps/server/alert"
	"alps/server/alert/alerttest"
	"alps/server/notify"
	"alps/server/notify/notifytest"
)

func TestAlertStore(t *testing.T) {
	alerttest.TestStore(t, func(t *testing.T) alert.Store { return open(t) })
}

// outbox gives the suite of notify what server/alert would have written.
type outbox struct{ *DB }

func (o outbox) Put(t *testing.T, term uint64, list ...notify.Delivery) {
	t.Helper()
	changes := make(map[mesh.IncidentID]*alert.Change)
	var order []*alert.Change
	for _, d := range list {
		c := changes[d.Incident.ID]
		if c == nil {
			c = &alert.Change{Record: alert.Record{Incident: d.Incident, CheckID: d.Incident.Check}}
			if rec, err := o.IncidentRecord(t.Context(), d.Incident.ID); err == nil {
				c.Record.Sent = rec.Sent
			}
			changes[d.Incident.ID], order = c, append(order, c)
		}
		c.Record.Sent++
		c.Deliveries = append(c.Deliveries, alert.Delivery{
			N: c.Record.Sent, Receiver: d.Receiver, Kind: alert.DeliveryKind(d.Kind), Text: d.Text, At: d.At, Unleased: d.Unleased, Incident: d.Incident,
		})
	}
	for _, c := range order {
		if err := o.SaveIncidents(t.Context(), term, []alert.Change{*c}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOutbox(t *testing.T) {
	notifytest.TestOutbox(t, func(t *testing.T) notifytest.Store { return outbox{open(t)} })
}

// TestDeliveryLine sees that what a receiver has taken is in the story.
func TestDeliveryLine(t *testing.T) {
	db := open(t)
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	i := mesh.Incident{ID: "ab00000000000001", Rule: "web-down", Status: mesh.IncidentOpen, Opened: noon}
	c := alert.Change{
		Record: alert.Record{Incident: i}, Deliveries: []alert.Delivery{{N: 1, Receiver: "ops", Kind: alert.DeliveryFiring, At: noon, Incident: i}},
	}
	if err := db.SaveIncidents(t.Context(), 1, []alert.Change{c}); err != nil {
		t.Fatal(err)
	}
	list, err := db.WaitingDeliveries(t.Context(), "ops", 0, 9)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	d := list[0]
	if want := c.Deliveries[0].ID(); d.ID != want {
		t.Errorf("the delivery is %q, to server/alert it is %q", d.ID, want)
	}
	o := notify.Outcome{
		Seq: d.Seq, State: notify.Delivered, At: noon,
		Event: &mesh.IncidentEvent{At: noon, Kind: mesh.EventNotified, Actor: "alps", Text: "told"},
	}
	for range 2 {
		if err := db.SettleDelivery(t.Context(), 1, o); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.Incident(t.Context(), "ab")
	if err != nil || len(got.Timeline) != 1 || got.Timeline[0].Text != "told" {
		t.Errorf("got %+v, %v; want one line", got.Timeline, err)
	}
}
