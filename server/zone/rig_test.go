package zone_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	mzone "alps/mesh/zone"
	"alps/server/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dc = "bj-e-01"

// world is all that the builder sees. Its lists are replaced and not changed.
type world struct {
	mu     sync.Mutex
	ready  bool
	nodes  []mesh.Node
	states map[string][]mesh.CheckState // by datacenter and node.
	age    time.Duration
}

func (w *world) Ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ready
}

func (w *world) Nodes() []mesh.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes
}

func (w *world) Node(dc string, name mesh.NodeName) []mesh.CheckState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.states[dc+"/"+string(name)]
}

func (w *world) consulAge(string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.age
}

// agent is what an agent makes of what it is sent.
type agent struct {
	stage mzone.Stage
	zone  *mzone.Zone
	bad   []string
	sizes []int
}

func (a *agent) take(payload []byte) {
	a.sizes = append(a.sizes, len(payload))
	u, done, err := a.stage.Add(payload)
	switch {
	case err != nil:
		a.bad = append(a.bad, err.Error())
	case done:
		a.zone = a.zone.Apply(u)
		if a.zone.Sum() != u.Sum {
			a.bad = append(a.bad, fmt.Sprintf("serial %d leads to another sum", u.Serial))
		}
	}
}

// rig runs a builder inside a synctest bubble, with agents.
type rig struct {
	*zone.Builder

	w      *world
	mu     sync.Mutex
	agents map[mesh.NodeID]*agent
	sent   int // documents to all.
}

func start(t testing.TB, change ...func(*zone.Options)) *rig {
	t.Helper()
	r := &rig{w: &world{states: make(map[string][]mesh.CheckState)}, agents: make(map[mesh.NodeID]*agent)}
	o := zone.Options{Inventory: r.w, Checks: r.w, ConsulAge: r.w.consulAge, Post: r.post, Broadcast: r.broadcast}
	for _, fn := range change {
		fn(&o)
	}
	b, err := zone.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Builder = b
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

func (r *rig) post(to mesh.NodeID, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.agents[to]
	if a == nil {
		return mesh.Errorf(mesh.Unavailable, "no link")
	}
	a.take(payload)
	return nil
}

func (r *rig) broadcast(payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	for _, a := range r.agents {
		a.take(payload)
	}
	return nil
}

// join adds an agent that holds z, and has it ask.
func (r *rig) join(t *testing.T, id mesh.NodeID, z *mzone.Zone) *agent {
	t.Helper()
	a := &agent{zone: z}
	r.mu.Lock()
	r.agents[id] = a
	r.mu.Unlock()
	if err := r.Have(id, z.Have(dc).Encode()); err != nil {
		t.Fatal(err)
	}
	return a
}

// list replaces the inventory and lets the builder follow.
func (r *rig) list(nodes ...mesh.Node) {
	r.w.mu.Lock()
	r.w.nodes, r.w.ready = nodes, true
	r.w.mu.Unlock()
	r.Changed()
	pass(100 * time.Millisecond)
}

// believe replaces what is believed of a node's checks.
func (r *rig) believe(node mesh.NodeName, states ...mesh.CheckState) {
	r.w.mu.Lock()
	r.w.states[dc+"/"+string(node)] = states
	r.w.mu.Unlock()
	r.CheckChanged(dc, node)
	pass(100 * time.Millisecond)
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// is describes the zone: the nodes and the instances that are answered.
func (r *rig) is() string { return describe(r.Zone()) }

func describe(z *mzone.Zone) string {
	if z == nil {
		return "no zone"
	}
	var out []string
	for n := range z.AllNodes() {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	var services []string
	for s := range z.AllServices() {
		var on []string
		for _, i := range s.Instances {
			on = append(on, i.Node)
		}
		slices.Sort(on)
		services = append(services, s.Name+"="+strings.Join(on, "+"))
	}
	slices.Sort(services)
	return strings.Join(append(out, services...), " ")
}

// machine is a healthy node with an agent, and a service for each name given.
func machine(name string, services ...string) mesh.Node {
	n := mesh.Node{
		ID: mesh.NodeID("id-" + name), Name: mesh.NodeName(name), DC: dc, Address: "10.0.0.1", Status: mesh.MemberAlive,
		Agent:  mesh.AgentLinked,
		Checks: []mesh.Check{{ID: mesh.SerfCheck, Status: mesh.HealthPassing}},
	}
	for _, s := range services {
		n.Services = append(n.Services, mesh.Service{ID: s, Name: s, Port: 80})
		n.Checks = append(n.Checks, check(s, mesh.HealthPassing, ""))
	}
	return n
}

// check is a check of the service of that id.
func check(service string, h mesh.Health, output string) mesh.Check {
	return mesh.Check{ID: "c-" + service, Status: h, Service: service, ServiceID: service, Output: output}
}

// with returns n with checks in the place of those of the same id.
func with(n mesh.Node, checks ...mesh.Check) mesh.Node {
	byID := make(map[string]mesh.Check)
	for _, c := range append(slices.Clone(n.Checks), checks...) {
		byID[c.ID] = c
	}
	n.Checks = nil
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		n.Checks = append(n.Checks, byID[id])
	}
	return n
}

// as returns n with another membership and agent.
func as(n mesh.Node, m mesh.MemberStatus, a mesh.AgentStatus) mesh.Node {
	n.Status, n.Agent = m, a
	if m == mesh.MemberFailed {
		n = with(n, mesh.Check{ID: mesh.SerfCheck, Status: mesh.HealthCritical})
	}
	return n
}

// link is a state by the link, received now.
func link(service string, raw mesh.Health) mesh.CheckState {
	return mesh.CheckState{
		Status: raw, Source: mesh.SourceLink, Received: time.Now(),
		Result: mesh.CheckResult{Check: "c-" + service, Service: service, Status: raw, Hard: raw},
	}
}

// read is a state by the catalog.
func read(service string, h mesh.Health, lost bool) mesh.CheckState {
	return mesh.CheckState{
		Status: h, Source: mesh.SourceCatalog, AgentLost: lost, Received: time.Now(),
		Result: mesh.CheckResult{Check: "c-" + service, Service: service, Status: h, Hard: h},
	}
}

const expired = "TTL expired (last output before timeout follows): ok"
