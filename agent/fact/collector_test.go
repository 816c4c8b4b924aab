package fact

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is what a Collector under test observes, and the link it sends to.
type machine struct {
	mu      sync.Mutex
	facts   mesh.Facts
	readErr error
	selfErr error
	sendErr error
	looks   int
	sent    []mesh.Observation
}

func (m *machine) set(fn func(*machine)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(m)
}

func (m *machine) self(context.Context) (mesh.NodeName, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "bj-e-hadoop01-11-203", "bj-e-01", m.selfErr
}

func (m *machine) collect(context.Context) (mesh.Facts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return m.facts, m.readErr
}

func (m *machine) SendObservation(_ context.Context, o mesh.Observation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sendErr != nil {
		return m.sendErr
	}
	m.sent = append(m.sent, o)
	return nil
}

func (m *machine) observations() []mesh.Observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sent)
}

// start runs a Collector in the test's bubble until the test ends.
func start(t *testing.T, m *machine) *Collector {
	t.Helper()
	c, err := New(Options{Node: "n1", Version: "1.0", Self: m.self, Sender: m, Interval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c.collect = m.collect
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// wait lets the given number of intervals pass, splay included.
func wait(intervals int) {
	time.Sleep(time.Duration(intervals) * 67 * time.Second)
	synctest.Wait()
}

func TestCollectorSendsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{facts: mesh.Facts{OS: "linux", CPUs: 2, BootTime: 1000}}
		c := start(t, m)
		synctest.Wait()
		got := m.observations()
		if len(got) != 1 {
			t.Fatalf("%d observations at the start, want 1", len(got))
		}
		want := mesh.Facts{OS: "linux", CPUs: 2, BootTime: 1000, Agent: "1.0", Name: "bj-e-hadoop01-11-203", DC: "bj-e-01"}
		if f := got[0].Facts; f.Agent != want.Agent || f.Name != want.Name || f.DC != want.DC || f.CPUs != want.CPUs {
			t.Errorf("facts = %+v, want %+v", f, want)
		}
		if got[0].Node != "n1" || got[0].Collector != CollectorName || got[0].At.IsZero() {
			t.Errorf("observation = %+v lacks where it comes from", got[0])
		}

		wait(3)
		if n := len(m.observations()); n != 1 || m.looks < 3 {
			t.Errorf("%d observations after %d looks at the same, want 1", n, m.looks)
		}
		m.set(func(m *machine) { m.facts.BootTime += 3 })
		wait(2)
		if n := len(m.observations()); n != 1 {
			t.Errorf("a boot time that moved by 3 s was sent")
		}
		m.set(func(m *machine) { m.facts.BootTime += 500; m.facts.CPUs = 4 })
		wait(1)
		if got := m.observations(); len(got) != 2 || got[1].Facts.CPUs != 4 || got[1].Facts.BootTime != 1503 {
			t.Errorf("after a change: %+v, want a second observation", got)
		}
		c.Resend()
		c.Resend()
		synctest.Wait()
		if n := len(m.observations()); n < 3 {
			t.Errorf("%d observations after a reconnection, want a third", n)
		}
	})
}

func TestCollectorWaitsForItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{facts: mesh.Facts{OS: "linux"}, selfErr: errors.New("consul is away")}
		start(t, m)
		wait(1)
		if n := len(m.observations()); n != 0 {
			t.Fatalf("%d observations without a name, want none", n)
		}
		m.set(func(m *machine) { m.selfErr = nil })
		wait(1)
		if n := len(m.observations()); n != 1 {
			t.Fatalf("%d observations with a name, want 1", n)
		}
		m.set(func(m *machine) { m.selfErr = errors.New("consul is away"); m.facts.CPUs = 8 })
		wait(1)
		if got := m.observations(); len(got) != 2 || got[1].Facts.Name == "" {
			t.Errorf("after Consul went away: %+v, want a change under the known name", got)
		}
	})
}

func TestCollectorRetriesTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{facts: mesh.Facts{OS: "linux"}, sendErr: errors.New("the spool is full")}
		start(t, m)
		synctest.Wait()
		m.set(func(m *machine) { m.sendErr = nil })
		time.Sleep(2 * retryEvery)
		synctest.Wait()
		if n := len(m.observations()); n != 1 {
			t.Errorf("%d observations after the sender recovered, want 1", n)
		}
	})
}

func TestCollectorKeepsCompleteFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{facts: mesh.Facts{OS: "linux", CPUs: 2}}
		start(t, m)
		synctest.Wait()
		m.set(func(m *machine) { m.facts.CPUs = 0; m.readErr = errors.New("no /proc/cpuinfo") })
		wait(1)
		if got := m.observations(); len(got) != 1 {
			t.Fatalf("one failure replaced complete facts: %+v", got[1:])
		}
		wait(patience)
		if got := m.observations(); len(got) != 2 || got[1].Facts.CPUs != 0 {
			t.Errorf("after %d failures in a row: %+v, want the partial facts", patience, got)
		}
	})
}

func TestCollectorSendsPartialFactsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{facts: mesh.Facts{OS: "linux"}, readErr: errors.New("no /sys")}
		start(t, m)
		synctest.Wait()
		if n := len(m.observations()); n != 1 {
			t.Errorf("%d observations of a machine that can be read in part, want 1", n)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	m := &machine{}
	tests := map[string]Options{
		"no node":           {Self: m.self, Sender: m},
		"no self":           {Node: "n1", Sender: m},
		"no sender":         {Node: "n1", Self: m.self},
		"negative interval": {Node: "n1", Self: m.self, Sender: m, Interval: -1},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(o); err == nil {
				t.Error("New returned no error")
			}
		})
	}
}
