package sign

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"alps/mesh"
)

// Type says what an envelope holds. It is part of what is signed.
type Type string

// The types of envelopes. Grants and revocations are sealed by the root, the
// others by the holder of a grant.
const (
	TypeJob     Type = "job"
	TypeCtl     Type = "ctl"
	TypeGrant   Type = "grant"
	TypeRevoked Type = "revoked"
)

// Envelope is a sealed document. Payload is what was signed, byte for byte;
// Grant, itself an Envelope sealed by the root, says who signed it and what
// they may. An Envelope that the root sealed has no Grant.
type Envelope struct {
	Type    Type      `json:"type"`
	Payload []byte    `json:"payload"`
	Sig     []byte    `json:"sig"`
	Grant   *Envelope `json:"grant,omitempty"`
}

// The reasons why Root.Open refuses. They are wrapped with the details that
// an operator needs.
var (
	ErrSignature = errors.New("the signature is not valid")
	ErrExpired   = errors.New("the grant has expired")
	ErrRevoked   = errors.New("the grant is revoked")
	ErrCluster   = errors.New("it is for another cluster")
	ErrForm      = errors.New("the envelope is malformed")
)

// Seal signs payload as a document of the given type. grant is the sealed
// grant of k, nil when k is the root. payload is kept, not copied.
func (k PrivateKey) Seal(t Type, payload []byte, grant *Envelope) Envelope {
	return Envelope{Type: t, Payload: payload, Sig: ed25519.Sign(k.key, message(t, payload)), Grant: grant}
}

// SealGrant signs a grant with the root key.
func (k PrivateKey) SealGrant(g Grant) (Envelope, error) { return k.sealJSON(TypeGrant, g) }

// SealRevocations signs a revocation list with the root key.
func (k PrivateKey) SealRevocations(r Revocations) (Envelope, error) {
	return k.sealJSON(TypeRevoked, r)
}

func (k PrivateKey) sealJSON(t Type, v any) (Envelope, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", t, err)
	}
	return k.Seal(t, b, nil), nil
}

// Encode returns the envelope's document, refusing one that is larger than a
// node would read.
func (e Envelope) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	if len(b) > mesh.MaxEnvelope {
		return nil, mesh.Errorf(mesh.TooLarge, "the signed job takes %d bytes, the limit is %d", len(b), mesh.MaxEnvelope).
			WithHint("put long commands, arguments or environments into a script: alps exec -t EXPR --script FILE")
	}
	return b, nil
}

// DecodeEnvelope reads an envelope's document. It verifies nothing.
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) > mesh.MaxEnvelope {
		return Envelope{}, fmt.Errorf("%w: %d bytes are over the limit of %d", ErrForm, len(b), mesh.MaxEnvelope)
	}
	var e Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return e, nil
}

// GrantUnverified reads the grant that e is, for showing it to a person: it
// checks no signature, and nothing may be decided by it.
func (e Envelope) GrantUnverified() (Grant, error) {
	var g Grant
	if e.Type != TypeGrant {
		return g, fmt.Errorf("%w: it is of type %q, not %q", ErrForm, e.Type, TypeGrant)
	}
	if err := json.Unmarshal(e.Payload, &g); err != nil {
		return Grant{}, fmt.Errorf("%w: grant: %w", ErrForm, err)
	}
	return g, nil
}

// Grant is what the root allows one key.
type Grant struct {
	Cluster string    `json:"cluster"`
	Serial  string    `json:"serial"` // names the grant in a revocation list.
	Key     PublicKey `json:"key"`
	Holder  string    `json:"holder"` // a person or a server, for audit.
	// NotAfter is in Unix seconds.
	NotAfter int64 `json:"not_after"`
	Scope    Scope `json:"scope"`
}

// Scope bounds what a grant allows. The zero Scope allows nothing.
type Scope struct {
	// Any allows ad-hoc commands and every script; otherwise only the scripts
	// with these SHA-256 digests.
	Any     bool     `json:"any,omitempty"`
	Scripts []string `json:"scripts,omitempty"`
	// RunAs lists the user names that jobs may run as; "*" is every name. The
	// empty name, the agent's own user, is always allowed: what the agent
	// may run as is the node's decision.
	RunAs []string `json:"run_as,omitempty"`
	// Targets is a query that each node must match by its own knowledge.
	Targets string `json:"targets"`
	// MaxNodes is the longest target list.
	MaxNodes int `json:"max_nodes"`
}

// Allows checks a job against the grant's scope, except for its target query,
// which only a node can answer for itself. The error says what exceeds it.
func (g Grant) Allows(spec *mesh.Spec) error {
	s := g.Scope
	switch {
	case spec.Cluster != g.Cluster:
		return fmt.Errorf("%w: the job is for %q, the grant of %s for %q", ErrCluster, spec.Cluster, g.Holder, g.Cluster)
	case !s.Any && spec.Script == nil:
		return fmt.Errorf("the grant of %s does not allow ad-hoc commands", g.Holder)
	case !s.Any && !slices.Contains(s.Scripts, spec.Script.SHA256):
		return fmt.Errorf("the grant of %s does not allow the script %s", g.Holder, spec.Script.SHA256)
	case spec.RunAs != "" && !slices.Contains(s.RunAs, spec.RunAs) && !slices.Contains(s.RunAs, "*"):
		return fmt.Errorf("the grant of %s does not allow to run as %q", g.Holder, spec.RunAs)
	case spec.Targets.Count > s.MaxNodes:
		return fmt.Errorf("the grant of %s allows %d nodes a job, this one has %d", g.Holder, s.MaxNodes, spec.Targets.Count)
	}
	return nil
}

// Revocations is the list of grants that are no longer good. A node keeps the
// list with the highest Number that it has verified.
type Revocations struct {
	Cluster string   `json:"cluster"`
	Number  uint64   `json:"number"`
	Serials []string `json:"serials"`
}

// Root is what a node believes: the pinned key, the cluster that it is for,
// and the newest revocations.
type Root struct {
	Key     PublicKey
	Cluster string
	Revoked Revocations
}

// Open verifies an envelope of the given type at a point in time: the grant
// by the root, its type, cluster, end and revocation, then the payload by the
// grant's key. It returns the payload as it was signed and the grant. An end
// is judged with mesh.MaxSkew of patience, as a node's clock may be behind.
// Errors wrap one of the Err values.
func (r Root) Open(e Envelope, t Type, now time.Time) ([]byte, Grant, error) {
	if e.Type != t {
		return nil, Grant{}, fmt.Errorf("%w: it is of type %q, not %q", ErrForm, e.Type, t)
	}
	g, err := r.OpenGrant(e.Grant, now)
	if err != nil {
		return nil, Grant{}, err
	}
	if !g.Key.verify(message(t, e.Payload), e.Sig) {
		return nil, Grant{}, fmt.Errorf("%w: it was not made by the key %s of %s", ErrSignature, g.Key.ID(), g.Holder)
	}
	return e.Payload, g, nil
}

// OpenGrant verifies a sealed grant on its own.
func (r Root) OpenGrant(e *Envelope, now time.Time) (Grant, error) {
	var g Grant
	if e == nil {
		return g, fmt.Errorf("%w: it carries no grant", ErrForm)
	}
	if err := r.openRoot(*e, TypeGrant, &g); err != nil {
		return Grant{}, err
	}
	end := time.Unix(g.NotAfter, 0)
	switch {
	case g.Cluster != r.Cluster:
		return Grant{}, fmt.Errorf("%w: the grant of %s is for %q, this is %q", ErrCluster, g.Holder, g.Cluster, r.Cluster)
	case slices.Contains(r.Revoked.Serials, g.Serial):
		return Grant{}, fmt.Errorf("%w: serial %s of %s, by list %d", ErrRevoked, g.Serial, g.Holder, r.Revoked.Number)
	case now.After(end.Add(mesh.MaxSkew)):
		return Grant{}, fmt.Errorf("%w: that of %s ended %s", ErrExpired, g.Holder, end.UTC().Format(time.RFC3339))
	}
	return g, nil
}

// Revoke verifies a sealed revocation list and returns the Root that follows
// it. A list that is not newer than the one in force changes nothing.
func (r Root) Revoke(e Envelope) (Root, error) {
	var list Revocations
	if err := r.openRoot(e, TypeRevoked, &list); err != nil {
		return r, err
	}
	if list.Cluster != r.Cluster {
		return r, fmt.Errorf("%w: the revocation list is for %q, this is %q", ErrCluster, list.Cluster, r.Cluster)
	}
	if list.Number > r.Revoked.Number {
		r.Revoked = list
	}
	return r, nil
}

func (r Root) openRoot(e Envelope, t Type, v any) error {
	switch {
	case e.Type != t || e.Grant != nil:
		return fmt.Errorf("%w: it is of type %q, not %q", ErrForm, e.Type, t)
	case !r.Key.verify(message(t, e.Payload), e.Sig):
		return fmt.Errorf("%w: the %s was not made by the root %s", ErrSignature, t, r.Key.ID())
	}
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrForm, t, err)
	}
	return nil
}

// message is what a signature covers. The prefix keeps the keys apart from
// every other use of Ed25519, the type keeps the documents apart.
func message(t Type, payload []byte) []byte {
	m := append([]byte("alps-envelope-v1\x00"), t...)
	m = append(m, 0)
	return append(m, payload...)
}
