package link

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// The files of DataDir/identity. All are of mode 0600 in a directory of mode
// 0700, which appears whole or not at all.
const (
	identityDir = "identity"
	pendingDir  = "identity.new" // an enrolment under way; holds the key that it began with.

	nodeFile    = "node.pem" // certificate and key in one, so that both are replaced at once.
	caFile      = "ca.pem"
	idFile      = "node_id" // for people; the certificate is what counts.
	rootFile    = "root.pub"
	serversFile = "servers"
)

// Identity is what a node became by enrolling.
type Identity struct {
	dir  string
	cert *pki.Live
	ca   *x509.Certificate
	id   pki.Identity
}

// LoadIdentity reads the identity below an agent's data directory. The error
// is mesh.NotFound when the node has not enrolled.
func LoadIdentity(dataDir string) (*Identity, error) {
	dir := filepath.Join(dataDir, identityDir)
	text, err := os.ReadFile(filepath.Join(dir, nodeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mesh.Errorf(mesh.NotFound, "this node has not enrolled: %w", err).
			WithHint("make a join token on a server (`alps join-token create`) and put it into the agent's config: join { token = … }")
	}
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	cert, err := pki.NewLive(text)
	if err != nil {
		return nil, fmt.Errorf("load identity %q: %w", dir, err)
	}
	caText, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	ca, err := pki.ParseCert(caText)
	if err != nil {
		return nil, fmt.Errorf("load identity %q: %w", dir, err)
	}
	id := cert.Identity()
	if id.Kind != pki.Agent {
		return nil, fmt.Errorf("load identity %q: %s is not an agent", dir, id)
	}
	return &Identity{dir: dir, cert: cert, ca: ca, id: id}, nil
}

// NodeID returns who this node is.
func (i *Identity) NodeID() mesh.NodeID { return i.id.NodeID }

// Cluster returns the cluster that the node enrolled in.
func (i *Identity) Cluster() string { return i.id.Cluster }

// NotAfter returns when the certificate ends.
func (i *Identity) NotAfter() time.Time { return i.cert.Leaf().NotAfter }

// TrustRootFile returns where the trust root lies that came with enrolment.
// The file may be missing: then no job is trusted.
func (i *Identity) TrustRootFile() string { return filepath.Join(i.dir, rootFile) }

// Servers returns the addresses that came with enrolment; nil when none did.
func (i *Identity) Servers() []string {
	b, err := os.ReadFile(filepath.Join(i.dir, serversFile))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// clientTLS returns the configuration for connections of one protocol.
func (i *Identity) clientTLS(protocol string) (*tls.Config, error) {
	return pki.ClientTLS(pki.ClientOptions{CA: i.ca, Certificate: i.cert, Protocols: []string{protocol}})
}

// replace puts a new certificate and its key on the disk and in use.
func (i *Identity) replace(cert string, key *ecdsa.PrivateKey) error {
	text, err := nodePEM(cert, key)
	if err != nil {
		return err
	}
	next, err := pki.NewLive(text)
	if err != nil {
		return err
	}
	if got := next.Identity(); got != i.id {
		return fmt.Errorf("the server sent a certificate for %s, this node is %s", got, i.id)
	}
	if err := pki.WriteFile(filepath.Join(i.dir, nodeFile), text, 0o600); err != nil {
		return err
	}
	return i.cert.Replace(text)
}

func nodePEM(cert string, key *ecdsa.PrivateKey) ([]byte, error) {
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(strings.TrimRight(cert, "\n")+"\n"), keyPEM...), nil
}

// pendingKey returns the key of an enrolment that was begun and not finished,
// or begins one. The same key with the same token gets the same identity, so
// an answer that was lost costs nothing.
func pendingKey(dataDir string) (*ecdsa.PrivateKey, error) {
	dir := filepath.Join(dataDir, pendingDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, nodeFile)
	if text, err := os.ReadFile(path); err == nil {
		if key, err := pki.ParseKey(text); err == nil {
			return key, nil
		}
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, pki.WriteFile(path, text, 0o600)
}

// saveIdentity turns a pending enrolment into the identity.
func saveIdentity(dataDir string, r frame.EnrolResponse, key *ecdsa.PrivateKey) error {
	node, err := nodePEM(r.Cert, key)
	if err != nil {
		return err
	}
	pending := filepath.Join(dataDir, pendingDir)
	files := map[string]string{caFile: r.CA, idFile: string(r.NodeID) + "\n", nodeFile: string(node)}
	if r.TrustRoot != "" {
		files[rootFile] = r.TrustRoot
	}
	if len(r.Servers) > 0 {
		files[serversFile] = strings.Join(r.Servers, "\n") + "\n"
	}
	for name, text := range files {
		if err := pki.WriteFile(filepath.Join(pending, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.Rename(pending, filepath.Join(dataDir, identityDir))
}
