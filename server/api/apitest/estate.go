package apitest

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/query"
	"alps/server/api"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
	"alps/server/auth/authtest"
	"alps/server/stream"
)

// Estate is everything behind the API, in memory. Its methods may be called
// from any goroutine.
type Estate struct {
	Address string
	CAPEM   []byte
	Hub     *stream.Hub
	Tokens  *auth.Tokens
	Store   *authtest.Memory
	Loop    *Loop

	mu      sync.Mutex
	nodes   []mesh.Node
	jobs    []*job // the newest first.
	outputs map[string][]byte
	drafts  map[mesh.JobID]*job
	joins   []v1.JoinToken
	audit   []mesh.Audit // the oldest first.
	revoked []mesh.NodeID
	err     error
	needKey bool
	panics  any
}

// UIPolicy is the content security policy of the pages of an Estate's UI.
const UIPolicy = "default-src 'none'"

// Start runs a server over an empty Estate until the test ends.
func Start(t *testing.T) *Estate {
	t.Helper()
	stop := make(chan struct{})
	e := New(t)
	o := e.Options(t)
	var run sync.WaitGroup
	t.Cleanup(func() { close(stop); run.Wait() })
	e.Run(t, o, &run, stop)
	return e
}

// New returns an empty Estate without a server.
func New(t *testing.T) *Estate {
	t.Helper()
	hub, err := stream.New(0)
	if err != nil {
		t.Fatal(err)
	}
	e := &Estate{Hub: hub, Store: &authtest.Memory{}, Loop: &Loop{}, outputs: map[string][]byte{}, drafts: map[mesh.JobID]*job{}}
	if e.Tokens, err = auth.New(auth.Options{Store: e.Store, Logger: hclog.NewNullLogger()}); err != nil {
		t.Fatal(err)
	}
	return e
}

// Options returns what a server over e needs, with a fresh port and
// certificate.
func (e *Estate) Options(t *testing.T) api.Options {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	cert, ca := certificate()
	e.Address, e.CAPEM = l.Addr().String(), ca
	return api.Options{
		Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
		Logger: hclog.NewNullLogger(), Version: "1.2.3", Cluster: "test",
		Jobs: e, Inventory: inventory{e}, Enrolment: e, Tokens: e.Tokens, Audit: e, Status: e, Events: e.Hub,
		Checks: e.Loop, Consul: e.Loop, KV: keys{e.Loop}, Settings: e.Loop, Incidents: incidents{e.Loop}, Remedies: remedies{e.Loop},
		UI: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", UIPolicy)
			w.Write([]byte("<!doctype html>" + r.URL.Path))
		}),
	}
}

// Run makes a server of o and runs it in run until stop is closed.
func (e *Estate) Run(t *testing.T, o api.Options, run *sync.WaitGroup, stop <-chan struct{}) {
	t.Helper()
	s, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	run.Go(func() { <-stop; cancel() })
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run the server: %v", err)
		}
	})
}

// certificate borrows the certificate for 127.0.0.1 that the standard library
// tests itself with.
func certificate() (tls.Certificate, []byte) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Certificates[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// Client returns a client with a fresh token; an empty role gives it none.
func (e *Estate) Client(t *testing.T, role auth.Role, scope string) *client.Client {
	t.Helper()
	text := ""
	if role != "" {
		text = e.Token(t, auth.Request{Name: string(role), Role: role, Scope: scope})
	}
	c, err := client.New(client.Options{Address: e.Address, CAPEM: e.CAPEM, Token: text})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Token makes a token and returns its text.
func (e *Estate) Token(t *testing.T, r auth.Request) string {
	t.Helper()
	_, text, err := e.Tokens.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Node returns a node of a role with an agent.
func Node(name, role string) mesh.Node {
	return mesh.Node{
		ID: mesh.NewNodeID(), Name: mesh.NodeName(name), DC: "dc1", Address: "127.0.0.1",
		Status: mesh.MemberAlive, Agent: mesh.AgentLinked, Naming: mesh.Naming{Role: role},
	}
}

// SetNodes replaces the inventory.
func (e *Estate) SetNodes(nodes ...mesh.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = slices.SortedFunc(slices.Values(nodes), func(a, b mesh.Node) int {
		return strings.Compare(string(a.Name), string(b.Name))
	})
}

// Fail makes every service return err; nil ends it.
func (e *Estate) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// Panic makes Status and CreateJoinToken panic with v; nil ends it.
func (e *Estate) Panic(v any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.panics = v
}

// Audited returns the audit, the oldest line first.
func (e *Estate) Audited() []mesh.Audit {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.audit)
}

// Revoked returns the nodes that were revoked.
func (e *Estate) Revoked() []mesh.NodeID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.revoked)
}

// inventory is the Estate as api.Inventory.
type inventory struct{ e *Estate }

var (
	_ api.Inventory = inventory{}
	_ api.Jobs      = (*Estate)(nil)
	_ api.Enrolment = (*Estate)(nil)
	_ api.Audit     = (*Estate)(nil)
	_ api.Status    = (*Estate)(nil)
)

// AsOf is when Consul was last heard of.
func AsOf() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func (i inventory) Nodes(_ context.Context, expr *query.Expr, after string, limit int) (v1.NodeList, error) {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	all := i.e.match(expr)
	list := v1.NodeList{Total: len(all), AsOf: AsOf()}
	all = slices.DeleteFunc(all, func(n mesh.Node) bool { return string(n.Name) <= after })
	if limit > 0 && len(all) > limit {
		all = all[:limit]
		list.Next = string(all[limit-1].Name)
	}
	list.Nodes = all
	return list, i.e.err
}

func (e *Estate) match(expr *query.Expr) []mesh.Node {
	var out []mesh.Node
	for i := range e.nodes {
		if expr.Match(&e.nodes[i]) {
			out = append(out, e.nodes[i])
		}
	}
	return out
}

func (i inventory) Node(_ context.Context, nameOrID string) (mesh.Node, error) {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	if i.e.err != nil {
		return mesh.Node{}, i.e.err
	}
	for _, n := range i.e.nodes {
		if string(n.Name) == nameOrID || string(n.ID) == nameOrID {
			return n, nil
		}
	}
	return mesh.Node{}, mesh.Errorf(mesh.NotFound, "no node %q", nameOrID)
}

func (i inventory) Members(context.Context) (v1.MemberList, error) {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	list := v1.MemberList{AsOf: AsOf()}
	for _, n := range i.e.nodes {
		list.Members = append(list.Members, mesh.Member{Name: n.Name, Address: n.Address, Status: n.Status, DC: n.DC})
	}
	return list, i.e.err
}

// CreateJoinToken implements api.Enrolment.
func (e *Estate) CreateJoinToken(_ context.Context, by string, r v1.JoinTokenRequest) (v1.NewJoinToken, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panics != nil {
		panic(e.panics)
	}
	if e.err != nil {
		return v1.NewJoinToken{}, e.err
	}
	t := v1.JoinToken{
		ID: string(mesh.NewJobID()), Role: r.Role, Reusable: r.Reusable, CreatedBy: by,
		Created: AsOf(), Expires: AsOf().Add(time.Duration(r.TTL) * time.Second),
	}
	e.joins = slices.Insert(e.joins, 0, t)
	return v1.NewJoinToken{JoinToken: t, Text: "alps-join." + t.ID}, nil
}

// JoinTokens implements api.Enrolment.
func (e *Estate) JoinTokens(context.Context) ([]v1.JoinToken, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.joins), e.err
}

// ExpireJoinToken implements api.Enrolment.
func (e *Estate) ExpireJoinToken(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.joins {
		if e.joins[i].ID == id {
			e.joins[i].Expires = AsOf()
			return e.err
		}
	}
	return mesh.Errorf(mesh.NotFound, "there is no join token %s", id)
}

// Revoke implements api.Enrolment.
func (e *Estate) Revoke(_ context.Context, id mesh.NodeID, _, _ string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.revoked = append(e.revoked, id)
	}
	return e.err
}

// Record implements api.Audit. It does not fail with the rest.
func (e *Estate) Record(_ context.Context, line mesh.Audit) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.audit = append(e.audit, line)
	return nil
}

// Audit implements api.Audit. Lines count from 1, the oldest first.
func (e *Estate) Audit(_ context.Context, f v1.AuditFilter) (v1.AuditList, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list v1.AuditList
	for i, l := range slices.Backward(e.audit) {
		number := int64(i + 1)
		if f.Before > 0 && number >= f.Before || f.Actor != "" && f.Actor != l.Actor || f.Action != "" && f.Action != l.Action ||
			f.Object != "" && f.Object != l.Object || l.Time.Before(f.Since) || !f.Until.IsZero() && !l.Time.Before(f.Until) {
			continue
		}
		if len(list.Lines) == f.Limit {
			list.Next = number + 1
			break
		}
		list.Lines = append(list.Lines, l)
	}
	return list, e.err
}

// Status implements api.Status.
func (e *Estate) Status(context.Context) (v1.StatusDetail, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panics != nil {
		panic(e.panics)
	}
	return v1.StatusDetail{Name: "srv1", Started: AsOf(), Ready: true, AsOf: AsOf(), Nodes: len(e.nodes)}, e.err
}
