package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
)

// maxChased bounds the addresses that are taken from an upstream's reply.
const maxChased = 32

// chases reports whether an answer is only half of one: another name, which
// upstreams know, and which the client would have to ask for once more. Most
// cannot.
func (s *Server) chases(q *query, a *answer) bool {
	return len(a.records) == 1 && a.records[0].typ == typeCNAME && q.qtype != typeCNAME &&
		s.mayForward(q) && s.domainOf(bytes.ToLower(a.records[0].data)) == nil
}

// complete packs an answer, and asks the upstreams first where it needs them.
// When they do not know, the other name is the whole answer.
func (s *Server) complete(ctx context.Context, q *query, v *view, a *answer) []byte {
	if s.chases(q, a) {
		s.extra.forwarded.Add(1)
		sub := newQuery(a.records[0].data, q.qtype)
		reply, _ := s.forwards.do(ctx, forwardKey(sub), func() []byte { return s.exchange(ctx, sub) })
		if reply == nil {
			s.extra.forwardFailed.Add(1)
		}
		var ttl uint32
		a.chased, ttl = addressesIn(reply, q.qtype)
		if len(a.chased) > 0 {
			a.ttl = min(a.ttl, ttl)
		}
	}
	return s.reply(q, v, a)
}

// newQuery makes a question of our own.
func newQuery(name []byte, qtype uint16) *query {
	b := make([]byte, headerSize, headerSize+len(name)+4)
	b[2], b[5] = bitRD, 1
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, qtype)
	b = binary.BigEndian.AppendUint16(b, classIN)
	q := new(query)
	q.parse(b, false) // it is well-formed.
	return q
}

// addressesIn returns the addresses in the answer section of a reply, whatever
// names lead to them, and the smallest TTL on the way. A reply that is damaged
// has as many as can be read.
func addressesIn(reply []byte, qtype uint16) (out []netip.Addr, ttl uint32) {
	if len(reply) < headerSize {
		return nil, 0
	}
	ttl = 1<<32 - 1
	at := skipName(reply, headerSize) + 4
	for range binary.BigEndian.Uint16(reply[6:]) {
		if at < headerSize || at >= len(reply) {
			break
		}
		at = skipName(reply, at)
		if at < 0 || at+10 > len(reply) {
			break
		}
		rr := reply[at:]
		size := int(binary.BigEndian.Uint16(rr[8:]))
		if len(rr) < 10+size {
			break
		}
		ttl = min(ttl, binary.BigEndian.Uint32(rr[4:]))
		a, ok := netip.AddrFromSlice(rr[10 : 10+size])
		fits := size == 4 && qtype == typeA || size == 16 && qtype == typeAAAA
		if ok && fits && binary.BigEndian.Uint16(rr) == qtype && len(out) < maxChased {
			out = append(out, a)
		}
		at += 10 + size
	}
	return out, ttl
}
