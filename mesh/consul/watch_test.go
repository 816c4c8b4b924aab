package consul

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

// source is one value with an index that behaves as Consul's, and can be made
// to misbehave.
type source struct {
	mu      sync.Mutex
	value   string
	index   uint64
	err     error
	changed chan struct{} // closed and replaced at every change.
	reads   []sourceRead
}

type sourceRead struct {
	at    time.Duration // since the beginning.
	index uint64
}

func newSource() *source {
	return &source{value: "a", index: 10, changed: make(chan struct{})}
}

// change runs f on the source and wakes the readers.
func (s *source) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) set(value string) {
	s.change(func() { s.value, s.index = value, s.index+1 })
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reads)
}

// fetch answers as Consul does: it waits while the index is not above the one
// asked about, and answers anyhow when the state was replaced.
func (s *source) fetch(began time.Time) func(context.Context, Query) (string, Meta, error) {
	return func(ctx context.Context, q Query) (string, Meta, error) {
		s.mu.Lock()
		s.reads = append(s.reads, sourceRead{time.Since(began), q.Index})
		if q.Index > 0 && s.err == nil && s.index <= q.Index {
			changed := s.changed
			s.mu.Unlock()
			t := time.NewTimer(q.wait())
			defer t.Stop()
			select {
			case <-changed:
			case <-t.C:
			case <-ctx.Done():
				return "", Meta{}, ctx.Err()
			}
			s.mu.Lock()
		}
		defer s.mu.Unlock()
		return s.value, Meta{Index: s.index}, s.err
	}
}

type delivery struct {
	Value string
	Reset bool
}

// watching runs Watch on s in a bubble, and what the test does beside it.
// At the end the watch must return by its context.
func watching(t *testing.T, o WatchOptions, s *source, during func(got func() []delivery)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var all []delivery
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		s.changed = make(chan struct{}) // channels belong to the bubble.
		go func() {
			defer close(done)
			Watch(ctx, o, s.fetch(time.Now()), func(v string, m Meta) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, delivery{v, m.Reset})
			})
		}()
		synctest.Wait()
		during(func() []delivery {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		})
		cancel()
		<-done
	})
}

func TestWatchHandsOnChangesAndNothingElse(t *testing.T) {
	s := newSource()
	watching(t, WatchOptions{Wait: time.Minute}, s, func(got func() []delivery) {
		time.Sleep(10 * time.Minute) // ten reads time out.
		if diff := cmp.Diff([]delivery{{"a", false}}, got()); diff != "" {
			t.Errorf("after a quiet time (-want +got):\n%s", diff)
		}
		if n := s.count(); n < 9 || n > 12 {
			t.Errorf("%d reads in ten minutes of waiting a minute each", n)
		}
		for _, v := range []string{"b", "c"} {
			s.set(v)
			time.Sleep(5 * time.Second)
		}
		if diff := cmp.Diff([]delivery{{"a", false}, {"b", false}, {"c", false}}, got()); diff != "" {
			t.Errorf("after two changes (-want +got):\n%s", diff)
		}
	})
}

func TestWatchIndexZeroDoesNotSpin(t *testing.T) {
	s := newSource()
	s.index = 0
	watching(t, WatchOptions{Wait: time.Minute}, s, func(got func() []delivery) {
		time.Sleep(10 * time.Minute)
		if n := len(got()); n != 1 {
			t.Errorf("%d answers handed on, want the first alone", n)
		}
		for i, r := range s.reads[1:] {
			if r.index != 1 {
				t.Errorf("read %d waits on index %d, want 1", i+1, r.index)
			}
		}
		if n := s.count(); n > 12 {
			t.Errorf("%d reads in ten minutes", n)
		}
	})
}

func TestWatchIndexGoesBackwards(t *testing.T) {
	s := newSource()
	watching(t, WatchOptions{Wait: time.Minute}, s, func(got func() []delivery) {
		s.change(func() { s.value, s.index = "restored", 3 })
		if diff := cmp.Diff([]delivery{{"a", false}, {"restored", true}}, got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(5 * time.Minute)
		s.set("b")
		if diff := cmp.Diff([]delivery{{"a", false}, {"restored", true}, {"b", false}}, got()); diff != "" {
			t.Errorf("after the next change (-want +got):\n%s", diff)
		}
		var asked []uint64
		for _, r := range s.reads[:4] {
			asked = append(asked, r.index)
		}
		if want := []uint64{0, 10, 0, 3}; !slices.Equal(asked, want) {
			t.Errorf("indexes asked for = %v, want %v", asked, want)
		}
	})
}

func TestWatchRestoredWhileAway(t *testing.T) {
	// The index is lower when Consul is back; waiting on the old one would
	// last the whole hour.
	s := newSource()
	watching(t, WatchOptions{Wait: time.Hour}, s, func(got func() []delivery) {
		s.change(func() { s.err = errors.New("away") })
		time.Sleep(time.Minute)
		s.change(func() { s.err, s.value, s.index = nil, "restored", 3 })
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]delivery{{"a", false}, {"restored", true}}, got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWatchRestoredBetweenReads(t *testing.T) {
	// Nobody waits while the index goes back, so nobody is woken: the end of
	// the wait shows it.
	s := newSource()
	watching(t, WatchOptions{}, s, func(got func() []delivery) {
		s.mu.Lock()
		s.value, s.index = "restored", 3
		s.mu.Unlock()
		time.Sleep(61 * time.Second)
		if diff := cmp.Diff([]delivery{{"a", false}, {"restored", true}}, got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestWatchRate(t *testing.T) {
	cases := []struct {
		name     string
		o        WatchOptions
		from, to int // reads in 10 minutes of change.
	}{
		{"defaults", WatchOptions{}, 400, 604},
		{"slow, no burst", WatchOptions{MinInterval: 10 * time.Second, Burst: 1, Jitter: 1}, 58, 61},
		{"quick", WatchOptions{MinInterval: 100 * time.Millisecond, Burst: 20, Jitter: 1}, 5900, 6021},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSource()
			watching(t, c.o, s, func(func() []delivery) {
				for i := range 60_000 {
					s.set(strconv.Itoa(i))
					time.Sleep(10 * time.Millisecond)
				}
				if n := s.count(); n < c.from || n > c.to {
					t.Errorf("%d reads, want %d to %d", n, c.from, c.to)
				}
			})
		})
	}
}

func TestWatchBurstIsQuick(t *testing.T) {
	s := newSource()
	watching(t, WatchOptions{Burst: 4}, s, func(got func() []delivery) {
		time.Sleep(30 * time.Second) // the bucket is full, one read waits.
		for i := range 5 {           // the one that waits has paid, four more can.
			s.set(strconv.Itoa(i))
			synctest.Wait()
		}
		if n := len(got()); n != 6 {
			t.Errorf("%d answers without time passing, want all 6", n)
		}
		s.set("late")
		if n := len(got()); n != 6 {
			t.Errorf("%d answers, want the next to wait for its turn", n)
		}
		time.Sleep(2 * time.Second)
		if n := len(got()); n != 7 {
			t.Errorf("%d answers after its turn came, want 7", n)
		}
	})
}

func TestWatchKick(t *testing.T) {
	kick := make(chan struct{}, 1)
	synctest.Test(t, func(t *testing.T) {
		kick = make(chan struct{}, 1)
		began := time.Now()
		s := newSource()
		var got []delivery
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, WatchOptions{Wait: time.Hour, Kick: kick, Burst: 2}, s.fetch(began), func(v string, m Meta) {
				got = append(got, delivery{v, m.Reset})
			})
		}()
		time.Sleep(time.Minute)
		before := s.count()

		// Nothing is new: one look, and the wait goes on at once.
		kick <- struct{}{}
		synctest.Wait()
		s.mu.Lock()
		var asked []uint64
		for _, r := range s.reads[before:] {
			asked = append(asked, r.index)
		}
		s.mu.Unlock()
		if want := []uint64{0, 10}; !slices.Equal(asked, want) {
			t.Errorf("reads after a kick = %v, want %v", asked, want)
		}
		if n := len(got); n != 1 {
			t.Errorf("%d answers handed on, want the first alone", n)
		}

		// Something is new that the waiting read was not woken by.
		s.mu.Lock()
		s.value, s.index = "silent", 11
		s.mu.Unlock()
		kick <- struct{}{}
		synctest.Wait()
		if want := (delivery{"silent", false}); len(got) != 2 || got[1] != want {
			t.Errorf("answers = %v, want the last to be %v", got, want)
		}

		// A storm of kicks costs no more than the bucket gives.
		before = s.count()
		for range 600 {
			select {
			case kick <- struct{}{}:
			default:
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count() - before; n < 60 || n > 2*62 {
			t.Errorf("%d reads in a minute of kicks, want about one look and one wait a second", n)
		}
		cancel()
		<-done
	})
}

func TestWatchReportsOnceAndBacksOff(t *testing.T) {
	var reports []string
	report := func(err error) {
		if err == nil {
			reports = append(reports, "well")
			return
		}
		reports = append(reports, string(mesh.CodeOf(err)))
	}
	s := newSource()
	watching(t, WatchOptions{Wait: time.Minute, Report: report}, s, func(got func() []delivery) {
		began := s.count()
		s.change(func() { s.err = mesh.Errorf(mesh.Unavailable, "away") })
		time.Sleep(5 * time.Second)
		if n := s.count() - began; n < 3 {
			t.Errorf("%d reads in the first 5 s, want quick retries", n)
		}
		time.Sleep(time.Hour)
		if n := s.count() - began; n < 3600/30 || n > 600 {
			t.Errorf("%d reads in an hour, want one every 30 s at the least and 15 s on average", n)
		}
		s.change(func() { s.err = mesh.Errorf(mesh.Denied, "no") })
		time.Sleep(10 * time.Minute)
		s.change(func() { s.err = nil })
		time.Sleep(time.Minute)
		s.set("b")
		if diff := cmp.Diff([]delivery{{"a", false}, {"b", false}}, got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if want := []string{"unavailable", "denied", "well"}; !slices.Equal(reports, want) {
			t.Errorf("reports = %v, want %v", reports, want)
		}
	})
}

func TestWatchKickCutsTheBackOffShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		kick := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, WatchOptions{Kick: kick}, s.fetch(time.Now()), func(string, Meta) {})
		}()
		synctest.Wait()
		s.change(func() { s.err = errors.New("away") })
		time.Sleep(10 * time.Minute)
		before := s.count()
		kick <- struct{}{} // taken only by the one that sleeps.
		synctest.Wait()
		if n := s.count() - before; n != 1 {
			t.Errorf("%d reads at once after a kick, want 1", n)
		}
		cancel()
		<-done
	})
}

func TestWatchHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		fetch := s.fetch(time.Now())
		go func() {
			defer close(done)
			Watch(ctx, WatchOptions{}, func(ctx context.Context, q Query) (string, Meta, error) {
				v, m, err := fetch(ctx, q)
				m.Hash = v
				return v, m, err
			}, func(v string, _ Meta) { got = append(got, v) })
		}()
		for _, v := range []string{"a", "a", "b", "b", "a"} {
			synctest.Wait()
			s.set(v)
			time.Sleep(5 * time.Second)
		}
		cancel()
		<-done
		if want := []string{"a", "b", "a"}; !slices.Equal(got, want) {
			t.Errorf("handed on = %v, want %v", got, want)
		}
	})
}

func TestWatchDoesNotStartWhenItIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Watch(ctx, WatchOptions{}, func(context.Context, Query) (int, Meta, error) {
		t.Error("read after the end")
		return 0, Meta{}, nil
	}, func(int, Meta) { t.Error("answer after the end") })
}

// TestLoopRules drives the loop with arbitrary answers, in any order, and
// checks what must hold whatever Consul says.
func TestLoopRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var reported []error
		l := newLoop(WatchOptions{Report: func(err error) { reported = append(reported, err) }})
		var last uint64    // index of the last answer that counted.
		mustReset := false // an index went back and nobody was told yet.
		freeRun := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if l.free {
				freeRun++
			} else {
				freeRun = 0
			}
			if freeRun > 2 {
				t.Fatal("three reads in a row cost no token")
			}
			l.kicked = !l.free && rapid.Bool().Draw(t, "kicked") // as pause sees to.
			l.free = false
			q := l.next()
			if q.Index != 0 && q.Index != last {
				t.Fatalf("read waits on %d, the last answer was %d", q.Index, last)
			}
			if mustReset && q.Index != 0 {
				t.Fatal("read waits on an index that went backwards")
			}
			if rapid.IntRange(0, 4).Draw(t, "fail") == 0 {
				l.failed(errors.New("away"))
				l.kicked = false
				if n := l.next(); n.Index != 0 {
					t.Fatal("read waits after a failure")
				}
				continue
			}
			index := rapid.Uint64Range(0, 6).Draw(t, "index")
			m, changed := l.answered(q, Meta{Index: index})
			index = max(index, 1)
			back := index < last
			mustReset = mustReset || back
			want := (index != last || mustReset) && (!back || q.Index == 0)
			if changed != want {
				t.Fatalf("answer %d to %d after %d: handed on %v, want %v", index, q.Index, last, changed, want)
			}
			if changed {
				if m.Reset != mustReset {
					t.Fatalf("answer %d after %d: reset %v, want %v", index, last, m.Reset, mustReset)
				}
				last, mustReset = index, false
			}
		}
		for i, err := range reported {
			if bad := i%2 == 0; bad != (err != nil) {
				t.Fatalf("reports do not alternate: %v", reported)
			}
		}
	})
}

func TestBackoffStaysInItsBounds(t *testing.T) {
	l := newLoop(WatchOptions{})
	for n := 1; n < 100; n++ {
		l.fails = n
		for range 100 {
			if d := l.backoff(); d < 0 || d >= backoffMost || (n == 1 && d >= backoffFirst) {
				t.Fatalf("back-off after %d failures = %s", n, d)
			}
		}
	}
}

func TestQueryTimeoutOutlastsTheWait(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, time.Minute, 10 * time.Minute, 24 * time.Hour} {
		q := Query{Index: 1, Wait: wait}
		if got, least := q.timeout(), q.wait()*17/16; got <= least {
			t.Errorf("timeout of a wait of %s = %s, want more than %s", wait, got, least)
		}
	}
	if got := (Query{Wait: time.Hour}).timeout(); got != requestTimeout {
		t.Errorf("timeout of a read that does not wait = %s, want %s", got, requestTimeout)
	}
}
