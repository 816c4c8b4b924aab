package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"

	"alps/mesh"
)

// unreachable says in words for an operator why no answer came. All of it is
// mesh.Unavailable, except for a cancelled call, which is no fault.
func (c *Client) unreachable(err error) error {
	at := strings.TrimPrefix(c.base, "https://")
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e := untrusted(at, err); e != nil {
		return e
	}
	// The method and the path are noise: the address is what was not reached.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	dns, _ := errors.AsType[*net.DNSError](err)
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return mesh.Errorf(mesh.Unavailable, "no ALPS server answers at %s: %w", at, syscall.ECONNREFUSED).
			WithHint("set ALPS_ADDR, or start one with `alps dev`")
	case dns != nil:
		return mesh.Errorf(mesh.Unavailable, "the server's name does not resolve: %w", dns).WithHint("check ALPS_ADDR")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return mesh.Errorf(mesh.Unavailable, "no answer came from %s in time: %w", at, err).
			WithHint("is the server overloaded, or a firewall in between? try again")
	}
	return mesh.Errorf(mesh.Unavailable, "the connection to %s failed: %w", at, err).WithHint("try again; check ALPS_ADDR if it stays so")
}

// untrusted explains an error of TLS, or returns nil for any other.
func untrusted(at string, err error) error {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return mesh.Errorf(mesh.Unavailable, "the certificate of %s is not for this address: %w", at, e).
			WithHint("use an address that the certificate names")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return mesh.Errorf(mesh.Unavailable, "the certificate of %s is not valid now: %w", at, e).
			WithHint("check the clocks of both machines: `date -u`")
	}
	switch {
	case isA[x509.UnknownAuthorityError](err), isA[*tls.CertificateVerificationError](err):
		return mesh.Errorf(mesh.Unavailable, "the certificate of %s is not signed by a CA that is trusted here: %w", at, err).
			WithHint("set ALPS_CACERT to the CA's certificate; on a server it lies in the data directory")
	case isA[tls.RecordHeaderError](err), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return mesh.Errorf(mesh.Unavailable, "what listens at %s does not speak TLS", at).
			WithHint("this is not the port of the ALPS API; check ALPS_ADDR")
	}
	return nil
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
