package alert

import (
	"context"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// Ack says that somebody is on it; text may be empty. Repeats stop, nothing
// else does. mesh.Conflict when the incident is not open, mesh.NotFound when
// there is none, mesh.Unavailable when this server does not lead: so it is for
// all methods that change an incident.
func (e *Engine) Ack(ctx context.Context, id mesh.IncidentID, actor, text string) (mesh.Incident, error) {
	return e.change(ctx, id, func(o *outcome, now time.Time) error {
		r := &o.Record
		switch r.Status {
		case mesh.IncidentOpen:
		case mesh.IncidentAcked:
			return mesh.Errorf(mesh.Conflict, "acknowledge incident %s: %s has done so", id, r.AckedBy)
		case mesh.IncidentClosed:
			return mesh.Errorf(mesh.Conflict, "acknowledge incident %s: it is closed", id)
		}
		r.Status, r.AckedBy = mesh.IncidentAcked, actor
		o.add(now, mesh.EventAcked, actor, text)
		return nil
	})
}

// Close closes an incident by hand. If its check is bad, or unknown, it opens
// again only after the check was good: whoever closes it has seen it.
func (e *Engine) Close(ctx context.Context, id mesh.IncidentID, actor, text string) (mesh.Incident, error) {
	return e.change(ctx, id, func(o *outcome, now time.Time) error {
		if !o.Record.open() {
			return mesh.Errorf(mesh.Conflict, "close incident %s: it is closed", id)
		}
		o.Record.Muted = !e.isGood(&o.Record)
		o.closed(now, actor, text)
		return nil
	})
}

// Reopen opens a closed incident again and tells the receivers of its rule.
// mesh.Conflict says that another incident of the same problem, or of the same
// disk, is open.
func (e *Engine) Reopen(ctx context.Context, id mesh.IncidentID, actor, text string) (mesh.Incident, error) {
	return e.change(ctx, id, func(o *outcome, now time.Time) error {
		if o.Record.open() {
			return mesh.Errorf(mesh.Conflict, "open incident %s again: it is %s", id, o.Record.Status)
		}
		if other := e.records[o.Record.key()]; other.open() {
			return mesh.Errorf(mesh.Conflict, "open incident %s again: the same problem is incident %s now", id, other.ID)
		}
		if other, _ := e.newDraft().same(o.Record.key(), o.Record.Disks); other != nil {
			return mesh.Errorf(mesh.Conflict, "open incident %s again: its disk %s is incident %s now",
				id, strings.Join(common(o.Record.Disks, other.Disks), ", "), other.ID)
		}
		r := e.rules.Load().byName[o.Record.Rule]
		if r == nil {
			return mesh.Errorf(mesh.Conflict, "open incident %s again: there is no rule %q any more", id, o.Record.Rule)
		}
		o.reopened(now, actor, text, r.Notify)
		return nil
	})
}

// Comment adds words to the story of an incident, open or not.
func (e *Engine) Comment(ctx context.Context, id mesh.IncidentID, actor, text string) (mesh.Incident, error) {
	if strings.TrimSpace(text) == "" {
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "comment on incident %s: there are no words", id)
	}
	return e.change(ctx, id, func(o *outcome, now time.Time) error {
		o.add(now, mesh.EventComment, actor, text)
		return nil
	})
}

// Note adds a line to the story of an incident, open or not. A zero At is now,
// an empty Actor is alps.
func (e *Engine) Note(ctx context.Context, id mesh.IncidentID, ev mesh.IncidentEvent) error {
	_, err := e.change(ctx, id, func(o *outcome, now time.Time) error {
		if ev.At.IsZero() {
			ev.At = now
		}
		if ev.Actor == "" {
			ev.Actor = self
		}
		ev.At = stored(ev.At)
		o.Events = append(o.Events, ev)
		o.touch(now)
		return nil
	})
	return err
}

// Escalate calls humans: each receiver is told of the incident and why it
// needs them. No receivers means those of its rule. A receiver that is not
// configured any more is left out; when none is left, the line says so.
func (e *Engine) Escalate(ctx context.Context, id mesh.IncidentID, receivers []string, text string) error {
	_, err := e.change(ctx, id, func(o *outcome, now time.Time) error {
		set := e.rules.Load()
		to := receivers
		if r := set.byName[o.Record.Rule]; len(to) == 0 && r != nil {
			to = r.Notify
		}
		to = slices.DeleteFunc(slices.Clone(to), func(n string) bool { return !slices.Contains(set.receivers, n) })
		if len(to) == 0 {
			o.add(now, mesh.EventEscalated, self, text+" (there is no receiver to call)")
			return nil
		}
		o.Events = append(o.Events, mesh.IncidentEvent{
			At: stored(now), Kind: mesh.EventEscalated, Actor: self, Text: text,
			Data: map[string]string{"receivers": strings.Join(to, ", ")},
		})
		if o.Record.open() {
			o.tell(now, DeliveryEscalation, text, to)
		} else {
			o.deliver(now, DeliveryEscalation, text, to)
		}
		return nil
	})
	return err
}

// change applies fn to an incident and stores what it makes of it. fn runs
// with the turn held.
func (e *Engine) change(ctx context.Context, id mesh.IncidentID, fn func(*outcome, time.Time) error) (mesh.Incident, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.lead(ctx); err != nil {
		return mesh.Incident{}, err
	}
	rec, err := e.record(ctx, id)
	if err != nil {
		return mesh.Incident{}, err
	}
	var o outcome
	o.Record = *rec
	o.Record.Told = slices.Clone(rec.Told)
	if err := fn(&o, time.Now()); err != nil {
		return mesh.Incident{}, err
	}
	if err := e.save(ctx, []*outcome{&o}); err != nil {
		return mesh.Incident{}, err
	}
	if o.Record.open() { // how its check is may be news to it.
		e.wakes.set(o.Record.key(), time.Now())
		e.inbox.ring()
	}
	return e.o.Store.Incident(ctx, string(id))
}

// record finds an incident in memory, or in the store when it is an old one.
func (e *Engine) record(ctx context.Context, id mesh.IncidentID) (*Record, error) {
	if k, ok := e.byID[id]; ok {
		return e.records[k], nil
	}
	rec, err := e.o.Store.IncidentRecord(ctx, id)
	if err != nil {
		return nil, err
	}
	return &rec, nil
}

// isGood reports whether the check of an incident is good now, as its rule
// sees it.
func (e *Engine) isGood(r *Record) bool {
	rule := e.rules.Load().byName[r.Rule]
	state, ok := e.present(r.key())
	if rule == nil || !ok {
		return false
	}
	now := time.Now()
	l := look{rule: rule, state: state, now: now, frozen: e.inbox.frozen(now)}
	return l.verdict() == good
}
