package dns

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"alps/mesh/zone"
)

// lookup is what the view was asked for. node tells a node from a service.
type lookup struct {
	node     bool
	dc, name string
}

// resolver answers one question from one view.
type resolver struct {
	s     *Server
	v     *view
	q     *query
	found *found // what Consul has said, if it was asked.

	missed   lookup // the first lookup that found nothing.
	volatile bool   // the answer is not to be kept.
}

// resolve finds the answer. foreign says that the name is not ours: then there
// is none. When missed is set afterwards, Consul may know better.
func (r *resolver) resolve() (a answer, foreign bool) {
	if r.q.qtype == typeAXFR || r.q.qtype == typeIXFR {
		return refused(), false
	}
	name := r.q.lower()
	words, ok := labels(name)
	d := r.s.domainOf(name)
	switch {
	case d != nil && !ok:
		return r.noName(len(d.wire)), false
	case d != nil:
		return r.unsure(r.inDomain(d, words[:len(words)-len(d.labels)])), false
	case !ok:
		return answer{}, true
	}
	if addr, bits, reverse := parseReverse(words); reverse {
		return r.reverse(addr, bits, words)
	}
	if !r.s.o.BareNames || len(words) == 0 {
		return answer{}, true
	}
	if a, ok := r.bare(strings.Join(words, ".")); ok {
		return a, false
	}
	if len(words) > 1 {
		r.missed = lookup{} // Consul is not asked for every name of the world.
	}
	return answer{}, true
}

// unsure makes "no such name" into "cannot say" where there is no view.
func (r *resolver) unsure(a answer) answer {
	if r.missed.name != "" && r.v.source == SourceNone && r.found == nil {
		return answer{rcode: rcodeServFail, ede: edeNotReady}
	}
	return a
}

// domainOf returns the longest of our domains that a name ends with.
func (s *Server) domainOf(name []byte) *domain {
	var best *domain
	for at := 0; ; at += 1 + int(name[at]) {
		for i := range s.domains {
			d := &s.domains[i]
			if string(name[at:]) == string(d.wire) && (best == nil || len(d.wire) > len(best.wire)) {
				best = d
			}
		}
		if best != nil || name[at] == 0 {
			return best
		}
	}
}

// The words that say what the labels before them are.
const (
	wordNode    = "node"
	wordService = "service"
	wordAddr    = "addr"
	wordAlps    = "alps"
	wordDC      = "dc"
)

// inDomain answers a name by its labels before the domain's.
func (r *resolver) inDomain(d *domain, words []string) answer {
	if len(words) == 0 {
		return r.apex(d)
	}
	kind, parts, rest := split(words)
	dc, ok := r.dcOf(rest)
	if !ok {
		return r.noName(len(d.wire))
	}
	switch kind {
	case wordNode:
		return r.node(d, dc, strings.Join(parts, "."))
	case wordService:
		return r.service(d, dc, parts)
	case wordAddr:
		return r.addr(d, parts)
	case wordAlps:
		return r.alps(d, parts)
	}
	switch name := strings.Join(words, "."); {
	case name == "ns":
		return r.nameServer(d)
	case len(words) == 1 && r.knownDC(name):
		return r.noData(len(d.wire))
	}
	return r.noName(len(d.wire))
}

// split finds the word that says what is asked for, from the right. The short
// form of RFC 2782 has none.
func split(words []string) (kind string, parts, rest []string) {
	for i, word := range slices.Backward(words) {
		switch word {
		case wordNode, wordService, wordAddr, wordAlps:
			return word, words[:i], words[i+1:]
		}
	}
	if len(words) >= 2 && words[0][0] == '_' && words[1][0] == '_' {
		return wordService, words[:2], words[2:]
	}
	return "", nil, nil
}

// dcOf reads what stands between the kind and the domain.
func (r *resolver) dcOf(rest []string) (string, bool) {
	switch {
	case len(rest) == 0:
		return r.s.o.DC, true
	case len(rest) == 1, len(rest) == 2 && rest[1] == wordDC:
		// While Consul may be asked, it knows of more datacenters than we do.
		return rest[0], r.knownDC(rest[0]) || r.found != nil || r.s.mayAsk(r.v)
	}
	return "", false
}

func (r *resolver) knownDC(dc string) bool { return dc == r.s.o.DC || r.v.zone.HasDC(dc) }

// base is an answer of ours that says nothing yet.
func (r *resolver) base(zone int) answer {
	a := answer{aa: true, zone: zone, ttl: r.s.ttl, ede: noEDE}
	if r.v.stale {
		a.ttl, a.ede = min(a.ttl, staleTTL), edeStale
	}
	return a
}

func (r *resolver) noName(zone int) answer {
	a := r.base(zone)
	a.rcode, a.soa = rcodeNXDomain, true
	return a
}

func (r *resolver) noData(zone int) answer { return r.of(zone, nil) }

func refused() answer { return answer{rcode: rcodeRefused, ede: noEDE} }

// of is the answer of a name that exists.
func (r *resolver) of(zone int, records []record) answer {
	a := r.base(zone)
	if r.q.qtype == typeANY {
		// One small record, whatever there is: see RFC 8482.
		records = []record{{typ: typeHINFO, data: []byte("\x07RFC8482\x00")}}
	}
	a.records, a.soa = records, len(records) == 0
	return a
}

func (r *resolver) apex(d *domain) answer {
	var records []record
	switch r.q.qtype {
	case typeSOA:
		records = []record{{typ: typeSOA, data: r.s.packerOf(r.v).soaData(d.wire)}}
	case typeNS:
		data, _ := wireName(append([]string{"ns"}, d.labels...)...)
		records = []record{{typ: typeNS, data: data}}
	}
	return r.of(len(d.wire), records)
}

// nameServer is ns.<domain>: this very node.
func (r *resolver) nameServer(d *domain) answer {
	n, _ := r.v.zone.Node(r.s.o.DC, string(r.s.o.Node))
	return r.of(len(d.wire), addresses(r.q.qtype, n.Addresses))
}

// lookupNode finds a node in the view or in what Consul has said.
func (r *resolver) lookupNode(dc, name string) (zone.Node, bool) {
	if n, ok := r.v.zone.Node(dc, name); ok {
		return n, true
	}
	want := lookup{node: true, dc: dc, name: name}
	if r.found != nil && r.found.want == want && r.found.ok {
		return r.found.node, true
	}
	r.miss(want)
	return zone.Node{}, false
}

func (r *resolver) lookupService(dc, name string) (zone.Service, bool) {
	if s, ok := r.v.zone.Service(dc, name); ok {
		return s, true
	}
	want := lookup{dc: dc, name: name}
	if r.found != nil && r.found.want == want && r.found.ok {
		return r.found.service, true
	}
	r.miss(want)
	return zone.Service{}, false
}

// miss remembers the first lookup that found nothing. A name that cannot exist
// is none that Consul could know.
func (r *resolver) miss(want lookup) {
	if r.missed.name == "" && zone.CheckLabel("datacenter", want.dc) == nil && zone.CheckName("name", want.name) == nil {
		r.missed = want
	}
}

func (r *resolver) node(d *domain, dc, name string) answer {
	if name == "" {
		return r.noData(len(d.wire))
	}
	n, ok := r.lookupNode(dc, name)
	if !ok {
		return r.noName(len(d.wire))
	}
	return r.of(len(d.wire), addresses(r.q.qtype, n.Addresses))
}

// addresses are records of the type that is asked for.
func addresses(qtype uint16, addrs []netip.Addr) []record {
	var out []record
	for _, a := range addrs {
		if a.Is4() && qtype == typeA || a.Is6() && qtype == typeAAAA {
			out = append(out, record{typ: qtype, data: a.AsSlice(), weight: 1})
		}
	}
	return out
}

// bare answers a node by its name alone: one in our own datacenter or, when
// there is none, one in any other. A name that is not a node's is not ours.
func (r *resolver) bare(name string) (answer, bool) {
	n, ok := r.lookupNode(r.s.o.DC, name)
	for _, dc := range r.v.zone.DCs() {
		if ok {
			break
		}
		n, ok = r.v.zone.Node(dc, name)
	}
	if !ok {
		return answer{}, false
	}
	r.missed = lookup{}
	return r.of(len(r.q.name), addresses(r.q.qtype, n.Addresses)), true
}

// addr answers names that are addresses: what SRV records point to where an
// instance has an address of its own.
func (r *resolver) addr(d *domain, parts []string) answer {
	if len(parts) == 0 {
		return r.noData(len(d.wire))
	}
	raw, err := hex.DecodeString(parts[0])
	a, ok := netip.AddrFromSlice(raw)
	if len(parts) != 1 || err != nil || !ok {
		return r.noName(len(d.wire))
	}
	return r.of(len(d.wire), addresses(r.q.qtype, []netip.Addr{a}))
}

// alps answers what there is to know about these answers.
func (r *resolver) alps(d *domain, parts []string) answer {
	switch strings.Join(parts, ".") {
	case "":
		return r.noData(len(d.wire))
	case "age":
	default:
		return r.noName(len(d.wire))
	}
	r.volatile = true
	var records []record
	if r.q.qtype == typeTXT {
		texts := []string{
			fmt.Sprintf("age=%ds", r.v.age(time.Now())/time.Second), fmt.Sprintf("serial=%d", r.v.zone.Serial()),
			"source=" + string(r.v.source), fmt.Sprintf("nodes=%d", r.v.zone.Nodes()), fmt.Sprintf("services=%d", r.v.zone.Services()),
		}
		var data []byte
		for _, t := range texts {
			data = append(append(data, byte(len(t))), t...)
		}
		records = []record{{typ: typeTXT, data: data}}
	}
	a := r.of(len(d.wire), records)
	a.ttl = 0
	return a
}

const (
	wordArpa4 = "in-addr"
	wordArpa6 = "ip6"
	wordArpa  = "arpa"
)

// parseReverse reads a name below in-addr.arpa or ip6.arpa. bits is how much
// of an address it says; -1 when it says none.
func parseReverse(words []string) (a netip.Addr, bits int, ok bool) {
	n := len(words) - 2
	if n < 0 || words[n+1] != wordArpa {
		return a, 0, false
	}
	switch words[n] {
	case wordArpa4:
		var b [4]byte
		if n > 4 {
			return a, -1, true
		}
		for i := range n {
			v, err := netip.ParseAddr("0.0.0." + words[n-1-i])
			if err != nil {
				return a, -1, true
			}
			b[i] = v.As4()[3]
		}
		return netip.AddrFrom4(b), 8 * n, true
	case wordArpa6:
		var b [16]byte
		if n > 32 {
			return a, -1, true
		}
		for i := range n {
			w := words[n-1-i]
			v := strings.Index("0123456789abcdef", w)
			if len(w) != 1 || v < 0 {
				return a, -1, true
			}
			b[i/2] |= byte(v) << (4 * (1 - i%2))
		}
		return netip.AddrFrom16(b), 4 * n, true
	}
	return a, 0, false
}

// reverse answers the name of an address that is in the view. Others are for
// the upstreams; without any there is no such name.
func (r *resolver) reverse(a netip.Addr, bits int, words []string) (_ answer, foreign bool) {
	arpa := len(words[len(words)-2]) + len(words[len(words)-1]) + 3
	whole := a.IsValid() && bits == a.BitLen()
	if whole {
		if name, ok := r.nameOf(a); ok {
			var records []record
			if r.q.qtype == typePTR {
				records = []record{{typ: typePTR, data: name}}
			}
			return r.of(arpa, records), false
		}
	}
	switch {
	case len(r.s.upstreams) > 0:
		return answer{}, true
	case bits >= 0 && !whole:
		return r.noData(arpa), false
	}
	return r.noName(arpa), false
}

// nameOf returns the name that an address leads back to, on the wire.
func (r *resolver) nameOf(a netip.Addr) ([]byte, bool) {
	key, ok := r.v.zone.ByAddress(a, r.s.o.DC)
	if !ok {
		return nil, false
	}
	dc, name, isNode := zone.SplitKey(key)
	home := r.s.domains[0].labels
	if !isNode {
		if sv, ok := r.v.zone.Service(dc, name); ok {
			name = sv.Name // as it is spelled.
		}
		return wireName(append([]string{name, wordService, dc}, home...)...)
	}
	n, _ := r.v.zone.Node(dc, name)
	words := strings.Split(n.Name, ".")
	switch {
	case r.s.o.Reverse == ReverseBare:
		return wireName(words...)
	case r.s.o.Reverse == ReverseFQDN && n.FQDN != "":
		return wireName(strings.Split(n.FQDN, ".")...)
	}
	return wireName(append(append(words, wordNode, dc), home...)...)
}

func srvData(i *zone.Instance, target []byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, srvTarget+len(target)), 1)
	b = binary.BigEndian.AppendUint16(b, max(i.Weight, 1))
	b = binary.BigEndian.AppendUint16(b, i.Port)
	return append(b, target...)
}
