package check_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"alps/agent/check"
	"alps/agent/check/checktest"
	"alps/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const node = mesh.NodeID("0123456789abcdef0123456789abcdef")

// rig is an engine with everything around it, in a bubble of fake time.
type rig struct {
	t       *testing.T
	consul  *checktest.Consul
	reports *inbox
	probes  *probes
	logs    *logs
	linked  atomic.Bool
	o       check.Options
	*check.Engine
	stop func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, consul: checktest.New(), reports: &inbox{}, probes: &probes{says: map[string]func(context.Context) mesh.Health{}}, logs: &logs{}}
	r.linked.Store(true)
	r.o = check.Options{
		Node: node, Dir: t.TempDir(), Catalog: r.consul, Local: r.consul.Local, Reports: r.reports, Probes: r.probes.run,
		Linked: r.linked.Load, Logger: hclog.New(&hclog.LoggerOptions{Output: r.logs, Level: hclog.Info}),
	}
	return r
}

// start makes the engine anew, as a start of the agent does.
func (r *rig) start(services []mesh.ServiceDef, checks ...mesh.CheckDef) {
	r.t.Helper()
	e, err := check.New(r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Engine = e
	r.define(services, checks...)
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run = %v, want nil", err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) define(services []mesh.ServiceDef, checks ...mesh.CheckDef) {
	r.t.Helper()
	if err := r.SetDefinitions(services, checks); err != nil {
		r.t.Fatal(err)
	}
}

// pass lets so much time pass, and everything settle.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) wantConsul(id string, h mesh.Health, text string) {
	r.t.Helper()
	c, ok := r.consul.Check(id)
	if !ok || c.Status != h || !strings.HasPrefix(c.Output, text) {
		r.t.Errorf("Consul has check %s = %v %q %q, want %q %q", id, ok, c.Status, c.Output, h, text)
	}
}

func (r *rig) state(id string) mesh.CheckResult {
	r.t.Helper()
	for _, s := range r.States() {
		if s.Check == id {
			return s
		}
	}
	r.t.Fatalf("there is no check %s", id)
	return mesh.CheckResult{}
}

// bubble runs a test in fake time and ends the rig within it.
func bubble(t *testing.T, fn func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		fn(r)
		if r.stop != nil {
			r.stop()
		}
	})
}

func probe(id string, interval time.Duration) mesh.CheckDef {
	return mesh.CheckDef{
		ID: id, Name: id, Kind: mesh.CheckProbe, Probe: "test." + id, Runner: mesh.RunnerAgent,
		Interval: interval, Timeout: 5 * time.Second, Attempts: 1,
	}
}

func web(checks ...*mesh.CheckDef) []mesh.ServiceDef {
	for _, c := range checks {
		c.Service = "web"
	}
	return []mesh.ServiceDef{{ID: "web", Name: "web", Port: 80}}
}

// probes says what the probes of a test say, and notes when they run.
type probes struct {
	mu     sync.Mutex
	says   map[string]func(context.Context) mesh.Health
	disks  []string // that all of them find broken.
	began  map[string][]time.Time
	active int
	most   int
}

// set has a probe say a status from now on.
func (p *probes) set(id string, h mesh.Health) {
	p.does(id, func(context.Context) mesh.Health { return h })
}

func (p *probes) does(id string, fn func(context.Context) mesh.Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says["test."+id] = fn
}

func (p *probes) run(ctx context.Context, name string, _ map[string]string) check.Found {
	p.mu.Lock()
	if p.began == nil {
		p.began = map[string][]time.Time{}
	}
	p.began[name] = append(p.began[name], time.Now())
	p.active++
	p.most = max(p.most, p.active)
	fn, disks := p.says[name], p.disks
	p.mu.Unlock()
	h := mesh.HealthPassing
	if fn != nil {
		h = fn(ctx)
	}
	p.mu.Lock()
	p.active--
	p.mu.Unlock()
	return check.Found{Status: h, Output: "it is " + string(h), Samples: []mesh.Sample{{Name: "n", Value: 1}}, Disks: disks}
}

func (p *probes) runs(id string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.began["test."+id])
}

// inbox is check.Reports.
type inbox struct {
	mu   sync.Mutex
	got  []delivery
	fail error
}

type delivery struct {
	mesh.CheckReport
	durable bool
	at      time.Time
}

var errFull = errors.New("the disk is full")

func (b *inbox) Send(r mesh.CheckReport, durable bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.got = append(b.got, delivery{r, durable, time.Now()})
	return nil
}

func (b *inbox) setFail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// take returns what has come since the last take.
func (b *inbox) take() []delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

// results returns what was said of a check in the deliveries.
func results(list []delivery, id string) []mesh.CheckResult {
	var out []mesh.CheckResult
	for _, d := range list {
		for _, r := range d.Results {
			if r.Check == id {
				out = append(out, r)
			}
		}
	}
	return out
}

// logs counts lines.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) count(level string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), "["+level+"]")
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
