package check

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// reconcileEvery is how often the mirror looks whether Consul still has what
// it was given. An agent that keeps its data directory forgets nothing.
const reconcileEvery = time.Minute

// unit is what is registered by one request: a service with its checks, or a
// check of the node.
type unit struct {
	service *mesh.ServiceDef // nil for a check of the node.
	checks  []CatalogCheck
	// registered: Consul has it, as far as we know.
	registered bool
	// held: Consul has removed it because it was critical for as long as its
	// definition says. It comes back when it is not critical any more.
	held  bool
	retry time.Time // not before.
	pause time.Duration
	fault error // why it is not as it should be; logged once.
}

// agentUnit is the key of the agent's own service.
const agentUnit = "service " + mesh.AgentService

func (u *unit) key() string {
	if u.service != nil {
		return "service " + u.service.ID
	}
	return "check " + u.checks[0].Def.ID
}

// unitsOf cuts definitions into what is registered together. The agent's own
// service is always among them.
func unitsOf(services []mesh.ServiceDef, checks []mesh.CheckDef) []*unit {
	own := &unit{
		service: &mesh.ServiceDef{ID: mesh.AgentService, Name: mesh.AgentService},
		checks: []CatalogCheck{{
			Def: mesh.CheckDef{ID: mesh.AgentCheck, Name: "ALPS agent", Kind: mesh.CheckTTL, Service: mesh.AgentService},
			TTL: mesh.AgentCheckTTL, Initial: mesh.HealthCritical,
		}},
	}
	units := []*unit{own}
	byService := map[string]*unit{mesh.AgentService: own}
	for i := range services {
		u := &unit{service: &services[i]}
		byService[services[i].ID] = u
		units = append(units, u)
	}
	for i := range checks {
		d := &checks[i]
		c := CatalogCheck{Def: *d, Initial: initial(d)}
		if c.Native = observed(d); !c.Native {
			c.TTL = ttl(d)
		}
		if u := byService[d.Service]; d.Service != "" {
			u.checks = append(u.checks, c)
			continue
		}
		units = append(units, &unit{checks: []CatalogCheck{c}})
	}
	return units
}

// same reports whether Consul would hold the same for both.
func (u *unit) same(v *unit) bool {
	if !reflect.DeepEqual(bareService(u.service), bareService(v.service)) || len(u.checks) != len(v.checks) {
		return false
	}
	for i := range u.checks {
		if !reflect.DeepEqual(inCatalog(u.checks[i]), inCatalog(v.checks[i])) {
			return false
		}
	}
	return true
}

func bareService(s *mesh.ServiceDef) mesh.ServiceDef {
	if s == nil {
		return mesh.ServiceDef{}
	}
	b := *s
	b.Origin = ""
	return b
}

// inCatalog leaves out of a check what Consul is not told.
func inCatalog(c CatalogCheck) CatalogCheck {
	d := c.Def
	c.Def.Origin = ""
	if !c.Native {
		c.Def = mesh.CheckDef{ID: d.ID, Name: d.Name, Service: d.Service, Notes: d.Notes, DeregisterAfter: d.DeregisterAfter}
	}
	return c
}

// takeDefinitions makes what SetDefinitions has left the plan.
func (m *mirror) takeDefinitions() {
	m.mu.Lock()
	defined, known := m.defined, m.known
	m.defined = nil
	m.mu.Unlock()
	if defined == nil {
		return
	}
	was := m.units
	m.units = make(map[string]*unit, len(defined))
	for _, u := range defined {
		if old := was[u.key()]; old != nil && old.same(u) {
			u.registered, u.held, u.retry, u.pause, u.fault = old.registered, old.held, old.retry, old.pause, old.fault
		}
		m.units[u.key()] = u
		delete(m.orphans, u.key())
	}
	if m.watches() {
		m.look = time.Time{} // until now there may have been nothing to look at.
	}
	if !known {
		return
	}
	for key, u := range m.claims.units() {
		if m.units[key] == nil && m.orphans[key] == nil {
			m.orphans[key] = u
		}
	}
}

// deregister takes out of Consul what is ours and wanted no more.
func (m *mirror) deregister(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(m.orphans)) {
		u := m.orphans[key]
		if time.Now().Before(u.retry) {
			continue
		}
		service, check := u.names()
		err := m.call(ctx, func(ctx context.Context) error { return m.catalog.Deregister(ctx, service, check) })
		if err != nil && mesh.CodeOf(err) != mesh.NotFound {
			if err := m.refused(ctx, u, err); err != nil {
				return err
			}
			continue
		}
		delete(m.orphans, key)
		if err := m.claims.drop(key); err != nil {
			m.log.Warn("the list of registrations cannot be written", "error", err)
		}
	}
	return nil
}

func (u *unit) names() (service, check string) {
	if u.service != nil {
		return u.service.ID, ""
	}
	return "", u.checks[0].Def.ID
}

// register gives Consul what it does not have. The claim is written first: who
// dies in between must find again what is his.
func (m *mirror) register(ctx context.Context) error {
	for _, key := range slices.SortedFunc(maps.Keys(m.units), agentFirst) {
		u := m.units[key]
		if u.registered || u.held && m.stillCritical(u) || time.Now().Before(u.retry) {
			continue
		}
		fresh := false
		if key != agentUnit {
			var err error
			if fresh, err = m.claims.add(key); err != nil {
				u.failed(m.log, err)
				continue
			}
		}
		err := m.call(ctx, func(ctx context.Context) error { return m.catalog.Register(ctx, u.service, m.present(u)) })
		if err != nil {
			if fresh && !isAway(ctx, err) {
				_ = m.claims.drop(key) // it was not made, so it is not ours.
			}
			if err := m.refused(ctx, u, err); err != nil {
				return err
			}
			continue
		}
		u.registered, u.held, u.retry, u.pause, u.fault = true, false, time.Time{}, 0, nil
		m.repeat(u)
	}
	return nil
}

// present is a unit's checks, each of which begins with what is known of it: a
// registration must not make a service critical for a moment that is not.
func (m *mirror) present(u *unit) []CatalogCheck {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(u.checks)
	for i := range list {
		if s := m.says[list[i].Def.ID]; s != nil && cmp.Or(s.status, s.before) != "" {
			list[i].Initial, _ = consulsWords(cmp.Or(s.status, s.before), "")
		}
	}
	return list
}

// agentFirst orders units: whatever fails of the others, the agent lives.
func agentFirst(a, b string) int {
	return cmp.Or(-cmp.Compare(btoi(a == agentUnit), btoi(b == agentUnit)), cmp.Compare(a, b))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// repeat has a unit's checks told again.
func (m *mirror) repeat(u *unit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range u.checks {
		if s := m.says[u.checks[i].Def.ID]; s != nil {
			s.toldAt = time.Time{}
		}
	}
	if u.key() == agentUnit {
		m.beat = time.Time{}
	}
}

// forgotten notes that Consul does not know a unit, and so perhaps none. One
// that Consul has removed because it was critical for long is held back.
func (m *mirror) forgotten(u *unit, why error) {
	if u.reaped() && m.stillCritical(u) {
		m.log.Info("Consul has removed a service that was critical for long", "unit", u.key())
		u.registered, u.held = false, true
		return
	}
	m.log.Info("Consul has forgotten a registration; it is made again", "unit", u.key(), "error", why)
	u.registered = false
	// If it is forgotten again at once, somebody removes it on purpose.
	u.pause = min(max(2*u.pause, firstPause), longestPause)
	if u.fault == nil {
		u.pause = 0
	}
	u.fault = why
	u.retry = time.Now().Add(u.pause)
	m.look = time.Time{} // the others are looked at as well.
	if u.key() == agentUnit {
		// Nobody takes that away but who takes everything. Services without a
		// check can only be missed in this way.
		for _, other := range m.units {
			other.registered = false
		}
	}
	m.signal()
}

// reaped reports whether Consul removes the unit by itself.
func (u *unit) reaped() bool {
	return u.service != nil && slices.ContainsFunc(u.checks, func(c CatalogCheck) bool { return c.Def.DeregisterAfter > 0 })
}

// stillCritical reports whether a check for which Consul removes the unit is
// critical.
func (m *mirror) stillCritical(u *unit) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range u.checks {
		s := m.says[u.checks[i].Def.ID]
		if u.checks[i].Def.DeregisterAfter > 0 && s != nil && s.status == mesh.HealthCritical {
			return true
		}
	}
	return false
}

// failed notes a refusal: once in the log, until it is another one.
func (u *unit) failed(log hclog.Logger, err error) {
	if u.fault == nil || u.fault.Error() != err.Error() {
		log.Error("Consul cannot be brought up to date", "unit", u.key(), "error", err)
	}
	u.fault = err
	u.pause = min(max(2*u.pause, firstPause), longestPause)
	u.retry = time.Now().Add(jitter(u.pause))
}

// firstFault is what is wrong although Consul answers.
func (m *mirror) firstFault() error {
	for _, key := range slices.SortedFunc(maps.Keys(m.units), agentFirst) {
		if u := m.units[key]; !u.registered && u.fault != nil {
			return u.fault
		}
	}
	return nil
}

// watches reports whether there is a check that somebody else runs.
func (m *mirror) watches() bool {
	for _, u := range m.units {
		if slices.ContainsFunc(u.checks, func(c CatalogCheck) bool { return c.Native }) {
			return true
		}
	}
	return false
}

// lookAt reads what Consul has: often when there are checks that others run,
// and now and then to find what it has forgotten.
func (m *mirror) lookAt(ctx context.Context) error {
	now := time.Now()
	m.mu.Lock()
	asked := m.lookNow
	m.lookNow = false
	m.mu.Unlock()
	if m.local == nil || !asked && now.Before(m.look) {
		return nil
	}
	var all map[string]LocalCheck
	err := m.call(ctx, func(ctx context.Context) (err error) {
		all, err = m.local(ctx)
		return err
	})
	m.look = now.Add(reconcileEvery)
	if m.watches() {
		m.look = now.Add(lookEvery)
	}
	if err != nil {
		return m.refused(ctx, m.units[agentUnit], err)
	}
	for _, u := range m.units {
		m.compare(u, all)
	}
	m.observe(all)
	return nil
}

// compare looks whether Consul has all checks of a unit.
func (m *mirror) compare(u *unit, all map[string]LocalCheck) {
	if !u.registered {
		return
	}
	for i := range u.checks {
		id := u.checks[i].Def.ID
		if _, ok := all[id]; !ok {
			m.forgotten(u, mesh.Errorf(mesh.NotFound, "Consul does not have the check %q", id))
			return
		}
	}
	u.fault, u.pause = nil, 0
}

// jitter spreads a pause by a fifth, so that a thousand agents do not ask in
// step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
