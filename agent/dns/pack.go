package dns

import (
	"encoding/binary"
	"net/netip"
)

// record is one record of an answer. Its owner is the name that was asked for.
type record struct {
	typ    uint16
	data   []byte     // as on the wire, names not compressed.
	weight uint16     // for the order; at least 1.
	target netip.Addr // of an SRV: the address that its target has, if it is known.
}

// answer is what there is to say to a question, whatever the transport.
type answer struct {
	rcode   int
	aa      bool
	records []record     // in any order.
	chased  []netip.Addr // of the name that a CNAME, the only record, stands for.
	ttl     uint32
	soa     bool // the zone's SOA goes into the authority section.
	zone    int  // bytes at the end of the name that are the zone's.
	ede     int  // noEDE, or why the answer is as it is.
}

// minRecord is the least that a record takes: an address.
const minRecord = 12 + 4

// srvTarget is where the target's name begins in an SRV record's data.
const srvTarget = 6

// packer writes replies.
type packer struct {
	ra     bool
	serial uint32
	negTTL uint32
}

// pack writes the reply to q into out, with the records in the given order;
// nil stands for the order that they are in. An order may leave out records
// that do not fit anyway, see fits. It says where the byte with the
// DO bit is, 0 for nowhere, so that a kept reply can be used for others.
func (p packer) pack(out []byte, q *query, a *answer, order []int) (reply []byte, do int) {
	b := header(out, q.packet, a.rcode)
	if a.aa {
		b[2] |= bitAA
	}
	if p.ra {
		b[3] |= bitRA
	}
	b[5] = 1
	b = append(b, q.name...)
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	b = binary.BigEndian.AppendUint16(b, q.class)
	reserve := 0
	if q.edns {
		reserve = optSize(a.ede)
	}
	b = p.sections(b, a, order, q.limit-reserve)
	if !q.edns {
		return b, 0
	}
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	return appendOPT(b, q, a)
}

func optSize(ede int) int {
	if ede == noEDE {
		return 11
	}
	return 17
}

func appendOPT(b []byte, q *query, a *answer) (reply []byte, do int) {
	b = append(b, 0, 0, typeOPT)
	b = binary.BigEndian.AppendUint16(b, udpSize)
	b = append(b, byte(a.rcode>>4), 0)
	do = len(b)
	var flags byte
	if q.do {
		flags = 0x80
	}
	b = append(b, flags, 0)
	if a.ede == noEDE {
		return append(b, 0, 0), do
	}
	b = append(b, 0, 6, 0, 15, 0, 2)
	return binary.BigEndian.AppendUint16(b, uint16(a.ede)), do
}

// sections writes what fits into limit bytes. A reply that lacks an answer
// has TC set; one that lacks only what was to spare the next question does
// not.
func (p packer) sections(b []byte, a *answer, order []int, limit int) []byte {
	kept := make([]int, 0, len(a.records)) // where each record's data begins.
	for i := range a.records {
		if order != nil && i < len(order) {
			i = order[i]
		}
		r := &a.records[i]
		if len(b)+12+len(r.data) > limit {
			b[2] |= bitTC
			break
		}
		b = appendRR(b, headerSize, r.typ, a.ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.data)))
		kept = append(kept, len(b))
		b = append(b, r.data...)
	}
	n := len(kept)
	for _, ip := range a.chased {
		if n == 0 {
			break
		}
		var ok bool
		if b, ok = appendAddress(b, ip, kept[0], extraRoom{a.ttl, limit}); !ok {
			b[2] |= bitTC
			break
		}
		n++
	}
	binary.BigEndian.PutUint16(b[6:], uint16(n))
	if a.soa {
		if before := len(b); p.fitsSOA(&b, a, limit) {
			b[9] = 1
		} else {
			b = b[:before]
		}
	}
	if b[2]&bitTC != 0 {
		return b
	}
	extra := 0
	told := make(map[string]bool)
	for n, at := range kept {
		i := n
		if order != nil {
			i = order[n]
		}
		r := &a.records[i]
		if !r.target.IsValid() || told[string(r.data[srvTarget:])] {
			continue
		}
		told[string(r.data[srvTarget:])] = true
		var ok bool
		if b, ok = appendAddress(b, r.target, at+srvTarget, extraRoom{a.ttl, limit}); !ok {
			break
		}
		extra++
	}
	binary.BigEndian.PutUint16(b[10:], uint16(extra))
	return b
}

// appendRR writes a record up to its TTL. The owner is the name at offset.
func appendRR(b []byte, owner int, typ uint16, ttl uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, 0xc000|uint16(owner))
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, classIN)
	return binary.BigEndian.AppendUint32(b, ttl)
}

type extraRoom struct {
	ttl   uint32
	limit int
}

// maxPointer is the last offset that a name can be referred to at.
const maxPointer = 0x3fff

// appendAddress writes the address of the name that is at offset at.
func appendAddress(b []byte, a netip.Addr, at int, room extraRoom) ([]byte, bool) {
	ip := a.AsSlice()
	if at > maxPointer || len(b)+12+len(ip) > room.limit {
		return b, false
	}
	typ := uint16(typeA)
	if len(ip) == 16 {
		typ = typeAAAA
	}
	b = appendRR(b, at, typ, room.ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(ip)))
	return append(b, ip...), true
}

// The words before the zone's name in its SOA.
var (
	soaServer = []byte("\x02ns")
	soaMail   = []byte("\x0ahostmaster")
)

// soaData is the SOA's data with both names complete.
func (p packer) soaData(zone []byte) []byte {
	b := append([]byte{}, soaServer...)
	b = append(b, zone...)
	b = append(b, soaMail...)
	b = append(b, zone...)
	return p.soaNumbers(b)
}

func (p packer) soaNumbers(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, p.serial)
	b = binary.BigEndian.AppendUint32(b, 3600)
	b = binary.BigEndian.AppendUint32(b, 600)
	b = binary.BigEndian.AppendUint32(b, 86400)
	return binary.BigEndian.AppendUint32(b, p.negTTL)
}

// fitsSOA appends the SOA of the zone that a's name ends with.
func (p packer) fitsSOA(b *[]byte, a *answer, limit int) bool {
	// The question is at the start, and its name ends before type and class.
	end := headerSize
	for (*b)[end] != 0 {
		end += 1 + int((*b)[end])
	}
	zone := end + 1 - a.zone
	out := appendRR(*b, zone, typeSOA, p.negTTL)
	at := len(out)
	out = append(out, 0, 0)
	pointer := binary.BigEndian.AppendUint16(nil, 0xc000|uint16(zone))
	out = append(append(out, soaServer...), pointer...)
	out = append(append(out, soaMail...), pointer...)
	out = p.soaNumbers(out)
	binary.BigEndian.PutUint16(out[at:], uint16(len(out)-at-2))
	*b = out
	return len(out) <= limit
}
