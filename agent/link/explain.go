package link

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"alps/mesh"
	"alps/mesh/pki"
)

// explain says in plain words why there is no link to a server. own is this
// node's certificate, nil before it has one.
func explain(err error, addr string, own *x509.Certificate) *mesh.Error {
	if e := pki.Explain(err, own, time.Now()); e != nil {
		return e
	}
	e := mesh.Errorf(mesh.Unavailable, "server %s: %w", addr, err)
	switch dns, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return e.WithHint("the machine answers, but no alps server listens there: is it running (`systemctl status alps-server`), is the port right?")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return e.WithHint("there is no route to it: look at the address, the network and its filters")
	case isDNS:
		return e.WithHint("the name %q cannot be looked up: name an address, or mend the resolver", dns.Name)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return e.WithHint("nothing came back in time: a filter that swallows packets, or a server that is overloaded")
	case goneAway(err):
		return e.WithHint("the server hung up; it may be restarting, and its log says why if not")
	}
	return e
}

// goneAway reports whether the other end closed the connection.
func goneAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
