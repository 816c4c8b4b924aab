package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// self is the actor of what nobody asked for.
const self = "alps"

// verdict is what a rule makes of a check.
type verdict int

const (
	silent verdict = iota // nothing can be said.
	bad
	good
)

// look is everything that decides what becomes of one problem.
type look struct {
	rule   *rule
	state  mesh.CheckState
	now    time.Time
	reopen time.Duration
	// frozen: Consul's catalog cannot be believed now.
	frozen bool
	// queued: state is how the check was when that was queued, not as it is.
	queued bool
	// covered: the node is in the rule's target. It is asked to open.
	covered bool
	// same is the open incident of a disk that state names, another problem's:
	// what would open joins it. Nil: there is none.
	same *Record
	// mended is when a good result has closed the incident that this problem had
	// joined: what is older may be about a disk that was broken then. Zero:
	// nothing of that kind.
	mended time.Time
}

func (l *look) verdict() verdict {
	s := &l.state
	switch {
	case l.frozen && s.Source == mesh.SourceCatalog:
		return silent
	case unknown(s):
		if s.AgentLost || !l.rule.lists(mesh.HealthUnknown) || s.Received.IsZero() {
			return silent
		}
		return bad
	case l.rule.lists(s.Status):
		return bad
	}
	return good
}

func unknown(s *mesh.CheckState) bool { return s.Status == mesh.HealthUnknown || s.Status == "" }

// held is for how long the check is known to have its status.
func (l *look) held() time.Duration {
	s := &l.state
	if r := &s.Result; s.Source == mesh.SourceLink && s.Status == r.Hard &&
		!r.At.IsZero() && !r.HardSince.IsZero() && !s.Received.IsZero() {
		return max(0, r.At.Sub(r.HardSince)) + max(0, l.now.Sub(s.Received))
	}
	if s.Since.IsZero() {
		return max(0, l.now.Sub(s.Received))
	}
	return max(0, l.now.Sub(s.Since))
}

// fired is when what opens an incident was received: a good result may have
// come since, and be decided on next.
func (l *look) fired() time.Time {
	if at := l.state.Received; !at.IsZero() && at.Before(l.now) {
		return at
	}
	return l.now
}

// began is when the check turned bad, by its node's clock.
func (l *look) began() time.Time {
	for _, t := range []time.Time{l.state.Result.HardSince, l.state.Since, l.state.Received} {
		if !t.IsZero() {
			return stored(t)
		}
	}
	return stored(l.now)
}

// outcome is what one step has decided. Nothing has happened yet.
type outcome struct {
	Change

	changed bool
	// again is when the same state would decide differently, because time has
	// passed; zero: never.
	again time.Time
	// joins: it would open, and is told in look.same in place of that.
	joins bool
}

// step decides what becomes of the problem that rec, which may be nil, is the
// last known incident of. It changes nothing that it was given, and with the
// same arguments decides the same but for the id of a new incident.
func step(rec *Record, l look) outcome {
	var o outcome
	if rec != nil {
		o.Record = *rec
		o.Record.Told = slices.Clone(rec.Told)
		if l.queued && !unknown(&l.state) && l.state.Received.Before(rec.seen) {
			return o // older than what was decided on.
		}
		if l.state.Received.After(rec.seen) {
			o.Record.seen = l.state.Received
		}
	}
	if rec.open() {
		o.follow(&l)
	} else {
		o.consider(rec != nil, &l)
	}
	return o
}

// consider decides for a problem that is not open, known or not.
func (o *outcome) consider(known bool, l *look) {
	switch l.verdict() {
	case silent:
	case good:
		if known && o.Record.Muted && l.state.Received.After(o.Record.Closed) {
			o.Record.Muted = false
			o.line(l, mesh.EventRecovered, describe(&l.state))
		}
	case bad:
		switch held := l.held(); {
		case known && o.Record.Muted, !l.covered:
		case held < l.rule.For:
			o.again = l.now.Add(l.rule.For - held)
		case l.same != nil:
			o.joins = true
		case !l.state.Received.After(l.mended) && l.now.Before(l.mended.Add(l.state.Result.Period)):
			o.again = l.mended.Add(l.state.Result.Period)
		case known && l.now.Sub(o.Record.Closed) <= l.reopen:
			o.Record.Began = l.began()
			o.Record.Health, o.Record.Output = l.state.Status, l.state.Result.Output
			o.Record.Disks = l.state.Result.Disks
			o.refresh(l)
			o.reopened(l.now, self, describe(&l.state), l.rule.Notify)
			o.Record.Fired = l.fired()
			if l.state.Result.Flapping {
				o.flap(l)
			}
		default:
			o.opened(l)
		}
	}
}

// opened makes a new incident.
func (o *outcome) opened(l *look) {
	s, r := &l.state, l.rule
	now := stored(l.now)
	o.Record = Record{
		Incident: mesh.Incident{
			ID: mesh.NewIncidentID(), Rule: r.Name, DC: s.DC, Node: s.Node, Service: s.Result.Service,
			Status: mesh.IncidentOpen, Health: s.Status, Output: s.Result.Output, Began: l.began(), Opened: now,
			Disks: s.Result.Disks,
		},
		CheckID: s.Result.Check, Fired: l.fired(), seen: s.Received,
	}
	if !ofNode(s.Result.Check) && r.Name != RuleConsulUnavailable {
		o.Record.Check = s.Result.Check
	}
	o.refresh(l)
	o.line(l, mesh.EventCheck, describe(s))
	text := "rule " + r.Name
	if r.For > 0 {
		text += fmt.Sprintf(": for %s", r.For)
	}
	o.line(l, mesh.EventOpened, text)
	if s.Result.Flapping {
		o.flap(l)
	}
	o.tell(l.now, DeliveryFiring, "", r.Notify)
}

// refresh takes over what the rule says now.
func (o *outcome) refresh(l *look) {
	r := l.rule
	i := &o.Record.Incident
	i.Severity, i.Summary, i.Owner, i.Runbook = r.Severity, r.Summary, r.Owner, r.Runbook
	if i.Summary == "" {
		name := l.state.Result.Name
		if name == "" {
			name = l.state.Result.Check
		}
		i.Summary = fmt.Sprintf("%s is %s on %s", name, i.Health, i.Node)
	}
}

// reopened opens a closed incident again.
func (o *outcome) reopened(now time.Time, actor, text string, receivers []string) {
	r := &o.Record
	r.Status, r.AckedBy, r.ClosedBy, r.Closed = mesh.IncidentOpen, "", "", time.Time{}
	r.Muted, r.Lost, r.Flapping, r.Flaps, r.Joined = false, false, false, 0, nil
	r.Fired = now
	r.Reopened++
	o.add(now, mesh.EventReopened, actor, text)
	o.tell(now, DeliveryFiring, "", receivers)
}

// follow decides for an open incident.
func (o *outcome) follow(l *look) {
	s, r := &l.state, &o.Record
	v := l.verdict()
	if v == silent {
		o.frozen(l)
		return
	}
	if r.Lost {
		r.Lost = false
		o.line(l, mesh.EventCheck, "the agent is back: "+describe(s))
		r.Health, r.Output = s.Status, s.Result.Output
	}
	switch {
	case s.Result.Flapping && !r.Flapping:
		o.flap(l)
	case !s.Result.Flapping && r.Flapping:
		o.line(l, mesh.EventCheck, fmt.Sprintf("it flaps no more, after %d changes", r.Flaps))
		r.Flapping, r.Flaps = false, 0
	}
	if s.Status != r.Health {
		r.Health, r.Output = s.Status, s.Result.Output
		o.touch(l.now)
		if r.Flapping {
			r.Flaps++
		} else if v == bad || !s.Received.After(r.Fired) {
			o.line(l, mesh.EventCheck, describe(s))
		}
	} else if r.Output != s.Result.Output && l.now.Sub(r.Updated) >= outputEvery {
		r.Output = s.Result.Output
		o.touch(l.now)
	}
	if v == bad {
		o.disks(l)
	}
	if v == good && !r.Flapping && s.Received.After(r.Fired) {
		o.line(l, mesh.EventRecovered, describe(s))
		o.closed(l.now, self, "recovered after "+span(r.Fired, l.now))
	}
}

// outputEvery bounds how often an open incident is written because the words
// of its check have changed and nothing else.
const outputEvery = time.Minute

// frozen notes why an open incident does not move.
func (o *outcome) frozen(l *look) {
	s, r := &l.state, &o.Record
	switch {
	case s.AgentLost && unknown(s) && !r.Lost:
		r.Lost, r.Health = true, mesh.HealthUnknown
		o.line(l, mesh.EventCheck, "agent lost: how it is now is not known")
	case !s.AgentLost && !r.Lost && !l.frozen && unknown(s) && r.Health != mesh.HealthUnknown && !s.Received.IsZero():
		r.Health = mesh.HealthUnknown
		if r.Flapping {
			r.Flaps++
			o.touch(l.now)
			return
		}
		o.line(l, mesh.EventCheck, describe(s))
	}
}

func (o *outcome) flap(l *look) {
	o.Record.Flapping, o.Record.Flaps = true, 0
	o.line(l, mesh.EventCheck, "it flaps: the incident stays open until it is quiet, and the changes are only counted")
}

// closed closes the incident and tells whoever was told that it is open.
func (o *outcome) closed(now time.Time, actor, text string) {
	r := &o.Record
	r.Status, r.Closed, r.ClosedBy = mesh.IncidentClosed, stored(now), actor
	o.add(now, mesh.EventClosed, actor, text)
	told := r.Told
	r.Told = nil
	o.deliver(now, DeliveryResolved, text, told)
}

// tell writes deliveries that say that the incident is open.
func (o *outcome) tell(now time.Time, kind DeliveryKind, text string, receivers []string) {
	for _, n := range receivers {
		if !slices.Contains(o.Record.Told, n) {
			o.Record.Told = append(o.Record.Told, n)
		}
	}
	o.Record.LastTold = stored(now)
	o.deliver(now, kind, text, receivers)
}

func (o *outcome) deliver(now time.Time, kind DeliveryKind, text string, receivers []string) {
	for _, n := range receivers {
		o.Record.Sent++
		o.Deliveries = append(o.Deliveries, Delivery{
			N: o.Record.Sent, Receiver: n, Kind: kind, Text: text, At: stored(now),
			Unleased: o.Record.Rule == RuleConsulUnavailable, Incident: o.Record.Incident,
		})
	}
	o.touch(now)
}

func (o *outcome) line(l *look, kind mesh.IncidentEventKind, text string) {
	o.add(l.now, kind, self, text)
}

func (o *outcome) add(now time.Time, kind mesh.IncidentEventKind, actor, text string) {
	o.Events = append(o.Events, mesh.IncidentEvent{At: stored(now), Kind: kind, Actor: actor, Text: text})
	o.touch(now)
}

func (o *outcome) touch(now time.Time) {
	o.changed = true
	o.Record.Updated = stored(now)
}

// maxWords bounds what a line quotes of a check's output.
const maxWords = 200

// describe says how a check is: its status and the first line of its output.
func describe(s *mesh.CheckState) string { return describeAs(s, "") }

// describeAs says more between the two.
func describeAs(s *mesh.CheckState, more string) string {
	words, _, _ := strings.Cut(strings.TrimSpace(s.Result.Output), "\n")
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + " …"
	}
	name := s.Result.Check
	if name == "" {
		name = "it"
	}
	text := name + " is " + string(s.Status) + more
	if words != "" {
		text += ": " + words
	}
	return text
}

// span prints how long something took, as people say it.
func span(from, to time.Time) string {
	d := to.Sub(from)
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// stored is t as a store gives it back.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
