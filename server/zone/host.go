package zone

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/zone"
)

// host is one node of the inventory.
type host struct {
	place

	round uint64    // of the inventory that listed it last.
	node  mesh.Node // zero, but for the place, when it is listed no more.
	seen  bool      // it was looked at once.
	// failing is since when neither gossip nor its agent says that it lives.
	failing time.Time
	memory  map[string]*memory // by check id; those that are not known to have been bad have none.
	want    offer
	pub     offer // what is in the zone.
	// heldFrom is since when the guard keeps something of it.
	heldFrom time.Time
	due      time.Time // when to look again though nothing has come; zero: never.
}

// memory is how a check has come to be what it is.
type memory struct {
	catalog mesh.Health
	expired bool
	changed time.Time   // when the catalog last said something new; zero: at the start.
	real    mesh.Health // what it was when somebody last knew.
	from    time.Time   // of expired.
}

// offer is what a node gives to the zone.
type offer struct {
	node      *zone.Node // nil: its name is not answered.
	instances []instance // those that are answered, by service and id.
	services  []named    // all that it has, answered or not; by key.
	// sureNode says that a name that is not answered has a reason, sure the
	// same of instances, by id.
	sureNode bool
	sure     map[string]bool
	problems []Finding
}

// named is a service by the key of its entry and as its name is written.
type named struct{ key, name string }

// instance is one instance of a service.
type instance struct {
	service named
	key     string // the service and its id: unique on the node.

	zone.Instance
}

func (o *offer) find(key string) bool {
	return slices.ContainsFunc(o.instances, func(i instance) bool { return i.key == key })
}

func (o *offer) equal(p *offer) bool {
	if !slices.Equal(o.services, p.services) || !sameNode(o.node, p.node) {
		return false
	}
	return slices.EqualFunc(o.instances, p.instances, sameInstance)
}

// refuse notes that an instance is not answered, and whether for a reason.
func (o *offer) refuse(key string, sure bool) {
	if sure {
		if o.sure == nil {
			o.sure = make(map[string]bool)
		}
		o.sure[key] = true
	}
}

func sameInstance(a, b instance) bool {
	x, y := &a.Instance, &b.Instance
	return a.service == b.service && x.ID == y.ID && x.Address == y.Address && x.Own == y.Own && x.Host == y.Host &&
		x.Port == y.Port && x.Weight == y.Weight && slices.Equal(x.Tags, y.Tags)
}

func sameNode(a, b *zone.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && a.FQDN == b.FQDN && slices.Equal(a.Addresses, b.Addresses)
}

// rivalMark is in the names of agents that claim another one's name; such a
// name is for people.
const rivalMark = "~"

// linked reports whether the node's agent is connected.
func (h *host) linked() bool { return h.node.Agent == mesh.AgentLinked }

func (h *host) serfAlive() bool {
	return h.node.Status == mesh.MemberAlive || h.node.Status == mesh.MemberLeaving
}

// evaluate works out what the node offers now.
func (b *Builder) evaluate(h *host, now time.Time) {
	h.due = time.Time{}
	h.want = offer{}
	if h.node.Name == "" {
		h.seen = true
		return // listed no more: nobody knows why.
	}
	lives := b.lives(h, now)
	if !lives {
		h.want.sureNode = h.node.Status == mesh.MemberLeft || h.node.Agent == mesh.AgentLost
	} else {
		h.offerName()
	}
	if len(h.want.problems) == 0 { // a node that has no name has no instances either.
		b.offerServices(h, lives, now)
	}
	h.seen = true
}

// lives reports whether the node's name is to be answered.
func (b *Builder) lives(h *host, now time.Time) bool {
	switch {
	case strings.Contains(string(h.node.Name), rivalMark):
		return false
	case h.linked() || h.serfAlive():
		h.failing = time.Time{}
		return true
	case h.node.Status == mesh.MemberLeft:
		return false
	case h.node.Status == "":
		// Registered by hand, when there is no agent; else Consul has
		// forgotten it.
		return h.node.ID == ""
	}
	if h.failing.IsZero() {
		h.failing = now
		if !h.seen && h.node.Agent != mesh.AgentLost {
			// It failed before this server came, and no agent is to come back.
			h.failing = now.Add(-b.o.NodeHold)
		}
	}
	return !b.over(h, h.failing.Add(b.o.NodeHold), now)
}

// over reports whether a hold has ended, and sees to it that the node is
// looked at again when it has not. While Consul is away none ends.
func (b *Builder) over(h *host, at, now time.Time) bool {
	if now.Before(at) {
		h.wait(at)
		return false
	}
	if b.o.ConsulAge(h.dc) > awayAfter {
		h.wait(now.Add(tickEvery))
		return false
	}
	return true
}

func (h *host) wait(at time.Time) {
	if h.due.IsZero() || at.Before(h.due) {
		h.due = at
	}
}

func (h *host) offerName() {
	n := &zone.Node{DC: h.dc, Name: string(h.name)}
	if a, err := netip.ParseAddr(h.node.Address); err == nil {
		n.Addresses = []netip.Addr{a.Unmap().WithZone("")}
	}
	if host := hostOf(&h.node); strings.Contains(host, ".") && zone.CheckName("host", host) == nil {
		n.FQDN = host
	}
	if _, err := zone.NodeEntry(*n); err != nil {
		h.problem(KindName, "", err)
		h.want.sureNode = true
		return
	}
	h.want.node = n
}

// offerServices offers the instances that are well.
func (b *Builder) offerServices(h *host, lives bool, now time.Time) {
	if len(h.node.Services) == 0 || strings.Contains(string(h.node.Name), rivalMark) {
		return
	}
	v := b.verdicts(h, now)
	h.want.services = make([]named, 0, len(h.node.Services))
	h.want.instances = make([]instance, 0, len(h.node.Services))
	for i := range h.node.Services {
		s := &h.node.Services[i]
		if b.exclude[s.Name] {
			continue
		}
		inst := h.instance(s)
		if err := checkInstance(h.dc, s.Name, inst.Instance); err != nil {
			h.problem(KindInstance, s.Name, err)
			h.want.refuse(inst.key, true)
			continue
		}
		h.want.services = append(h.want.services, inst.service)
		bad, sure := v.of(s)
		switch {
		case !lives:
			h.want.refuse(inst.key, h.want.sureNode)
		case bad:
			h.want.refuse(inst.key, sure)
		default:
			h.want.instances = append(h.want.instances, inst)
		}
	}
	h.want.sort()
}

func (o *offer) sort() {
	slices.SortFunc(o.services, func(a, b named) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.name, b.name)) })
	o.services = slices.CompactFunc(o.services, func(a, b named) bool { return a.key == b.key })
	slices.SortFunc(o.instances, byKey)
}

func byKey(a, b instance) int { return cmp.Compare(a.key, b.key) }

func checkInstance(dc, service string, i zone.Instance) error {
	if err := zone.CheckLabel("datacenter", dc); err != nil {
		return err
	}
	if err := zone.CheckLabel("service", service); err != nil {
		return err
	}
	return zone.CheckInstance(i)
}

// instance makes the instance of a service as the zone has it. Tags that no
// question can carry are left out.
func (h *host) instance(s *mesh.Service) instance {
	i := instance{service: named{zone.ServiceKey(h.dc, s.Name), s.Name}, key: s.Name + "/" + s.ID, Instance: zone.Instance{Node: string(h.name), Port: uint16(s.Port)}}
	if s.ID != s.Name {
		i.ID = s.ID
	}
	if s.Port < 0 || s.Port > 1<<16-1 {
		i.Port = 0
	}
	at := cmp.Or(s.Address, h.node.Address)
	if a, err := netip.ParseAddr(at); err == nil {
		i.Address = a.Unmap().WithZone("")
	} else {
		i.Host = strings.TrimSuffix(at, ".")
	}
	i.Own = at != h.node.Address
	for _, t := range s.Tags {
		if len(t) <= maxTag && len(i.Tags) < zone.MaxTags {
			i.Tags = append(i.Tags, t)
		}
	}
	return i
}

// maxTag is the longest tag that fits a name.
const maxTag = 253
