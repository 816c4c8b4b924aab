package pki

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"alps/mesh"
)

// Kind is the part that the holder of a certificate plays.
type Kind string

// The kinds. The zero Kind is none and never valid.
const (
	Server Kind = "server"
	Agent  Kind = "agent"
)

// Identity is who a certificate says its holder is.
type Identity struct {
	Cluster string
	Kind    Kind
	NodeID  mesh.NodeID
}

const scheme = "alps"

// URI returns the one URI that a certificate of id carries.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: id.Cluster, Path: "/" + string(id.Kind) + "/" + string(id.NodeID)}
}

// String returns the text of the URI.
func (id Identity) String() string { return id.URI().String() }

// validate checks every part of id.
func (id Identity) validate() error {
	if err := CheckCluster(id.Cluster); err != nil {
		return err
	}
	if id.Kind != Server && id.Kind != Agent {
		return fmt.Errorf("unknown kind %q in a certificate", string(id.Kind))
	}
	_, err := mesh.ParseNodeID(string(id.NodeID))
	return err
}

// IdentityOf reads the identity out of a certificate. It does not say whether
// the certificate is to be believed. A certificate with no URI, with several,
// or with one that is not exactly of our form has no identity.
func IdentityOf(c *x509.Certificate) (Identity, error) {
	if len(c.URIs) != 1 {
		return Identity{}, fmt.Errorf("read identity: the certificate has %d URIs, want 1", len(c.URIs))
	}
	return parseIdentity(c.URIs[0])
}

func parseIdentity(u *url.URL) (Identity, error) {
	kind, node, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	id := Identity{Cluster: u.Host, Kind: Kind(kind), NodeID: mesh.NodeID(node)}
	if u.Scheme != scheme || !ok {
		return Identity{}, fmt.Errorf("read identity: %q is not of the form alps://<cluster>/<kind>/<node-id>", u)
	}
	if err := id.validate(); err != nil {
		return Identity{}, fmt.Errorf("read identity %q: %w", u, err)
	}
	// What is left out above (user, query, fragment, odd escapes) must not be there.
	if id.String() != u.String() {
		return Identity{}, fmt.Errorf("read identity: %q is not in its plain form %q", u, id)
	}
	return id, nil
}

// CheckCluster checks the name of a cluster: 1 to 63 lower-case letters,
// digits and dashes, neither first nor last a dash. It is the host part of
// every certificate's URI.
func CheckCluster(name string) error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if name == "" || len(name) > 63 || strings.ContainsFunc(name, bad) || name[0] == '-' || name[len(name)-1] == '-' {
		return fmt.Errorf("cluster name %q: want 1 to 63 lower-case letters, digits and inner dashes", name)
	}
	return nil
}
