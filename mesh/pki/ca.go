package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

const (
	// CALife is ten years: changing a CA means touching every node, so it
	// should outlive the hardware it was made for.
	CALife = 10 * 365 * 24 * time.Hour
	// AgentLife is 30 days: a node that was away for a long weekend, or for a
	// repair, comes back by itself; a stolen disk is of no use next season.
	AgentLife = 30 * 24 * time.Hour
	// ServerLife is 90 days: servers are few and watched, and an agent that
	// cannot believe its server cannot be helped from afar.
	ServerLife = 90 * 24 * time.Hour
	// Backdate is how much earlier than now a certificate begins, for clocks
	// that are a little behind. It equals the skew that jobs tolerate.
	Backdate = 2 * time.Minute
)

// ServerName is the DNS name that every server certificate carries and that
// agents verify, whatever address they dialled.
const ServerName = "server.alps"

// CA is a cluster's certificate authority. It is safe for concurrent use.
type CA struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	cluster string
}

// NewCA makes a CA for a cluster, valid from now (less Backdate) for CALife.
func NewCA(cluster string, now time.Time) (*CA, error) {
	if err := CheckCluster(cluster); err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	t := template(now, CALife)
	t.Subject = pkix.Name{CommonName: "ALPS CA " + cluster}
	t.URIs = []*url.URL{caURI(cluster)}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return &CA{cert: cert, key: key, cluster: cluster}, nil
}

// LoadCA reads what Save wrote.
func LoadCA(certFile, keyFile string) (*CA, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load CA %q: %w", certFile, err)
	}
	cluster, err := ClusterOf(cert)
	if err != nil {
		return nil, fmt.Errorf("load CA %q: %w", certFile, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load CA key %q: %w", keyFile, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("load CA: key %q does not belong to certificate %q", keyFile, certFile)
	}
	return &CA{cert: cert, key: key, cluster: cluster}, nil
}

// Save writes the certificate (mode 0644) and the key (mode 0600). It
// replaces what is there: asking first is for the caller.
func (ca *CA) Save(certFile, keyFile string) error {
	keyPEM, err := EncodeKey(ca.key)
	if err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	// The key first: a certificate whose key was never written would be handed out in vain.
	if err := WriteFile(keyFile, keyPEM, 0o600); err != nil {
		return fmt.Errorf("save CA key: %w", err)
	}
	if err := WriteFile(certFile, ca.PEM(), 0o644); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	return nil
}

// Cluster returns the name of the cluster that the CA is for.
func (ca *CA) Cluster() string { return ca.cluster }

// Certificate returns the CA's own certificate. Do not change it.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// PEM returns the CA's certificate as PEM.
func (ca *CA) PEM() []byte { return encodeCert(ca.cert.Raw) }

// Fingerprint returns Fingerprint of the CA's certificate.
func (ca *CA) Fingerprint() string { return Fingerprint(ca.cert) }

// Fingerprint returns the SHA-256 of a certificate's DER form as 64
// lower-case hexadecimal digits.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// ClusterOf returns the cluster that a CA certificate is for.
func ClusterOf(ca *x509.Certificate) (string, error) {
	if !ca.IsCA || len(ca.URIs) != 1 || ca.URIs[0].String() != caURI(ca.URIs[0].Host).String() {
		return "", errors.New("not the certificate of an ALPS CA")
	}
	return ca.URIs[0].Host, CheckCluster(ca.URIs[0].Host)
}

func caURI(cluster string) *url.URL {
	return &url.URL{Scheme: scheme, Host: cluster, Path: "/ca"}
}

// ServerRequest is what IssueServer is asked for.
type ServerRequest struct {
	ID       Identity // Kind must be Server.
	DNSNames []string // besides ServerName; for people's browsers and curl.
	IPs      []net.IP
}

// IssueServer makes a key and a certificate for a server and returns both
// with the CA's certificate behind, as one PEM that tls.X509KeyPair takes for
// either argument.
func (ca *CA) IssueServer(r ServerRequest, now time.Time) ([]byte, error) {
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	if r.ID.Kind != Server {
		return nil, fmt.Errorf("issue server certificate: %q is not a server", r.ID)
	}
	t := template(now, ServerLife)
	t.DNSNames = append([]string{ServerName}, r.DNSNames...)
	t.IPAddresses = r.IPs
	// A server is a client of other servers as well.
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	cert, err := ca.sign(t, r.ID, &key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	keyPEM, err := EncodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	return append(append(cert, ca.PEM()...), keyPEM...), nil
}

// SignAgent signs the public key in a request (PEM, from NewRequest) for an
// agent and returns the certificate as PEM. Everything else that the request
// says is ignored: who the holder is, is the caller's to decide. The request
// must be signed by its own key, which proves that the sender holds it.
func (ca *CA) SignAgent(csr []byte, id Identity, now time.Time) ([]byte, error) {
	if id.Kind != Agent {
		return nil, fmt.Errorf("sign agent certificate: %q is not an agent", id)
	}
	pub, err := RequestKey(csr)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	t := template(now, AgentLife)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := ca.sign(t, id, pub)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	return cert, nil
}

func (ca *CA) sign(t *x509.Certificate, id Identity, pub *ecdsa.PublicKey) ([]byte, error) {
	if err := id.validate(); err != nil {
		return nil, err
	}
	if id.Cluster != ca.cluster {
		return nil, fmt.Errorf("%q is not of cluster %q", id, ca.cluster)
	}
	t.Subject = pkix.Name{CommonName: string(id.NodeID)}
	t.URIs = []*url.URL{id.URI()}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true
	if t.NotAfter.After(ca.cert.NotAfter) {
		t.NotAfter = ca.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, pub, ca.key)
	if err != nil {
		return nil, err
	}
	return encodeCert(der), nil
}

func template(now time.Time, life time.Duration) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // never fails: crypto/rand ends the process instead.
	serial[0] = serial[0]&0x7f | 0x40
	return &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(serial),
		NotBefore:          now.Add(-Backdate),
		NotAfter:           now.Add(life),
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
}

// NeedsRenewal reports whether two thirds of a certificate's life have
// passed: a third is then left in which renewal may fail and be tried again.
func NeedsRenewal(c *x509.Certificate, now time.Time) bool { return !now.Before(RenewAt(c)) }

// RenewAt returns the time from which NeedsRenewal is true.
func RenewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

// NewKey makes an ECDSA P-256 key: small, fast to verify a thousand times
// when all agents reconnect, and spoken by everything.
func NewKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// EncodeKey returns a key as PEM (PKCS #8).
func EncodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads the first private key in a PEM text.
func ParseKey(text []byte) (*ecdsa.PrivateKey, error) {
	der, err := block(text, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("parse private key: not an ECDSA P-256 key")
	}
	return ec, nil
}

// ParseCert reads the first certificate in a PEM text.
func ParseCert(text []byte) (*x509.Certificate, error) {
	der, err := block(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return c, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// block returns the first PEM block of a type, whatever stands before it.
func block(text []byte, typ string) ([]byte, error) {
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == typ {
			return b.Bytes, nil
		}
	}
	return nil, fmt.Errorf("no PEM block %q", typ)
}
