package sign

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	publicPrefix  = "alps-pub:"
	privatePrefix = "alps-key:"
)

// KeyID names a public key for people and logs: the first 8 bytes of its
// SHA-256 in hexadecimal. It is never used to decide anything.
type KeyID string

// PublicKey is an Ed25519 public key. The zero PublicKey verifies nothing.
type PublicKey struct{ key string }

// PrivateKey is an Ed25519 private key. The zero PrivateKey must not be used.
type PrivateKey struct{ key ed25519.PrivateKey }

// GenerateKey makes a new private key.
func GenerateKey() PrivateKey {
	// The zero seed source is crypto/rand, which ends the process rather than
	// return an error.
	_, key, _ := ed25519.GenerateKey(nil)
	return PrivateKey{key: key}
}

// ParsePrivateKey reads the text form of a private key. Surrounding space is
// ignored. Errors never contain the text.
func ParsePrivateKey(text string) (PrivateKey, error) {
	seed, err := decodeKey("private key", privatePrefix, text, ed25519.SeedSize)
	if err != nil {
		return PrivateKey{}, err
	}
	return PrivateKey{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// ParsePublicKey reads the text form of a public key. Surrounding space is
// ignored.
func ParsePublicKey(text string) (PublicKey, error) {
	b, err := decodeKey("public key", publicPrefix, text, ed25519.PublicKeySize)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{key: string(b)}, nil
}

func decodeKey(what, prefix, text string, size int) ([]byte, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return nil, fmt.Errorf("parse %s: it does not begin with %q", what, prefix)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("parse %s: it is not %d bytes in base64", what, size)
	}
	return b, nil
}

// Text is the secret text form, fit for a file of mode 0600 and nothing else.
func (k PrivateKey) Text() string {
	return privatePrefix + base64.StdEncoding.EncodeToString(k.key.Seed())
}

// String hides the key, so that a log line cannot leak it.
func (k PrivateKey) String() string { return "private key of " + string(k.Public().ID()) }

// GoString hides the key as String does.
func (k PrivateKey) GoString() string { return k.String() }

// Public returns the public half.
func (k PrivateKey) Public() PublicKey {
	return PublicKey{key: string(k.key.Public().(ed25519.PublicKey))}
}

// String is the text form of the key.
func (k PublicKey) String() string {
	return publicPrefix + base64.StdEncoding.EncodeToString([]byte(k.key))
}

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k.key == "" }

// ID returns the short name of the key.
func (k PublicKey) ID() KeyID {
	sum := sha256.Sum256([]byte(k.key))
	return KeyID(hex.EncodeToString(sum[:8]))
}

// MarshalText writes the text form, for JSON.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the text form.
func (k *PublicKey) UnmarshalText(b []byte) (err error) {
	*k, err = ParsePublicKey(string(b))
	return err
}

func (k PublicKey) verify(message, sig []byte) bool {
	return len(k.key) == ed25519.PublicKeySize && ed25519.Verify(ed25519.PublicKey(k.key), message, sig)
}
