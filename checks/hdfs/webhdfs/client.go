package webhdfs

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
	"os"
	"os/user"
	"strconv"
	"time"

	"alps/checks/hdfs/jmx"
)

// Limits of one call.
const (
	// DefaultTimeout is patient with a DataNode that has to start all that it
	// needs for its first write, a second on a machine that is not busy.
	DefaultTimeout = 6 * time.Second
	maxBody        = 64 << 10
)

// Options say how to ask.
type Options struct {
	// User is in whose name files are written; empty means HADOOP_USER_NAME, or
	// who runs the process.
	User string
	// Timeout bounds each call; zero means DefaultTimeout.
	Timeout time.Duration
}

// Client asks. It may be used from any goroutine, and keeps no connection.
type Client struct {
	http    *http.Client
	user    string
	timeout time.Duration
}

// New makes a Client.
func New(o Options) *Client {
	return &Client{
		user: o.User, timeout: cmp.Or(o.Timeout, DefaultTimeout),
		http: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// File is what is written.
type File struct {
	Path     string // absolute; directories that it lies in are made.
	NameNode string // host:port of its RPC, the active one's.
	Copies   int
	Content  []byte
}

// Create has the DataNode with that HTTP address write a file that is not there
// yet.
func (c *Client) Create(ctx context.Context, addr string, f File) error {
	q := url.Values{
		"op": {"CREATE"}, "namenoderpcaddress": {f.NameNode}, "replication": {strconv.Itoa(f.Copies)},
		"createparent": {"true"}, "overwrite": {"false"},
	}
	_, err := c.do(ctx, request{http.MethodPut, addr, f.Path, q, f.Content, http.StatusCreated})
	return err
}

// Remove has the active NameNode, by its HTTP address, remove a file, or a
// directory with all that is in it. It does not mind when there is none.
func (c *Client) Remove(ctx context.Context, addr, path string) error {
	q := url.Values{"op": {"DELETE"}, "recursive": {"true"}}
	body, err := c.do(ctx, request{http.MethodDelete, addr, path, q, nil, http.StatusOK})
	if err != nil {
		return err
	}
	var answer struct {
		Boolean *bool `json:"boolean"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Boolean == nil {
		return &Error{Kind: jmx.Garbled, Addr: addr, Text: "it does not say whether it has removed anything"}
	}
	return nil
}

// request is one call.
type request struct {
	method, addr, path string
	query              url.Values
	content            []byte
	want               int // the status of success.
}

// do makes a call, and returns what was answered.
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	name, err := c.name()
	if err != nil {
		return nil, err
	}
	r.query.Set("user.name", name)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: r.addr, Path: "/webhdfs/v1" + r.path, RawQuery: r.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.content))
	if err != nil {
		return nil, &Error{Kind: jmx.NoAnswer, Addr: r.addr, Text: "it is no address"}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, broken(ctx, r.addr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case err != nil:
		return nil, broken(ctx, r.addr, err)
	case resp.StatusCode != r.want:
		return nil, refusal(r.addr, resp.StatusCode, body)
	}
	return body, nil
}

// broken is a call that was not answered to its end: what it was to do may have
// been done, unless there was nobody to ask.
func broken(ctx context.Context, addr string, err error) error {
	kind, text := jmx.Reason(ctx, err)
	op, ok := errors.AsType[*net.OpError](err)
	return &Error{Kind: kind, Addr: addr, Text: text, Tried: !ok || op.Op != "dial"}
}

// name is who writes.
func (c *Client) name() (string, error) {
	if name := cmp.Or(c.user, os.Getenv("HADOOP_USER_NAME")); name != "" {
		return name, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find in whose name to write (HADOOP_USER_NAME is not set): %w", err)
	}
	return u.Username, nil
}

// Refused is the kind of what Hadoop itself will not do.
const Refused jmx.Kind = "refused"

// Error is a call that has not done what it was to do.
type Error struct {
	Kind      jmx.Kind
	Addr      string
	Text      string
	Exception string // as Hadoop calls it, where Kind is Refused.
	// Tried says that a write came as far as a disk, or may have.
	Tried bool
}

// Error names the address and the reason.
func (e *Error) Error() string { return "WebHDFS at " + e.Addr + ": " + e.Text }

// Tried reports whether a write that failed came as far as a disk, or may have.
func Tried(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Tried
}
