package link

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// maxOutput bounds an output body: head and tail of both streams of a job,
// and some.
const maxOutput = 3 << 20

// maxRequest bounds the JSON that agents send.
const maxRequest = 64 << 10

// Bodies keeps what is too big for the link.
type Bodies interface {
	// PutOutput stores an output body. r ends with an error, not with io.EOF,
	// when what came is not what digest says: nothing may be kept then. It may
	// be called twice for one digest.
	PutOutput(ctx context.Context, from frame.Peer, digest string, r io.Reader) error
	// Blob opens a file that nodes may fetch and says how long it is;
	// mesh.NotFound when there is none of that SHA-256.
	Blob(ctx context.Context, from frame.Peer, sha string) (io.ReadCloser, int64, error)
}

type peerKey struct{}

// PeerFrom returns the agent whose certificate a request was made with.
func PeerFrom(ctx context.Context) (frame.Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(frame.Peer)
	return p, ok
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/enrol", s.anyone(s.enrol)) // the one route for strangers.
	mux.Handle("POST /v1/renew", s.agents(s.renew))
	mux.Handle("PUT /v1/output/{digest}", s.agents(s.putOutput))
	mux.Handle("GET /v1/blob/{sha}", s.agents(s.blob))
	return mux
}

// agents lets a handler see requests of agents that are not revoked, and who
// they are by PeerFrom. A connection may be older than a revocation.
func (s *Server) agents(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := pki.PeerOf(*r.TLS)
		switch {
		case err != nil:
		case id.Kind != pki.Agent:
			err = mesh.Errorf(mesh.Denied, "%s is not an agent", id)
		case s.o.Revoked(id.NodeID):
			err = errRevoked(id.NodeID)
		default:
			p := frame.Peer{NodeID: id.NodeID, Addr: r.RemoteAddr}
			err = h(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, p)))
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// anyone lets a handler see requests of agents and strangers alike.
func (s *Server) anyone(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	if s.o.Enroller == nil {
		return mesh.Errorf(mesh.Unavailable, "this server enrols nobody")
	}
	var in frame.EnrolRequest
	if err := decode(w, r, &in); err != nil {
		return err
	}
	out, err := s.o.Enroller.Enrol(r.Context(), in)
	if err != nil {
		return err
	}
	return reply(w, out)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) error {
	if s.o.Enroller == nil {
		return mesh.Errorf(mesh.Unavailable, "this server renews nothing")
	}
	var in frame.RenewRequest
	if err := decode(w, r, &in); err != nil {
		return err
	}
	id, err := pki.PeerOf(*r.TLS)
	if err != nil {
		return err
	}
	cert, err := s.o.Enroller.Renew(r.Context(), id, []byte(in.CSR))
	if err != nil {
		return err
	}
	return reply(w, frame.RenewResponse{Cert: string(cert)})
}

func (s *Server) putOutput(w http.ResponseWriter, r *http.Request) error {
	digest, err := sha256Path(r, "digest")
	if err != nil {
		return err
	}
	if s.o.Bodies == nil {
		return mesh.Errorf(mesh.Unavailable, "this server keeps no outputs")
	}
	peer, _ := PeerFrom(r.Context())
	body := &digestReader{r: http.MaxBytesReader(w, r.Body, maxOutput), h: sha256.New(), want: digest}
	if err := s.o.Bodies.PutOutput(r.Context(), peer, digest, body); err != nil {
		return err
	}
	// A store that has it already may not have read it all.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request) error {
	sha, err := sha256Path(r, "sha")
	if err != nil {
		return err
	}
	if s.o.Bodies == nil {
		return mesh.Errorf(mesh.NotFound, "this server has no blobs")
	}
	peer, _ := PeerFrom(r.Context())
	body, size, err := s.o.Bodies.Blob(r.Context(), peer, sha)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.Copy(w, body); err != nil {
		// The status is out: the agent sees that the length is short.
		s.log.Debug("blob not sent whole", "node", peer.NodeID, "blob", sha, "error", err)
	}
	return nil
}

func sha256Path(r *http.Request, name string) (string, error) {
	v := r.PathValue(name)
	if b, err := hex.DecodeString(v); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != v {
		return "", mesh.Errorf(mesh.Invalid, "%q is not a SHA-256 of 64 lower-case hexadecimal digits", v)
	}
	return v, nil
}

// digestReader passes a body on and turns its end into an error when it is
// not what was promised.
type digestReader struct {
	r    io.Reader
	h    hash.Hash
	want string
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.h.Write(p[:n])
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		return n, mesh.Errorf(mesh.TooLarge, "the body is larger than %d bytes", maxOutput)
	}
	if errors.Is(err, io.EOF) && hex.EncodeToString(d.h.Sum(nil)) != d.want {
		return n, mesh.Errorf(mesh.Invalid, "the body's SHA-256 is not %s", d.want)
	}
	return n, err
}

func decode(w http.ResponseWriter, r *http.Request, v any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(v); err != nil {
		return mesh.Errorf(mesh.Invalid, "read the request: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the agent may be gone; it asks again.
	return nil
}

// fail answers with a Refusal. What is internal is logged, not told.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal := frame.RefusalOf(err)
	if refusal.Code == mesh.Internal {
		s.log.Error("request failed", "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
		refusal.Message = "the server could not do it; its log says why"
	}
	b, _ := json.Marshal(refusal) // three strings always encode.
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status(refusal.Code))
	_, _ = w.Write(b) // as above.
}

// status is for the eyes of people: an agent reads the code in the body.
func status(c mesh.Code) int {
	switch c {
	case mesh.Invalid:
		return http.StatusBadRequest
	case mesh.Unauthorized:
		return http.StatusUnauthorized
	case mesh.Denied:
		return http.StatusForbidden
	case mesh.NotFound:
		return http.StatusNotFound
	case mesh.Conflict:
		return http.StatusConflict
	case mesh.TooLarge:
		return http.StatusRequestEntityTooLarge
	case mesh.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// handoff is the listener of the HTTP server: it accepts the connections that
// the handshake found to speak HTTP.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	stop  chan struct{}
	once  sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn), stop: make(chan struct{})}
}

// give passes a connection to Accept, or closes it when nobody accepts.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.stop:
		_ = c.Close()
	}
}

// Accept returns the next connection.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.stop:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and give.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.stop) })
	return nil
}

// Addr returns the address of the port behind.
func (h *handoff) Addr() net.Addr { return h.addr }
