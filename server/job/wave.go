package job

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"alps/mesh"
)

// Plan says in which waves the nodes of a job run.
type Plan struct {
	Canary int // nodes in wave 0, 0 for no canary.
	Batch  int // nodes in each wave after that.
	// MaxFail is how many nodes may fail before no further wave is opened; -1
	// for any number. A node that cannot be reached has failed.
	MaxFail int
	Confirm bool // the wave after the canary is opened by an operator.
}

// Waves is how many waves n nodes take.
func (p Plan) Waves(n int) int {
	if n <= p.Canary || p.Batch <= 0 {
		return 1
	}
	waves := (n - p.Canary + p.Batch - 1) / p.Batch
	if p.Canary > 0 {
		waves++
	}
	return waves
}

// wave is the wave of the ith node in the order of starting.
func (p Plan) wave(i int) int {
	switch {
	case p.Batch <= 0 || i < p.Canary:
		return 0
	case p.Canary > 0:
		return 1 + (i-p.Canary)/p.Batch
	default:
		return i / p.Batch
	}
}

// assign gives the listed targets their waves. Neighbours of one rack go to
// different waves where that can be: a wave that goes wrong then takes a few
// nodes of each rack, not all replicas in one.
func (p Plan) assign(targets []Target, rack func(Target) string) {
	byRack := make(map[string][]int)
	for i, t := range targets {
		if t.Listed {
			r := t.DC + "/" + rack(t)
			byRack[r] = append(byRack[r], i)
		}
	}
	// The share of its rack that stands before a node orders all nodes: every
	// prefix of the order then holds the same share of each rack.
	type place struct {
		at    float64
		rack  string
		index int
	}
	var order []place
	for r, members := range byRack {
		for k, i := range members {
			order = append(order, place{(float64(k) + 0.5) / float64(len(members)), r, i})
		}
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rack, b.rack), a.index-b.index)
	})
	for i, o := range order {
		targets[o.index].Wave = p.wave(i)
	}
}

// A step is what the controller of waves wants done.
type step struct {
	open int    // open the waves up to this one; the wave that is open for none.
	stop string // open no further wave, and why.
}

// advance decides over a job whose waves up to open may start: the next one
// opens when all that were opened have ended and not too many of their nodes
// have failed. It is a pure function of what is known, so a server that takes
// over decides the same.
func (p Plan) advance(targets iter.Seq[Target], open int) step {
	failed, busy, last := 0, false, 0
	for t := range targets {
		if !t.Listed {
			continue
		}
		last = max(last, t.Wave)
		if t.Wave > open {
			continue
		}
		busy = busy || !t.State.Ended()
		if failure(t.State) {
			failed++
		}
	}
	switch {
	case p.MaxFail >= 0 && failed > p.MaxFail && open < last:
		return step{open: open, stop: fmt.Sprintf("%s failed, %d may: no further wave was opened",
			word(failed, "node", "nodes"), p.MaxFail)}
	case busy, open >= last, p.Confirm && open == 0 && p.Canary > 0:
		return step{open: open}
	default:
		return step{open: open + 1}
	}
}

// failure reports whether a state counts against the limit of failures: every
// end but OK. What an operator stopped or skipped is no failure.
func failure(s mesh.State) bool {
	return s.Ended() && s != mesh.OK && s != mesh.Cancelled && s != mesh.Skipped
}
