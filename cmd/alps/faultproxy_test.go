package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh/dispatch"
)

// fault says which requests get no answer.
type fault func(*http.Request) bool

// noEvents is a Consul whose gossip delivers no user event.
func noEvents(r *http.Request) bool { return r.URL.Path == "/v1/event/list" }

// noWatch is a Consul that tells nobody who waits that a head has changed.
func noWatch(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v1/kv/"+dispatch.HeadPrefix) && r.URL.Query().Get("index") != ""
}

// faultProxy stands between an agent and its Consul agent. Requests that its
// fault names hang until the client gives them up.
type faultProxy struct {
	addr    string
	forward *httputil.ReverseProxy

	mu  sync.Mutex
	now *regime
}

// regime is what a proxy does from one change of its faults to the next.
type regime struct {
	faults []fault
	over   chan struct{} // closed by the next change.
	held   int           // requests that hang under it.
}

// proxies are the fault proxies of a cluster, by node.
type proxies map[string]*faultProxy

var consulAddress = regexp.MustCompile(`consul \{ address = "([^"]+)" \}`)

// configure is dev.Options.Configure: it puts a proxy in front of the Consul
// of each agent. The server speaks to its own directly.
func (ps proxies) configure(t *testing.T) func(node, hcl string) string {
	t.Helper()
	return func(node, hcl string) string {
		if node == "" {
			return hcl
		}
		m := consulAddress.FindStringSubmatch(hcl)
		if m == nil {
			t.Fatalf("the config of %s has no consul.address:\n%s", node, hcl)
		}
		ps[node] = startProxy(t, m[1])
		return strings.Replace(hcl, m[0], `consul { address = "`+ps[node].addr+`" }`, 1)
	}
}

func startProxy(t *testing.T, target string) *faultProxy {
	t.Helper()
	p := &faultProxy{
		forward: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target}),
		now:     &regime{over: make(chan struct{})},
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	p.forward.Transport = transport
	p.forward.ErrorLog = hclog.NewNullLogger().StandardLogger(nil) // clients that give up are the point.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	srv := &http.Server{Handler: p, ErrorLog: p.forward.ErrorLog, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("proxy of %s: %v", target, err)
		}
	})
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
		transport.CloseIdleConnections()
	})
	return p
}

// ServeHTTP forwards a request. When the faults change meanwhile it is broken
// off, and the client asks again under the new ones.
func (p *faultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	now := p.now
	hang := slices.ContainsFunc(now.faults, func(f fault) bool { return f(r) })
	p.mu.Unlock()
	if hang {
		p.hold(now, 1)
		select {
		case <-now.over:
		case <-r.Context().Done():
		}
		p.hold(now, -1)
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-now.over:
			cancel()
		case <-ctx.Done():
		}
	})
	p.forward.ServeHTTP(w, r.WithContext(ctx))
	cancel()
	wg.Wait()
}

func (p *faultProxy) hold(r *regime, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.held += n
}

// set replaces the faults, and breaks off what is going on.
func (p *faultProxy) set(faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.now.over)
	p.now = &regime{faults: faults, over: make(chan struct{})}
}

// holds reports how many requests hang because of the present faults.
func (p *faultProxy) holds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now.held
}

// set gives every proxy these faults, and returns when each of them has made
// one request of every agent hang: from then on nothing of that kind arrives.
func (ps proxies) set(t *testing.T, faults ...fault) {
	t.Helper()
	for _, p := range ps {
		p.set(faults...)
	}
	for node, p := range ps {
		eventually(t, node+" waits in vain", func() bool { return p.holds() == len(faults) })
	}
}

// eventually polls until ok, and fails when that takes too long.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 90 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
