package leader

import (
	"context"
	"testing"
	"time"

	"alps/mesh"
)

// TestStands goes through who may take in what agents say: the leader, and
// the last one while nobody can know better.
func TestStands(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		stands := func(when string, s *server, want mesh.Code) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if got := mesh.CodeOf(s.Stands(ctx)); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		b := start(t, f, "b")
		defer b.stop()
		after(time.Second)
		stands("leading", a, "")
		stands("standing by", b, mesh.Unavailable)

		a.c.set(func(c *client) { c.away = true })
		after(8 * time.Second)
		wantHeld(t, "cut off", a, 0)
		stands("cut off, nobody else leads", a, "")
		after(20 * time.Second)
		wantHeld(t, "took over", b, 2)
		stands("cut off, and cannot know that another leads", a, "")

		a.c.set(func(c *client) { c.away = false })
		after(5 * time.Second)
		stands("it knows now", a, mesh.Unavailable)
		stands("took over", b, "")
	})
}

// TestStandsAfterAStop is a process that was stopped for longer than its
// lease: it must look before it says anything.
func TestStandsAfterAStop(t *testing.T) {
	world(t, func(t *testing.T, f *fake) {
		a := start(t, f, "a")
		defer a.stop()
		after(time.Second)
		b := start(t, f, "b")
		defer b.stop()
		after(time.Second)
		a.c.set(func(c *client) { c.hang, c.blind = time.Minute, true })
		after(40 * time.Second)
		wantHeld(t, "took over", b, 2)
		if _, ok := a.Incumbent(); !ok {
			t.Fatal("a is no incumbent: it has been told, and the test shows nothing")
		}
		began := time.Now()
		if err := a.Stands(t.Context()); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("a stands: %v", err)
		}
		if time.Since(began) == 0 {
			t.Error("a did not wait to be told")
		}
	})
}
