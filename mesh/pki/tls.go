package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"

	"alps/mesh"
)

// Live is a certificate and its key that may be replaced while connections
// are being made with it. Connections that exist keep what they began with.
type Live struct {
	p atomic.Pointer[tls.Certificate]
}

// NewLive reads certificate and key out of one PEM text, in any order.
func NewLive(text []byte) (*Live, error) {
	l := new(Live)
	return l, l.Replace(text)
}

// Replace puts another certificate and key in place, or returns an error and
// leaves the old.
func (l *Live) Replace(text []byte) error {
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Errorf("read certificate and key: %w", err)
	}
	if _, err := IdentityOf(c.Leaf); err != nil {
		return err
	}
	l.p.Store(&c)
	return nil
}

// Leaf returns the certificate in use. Do not change it.
func (l *Live) Leaf() *x509.Certificate { return l.p.Load().Leaf }

// Identity returns who the certificate in use says we are.
func (l *Live) Identity() Identity {
	id, _ := IdentityOf(l.Leaf()) // Replace has checked it.
	return id
}

// ServerOptions is what ServerTLS is made from. All but Protocols is needed.
type ServerOptions struct {
	CA          *x509.Certificate
	Certificate *Live
	// Revoked says whether a node is shut out. It is asked in every
	// handshake, resumed ones included, from many goroutines, and must not
	// block.
	Revoked   func(mesh.NodeID) bool
	Protocols []string // ALPN, the preferred first.
}

// ServerTLS returns the configuration of a server: TLS 1.3, session tickets,
// and client certificates verified where they are shown. A client without one
// is let in, since a newcomer has none: whoever needs one must ask PeerOf.
// A client with a foreign, expired or revoked one is not.
func ServerTLS(o ServerOptions) (*tls.Config, error) {
	if o.CA == nil || o.Certificate == nil || o.Revoked == nil {
		return nil, errors.New("server TLS: CA, Certificate and Revoked are all needed")
	}
	cluster, err := ClusterOf(o.CA)
	if err != nil {
		return nil, fmt.Errorf("server TLS: %w", err)
	}
	if id := o.Certificate.Identity(); id.Kind != Server || id.Cluster != cluster {
		return nil, fmt.Errorf("server TLS: the certificate is of %q, want a server of cluster %q", id, cluster)
	}
	pool := x509.NewCertPool()
	pool.AddCert(o.CA)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: o.Protocols,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return o.Certificate.p.Load(), nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			id, err := IdentityOf(cs.PeerCertificates[0])
			switch {
			case err != nil:
				return err
			case id.Cluster != cluster:
				return wrongCluster(id, cluster)
			case o.Revoked(id.NodeID):
				return mesh.Errorf(mesh.Denied, "node %s is revoked", id.NodeID)
			}
			return nil
		},
	}, nil
}

// PeerOf returns who is at the other end of a connection made with a
// configuration of this package; mesh.Unauthorized when the peer has shown no
// certificate.
func PeerOf(cs tls.ConnectionState) (Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return Identity{}, mesh.Errorf(mesh.Unauthorized, "the peer has shown no certificate").
			WithHint("make a join token on a server (`alps join-token create`) and put it into the agent's config: join { token = … }")
	}
	return IdentityOf(cs.PeerCertificates[0])
}

// ClientOptions is what ClientTLS is made from. All but Protocols is needed.
type ClientOptions struct {
	CA          *x509.Certificate
	Certificate *Live
	Protocols   []string
}

// ClientTLS returns the configuration with which an agent, or another server,
// dials a server: TLS 1.3, its own certificate shown, session tickets kept
// for one server. The server is believed by the CA, its kind and the cluster;
// the address that was dialled does not matter.
func ClientTLS(o ClientOptions) (*tls.Config, error) {
	if o.CA == nil || o.Certificate == nil {
		return nil, errors.New("client TLS: CA and Certificate are both needed")
	}
	cluster, err := ClusterOf(o.CA)
	if err != nil {
		return nil, fmt.Errorf("client TLS: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(o.CA)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: o.Protocols,
		ServerName: ServerName,
		RootCAs:    pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return o.Certificate.p.Load(), nil
		},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
		VerifyConnection: func(cs tls.ConnectionState) error {
			return checkServer(cs.PeerCertificates[0], cluster)
		},
	}, nil
}

// JoinTLS returns the configuration with which a newcomer dials a server to
// enrol: it shows nothing and believes only a server whose chain ends in the
// CA that the token pins.
func JoinTLS(t JoinToken, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		ServerName: ServerName,
		//nolint:gosec // no CA is known yet: VerifyConnection verifies the chain against the pinned one.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			chain := cs.PeerCertificates
			ca := chain[len(chain)-1]
			if !t.Pins(ca) {
				return mesh.Errorf(mesh.Unauthorized, "the server's CA (fingerprint %s) is not the one that the join token names (%s…)", Fingerprint(ca), t.CA).
					WithHint("ask for a join token of this cluster, or look whether the address is right")
			}
			cluster, err := ClusterOf(ca)
			if err != nil {
				return err
			}
			pool := x509.NewCertPool()
			pool.AddCert(ca)
			if _, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: ServerName}); err != nil {
				return err
			}
			return checkServer(chain[0], cluster)
		},
	}
}

// checkServer checks what the standard library cannot: that a verified
// certificate is a server's and of this cluster.
func checkServer(c *x509.Certificate, cluster string) error {
	id, err := IdentityOf(c)
	switch {
	case err != nil:
		return err
	case id.Kind != Server:
		return mesh.Errorf(mesh.Unauthorized, "the other end is an %s, not a server (%s)", id.Kind, id)
	case id.Cluster != cluster:
		return wrongCluster(id, cluster)
	}
	return nil
}

func wrongCluster(id Identity, want string) error {
	return mesh.Errorf(mesh.Unauthorized, "the other end (%s) is of cluster %q, this is cluster %q", id, id.Cluster, want)
}
