package frame

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"alps/mesh"
)

// Version is the version of the protocol that this package speaks.
const Version = 1

// Protocol is its name in TLS (ALPN). What is not the link is HTTP/1.1.
const Protocol = "alps-link/1"

// BootID names one run of an agent's process: 16 hexadecimal digits, of which
// the first 8 grow from run to run while a spool remembers the one before.
type BootID string

// NewBootID returns a boot id whose first half is n.
func NewBootID(n uint32) BootID {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead.
	return BootID(fmt.Sprintf("%08x", n) + hex.EncodeToString(b))
}

// ParseBootID checks the form of a boot id.
func ParseBootID(s string) (BootID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 8 || s != hex.EncodeToString(b) {
		return "", fmt.Errorf("boot id %q is not 16 lower-case hexadecimal digits", s)
	}
	return BootID(s), nil
}

// Peer is the agent at the other end of a link, as its certificate and its
// hello say.
type Peer struct {
	NodeID mesh.NodeID
	Name   mesh.NodeName // the node's own word; empty outside of a link.
	Addr   string        // where the connection comes from, host:port.
	Boot   BootID        // the boot that the messages at hand are numbered in; empty outside of a link.
}

// HelloPayload opens a link.
type HelloPayload struct {
	Version int           `json:"version"`
	Boot    BootID        `json:"boot"`    // of the running process, whatever is in the spool.
	Release string        `json:"release"` // of the ALPS binary.
	Name    mesh.NodeName `json:"name"`
	Time    time.Time     `json:"time"`              // the agent's clock when it wrote this.
	Dropped uint64        `json:"dropped,omitempty"` // messages that the spool had no room for since the last HelloOK.
	Corrupt uint64        `json:"corrupt,omitempty"` // spool records that could not be read, likewise.
}

// HelloOKPayload accepts a link.
type HelloOKPayload struct {
	Version int       `json:"version"`
	Server  string    `json:"server"`
	Time    time.Time `json:"time"`            // the server's clock.
	Skew    float64   `json:"skew"`            // seconds that the agent's clock is ahead of it.
	Acked   uint64    `json:"acked,omitempty"` // all up to this number of the agent's boot is committed.
	// Lead is the highest term of a leader that the server has heard of,
	// whoever leads; 0: it knows of none. An agent refuses a server that is
	// behind what it has seen a moment ago.
	Lead uint64 `json:"lead,omitempty"`
	// Nodes is how many would look for another server if this one went away;
	// 0: it does not know yet. The more there are, the longer they take.
	Nodes int `json:"nodes,omitempty"`
}

// Refusal is the payload of Refuse: what a person must know.
type Refusal struct {
	Code    mesh.Code `json:"code"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
}

// RefusalOf puts an error into a Refusal.
func RefusalOf(err error) Refusal {
	r := Refusal{Code: mesh.CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*mesh.Error](err); ok {
		r.Hint = e.Hint
	}
	return r
}

// Err returns the refusal as the error that it was made from.
func (r Refusal) Err() *mesh.Error {
	code := r.Code
	if code == "" {
		code = mesh.Internal
	}
	return mesh.Errorf(code, "%s", r.Message).WithHint("%s", r.Hint)
}

// WantPayload asks an agent for the body of an output that it has reported
// the digest of. The agent answers by PUT /v1/output/<digest>, then acks.
type WantPayload struct {
	Job    mesh.JobID `json:"job"`
	Digest string     `json:"digest"` // SHA-256, 64 hexadecimal digits.
	Stream string     `json:"stream"` // stdout or stderr.
}

// EnrolRequest is the body of POST /v1/enrol.
type EnrolRequest struct {
	Token    string   `json:"token"` // the text of a pki.JoinToken.
	CSR      string   `json:"csr"`   // PEM.
	Evidence Evidence `json:"evidence"`
}

// Evidence is what a machine says about itself. Any of it may be empty.
type Evidence struct {
	MachineID string `json:"machine_id,omitempty"`
	DMIUUID   string `json:"dmi_uuid,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
}

// EnrolResponse is the answer.
type EnrolResponse struct {
	NodeID    mesh.NodeID `json:"node_id"`
	Cluster   string      `json:"cluster"`
	Cert      string      `json:"cert"` // PEM.
	CA        string      `json:"ca"`   // PEM.
	TrustRoot string      `json:"trust_root,omitempty"`
	Servers   []string    `json:"servers,omitempty"` // host:port of the links.
}

// RenewRequest is the body of POST /v1/renew.
type RenewRequest struct {
	CSR string `json:"csr"`
}

// RenewResponse is the answer.
type RenewResponse struct {
	Cert string `json:"cert"`
}

// JSON returns a message whose payload is v as JSON. v is of a type that
// always encodes; the error is for callers that pass something else.
func JSON(k Kind, seq uint64, v any) (Message, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s message: %w", k, err)
	}
	return Message{Kind: k, Seq: seq, Payload: b}, nil
}

// Decode reads a message's JSON payload into v; mesh.Invalid when it is none.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return mesh.Errorf(mesh.Invalid, "decode %s message %d: %w", m.Kind, m.Seq, err)
	}
	return nil
}

// RunCheckPayload names checks of a node, by id, that are to be run now.
type RunCheckPayload struct {
	Checks []string `json:"checks"`
}
