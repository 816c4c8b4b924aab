package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

const (
	// DefaultTimeout is how long a call may take: a submission waits up to 5 s
	// for Consul, and 30 s is as long as a person waits.
	DefaultTimeout = 30 * time.Second
	// SimulateTimeout is a little more than the server takes for a simulation.
	SimulateTimeout = 140 * time.Second

	connectTimeout = 5 * time.Second
	// maxAnswer bounds what an answer may hold in memory: ten thousand targets
	// with their reasons are 10 MB.
	maxAnswer = 256 << 20
)

// Options say which server, and as whom.
type Options struct {
	// Address is host:port, or https://host:port. Required.
	Address string
	Token   string // empty: only what needs none.
	// CAFile or CAPEM holds the certificates that the server's must lead to;
	// without either the system's are used.
	CAFile string
	CAPEM  []byte
	// Timeout is for each call except Events; zero means DefaultTimeout.
	Timeout time.Duration
}

// Client calls one server. It keeps a connection alive between calls. Its
// methods may be called from any goroutine.
type Client struct {
	base    string // https://host:port
	token   string
	timeout time.Duration
	http    *http.Client
	conns   *http.Transport
}

// New checks o; it does not connect.
func New(o Options) (*Client, error) {
	base, err := baseURL(o.Address)
	if err != nil {
		return nil, err
	}
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(o.Token, " \t\r\n") {
		return nil, mesh.Errorf(mesh.Invalid, "the token holds white space").WithHint("check ALPS_TOKEN for a line break at its end")
	}
	conns := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     90 * time.Second,
	}
	return &Client{
		base: base, token: o.Token, timeout: cmp.Or(o.Timeout, DefaultTimeout), conns: conns,
		http: &http.Client{Transport: conns, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token goes to nobody else.
		}},
	}, nil
}

// Close drops connections that are idle. The Client may be used again.
func (c *Client) Close() { c.conns.CloseIdleConnections() }

func baseURL(address string) (string, error) {
	hint := "an address looks like 10.0.0.7:8443 or https://alps.example:8443; check ALPS_ADDR"
	if address == "" {
		return "", mesh.Errorf(mesh.Invalid, "no server is named").WithHint("%s", hint)
	}
	if strings.HasPrefix(address, "http://") {
		return "", mesh.Errorf(mesh.Invalid, "the address %q is plain HTTP, which ALPS does not speak", address).WithHint("write https://")
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", mesh.Errorf(mesh.Invalid, "the address %q is not a host and a port", address).WithHint("%s", hint)
	}
	return "https://" + u.Host, nil
}

func (o *Options) roots() (*x509.CertPool, error) {
	pem, from := o.CAPEM, "the given CA"
	if o.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(o.CAFile); err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "read the CA certificate: %w", err).WithHint("check ALPS_CACERT")
		}
		from = o.CAFile
	}
	if pem == nil {
		return nil, nil //nolint:nilnil // nil roots are the system's, by the contract of crypto/tls.
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, mesh.Errorf(mesh.Invalid, "%s holds no PEM certificate", from).WithHint("check ALPS_CACERT")
	}
	return roots, nil
}

// call is one request.
type call struct {
	method string
	path   string
	query  url.Values
	body   any // nil: none.
	answer any // decoded from JSON, or *[]byte for the raw body; nil: ignored.
	// timeout is for a call that may take longer than others; zero: as they.
	timeout time.Duration
}

// do sends one request and reads the whole answer.
func (c *Client) do(ctx context.Context, r call) error {
	ctx, cancel := context.WithTimeout(ctx, max(c.timeout, r.timeout))
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return c.unreachable(err)
	}
	if len(body) > maxAnswer {
		return mesh.Errorf(mesh.TooLarge, "the answer to %s %s has more than %d bytes", r.method, r.path, maxAnswer).
			WithHint("ask for less with a limit or a state")
	}
	if resp.StatusCode/100 != 2 {
		return problem(resp, body)
	}
	switch to := r.answer.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = body
		return nil
	default:
		if err := json.Unmarshal(body, to); err != nil {
			return mesh.Errorf(mesh.Internal, "read the answer to %s %s: %w", r.method, r.path, err).
				WithHint("does an ALPS server answer at %s?", c.base)
		}
		return nil
	}
}

func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request for %s %s: %w", r.method, r.path, err)
		}
		body = bytes.NewReader(b)
	}
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make the request %s %s: %w", r.method, r.path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// problem rebuilds the error that the server meant. An answer that is no
// Problem comes from something in between, or from no ALPS server at all.
func problem(resp *http.Response, body []byte) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p v1.Problem
	if kind == v1.ProblemType && json.Unmarshal(body, &p) == nil && p.Code != "" {
		return p.Err()
	}
	code := v1.CodeOfStatus(resp.StatusCode)
	if code == mesh.NotFound {
		code = mesh.Unavailable // nobody who knows has said that the thing is not there.
	}
	return mesh.Errorf(code, "%s %s was answered with %s, not by an ALPS server",
		resp.Request.Method, resp.Request.URL.Path, resp.Status).
		WithHint("is there a proxy in between? check ALPS_ADDR and HTTPS_PROXY")
}
