package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"alps/mesh"
)

// maxBody is how much of an answer's body is kept.
const maxBody = 512

// httpClients ask over HTTP, one for those who take any certificate. Each
// request opens a connection of its own: one that was kept would still work
// when nobody listens any more.
type httpClients struct{ strict, lax *http.Client }

func newHTTPClients() httpClients {
	client := func(c *tls.Config) *http.Client {
		return &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: c, MaxResponseHeaderBytes: 64 << 10,
			// Proxy stays nil: the thing itself is asked.
		}}
	}
	return httpClients{
		strict: client(&tls.Config{MinVersion: tls.VersionTLS12}),
		lax:    client(&tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}), // #nosec G402 -- what tls_skip_verify asks for.
	}
}

func (c httpClients) close() {
	c.strict.CloseIdleConnections()
	c.lax.CloseIdleConnections()
}

// request asks a URL; redirects are followed. 2xx is passing, 429 warning,
// everything else critical, as in Consul.
func (a *asker) request(ctx context.Context, d *mesh.CheckDef) outcome {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(d))
	defer cancel()
	method := d.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, d.URL, strings.NewReader(d.Body))
	if err != nil {
		return unknown("ask %s: %v", d.URL, bare(err))
	}
	what := method + " " + req.URL.Redacted()
	for k, vs := range d.Header {
		if strings.EqualFold(k, "Host") && len(vs) > 0 {
			req.Host = vs[0]
			continue
		}
		for _, v := range vs {
			req.Header.Add(k, v)
		}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "ALPS check")
	}
	client := a.http.strict
	if d.TLSSkipVerify {
		client = a.http.lax
	}
	resp, err := client.Do(req)
	switch {
	case err != nil && isTimeout(ctx, err):
		return late(d, what+": no answer")
	case err != nil:
		return outcome{status: mesh.HealthCritical, output: fmt.Sprintf("%s: %v", what, bare(err))}
	}
	defer resp.Body.Close()
	// The status is the answer. A body that ends early changes nothing of it.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	o := outcome{status: httpHealth(resp.StatusCode), code: resp.StatusCode, output: what + ": " + resp.Status}
	if len(body) > maxBody {
		body, o.truncated = body[:maxBody], true
	}
	if text := strings.TrimSpace(strings.ToValidUTF8(string(body), "")); text != "" {
		o.output += "\n" + text
	}
	return o
}

func httpHealth(code int) mesh.Health {
	switch {
	case code >= 200 && code < 300:
		return mesh.HealthPassing
	case code == http.StatusTooManyRequests:
		return mesh.HealthWarning
	}
	return mesh.HealthCritical
}

// isTimeout reports whether err came because the time was over.
func isTimeout(ctx context.Context, err error) bool {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// bare takes off what repeats the address: the port that we ask from, too,
// which would make each text another one.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return err
}
