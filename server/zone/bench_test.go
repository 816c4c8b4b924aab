package zone_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/zone"
)

// large is the largest datacenter that Consul carries: 5,000 nodes with three
// services each, one of which is on all of them.
func large() []mesh.Node {
	nodes := make([]mesh.Node, 5000)
	for i := range nodes {
		nodes[i] = machine(fmt.Sprintf("bj-e-hadoop%02d-%d-%d", i%40, i/250, i%250), "everywhere", fmt.Sprintf("web-%d", i%40), fmt.Sprintf("db-%d", i%300))
		nodes[i].Address = fmt.Sprintf("10.%d.%d.%d", i%40, i/250, i%250)
	}
	return nodes
}

// built starts a builder over nodes and waits for its zone. The function ends
// the builder.
func built(b *testing.B, nodes []mesh.Node, broadcast func([]byte) error) (*zone.Builder, *world, func()) {
	b.Helper()
	w := &world{states: make(map[string][]mesh.CheckState), nodes: nodes, ready: true}
	z, err := zone.New(zone.Options{
		Inventory: w, Checks: w, Broadcast: broadcast, Post: func(mesh.NodeID, []byte) error { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- z.Run(ctx) }()
	for z.Zone() == nil {
		time.Sleep(100 * time.Microsecond)
	}
	return z, w, func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("Run = %v, want nil", err)
		}
	}
}

// BenchmarkBuild is a zone from nothing.
func BenchmarkBuild(b *testing.B) {
	nodes := large()
	for b.Loop() {
		_, _, stop := built(b, nodes, func([]byte) error { return nil })
		stop()
	}
}

// BenchmarkRead is an inventory whose lists are all new and say the same, as
// every few minutes when all of Consul is read again, and one node more or
// less, until that is sent.
func BenchmarkRead(b *testing.B) {
	sent := make(chan struct{}, 1<<16)
	z, w, stop := built(b, large(), func([]byte) error { sent <- struct{}{}; return nil })
	defer stop()
	more := false
	for b.Loop() {
		b.StopTimer()
		time.Sleep(60 * time.Millisecond)
		nodes := large()
		if more = !more; more {
			nodes = append(nodes, machine("another"))
		}
		w.mu.Lock()
		w.nodes = nodes
		w.mu.Unlock()
		b.StartTimer()
		z.Changed()
		<-sent
	}
}

// BenchmarkChange is one check that fails by the link, until it is sent to all
// agents; the pause between builds is left out.
func BenchmarkChange(b *testing.B) {
	nodes, sent := large(), make(chan struct{}, 1<<16)
	z, w, stop := built(b, nodes, func([]byte) error { sent <- struct{}{}; return nil })
	defer stop()
	turn, at := []mesh.Health{critical, passing}, 0
	for b.Loop() {
		b.StopTimer()
		time.Sleep(60 * time.Millisecond)
		n := &nodes[at%len(nodes)]
		w.mu.Lock()
		w.states[n.DC+"/"+string(n.Name)] = []mesh.CheckState{link("everywhere", turn[at/len(nodes)%2])}
		w.mu.Unlock()
		at++
		b.StartTimer()
		z.CheckChanged(n.DC, n.Name)
		<-sent
	}
}
