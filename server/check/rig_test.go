package check_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	dc  = "bj-e-01"
	web = mesh.NodeName("bj-e-web-11-1")
)

var webID = nodeID("a")

func nodeID(d string) mesh.NodeID { return mesh.NodeID(strings.Repeat(d, 32)) }

// inventory is the CMDB: its lists are replaced and never changed.
type inventory struct {
	mu    sync.Mutex
	nodes []mesh.Node
	age   time.Duration
}

func (i *inventory) Nodes() []mesh.Node {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.nodes
}

func (i *inventory) consulAge(string) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.age
}

// rig runs a store inside a synctest bubble.
type rig struct {
	*check.Store

	inv *inventory
	mu  sync.Mutex
	// log is what the callbacks were told, oldest first; fold what comes of it.
	log  []string
	fold map[string]mesh.CheckState
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{inv: &inventory{}, fold: make(map[string]mesh.CheckState)}
	s, err := check.New(check.Options{
		Inventory: r.inv, ConsulAge: r.inv.consulAge, OnChange: r.changed, OnGone: r.gone,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Store = s
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

func key(dc string, node mesh.NodeName, id string) string { return dc + "/" + string(node) + "/" + id }

func (r *rig) changed(s mesh.CheckState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fold[key(s.DC, s.Node, s.Result.Check)] = s
	r.log = append(r.log, s.Result.Check+" "+brief(s))
}

func (r *rig) gone(dc string, node mesh.NodeName, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.fold, key(dc, node, id))
	r.log = append(r.log, id+" gone")
}

// told returns what the callbacks were told since the last call.
func (r *rig) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.log
	r.log = nil
	return out
}

// brief is the part of a state that rules look at.
func brief(s mesh.CheckState) string {
	text := fmt.Sprintf("%s by %s", s.Status, s.Source)
	if s.AgentLost {
		text += ", agent lost"
	}
	if s.Result.Flapping {
		text += ", flapping"
	}
	return text
}

// is returns the state of a check in brief, "nothing" when there is none.
func (r *rig) is(node mesh.NodeName, id string) string {
	s, ok := r.Get(dc, node, id)
	if !ok {
		return "nothing"
	}
	return brief(s)
}

// list replaces the inventory and lets the store follow.
func (r *rig) list(nodes ...mesh.Node) {
	r.inv.mu.Lock()
	r.inv.nodes = nodes
	r.inv.mu.Unlock()
	r.Changed()
	synctest.Wait()
}

func (r *rig) consulAway(age time.Duration) {
	r.inv.mu.Lock()
	r.inv.age = age
	r.inv.mu.Unlock()
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// machine is a healthy node with an agent that is connected.
func machine(checks ...mesh.Check) mesh.Node {
	n := mesh.Node{ID: webID, Name: web, DC: dc, Address: "10.0.11.1", Status: mesh.MemberAlive, Agent: mesh.AgentLinked}
	return with(n, append(checks, cc(mesh.AgentCheck, mesh.HealthPassing, ""), cc(mesh.SerfCheck, mesh.HealthPassing, ""))...)
}

// with returns n with checks in the place of those of the same id.
func with(n mesh.Node, checks ...mesh.Check) mesh.Node {
	byID := make(map[string]mesh.Check)
	for _, c := range append(append([]mesh.Check(nil), n.Checks...), checks...) {
		byID[c.ID] = c
	}
	n.Checks = sorted(byID)
	return n
}

// without returns n without a check.
func without(n mesh.Node, id string) mesh.Node {
	byID := make(map[string]mesh.Check)
	for _, c := range n.Checks {
		if c.ID != id {
			byID[c.ID] = c
		}
	}
	n.Checks = sorted(byID)
	return n
}

func cc(id string, h mesh.Health, output string) mesh.Check {
	return mesh.Check{ID: id, Name: id, Status: h, Output: output}
}

const expired = "TTL expired (last output before timeout follows): ok"

// dead returns a node whose agent has lost its link and its check in Consul.
func dead(n mesh.Node) mesh.Node {
	n.Agent = mesh.AgentLost
	return with(n, cc(mesh.AgentCheck, mesh.HealthCritical, expired))
}

// speaker is an agent as it reports: it numbers results.
type speaker struct {
	id   mesh.NodeID
	boot string
	seq  map[string]uint64
}

func speak(id mesh.NodeID) *speaker {
	return &speaker{id: id, boot: "0000000100000000", seq: make(map[string]uint64)}
}

func (s *speaker) result(id string, h mesh.Health) mesh.CheckResult {
	s.seq[id]++
	return mesh.CheckResult{
		Check: id, Name: id, Kind: mesh.CheckScript, Seq: s.seq[id], Status: h, Hard: h, Attempt: 1, Attempts: 1,
		At: time.Now(), Period: 2 * time.Second,
	}
}

func (s *speaker) says(t *testing.T, r *rig, id string, h mesh.Health) {
	t.Helper()
	s.reports(t, r, mesh.CheckReport{Results: []mesh.CheckResult{s.result(id, h)}})
}

// full tells all checks, each as given.
func (s *speaker) full(t *testing.T, r *rig, checks map[string]mesh.Health) {
	t.Helper()
	rep := mesh.CheckReport{Full: true}
	for id, h := range checks {
		rep.Results = append(rep.Results, s.result(id, h))
	}
	s.reports(t, r, rep)
}

func (s *speaker) reports(t *testing.T, r *rig, reports ...mesh.CheckReport) {
	t.Helper()
	if err := r.Commit(t.Context(), s.id, s.boot, reports); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}
