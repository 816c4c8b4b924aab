package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

// follower watches one job until it has ended, or until only nodes are left
// that nobody can reach, and then says how it went.
type follower struct {
	*app
	client  *client.Client
	id      mesh.JobID
	began   time.Time
	flags   execFlags
	targets map[int]v1.Target // by index; nil until they were read.
	printed map[int]bool      // by --label.
	stale   bool              // the targets are to be read again.
	away    time.Time         // since when the server has not answered; zero while it does.
	back    time.Time         // when it last answered again.
}

const (
	// patience is how long the follower waits for a node that has a link and
	// has said nothing: longer than the poll that covers a lost event and a
	// broken watch, which comes after 75 s at the latest.
	patience = 80 * time.Second
	// comeback is how long nodes may take to link again when the server has
	// been away: they spread themselves over half a minute. Until then a node
	// without a link says nothing about the node.
	comeback = 40 * time.Second
)

func (w *follower) run(ctx context.Context) error {
	err := w.watch(ctx)
	w.clearLine()
	if ctx.Err() != nil {
		return w.interrupted(context.WithoutCancel(ctx))
	}
	if err != nil {
		return fmt.Errorf("follow job %s: %w", w.id, err)
	}
	return w.finish(ctx)
}

// change is one event of the job, or the news that the server is away.
type change struct {
	event v1.Event
	err   error
}

// watch follows the events of the job until no target is open, or waiting for
// the rest makes no sense any more.
func (w *follower) watch(ctx context.Context) error {
	changes := make(chan change)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { w.listen(ctx, changes) })

	silent := time.NewTimer(w.flags.wait)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-changes:
			err := c.err
			if err == nil {
				err = w.apply(ctx, c.event)
			}
			if err := w.endure(err); err != nil {
				return err
			}
			if w.complete() {
				return nil
			}
			if w.stale {
				silent.Reset(time.Second)
			}
			w.progress()
		case <-silent.C:
			left, err := w.giveUp(ctx)
			if err := w.endure(err); err != nil {
				return err
			}
			if err == nil && left == 0 || w.complete() {
				return nil
			}
			silent.Reset(max(left, time.Second))
		}
	}
}

func (w *follower) listen(ctx context.Context, changes chan<- change) {
	for ev, err := range w.client.Events(ctx, []string{"job/" + string(w.id)}, "") {
		select {
		case changes <- change{ev, err}:
		case <-ctx.Done():
			return
		}
	}
}

// endure keeps following while the server is away: a job does not stop with
// it. It says so once, and returns the error when it has lasted too long.
func (w *follower) endure(err error) error {
	if mesh.CodeOf(err) != mesh.Unavailable {
		return err
	}
	if w.away.IsZero() {
		w.away = time.Now()
		w.clearLine()
		fmt.Fprintf(w.err, "alps: the server is away; the job goes on without it, trying again\n")
	}
	if time.Since(w.away) > max(patience, w.flags.wait) {
		return err
	}
	return nil
}

// answered notes that the server is there.
func (w *follower) answered() {
	if !w.away.IsZero() {
		w.away, w.back = time.Time{}, time.Now()
	}
}

// apply takes one event into the picture. A reset, and an event whose content
// the token's scope hides, mean to read all of it.
func (w *follower) apply(ctx context.Context, ev v1.Event) error {
	w.answered()
	if w.stale || w.targets == nil || ev.Type == v1.EventReset || len(ev.Data) == 0 {
		return w.refresh(ctx)
	}
	var changed struct {
		Targets []v1.Target `json:"targets"`
	}
	if err := json.Unmarshal(ev.Data, &changed); err != nil {
		return err
	}
	for _, t := range changed.Targets {
		w.targets[t.Index] = t
	}
	return w.printLabelled(ctx)
}

// refresh reads all targets again. Until that has worked nothing is concluded
// from what was known before.
func (w *follower) refresh(ctx context.Context) error {
	w.stale = true
	all, err := allTargets(ctx, w.client, w.id)
	if err != nil {
		return err
	}
	w.answered()
	w.stale, w.targets = false, make(map[int]v1.Target, len(all))
	for _, t := range all {
		w.targets[t.Index] = t
	}
	return w.printLabelled(ctx)
}

// complete reports whether every target is known to have ended.
func (w *follower) complete() bool {
	return w.targets != nil && !w.stale && !slices.ContainsFunc(w.sorted(), func(t v1.Target) bool { return !t.State.Ended() })
}

// giveUp says how much longer to wait: 0 when --wait is over and nothing but
// silence is left. A node that has taken the job on is waited for until it
// ends; one that has a link gets as long as its poll takes, and any gets time
// to link again when the server was away.
func (w *follower) giveUp(ctx context.Context) (time.Duration, error) {
	if w.stale || w.targets == nil || !w.away.IsZero() {
		if err := w.refresh(ctx); err != nil {
			return 0, err
		}
	}
	if left := w.flags.wait - time.Since(w.began); left > 0 {
		return left, nil
	}
	var silent []mesh.NodeID
	for _, t := range w.targets {
		switch {
		case t.State.Ended():
		case t.State == mesh.Pending:
			silent = append(silent, t.Node)
		default:
			return time.Second, nil
		}
	}
	switch {
	case time.Since(w.back) < comeback:
		return time.Second, nil
	case time.Since(w.began) > max(patience, w.flags.wait):
		return 0, nil
	}
	linked, err := w.client.Nodes(ctx, v1.NodeFilter{Query: "agent=linked", Limit: 10_000})
	if err != nil {
		return 0, err
	}
	for _, n := range linked.Nodes {
		if slices.Contains(silent, n.ID) {
			return time.Second, nil
		}
	}
	return 0, nil
}

// interrupted offers to cancel and reports who has confirmed it.
func (w *follower) interrupted(ctx context.Context) error {
	if !w.confirmCancel(w.flags.yes) {
		fmt.Fprintf(w.err, "alps: the job goes on: alps job show %s, alps job cancel %s\n", w.id, w.id)
		return silentError{exitInterrupted}
	}
	if err := w.cancel(ctx, w.client, w.id, w.flags.key); err != nil {
		return err
	}
	return silentError{exitInterrupted}
}

// finish prints the outcome. It is an error unless every target is OK.
func (w *follower) finish(ctx context.Context) error {
	job, err := w.client.Job(ctx, string(w.id))
	if err != nil {
		return err
	}
	if w.json {
		if err := w.printJobJSON(ctx, w.client, job); err != nil {
			return err
		}
	} else {
		if !w.flags.label {
			if err := w.printGroups(ctx, w.client, job); err != nil {
				return err
			}
		}
		w.printOutcome(job, time.Since(w.began))
	}
	if job.Counts[mesh.OK] != job.Counts.Total() {
		return silentError{exitFailed}
	}
	return nil
}

// printGroups prints what the nodes wrote, once for all that wrote the same.
func (a *app) printGroups(ctx context.Context, c *client.Client, job v1.Job) error {
	for _, g := range job.Groups {
		if g.Stdout.Digest == "" && g.Stderr.Digest == "" {
			continue
		}
		fmt.Fprintf(a.out, "---- %s (%d)%s\n", g.Nodes, g.Count, groupNote(g))
		if err := a.printStream(ctx, c, job.ID, g.Stdout, ""); err != nil {
			return err
		}
		if err := a.printStream(ctx, c, job.ID, g.Stderr, "stderr: "); err != nil {
			return err
		}
	}
	return nil
}

func groupNote(g v1.Group) string {
	if g.State == mesh.OK {
		return ""
	}
	return " " + stateText(g.State, g.Code, g.Signal)
}

// stateText is a state with the number or name that belongs to it.
func stateText(s mesh.State, code int, signal string) string {
	switch {
	case s == mesh.Failed && code != 0:
		return fmt.Sprintf("%s(%d)", s, code)
	case s == mesh.Signaled:
		return fmt.Sprintf("%s(%s)", s, signal)
	default:
		return string(s)
	}
}

func (a *app) printStream(ctx context.Context, c *client.Client, id mesh.JobID, o mesh.Output, prefix string) error {
	if o.Digest == "" {
		return nil
	}
	body, err := body(ctx, c, id, o)
	if mesh.CodeOf(err) == mesh.NotFound || mesh.CodeOf(err) == mesh.Unavailable {
		fmt.Fprintf(a.out, "%s(%d bytes that the node has not delivered yet: alps job show %s)\n", prefix, o.Bytes, id)
		return nil
	}
	if err != nil {
		return err
	}
	for line := range bytes.Lines(body) {
		fmt.Fprintf(a.out, "%s%s\n", prefix, printableLine(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return nil
}

// body is the kept output: it came along when it was short, otherwise the
// server has it, or will have it in a moment.
func body(ctx context.Context, c *client.Client, id mesh.JobID, o mesh.Output) ([]byte, error) {
	if len(o.Inline) > 0 {
		return o.Inline, nil
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		b, err := c.Output(ctx, string(id), o.Digest)
		if err == nil || time.Now().After(deadline) || mesh.CodeOf(err) != mesh.NotFound && mesh.CodeOf(err) != mesh.Unavailable {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// printableLine keeps tabs and colours out of trouble: other control
// characters could rewrite what the operator has read.
func printableLine(b []byte) string {
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r == '\t' || !unprintable(r) {
			return r
		}
		return '?'
	}, s)
}

// printOutcome says who is not OK and why, and the sum. It goes to stderr, so
// that stdout holds what the nodes wrote and nothing else.
func (w *follower) printOutcome(job v1.Job, took time.Duration) {
	for _, g := range job.Groups {
		if g.State == mesh.OK {
			continue
		}
		fmt.Fprintf(w.err, "%-12s %s (%d)%s\n", stateText(g.State, g.Code, g.Signal), g.Nodes, g.Count, dash(w.reason(g)))
	}
	total := job.Counts.Total()
	fmt.Fprintf(w.err, "%d of %d OK in %s, job %s%s\n", job.Counts[mesh.OK], total, took.Round(time.Millisecond), job.ID, w.openNote(job))
}

func (w *follower) reason(g v1.Group) string {
	if g.State == mesh.Pending && g.Reason == "" {
		return "missing: no word from the node"
	}
	return g.Reason
}

func (w *follower) openNote(job v1.Job) string {
	if n := job.Counts.Open(); n > 0 {
		return fmt.Sprintf("; %d still open until %s", n, job.Expires.Local().Format(time.TimeOnly))
	}
	return ""
}

func dash(s string) string {
	if s == "" {
		return ""
	}
	return "  " + printable(s)
}

// printLabelled prints, with --label, the output of nodes that have ended
// since the last call, each line behind its node's name.
func (w *follower) printLabelled(ctx context.Context) error {
	if !w.flags.label {
		return nil
	}
	if w.printed == nil {
		w.printed = make(map[int]bool)
	}
	for _, t := range w.sorted() {
		if !t.State.Ended() || w.printed[t.Index] {
			continue
		}
		w.printed[t.Index] = true
		w.clearLine()
		for _, o := range []mesh.Output{t.Stdout, t.Stderr} {
			if err := w.printStream(ctx, w.client, w.id, o, string(t.Name)+": "); err != nil {
				return err
			}
		}
	}
	return nil
}

// sorted is the targets in the order of the job's list, which is that of the
// names.
func (w *follower) sorted() []v1.Target {
	list := make([]v1.Target, 0, len(w.targets))
	for _, i := range slices.Sorted(maps.Keys(w.targets)) {
		list = append(list, w.targets[i])
	}
	return list
}

// progress keeps one line on a terminal up to date: the counts, and who is
// still open. Where stderr is no terminal it says nothing.
func (w *follower) progress() {
	if !w.interactive() || w.json {
		return
	}
	counts := make(mesh.Counts)
	var open []string
	for _, t := range w.targets {
		counts[t.State]++
		if !t.State.Ended() {
			open = append(open, string(t.Name))
		}
	}
	line := fmt.Sprintf("%d of %d ended", counts.Total()-counts.Open(), counts.Total())
	if counts.Open() > 0 {
		line += ", open: " + nodeset.Fold(open)
	}
	if width := w.width() - 1; len(line) > width {
		line = line[:max(0, width)]
	}
	fmt.Fprintf(w.err, "\r\x1b[K%s", line)
}

func (w *follower) clearLine() {
	if w.interactive() && !w.json {
		fmt.Fprint(w.err, "\r\x1b[K")
	}
}

// interactive reports whether a person reads stderr as it is written.
func (a *app) interactive() bool {
	f, ok := a.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width of the terminal in columns, 80 when nobody knows.
func (a *app) width() int {
	if f, ok := a.err.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}
