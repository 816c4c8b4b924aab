package zone

import (
	"alps/mesh"
	"alps/mesh/zone"
)

// ask is an agent that waits for an answer.
type ask struct {
	from mesh.NodeID
	have zone.Have
}

// answer is the last one, for the agents that hold the same: after a restart
// of the server those are nearly all.
type answer struct {
	zone     *zone.Zone
	digests  [zone.Buckets]uint64
	payloads [][]byte
}

func (b *Builder) unanswered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asks) > 0
}

// answer answers up to n of the agents that wait. An agent that holds all of
// it already is told so: it then knows that what it holds is new.
func (b *Builder) answer(n int) {
	z := b.Zone()
	if z == nil {
		return
	}
	for _, a := range b.next(n) {
		if b.answered.zone != z || b.answered.digests != a.have.Digests {
			b.answered = answer{z, a.have.Digests, zone.Split(z.Diff(a.have))}
		}
		for _, payload := range b.answered.payloads {
			if err := b.o.Post(a.from, payload); err != nil {
				// Its link is gone; the next one begins with asking again.
				b.log.Debug("an agent cannot be answered", "node", a.from, "error", err)
				break
			}
		}
	}
}

// next takes the first n of the agents that wait.
func (b *Builder) next(n int) []ask {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.asks))
	out := append([]ask(nil), b.asks[:n]...)
	b.asks = b.asks[n:]
	for _, a := range out {
		delete(b.asked, a.from)
	}
	for i, a := range b.asks {
		b.asked[a.from] = i
	}
	if len(b.asks) == 0 {
		b.asks = nil
	}
	return out
}
