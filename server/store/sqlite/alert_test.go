package sqlite

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// oneCheck is how the only check of the only node is.
type oneCheck struct {
	mu    sync.Mutex
	state mesh.CheckState
}

func (c *oneCheck) Get(string, mesh.NodeName, string) (mesh.CheckState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.state.Node != ""
}

func (c *oneCheck) Each(fn func(mesh.CheckState) bool) {
	if s, ok := c.Get("", "", ""); ok {
		fn(s)
	}
}

func (c *oneCheck) set(h mesh.Health) mesh.CheckState {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = mesh.CheckState{
		Node: "n1", DC: "bj-e-01", Status: h, Since: now, Received: now, Source: mesh.SourceLink,
		Result: mesh.CheckResult{Check: "web", Name: "web", Status: h, Hard: h, HardSince: now, At: now},
	}
	return c.state
}

// pager takes deliveries, unless it is down.
type pager struct {
	mu   sync.Mutex
	down bool
	got  []string
	at   time.Time // of the newest.
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	p.got, p.at = append(p.got, r.Header.Get(notify.DeliveryHeader)), time.Now()
}

func (p *pager) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *pager) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.got...)
}

// server is what runs on a history until it is stopped.
type server struct {
	alert  *alert.Engine
	notify *notify.Engine
	stop   func()
}

func startServer(t *testing.T, path, url string, checks alert.Checks) *server {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	lease := func() (uint64, bool) { return 1, true }
	s := new(server)
	if s.notify, err = notify.New(notify.Options{Outbox: db, Lease: lease}); err != nil {
		t.Fatal(err)
	}
	s.alert, err = alert.New(alert.Options{
		Store: db, Checks: checks, Lease: lease, OnOutbox: s.notify.Kick,
		Node: func(dc string, name mesh.NodeName) (mesh.Node, bool) { return mesh.Node{Name: name, DC: dc}, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.notify.SetReceivers([]mesh.Receiver{{Name: "ops", URL: url, Resolved: true}}); err != nil {
		t.Fatal(err)
	}
	if err := s.alert.SetRules([]mesh.Rule{{Name: "web-down", Check: "web", Notify: []string{"ops"}}}, []string{"ops"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.notify.Run(ctx) })
	wg.Go(func() { _ = s.alert.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// TestFromCheckToReceiver goes the whole way on a disk and over sockets: told
// at once, told after the receiver was down, and not again after restarts.
func TestFromCheckToReceiver(t *testing.T) {
	p, checks := new(pager), new(oneCheck)
	web := httptest.NewServer(p)
	defer web.Close()
	path := filepath.Join(t.TempDir(), "history.db")
	s := startServer(t, path, web.URL, checks)
	until := func(n int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); len(p.taken()) < n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d deliveries came, want %d", len(p.taken()), n)
			}
		}
	}
	start := time.Now()
	s.alert.Observe(checks.set(mesh.HealthCritical))
	until(1)
	p.mu.Lock()
	t.Logf("from the result of the check to the receiver: %s", p.at.Sub(start))
	p.mu.Unlock()
	s.stop()

	p.set(true) // down, and the server restarts meanwhile.
	s = startServer(t, path, web.URL, checks)
	s.alert.Observe(checks.set(mesh.HealthPassing))
	story := func() mesh.Incident {
		t.Helper()
		list, err := s.alert.Incidents(t.Context(), alert.Filter{})
		if err != nil || len(list) != 1 {
			t.Fatalf("%d incidents, %v", len(list), err)
		}
		i, err := s.alert.Incident(t.Context(), string(list[0].ID))
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	last := func() mesh.IncidentEvent { l := story().Timeline; return l[len(l)-1] }
	for end := time.Now().Add(30 * time.Second); last().Kind != mesh.EventNotifyFailed; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no line about the receiver that is down: %+v", story().Timeline)
		}
	}
	s.stop()
	p.set(false)
	s = startServer(t, path, web.URL, checks)
	until(2)
	for end := time.Now().Add(30 * time.Second); last().Kind != mesh.EventNotified; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it was told and not recorded: %+v", story().Timeline)
		}
	}
	s.stop()
	s = startServer(t, path, web.URL, checks)
	i := story()
	if diff := cmp.Diff([]string{string(i.ID) + "/1", string(i.ID) + "/2"}, p.taken()); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}
