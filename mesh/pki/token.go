package pki

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"strings"

	"alps/mesh"
)

// JoinToken lets a machine enrol. Its text form is
//
//	alps-join.<id>.<secret>.<ca>
//
// with 8, 32 and 32 lower-case hexadecimal digits. Whoever holds the text may
// enrol a node until the token expires or is spent.
type JoinToken struct {
	ID     string // names the token in lists and logs; no secret.
	Secret Secret
	// CA is the first half of the CA's fingerprint: 128 bits, which nobody
	// can make a second certificate for. The newcomer believes this CA alone.
	CA string
}

// Secret is the part of a token that must not be shown. It prints as a
// placeholder, so that a log line cannot give it away.
type Secret string

// String hides the secret; only JoinToken.String shows it.
func (Secret) String() string { return "(hidden)" }

// GoString hides the secret.
func (Secret) GoString() string { return "(hidden)" }

// Hash returns the SHA-256 of the secret as 64 hexadecimal digits: what is
// stored. The secret is 128 random bits, so a slow hash would add nothing.
func (s Secret) Hash() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Matches reports whether hash is the Hash of s, in constant time.
func (s Secret) Matches(hash string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Hash()), []byte(hash)) == 1
}

const (
	tokenPrefix = "alps-join"
	tokenID     = 4 // bytes; enough to tell an estate's tokens apart.
	tokenSecret = 16
	tokenCA     = 16
)

// NewJoinToken makes a token for the CA's cluster.
func (ca *CA) NewJoinToken() JoinToken {
	return JoinToken{
		ID:     mesh.RandomHex(tokenID),
		Secret: Secret(mesh.RandomHex(tokenSecret)),
		CA:     ca.Fingerprint()[:2*tokenCA],
	}
}

// String returns the text form, secret included.
func (t JoinToken) String() string {
	return strings.Join([]string{tokenPrefix, t.ID, string(t.Secret), t.CA}, ".")
}

// ParseJoinToken reads the text form. Its errors (mesh.Invalid) never repeat
// the text, of which a part is secret.
func ParseJoinToken(s string) (JoinToken, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return JoinToken{}, badToken("a join token has the form alps-join.<id>.<secret>.<ca>")
	}
	for i, want := range []int{tokenID, tokenSecret, tokenCA} {
		if !mesh.IsLowerHex(parts[i+1], 2*want) {
			return JoinToken{}, badToken("part %d of the join token is not %d lower-case hexadecimal digits", i+2, 2*want)
		}
	}
	return JoinToken{ID: parts[1], Secret: Secret(parts[2]), CA: parts[3]}, nil
}

func badToken(format string, args ...any) error {
	return mesh.Errorf(mesh.Invalid, format, args...).
		WithHint("copy the whole line that `alps join-token create` printed")
}

// Pins reports whether a certificate is the CA that the token names.
func (t JoinToken) Pins(c *x509.Certificate) bool {
	return c.IsCA && subtle.ConstantTimeCompare([]byte(Fingerprint(c)[:2*tokenCA]), []byte(t.CA)) == 1
}
