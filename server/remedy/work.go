package remedy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"alps/mesh"
)

// work is what Run knows in one term, under one setup. Everything in it can be
// read from the store again.
type work struct {
	e     *Engine
	term  uint64
	setup *setup

	reread  time.Time                   // when the incidents were last read.
	sw      Switch                      // as of this turn.
	open    []*Record                   // in the order in which they were decided.
	asked   map[mesh.RemedyRunID]Record // proposals.
	fresh   mesh.RemedyRunID            // decided in this turn: its job cannot exist yet.
	trouble map[mesh.RemedyRunID]error  // why open runs could not be submitted.
	// told has, by run, the job of a step of which the nodes were told.
	told   map[mesh.RemedyRunID]mesh.JobID
	past   map[string][]mesh.RemedyRun // by policy: Case.Acts.
	words  map[pair]word
	heard  map[mesh.IncidentID]bool // whose words were read.
	called map[string]time.Time     // by policy: the last refusal for a storm.
	tales  []tale                   // what is to be told, in order.
}

type pair struct {
	policy   string
	incident mesh.IncidentID
}

// word is what a policy last had to say about an incident.
type word struct {
	last    Record
	stormed time.Time // when it was last refused for a storm.
	// turned is the last run that a step has refused, and settled the last that
	// was proven; nil: there is none.
	turned, settled *Record
}

func (w *word) hear(r Record) {
	if !r.Decided.Before(w.last.Decided) {
		w.last = r
	}
	if r.State == mesh.RemedyRefused && r.Guard == string(GuardStorm) && r.Decided.After(w.stormed) {
		w.stormed = r.Decided
	}
	switch {
	case len(r.Steps) == 0:
	case r.State == mesh.RemedyRefused:
		w.turned = &r
	case r.State == mesh.RemedySucceeded:
		w.settled = &r
	}
}

// closed reports whether a person has answered what the policy had asked about
// an incident, or nobody has in time: it is not asked again, until the incident
// is reopened.
func (w *word) closed(i *mesh.Incident) bool {
	l := &w.last
	return l.State == mesh.RemedyRefused && l.Reopened == i.Reopened && (l.Guard == string(GuardApproval) || l.Approved != "")
}

// again reports whether a policy has just said that about an incident, in that
// state and by that guard, and the incident was not reopened since.
func (w *word) again(state mesh.RemedyState, guard Guard, i *mesh.Incident) bool {
	return w.last.State == state && w.last.Guard == string(guard) && w.last.Reopened == i.Reopened
}

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

// load reads where things stand.
func (e *Engine) load(ctx context.Context, term uint64, s *setup) (*work, error) {
	w := &work{
		e: e, term: term, setup: s, past: make(map[string][]mesh.RemedyRun), words: make(map[pair]word),
		trouble: make(map[mesh.RemedyRunID]error), told: make(map[mesh.RemedyRunID]mesh.JobID), heard: make(map[mesh.IncidentID]bool), called: make(map[string]time.Time), asked: make(map[mesh.RemedyRunID]Record),
	}
	open, err := e.o.Store.RemedyRuns(ctx, Filter{Open: true})
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(open) {
		w.open = append(w.open, &r)
	}
	asked, err := e.o.Store.RemedyRuns(ctx, Filter{Proposed: true})
	if err != nil {
		return nil, err
	}
	for _, r := range asked {
		w.asked[r.ID] = r
	}
	for _, p := range s.policies {
		if w.past[p.Name], err = e.history(ctx, p); err != nil {
			return nil, err
		}
		last, err := e.o.Store.RemedyRuns(ctx, Filter{Policy: p.Name, Guard: GuardStorm, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(last) > 0 {
			w.called[p.Name] = last[0].Decided
		}
	}
	untold, err := e.o.Store.RemedyRuns(ctx, Filter{Untold: true})
	if err != nil {
		return nil, err
	}
	called := make(map[string]bool)
	for _, r := range slices.Backward(untold) {
		storm := r.State == mesh.RemedyRefused && r.Guard == string(GuardStorm)
		w.tales = append(w.tales, tale{r: r, call: needsHuman(&r) || storm && !called[r.Policy]})
		called[r.Policy] = called[r.Policy] || storm
	}
	return w, nil
}

// history reads Case.Acts of a policy.
func (e *Engine) history(ctx context.Context, p *policy) ([]mesh.RemedyRun, error) {
	since := time.Now().Add(-max(day, p.Cooldown))
	recent, err := e.o.Store.RemedyRuns(ctx, Filter{Policy: p.Name, Acts: true, Since: since})
	if err != nil {
		return nil, err
	}
	if n := p.Failures + 1; len(recent) < n { // one may be under way.
		if recent, err = e.o.Store.RemedyRuns(ctx, Filter{Policy: p.Name, Acts: true, Limit: n}); err != nil {
			return nil, err
		}
	}
	out := make([]mesh.RemedyRun, len(recent))
	for i := range recent {
		out[i] = recent[i].RemedyRun
	}
	return out, nil
}

// turn does what can be done now.
func (w *work) turn(ctx context.Context) (err error) {
	if now := time.Now(); now.Sub(w.reread) >= rereadEvery {
		if err := w.e.reread(ctx, w.setup); err != nil {
			return err
		}
		w.reread = now
	}
	if len(w.open) == 0 && len(w.tales) == 0 && len(w.asked) == 0 && !w.e.concerns(w.setup) {
		return nil // most turns: a check changed somewhere.
	}
	if w.sw, err = w.e.o.Store.RemedySwitch(ctx); err != nil {
		return err
	}
	if err := w.withdraw(ctx); err != nil {
		return err
	}
	err = w.advance(ctx)
	if !lapsed(err) { // what holds one run up is no reason to leave others alone.
		err = errors.Join(err, w.decide(ctx))
	}
	return errors.Join(err, w.tell(ctx))
}

// lapsed reports whether an error, or any that is joined in it, says that what
// is known does not hold any more.
func lapsed(err error) bool {
	if errors.Is(err, errDeposed) || mesh.CodeOf(err) == mesh.Conflict {
		return true
	}
	many, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	return ok && slices.ContainsFunc(many.Unwrap(), lapsed)
}

// decide asks for every incident what its policies say.
func (w *work) decide(ctx context.Context) error {
	incidents := w.e.list()
	if len(w.heard) > 2*len(incidents)+1000 { // most of them are closed: forget, and read again what is needed.
		clear(w.heard)
		clear(w.words)
	}
	burst := w.e.bursts(w.setup, incidents, time.Now())
	var said []Record
	for i := range incidents {
		for _, p := range w.setup.policies {
			incident, ok := w.setup.about(p, incidents[i])
			if !ok || incident.Node == "" || incident.Status == mesh.IncidentClosed {
				continue
			}
			r, err := w.consider(ctx, p, &incident, burst[p.Name])
			switch {
			case err != nil:
				return errors.Join(err, w.put(ctx, said...))
			case r == nil:
			case r.State == mesh.RemedyDecided:
				if err := w.begin(ctx, *r); err != nil {
					return errors.Join(err, w.put(ctx, said...))
				}
			default:
				said = append(said, *r)
			}
		}
	}
	return w.put(ctx, said...)
}

// consider returns what a policy decides about an incident; nil when there is
// nothing new to say.
func (w *work) consider(ctx context.Context, p *policy, i *mesh.Incident, burst int) (*Record, error) {
	if slices.ContainsFunc(w.open, func(r *Record) bool { return r.Policy == p.Name && r.Incident == i.ID }) {
		return nil, nil // it is at it.
	}
	if err := w.listen(ctx, i.ID); err != nil {
		return nil, err
	}
	c, applies := w.e.newCase(p, i, w.setup.limit)
	if !applies || c.Check != nil && c.Check.Status == mesh.HealthPassing {
		return nil, nil // what has recovered needs nothing; its incident is about to be closed.
	}
	said := w.words[pair{p.Name, i.ID}]
	if said.last.State == mesh.RemedyProposed {
		return nil, nil // a person is asked.
	}
	c.Leads, c.Paused, c.Resumed = true, w.sw.Holds(p.Name, p.Group), w.sw.Resumed[p.Name].At
	c.Acts, c.Burst, c.Stormed = w.past[p.Name], burst, said.stormed.After(c.Resumed)
	c.remember(&said)
	for _, r := range w.open {
		c.Open = append(c.Open, r.RemedyRun)
	}
	w.e.count(c, p)
	v := judge(c, order())
	r := newRecord(p, c)
	switch {
	case v.quiet():
		return nil, nil
	case v.Reason != "" && said.again(mesh.RemedyRefused, v.Guard, i):
		return nil, nil
	case v.Reason != "":
		r = r.refused(v, c.Now)
	case effective(p.Mode, w.setup.limit) == mesh.RemedyAuto:
		r.State, r.Deadline = mesh.RemedyDecided, c.Now.Add(submitWithin)
	case effective(p.Mode, w.setup.limit) == mesh.RemedyApprove && said.closed(i):
		return nil, nil
	case effective(p.Mode, w.setup.limit) == mesh.RemedyApprove:
		r.State, r.Deadline = mesh.RemedyProposed, c.Now.Add(approveWithin)
		r.Reason = "asks to " + p.intent(i)
	case said.again(mesh.RemedyObserved, "", i):
		return nil, nil
	default:
		r.State, r.Ended = mesh.RemedyObserved, c.Now
		r.Reason = "would " + p.intent(i)
	}
	return &r, nil
}

// quiet reports a refusal that is no news: a policy that is off is off, and
// what was done or refused a moment ago was told then.
func (v Verdict) quiet() bool {
	return v.Guard == GuardMode || v.Guard == GuardLease || v.Guard == GuardRetry || v.Guard == GuardSettled
}

// newCase looks at the incident's node and check; false when the policy is not
// for that node.
func (e *Engine) newCase(p *policy, i *mesh.Incident, limit mesh.RemedyMode) (*Case, bool) {
	c := &Case{Now: time.Now(), Policy: p.Policy, Limit: limit, Incident: *i}
	if n, ok := e.o.Node(i.DC, i.Node); ok {
		c.Node = &n
	}
	if s, ok := e.o.Checks.Get(i.DC, i.Node, i.Check); ok {
		c.Check = &s
	}
	e.declared(c, p)
	return c, p.matches(c.Node)
}

func newRecord(p *policy, c *Case) Record {
	i := &c.Incident
	r := Record{RemedyRun: mesh.RemedyRun{
		ID: mesh.NewJobID(), Policy: p.Name, Group: p.Group, Incident: i.ID, DC: i.DC, Node: i.Node, Check: i.Check,
		Script: p.Script, Decided: c.Now,
	}, Reopened: i.Reopened, Plan: p.Rungs}
	if c.Check != nil {
		r.Before = *c.Check
	}
	return r
}

// listen reads what was said about an incident, once.
func (w *work) listen(ctx context.Context, id mesh.IncidentID) error {
	if w.heard[id] {
		return nil
	}
	runs, err := w.e.o.Store.RemedyRuns(ctx, Filter{Incident: id})
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(runs) {
		w.hear(r)
	}
	w.heard[id] = true
	return nil
}

func (w *work) hear(r Record) {
	k := pair{r.Policy, r.Incident}
	said := w.words[k]
	said.hear(r)
	w.words[k] = said
}

// put stores records, and then lets everybody know.
func (w *work) put(ctx context.Context, records ...Record) error {
	if len(records) == 0 {
		return nil
	}
	if !w.leads() {
		return errDeposed
	}
	if err := w.e.o.Store.PutRemedyRuns(ctx, w.term, records); err != nil {
		return err
	}
	for _, r := range records {
		if !r.Told {
			w.tales = append(w.tales, tale{r: r, call: w.calls(&r)})
		}
		w.remember(r)
		w.e.o.OnRun(r.RemedyRun)
	}
	return nil
}

func (w *work) leads() bool {
	term, ok := w.e.o.Lease()
	return ok && term == w.term
}

// openAt is where a run is among those that are open, or -1.
func (w *work) openAt(id mesh.RemedyRunID) int {
	return slices.IndexFunc(w.open, func(r *Record) bool { return r.ID == id })
}

func (w *work) remember(r Record) {
	w.hear(r)
	if delete(w.asked, r.ID); r.State == mesh.RemedyProposed {
		w.asked[r.ID] = r
	}
	at := w.openAt(r.ID)
	if at >= 0 {
		*w.open[at] = r // whoever carries it on looks at it there.
	}
	switch open := r.State.Open(); {
	case open && at < 0:
		w.open = append(w.open, &r)
	case !open && at >= 0:
		w.open = slices.Delete(slices.Clone(w.open), at, at+1) // advance goes through it.
		delete(w.trouble, r.ID)
		delete(w.told, r.ID)
	}
	p := w.setup.byName[r.Policy]
	if p == nil {
		return
	}
	past := slices.DeleteFunc(w.past[r.Policy], func(old mesh.RemedyRun) bool { return old.ID == r.ID })
	if r.State.Acts() {
		past = slices.Insert(past, 0, r.RemedyRun)
	}
	for n := len(past); n > p.Failures+1 && time.Since(past[n-1].Decided) > max(day, p.Cooldown); n-- {
		past = past[:n-1]
	}
	w.past[r.Policy] = past
}

// calls reports whether a human is called for r: when it asks one, when it
// failed, when a step has refused, and once for a storm, which is over when
// nothing was refused for it during its window.
func (w *work) calls(r *Record) bool {
	if r.State != mesh.RemedyRefused || r.Guard != string(GuardStorm) {
		return needsHuman(r)
	}
	last := w.called[r.Policy]
	w.called[r.Policy] = r.Decided
	window := time.Duration(0)
	if p := w.setup.byName[r.Policy]; p != nil {
		window = p.StormWindow
	}
	return !last.After(w.sw.Resumed[r.Policy].At) || r.Decided.Sub(last) > window
}

// needsHuman reports whether r is nothing that a machine can go on with.
func needsHuman(r *Record) bool {
	return r.State == mesh.RemedyFailed || r.State == mesh.RemedyProposed || r.State == mesh.RemedyRefused && len(r.Steps) > 0
}
