package zone

import (
	"encoding/binary"
	"net/netip"

	"alps/mesh"
)

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// scanner reads what the append functions wrote. After the first thing that
// does not fit it is bad and returns zeros: callers look once, at the end.
type scanner struct {
	s   string
	bad bool
}

func (r *scanner) fail() { r.bad, r.s = true, "" }

func (r *scanner) byte() byte {
	if r.s == "" {
		r.fail()
		return 0
	}
	b := r.s[0]
	r.s = r.s[1:]
	return b
}

func (r *scanner) uvarint() uint64 {
	var x uint64
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		b := r.s[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break // more than 64 bits.
			}
			r.s = r.s[i+1:]
			return x | uint64(b)<<(7*i)
		}
		x |= uint64(b&0x7f) << (7 * i)
	}
	r.fail()
	return 0
}

// number reads a number of at most limit.
func (r *scanner) number(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail()
		return 0
	}
	return int(n)
}

// count reads how many things follow, each of at least one byte: whatever the
// sender says, no more is set aside than it has sent.
func (r *scanner) count() int { return r.number(len(r.s)) }

// bytes returns the next n bytes.
func (r *scanner) bytes(n int) string {
	if n > len(r.s) {
		r.fail()
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *scanner) string(limit int) string { return r.bytes(r.number(limit)) }

func (r *scanner) uint64() uint64 {
	s := r.bytes(8)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(s))
}

// addr reads an address of 4 or 16 bytes.
func (r *scanner) addr(six bool) netip.Addr {
	if six {
		var a [16]byte
		copy(a[:], r.bytes(16))
		return netip.AddrFrom16(a)
	}
	var a [4]byte
	copy(a[:], r.bytes(4))
	return netip.AddrFrom4(a)
}

// end reports whether all was read and fitted.
func (r *scanner) end() bool { return !r.bad && r.s == "" }

func (r *scanner) err(what string) error {
	if r.end() {
		return nil
	}
	return mesh.Errorf(mesh.Invalid, "read %s: it is damaged, or of another version", what)
}
