package job

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
)

// actorServer stands in the audit for what the server does by itself.
const actorServer = "alps"

const (
	maxReason = 1 << 10 // bytes of a report's reason that are kept.
	maxWanted = 3       // nodes remembered to have an output that is not kept.
)

// Commit takes what a node says of its jobs. It may be called again with the
// same reports, and they may come in any order. When it returns nil every end
// among them is stored. Reports that make no sense or that the node may not
// make are refused, with an audit line, and do not hold up the others: the
// error, of code mesh.Invalid or mesh.Denied, names them, and everything else
// is stored. An error of another code means that nothing is stored.
func (s *Service) Commit(ctx context.Context, from mesh.NodeID, reports []mesh.Report) error {
	var refused error
	var ask []string
	err := s.enter(ctx, func(ctx context.Context, b *batch) error {
		for i := range reports {
			news, err := b.report(ctx, from, &reports[i])
			switch code := mesh.CodeOf(err); code {
			case "":
				ask = append(ask, news...)
			case mesh.Invalid, mesh.Denied:
				b.refuse(from, &reports[i], err)
				refused = errors.Join(refused, err)
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(ask) > 0 {
		s.asks.add(from, ask)
	}
	return refused
}

// report takes one report and returns the digests of the outputs that are to
// be asked for.
func (b *batch) report(ctx context.Context, from mesh.NodeID, r *mesh.Report) ([]string, error) {
	if err := checkReport(from, r); err != nil {
		return nil, err
	}
	l, err := b.s.find(ctx, r.Job)
	if mesh.CodeOf(err) == mesh.NotFound {
		return nil, mesh.Errorf(mesh.Invalid, "report of %s on job %s: no such job", from, r.Job)
	}
	if err != nil {
		return nil, err
	}
	i, ok := l.byNode[from]
	if !ok {
		return nil, mesh.Errorf(mesh.Denied, "report of %s on job %s: the node is not in its list", from, r.Job)
	}
	e := b.edit(l)
	switch {
	case r.Attempt > e.job.Attempt:
		return nil, mesh.Errorf(mesh.Invalid, "report of %s on job %s: attempt %d has not begun", from, r.Job, r.Attempt)
	case r.Attempt < e.job.Attempt:
		return nil, nil // late, and of no interest any more.
	}
	t, ok := apply(e.target(i), r)
	if !ok {
		return nil, nil
	}
	ask, err := b.keepOutputs(ctx, from, r)
	if err != nil {
		return nil, err
	}
	e.set(t)
	return ask, nil
}

// apply says what a target is after a report, and whether that is anything
// new. What the server concluded from silence gives way to the node's own
// word of the same.
func apply(t Target, r *mesh.Report) (Target, bool) {
	next := t.State.Next(r.State)
	confirms := next == t.State && t.Inferred && r.State == t.State
	if next == t.State && !confirms {
		if t.Woke == "" && r.Woke != "" { // the first word was overtaken by a later one.
			t.Woke = r.Woke
			return t, true
		}
		return t, false
	}
	t.State, t.Inferred = next, false
	t.Reason, t.Code, t.Signal, t.At = r.Reason, r.Code, r.Signal, r.At.UTC()
	if !r.Started.IsZero() {
		t.Started = r.Started.UTC()
	}
	if !r.Ended.IsZero() {
		t.Ended = r.Ended.UTC()
	}
	if r.Woke != "" && t.Woke == "" {
		t.Woke = r.Woke
	}
	if next.Ended() {
		t.Stdout, t.Stderr = r.Stdout, r.Stderr
		t.Stdout.Inline, t.Stderr.Inline = nil, nil
	}
	return t, true
}

// keepOutputs stores the bodies that came with a report, and returns the
// digests of those that did not and are not kept.
func (b *batch) keepOutputs(ctx context.Context, from mesh.NodeID, r *mesh.Report) ([]string, error) {
	var absent []string
	for _, o := range []mesh.Output{r.Stdout, r.Stderr} {
		switch {
		case o.Digest == "":
		case len(o.Inline) > 0:
			if !b.s.asks.known(o.Digest) {
				b.outputs[o.Digest] = o.Inline
				b.after = append(b.after, func() { b.s.asks.kept(o.Digest) })
			}
		case !b.s.asks.known(o.Digest):
			absent = append(absent, o.Digest)
		}
	}
	if len(absent) == 0 {
		return nil, nil
	}
	kept, err := b.s.o.History.KnownOutputs(ctx, absent)
	if err != nil {
		return nil, err
	}
	absent = slices.DeleteFunc(absent, func(d string) bool { return slices.Contains(kept, d) || b.outputs[d] != nil })
	for _, d := range absent {
		if n := len(b.wanted[d]); n < maxWanted && b.s.asks.holders(d)+n < maxWanted {
			b.wanted[d] = append(b.wanted[d], from)
		}
	}
	return absent, nil
}

// refuse records a report that is not taken. A node that repeats itself is
// recorded once in a while.
func (b *batch) refuse(from mesh.NodeID, r *mesh.Report, why error) {
	if !b.s.asks.first(string(from) + "/" + string(r.Job) + "/" + why.Error()) {
		return
	}
	b.s.log.Warn("a report is refused", "node", from, "job", strconv.Quote(string(r.Job)), "reason", why)
	b.audit = append(b.audit, mesh.Audit{
		Time: time.Now(), Actor: "node/" + string(from), Action: "job.report", Object: string(r.Job),
		Outcome: mesh.OutcomeRefused, Reason: why.Error(),
	})
}

// checkReport refuses what makes no sense in itself, and bounds what is kept
// of it.
func checkReport(from mesh.NodeID, r *mesh.Report) error {
	if r.Node != from {
		return mesh.Errorf(mesh.Denied, "report of %s in the name of %q", from, string(r.Node))
	}
	bad := func(what string) error {
		return mesh.Errorf(mesh.Invalid, "report of %s on job %q: %s", from, string(r.Job), what)
	}
	if _, err := mesh.ParseJobID(string(r.Job)); err != nil {
		return bad("not the form of a job's id")
	}
	if _, err := mesh.ParseState(string(r.State)); err != nil || r.State == mesh.Pending || r.State == mesh.Skipped {
		return bad("a node cannot be in state " + strconv.Quote(string(r.State)))
	}
	switch r.Woke {
	case "", mesh.WokeEvent, mesh.WokeWatch, mesh.WokePoll, mesh.WokeStart:
	default:
		return bad("unknown cause of waking " + strconv.Quote(string(r.Woke)))
	}
	if len(r.Stdout.Inline)+len(r.Stderr.Inline) > mesh.MaxInlineOutput {
		return bad("its output is too long to travel with it")
	}
	for _, o := range []mesh.Output{r.Stdout, r.Stderr} {
		if o.Digest != "" && !isDigest(o.Digest) || o.Bytes < 0 {
			return bad("its output has no proper digest")
		}
		if len(o.Inline) > 0 && mesh.Digest(o.Inline) != o.Digest {
			return bad("its output is not what its digest says")
		}
	}
	if len(r.Reason) > maxReason {
		r.Reason = r.Reason[:maxReason]
	}
	r.Reason = strings.ToValidUTF8(r.Reason, "\uFFFD")
	if len(r.Signal) > 32 {
		r.Signal = r.Signal[:32]
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// countDetail puts counts into an audit line.
func countDetail(c mesh.Counts) map[string]string {
	d := make(map[string]string, len(c))
	for state, n := range c {
		d[string(state)] = strconv.Itoa(n)
	}
	return d
}
