package check

import (
	"strings"
	"time"

	"alps/mesh"
)

// lookEvery lies between two looks at what the local Consul agent thinks of
// its checks, while there is one that somebody else runs.
const lookEvery = 2 * time.Second

// routine is how often an observed check gives a result although nothing has
// changed.
func routine(d *mesh.CheckDef) time.Duration {
	if d.Kind == mesh.CheckTTL {
		return min(max(d.TTL/2, lookEvery), 30*time.Second)
	}
	return max(d.Interval, ReportEvery)
}

// observe makes results of what Consul says of the checks that others run. The
// mirror calls it.
func (e *Engine) observe(all map[string]LocalCheck) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, c := range e.checks {
		lc, ok := all[id]
		if !ok || !observed(&c.def) || unsaid(c, lc, now) {
			continue
		}
		fresh := c.last == nil || c.restored || c.asked
		if !fresh && lc == c.seen && now.Sub(c.told) < routine(&c.def) {
			continue
		}
		c.seen, c.told = lc, now
		e.recordLocked(c, seenOutcome(&c.def, lc, now))
	}
}

// unsaid reports whether Consul shows what it shows before anybody has said
// anything. told is when the check was defined then.
func unsaid(c *entry, lc LocalCheck, now time.Time) bool {
	if c.seen != (LocalCheck{}) || lc.Output != "" || lc.Status != initial(&c.def) {
		return false
	}
	patience := c.def.Interval + timeoutOf(&c.def) + lookEvery
	if c.def.Kind == mesh.CheckTTL {
		patience = c.def.TTL + lookEvery
	}
	return now.Sub(c.told) < patience
}

// seenOutcome says in our words what Consul says. Where nobody has refreshed a
// TTL in time, who was asked did not answer.
func seenOutcome(d *mesh.CheckDef, lc LocalCheck, now time.Time) *outcome {
	o := &outcome{status: lc.Status, output: lc.Output, at: now}
	switch lc.Status {
	case mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical:
	default:
		o.status = mesh.HealthUnknown // maintenance, and what may come.
	}
	switch {
	case d.Kind == mesh.CheckTTL && lc.Status == mesh.HealthCritical && strings.HasPrefix(lc.Output, mesh.TTLExpired):
		o.status, o.timeout = d.Kind.TimeoutHealth(), true
	case lc.Status == mesh.HealthWarning && strings.HasPrefix(lc.Output, mesh.UnknownOutput):
		o.status, o.output = mesh.HealthUnknown, strings.TrimPrefix(lc.Output, mesh.UnknownOutput)
	}
	return o
}

// initial is how Consul shows a check before its first result.
func initial(d *mesh.CheckDef) mesh.Health {
	if d.Initial == mesh.HealthPassing || d.Initial == mesh.HealthWarning {
		return d.Initial
	}
	return mesh.HealthCritical
}
