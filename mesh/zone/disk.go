package zone

import (
	"crypto/sha256"
	"encoding/binary"

	"alps/mesh"
)

// magic begins the form for the disk.
const magic = "alps-zone 1\n"

// Encode returns the form for the disk: it ends with a checksum over all.
func (z *Zone) Encode() []byte {
	b := []byte(magic)
	b = binary.AppendUvarint(b, z.serial)
	b = binary.BigEndian.AppendUint64(b, uint64(millis(z.built)))
	for e := range z.Entries() {
		b = appendEntry(b, e)
	}
	h := sha256.Sum256(b)
	return append(b, h[:]...)
}

// Decode reads what Encode has written; mesh.Invalid when a single bit of it
// is not as it was.
func Decode(b []byte) (*Zone, error) {
	const what = "a copy of the zone"
	body := len(b) - sha256.Size
	if body < len(magic) || len(b) > maxZone || string(b[:len(magic)]) != magic {
		return nil, mesh.Errorf(mesh.Invalid, "read %s: it is none", what)
	}
	if h := sha256.Sum256(b[:body]); string(h[:]) != string(b[body:]) {
		return nil, mesh.Errorf(mesh.Invalid, "read %s: its checksum is wrong", what)
	}
	r := scanner{s: string(b[len(magic):body])}
	u := Update{Serial: r.uvarint(), Built: fromMillis(r.uint64())}
	seen := make(map[string]bool)
	for r.s != "" {
		e := r.entry()
		if seen[e.Key] {
			r.fail()
		}
		seen[e.Key] = true
		u.Set = append(u.Set, e)
	}
	if err := r.err(what); err != nil {
		return nil, err
	}
	return new(Zone).Apply(u), nil
}
