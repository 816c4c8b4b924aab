package check

import (
	"math/bits"
	"time"

	"alps/mesh"
)

// standing is what the results of a check amount to. The zero standing is that
// of a check which has never run. It is a value: judge returns the next one.
type standing struct {
	raw       mesh.Health // of the last result; empty before the first.
	hard      mesh.Health // empty: nothing is confirmed yet.
	hardSince time.Time
	// attempt counts results in a row that are not passing, up to Attempts; 1
	// while it is passing.
	attempt  int
	flapping bool
	// changes has a bit for each of the last results, the newest lowest: was
	// its status another than that before it?
	changes uint32
}

// judge returns the standing after one more result, by the rules of Nagios: a
// problem is hard when Attempts results in a row were not passing, whichever
// problem they were, and from then on the hard status is the raw one; a single
// good result is a hard recovery. Attempts below 1 count as 1.
func (s standing) judge(h mesh.Health, attempts int, now time.Time) standing {
	attempts = max(attempts, 1)
	next := s
	next.raw = h
	next.changes = s.changes << 1
	if s.raw != "" && s.raw != h {
		next.changes |= 1
	}
	next.changes &= 1<<flapWindow - 1
	next.flapping = flaps(next.changes, s.flapping)
	switch {
	case h == mesh.HealthPassing || s.raw == mesh.HealthPassing || s.raw == "":
		next.attempt = 1
	default:
		next.attempt = min(s.attempt+1, attempts)
	}
	if h == mesh.HealthPassing || next.attempt >= attempts {
		if next.hard != h {
			next.hard, next.hardSince = h, now
		}
	}
	return next
}

// differs reports whether a server should hear of the next standing at once.
func (s standing) differs(next standing) bool {
	return s.raw != next.raw || s.hard != next.hard || s.flapping != next.flapping
}

// Flapping is measured as Nagios does: over the changes between the last 21
// results, of which the newest weighs half as much again as the oldest (1.2 to
// 0.8). The thresholds are ours, and far apart: it begins when half of the
// results are changes and ends below a fifth. Those of Nagios's sample
// configuration (20 % and 5 %) call a service that failed twice a flapping one.
const (
	flapWindow = 20 // changes between flapWindow+1 results.
	flapHigh   = 0.50
	flapLow    = 0.20
	flapOldest = 0.8
	flapNewest = 1.2
)

// flapShare is the weighted share of changes, from 0 to 1. Results that were
// never given count as no change.
func flapShare(changes uint32) float64 {
	if bits.OnesCount32(changes) == 0 {
		return 0
	}
	sum := 0.0
	for i := range flapWindow {
		if changes>>i&1 == 1 {
			sum += flapNewest - (flapNewest-flapOldest)*float64(i)/(flapWindow-1)
		}
	}
	return sum / flapWindow
}

// flaps decides with hysteresis.
func flaps(changes uint32, already bool) bool {
	share := flapShare(changes)
	if already {
		return share >= flapLow
	}
	return share >= flapHigh
}
