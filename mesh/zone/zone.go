package zone

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// Buckets is the number of buckets. It is part of the wire format: another
// number is another version.
const Buckets = 256

// Zone is one state of all names, immutable: any number of goroutines may read
// it. The zero Zone is empty and usable.
type Zone struct {
	serial  uint64
	built   time.Time
	buckets [Buckets]bucket
	reverse [Buckets][]pointer // by the hash of the address.
	dcs     map[string]count
}

// bucket holds entries in the order of their keys. The digest is the sum of
// their hashes: it does not depend on the order, and one entry more costs one
// hash.
type bucket struct {
	entries []Entry
	digest  uint64
}

// pointer says that an address belongs to what key names.
type pointer struct {
	addr netip.Addr
	key  string
}

// count is what is known of a datacenter.
type count struct{ nodes, services int }

// Serial is the number that the builder gave to this state. Numbers of
// different builders do not compare.
func (z *Zone) Serial() uint64 { return z.serial }

// Built is when the builder made this state, by its clock, to the millisecond.
func (z *Zone) Built() time.Time { return z.built }

// Nodes returns how many nodes there are.
func (z *Zone) Nodes() (n int) {
	for _, c := range z.dcs {
		n += c.nodes
	}
	return n
}

// Services returns how many services there are.
func (z *Zone) Services() (n int) {
	for _, c := range z.dcs {
		n += c.services
	}
	return n
}

// Empty reports whether there is nothing to answer.
func (z *Zone) Empty() bool { return len(z.dcs) == 0 }

// DCs returns the datacenters that have a node or a service, sorted.
func (z *Zone) DCs() []string { return slices.Sorted(maps.Keys(z.dcs)) }

// HasDC reports whether a datacenter of that name, in lower case, has a node
// or a service.
func (z *Zone) HasDC(dc string) bool {
	_, ok := z.dcs[dc]
	return ok
}

// Node returns the node of that name, without regard to case.
func (z *Zone) Node(dc, name string) (Node, bool) {
	value, ok := z.value(NodeKey(dc, name))
	if !ok {
		return Node{}, false
	}
	return decodeNode(strings.ToLower(dc), strings.ToLower(name), value)
}

// Service returns the service of that name, without regard to case.
func (z *Zone) Service(dc, name string) (Service, bool) {
	if !isLabel(name) { // else a name could mean one part of another.
		return Service{}, false
	}
	key := ServiceKey(dc, name)
	value, ok := z.value(key)
	if !ok {
		return Service{}, false
	}
	name = key[len(key)-len(name):]
	first, ok := decodePart(name, value)
	if !ok {
		return Service{}, false
	}
	s := Service{DC: strings.ToLower(dc), Name: first.name, Instances: first.instances}
	for n := 1; n < first.parts; n++ {
		value, _ := z.value(partKey(key, n))
		// A part of another division is one that is about to be replaced.
		if p, ok := decodePart(name, value); ok && p.parts == first.parts {
			s.Instances = append(s.Instances, p.instances...)
		}
	}
	return s, true
}

// ByAddress returns the key of the node that has the address or, when none
// has, of the service with an instance that has it for its own. Where several
// have it, those of the preferred datacenter go first, then the order of keys
// decides.
func (z *Zone) ByAddress(a netip.Addr, dc string) (key string, ok bool) {
	a = a.Unmap().WithZone("")
	best := -1
	for _, p := range z.reverse[bucketOfAddr(a)] {
		if p.addr != a {
			continue
		}
		rank := 0
		if p.key[0] == kindNode {
			rank += 2
		}
		if strings.HasPrefix(p.key[2:], dc+"/") {
			rank++
		}
		if rank > best || rank == best && p.key < key {
			best, key = rank, p.key
		}
	}
	return key, best >= 0
}

// SplitKey takes apart a key that ByAddress has returned.
func SplitKey(key string) (dc, name string, node bool) {
	kind, dc, name, _, _ := splitKey(key)
	return dc, name, kind == kindNode
}

// AllNodes returns every node, in no order that means something.
func (z *Zone) AllNodes() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for e := range z.Entries() {
			kind, dc, name, _, _ := splitKey(e.Key)
			if kind != kindNode {
				continue
			}
			if n, ok := decodeNode(dc, name, e.Value); ok && !yield(n) {
				return
			}
		}
	}
}

// AllServices returns every service with all its instances.
func (z *Zone) AllServices() iter.Seq[Service] {
	return func(yield func(Service) bool) {
		for e := range z.Entries() {
			kind, dc, name, part, _ := splitKey(e.Key)
			if kind != kindService || part > 0 {
				continue
			}
			if s, ok := z.Service(dc, name); ok && !yield(s) {
				return
			}
		}
	}
}

// Entries returns every entry, bucket after bucket, by key within each.
func (z *Zone) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range z.buckets {
			for _, e := range z.buckets[i].entries {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Digests returns what two zones are compared by. That of an empty bucket is
// zero.
func (z *Zone) Digests() (d [Buckets]uint64) {
	for i := range z.buckets {
		d[i] = z.buckets[i].digest
	}
	return d
}

// Sum is one digest over all.
func (z *Zone) Sum() uint64 {
	var b [8 * Buckets]byte
	for i := range z.buckets {
		binary.BigEndian.PutUint64(b[8*i:], z.buckets[i].digest)
	}
	h := sha256.Sum256(b[:])
	return binary.BigEndian.Uint64(h[:])
}

func (z *Zone) value(key string) (string, bool) {
	list := z.buckets[bucketOf(key)].entries
	i, ok := find(list, key)
	if !ok {
		return "", false
	}
	return list[i].Value, true
}

func find(list []Entry, key string) (int, bool) {
	return slices.BinarySearchFunc(list, key, func(e Entry, k string) int { return strings.Compare(e.Key, k) })
}

// bucketOf is FNV-1a over the key, stable across versions and machines.
func bucketOf(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % Buckets)
}

func bucketOfAddr(a netip.Addr) int {
	b := a.As16()
	h := fnv.New32a()
	_, _ = h.Write(b[:])
	return int(h.Sum32() % Buckets)
}

// hashOf is 64 bits of SHA-256: enough to tell states apart by accident; by
// intent nobody gets here without a server's certificate.
func hashOf(e Entry) uint64 {
	b := make([]byte, 0, 256)
	b = appendString(b, e.Key)
	b = append(b, e.Value...)
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

// Build makes a zone from scratch. What cannot be answered is left out, and
// the error joins why: the zone is good all the same. Nodes whose names differ
// only in case are one node, the first; instances of services whose names
// differ only in case are of one service.
func Build(serial uint64, built time.Time, nodes []Node, services []Service) (*Zone, error) {
	u := Update{Serial: serial, Built: built}
	var errs []error
	seen := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		e, err := NodeEntry(n)
		if err == nil && seen[e.Key] {
			err = mesh.Errorf(mesh.Conflict, "node %q in datacenter %q: another one has the same name", n.Name, n.DC)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[e.Key] = true
		u.Set = append(u.Set, e)
	}
	merged := make(map[string]*Service, len(services))
	for _, s := range services {
		key := ServiceKey(s.DC, s.Name)
		if merged[key] == nil {
			merged[key] = &Service{DC: s.DC, Name: s.Name}
		}
		for _, i := range s.Instances {
			if err := CheckInstance(i); err != nil {
				errs = append(errs, err)
				continue
			}
			merged[key].Instances = append(merged[key].Instances, i)
		}
	}
	for _, s := range merged {
		entries, err := ServiceEntries(*s)
		errs = append(errs, err)
		u.Set = append(u.Set, entries...)
	}
	return new(Zone).Apply(u), errors.Join(errs...)
}
