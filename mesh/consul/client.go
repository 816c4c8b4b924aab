package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// Options say which Consul agent to ask, and as whom.
type Options struct {
	// Address is host:port of the HTTP API of the local agent. Empty means
	// 127.0.0.1:8500.
	Address string
	// Token is sent with every request. Empty means $CONSUL_HTTP_TOKEN, as
	// for every Consul tool.
	Token string
	// Datacenter is asked unless In says another. Empty means the agent's.
	Datacenter string
}

// Client asks one Consul agent. Its methods may be called from any goroutine.
// A process needs one: copies made by In share its connections, and Consul
// counts connections by source address (200 of them by default, for all that
// runs on the machine).
type Client struct {
	api   *api.Client
	http  *http.Client
	base  string // "http://host:port".
	token string
	dc    string // empty: the agent's own.
}

// requestTimeout bounds a request beyond the time that it may block by its
// own wish. Consul itself holds a request for 7 s when there is no leader.
const requestTimeout = 15 * time.Second

// New returns a Client. It does not connect.
func New(o Options) (*Client, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:8500"
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(o.Address, "http://"), "/")
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return nil, mesh.Errorf(mesh.Invalid, "the address of Consul %q is not host:port", o.Address).
			WithHint("write it as 127.0.0.1:8500")
	}
	if o.Token == "" {
		o.Token = os.Getenv("CONSUL_HTTP_TOKEN")
	}
	hc := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		// Long polls keep a connection each, and come and go together.
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		// The agent is on this machine: packing costs more than it saves.
		DisableCompression: true,
	}}
	c, err := api.NewClient(&api.Config{Address: addr, Scheme: "http", Token: o.Token, HttpClient: hc})
	if err != nil {
		return nil, fmt.Errorf("make a client of Consul at %s: %w", addr, err)
	}
	return &Client{api: c, http: hc, base: "http://" + addr, token: o.Token, dc: o.Datacenter}, nil
}

// In returns a copy that asks the servers of datacenter dc, through the same
// agent. Empty means the agent's own. What belongs to the agent itself
// (members, registrations, the list of events) is the same in every copy.
func (c *Client) In(dc string) *Client {
	d := *c
	d.dc = dc
	return &d
}

// Address returns the agent's address as a URL.
func (c *Client) Address() string { return c.base }

// Close drops idle connections. The Client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Mode says who may answer a read.
type Mode int

// The modes, from cheap to sure.
const (
	Stale      Mode = iota // any server, from what it has.
	Default                // the leader, by its lease.
	Consistent             // the leader, after it has asked the others.
)

// Query says how to read. The zero Query is a stale read that answers at
// once.
type Query struct {
	// Index makes the read wait until there is something newer than it. Zero
	// answers at once.
	Index uint64
	// Wait is how long a read with an Index waits at most; Consul adds up to
	// a sixteenth. Zero means a minute, more than ten is cut to that.
	Wait time.Duration
	// Mode says who may answer.
	Mode Mode
}

// Meta says what kind of answer a read got.
type Meta struct {
	// Index is the version of the answer, to be waited on.
	Index uint64
	// Reset is set by Watch: the index went backwards since the last answer,
	// because a snapshot was restored, or because a server that lags behind
	// answered a stale read. What was learned before may have been undone.
	Reset bool
	// Filtered says that the token hid a part of the answer. It then looks
	// like less than there is: sound an alarm.
	Filtered bool
	// KnownLeader is false while the answering server has no leader.
	KnownLeader bool
	// LastContact is how long ago the answering server heard of the leader.
	LastContact time.Duration
	// Hash may be set by what a Watch fetches with: an answer with the hash
	// of the one before it is not handed on.
	Hash string
}

// timeout is how long a read may take, more than Consul needs to keep its
// word: wait, a sixteenth of jitter, and the time of any request.
func (q Query) timeout() time.Duration {
	if q.Index == 0 {
		return requestTimeout
	}
	w := q.wait()
	return w + w/16 + requestTimeout
}

func (q Query) wait() time.Duration {
	if q.Wait <= 0 {
		return time.Minute
	}
	return min(q.Wait, 10*time.Minute)
}

func (c *Client) readOptions(ctx context.Context, q Query) *api.QueryOptions {
	o := &api.QueryOptions{
		Datacenter: c.dc, AllowStale: q.Mode == Stale, RequireConsistent: q.Mode == Consistent,
	}
	if q.Index > 0 {
		o.WaitIndex, o.WaitTime = q.Index, q.wait()
	}
	return o.WithContext(ctx)
}

// read runs one read of Consul's client with our limits and errors. What
// names it in an error.
func read[T any](ctx context.Context, c *Client, q Query, what string, call func(*api.QueryOptions) (T, *api.QueryMeta, error)) (T, Meta, error) {
	limited, cancel := context.WithTimeout(ctx, q.timeout())
	defer cancel()
	v, m, err := call(c.readOptions(limited, q))
	if err != nil {
		var none T
		return none, Meta{}, c.failure(ctx, what, err)
	}
	if m == nil {
		return v, Meta{}, nil
	}
	return v, Meta{
		Index: m.LastIndex, Filtered: m.ResultsFilteredByACLs,
		KnownLeader: m.KnownLeader, LastContact: m.LastContact,
	}, nil
}

// write is read's sister for requests that change something.
func (c *Client) write(ctx context.Context, what string, call func(*api.WriteOptions) error) error {
	return c.limited(ctx, what, func(ctx context.Context) error {
		o := &api.WriteOptions{Datacenter: c.dc}
		return call(o.WithContext(ctx))
	})
}

// limited runs one request that does not wait, with our limits and errors.
func (c *Client) limited(ctx context.Context, what string, call func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := call(limited); err != nil {
		return c.failure(ctx, what, err)
	}
	return nil
}

// ask does what read does for the few endpoints for which Consul's client
// takes no context.
func (c *Client) ask(ctx context.Context, what, path string, into any) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := url.Parse(c.base + path)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	req, err := http.NewRequestWithContext(limited, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if c.token != "" {
		req.Header.Set("X-Consul-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failure(ctx, what, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // the status says enough.
		return c.failure(ctx, what, api.StatusError{Code: resp.StatusCode, Body: strings.TrimSpace(string(b))})
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return c.failure(ctx, what, err)
	}
	return nil
}
