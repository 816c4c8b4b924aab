package link

import (
	"sync/atomic"
	"testing"
)

func TestHelloTellsTheTerm(t *testing.T) {
	var term atomic.Uint64
	b := start(t, func(o *Options) { o.Lead = term.Load })
	for _, want := range []uint64{0, 7, 8} {
		term.Store(want)
		if _, ok := b.link(b.config(agent()), boot1); ok.Lead != want {
			t.Errorf("hello tells term %d, want %d", ok.Lead, want)
		}
	}
	without := start(t, nil)
	if _, ok := without.link(without.config(agent()), boot1); ok.Lead != 0 {
		t.Errorf("a server without a lock tells term %d", ok.Lead)
	}
}

func TestHelloTellsHowManyNodes(t *testing.T) {
	b := start(t, func(o *Options) { o.Nodes = func() int { return 21 } })
	if _, ok := b.link(b.config(agent()), boot1); ok.Nodes != 21 {
		t.Errorf("hello tells of %d nodes, want 21", ok.Nodes)
	}
	unknown := start(t, nil)
	if _, ok := unknown.link(unknown.config(agent()), boot1); ok.Nodes != 0 {
		t.Errorf("a server that does not know tells of %d nodes", ok.Nodes)
	}
}
