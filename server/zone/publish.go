package zone

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/zone"
)

// entry is what several nodes make together: one name of a node, which should
// be one node's, or one service.
type entry struct {
	service  bool
	hosts    []*host  // by name.
	keys     []string // in the zone; a service may be cut into several.
	problems []Finding
}

// counts are of what is in the zone.
type counts struct {
	nodes, instances int
	stale            bool // Status is not up to date, whatever the serial.
}

// look works out the offers of the nodes that may have changed, and returns
// those nodes.
func (b *Builder) look(listed bool, touched map[place]struct{}, now time.Time) map[*host]bool {
	changed := make(map[*host]bool)
	if listed {
		b.follow(changed)
	}
	for p := range touched {
		if h := b.hosts[p]; h != nil {
			changed[h] = true
		}
	}
	for _, h := range b.hosts {
		if !h.due.IsZero() && !h.due.After(now) {
			changed[h] = true
		}
	}
	for h := range changed {
		before := len(h.want.problems)
		b.evaluate(h, now)
		if before+len(h.want.problems) > 0 {
			b.counts.stale = true
		}
	}
	return changed
}

// follow takes over the inventory and adds what is different to changed.
func (b *Builder) follow(changed map[*host]bool) {
	b.round++
	nodes := b.o.Inventory.Nodes()
	for i := range nodes {
		n := &nodes[i]
		p := place{n.DC, n.Name}
		h := b.hosts[p]
		if h == nil {
			h = &host{place: p}
			b.hosts[p] = h
		}
		h.round = b.round
		if h.seen && same(&h.node, n) {
			h.node = *n // let go of an older inventory.
			continue
		}
		h.node = *n
		h.forget()
		changed[h] = true
	}
	for _, h := range b.hosts {
		if h.round != b.round && h.node.Name != "" {
			h.node = mesh.Node{}
			changed[h] = true
		}
	}
}

// same reports whether two states of a node make the same offer. Most often
// their lists are one: the inventory shares those that have not changed.
func same(a, b *mesh.Node) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Status == b.Status && a.Agent == b.Agent && a.Address == b.Address &&
		hostOf(a) == hostOf(b) &&
		(shared(a.Checks, b.Checks) || slices.Equal(a.Checks, b.Checks)) &&
		(shared(a.Services, b.Services) || slices.EqualFunc(a.Services, b.Services, sameService))
}

func hostOf(n *mesh.Node) string {
	if n.Facts == nil {
		return ""
	}
	return n.Facts.Host
}

// sameService compares what names are made of.
func sameService(a, b mesh.Service) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Address == b.Address && a.Port == b.Port && slices.Equal(a.Tags, b.Tags)
}

func shared[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// forget drops what is remembered of checks that are no more.
func (h *host) forget() {
	if len(h.memory) <= len(h.node.Checks) {
		return
	}
	for id := range h.memory {
		if !h.lists(id) {
			delete(h.memory, id)
		}
	}
}

// settle puts what the guard lets through in the place of what was published,
// and returns the keys that have to be encoded.
func (b *Builder) settle(changed map[*host]bool, now time.Time) map[string]bool {
	dirty := make(map[string]bool)
	for h := range b.held {
		changed[h] = true
	}
	keep := b.guard(changed, now)
	// In the order of names each goes to the end of what it enters.
	for _, h := range slices.SortedFunc(maps.Keys(changed), byName) {
		next := h.want
		if keep {
			next = h.keeping(now)
		}
		wasHeld := b.held[h]
		if next.equal(&h.want) {
			h.heldFrom = time.Time{}
			delete(b.held, h)
		} else {
			b.held[h] = true
			h.wait(h.heldFrom.Add(shrinkHold))
		}
		if wasHeld != b.held[h] {
			b.counts.stale = true
		}
		if !next.equal(&h.pub) {
			b.replace(h, next, dirty)
		}
		h.pub = next
		if h.node.Name == "" && h.pub.node == nil && len(h.pub.services) == 0 {
			delete(b.hosts, h.place)
			delete(b.held, h)
		}
	}
	return dirty
}

// replace moves a node from the entries that it was in to those that it is in.
func (b *Builder) replace(h *host, next offer, dirty map[string]bool) {
	old := &h.pub
	if !sameNode(old.node, next.node) {
		if old.node != nil {
			b.counts.nodes--
			b.enter(h, zone.NodeKey(h.dc, old.node.Name), false, dirty)
		}
		if next.node != nil {
			b.counts.nodes++
			b.enter(h, zone.NodeKey(h.dc, next.node.Name), true, dirty)
		}
	}
	b.counts.instances += len(next.instances) - len(old.instances)
	for _, s := range old.services {
		if !next.has(s.key) {
			b.enter(h, s.key, false, dirty)
		}
	}
	for _, s := range next.services {
		if !old.has(s.key) || !sameOf(old, &next, s.key) {
			b.enter(h, s.key, true, dirty)
		}
	}
}

// enter puts a node into an entry or takes it out.
func (b *Builder) enter(h *host, key string, in bool, dirty map[string]bool) {
	e := b.entries[key]
	if e == nil {
		e = &entry{service: strings.HasPrefix(key, "s/")}
		b.entries[key] = e
	}
	dirty[key] = true
	at, there := slices.BinarySearchFunc(e.hosts, h, byName)
	switch {
	case in && !there:
		e.hosts = slices.Insert(e.hosts, at, h)
	case !in && there:
		e.hosts = slices.Delete(e.hosts, at, at+1)
	}
}

func byName(x, y *host) int { return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.dc, y.dc)) }

func (o *offer) has(key string) bool {
	return slices.ContainsFunc(o.services, func(s named) bool { return s.key == key })
}

// sameOf reports whether two offers say the same of one service.
func sameOf(a, b *offer, key string) bool {
	of := func(o *offer) (list []instance, names []named) {
		for i := range o.instances {
			if o.instances[i].service.key == key {
				list = append(list, o.instances[i])
			}
		}
		for _, s := range o.services {
			if s.key == key {
				names = append(names, s)
			}
		}
		return list, names
	}
	la, na := of(a)
	lb, nb := of(b)
	return slices.Equal(na, nb) && slices.EqualFunc(la, lb, sameInstance)
}

// encode encodes what is dirty.
func (b *Builder) encode(dirty map[string]bool) zone.Update {
	var u zone.Update
	for key := range dirty {
		e := b.entries[key]
		had := len(e.problems)
		e.problems = nil
		var set []zone.Entry
		switch {
		case len(e.hosts) == 0:
			delete(b.entries, key)
		case e.service:
			set = e.encodeService(key)
		default:
			set = e.encodeNode()
		}
		if had+len(e.problems) > 0 {
			b.counts.stale = true
		}
		e.commit(&u, set)
	}
	return u
}

// commit makes set what the zone holds of the entry.
func (e *entry) commit(u *zone.Update, set []zone.Entry) {
	keys := make([]string, len(set))
	for i := range set {
		keys[i] = set[i].Key
	}
	for _, key := range e.keys {
		if !slices.Contains(keys, key) {
			u.Drop = append(u.Drop, key)
		}
	}
	e.keys = keys
	u.Set = append(u.Set, set...)
}

// encodeNode gives the name to the first of the nodes that have it: names that
// differ in case alone are one name.
func (e *entry) encodeNode() []zone.Entry {
	hosts := e.hosts
	for _, h := range hosts[1:] {
		e.problems = append(e.problems, Finding{
			Kind: KindConflict, DC: h.dc, Node: h.name,
			Text: fmt.Sprintf("the name %q differs from %q in case only; names are answered without regard to case, and %q has it",
				h.name, hosts[0].name, hosts[0].name),
			Hint: "rename one of the two nodes in Consul",
		})
	}
	one, err := zone.NodeEntry(*hosts[0].pub.node)
	if err != nil {
		e.fail(KindName, hosts[0], err)
		return nil
	}
	return []zone.Entry{one}
}

// encodeService puts together what the nodes have of one service. Of several
// ways to write its name the first in the order of text is shown.
func (e *entry) encodeService(key string) []zone.Entry {
	s := zone.Service{Instances: make([]zone.Instance, 0, len(e.hosts))}
	var one *host
	for _, h := range e.hosts {
		one, s.DC = h, h.dc
		for _, n := range h.pub.services {
			if n.key == key && (s.Name == "" || n.name < s.Name) {
				s.Name = n.name
			}
		}
		for i := range h.pub.instances {
			if in := &h.pub.instances[i]; in.service.key == key {
				s.Instances = append(s.Instances, in.Instance)
			}
		}
	}
	set, err := zone.ServiceEntries(s)
	if err != nil {
		e.fail(KindInstance, one, err)
	}
	return set
}

func (e *entry) fail(k Kind, h *host, err error) {
	e.problems = append(e.problems, Finding{Kind: k, DC: h.dc, Node: h.name, Text: err.Error()})
}
