package checktest_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/check"
	"alps/mesh"
	"alps/mesh/consul"
)

// quiet is check.Reports that nobody reads.
type quiet struct{}

func (quiet) Send(mesh.CheckReport, bool) error { return nil }

// health is a probe that says what it was told to.
type health struct {
	mu sync.Mutex
	h  mesh.Health
}

func (p *health) set(h mesh.Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.h = h
}

func (p *health) run(context.Context, string, map[string]string) check.Found {
	p.mu.Lock()
	defer p.mu.Unlock()
	return check.Found{Status: p.h, Output: "it is " + string(p.h)}
}

// testEngine runs an engine beside a Consul that runs, over a restart of the
// agent.
func testEngine(t *testing.T, client *consul.Client) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	theirs := consul.Registration{Name: "theirs", Checks: []consul.TTLCheck{{ID: "theirs", Name: "theirs", TTL: time.Hour, Status: "passing"}}}
	if err := client.RegisterService(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	say := &health{h: mesh.HealthPassing}
	o := check.Options{
		Node: "0123456789abcdef0123456789abcdef", Dir: t.TempDir(), Catalog: local{client}, Local: local{client}.Local,
		Reports: quiet{}, Probes: say.run, Logger: hclog.NewNullLogger(), Spread: 10 * time.Millisecond,
	}
	services := []mesh.ServiceDef{{ID: "web", Name: "web", Port: 80}}
	defs := []mesh.CheckDef{
		{ID: "p", Name: "p", Kind: mesh.CheckProbe, Probe: "a.b", Service: "web", Interval: 200 * time.Millisecond, Timeout: time.Second, Attempts: 1},
		{ID: "n", Name: "n", Kind: mesh.CheckTCP, Address: l.Addr().String(), Runner: mesh.RunnerConsul, Interval: time.Second, Timeout: time.Second, Attempts: 1},
	}
	e, stop := startEngine(t, o, services, defs)
	for _, want := range []mesh.Health{mesh.HealthPassing, mesh.HealthCritical, mesh.HealthWarning} {
		say.set(want)
		wantLocal(t, client, "p", want)
	}
	wantLocal(t, client, mesh.AgentCheck, mesh.HealthPassing)
	wantState(t, e, "n", mesh.HealthPassing)
	_ = l.Close() // Consul has nobody to connect to now.
	wantState(t, e, "n", mesh.HealthCritical)

	stop()
	wantLocal(t, client, "p", mesh.HealthWarning)
	_, stop = startEngine(t, o, nil, nil)
	wantLocal(t, client, "p", "")
	wantLocal(t, client, "n", "")
	wantLocal(t, client, "theirs", mesh.HealthPassing)
	stop()
}

func startEngine(t *testing.T, o check.Options, services []mesh.ServiceDef, defs []mesh.CheckDef) (_ *check.Engine, stop func()) {
	t.Helper()
	e, err := check.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.SetDefinitions(services, defs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return e, stop
}

// wantLocal waits until Consul has a check with the status, or with an empty
// status until it does not have it.
func wantLocal(t *testing.T, client *consul.Client, id string, want mesh.Health) {
	t.Helper()
	wantSoon(t, "Consul has "+id+" as "+string(want), func() bool {
		all, err := local{client}.Local(t.Context())
		return err == nil && all[id].Status == want
	})
}

func wantState(t *testing.T, e *check.Engine, id string, want mesh.Health) {
	t.Helper()
	wantSoon(t, "the engine has "+id+" as "+string(want), func() bool {
		for _, s := range e.States() {
			if s.Check == id {
				return s.Hard == want
			}
		}
		return false
	})
}

func wantSoon(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
