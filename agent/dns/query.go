package dns

import (
	"encoding/binary"
	"net/netip"
)

const (
	headerSize = 12
	maxName    = 255 // bytes of a name on the wire, its root label included.
	maxLabel   = 63
)

// Types, classes and codes of the DNS, as far as they are spoken here.
const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeHINFO = 13
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeOPT   = 41
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255

	classIN = 1

	rcodeOK       = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5
	rcodeBadVers  = 16

	noEDE          = -1
	edeStale       = 3  // the answer is from a view that nobody keeps up to date.
	edeNotReady    = 14 // there is no view yet.
	edeUnreachable = 22 // no upstream answered.
)

// The bits of a header's third and fourth byte.
const (
	bitQR = 0x80
	bitAA = 0x04
	bitTC = 0x02
	bitRD = 0x01

	bitRA = 0x80
	bitCD = 0x10
)

// The sizes of messages that go by UDP. What is larger than udpSize may be cut
// into fragments on the way, which get lost.
const (
	minUDP  = 512
	udpSize = 1232
	tcpSize = 1<<16 - 1
)

// query is a question as it came, taken apart. It points into the packet.
type query struct {
	packet []byte
	from   netip.Addr // who asks.
	name   []byte     // as asked, on the wire.
	qtype  uint16
	class  uint16
	edns   bool
	vers   byte // of EDNS.
	do     bool
	size   int // most bytes that the client takes by UDP.
	limit  int // most bytes of a reply of ours.
	tcp    bool

	// key is the name in lower case, the type, and the class of the reply's
	// size: what a packed answer is found by.
	keyBuf [maxName + 3]byte
	keyLen int
}

func (q *query) rd() bool { return q.packet[2]&bitRD != 0 }

// lower returns the name in lower case.
func (q *query) lower() []byte { return q.keyBuf[:len(q.name)] }

// key returns what packed answers are found by; nil when answers to such
// queries are not kept.
func (q *query) key() []byte { return q.keyBuf[:q.keyLen] }

// verdict says what becomes of a packet after its header was read.
type verdict int

const (
	verdictDrop    verdict = iota // no answer: it is no question.
	verdictFormErr                // a bare header says that it makes no sense.
	verdictNotImp
	verdictOK
)

// parse takes a packet apart into q, which it overwrites.
func (q *query) parse(packet []byte, tcp bool) verdict {
	if len(packet) < headerSize || packet[2]&bitQR != 0 {
		return verdictDrop
	}
	if packet[2]&0x78 != 0 {
		return verdictNotImp
	}
	q.packet, q.tcp, q.edns, q.do, q.vers, q.keyLen = packet, tcp, false, false, 0, 0
	if binary.BigEndian.Uint16(packet[4:]) != 1 {
		return verdictFormErr
	}
	at, ok := q.question()
	if !ok {
		return verdictFormErr
	}
	if !q.additional(at) {
		return verdictFormErr
	}
	q.keyed()
	return verdictOK
}

// question reads the name, the type and the class.
func (q *query) question() (at int, ok bool) {
	p := q.packet
	at = headerSize
	for at < len(p) {
		n := int(p[at])
		if n == 0 {
			at++
			break
		}
		if n > maxLabel || at+1+n >= len(p) || at+1+n-headerSize >= maxName {
			return 0, false
		}
		at += 1 + n
	}
	if at+4 > len(p) || p[at-1] != 0 {
		return 0, false
	}
	q.name = p[headerSize:at]
	q.qtype = binary.BigEndian.Uint16(p[at:])
	q.class = binary.BigEndian.Uint16(p[at+2:])
	for i, c := range q.name {
		// A length is at most 63 and so never taken for a letter.
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.keyBuf[i] = c
	}
	return at + 4, true
}

// additional looks behind the question for what EDNS says.
func (q *query) additional(at int) bool {
	p := q.packet
	skip := int(binary.BigEndian.Uint16(p[6:])) + int(binary.BigEndian.Uint16(p[8:]))
	more := int(binary.BigEndian.Uint16(p[10:]))
	size := minUDP
	for i := range skip + more {
		start := at
		if at = skipName(p, at); at < 0 || at+10 > len(p) {
			return false
		}
		rr := p[at:]
		end := at + 10 + int(binary.BigEndian.Uint16(rr[8:]))
		if end > len(p) {
			return false
		}
		if i >= skip && binary.BigEndian.Uint16(rr) == typeOPT {
			if q.edns || at-start != 1 { // a second one, or not of the root.
				return false
			}
			q.edns = true
			size = int(binary.BigEndian.Uint16(rr[2:]))
			q.vers = rr[5]
			q.do = rr[6]&0x80 != 0
		}
		at = end
	}
	q.size = max(size, minUDP)
	q.limit = min(q.size, udpSize)
	if q.tcp {
		q.limit = tcpSize
	}
	return true
}

// skipName returns where a name ends that begins at at; -1 when it does not.
func skipName(p []byte, at int) int {
	for at < len(p) {
		switch n := int(p[at]); {
		case n == 0:
			return at + 1
		case n >= 0xc0:
			return at + 2
		case n > maxLabel:
			return -1
		default:
			at += 1 + n
		}
	}
	return -1
}

// The classes of size that packed answers are kept in.
const (
	sizePlain = 0 // 512 bytes, no EDNS.
	sizeEDNS  = 1 // 1,232 bytes.
)

// keyed completes the key where the reply's size is one of the usual.
func (q *query) keyed() {
	var class byte
	switch {
	case q.class != classIN || q.vers != 0:
		return
	case !q.edns && !q.tcp:
		class = sizePlain
	case q.edns && q.limit == udpSize:
		class = sizeEDNS
	default:
		return
	}
	n := len(q.name)
	q.keyBuf[n] = byte(q.qtype >> 8)
	q.keyBuf[n+1] = byte(q.qtype)
	q.keyBuf[n+2] = class
	q.keyLen = n + 3
}

// header starts a reply to packet: its id, RD and CD, and no section.
func header(out, packet []byte, rcode int) []byte {
	out = append(out[:0], packet[0], packet[1], bitQR|packet[2]&(bitRD|0x78), packet[3]&bitCD|byte(rcode&0xf))
	return append(out, 0, 0, 0, 0, 0, 0, 0, 0)
}

// labels takes a name on the wire apart; false when it has a label that no
// name of ours can have.
func labels(name []byte) ([]string, bool) {
	var out []string
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		label := name[at+1 : at+1+int(name[at])]
		for _, c := range label {
			if c == '.' || c <= ' ' || c >= 0x7f {
				return nil, false
			}
		}
		out = append(out, string(label))
	}
	return out, true
}

// wireName returns a name as it is on the wire; false when it cannot be one.
func wireName(labels ...string) ([]byte, bool) {
	var b []byte
	for _, l := range labels {
		if l == "" || len(l) > maxLabel {
			return nil, false
		}
		b = append(b, byte(len(l)))
		b = append(b, l...)
	}
	b = append(b, 0)
	return b, len(b) <= maxName
}
