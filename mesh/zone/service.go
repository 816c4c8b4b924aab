package zone

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

const (
	// partInstances is how many instances a part holds on average, at most:
	// about 3 KB, what one changed instance costs each agent.
	partInstances = 128
	// maxPart is the most bytes of a part; parts are halved until all fit.
	maxPart = 16 << 10
	// maxParts bounds a service: about half a million instances.
	maxParts = 4096
	// maxValue is the most bytes of any value, so that each fits into a frame
	// with its key.
	maxValue = 32 << 10
)

// The flags of an encoded instance.
const (
	flagOwn = 1 << iota
	flagAddr4
	flagAddr6
	flagHost
	flagID
	flagWeight
	flagsKnown = 1<<iota - 1
)

// ServiceEntries encodes a service as one entry, or as many parts as it takes.
// The same instances in another order give the same entries. The error is
// mesh.Invalid when a name in it cannot be answered.
func ServiceEntries(s Service) ([]Entry, error) {
	if err := checkService(s); err != nil {
		return nil, err
	}
	all := slices.Clone(s.Instances)
	slices.SortStableFunc(all, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
	})
	for n := 1; n <= maxParts; n *= 2 {
		if len(all) > n*partInstances {
			continue
		}
		if entries, ok := encodeParts(s, all, n); ok {
			return entries, nil
		}
	}
	return nil, mesh.Errorf(mesh.TooLarge, "service %q with %d instances is too large to be answered", s.Name, len(all))
}

func checkService(s Service) error {
	if err := CheckLabel("datacenter", s.DC); err != nil {
		return err
	}
	if err := CheckLabel("service", s.Name); err != nil {
		return err
	}
	for _, i := range s.Instances {
		if err := CheckInstance(i); err != nil {
			return mesh.Errorf(mesh.Invalid, "service %q: %w", s.Name, err)
		}
	}
	return nil
}

// CheckInstance returns mesh.Invalid when an instance cannot be answered: the
// builder leaves such a one out, and answers the others.
func CheckInstance(i Instance) error {
	if err := CheckName("node", i.Node); err != nil {
		return err
	}
	switch {
	case i.Host != "" && !isName(i.Host):
		return CheckName("address", i.Host)
	case i.Host == "" && !i.Address.IsValid():
		return mesh.Errorf(mesh.Invalid, "instance %q on node %q has no address", i.ID, i.Node)
	case len(i.ID) > maxID:
		return mesh.Errorf(mesh.Invalid, "the id of an instance on node %q has %d bytes, at most %d are carried", i.Node, len(i.ID), maxID)
	case len(i.Tags) > MaxTags:
		return mesh.Errorf(mesh.Invalid, "instance %q on node %q has %d tags, at most %d are answered", i.ID, i.Node, len(i.Tags), MaxTags)
	}
	for _, t := range i.Tags {
		if len(t) > maxName {
			return mesh.Errorf(mesh.Invalid, "instance %q on node %q has a tag of %d bytes, at most %d fit a name", i.ID, i.Node, len(t), maxName)
		}
	}
	return nil
}

// encodeParts cuts a service into n parts; false when one is too large.
func encodeParts(s Service, all []Instance, n int) ([]Entry, bool) {
	parts := make([][]Instance, n)
	for _, i := range all {
		at := partOf(i, n)
		parts[at] = append(parts[at], i)
	}
	entries := make([]Entry, n)
	for at, list := range parts {
		v := encodePart(s.Name, n, list)
		if len(v) > maxPart {
			return nil, false
		}
		entries[at] = Entry{Key: partKey(ServiceKey(s.DC, s.Name), at), Value: string(v)}
	}
	return entries, true
}

func partKey(key string, part int) string {
	if part == 0 {
		return key
	}
	return key + "/" + strconv.Itoa(part)
}

func partOf(i Instance, n int) int {
	if n == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(i.Node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(i.ID))
	return int(h.Sum32() % uint32(n))
}

// encodePart writes the lists of tags once each, and of each node's name what
// the one before it does not already say.
func encodePart(service string, parts int, list []Instance) []byte {
	spelled := service
	if strings.ToLower(spelled) == spelled {
		spelled = ""
	}
	b := binary.AppendUvarint(nil, uint64(parts))
	b = appendString(b, spelled)

	lists, index := tagLists(list)
	b = binary.AppendUvarint(b, uint64(len(lists)))
	for _, tags := range lists {
		b = binary.AppendUvarint(b, uint64(len(tags)))
		for _, t := range tags {
			b = appendString(b, t)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(list)))
	before := ""
	for at, i := range list {
		b = appendInstance(b, i, before, index[at])
		before = i.Node
	}
	return b
}

// tagLists returns the different lists of tags and which of them each instance
// has.
func tagLists(list []Instance) (lists [][]string, index []int) {
	seen := make(map[string]int)
	index = make([]int, len(list))
	for at, i := range list {
		key := string(binary.AppendUvarint(nil, uint64(len(i.Tags))))
		for _, t := range i.Tags {
			key = string(appendString([]byte(key), t))
		}
		n, ok := seen[key]
		if !ok {
			n = len(lists)
			seen[key] = n
			lists = append(lists, i.Tags)
		}
		index[at] = n
	}
	return lists, index
}

func appendInstance(b []byte, i Instance, before string, tags int) []byte {
	var flags byte
	a := i.Address.Unmap().WithZone("")
	switch {
	case i.Host != "":
		flags |= flagHost
	case a.Is4():
		flags |= flagAddr4
	default:
		flags |= flagAddr6
	}
	if i.Own {
		flags |= flagOwn
	}
	if i.ID != "" {
		flags |= flagID
	}
	if i.Weight > 1 {
		flags |= flagWeight
	}
	shared := 0
	for shared < len(before) && shared < len(i.Node) && before[shared] == i.Node[shared] {
		shared++
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendString(b, i.Node[shared:])
	if flags&flagHost != 0 {
		b = appendString(b, i.Host)
	} else {
		b = append(b, a.AsSlice()...)
	}
	b = binary.AppendUvarint(b, uint64(i.Port))
	if flags&flagID != 0 {
		b = appendString(b, i.ID)
	}
	if flags&flagWeight != 0 {
		b = binary.AppendUvarint(b, uint64(i.Weight))
	}
	return binary.AppendUvarint(b, uint64(tags))
}

// partValue is one decoded part of a service.
type partValue struct {
	parts     int
	name      string
	instances []Instance
}

// decodePart reads a part of the service of that name. Lists of tags are
// shared between instances.
func decodePart(name, value string) (partValue, bool) {
	r := scanner{s: value}
	p := partValue{parts: r.number(maxParts), name: name}
	if s := r.string(maxLabel); s != "" {
		p.name = s
	}
	lists := make([][]string, r.count())
	for i := range lists {
		n := r.number(MaxTags)
		for range n {
			lists[i] = append(lists[i], r.string(maxName))
		}
	}
	n := r.count() // at least 5 bytes each, so no more than a few times the input is set aside.
	if n > 0 && !r.bad {
		p.instances = make([]Instance, 0, min(n, len(r.s)/5+1))
	}
	before := ""
	for range n {
		i := r.instance(before, lists)
		if r.bad {
			return partValue{}, false
		}
		before = i.Node
		p.instances = append(p.instances, i)
	}
	return p, r.end() && p.parts > 0 && strings.EqualFold(p.name, name)
}

func (r *scanner) instance(before string, lists [][]string) Instance {
	var i Instance
	flags := r.byte()
	if kept := r.number(len(before)); kept == 0 {
		i.Node = r.string(maxName)
	} else {
		i.Node = before[:kept] + r.string(maxName)
	}
	switch flags & (flagAddr4 | flagAddr6 | flagHost) {
	case flagAddr4, flagAddr6:
		i.Address = r.addr(flags&flagAddr6 != 0)
	case flagHost:
		i.Host = r.string(maxName)
	default:
		r.fail()
	}
	i.Own = flags&flagOwn != 0
	i.Port = uint16(r.number(1<<16 - 1))
	if flags&flagID != 0 {
		i.ID = r.string(maxID)
	}
	i.Weight = 1
	if flags&flagWeight != 0 {
		i.Weight = uint16(r.number(1<<16 - 1))
	}
	at := r.number(len(lists))
	if at == len(lists) || flags&^byte(flagsKnown) != 0 || !isName(i.Node) || i.Host != "" && !isName(i.Host) {
		r.fail()
		return Instance{}
	}
	i.Tags = lists[at]
	return i
}
