package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"alps/mesh/frame"
)

// A record on disk is a length and a CRC-32C of the body, 4 bytes each, then
// the body: kind, flags, number, payload.
const (
	prefixSize = 8
	bodyHead   = 10
	maxBody    = bodyHead + frame.MaxPayload
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // cached by the library.

func recordSize(m frame.Message) int64 { return int64(prefixSize + bodyHead + len(m.Payload)) }

func appendRecord(dst []byte, m frame.Message) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(bodyHead+len(m.Payload))) // Append has checked the size.
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, byte(m.Kind), m.Flags)
	dst = binary.BigEndian.AppendUint64(dst, m.Seq)
	dst = append(dst, m.Payload...)
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+prefixSize:], castagnoli()))
	return dst
}

// parseRecord reads the record that b begins with. The payload is a part of
// b. It reports false for anything that is not a whole, undamaged record.
func parseRecord(b []byte) (m frame.Message, size int, ok bool) {
	if len(b) < prefixSize+bodyHead {
		return m, 0, false
	}
	n := binary.BigEndian.Uint32(b)
	if n < bodyHead || n > maxBody || int(n) > len(b)-prefixSize {
		return m, 0, false
	}
	body := b[prefixSize : prefixSize+int(n)]
	if !frame.Kind(body[0]).Up() || body[1] != 0 {
		return m, 0, false // before the checksum: findRecord comes here for every byte.
	}
	if crc32.Checksum(body, castagnoli()) != binary.BigEndian.Uint32(b[4:]) {
		return m, 0, false
	}
	m = frame.Message{
		Kind:    frame.Kind(body[0]),
		Flags:   body[1],
		Seq:     binary.BigEndian.Uint64(body[2:]),
		Payload: body[bodyHead:],
	}
	return m, prefixSize + int(n), true
}

// findRecord returns the first offset at or after off where a record begins,
// or -1. Behind damage it tries every byte: the length may be what is damaged.
func findRecord(b []byte, off int) int {
	for ; off < len(b); off++ {
		if _, _, ok := parseRecord(b[off:]); ok {
			return off
		}
	}
	return -1
}

// scan calls fn for every record of b and returns where the last one ends and
// how many damaged stretches lie between them. What comes after the end is a
// torn tail.
func scan(b []byte, fn func(frame.Message)) (end, damaged int) {
	for {
		off := findRecord(b, end)
		if off < 0 {
			return end, damaged
		}
		if off > end {
			damaged++
		}
		m, n, _ := parseRecord(b[off:])
		fn(m)
		end = off + n
	}
}

// readRecordAt reads the bytes of the record at off, of which at most left
// may be read. Where the length is nonsense it returns a part.
func readRecordAt(r io.ReaderAt, off, left int64) ([]byte, error) {
	b := make([]byte, min(left, 512)) // most records are small: one read.
	if _, err := r.ReadAt(b, off); err != nil {
		return nil, err
	}
	if len(b) < prefixSize {
		return b, nil
	}
	n := int64(binary.BigEndian.Uint32(b)) + prefixSize
	if n <= int64(len(b)) || n > min(left, prefixSize+maxBody) {
		return b, nil
	}
	rest := make([]byte, n)
	copy(rest, b)
	_, err := r.ReadAt(rest[len(b):], off+int64(len(b)))
	return rest, err
}
