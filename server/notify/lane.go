package notify

import (
	"math/rand/v2"
	"slices"
	"time"

	"alps/mesh"
)

const (
	// atOnce bounds the sends to one receiver.
	atOnce = 4
	// firstPause follows the first failure; each further one doubles it.
	firstPause = time.Second
	// maxPause bounds the pause of one delivery, maxLanePause that of a
	// receiver as a whole: asking one that is down is cheap, and it should
	// not wait when it is back.
	maxPause     = time.Minute
	maxLanePause = 15 * time.Second
	// keepFor is how long a delivery is tried.
	keepFor = 24 * time.Hour
	// maxAsked bounds what a receiver may ask for with Retry-After.
	maxAsked = time.Hour
	// pageSize is how much of a lane is in memory at most, more or less.
	pageSize = 500
)

// pause is how long to wait after so many failures.
func pause(failures int, most time.Duration) time.Duration {
	d := firstPause
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

// jitter spreads a pause, so that what failed together does not come again
// together.
func jitter(d time.Duration) time.Duration {
	if d < 5 {
		return d
	}
	return d + rand.N(d/5)
}

// lane is what waits for one receiver. A chain is what waits of one incident:
// its first is the only one that may be sent. The lane belongs to the
// goroutine of Engine.Run.
type lane struct {
	name   string
	target *target // nil: not configured.
	cursor int64   // everything up to here was read from the outbox.
	more   bool    // there is more behind the cursor, as far as is known.

	chains map[mesh.IncidentID][]*Delivery
	ready  []mesh.IncidentID        // chains whose first may be sent, in order.
	later  map[mesh.IncidentID]bool // chains whose first waits for its time.
	flying map[int64]bool           // by Seq: being sent.
	size   int                      // deliveries in chains.

	failures int       // of the receiver in a row.
	until    time.Time // it is left alone so long.
}

func newLane(name string) *lane {
	l := &lane{name: name, flying: make(map[int64]bool)}
	l.reset()
	return l
}

// reset forgets what is not being sent: it is read again.
func (l *lane) reset() {
	l.chains, l.later = make(map[mesh.IncidentID][]*Delivery), make(map[mesh.IncidentID]bool)
	l.ready, l.size, l.cursor, l.more = nil, 0, 0, true
}

// add takes what was read from the outbox.
func (l *lane) add(list []Delivery) {
	for i := range list {
		d := &list[i]
		l.cursor = max(l.cursor, d.Seq)
		id := d.Incident.ID
		l.chains[id] = append(l.chains[id], d)
		l.size++
		if len(l.chains[id]) == 1 && !l.flying[d.Seq] {
			l.later[id] = true // due finds out whether its time has come.
		}
	}
}

// due moves the chains whose time has come to the ready ones, and returns when
// the next of the others is, or the given time if that is sooner.
func (l *lane) due(now, or time.Time) time.Time {
	var now1 []mesh.IncidentID
	for id := range l.later {
		switch first := l.chains[id][0]; {
		case !first.Next.After(now):
			now1 = append(now1, id)
		case first.Next.Before(or):
			or = first.Next
		}
	}
	slices.SortFunc(now1, func(a, b mesh.IncidentID) int { return int(l.chains[a][0].Seq - l.chains[b][0].Seq) })
	for _, id := range now1 {
		delete(l.later, id)
		l.ready = append(l.ready, id)
	}
	if l.until.After(now) && len(l.ready) > 0 && l.until.Before(or) {
		or = l.until
	}
	return or
}

// take returns what to send now; more says that the receiver's pause and the
// limits allow it. A reminder that something newer follows is given with skip.
func (l *lane) take(now time.Time, allowed func(*Delivery) bool) (d *Delivery, skip bool) {
	room := atOnce
	if l.failures > 0 {
		room = 1 // one asks whether it is back.
	}
	if len(l.flying) >= room || l.until.After(now) {
		return nil, false
	}
	for n, id := range l.ready {
		if first := l.chains[id][0]; allowed(first) {
			l.ready = slices.Delete(l.ready, n, n+1)
			l.flying[first.Seq] = true
			return first, first.Kind == KindRepeat && len(l.chains[id]) > 1
		}
	}
	return nil, false
}

// landed takes back what take has given. settled: it is done with.
func (l *lane) landed(d *Delivery, settled bool) {
	delete(l.flying, d.Seq)
	id := d.Incident.ID
	chain := l.chains[id]
	if len(chain) == 0 || chain[0].Seq != d.Seq {
		return // read again since, and then another is first.
	}
	chain[0].Tries, chain[0].Next = d.Tries, d.Next
	if settled {
		chain = chain[1:]
		l.size--
	}
	if len(chain) == 0 {
		delete(l.chains, id)
		return
	}
	l.chains[id] = chain
	l.later[id] = true
}

// judged notes how the receiver has answered.
func (l *lane) judged(now time.Time, answered bool, asked time.Duration) {
	if answered {
		l.failures, l.until = 0, time.Time{}
		return
	}
	if asked == 0 && l.until.After(now) {
		return // it was sent together with the one that failed first.
	}
	l.failures++
	l.until = now.Add(max(jitter(pause(l.failures, maxLanePause)), asked))
}
