package checktest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"alps/agent/check"
	"alps/mesh"
)

// Consul is a local Consul agent in memory. It implements check.Catalog, and
// its Local is a check.Local. Its methods may be called from any goroutine.
type Consul struct {
	mu       sync.Mutex
	away     bool
	frozen   bool
	refused  map[string]error // by id of a service or check.
	services map[string]mesh.ServiceDef
	checks   map[string]*Check
	calls    []Call
}

// Check is what the agent has of a check.
type Check struct {
	Def     mesh.CheckDef
	Service string
	Native  bool
	TTL     time.Duration
	Status  mesh.Health
	Output  string
	updated time.Time
}

// Call is one request that was made, successful or not.
type Call struct {
	What   string // register, deregister, update or local.
	ID     string // of the service, or of the check.
	Status mesh.Health
	Output string
	At     time.Time
}

// New returns an agent that has nothing.
func New() *Consul {
	return &Consul{refused: map[string]error{}, services: map[string]mesh.ServiceDef{}, checks: map[string]*Check{}}
}

// SetAway has every request fail with mesh.Unavailable, or not any more.
func (c *Consul) SetAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// SetFrozen has every request wait for the end of its time, as those to a
// Consul that is stopped do, or not any more.
func (c *Consul) SetFrozen(frozen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = frozen
}

// Refuse has requests about a service or a check of the node fail. A nil error
// ends it.
func (c *Consul) Refuse(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[id] = err
}

// Forget removes everything, as a lost data directory does.
func (c *Consul) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.services)
	clear(c.checks)
}

// Reap removes a service and its checks, as Consul does with one that was
// critical for long.
func (c *Consul) Reap(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.services, service)
	maps.DeleteFunc(c.checks, func(_ string, k *Check) bool { return k.Service == service })
}

// Set makes a check say something, as its runner in Consul or whoever feeds it
// does. One that is not there becomes a check of the node.
func (c *Consul) Set(id string, status mesh.Health, output string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.checks[id]
	if k == nil {
		k = &Check{Def: mesh.CheckDef{ID: id}}
		c.checks[id] = k
	}
	k.Status, k.Output, k.updated = status, output, time.Now()
}

// AddService registers a service of somebody else's.
func (c *Consul) AddService(s mesh.ServiceDef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services[s.ID] = s
}

// Check returns what the agent shows of a check.
func (c *Consul) Check(id string) (Check, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.checks[id]
	if !ok {
		return Check{}, false
	}
	return k.shown(time.Now()), true
}

// Service returns a service.
func (c *Consul) Service(id string) (mesh.ServiceDef, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.services[id]
	return s, ok
}

// Calls returns the requests so far, those of one kind if what is not empty.
func (c *Consul) Calls(what string) []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Call
	for _, l := range c.calls {
		if what == "" || l.What == what {
			out = append(out, l)
		}
	}
	return out
}

// shown is the check as it is at a time: a TTL may be over.
func (k *Check) shown(now time.Time) Check {
	out := *k
	ttl := k.TTL
	if k.Native && k.Def.Kind == mesh.CheckTTL {
		ttl = k.Def.TTL
	}
	if ttl > 0 && now.Sub(k.updated) > ttl {
		out.Status = mesh.HealthCritical
		out.Output = strings.TrimSpace(mesh.TTLExpired + " (last output before timeout follows): " + k.Output)
	}
	return out
}

// enter notes a request and says whether it fails. The caller holds the lock.
func (c *Consul) enter(ctx context.Context, l Call) error {
	l.At = time.Now()
	c.calls = append(c.calls, l)
	if c.frozen {
		c.mu.Unlock()
		<-ctx.Done()
		c.mu.Lock()
		return mesh.Errorf(mesh.Unavailable, "%s %s: %w", l.What, l.ID, ctx.Err())
	}
	if c.away {
		return mesh.Errorf(mesh.Unavailable, "%s %s: connection refused", l.What, l.ID)
	}
	if err := c.refused[l.ID]; err != nil {
		return fmt.Errorf("%s %s: %w", l.What, l.ID, err)
	}
	return nil
}

// Register implements check.Catalog.
func (c *Consul) Register(ctx context.Context, service *mesh.ServiceDef, checks []check.CatalogCheck) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := ""
	if service != nil {
		id = service.ID
	} else if len(checks) > 0 {
		id = checks[0].Def.ID
	}
	if err := c.enter(ctx, Call{What: "register", ID: id}); err != nil {
		return err
	}
	for _, k := range checks {
		if k.Native && k.Def.Kind == mesh.CheckProbe {
			return mesh.Errorf(mesh.Invalid, "register %s: Consul knows no probe", k.Def.ID)
		}
	}
	was := maps.Clone(c.checks)
	if service != nil {
		c.services[service.ID] = *service
		maps.DeleteFunc(c.checks, func(_ string, k *Check) bool { return k.Service == service.ID })
	}
	for _, k := range checks {
		n := &Check{Def: k.Def, Native: k.Native, TTL: k.TTL, Status: k.Initial, updated: time.Now()}
		if service != nil {
			n.Service = service.ID
		}
		if old := was[k.Def.ID]; old != nil && old.Service == n.Service {
			n.Status, n.Output = old.Status, old.Output
		}
		c.checks[k.Def.ID] = n
	}
	return nil
}

// Deregister implements check.Catalog.
func (c *Consul) Deregister(ctx context.Context, service, check string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, Call{What: "deregister", ID: service + check}); err != nil {
		return err
	}
	if service != "" {
		if _, ok := c.services[service]; !ok {
			return mesh.Errorf(mesh.NotFound, "deregister service %s: unknown", service)
		}
		delete(c.services, service)
		maps.DeleteFunc(c.checks, func(_ string, k *Check) bool { return k.Service == service })
		return nil
	}
	if _, ok := c.checks[check]; !ok {
		return mesh.Errorf(mesh.NotFound, "deregister check %s: unknown", check)
	}
	delete(c.checks, check)
	return nil
}

// Update implements check.Catalog.
func (c *Consul) Update(ctx context.Context, id string, status mesh.Health, output string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, Call{What: "update", ID: id, Status: status, Output: output}); err != nil {
		return err
	}
	k := c.checks[id]
	if k == nil {
		return mesh.Errorf(mesh.NotFound, "update check %s: unknown", id)
	}
	switch status {
	case mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical:
	default:
		return mesh.Errorf(mesh.Invalid, "update check %s: %q is no status of Consul", id, status)
	}
	k.Status, k.Output, k.updated = status, output, time.Now()
	return nil
}

// Local is a check.Local.
func (c *Consul) Local(ctx context.Context) (map[string]check.LocalCheck, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, Call{What: "local"}); err != nil {
		return nil, err
	}
	out := make(map[string]check.LocalCheck, len(c.checks))
	now := time.Now()
	for id, k := range c.checks {
		s := k.shown(now)
		out[id] = check.LocalCheck{Status: s.Status, Output: s.Output}
	}
	return out, nil
}
