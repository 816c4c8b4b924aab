package auth

import (
	"context"
	"time"
)

// Store keeps API tokens, never their secrets. Its methods may be called from
// any goroutine. A method that names an unknown token returns an error of
// code mesh.NotFound. Times are kept to the millisecond at least and returned
// in UTC; the zero time stays the zero time.
type Store interface {
	// SaveToken adds t; mesh.Conflict when its ID exists.
	SaveToken(ctx context.Context, t Token) error
	TokenByID(ctx context.Context, id string) (Token, error)
	// Tokens lists every token, the newest first, then by ID.
	Tokens(ctx context.Context) ([]Token, error)
	// DeleteToken removes a token for good.
	DeleteToken(ctx context.Context, id string) error
	// TouchToken sets LastUsed to at if at is later than what is stored. It
	// may be called twice.
	TouchToken(ctx context.Context, id string, at time.Time) error
}

// Token is an API token as it is stored.
type Token struct {
	ID         string // 8 hexadecimal digits, the public half of the token.
	SecretHash string // SHA-256 of the secret, 64 hexadecimal digits.
	Name       string // whose it is or what for; what audit records show.
	Role       Role
	Scope      string // a query over nodes; never empty, "all" for every node.
	CreatedBy  string
	Created    time.Time
	Expires    time.Time // zero: it does not expire.
	LastUsed   time.Time // zero while unused; to the minute, not exact.
}

// Expired reports whether t has ended at now.
func (t *Token) Expired(now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// Unlimited reports whether t reaches every node.
func (t *Token) Unlimited() bool { return t.Scope == ScopeAll }
