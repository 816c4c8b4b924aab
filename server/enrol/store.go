package enrol

import (
	"context"
	"time"

	"alps/mesh"
)

// Store keeps join tokens and nodes. Its methods may be called from any
// goroutine. A method that names something unknown returns an error of code
// mesh.NotFound. Times are kept to the millisecond at least and returned in
// UTC; the zero time stays the zero time.
type Store interface {
	TokenStore
	NodeStore
}

// TokenStore keeps join tokens, never their secrets.
type TokenStore interface {
	// SaveJoinToken adds t; mesh.Conflict when its ID exists.
	SaveJoinToken(ctx context.Context, t JoinToken) error
	JoinTokenByID(ctx context.Context, id string) (JoinToken, error)
	// JoinTokens lists every token, the newest first, then by ID.
	JoinTokens(ctx context.Context) ([]JoinToken, error)
	// UseJoinToken counts one use at now by the holder of key and returns the
	// token as it then is. It is atomic: of two callers with different keys
	// that race for a one-time token exactly one succeeds; the other gets
	// mesh.Denied. The key that spent a one-time token may use it again, which
	// is not counted. A token with now at or after Expires is mesh.Denied.
	UseJoinToken(ctx context.Context, id, key string, now time.Time) (JoinToken, error)
	// ExpireJoinToken sets Expires to at if it is later than that. It may be
	// called twice.
	ExpireJoinToken(ctx context.Context, id string, at time.Time) error
}

// NodeStore keeps enrolled nodes and their revocations.
type NodeStore interface {
	// SaveNode adds n or replaces the record of the same ID, except for its
	// Revocation: that is changed by Revoke alone, so that a renewal under way
	// cannot bring a revoked node back.
	SaveNode(ctx context.Context, n Node) error
	NodeByID(ctx context.Context, id mesh.NodeID) (Node, error)
	// NodesByEvidence returns the nodes that share at least one non-empty
	// field with e, by EnrolledAt, then by ID. Empty evidence matches none.
	NodesByEvidence(ctx context.Context, e Evidence) ([]Node, error)
	// Revoke marks a node. The first revocation stays: a second call changes
	// nothing and returns nil.
	Revoke(ctx context.Context, id mesh.NodeID, r Revocation) error
	// Revoked lists the revoked nodes, sorted by ID.
	Revoked(ctx context.Context) ([]mesh.NodeID, error)
}

// JoinToken is a join token as it is stored.
type JoinToken struct {
	ID         string
	SecretHash string // SHA-256 of the secret, 64 hexadecimal digits.
	Role       string // what nodes that used it are declared to be; empty for none.
	Reusable   bool   // false: one machine, once.
	CreatedBy  string
	Created    time.Time
	Expires    time.Time // never zero: every token ends.
	Uses       int
	LastUsed   time.Time // zero while unused.
	UsedByKey  string    // Evidence.Key of the last one that used it.
}

// Evidence is what a machine says about itself and the key that it showed.
// None of it is an identity. An empty field is unknown and matches nothing.
type Evidence struct {
	MachineID string // /etc/machine-id.
	DMIUUID   string // the firmware's product UUID, lower case.
	Hostname  string
	Key       string // SHA-256 of the public key of the certificate request, hexadecimal.
}

// Node is one enrolled identity.
type Node struct {
	ID         mesh.NodeID
	Evidence   Evidence // as of its enrolment.
	Role       string
	TokenID    string // the join token that let it in.
	EnrolledAt time.Time
	NotAfter   time.Time // the end of its newest certificate.
	Notes      []string  // what was odd about its enrolment, for people to read.
	Revocation Revocation
}

// Revocation says who shut a node out, when and why. The zero Revocation
// means that it is not revoked.
type Revocation struct {
	At     time.Time
	By     string
	Reason string
}
