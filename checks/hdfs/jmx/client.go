package jmx

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"alps/mesh"
)

// Limits of one call.
const (
	DefaultTimeout = 3 * time.Second
	// maxBody holds the answer of a NameNode with some 50,000 DataNodes.
	maxBody = 64 << 20
)

// Kind says why a call has brought nothing.
type Kind string

// The kinds. Only NoAnswer and Slow say something of the process that was
// asked; the others say that it is not what it should be.
const (
	NoAnswer Kind = "no answer" // nobody listens, or the name is not known.
	Slow     Kind = "slow"      // it took the connection, perhaps, and said nothing in time.
	Denied   Kind = "denied"    // it wants to know who asks.
	Garbled  Kind = "garbled"   // what came is no JMX, or half of it.
	NoBean   Kind = "no bean"   // it has no such bean: another kind of process, or one that starts.
	Router   Kind = "router"    // it speaks for others, and does not know.
)

// Error is a call that has brought nothing. Its text is the same as long as the
// reason is.
type Error struct {
	Kind Kind
	Addr string
	Text string
}

// Error names the address and the reason.
func (e *Error) Error() string { return "ask " + e.Addr + " for its JMX: " + e.Text }

// KindOf returns the kind of the Error in err's chain, "" when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// Options say how to ask.
type Options struct {
	// Timeout bounds each call, and each NameNode of a Survey; zero means
	// DefaultTimeout.
	Timeout time.Duration
}

// Client asks. It may be used from any goroutine, and keeps no connection: those
// who are asked are asked seldom.
type Client struct {
	http    *http.Client
	timeout time.Duration
}

// New makes a Client.
func New(o Options) *Client {
	return &Client{
		timeout: cmp.Or(o.Timeout, DefaultTimeout),
		http: &http.Client{
			Transport: &http.Transport{DisableKeepAlives: true},
			// A page for people is no answer, wherever it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Beans returns the beans that match a query, such as
// "Hadoop:service=NameNode,name=RpcActivityForPort*", each as its JSON. There is
// at least one, unless there is an error. addr is host:port.
func (c *Client) Beans(ctx context.Context, addr, query string) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := c.get(ctx, addr, query)
	if err != nil {
		return nil, c.explain(ctx, addr, err)
	}
	beans, err := decode(body)
	if err != nil {
		return nil, &Error{Garbled, addr, err.Error()}
	}
	if len(beans) == 0 {
		return nil, &Error{NoBean, addr, fmt.Sprintf("it has no %q: it is another kind of process, or has not started yet", name(query))}
	}
	return beans, nil
}

// Bean decodes the one bean of that name into v.
func (c *Client) Bean(ctx context.Context, addr, query string, v any) error {
	beans, err := c.Beans(ctx, addr, query)
	if err != nil {
		return err
	}
	if len(beans) > 1 {
		return &Error{Garbled, addr, fmt.Sprintf("it has %d beans that are called %q", len(beans), name(query))}
	}
	return into(addr, query, beans[0], v)
}

// into decodes a bean, which must be called as the query says.
func into(addr, query string, bean json.RawMessage, v any) error {
	var named struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(bean, &named); err != nil {
		return &Error{Garbled, addr, fmt.Sprintf("its %q makes no sense: %v", name(query), err)}
	}
	if prefix, open := strings.CutSuffix(query, "*"); named.Name != query && (!open || !strings.HasPrefix(named.Name, prefix)) {
		return &Error{Garbled, addr, fmt.Sprintf("asked for %q, it gave %q", name(query), short(name(named.Name)))}
	}
	if err := json.Unmarshal(bean, v); err != nil {
		return &Error{Garbled, addr, fmt.Sprintf("its %q makes no sense: %v", name(query), err)}
	}
	return nil
}

// name is the short name of a bean.
func name(query string) string {
	_, after, ok := strings.Cut(query, "name=")
	if !ok {
		return query
	}
	return after
}

func (c *Client) get(ctx context.Context, addr, query string) ([]byte, error) {
	u := url.URL{Scheme: "http", Host: addr, Path: "/jmx", RawQuery: url.Values{"qry": {query}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, &Error{NoAnswer, addr, "it is no address"}
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return nil, &Error{Denied, addr, fmt.Sprintf("it answers %d: let /jmx be read without a login (hadoop.http.authentication.kerberos.endpoint.whitelist)", resp.StatusCode)}
	case resp.StatusCode != http.StatusOK:
		return nil, &Error{Garbled, addr, fmt.Sprintf("it answers %d", resp.StatusCode)}
	case resp.Header.Get("Age") != "" && resp.Header.Get("Age") != "0":
		return nil, &Error{Garbled, addr, "a cache in between has answered, with what was true once"}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, &Error{Garbled, addr, fmt.Sprintf("it says more than %d MiB", maxBody>>20)}
	}
	return body, nil
}

// decode takes the beans out of an answer. Half an answer is none.
func decode(body []byte) ([]json.RawMessage, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '{' {
		return nil, errors.New("what it answers is no JSON")
	}
	var answer struct {
		Beans *[]json.RawMessage `json:"beans"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("its answer is broken: %w", err)
	}
	if answer.Beans == nil {
		return nil, errors.New("its answer has no beans")
	}
	return *answer.Beans, nil
}

// explain makes an Error of whatever the network says.
func (c *Client) explain(ctx context.Context, addr string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	kind, text := Reason(ctx, err)
	return &Error{kind, addr, text}
}

// Reason says why the network has brought no answer, for everybody who asks by
// HTTP. Its texts have no port of ours and no time in them, which would be
// others each time.
func Reason(ctx context.Context, err error) (Kind, string) {
	if timeout, ok := errors.AsType[net.Error](err); ctx.Err() != nil || ok && timeout.Timeout() {
		return Slow, "it did not answer in time"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return NoAnswer, "its name is not known"
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, errno) {
			return NoAnswer, errno.Error()
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return Garbled, "its answer ends in the middle"
	}
	return NoAnswer, "the connection failed"
}

// Unwrap makes an Error one that users know the code of.
func (e *Error) Unwrap() error {
	if e.Kind == Denied {
		return mesh.Errorf(mesh.Denied, "%s", e.Text)
	}
	return mesh.Errorf(mesh.Unavailable, "%s", e.Text)
}

// short keeps what a stranger says from filling a line.
func short(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
