package link

import (
	"context"
	"errors"
	"hash/fnv"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

const (
	// renewLook is how often the age of the certificate is looked at. Timers
	// stand still while a machine sleeps; looking does not.
	renewLook = time.Hour
	// renewRetry is the pause after a renewal that failed. There are ten days
	// left when the first is tried.
	renewRetry = 5 * time.Minute
	renewTime  = time.Minute
)

// keepRenewed renews the certificate when two thirds of its life are over,
// until ctx ends.
func (l *Link) keepRenewed(ctx context.Context) {
	wait := renewLook
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.renew:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		wait = renewLook
		if !l.renewDue(time.Now()) || l.addr() == "" {
			continue
		}
		err := l.renewOnce(ctx)
		if err != nil {
			wait = renewRetry
			l.log.Warn("the certificate could not be renewed", "ends", l.o.Identity.cert.Leaf().NotAfter, "error", err)
		}
		e, _ := errors.AsType[*mesh.Error](err)
		l.mu.Lock()
		l.status.RenewError = e
		l.mu.Unlock()
	}
}

// renewDue reports whether it is time. Nodes that enrolled together are
// spread over a twentieth of the certificate's life.
func (l *Link) renewDue(now time.Time) bool {
	c := l.o.Identity.cert.Leaf()
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.o.Identity.NodeID()))
	late := c.NotAfter.Sub(c.NotBefore) / 20 * time.Duration(h.Sum32()%1024) / 1024
	return pki.NeedsRenewal(c, now.Add(-late))
}

// renewOnce makes a new key and has it signed. Until both are on the disk the
// old ones stay in use.
func (l *Link) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	key, err := pki.NewKey()
	if err != nil {
		return mesh.Errorf(mesh.Internal, "renew certificate: %w", err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return mesh.Errorf(mesh.Internal, "renew certificate: %w", err)
	}
	var out frame.RenewResponse
	x := exchange{BaseURL + "/v1/renew", frame.RenewRequest{CSR: string(csr)}, &out}
	if _, err := post(ctx, l.http, x); err != nil {
		return explain(err, l.addr(), l.o.Identity.cert.Leaf())
	}
	if err := l.o.Identity.replace(out.Cert, key); err != nil {
		return mesh.Errorf(mesh.Internal, "renew certificate: %w", err)
	}
	l.http.CloseIdleConnections()
	l.log.Info("certificate renewed", "ends", l.o.Identity.cert.Leaf().NotAfter)
	return nil
}
