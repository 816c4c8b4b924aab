package zone

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Update turns one state of a zone into another: first the buckets in Clear
// are emptied, then Drop and Set are done. Doing it twice is doing it once.
type Update struct {
	Serial uint64
	Built  time.Time // to the millisecond.
	// Sum is Zone.Sum of the state that this leads to; zero: not known.
	Sum   uint64
	Clear []uint8 // numbers of buckets.
	Drop  []string
	Set   []Entry // checked, see Entry; each key once.
}

// Changes reports whether the update holds more than a serial and a time.
func (u *Update) Changes() bool { return len(u.Clear)+len(u.Drop)+len(u.Set) > 0 }

// Apply returns the zone that an update leads to; z stays as it is. The cost
// is that of the buckets that are touched: some microseconds for one entry.
func (z *Zone) Apply(u Update) *Zone {
	next := *z
	next.serial, next.built = u.Serial, u.Built
	m := mutation{z: &next}
	for _, i := range u.Clear {
		for _, e := range next.buckets[i].entries {
			m.forget(e)
		}
		next.buckets[i] = bucket{}
		m.fresh[i] = true
	}
	for _, key := range u.Drop {
		m.drop(key)
	}
	if len(u.Set) > Buckets { // many: make room once.
		m.reserve(u.Set)
	}
	for _, e := range u.Set {
		m.set(e)
	}
	m.sort()
	return &next
}

// mutation changes a zone that nobody else can see yet. A bucket is copied
// when it is first touched.
type mutation struct {
	z         *Zone
	fresh     [Buckets]bool // its entries are our own.
	freshAddr [Buckets]bool
	freshDCs  bool
	unsorted  [Buckets]bool
	bulk      bool // entries are appended, and sorted in the end.
}

func (m *mutation) own(i int) *bucket {
	b := &m.z.buckets[i]
	if !m.fresh[i] {
		m.fresh[i] = true
		b.entries = append(make([]Entry, 0, len(b.entries)+1), b.entries...)
	}
	return b
}

// reserve prepares for entries that are mostly new: they are appended and
// sorted once, where inserting each would move half a bucket.
func (m *mutation) reserve(set []Entry) {
	var n [Buckets]int
	for _, e := range set {
		n[bucketOf(e.Key)]++
	}
	for i, more := range n {
		b := &m.z.buckets[i]
		if more > 0 && len(b.entries) == 0 {
			m.fresh[i], m.unsorted[i] = true, true
			b.entries = make([]Entry, 0, more)
		}
	}
	m.bulk = true
}

func (m *mutation) set(e Entry) {
	i := bucketOf(e.Key)
	b := m.own(i)
	if m.bulk && m.unsorted[i] {
		b.entries = append(b.entries, e)
	} else if at, ok := find(b.entries, e.Key); ok {
		if b.entries[at].Value == e.Value {
			return
		}
		m.forget(b.entries[at])
		b.digest -= hashOf(b.entries[at])
		b.entries[at] = e
	} else {
		b.entries = slices.Insert(b.entries, at, e)
	}
	b.digest += hashOf(e)
	m.learn(e)
}

func (m *mutation) drop(key string) {
	i := bucketOf(key)
	at, ok := find(m.z.buckets[i].entries, key)
	if !ok {
		return
	}
	b := m.own(i)
	m.forget(b.entries[at])
	b.digest -= hashOf(b.entries[at])
	b.entries = slices.Delete(b.entries, at, at+1)
}

func (m *mutation) sort() {
	for i := range m.unsorted {
		if m.unsorted[i] {
			slices.SortFunc(m.z.buckets[i].entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
		}
	}
}

// learn puts an entry into the indexes, forget takes it out.
func (m *mutation) learn(e Entry) {
	m.count(e, 1)
	for _, p := range pointersOf(e) {
		list := m.ownAddr(bucketOfAddr(p.addr))
		*list = append(*list, p)
	}
}

func (m *mutation) forget(e Entry) {
	m.count(e, -1)
	for _, p := range pointersOf(e) {
		list := m.ownAddr(bucketOfAddr(p.addr))
		if i := slices.Index(*list, p); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
}

func (m *mutation) ownAddr(i int) *[]pointer {
	list := &m.z.reverse[i]
	if !m.freshAddr[i] {
		m.freshAddr[i] = true
		*list = slices.Clone(*list)
	}
	return list
}

func (m *mutation) count(e Entry, by int) {
	kind, dc, _, part, _ := splitKey(e.Key)
	if part > 0 {
		return
	}
	if !m.freshDCs {
		m.freshDCs = true
		m.z.dcs = maps.Clone(m.z.dcs)
		if m.z.dcs == nil {
			m.z.dcs = make(map[string]count)
		}
	}
	c := m.z.dcs[dc]
	if kind == kindNode {
		c.nodes += by
	} else {
		c.services += by
	}
	if c == (count{}) {
		delete(m.z.dcs, dc)
		return
	}
	m.z.dcs[strings.Clone(dc)] = c
}

// pointersOf returns the addresses that lead back to an entry. A pointer of a
// service is to the service, whichever part it is in; an address that several
// of its instances have is there as often.
func pointersOf(e Entry) []pointer {
	kind, dc, name, _, _ := splitKey(e.Key)
	var out []pointer
	if kind == kindNode {
		n, _ := decodeNode(dc, name, e.Value)
		for _, a := range n.Addresses {
			out = append(out, pointer{a, e.Key})
		}
		return out
	}
	p, _ := decodePart(name, e.Value)
	key := e.Key[:len("s/")+len(dc)+len("/")+len(name)]
	for _, i := range p.instances {
		if i.Own && i.Address.IsValid() {
			out = append(out, pointer{i.Address, key})
		}
	}
	return out
}

// Diff returns what brings the holder of have to z: whole buckets.
func (z *Zone) Diff(have Have) Update {
	u := z.header()
	for i := range z.buckets {
		if z.buckets[i].digest == have.Digests[i] {
			continue
		}
		u.Clear = append(u.Clear, uint8(i))
		u.Set = append(u.Set, z.buckets[i].entries...)
	}
	return u
}

// Between returns what turns from into to, entry by entry.
func Between(from, to *Zone) Update {
	u := to.header()
	for i := range to.buckets {
		a, b := &from.buckets[i], &to.buckets[i]
		if a.digest == b.digest {
			continue
		}
		for _, e := range b.entries {
			if at, ok := find(a.entries, e.Key); !ok || a.entries[at].Value != e.Value {
				u.Set = append(u.Set, e)
			}
		}
		for _, e := range a.entries {
			if _, ok := find(b.entries, e.Key); !ok {
				u.Drop = append(u.Drop, e.Key)
			}
		}
	}
	return u
}

func (z *Zone) header() Update { return Update{Serial: z.serial, Built: z.built, Sum: z.Sum()} }
