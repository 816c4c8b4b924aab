package linktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	agentlink "alps/agent/link"
	"alps/mesh/frame"
)

// TestNothingIsLost sends messages while links break, the server restarts and
// the agent's process ends and begins again, and then checks that every
// message was committed, in the order of its boot, and that one server never
// committed one twice.
func TestNothingIsLost(t *testing.T) {
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		if checks++; checks > 25 { // each costs real connections.
			return
		}
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		p := newProxy(t, func() string { return w.addr })
		defer p.close()
		id := w.enrol()
		dir := t.TempDir()
		spool := func(o *agentlink.Options) { o.Servers = agentlink.Fixed(p.addr()) }
		l := w.agent(id, dir, spool)
		stop := run(t, l.Run)
		defer func() { stop() }()
		sent, seen := 0, 0

		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"send", "send", "send", "cut", "restart agent", "restart server", "wait"}).Draw(rt, "step") {
			case "send":
				for range rapid.IntRange(1, 40).Draw(rt, "messages") {
					sent++
					body := strings.Repeat("x", rapid.SampledFrom([]int{0, 10, 2000}).Draw(rt, "size"))
					if err := l.Send(frame.Exec, fmt.Appendf(nil, "%d.%s", sent, body), rapid.Bool().Draw(rt, "durable")); err != nil {
						rt.Fatal(err)
					}
				}
			case "cut":
				p.cut()
			case "restart agent":
				stop()
				l = w.agent(id, dir, spool)
				stop = run(t, l.Run)
			case "restart server":
				w.stop()
				checkOnce(t, w.log.all()[seen:])
				seen = len(w.log.all())
				w.start()
			case "wait":
				time.Sleep(time.Duration(rapid.IntRange(0, 5).Draw(rt, "ms")) * time.Millisecond)
			}
		}
		eventually(t, "all have come", func() bool { return l.Status().Spool.Waiting == 0 && distinct(w.log.all()) == sent })
		checkOrder(t, w.log.all(), false)
		checkOnce(t, w.log.all()[seen:])
		if w.log.doubly {
			rt.Error("two commits at once for one node")
		}
	})
}

// distinct counts messages, repetitions once.
func distinct(got []string) int {
	got = slices.Clone(got)
	slices.Sort(got)
	return len(slices.Compact(got))
}

// checkOnce checks what one server has committed in its life: no repetitions.
func checkOnce(t testing.TB, got []string) {
	t.Helper()
	if n := distinct(got); n != len(got) {
		t.Errorf("one server committed %d of %d messages twice", len(got)-n, len(got))
	}
}
