package check

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	// maxReport is how many bytes of JSON go into one report: the link takes
	// 64 KiB.
	maxReport = 60 << 10
	// maxChanges bounds what is kept while Reports takes nothing. Over it the
	// oldest go: the newest say what is.
	maxChanges = 2000
	// fullWait is how long a full report waits for first results.
	fullWait = 15 * time.Second
	// sendRetry lies between two tries when Reports takes nothing.
	sendRetry = time.Second
)

// outbox hands results to Reports, all of them from one goroutine, so that
// what is said last arrives last.
type outbox struct {
	reports  Reports
	linked   func() bool
	log      hclog.Logger
	snapshot func() (all []mesh.CheckResult, complete bool)
	save     func()
	wake     chan struct{}

	mu      sync.Mutex
	changes []*mesh.CheckResult          // to be sent at once, durable.
	asked   []*mesh.CheckResult          // to be sent at once.
	routine map[string]*mesh.CheckResult // to be sent when it is time.
	removed []string
	full    time.Time // when a full report was asked for; zero: it was not.

	// What follows belongs to run's goroutine.
	failed   bool // Reports took nothing the last time.
	unsaved  bool // something has changed since save.
	nextTick time.Time
}

func newOutbox(o *Options, snapshot func() ([]mesh.CheckResult, bool), save func()) *outbox {
	return &outbox{
		reports: o.Reports, linked: o.Linked, log: o.Logger, snapshot: snapshot, save: save,
		wake: make(chan struct{}, 1), routine: map[string]*mesh.CheckResult{},
	}
}

// add takes a result, which is not changed any more. It never blocks.
func (b *outbox) add(r *mesh.CheckResult, changed, asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removed = slices.DeleteFunc(b.removed, func(id string) bool { return id == r.Check })
	delete(b.routine, r.Check) // older than this one.
	switch {
	case changed:
		b.changes = append(b.changes, r)
		if over := len(b.changes) - maxChanges; over > 0 {
			b.changes = slices.Delete(b.changes, 0, over)
		}
	case asked:
		b.asked = append(b.asked, r)
	default:
		b.routine[r.Check] = r
		return
	}
	b.signal()
}

// gone says that a check is no more. It never blocks.
func (b *outbox) gone(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.routine, id)
	if !slices.Contains(b.removed, id) {
		b.removed = append(b.removed, id)
	}
	b.signal()
}

func (b *outbox) resend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full.IsZero() {
		b.full = time.Now()
	}
	b.signal()
}

func (b *outbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx ends. What has changed by then is still sent.
func (b *outbox) run(ctx context.Context) {
	b.nextTick = time.Now().Add(ReportEvery)
	timer := time.NewTimer(ReportEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			b.urgent()
			return
		case <-b.wake:
		case <-timer.C:
		}
		b.urgent()
		b.sendFull()
		if !time.Now().Before(b.nextTick) {
			b.tick()
			b.nextTick = time.Now().Add(ReportEvery)
		}
		timer.Reset(b.pause())
	}
}

// pause is how long there is nothing to do unless somebody wakes us.
func (b *outbox) pause() time.Duration {
	p := time.Until(b.nextTick)
	b.mu.Lock()
	waiting := !b.full.IsZero()
	b.mu.Unlock()
	if b.failed || waiting {
		p = min(p, sendRetry)
	}
	return max(p, time.Millisecond)
}

// urgent sends what cannot wait.
func (b *outbox) urgent() {
	b.mu.Lock()
	changes, asked, removed := b.changes, b.asked, b.removed
	b.changes, b.asked, b.removed = nil, nil, nil
	b.mu.Unlock()
	b.unsaved = b.unsaved || len(changes)+len(removed) > 0
	sent, err := b.sendAll(changes, false, true)
	if err == nil {
		_, err = b.sendAll(asked, false, false) // one that is lost is asked for again.
	}
	if err == nil && len(removed) > 0 {
		err = b.send(mesh.CheckReport{Gone: removed}, true)
	}
	if err == nil {
		b.failed = false
		return
	}
	b.complain(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(changes[sent:len(changes):len(changes)], b.changes...)
	for _, id := range removed {
		back := func(r *mesh.CheckResult) bool { return r.Check == id }
		if !slices.ContainsFunc(b.changes[len(changes)-sent:], back) && !slices.Contains(b.removed, id) {
			b.removed = append(b.removed, id)
		}
	}
}

// sendFull sends everything, if it was asked for and everything is known, or
// was waited for long enough.
func (b *outbox) sendFull() {
	b.mu.Lock()
	since := b.full
	b.mu.Unlock()
	if since.IsZero() || b.failed {
		return
	}
	all, complete := b.snapshot()
	if !complete && time.Since(since) < fullWait {
		return
	}
	list := make([]*mesh.CheckResult, len(all))
	for i := range all {
		list[i] = &all[i]
	}
	if _, err := b.sendAll(list, true, false); err != nil {
		b.complain(err)
		return
	}
	b.mu.Lock()
	if b.full.Equal(since) {
		b.full = time.Time{}
	}
	b.mu.Unlock()
}

// tick sends what only says that all is as it was. Without a link that is
// dropped: the next one begins with a full report.
func (b *outbox) tick() {
	b.mu.Lock()
	list := make([]*mesh.CheckResult, 0, len(b.routine))
	for _, r := range b.routine {
		list = append(list, r)
	}
	clear(b.routine)
	b.mu.Unlock()
	if len(list) > 0 && b.linked() {
		if _, err := b.sendAll(list, false, false); err != nil {
			b.complain(err)
		}
	}
	if b.unsaved {
		b.unsaved = false
		b.save()
	}
}

// sendAll sends results in as many reports as they need, and returns how many
// of the results were taken. Only the first report of a full one says so: the
// rest follows at once and adds to it.
func (b *outbox) sendAll(list []*mesh.CheckResult, full, durable bool) (sent int, err error) {
	for sent < len(list) || full {
		r := mesh.CheckReport{Full: full}
		size := 0
		for _, res := range list[sent:] {
			fitting, n := fit(res)
			if size += n; size > maxReport && len(r.Results) > 0 {
				break
			}
			r.Results = append(r.Results, fitting)
		}
		if err := b.send(r, durable); err != nil {
			return sent, err
		}
		sent += len(r.Results)
		full = false
	}
	return sent, nil
}

func (b *outbox) send(r mesh.CheckReport, durable bool) error {
	return b.reports.Send(r, durable)
}

// complain logs the first of several failures in a row.
func (b *outbox) complain(err error) {
	if !b.failed {
		b.log.Error("results cannot be handed over; trying again", "error", err)
	}
	b.failed = true
}

// fit returns a result that fits into a report, and its size there. What is
// left out first is what is needed least.
func fit(r *mesh.CheckResult) (mesh.CheckResult, int) {
	out := *r
	n := sizeOf(&out)
	if n > maxReport && len(out.Samples) > 0 {
		out.Samples, out.Truncated = nil, true
		n = sizeOf(&out)
	}
	if n > maxReport {
		out.Notes, out.Truncated = "", true
		n = sizeOf(&out)
	}
	if n > maxReport {
		out.Output = ""
		n = sizeOf(&out)
	}
	return out, n
}

func sizeOf(r *mesh.CheckResult) int {
	b, err := json.Marshal(r)
	if err != nil {
		return maxReport // cannot be: its numbers are finite.
	}
	return len(b) + 1
}
