package link

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// EnrolOptions is what Enrol needs.
type EnrolOptions struct {
	DataDir  string   // made if it is missing.
	Token    string   // the text of a join token.
	Servers  []string // host:port of links, tried in order.
	Evidence frame.Evidence
}

// enrolTime bounds one server's answer.
const enrolTime = 30 * time.Second

// Enrol makes this machine a node of the cluster that the join token names,
// unless it is one already: then it returns the identity that there is. It
// may be called again after any error and after a crash.
func Enrol(ctx context.Context, o EnrolOptions) (*Identity, error) {
	id, err := LoadIdentity(o.DataDir)
	if err == nil || mesh.CodeOf(err) != mesh.NotFound {
		return id, err
	}
	token, err := pki.ParseJoinToken(o.Token)
	if err != nil {
		return nil, err
	}
	if len(o.Servers) == 0 {
		return nil, mesh.Errorf(mesh.Invalid, "enrol: no server is known").
			WithHint("name one: join { servers = [\"host:8781\"] }, or look whether Consul has the service alps-server")
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	key, err := pendingKey(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	in := frame.EnrolRequest{Token: o.Token, CSR: string(csr), Evidence: o.Evidence}
	out, err := enrolAny(ctx, o.Servers, token, in)
	if err != nil {
		return nil, err
	}
	if err := checkEnrolment(out, token); err != nil {
		return nil, err
	}
	if err := saveIdentity(o.DataDir, out, key); err != nil {
		return nil, fmt.Errorf("enrol: save identity: %w", err)
	}
	return LoadIdentity(o.DataDir)
}

// enrolAny asks one server after the other. A server that refuses has the
// last word; one that does not answer has not.
func enrolAny(ctx context.Context, servers []string, token pki.JoinToken, in frame.EnrolRequest) (frame.EnrolResponse, error) {
	var out frame.EnrolResponse
	var errs []error
	for _, addr := range servers {
		transport := &http.Transport{TLSClientConfig: pki.JoinTLS(token, "http/1.1"), DisableKeepAlives: true}
		client := &http.Client{Transport: transport, Timeout: enrolTime}
		answered, err := post(ctx, client, exchange{"https://" + addr + "/v1/enrol", in, &out})
		if err == nil || answered && mesh.CodeOf(err) != mesh.Unavailable {
			return out, err
		}
		errs = append(errs, explain(err, addr, nil))
	}
	if len(errs) == 1 {
		return out, errs[0]
	}
	return out, mesh.Errorf(mesh.Unavailable, "enrol: no server took this node: %w", errors.Join(errs...))
}

// checkEnrolment makes sure that the answer is of the CA that the token pins.
func checkEnrolment(r frame.EnrolResponse, token pki.JoinToken) error {
	ca, err := pki.ParseCert([]byte(r.CA))
	if err != nil {
		return fmt.Errorf("enrol: the server's answer: %w", err)
	}
	if !token.Pins(ca) {
		return mesh.Errorf(mesh.Unauthorized, "enrol: the server's answer names another CA than the join token")
	}
	cert, err := pki.ParseCert([]byte(r.Cert))
	if err != nil {
		return fmt.Errorf("enrol: the server's answer: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		if e := pki.Explain(err, cert, time.Now()); e != nil {
			return e
		}
		return fmt.Errorf("enrol: the server's answer: %w", err)
	}
	return nil
}
