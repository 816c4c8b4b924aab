package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"alps/mesh/zone"
)

// service answers the labels before "service": a name with its tags before it,
// or the form of RFC 2782.
func (r *resolver) service(d *domain, dc string, parts []string) answer {
	name, tag, ok := serviceOf(parts)
	if !ok {
		return r.noData(len(d.wire)) // "service" alone, or "_tcp": names end in it.
	}
	s, ok := r.lookupService(dc, name)
	if !ok {
		return r.noName(len(d.wire))
	}
	list, within := tagged(s.Instances, tag)
	switch {
	case tag != "" && len(list) == 0 && !within:
		return r.noName(len(d.wire))
	case r.q.qtype == typeSRV:
		return r.of(len(d.wire), r.srv(d, dc, list))
	}
	return r.of(len(d.wire), instances(r.q.qtype, list))
}

// serviceOf takes the labels before "service" apart. Tags may have dots.
func serviceOf(parts []string) (name, tag string, ok bool) {
	switch n := len(parts); {
	case n == 0, n == 1 && strings.HasPrefix(parts[0], "_"):
		return "", "", false
	case n == 2 && len(parts[0]) > 1 && parts[0][0] == '_' && parts[1][0] == '_':
		name, tag = parts[0][1:], parts[1][1:]
		if tag == "tcp" || tag == "udp" {
			tag = ""
		}
		return name, tag, true
	default:
		return parts[n-1], strings.Join(parts[:n-1], "."), true
	}
}

// tagged returns the instances that have a tag, in any case of letters. within
// says that some have a tag that ends in it after a dot: then the name is on
// the way to another and exists.
func tagged(all []zone.Instance, tag string) (list []zone.Instance, within bool) {
	if tag == "" {
		return all, false
	}
	for _, i := range all {
		for _, t := range i.Tags {
			if strings.EqualFold(t, tag) {
				list = append(list, i)
				break
			}
			if n := len(t) - len(tag); n > 0 && t[n-1] == '.' && strings.EqualFold(t[n:], tag) {
				within = true
			}
		}
	}
	return list, within
}

// instances are the addresses of instances, each once: the weights of those
// that share one add up. Where none has an address but one has a host name,
// that is the answer.
func instances(qtype uint16, list []zone.Instance) []record {
	if qtype != typeA && qtype != typeAAAA && qtype != typeCNAME {
		return nil
	}
	out := make([]record, 0, len(list))
	seen := make(map[netip.Addr]int, len(list))
	host := ""
	for i := range list {
		in := &list[i]
		a := in.Address
		if in.Host != "" {
			host = in.Host
			continue
		}
		if a.Is4() != (qtype == typeA) || qtype == typeCNAME {
			continue
		}
		weight := max(in.Weight, 1)
		if at, ok := seen[a]; ok {
			out[at].weight += min(weight, 1<<16-1-out[at].weight)
			continue
		}
		seen[a] = len(out)
		out = append(out, record{typ: qtype, data: a.AsSlice(), weight: weight})
	}
	if host == "" || len(seen) > 0 || hasAddress(list) {
		return out
	}
	data, ok := wireName(strings.Split(host, ".")...)
	if !ok {
		return nil
	}
	return []record{{typ: typeCNAME, data: data}}
}

// hasAddress reports whether any instance has one, of whichever family.
func hasAddress(list []zone.Instance) bool {
	for i := range list {
		if list[i].Address.IsValid() {
			return true
		}
	}
	return false
}

// srv are the instances with their ports. A target is the name of the node,
// or one that says the address where that is not the node's.
func (r *resolver) srv(d *domain, dc string, list []zone.Instance) []record {
	out := make([]record, 0, len(list))
	for i := range list {
		in := &list[i]
		var target []byte
		var ok bool
		switch {
		case in.Host != "":
			target, ok = wireName(strings.Split(in.Host, ".")...)
		case in.Own:
			target, ok = wireName(append([]string{hex.EncodeToString(in.Address.AsSlice()), wordAddr, dc}, d.labels...)...)
		default:
			words := append(strings.Split(in.Node, "."), wordNode, dc)
			target, ok = wireName(append(words, d.labels...)...)
		}
		if ok {
			out = append(out, record{typ: typeSRV, data: srvData(in, target), weight: max(in.Weight, 1), target: in.Address})
		}
	}
	return out
}
