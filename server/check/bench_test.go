package check_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/check"
)

// The size of the largest datacenter that Consul carries.
const (
	fleetNodes  = 5000
	fleetChecks = 20
)

func fleet() []mesh.Node {
	nodes := make([]mesh.Node, fleetNodes)
	for i := range nodes {
		nodes[i] = machine(cc("native", passing, ""))
		nodes[i].Name, nodes[i].ID = mesh.NodeName(fmt.Sprintf("bj-e-web-%d-%d", i/250, i%250)), mesh.NodeID(fmt.Sprintf("%032x", i))
	}
	return nodes
}

func fleetReport(seq uint64) mesh.CheckReport {
	r := mesh.CheckReport{Full: seq == 1}
	for i := range fleetChecks {
		id := fmt.Sprintf("check-%d", i)
		r.Results = append(r.Results, mesh.CheckResult{
			Check: id, Name: id, Seq: seq, Status: passing, Hard: passing, At: time.Now(), Period: time.Minute,
			Samples: []mesh.Sample{{Name: "latency", Value: 1, Unit: "s"}},
		})
	}
	return r
}

// loaded returns a store that has heard of every check of the fleet.
func loaded(b *testing.B, changed func(mesh.CheckState)) (*check.Store, *inventory, []mesh.Node) {
	b.Helper()
	inv := &inventory{nodes: fleet()}
	s, err := check.New(check.Options{Inventory: inv, OnChange: changed})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("Run = %v, want nil", err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Millisecond)
	}
	for i := range inv.nodes {
		if err := s.Commit(ctx, inv.nodes[i].ID, "1", []mesh.CheckReport{fleetReport(1)}); err != nil {
			b.Fatal(err)
		}
	}
	return s, inv, inv.nodes
}

// BenchmarkCommit is one routine report of 20 results into a full store; KiB
// per node is what the states hold.
func BenchmarkCommit(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, _, nodes := loaded(b, nil)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	seq := uint64(1)
	for b.Loop() {
		b.StopTimer()
		seq++
		r := []mesh.CheckReport{fleetReport(seq)}
		b.StartTimer()
		if err := s.Commit(b.Context(), nodes[int(seq)%len(nodes)].ID, "1", r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/fleetNodes/1024, "KiB/node")
}

// BenchmarkInventory is a new inventory of which one node is different, until
// the change is told.
func BenchmarkInventory(b *testing.B) {
	told := make(chan mesh.CheckState, fleetNodes*(fleetChecks+4))
	s, inv, nodes := loaded(b, func(c mesh.CheckState) { told <- c })
	turn := []mesh.Health{critical, passing}
	at := 0
	drain(told)
	for b.Loop() {
		next := append([]mesh.Node(nil), nodes...)
		i := at % len(next)
		next[i] = with(next[i], cc(mesh.SerfCheck, turn[at/len(next)%2], ""))
		at++
		nodes = next
		inv.mu.Lock()
		inv.nodes = next
		inv.mu.Unlock()
		s.Changed()
		for (<-told).Node != next[i].Name {
		}
	}
}

func drain(c chan mesh.CheckState) {
	for {
		select {
		case <-c:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}
