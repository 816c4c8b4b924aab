package alert

import (
	"cmp"
	"slices"
	"time"

	"alps/mesh"
)

// draft is what one turn decides, before it is stored: outcomes by problem, on
// top of what is in memory. A problem that moves twice in a turn is one
// change with both moves in it.
type draft struct {
	e       *Engine
	rules   *ruleSet
	now     time.Time
	frozen  bool
	changed []*outcome
	latest  map[key]*outcome
	named   map[place][]key // which problems have incidents that name disks; nil: nobody has asked.
}

// place is where the same name means the same disk.
type place struct {
	dc   string
	node mesh.NodeName
}

func (e *Engine) newDraft() *draft {
	now := time.Now()
	return &draft{e: e, rules: e.rules.Load(), now: now, frozen: e.inbox.frozen(now), latest: make(map[key]*outcome)}
}

// record is the last known incident of a problem, as the draft has it.
func (d *draft) record(k key) *Record {
	if o := d.latest[k]; o != nil {
		return &o.Record
	}
	return d.e.records[k]
}

// observe looks at a check, as it was when that was queued, with every rule
// that is about it.
func (d *draft) observe(s mesh.CheckState) {
	d.rules.about(&s.Result, func(r *rule) {
		d.step(key{r.Name, s.DC, s.Node, s.Result.Check}, look{rule: r, state: s, queued: true})
	})
}

// again looks at the present of a problem.
func (d *draft) again(k key) {
	r := d.rules.byName[k.rule]
	if s, ok := d.e.present(k); ok && r != nil {
		d.step(k, look{rule: r, state: s})
	}
}

// due looks at the present of problems whose time has come.
func (d *draft) due(keys []key) {
	var sights []sight
	for _, k := range keys {
		if s, ok := d.e.present(k); ok && d.rules.byName[k.rule] != nil {
			sights = append(sights, sight{k, look{rule: d.rules.byName[k.rule], state: s, now: d.now}})
		}
	}
	d.each(sights)
}

// sight is a problem that is to be looked at.
type sight struct {
	key  key
	look look
}

// each looks at problems in the order in which they had to open, in whatever
// order they were found: of two of one disk the first has the incident.
func (d *draft) each(sights []sight) {
	slices.SortFunc(sights, func(a, b sight) int {
		ripe := func(l *look) time.Duration { return l.held() - l.rule.For }
		return cmp.Or(cmp.Compare(ripe(&b.look), ripe(&a.look)),
			cmp.Compare(a.key.check, b.key.check), cmp.Compare(a.look.rule.order, b.look.rule.order))
	})
	for _, s := range sights {
		d.step(s.key, s.look)
	}
}

// site looks whether Consul is away.
func (d *draft) site() {
	d.again(key{rule: RuleConsulUnavailable, dc: d.e.o.DC, check: consulCheck})
}

// step decides about a problem. l has the rule and the state.
func (d *draft) step(k key, l look) {
	rec := d.record(k)
	l.now, l.reopen, l.frozen = d.now, d.e.o.Reopen, d.frozen
	if !rec.open() && l.verdict() == bad {
		l.covered = d.covers(l.rule, &l.state)
		l.same, l.mended = d.same(k, l.state.Result.Disks)
	}
	o := step(rec, l)
	d.e.wakes.set(k, o.again)
	if o.joins {
		if told := join(l.same, &l); told.changed {
			d.keep(l.same.key(), &told)
		}
	}
	if rec != nil && !o.changed {
		rec.seen = o.Record.seen
	}
	if o.changed {
		d.keep(k, &o)
	}
}

// covers reports whether a rule is for the node of a check. Of a node that the
// inventory lacks nobody can say it.
func (d *draft) covers(r *rule, s *mesh.CheckState) bool {
	if r.target == nil {
		return true
	}
	n, ok := d.e.o.Node(s.DC, s.Node)
	return ok && r.target.Match(&n)
}

// keep adds an outcome to what will be stored.
func (d *draft) keep(k key, o *outcome) {
	d.index(k, &o.Record)
	if before := d.latest[k]; before != nil && before.Record.ID == o.Record.ID {
		before.Record = o.Record
		before.Events = append(before.Events, o.Events...)
		before.Deliveries = append(before.Deliveries, o.Deliveries...)
		return
	}
	d.latest[k] = o
	d.changed = append(d.changed, o)
}

// gone closes the incidents of a check that is no longer defined.
func (d *draft) gone(s mesh.CheckState) {
	if now, ok := d.e.o.Checks.Get(s.DC, s.Node, s.Result.Check); ok && !now.Received.IsZero() {
		return // it was defined again meanwhile, and that is told as well.
	}
	for _, r := range d.rules.list {
		k := key{r.Name, s.DC, s.Node, s.Result.Check}
		d.e.wakes.set(k, time.Time{})
		d.close(k, "check "+k.check+" is no longer defined on "+string(k.node))
	}
}

// close closes the incident of a problem without a good result, or ends that
// a closed one waits for it.
func (d *draft) close(k key, why string) {
	rec := d.record(k)
	if rec == nil || !rec.open() && !rec.Muted {
		return
	}
	var o outcome
	o.Record = *rec
	if rec.open() {
		o.closed(d.now, self, why)
	} else {
		o.add(d.now, mesh.EventComment, self, why)
	}
	o.Record.Muted = false
	d.keep(k, &o)
}

// reconcile looks at everything as it is now.
func (d *draft) reconcile() {
	// What matters is a small part of all checks, so the rest is not copied.
	var sights []sight
	reports := make(map[[2]string]bool) // the nodes whose agents report.
	d.e.o.Checks.Each(func(s mesh.CheckState) bool {
		if s.Source == mesh.SourceLink && !s.AgentLost && !ofNode(s.Result.Check) {
			reports[[2]string{s.DC, string(s.Node)}] = true
		}
		d.rules.about(&s.Result, func(r *rule) {
			k := key{r.Name, s.DC, s.Node, s.Result.Check}
			l := look{rule: r, state: s, now: d.now, frozen: d.frozen}
			if d.record(k) != nil || l.verdict() == bad {
				sights = append(sights, sight{k, l})
			}
		})
		return true
	})
	d.each(sights)
	d.review(reports)
}

// review looks at every incident in memory for what no check would say.
func (d *draft) review(reports map[[2]string]bool) {
	absent := make(map[key]bool)
	for k := range d.e.records {
		rec := d.record(k)
		if !rec.open() && !rec.Muted {
			if d.now.Sub(rec.Closed) > d.e.o.Reopen {
				delete(d.e.records, k)
				delete(d.e.byID, rec.ID)
			}
			continue
		}
		if d.rules.byName[k.rule] == nil {
			d.close(k, "there is no rule "+k.rule+" any more")
			continue
		}
		if _, ok := d.e.present(k); !ok && !ofNode(k.check) && reports[[2]string{k.dc, string(k.node)}] {
			// The agent has told all that it runs, and this is not among it.
			if absent[k] = true; d.e.absent[k] {
				d.close(k, "check "+k.check+" is no longer defined on "+string(k.node))
			}
			continue
		}
		d.again(k) // also when the rule is about other checks by now.
		d.repeat(k)
	}
	d.e.absent = absent
}

// repeat tells again of what nobody has taken on.
func (d *draft) repeat(k key) {
	every, rec := d.e.o.Repeat, d.record(k)
	r := d.rules.byName[k.rule]
	if rec.Status != mesh.IncidentOpen || every < 0 || len(r.Notify) == 0 || d.now.Sub(rec.LastTold) < every {
		return
	}
	var o outcome
	o.Record = *rec
	o.tell(d.now, DeliveryRepeat, "open since "+span(rec.Fired, d.now), r.Notify)
	d.keep(k, &o)
}
