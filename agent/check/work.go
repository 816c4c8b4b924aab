package check

import (
	"container/heap"
	"context"
	"math"
	"strings"
	"time"

	"alps/agent/check/plugin"
	"alps/mesh"
)

// dispatch starts what is due until ctx ends.
func (e *Engine) dispatch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.wake:
		}
		if next, ok := e.startDue(ctx); ok {
			timer.Reset(time.Until(next))
		}
	}
}

// startDue starts what is due and returns when the next is.
func (e *Engine) startDue(ctx context.Context) (next time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for len(e.due) > 0 && !e.due[0].due.After(now) {
		c, _ := heap.Pop(&e.due).(*entry)
		c.running = true
		e.ready = append(e.ready, c)
	}
	for len(e.ready) > 0 && e.active < e.concurrency {
		c := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		switch {
		case c.gone, observed(&c.def):
			c.running = false
		default:
			e.startLocked(ctx, c)
		}
	}
	if len(e.due) == 0 {
		return time.Time{}, false
	}
	return e.due[0].due, true
}

// startLocked runs a check in a goroutine of its own.
func (e *Engine) startLocked(ctx context.Context, c *entry) {
	runCtx, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	e.active++
	def, gen, stuck := c.def, c.gen, c.stuck
	e.runs.Go(func() {
		defer cancel()
		began := time.Now()
		o := e.asker.ask(runCtx, &def, stuck)
		ended := time.Now()
		o.at, o.took = ended, ended.Sub(began)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.finishLocked(runCtx, c, gen, &o)
	})
}

// finishLocked takes the outcome of a run, and has the next one come.
func (e *Engine) finishLocked(runCtx context.Context, c *entry, gen int, o *outcome) {
	e.active--
	c.running, c.cancel, c.stuck = false, nil, o.left
	defer e.signal()
	if c.gone {
		return
	}
	// An outcome of a run that was cancelled says nothing of what was asked.
	if c.gen == gen && runCtx.Err() == nil {
		e.recordLocked(c, o)
		c.due = e.nextDue(c, o.at)
		c.first = false
	}
	if observed(&c.def) {
		return
	}
	if c.again {
		c.again, c.asked, c.due = false, true, o.at
	}
	e.due.put(c)
}

func (e *Engine) nextDue(c *entry, now time.Time) time.Time {
	if !c.first {
		return following(c.due, c.def.Interval, now)
	}
	next := onGrid(e.o.Node, &c.def, c.due)
	if !next.After(now) {
		next = following(next, c.def.Interval, now)
	}
	return next
}

// recordLocked makes a result of an outcome and tells both readers.
func (e *Engine) recordLocked(c *entry, o *outcome) {
	was := c.standing
	c.standing = was.judge(o.status, attempts(&c.def), o.at)
	c.seq++
	r := &mesh.CheckResult{
		Seq: c.seq, Status: o.status, Hard: hardOf(c.standing), HardSince: c.standing.hardSince,
		Attempt: c.standing.attempt, Flapping: c.standing.flapping,
		Timeout: o.timeout, Code: o.code, Truncated: o.truncated, Samples: tidySamples(o.samples), Disks: mesh.Disks(o.disks), At: o.at, Took: o.took,
	}
	var cut bool
	r.Output, cut = tidy(o.output)
	r.Truncated = r.Truncated || cut
	c.describe(r)
	changed := c.last == nil || was.differs(c.standing)
	c.last, c.restored = r, false
	if !observed(&c.def) {
		e.mirror.tell(r)
	}
	e.outbox.add(r, changed, c.asked)
	c.asked = false
}

// hardOf is unknown as long as nothing was confirmed.
func hardOf(s standing) mesh.Health {
	if s.hard == "" {
		return mesh.HealthUnknown
	}
	return s.hard
}

// tidy brings foreign text into the form in which it is kept: valid UTF-8, no
// control characters but line ends and tabs, at most mesh.MaxCheckOutput bytes.
func tidy(s string) (out string, cut bool) {
	if len(s) > 2*mesh.MaxCheckOutput {
		s, cut = s[:2*mesh.MaxCheckOutput], true // the rest need not be looked at.
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) > mesh.MaxCheckOutput {
		s, cut = strings.ToValidUTF8(s[:mesh.MaxCheckOutput], ""), true
	}
	return s, cut
}

// tidySamples leaves out what cannot be sent: numbers that are none, and more
// than a result may carry. The last one, the latency, always stays.
func tidySamples(list []mesh.Sample) []mesh.Sample {
	out := make([]mesh.Sample, 0, min(len(list), plugin.MaxSamples))
	for i, s := range list {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.Name == "" {
			continue
		}
		if len(out) < plugin.MaxSamples-1 || i == len(list)-1 {
			out = append(out, s)
		}
	}
	return out
}
