package zone

import (
	"cmp"
	"time"

	"alps/mesh"
)

// verdicts say which of a node's services must not be answered.
type verdicts struct {
	node, nodeSure bool
	bad            map[string]bool // by service id; the value: it is sure.
	// byName is for checks that do not say which instance they are about.
	byName map[string]bool
}

func (v *verdicts) of(s *mesh.Service) (bad, sure bool) {
	byID, isBad := v.bad[s.ID]
	byName, namedBad := v.byName[s.Name]
	return v.node || isBad || namedBad, v.nodeSure || byID || byName
}

// add takes a critical check in. The service is empty for the node's own.
func (v *verdicts) add(id, name string, sure bool) {
	switch {
	case id != "":
		note(&v.bad, id, sure)
	case name != "":
		note(&v.byName, name, sure)
	default:
		v.node, v.nodeSure = true, v.nodeSure || sure
	}
}

func note(m *map[string]bool, key string, sure bool) {
	if *m == nil {
		*m = make(map[string]bool)
	}
	(*m)[key] = (*m)[key] || sure
}

// verdicts judges the node's checks, as the catalog and the link have them.
func (b *Builder) verdicts(h *host, now time.Time) verdicts {
	var v verdicts
	list := b.o.Checks.Node(h.dc, h.name)
	for i := range h.node.Checks {
		c := &h.node.Checks[i]
		if b.health(h, c, stateOf(list, c.ID), now) != mesh.HealthCritical {
			continue
		}
		sure := true
		if c.ID == mesh.SerfCheck {
			// Gossip alone may be wrong about many nodes at once.
			sure = h.node.Agent == mesh.AgentLost
		}
		v.add(c.ServiceID, c.Service, sure)
	}
	for i := range list {
		s := &list[i]
		if s.Source != mesh.SourceLink || s.AgentLost || s.Result.Status != mesh.HealthCritical {
			continue
		}
		if !h.lists(s.Result.Check) {
			v.add(s.Result.Service, "", true)
		}
	}
	return v
}

// stateOf finds a check; a node has too few of them for an index to pay.
func stateOf(list []mesh.CheckState, id string) *mesh.CheckState {
	for i := range list {
		if list[i].Result.Check == id {
			return &list[i]
		}
	}
	return nil
}

func (h *host) lists(check string) bool {
	for i := range h.node.Checks {
		if h.node.Checks[i].ID == check {
			return true
		}
	}
	return false
}

// health says how a check is, as far as names are concerned: raw, as Consul
// does it, and not when it has been confirmed. st is nil when the server
// believes nothing of it.
func (b *Builder) health(h *host, c *mesh.Check, st *mesh.CheckState, now time.Time) mesh.Health {
	if st == nil && c.Status == mesh.HealthPassing && h.memory[c.ID] == nil {
		return mesh.HealthPassing // nothing to compare and nothing to remember.
	}
	m := h.remember(c, now)
	defer h.keep(c.ID, m)
	switch {
	case st != nil && st.Source == mesh.SourceLink && !st.AgentLost && st.Received.After(m.changed):
		m.real = st.Result.Status
		return m.real
	case !m.expired:
		m.real = m.catalog
		return m.real
	case st != nil && st.Source == mesh.SourceCatalog && st.Status == mesh.HealthCritical:
		return mesh.HealthCritical // somebody else's TTL: it says what it says.
	case h.serfAlive() && !b.over(h, m.from.Add(b.o.AgentLostHold), now):
		return cmp.Or(m.real, mesh.HealthPassing)
	}
	return mesh.HealthCritical
}

// remember takes in what the catalog says of a check.
func (h *host) remember(c *mesh.Check, now time.Time) *memory {
	status, expired := mesh.CatalogHealth(c.Status, c.Output)
	m := h.memory[c.ID]
	if m == nil {
		m = &memory{catalog: mesh.HealthPassing}
		if !h.seen {
			m.catalog = status // and nobody knows since when.
		}
	}
	if expired && !m.expired {
		m.from = now
	}
	if h.seen && (m.catalog != status || m.expired != expired) {
		m.changed = now
	}
	m.catalog, m.expired = status, expired
	return m
}

// keep remembers what is worth it.
func (h *host) keep(id string, m *memory) {
	if h.memory[id] != nil || m.catalog == mesh.HealthPassing && !m.expired && m.real == mesh.HealthPassing {
		return
	}
	if h.memory == nil {
		h.memory = make(map[string]*memory)
	}
	h.memory[id] = m
}
