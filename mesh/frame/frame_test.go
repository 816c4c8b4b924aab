package frame

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestRoundTrip(t *testing.T) {
	want := []Message{
		{Kind: Ping},
		{Kind: Exec, Seq: 1, Payload: []byte("a")},
		{Kind: Fact, Flags: 0x80, Seq: 1<<64 - 1, Payload: bytes.Repeat([]byte("x"), MaxPayload)},
		{Kind: Kind(200), Seq: 7, Payload: []byte("unknown kinds pass")},
	}
	var b bytes.Buffer
	if err := Write(&b, want...); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(b.Bytes()),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(b.Bytes())),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(b.Bytes())),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(r)
			if !errors.Is(err, io.EOF) {
				t.Errorf("end = %v, want EOF", err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func readAll(r io.Reader) ([]Message, error) {
	var all []Message
	for fr := NewReader(r); ; {
		m, err := fr.Next()
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

// stutter fails with a deadline between any two bytes.
type stutter struct {
	r    io.Reader
	late bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.late = !s.late; s.late {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(p[:1])
}

func TestNextGoesOnAfterDeadline(t *testing.T) {
	want := []Message{{Kind: Exec, Seq: 1, Payload: []byte("abc")}, {Kind: Ping}, {Kind: Exec, Seq: 2, Payload: []byte("d")}}
	var b bytes.Buffer
	if err := Write(&b, want...); err != nil {
		t.Fatal(err)
	}
	var got []Message
	fr, late := NewReader(&stutter{r: &b}), 0
	for len(got) < len(want) {
		m, err := fr.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			late++
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, m)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if want := 3*HeaderSize + 4; late != want {
		t.Errorf("%d deadlines passed, want %d: one before every byte", late, want)
	}
	if fr.Partial() {
		t.Error("a part of a frame is left")
	}
}

func TestNextErrors(t *testing.T) {
	frame := func(m Message) string {
		b, err := Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := frame(Message{Kind: Exec, Seq: 1, Payload: []byte("abc")})
	for name, tc := range map[string]struct {
		in   string
		want error
	}{
		"nothing":           {"", io.EOF},
		"between frames":    {good, io.EOF},
		"inside a header":   {good + good[:5], io.ErrUnexpectedEOF},
		"before a payload":  {good + good[:HeaderSize], io.ErrUnexpectedEOF},
		"inside a payload":  {good + good[:HeaderSize+1], io.ErrUnexpectedEOF},
		"length 0":          {strings.Repeat("\x00", HeaderSize), ErrMalformed},
		"shorter than head": {"\x00\x00\x00\x0d" + good[4:], ErrMalformed},
		"64 KiB and 1 byte": {"\x00\x01\x00\x01" + good[4:], ErrMalformed},
		"plain HTTP":        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readAll(strings.NewReader(tc.in)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestWriteTooLarge(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, Message{Kind: Exec, Seq: 1}, Message{Kind: Exec, Seq: 2, Payload: make([]byte, MaxPayload+1)})
	if mesh.CodeOf(err) != mesh.TooLarge {
		t.Errorf("got %v, want code %s", err, mesh.TooLarge)
	}
	if b.Len() != 0 {
		t.Errorf("%d bytes were sent all the same", b.Len())
	}
}

func TestReaderAllocatesPayloadsOnly(t *testing.T) {
	var b bytes.Buffer
	for range 300 {
		if err := Write(&b, Message{Kind: Ping}, Message{Kind: Exec, Seq: 1, Payload: []byte("abc")}); err != nil {
			t.Fatal(err)
		}
	}
	fr := NewReader(&b)
	got := testing.AllocsPerRun(100, func() {
		for range 2 {
			if _, err := fr.Next(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got > 1 {
		t.Errorf("%v allocations for a ping and a message, want 1: the payload", got)
	}
}

func TestKinds(t *testing.T) {
	for k, name := range names {
		data := k.Up() || k.Down()
		if data != (k >= 16) || k.Up() && k.Down() {
			t.Errorf("%s (%d): up %v, down %v", name, k, k.Up(), k.Down())
		}
		if k.String() != name {
			t.Errorf("String of %d = %q, want %q", k, k, name)
		}
	}
	if got := Kind(99).String(); got != "kind 99" {
		t.Errorf("an unknown kind prints as %q", got)
	}
}

func TestRefusal(t *testing.T) {
	for name, err := range map[string]error{
		"with a hint": mesh.Errorf(mesh.Denied, "no").WithHint("ask"),
		"plain":       errors.New("plain"),
	} {
		got := RefusalOf(err).Err()
		if got.Code != mesh.CodeOf(err) || got.Message != err.Error() {
			t.Errorf("%s: came back as %+v", name, got)
		}
	}
	if got := RefusalOf(mesh.Errorf(mesh.Denied, "100%%").WithHint("50%% off")).Err(); got.Message != "100%" || got.Hint != "50% off" {
		t.Errorf("a percent sign came back as %+v", got)
	}
}

func TestBootID(t *testing.T) {
	a, b := NewBootID(9), NewBootID(10)
	if a >= b || len(a) != 16 {
		t.Errorf("boot ids %q and %q do not grow", a, b)
	}
	if got, err := ParseBootID(string(a)); err != nil || got != a {
		t.Errorf("ParseBootID(%q) = %q, %v", a, got, err)
	}
	for _, s := range []string{"", "0", strings.ToUpper("0000000aabcdef01"), "0000000aabcdef0101", "0000000gabcdef01"} {
		if _, err := ParseBootID(s); err == nil {
			t.Errorf("ParseBootID(%q): no error", s)
		}
	}
}

func FuzzReader(f *testing.F) {
	seed, err := Append(nil, Message{Kind: Exec, Seq: 1, Payload: []byte("abc")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, uint8(1))
	f.Add(append(seed, seed...), uint8(7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, err1 := readAll(bytes.NewReader(in))
		cut, err2 := readAll(&slow{r: bytes.NewReader(in), n: int(step)%16 + 1})
		if d := cmp.Diff(whole, cut); d != "" || err1.Error() != err2.Error() {
			t.Fatalf("read in steps: %s, %v, want %v", d, err2, err1)
		}
		var out bytes.Buffer
		if err := Write(&out, whole...); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(in, out.Bytes()) {
			t.Errorf("%x is read as %x", in, out.Bytes())
		}
	})
}

// slow hands out at most n bytes at a time.
type slow struct {
	r io.Reader
	n int
}

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(s.n, len(p))]) }
