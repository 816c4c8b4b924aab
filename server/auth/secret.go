package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	textPrefix  = "alps."
	idBytes     = 4
	secretBytes = 32
)

// secret is the private half of a token. It prints itself as nothing, so that
// it cannot reach a log by way of %v.
type secret [secretBytes]byte

func (secret) String() string { return "(secret)" }

// GoString keeps %#v from showing the bytes.
func (secret) GoString() string { return "(secret)" }

func (s secret) hash() string {
	sum := sha256.Sum256(s[:])
	return hex.EncodeToString(sum[:])
}

// matches compares in constant time: how long it takes says nothing about how
// much of a guess was right.
func (s secret) matches(hash string) bool {
	return subtle.ConstantTimeCompare([]byte(s.hash()), []byte(hash)) == 1
}

// mint returns a fresh token: its id, its secret and the text that carries
// both.
func mint() (id string, s secret, text string) {
	var raw [idBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead.
	_, _ = rand.Read(s[:])
	id = hex.EncodeToString(raw[:])
	return id, s, textPrefix + id + "." + enc(s)
}

func enc(s secret) string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// parseText takes the text of a token apart. Its errors never repeat the
// text.
func parseText(text string) (id string, s secret, err error) {
	rest, ok := strings.CutPrefix(text, textPrefix)
	if !ok {
		return "", s, fmt.Errorf("it does not begin with %q", textPrefix)
	}
	id, tail, ok := strings.Cut(rest, ".")
	if !ok {
		return "", s, fmt.Errorf("it has no second dot")
	}
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != idBytes || strings.ToLower(id) != id {
		return "", s, fmt.Errorf("its id is not %d lower-case hexadecimal digits", 2*idBytes)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(tail)
	if err != nil || len(raw) != secretBytes {
		return "", s, fmt.Errorf("its secret is cut short or changed")
	}
	// The decoder skips line breaks; a token has one spelling only.
	if strings.ContainsAny(tail, "\r\n") {
		return "", s, fmt.Errorf("its secret holds a line break")
	}
	return id, secret(raw), nil
}
