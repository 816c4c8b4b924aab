package leader

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A turn is one thing that happens to one server of three, and how long
// nothing else does after it.
type turn struct {
	server int
	what   string
	pause  time.Duration
}

var events = []string{"away", "back", "mute", "heard", "slow", "quick", "hang", "blind", "sees", "restart", "kill"}

func drawTurns(t *rapid.T) []turn {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) turn {
		return turn{
			server: rapid.IntRange(0, 2).Draw(t, "server"),
			what:   rapid.SampledFrom(events).Draw(t, "what"),
			pause:  time.Duration(rapid.IntRange(0, 15_000).Draw(t, "pause")) * time.Millisecond,
		}
	}), 1, 25).Draw(t, "turns")
}

// TestNeverTwo says that, whatever happens to the servers and to what they say,
// no lock is given to one while another believes that it leads, that terms only
// grow, and that somebody leads when all is well again.
func TestNeverTwo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		turns := drawTurns(rt)
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = play(t, turns) })
		if fault != "" {
			rt.Fatalf("%s\n%+v", fault, turns)
		}
	})
}

// referee watches the servers of one play.
type referee struct {
	mu      sync.Mutex
	servers [3]*server
	owner   map[uint64]string // of each term.
	top     uint64
	fault   string
}

func (r *referee) blame(format string, args ...any) {
	if r.fault == "" {
		r.fault = fmt.Sprintf(format, args...)
	}
}

// look checks that at most one leads, and in a term of its own.
func (r *referee) look(when string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	holder := -1
	for i, s := range r.servers {
		term, ok := s.Held()
		if !ok {
			continue
		}
		if holder >= 0 {
			r.blame("%s: %d and %d both lead", when, holder, i)
		}
		holder = i
		if who := r.owner[term.Index]; who != "" && who != term.Session {
			r.blame("%s: term %d is of session %s and of %s", when, term.Index, who, term.Session)
		}
		if term.Index < r.top {
			r.blame("%s: term %d after term %d", when, term.Index, r.top)
		}
		r.owner[term.Index], r.top = term.Session, max(r.top, term.Index)
	}
}

// nobody checks that nobody believes that it leads: the lock is about to be
// given away.
func (r *referee) nobody(string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.servers {
		if s == nil {
			continue
		}
		if term, ok := s.Held(); ok {
			r.blame("the lock of term %d is given away while %d believes that it leads", term.Index, i)
		}
	}
}

// play returns what went wrong, if anything.
func play(t *testing.T, turns []turn) string {
	f := newFake()
	r := &referee{owner: make(map[uint64]string)}
	f.granted = r.nobody
	ctx, cancel := context.WithCancel(t.Context())
	defer synctest.Wait()
	defer cancel()
	go f.run(ctx)
	names := []string{"a", "b", "c"}
	for i, n := range names {
		r.mu.Lock()
		r.servers[i] = start(t, f, n)
		r.mu.Unlock()
		after(10 * time.Millisecond) // the same one leads in every replay.
	}
	for _, turn := range turns {
		s := r.servers[turn.server]
		s.c.set(func(c *client) { disturb(c, turn) })
		if turn.what == "restart" || turn.what == "kill" {
			s.stop()
			next := start(t, f, names[turn.server])
			r.mu.Lock()
			r.servers[turn.server] = next
			r.mu.Unlock()
		}
		for end := time.Now().Add(turn.pause); ; {
			r.look(turn.what)
			if !time.Now().Before(end) {
				break
			}
			after(250 * time.Millisecond)
		}
	}
	for _, s := range r.servers {
		s.c.set(func(c *client) { c.away, c.mute, c.blind, c.delay, c.hang = false, false, false, 0, 0 })
	}
	after(90 * time.Second) // a hang, two sessions that nobody renews.
	r.look("at rest")
	r.mu.Lock()
	held := 0
	for _, s := range r.servers {
		if _, ok := s.Held(); ok {
			held++
		}
	}
	if held != 1 {
		r.blame("at rest %d servers lead, want 1", held)
	}
	fault := r.fault
	r.mu.Unlock()
	for _, s := range r.servers {
		s.stop()
	}
	return fault
}

func disturb(c *client, turn turn) {
	switch turn.what {
	case "away", "kill": // a server that is killed gives nothing back.
		c.away = true
	case "back":
		c.away = false
	case "mute":
		c.mute = true
	case "heard":
		c.mute = false
	case "slow":
		c.delay = turn.pause / 4
	case "quick":
		c.delay = 0
	case "hang":
		c.hang = turn.pause * 2
	case "blind":
		c.blind = true
	case "sees":
		c.blind = false
	}
}
