package alert

import (
	"context"
	"time"

	"alps/mesh"
)

// turn does everything that is to be done now and returns how long it has
// time.
func (e *Engine) turn(ctx context.Context) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.decide(ctx)
	switch {
	case err != nil && ctx.Err() == nil && !e.failing:
		e.failing = true
		e.log.Error("incidents cannot be stored; nothing new is told until they can", "error", err)
	case err == nil && e.failing:
		e.failing = false
		e.log.Info("incidents are stored again")
	}
	if e.lapsed || err != nil {
		return pollEvery
	}
	now := time.Now()
	return max(time.Millisecond, min(pollEvery, e.wakes.next(now.Add(pollEvery)).Sub(now)))
}

func (e *Engine) decide(ctx context.Context) error {
	if err := e.lead(ctx); err != nil {
		if mesh.CodeOf(err) != mesh.Unavailable {
			return err
		}
		e.lapsed = true
		e.inbox.drop()
		if e.loaded { // the last incumbent, see the doc of the package.
			d := e.newDraft()
			d.site()
			err := e.save(ctx, d.changed)
			if mesh.CodeOf(err) == mesh.Conflict {
				return nil // another server leads already, and says it.
			}
			return err
		}
		return nil
	}
	now := time.Now()
	notes, reread := e.inbox.take()
	d := e.newDraft()
	for _, n := range notes {
		if n.gone {
			d.gone(n.state)
		} else {
			d.observe(n.state)
		}
	}
	d.due(e.wakes.due(now))
	d.site()
	thawed := e.frozen && !d.frozen
	if e.frozen = d.frozen; reread || thawed || e.lapsed || !now.Before(e.full) {
		d.reconcile()
		e.full = now.Add(reconcileEvery)
	}
	e.lapsed = false
	for list := d.changed; len(list) > 0; {
		n := min(len(list), batchSize)
		if err := e.save(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// lead makes sure that this server leads and that memory is what the store
// has in its term. mesh.Unavailable says that it does not lead.
func (e *Engine) lead(ctx context.Context) error {
	term, ok := e.o.Lease()
	if !ok {
		return mesh.Errorf(mesh.Unavailable, "this server does not lead: it changes no incident").
			WithHint("ask the leader, or try again in a few seconds")
	}
	if e.loaded && term == e.term {
		return nil
	}
	e.forget()
	list, err := e.o.Store.OpenIncidents(ctx, time.Now().Add(-e.o.Reopen))
	if err != nil {
		return mesh.Errorf(mesh.Internal, "load the open incidents: %w", err)
	}
	for _, r := range list {
		e.install(&r)
	}
	e.term, e.loaded, e.full = term, true, time.Time{}
	e.log.Debug("leads", "term", term, "incidents", len(e.records))
	return nil
}

// install takes a record into memory. Of several with one key the open one
// counts, or the one that was closed last.
func (e *Engine) install(r *Record) {
	k := r.key()
	if old := e.records[k]; old != nil && old.ID != r.ID {
		if old.open() || !r.open() && r.Closed.Before(old.Closed) {
			return
		}
		delete(e.byID, old.ID)
	}
	e.records[k], e.byID[r.ID] = r, k
}

// save stores outcomes and makes them known. After an error nobody knows what
// the store has, so it is read again before anything is decided.
func (e *Engine) save(ctx context.Context, list []*outcome) error {
	if len(list) == 0 {
		return nil
	}
	changes := make([]Change, len(list))
	sends := false
	for i, o := range list {
		changes[i] = o.Change
		sends = sends || len(o.Deliveries) > 0
	}
	if err := e.o.Store.SaveIncidents(ctx, e.term, changes); err != nil {
		e.forget()
		return err
	}
	if sends {
		e.o.OnOutbox()
	}
	for _, o := range list {
		rec := o.Record
		e.install(&rec)
		e.o.OnIncident(rec.Incident)
		e.tellLog(o)
	}
	e.release(list)
	return nil
}

func (e *Engine) tellLog(o *outcome) {
	for _, ev := range o.Events {
		switch ev.Kind {
		case mesh.EventOpened, mesh.EventReopened, mesh.EventClosed, mesh.EventEscalated:
			e.log.Info("incident", "what", ev.Kind, "id", o.Record.ID, "rule", o.Record.Rule,
				"node", o.Record.Node, "check", o.Record.CheckID, "why", ev.Text)
		default:
		}
	}
}

// present is how the check of a problem is now, as far as anybody knows.
func (e *Engine) present(k key) (mesh.CheckState, bool) {
	if k.rule == RuleConsulUnavailable {
		return e.consulState()
	}
	return e.o.Checks.Get(k.dc, k.node, k.check)
}

// consulState is the check that no node has.
func (e *Engine) consulState() (mesh.CheckState, bool) {
	away, back := e.inbox.consulTimes()
	s := mesh.CheckState{
		DC: e.o.DC, Status: mesh.HealthPassing, Since: back, Received: back, Source: mesh.SourceLink,
		Result: mesh.CheckResult{Check: consulCheck, Name: "Consul", Output: "it answers"},
	}
	switch _, leads := e.o.Lease(); {
	case !away.IsZero():
		s.Status, s.Since, s.Received = mesh.HealthCritical, away, time.Now()
		s.Result.Output = "it does not answer since " + stored(away).Format(time.RFC3339)
	case leads:
		s.Received = time.Now() // only Consul can have granted it.
	case back.IsZero():
		return s, false
	}
	return s, true
}
