package pki

import (
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"alps/mesh"
)

// Explain puts an error of a TLS connection into words that help somebody who
// does not know TLS, seen from the side that dialled. own is the certificate
// that this side showed, or nil; now is this side's clock. It returns nil for
// an error that has nothing to do with certificates.
//
// With TLS 1.3 the dialling side learns on its first read, not in the
// handshake, that the other did not like its certificate: explain read errors
// as well.
func Explain(err error, own *x509.Certificate, now time.Time) *mesh.Error {
	if e, ok := errors.AsType[*mesh.Error](err); ok {
		return e
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		if own != nil && own.Equal(invalid.Cert) {
			return outOfDate(own, thisNode, now)
		}
		return outOfDate(invalid.Cert, theServer, now)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return mesh.Errorf(mesh.Unauthorized, "the server's certificate is not signed by this cluster's CA: %w", err).
			WithHint("look whether the address is that of another cluster, or whether the CA was made anew: then enrol again with a new join token")
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return mesh.Errorf(mesh.Unauthorized, "the other end shows a certificate that is not a server's: %w", err)
	}
	return explainAlert(err, own, now)
}

// explainAlert tells what the other side meant when it hung up. The standard
// library gives alerts of a peer no exported type, only their text.
func explainAlert(err error, own *x509.Certificate, now time.Time) *mesh.Error {
	text := err.Error()
	if !strings.Contains(text, "remote error: tls: ") {
		return nil
	}
	switch {
	case strings.HasSuffix(text, "expired certificate"):
		if own != nil && (now.After(own.NotAfter) || now.Before(own.NotBefore)) {
			return outOfDate(own, thisNode, now)
		}
		return mesh.Errorf(mesh.Unauthorized, "the server says that this node's certificate is out of date, this node's clock (%s) says it is not: %w",
			stamp(now), err).WithHint("compare the clocks of both: `timedatectl`")
	case strings.HasSuffix(text, "unknown certificate authority"):
		return mesh.Errorf(mesh.Unauthorized, "the server does not know the CA that signed this node's certificate: %w", err).
			WithHint("the CA was made anew: enrol again with a new join token")
	case strings.HasSuffix(text, "bad certificate"):
		return mesh.Errorf(mesh.Denied, "the server refuses this node's certificate; most likely the node was revoked: %w", err).
			WithHint("`alps node show` tells; if the node should come back, remove identity/ from its data directory and enrol it with a new join token")
	}
	return nil
}

// holder is whose certificate is out of date, and what to do when it is over.
type holder struct{ name, remedy string }

var (
	theServer = holder{"the server's certificate", "if this clock is right, restart the server: it makes itself a new certificate"}
	thisNode  = holder{"this node's certificate", "if this clock is right, remove identity/ from the agent's data directory and enrol it with a new join token"}
)

// outOfDate explains a certificate whose life does not hold now. One that has
// not begun is nearly always a clock that is behind: certificates begin
// Backdate before they are made.
func outOfDate(c *x509.Certificate, whose holder, now time.Time) *mesh.Error {
	if now.Before(c.NotBefore) {
		return mesh.Errorf(mesh.Unauthorized, "%s begins at %s, but this node's clock says %s: the clock is behind",
			whose.name, stamp(c.NotBefore), stamp(now)).WithHint("set the clock: `timedatectl`, `chronyc makestep`")
	}
	return mesh.Errorf(mesh.Unauthorized, "%s ended at %s; this node's clock says %s", whose.name, stamp(c.NotAfter), stamp(now)).
		WithHint("%s", whose.remedy)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
