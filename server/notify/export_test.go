package notify

import (
	"crypto/x509"

	"alps/mesh"
)

// RetryAfter is what reads the header.
var RetryAfter = retryAfter

// NewSender makes the Sender that an Engine would make.
func NewSender(r mesh.Receiver, roots *x509.CertPool) (s Sender, closeIdle func(), err error) {
	e := &Engine{transport: newTransport(roots)}
	s, err = e.newSender(r)
	return s, e.transport.CloseIdleConnections, err
}
