package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

const requestType = "CERTIFICATE REQUEST"

// NewRequest returns a certificate request for a key as PEM. It carries the
// public key and the proof that the sender holds the private one, no name.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: requestType, Bytes: der}), nil
}

// RequestKey checks that a request is signed by its own key and returns the
// public half.
func RequestKey(csr []byte) (*ecdsa.PublicKey, error) {
	der, err := block(csr, requestType)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("read certificate request: not signed by its own key: %w", err)
	}
	pub, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("read certificate request: not an ECDSA P-256 key")
	}
	return pub, nil
}

// KeyHash returns the SHA-256 of a public key's PKIX form as 64 hexadecimal
// digits: the same key gives the same hash, whatever request it came in.
func KeyHash(pub *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("hash public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
