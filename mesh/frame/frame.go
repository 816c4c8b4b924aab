package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"alps/mesh"
)

const (
	// HeaderSize is the length of a frame without payload.
	HeaderSize = 14
	// MaxFrame is the most that a frame may measure, header included.
	MaxFrame = 64 << 10
	// MaxPayload is what MaxFrame leaves for the payload.
	MaxPayload = MaxFrame - HeaderSize
)

// ErrMalformed is wrapped by the errors of a Reader whose peer does not speak
// this protocol. The link cannot go on: nobody knows where the next frame is.
var ErrMalformed = errors.New("malformed frame")

// Message is one frame in memory. The payload belongs to whoever holds the
// message.
type Message struct {
	Kind    Kind
	Flags   uint8 // none is defined; zero.
	Seq     uint64
	Payload []byte
}

// CheckSize returns mesh.TooLarge for a payload that fits no frame.
func CheckSize(k Kind, payload []byte) error {
	if len(payload) <= MaxPayload {
		return nil
	}
	return mesh.Errorf(mesh.TooLarge, "%s message of %d bytes: at most %d fit on the link", k, len(payload), MaxPayload).
		WithHint("send a digest, and the body over HTTPS")
}

// Append appends the wire form of m to dst.
func Append(dst []byte, m Message) ([]byte, error) {
	if err := CheckSize(m.Kind, m.Payload); err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(HeaderSize+len(m.Payload)))
	dst = append(dst, byte(m.Kind), m.Flags)
	dst = binary.BigEndian.AppendUint64(dst, m.Seq)
	return append(dst, m.Payload...), nil
}

// buffers lends out scratch space for Write, so that an idle link owns none.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write sends messages in one call of w.Write: one TLS record where they
// fit. Nothing is sent when one of them is too large.
func Write(w io.Writer, ms ...Message) error {
	p := buffers.Get().(*[]byte) // the pool holds nothing else.
	defer buffers.Put(p)
	b := (*p)[:0]
	for _, m := range ms {
		var err error
		if b, err = Append(b, m); err != nil {
			return err
		}
	}
	*p = b
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// Reader takes frames from a connection one by one. It holds no buffer
// between frames. It is for one goroutine.
type Reader struct {
	r       io.Reader
	head    [HeaderSize]byte
	got     int // bytes of the frame that have come, header included.
	payload []byte
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. After an error of r that leaves the connection
// usable, such as a deadline that passed, Next may be called again and goes
// on where it stopped. It returns io.EOF between frames, io.ErrUnexpectedEOF
// inside of one, and an error that wraps ErrMalformed for nonsense.
func (r *Reader) Next() (Message, error) {
	if err := r.fill(r.head[:], 0); err != nil {
		return Message{}, err
	}
	n := binary.BigEndian.Uint32(r.head[:])
	if n < HeaderSize || n > MaxFrame {
		return Message{}, fmt.Errorf("%w: length %d is not within %d to %d", ErrMalformed, n, HeaderSize, MaxFrame)
	}
	if n > HeaderSize && r.payload == nil {
		r.payload = make([]byte, n-HeaderSize)
	}
	if err := r.fill(r.payload, HeaderSize); err != nil {
		return Message{}, err
	}
	m := Message{
		Kind:    Kind(r.head[4]),
		Flags:   r.head[5],
		Seq:     binary.BigEndian.Uint64(r.head[6:]),
		Payload: r.payload,
	}
	r.got, r.payload = 0, nil
	return m, nil
}

// Partial reports whether a part of a frame has come.
func (r *Reader) Partial() bool { return r.got > 0 }

// fill reads until the frame is complete up to the end of buf, which begins
// at offset off of the frame.
func (r *Reader) fill(buf []byte, off int) error {
	for r.got < off+len(buf) {
		n, err := r.r.Read(buf[r.got-off:])
		r.got += n
		if err == nil || r.got >= off+len(buf) {
			continue
		}
		if errors.Is(err, io.EOF) && r.got > 0 {
			return fmt.Errorf("read frame: %w", io.ErrUnexpectedEOF)
		}
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("read frame: %w", err)
	}
	return nil
}
