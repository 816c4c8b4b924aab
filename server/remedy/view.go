package remedy

import (
	"context"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// View is one policy and how it stands.
type View struct {
	mesh.Policy

	Paused   *Pause // by what it is kept from acting; nil: by nothing.
	Blocked  string // why it would refuse any incident now, as "guard: reason"; empty: it would act.
	LastHour int    // actions within the last hour.
	Failures int    // in a row.
	Last     *mesh.RemedyRun
}

// Policies returns every policy, and the pause of all, if any. It reads the
// store, so that servers that do not lead answer alike.
func (e *Engine) Policies(ctx context.Context) ([]View, *Pause, error) {
	s := e.current()
	sw, err := e.o.Store.RemedySwitch(ctx)
	if err != nil {
		return nil, nil, err
	}
	open, err := e.Runs(ctx, Filter{Open: true})
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	burst := e.bursts(s, e.list(), now)
	out := make([]View, 0, len(s.policies))
	for _, p := range s.policies {
		c := &Case{
			Now: now, Policy: p.Policy, Limit: s.limit, Leads: true,
			Paused: sw.Holds(p.Name, p.Group), Resumed: sw.Resumed[p.Name].At, Open: open, Burst: burst[p.Name],
		}
		if c.Acts, err = e.history(ctx, p); err != nil {
			return nil, nil, err
		}
		v := View{Policy: p.Policy, Paused: c.Paused, Blocked: blocked(c), LastHour: lately(c.Acts, now, time.Hour), Failures: failures(c.Acts, c.Resumed)}
		last, err := e.o.Store.RemedyRuns(ctx, Filter{Policy: p.Name, Limit: 1})
		if err != nil {
			return nil, nil, err
		}
		if len(last) > 0 {
			v.Last = &last[0].RemedyRun
		}
		out = append(out, v)
	}
	return out, sw.All(), nil
}

// blocked says why a policy would refuse whatever the incident is.
func blocked(c *Case) string {
	v := judge(c, []guard{
		{GuardPaused, paused},
		{GuardMode, mode},
		{GuardStorm, storm},
		{GuardBreaker, breaker},
		{GuardRate, rate},
		{GuardConcurrency, concurrency},
	})
	switch {
	case v.Reason != "":
		return string(v.Guard) + ": " + v.Reason
	case effective(c.Policy.Mode, c.Limit) == mesh.RemedyObserve:
		return string(GuardMode) + ": it observes, and says what it would do"
	case effective(c.Policy.Mode, c.Limit) == mesh.RemedyApprove:
		return string(GuardMode) + ": it asks a person first"
	}
	return ""
}

// Explain asks every guard what it says now about a policy and an incident that
// is open: why nothing happens. It changes nothing. Lease is not asked: another
// server may lead. mesh.Unavailable says that nobody can tell yet.
func (e *Engine) Explain(ctx context.Context, name string, id mesh.IncidentID) ([]Verdict, error) {
	if err := e.unread(); err != nil {
		return nil, err
	}
	s := e.current()
	p := s.byName[name]
	if p == nil {
		return nil, noPolicy(name)
	}
	i, ok := e.incident(id)
	if !ok {
		return nil, mesh.Errorf(mesh.NotFound, "no open incident is called %s", id).WithHint("`alps alert list` shows the incidents")
	}
	i, about := s.about(p, i)
	c, applies := e.newCase(p, &i, s.limit)
	if !applies || !about {
		return nil, mesh.Errorf(mesh.Invalid, "policy %s is not for incident %s", name, id)
	}
	sw, err := e.o.Store.RemedySwitch(ctx)
	if err != nil {
		return nil, err
	}
	if c.Open, err = e.Runs(ctx, Filter{Open: true}); err != nil {
		return nil, err
	}
	if c.Acts, err = e.history(ctx, p); err != nil {
		return nil, err
	}
	c.Leads, c.Paused, c.Resumed, c.Burst = true, sw.Holds(p.Name, p.Group), sw.Resumed[name].At, e.bursts(s, e.list(), c.Now)[name]
	runs, err := e.o.Store.RemedyRuns(ctx, Filter{Policy: name, Incident: id})
	if err != nil {
		return nil, err
	}
	var said word
	for _, r := range slices.Backward(runs) {
		said.hear(r)
	}
	c.Stormed = said.stormed.After(c.Resumed)
	c.remember(&said)
	e.count(c, p)
	return Explain(c), nil
}

// Runs lists runs, the newest first, refusals included.
func (e *Engine) Runs(ctx context.Context, f Filter) ([]mesh.RemedyRun, error) {
	list, err := e.o.Store.RemedyRuns(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]mesh.RemedyRun, len(list))
	for i := range list {
		out[i] = list[i].RemedyRun
	}
	return out, nil
}

// Get returns one run, mesh.NotFound when there is none.
func (e *Engine) Get(ctx context.Context, id mesh.RemedyRunID) (mesh.RemedyRun, error) {
	r, err := e.record(ctx, id)
	return r.RemedyRun, err
}

// record finds one run in the store, mesh.NotFound when there is none.
func (e *Engine) record(ctx context.Context, id mesh.RemedyRunID) (Record, error) {
	list, err := e.o.Store.RemedyRuns(ctx, Filter{ID: id, Limit: 1})
	if err == nil && len(list) == 0 {
		err = noRun(id)
	}
	if err != nil {
		return Record{}, err
	}
	return list[0], nil
}

// Pause keeps the policies that are meant from acting until Resume, on whichever
// server leads: nothing new starts once it has returned, except a job that is
// being submitted at that moment. What runs goes on, and is verified. It may be
// called twice.
func (e *Engine) Pause(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error {
	return e.throw(ctx, e.o.Store.PauseRemedy, Pause{RemedyScope: scope, By: actor, Reason: reason})
}

// Resume ends the pause of exactly what is meant: a policy stays paused with its
// group, or with all. With a policy it also closes its breaker and forgives it
// its storms.
func (e *Engine) Resume(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error {
	return e.throw(ctx, e.o.Store.ResumeRemedy, Pause{RemedyScope: scope, By: actor, Reason: reason})
}

// throw throws the switch. What is meant must be there: a name that is mistyped
// pauses nothing, and nobody would notice.
func (e *Engine) throw(ctx context.Context, put func(context.Context, Pause) error, p Pause) error {
	s := e.current()
	switch {
	case p.Policy != "" && p.Group != "":
		return mesh.Errorf(mesh.Invalid, "either a policy or a group is meant: %q or %q", p.Policy, p.Group)
	case p.Policy != "" && s.byName[p.Policy] == nil:
		return noPolicy(p.Policy)
	case p.Group != "" && !slices.Contains(s.groups(), p.Group):
		return noGroup(p.Group, s.groups())
	}
	p.At, p.Reason = time.Now(), strings.TrimSpace(p.Reason)
	err := put(ctx, p)
	e.Kick()
	return err
}

func noGroup(name string, all []string) error {
	hint := "write `group = …` into policies that belong together"
	if len(all) > 0 {
		hint = "the groups are " + strings.Join(all, ", ")
	}
	return mesh.Errorf(mesh.NotFound, "no policy has the group %q", name).WithHint("%s", hint)
}

func noRun(id mesh.RemedyRunID) error {
	return mesh.Errorf(mesh.NotFound, "there is no run %s", id).WithHint("`alps remedy runs` lists them")
}

func noPolicy(name string) error {
	return mesh.Errorf(mesh.NotFound, "there is no policy %q", name).WithHint("`alps remedy list` shows the policies")
}
