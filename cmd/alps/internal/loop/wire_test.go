package loop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/loop"
)

// The types and codes of DNS that these tests speak of.
const (
	typeA    = 1
	typePTR  = 12
	typeTXT  = 16
	typeAAAA = 28
	typeSRV  = 33

	rcodeOK       = 0
	rcodeNotFound = 3
	rcodeRefused  = 5
)

// reply is an answer from the wire, read without the reader that the agent's
// own tests use.
type reply struct {
	Flags   uint16 // without the code.
	Rcode   int
	Answers []string // "A 127.0.0.1", "SRV 1 1 8080 name.", sorted.
	TTLs    []uint32
	Size    int
	counts  [4]uint16
}

// askDNS sends one question without EDNS and reads its answer.
func askDNS(ctx context.Context, network, server, name string, typ uint16) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		return reply{}, err
	}
	q := question(name, typ)
	if network == "tcp" {
		q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	}
	if _, err := conn.Write(q); err != nil {
		return reply{}, err
	}
	b := make([]byte, 1<<16)
	var n int
	if network == "tcp" {
		if _, err := io.ReadFull(conn, b[:2]); err != nil {
			return reply{}, err
		}
		n, err = io.ReadFull(conn, b[:binary.BigEndian.Uint16(b)])
	} else {
		n, err = conn.Read(b)
	}
	if err != nil {
		return reply{}, err
	}
	return readReply(b[:n])
}

// question is a query with the id 0x0102 that asks for recursion.
func question(name string, typ uint16) []byte {
	b := []byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	if name != "" {
		for label := range strings.SplitSeq(name, ".") {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0, byte(typ>>8), byte(typ), 0, 1)
}

var errShort = errors.New("the packet is too short")

func readReply(b []byte) (reply, error) {
	if len(b) < 12 {
		return reply{}, errShort
	}
	flags := binary.BigEndian.Uint16(b[2:])
	r := reply{Flags: flags &^ 0xf, Rcode: int(flags & 0xf), Size: len(b)}
	for i := range r.counts {
		r.counts[i] = binary.BigEndian.Uint16(b[4+2*i:])
	}
	at := 12
	for range r.counts[0] {
		_, next, err := readName(b, at)
		if err != nil {
			return r, err
		}
		at = next + 4
	}
	for range r.counts[1] {
		_, next, err := readName(b, at)
		if err != nil || next+10 > len(b) {
			return r, errShort
		}
		typ, ttl := binary.BigEndian.Uint16(b[next:]), binary.BigEndian.Uint32(b[next+4:])
		data := next + 10
		at = data + int(binary.BigEndian.Uint16(b[next+8:]))
		if at > len(b) {
			return r, errShort
		}
		text, err := readData(b, typ, data, at)
		if err != nil {
			return r, err
		}
		r.Answers, r.TTLs = append(r.Answers, text), append(r.TTLs, ttl)
	}
	slices.Sort(r.Answers)
	return r, nil
}

func readData(b []byte, typ uint16, from, to int) (string, error) {
	data := b[from:to]
	switch typ {
	case typeA, typeAAAA:
		a, ok := netip.AddrFromSlice(data)
		if !ok {
			return "", fmt.Errorf("an address of %d bytes", len(data))
		}
		return map[uint16]string{typeA: "A ", typeAAAA: "AAAA "}[typ] + a.String(), nil
	case typePTR:
		name, _, err := readName(b, from)
		return "PTR " + name, err
	case typeSRV:
		name, _, err := readName(b, from+6)
		return fmt.Sprintf("SRV %d %s", binary.BigEndian.Uint16(data[4:]), name), err
	case typeTXT:
		var words []string
		for len(data) > 0 && int(data[0]) < len(data) {
			words, data = append(words, string(data[1:1+data[0]])), data[1+data[0]:]
		}
		return "TXT " + strings.Join(words, " "), nil
	}
	return fmt.Sprintf("TYPE%d", typ), nil
}

// readName reads a name that may be compressed, and says where it ends.
func readName(b []byte, at int) (name string, next int, err error) {
	next = -1
	for range 128 {
		if at >= len(b) {
			return "", 0, errShort
		}
		n := int(b[at])
		switch {
		case n >= 0xc0 && at+1 < len(b):
			if next < 0 {
				next = at + 2
			}
			at = (n&0x3f)<<8 | int(b[at+1])
		case n == 0:
			if next < 0 {
				next = at + 1
			}
			return name, next, nil
		case at+1+n > len(b):
			return "", 0, errShort
		default:
			name += string(b[at+1:at+1+n]) + "."
			at += 1 + n
		}
	}
	return "", 0, errors.New("the name does not end")
}

// upstream is a name server for the world outside: it knows one name.
type upstream struct{ addr, name, answer string }

// newUpstream answers by UDP until the test ends.
func newUpstream(t *testing.T, name, answer string) *upstream {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	to := netip.MustParseAddr(answer).AsSlice()
	go func() {
		defer close(done)
		b := make([]byte, 1<<12)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			asked, end, err := readName(b[:n], 12)
			if err != nil || end+4 > n {
				continue
			}
			out := slices.Clone(b[:end+4])
			out[2], out[3] = 0x81, 0x80 // an answer, recursion available.
			copy(out[6:12], make([]byte, 6))
			if strings.EqualFold(asked, name+".") {
				out[7] = 1
				out = append(append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4), to...)
			} else {
				out[3] |= rcodeNotFound
			}
			_, _ = conn.WriteTo(out, from) // who asked asks again.
		}
	}()
	return &upstream{conn.LocalAddr().String(), name, answer}
}

// query is what is asked for.
type query struct {
	name string
	typ  uint16
}

// awaitReply waits until an agent answers a question as wanted.
func awaitReply(t *testing.T, server string, q query, rcode int, want ...string) reply {
	t.Helper()
	slices.Sort(want)
	var r reply
	loop.Await(t, fmt.Sprintf("%s has %v at %s", q.name, want, server), func(ctx context.Context) error {
		var err error
		r, err = askDNS(ctx, "udp", server, q.name, q.typ)
		if err == nil && (r.Rcode != rcode || !slices.Equal(r.Answers, want)) {
			err = fmt.Errorf("the answer is %v with code %d", r.Answers, r.Rcode)
		}
		return err
	})
	return r
}
