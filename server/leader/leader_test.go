package leader

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

// world runs a test in a bubble with a fake Consul.
func world(t *testing.T, fn func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go f.run(ctx)
		fn(t, f)
	})
}

// after lets time pass and everybody act.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantHeld checks who says that it leads, and in which term.
func wantHeld(t *testing.T, when string, s *server, want uint64) {
	t.Helper()
	term, ok := s.Held()
	if ok != (want > 0) || term.Index != want {
		t.Errorf("%s: held %v in term %d, want %d", when, ok, term.Index, want)
	}
}

func TestOneLeadsAndHandsOver(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		wantHeld(t, "alone", a, 1)
		b := start(t, f, "b")
		defer b.stop()
		after(time.Minute)
		wantHeld(t, "a minute later", a, 1)
		wantHeld(t, "the second", b, 0)
		if !isClosed(b.Deposed()) || isClosed(a.Deposed()) {
			t.Error("Deposed is open for who never led, or closed for who leads")
		}
		who, ok := b.Leader.Leader()
		if want := (Info{Name: "a", API: "https://a", Since: who.Since}); !ok || who != want || who.Since.IsZero() {
			t.Errorf("b says that %+v, %v leads, want %+v", who, ok, want)
		}
		gone := a.Deposed()
		a.stop()
		after(time.Second)
		wantHeld(t, "stopped", a, 0)
		wantHeld(t, "taken over", b, 2)
		if !isClosed(gone) {
			t.Error("a stopped and is not deposed")
		}
		if a.Seen() != 1 || b.Seen() != 2 {
			t.Errorf("a has heard of term %d and b of %d, want 1 and 2", a.Seen(), b.Seen())
		}
		if term, err := b.Await(t.Context()); err != nil || term.Index != 2 {
			t.Errorf("Await = %+v, %v", term, err)
		}
	})
}

func TestAwait(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		b := start(t, f, "b")
		defer b.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if term, err := b.Await(ctx); err == nil {
			t.Errorf("Await of a standby = %+v", term)
		}
		got := make(chan Term, 1)
		go func() {
			term, err := b.Await(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- term
		}()
		synctest.Wait()
		a.stop()
		after(time.Second)
		if term := <-got; term.Index != 2 || term.Session == "" || term.Since.IsZero() {
			t.Errorf("Await = %+v, want term 2", term)
		}
	})
}

// TestKilledWaitsForTTL is a server that is cut off for good: its lease ends
// long before its session does.
func TestKilledWaitsForTTL(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		b := start(t, f, "b")
		defer b.stop()
		after(time.Second)
		gone := a.Deposed()
		a.c.set(func(c *client) { c.away = true })
		after(5 * time.Second)
		wantHeld(t, "cut off for 5 s", a, 0)
		wantHeld(t, "nobody yet", b, 0)
		if term, ok := a.Incumbent(); !ok || term.Index != 1 || isClosed(gone) {
			t.Errorf("incumbent %+v, %v, deposed %v, want a to be in office", term, ok, isClosed(gone))
		}
		after(6 * time.Second)
		wantHeld(t, "the session is over", b, 2)
		if isClosed(gone) {
			t.Error("a cannot know yet that it is deposed")
		}
		a.c.set(func(c *client) { c.away = false })
		after(3 * time.Second)
		if _, ok := a.Incumbent(); ok || !isClosed(gone) {
			t.Error("a is in office although b leads")
		}
		wantHeld(t, "back again", a, 0)
		wantHeld(t, "still", b, 2)
	})
}

func TestLapsedLease(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		gone := a.Deposed()
		a.c.set(func(c *client) { c.away = true })
		after(8 * time.Second)
		wantHeld(t, "lapsed", a, 0)
		a.c.set(func(c *client) { c.away = false })
		after(time.Second)
		wantHeld(t, "the same session renewed", a, 1)

		a.c.set(func(c *client) { c.away = true })
		after(time.Minute)
		wantHeld(t, "long gone", a, 0)
		a.c.set(func(c *client) { c.away = false })
		after(3 * time.Second)
		wantHeld(t, "a new session, and nobody else in between", a, 2)
		if isClosed(gone) {
			t.Error("a was deposed although nobody else has led")
		}
	})
}

// TestStopped is a process that gets no CPU for a while: its calls are under
// way, and what they answer is old.
func TestStopped(t *testing.T) {
	for name, pause := range map[string]time.Duration{"a moment": 4 * time.Second, "a while": 8 * time.Second, "for long": time.Minute} {
		t.Run(name, func(t *testing.T) {
			world(t, func(t *testing.T, f *fake) {
				a := start(t, f, "a")
				defer a.stop()
				after(time.Second)
				b := start(t, f, "b")
				defer b.stop()
				after(time.Second)
				a.c.set(func(c *client) { c.hang, c.blind = pause, true })
				end := time.Now().Add(pause + 10*time.Second)
				for time.Now().Before(end) {
					after(100 * time.Millisecond)
					_, at := a.Held()
					_, bt := b.Held()
					if at && bt {
						t.Fatal("both lead")
					}
				}
				_, at := a.Held()
				_, bt := b.Held()
				if at == bt || bt != (pause > 10*time.Second) {
					t.Errorf("in the end a leads: %v, b leads: %v", at, bt)
				}
			})
		})
	}
}

func TestSlowConsul(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		a.c.set(func(c *client) { c.delay = time.Second }) // two calls make a renewal.
		after(10 * time.Second)
		for range 100 {
			after(100 * time.Millisecond)
			wantHeld(t, "slow answers", a, 1)
		}
		a.c.set(func(c *client) { c.delay, c.mute = 0, true })
		after(8 * time.Second)
		wantHeld(t, "answers are lost", a, 0)
		a.c.set(func(c *client) { c.mute = false })
		after(time.Second)
		wantHeld(t, "answers again", a, 1)
	})
}

// TestLostAnswerOfAcquire is a lock that is held by a session which does not
// know it.
func TestLostAnswerOfAcquire(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		b := start(t, f, "b")
		after(time.Second)
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		a.c.set(func(c *client) { c.mute = true })
		b.stop()
		after(3 * time.Second)
		a.c.set(func(c *client) { c.mute = false })
		after(20 * time.Second)
		if _, ok := a.Held(); !ok {
			t.Error("a does not lead")
		}
	})
}

func TestOperatorFreesTheLock(t *testing.T) {
	tests := map[string]struct {
		do   func(*fake)
		want uint64 // a's term afterwards, alone.
		same bool   // the incumbency goes on.
	}{
		"sessions are destroyed": {(*fake).destroyAll, 2, true},
		"the key is deleted":     {(*fake).deleteKey, 2, false},
		"Consul is restored":     {(*fake).restore, 2, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			world(t, func(t *testing.T, f *fake) {
				a := start(t, f, "a")
				defer a.stop()
				after(time.Second)
				gone := a.Deposed()
				tt.do(f)
				after(30 * time.Second)
				wantHeld(t, "afterwards", a, tt.want)
				if isClosed(gone) == tt.same {
					t.Errorf("deposed %v, want %v", isClosed(gone), !tt.same)
				}
			})
		})
	}
}

// TestTakenAgainSlowly has the new lock seen before the term has begun.
func TestTakenAgainSlowly(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		var floor atomic.Uint64
		a := start(t, f, "a", func(o *Options) {
			o.Floor = func(context.Context) (uint64, error) {
				time.Sleep(100 * time.Millisecond)
				return floor.Load(), nil
			}
		})
		defer a.stop()
		after(time.Second)
		floor.Store(1)
		gone := a.Deposed()
		f.destroyAll()
		after(time.Second)
		wantHeld(t, "taken again", a, 2)
		if isClosed(gone) {
			t.Error("a was deposed by itself")
		}
	})
}

// TestStolen is an operator who gives the lock to somebody else.
func TestStolen(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		gone := a.Deposed()
		f.mu.Lock()
		f.touch()
		f.key = &Holding{Session: "thief", LockIndex: 7, CreateIndex: f.index, Index: f.index}
		f.mu.Unlock()
		after(100 * time.Millisecond)
		wantHeld(t, "stolen", a, 0)
		if !isClosed(gone) {
			t.Error("a is not deposed")
		}
		if who, ok := a.Leader.Leader(); !ok || who != (Info{}) {
			t.Errorf("leader = %+v, %v, want somebody without a name", who, ok)
		}
		after(time.Minute)
		f.mu.Lock()
		n := len(f.sessions)
		f.mu.Unlock()
		if n != 0 {
			t.Errorf("%d sessions are left of who does not lead", n)
		}
	})
}

// TestWatchIsDeaf says that renewals alone find out as well.
func TestWatchIsDeaf(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		a.c.set(func(c *client) { c.blind = true })
		f.mu.Lock()
		f.touch()
		f.key = &Holding{Session: "thief", LockIndex: 7, CreateIndex: f.index, Index: f.index}
		f.mu.Unlock()
		after(3 * time.Second)
		wantHeld(t, "stolen", a, 0)
	})
}

func TestFloor(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		var floor atomic.Uint64
		above := func(o *Options) {
			o.Floor = func(context.Context) (uint64, error) {
				if n := floor.Load(); n > 0 {
					return n, nil
				}
				return 0, errBoom
			}
		}
		a := start(t, f, "a", above)
		after(5 * time.Second)
		wantHeld(t, "the floor is not known", a, 0)
		floor.Store(41)
		after(time.Second)
		wantHeld(t, "above the floor", a, 42)
		floor.Store(42)
		b := start(t, f, "b")
		after(time.Second)
		a.stop()
		after(time.Second)
		wantHeld(t, "a server without a floor", b, 43)
		b.stop()
	})
}

func TestOldSessionIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session")
	keep := func(o *Options) { o.SessionFile = path }
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a", keep)
		after(time.Second)
		// As after a kill: nothing is given back.
		a.c.set(func(c *client) { c.away = true })
		a.stop()
		b := start(t, f, "b", keep)
		after(500 * time.Millisecond)
		wantHeld(t, "the next process", b, 2)
		b.stop()
		c := start(t, f, "c", keep)
		defer c.stop()
		after(500 * time.Millisecond)
		wantHeld(t, "after a clean stop", c, 3)
	})
}

func TestLease(t *testing.T) {
	sent := time.Now()
	tests := map[string]struct {
		l    lease
		now  time.Time
		want bool
	}{
		"none":                   {lease{}, sent, false},
		"at once":                {lease{sent, 5 * time.Second}, sent, true},
		"just before":            {lease{sent, 5 * time.Second}, sent.Add(4999 * time.Millisecond), true},
		"just over":              {lease{sent, 5 * time.Second}, sent.Add(5 * time.Second), false},
		"the machine was asleep": {lease{sent, 5 * time.Second}, asleep(sent, time.Hour), false},
	}
	for name, tt := range tests {
		if got := tt.l.holds(tt.now); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// asleep is sent as a machine sees it that was suspended for d: only its wall
// clock has moved.
func asleep(sent time.Time, d time.Duration) time.Time { return sent.Round(0).Add(d) }

func TestNewRefuses(t *testing.T) {
	c := &client{f: newFake()}
	good := Options{Sessions: c, Lock: c, Me: Info{Name: "a"}}
	for name, mend := range map[string]func(*Options){
		"no lock":     func(o *Options) { o.Lock = nil },
		"no sessions": func(o *Options) { o.Sessions = nil },
		"no name":     func(o *Options) { o.Me.Name = "" },
		"short TTL":   func(o *Options) { o.TTL = 9 * time.Second },
	} {
		o := good
		mend(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Errorf("New = %v", err)
	}
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	unlock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir)
	if diff := cmp.Diff(mesh.Conflict, mesh.CodeOf(err)); diff != "" {
		t.Errorf("LockDir of what is locked (-want +got):\n%s", diff)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	unlock, err = LockDir(dir)
	if err != nil {
		t.Fatalf("LockDir of what was unlocked = %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if _, err := LockDir(filepath.Join(dir, "missing")); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("LockDir of nothing = %v", err)
	}
}
