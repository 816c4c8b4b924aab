package link

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// BaseURL is the server that HTTP's client speaks to, whichever it is.
const BaseURL = "https://" + pki.ServerName

// maxAnswer bounds the JSON that servers answer with.
const maxAnswer = 256 << 10

// newHTTP returns a client whose every connection goes to the server that
// holds the link.
func newHTTP(l *Link) (*http.Client, error) {
	cfg, err := l.o.Identity.clientTLS("http/1.1")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: cfg,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr := l.addr()
			if addr == "" {
				return nil, mesh.Errorf(mesh.Unavailable, "no server is connected").WithHint("look at the node: `alps doctor`")
			}
			return (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, addr)
		},
		TLSHandshakeTimeout:   dialTime,
		ResponseHeaderTimeout: time.Minute,
		MaxIdleConns:          2,
		IdleConnTimeout:       30 * time.Second, // less than the server's.
	}
	return &http.Client{Transport: transport}, nil
}

// exchange is one request with JSON both ways.
type exchange struct {
	url     string
	in, out any
}

// post makes an exchange. Where the server answered with a refusal, that is
// the error, a *mesh.Error, and answered is true.
func post(ctx context.Context, c *http.Client, x exchange) (answered bool, err error) {
	body, err := json.Marshal(x.in)
	if err != nil {
		return false, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return true, refusalIn(resp.Status, text)
	}
	if err := json.Unmarshal(text, x.out); err != nil {
		return false, fmt.Errorf("read answer: %w", err)
	}
	return true, nil
}

func refusalIn(status string, text []byte) error {
	var r frame.Refusal
	if err := json.Unmarshal(text, &r); err != nil || r.Message == "" {
		return mesh.Errorf(mesh.Internal, "the server answered %q: %.200q", status, text)
	}
	return r.Err()
}
