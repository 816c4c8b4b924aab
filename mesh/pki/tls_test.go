package pki

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"alps/mesh"
)

// outcome is what both ends of one connection have seen.
type outcome struct {
	client, server error
	resumed        bool
	peer           Identity
}

// connect lets a client and a server meet over loopback and exchange one byte
// each way, so that either end sees what the other thinks of it.
func connect(t *testing.T, client, server *tls.Config) outcome {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	var out outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := ln.Accept()
		if err != nil {
			out.server = err
			return
		}
		c := tls.Server(raw, server)
		defer func() { _ = c.Close() }()
		if out.server = c.HandshakeContext(ctx); out.server == nil {
			out.peer, _ = PeerOf(c.ConnectionState())
			_, out.server = c.Write([]byte{1})
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, client)
	if out.client = c.HandshakeContext(ctx); out.client == nil {
		out.resumed = c.ConnectionState().DidResume
		_, out.client = io.ReadFull(c, make([]byte, 1))
	}
	_ = c.Close()
	<-done
	return out
}

func serverConfig(t *testing.T, ca *CA, text []byte, revoked func(mesh.NodeID) bool) *tls.Config {
	t.Helper()
	live, err := NewLive(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := ServerTLS(ServerOptions{CA: ca.Certificate(), Certificate: live, Revoked: revoked})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func clientConfig(t *testing.T, ca *CA, text []byte) (*tls.Config, *Live) {
	t.Helper()
	live, err := NewLive(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := ClientTLS(ClientOptions{CA: ca.Certificate(), Certificate: live})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, live
}

func nobody(mesh.NodeID) bool { return false }

// forge signs a certificate that the CA's own methods refuse to make.
func forge(t *testing.T, ca *CA, id Identity, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	tpl := template(time.Now(), AgentLife)
	tpl.URIs = []*url.URL{id.URI()}
	tpl.DNSNames = []string{ServerName}
	tpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	change(tpl)
	der, err := x509.CreateCertificate(rand.Reader, tpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return append(encodeCert(der), keyPEM(t, key)...)
}

// rawServer is a server that shows any certificate that it is given.
func rawServer(t *testing.T, text []byte) *tls.Config {
	t.Helper()
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c}}
}

func TestMutual(t *testing.T) {
	ca := newCA(t, "prod")
	client, _ := clientConfig(t, ca, agentPEM(t, ca, node, time.Now()))
	got := connect(t, client, serverConfig(t, ca, serverPEM(t, ca, time.Now()), nobody))
	if got.client != nil || got.server != nil {
		t.Fatalf("client: %v, server: %v", got.client, got.server)
	}
	if want := (Identity{"prod", Agent, node}); got.peer != want {
		t.Errorf("peer = %v, want %v", got.peer, want)
	}
}

// TestServerRefuses shows clients to a server that must turn them away, and
// what the client is told.
func TestServerRefuses(t *testing.T) {
	ca, other, foreign := newCA(t, "prod"), newCA(t, "prod"), newCA(t, "test")
	now := time.Now()
	for name, tc := range map[string]struct {
		client []byte
		server error // part of the text.
		word   string
		code   mesh.Code
	}{
		"wrong CA":        {agentPEM(t, other, node, now), errors.New("unknown authority"), "does not know the CA", mesh.Unauthorized},
		"foreign cluster": {agentPEM(t, foreign, node, now), errors.New("unknown authority"), "does not know the CA", mesh.Unauthorized},
		"our CA, foreign cluster": {
			forge(t, ca, Identity{"test", Agent, node}, func(*x509.Certificate) {}),
			errors.New(`this is cluster "prod"`), "refuses this node's certificate", mesh.Denied,
		},
		"expired":       {agentPEM(t, ca, node, now.Add(-AgentLife-time.Hour)), errors.New("expired"), "this node's certificate ended at", mesh.Unauthorized},
		"not yet valid": {agentPEM(t, ca, node, now.Add(time.Hour)), errors.New("not yet valid"), "the clock is behind", mesh.Unauthorized},
		"revoked":       {agentPEM(t, ca, "ffffffffffffffffffffffffffffffff", now), errors.New("is revoked"), "revoked", mesh.Denied},
		"cannot be a client": {
			forge(t, ca, Identity{"prod", Agent, node}, func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}),
			errors.New("key usage"), "refuses this node's certificate", mesh.Denied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			revoked := func(id mesh.NodeID) bool { return strings.HasPrefix(string(id), "ff") }
			live, err := NewLive(tc.client)
			if err != nil {
				t.Fatal(err)
			}
			client, err := ClientTLS(ClientOptions{CA: ca.Certificate(), Certificate: live})
			if err != nil {
				t.Fatal(err)
			}
			got := connect(t, client, serverConfig(t, ca, serverPEM(t, ca, now), revoked))
			if got.server == nil || !strings.Contains(got.server.Error(), tc.server.Error()) {
				t.Errorf("server: %v, want %q", got.server, tc.server)
			}
			if got.client == nil {
				t.Fatal("client: no error")
			}
			e := Explain(got.client, live.Leaf(), now)
			if e == nil || e.Code != tc.code || !strings.Contains(e.Message, tc.word) || e.Hint == "" {
				t.Errorf("explained as %+v, want code %s and %q", e, tc.code, tc.word)
			}
		})
	}
}

// TestClientRefuses shows servers to an agent that must not believe them.
func TestClientRefuses(t *testing.T) {
	ca, other := newCA(t, "prod"), newCA(t, "prod")
	now := time.Now()
	for name, tc := range map[string]struct {
		server []byte
		word   string
	}{
		"wrong CA":                 {serverPEM(t, other, now), "not signed by this cluster's CA"},
		"expired":                  {serverPEM(t, ca, now.Add(-ServerLife-time.Hour)), "the server's certificate ended at"},
		"not yet valid":            {serverPEM(t, ca, now.Add(time.Hour)), "the clock is behind"},
		"an agent's":               {agentPEM(t, ca, node, now), "not a server's"},
		"an agent's, server usage": {forge(t, ca, Identity{"prod", Agent, node}, func(*x509.Certificate) {}), "is an agent, not a server"},
		"foreign cluster":          {forge(t, ca, Identity{"test", Server, node}, func(*x509.Certificate) {}), `is of cluster "test"`},
		"no identity":              {forge(t, ca, Identity{"prod", Server, node}, func(c *x509.Certificate) { c.URIs = nil }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, live := clientConfig(t, ca, agentPEM(t, ca, node, now))
			got := connect(t, client, rawServer(t, tc.server))
			if got.client == nil {
				t.Fatal("the agent believes it")
			}
			if tc.word == "" {
				return
			}
			if e := Explain(got.client, live.Leaf(), now); e == nil || !strings.Contains(e.Message, tc.word) {
				t.Errorf("explained as %v, want %q", e, tc.word)
			}
		})
	}
}

func TestRevokedOnResumption(t *testing.T) {
	ca := newCA(t, "prod")
	var out atomic.Bool
	client, live := clientConfig(t, ca, agentPEM(t, ca, node, time.Now()))
	server := serverConfig(t, ca, serverPEM(t, ca, time.Now()), func(mesh.NodeID) bool { return out.Load() })
	if got := connect(t, client, server); got.client != nil || got.resumed {
		t.Fatalf("first connection: %+v", got)
	}
	if got := connect(t, client, server); got.client != nil || !got.resumed || got.peer.NodeID != node {
		t.Fatalf("second connection: %+v, want a resumed one", got)
	}
	out.Store(true)
	got := connect(t, client, server)
	if got.server == nil || got.client == nil {
		t.Fatalf("the revoked node got in: %+v", got)
	}
	if e := Explain(got.client, live.Leaf(), time.Now()); e == nil || e.Code != mesh.Denied {
		t.Errorf("explained as %v, want code %s", e, mesh.Denied)
	}
}

func TestReplaceCertificate(t *testing.T) {
	ca := newCA(t, "prod")
	server := serverConfig(t, ca, serverPEM(t, ca, time.Now()), nobody)
	client, live := clientConfig(t, ca, agentPEM(t, ca, node, time.Now().Add(-AgentLife-time.Hour)))
	if got := connect(t, client, server); got.client == nil {
		t.Fatal("an expired certificate was accepted")
	}
	if err := live.Replace([]byte("rubbish")); err == nil {
		t.Fatal("rubbish replaced a certificate")
	}
	if err := live.Replace(agentPEM(t, ca, node, time.Now())); err != nil {
		t.Fatal(err)
	}
	if got := connect(t, client, server); got.client != nil {
		t.Errorf("with the new certificate: %v", got.client)
	}
}

func TestJoinTLS(t *testing.T) {
	ca, other := newCA(t, "prod"), newCA(t, "prod")
	now := time.Now()
	tok := ca.NewJoinToken()
	for name, tc := range map[string]struct {
		server []byte
		ok     bool
	}{
		"the pinned CA":        {serverPEM(t, ca, now), true},
		"another CA":           {serverPEM(t, other, now), false},
		"expired":              {serverPEM(t, ca, now.Add(-ServerLife-time.Hour)), false},
		"without the CA":       {forge(t, ca, Identity{"prod", Server, node}, func(*x509.Certificate) {}), false},
		"an agent's":           {append(agentPEM(t, ca, node, now), ca.PEM()...), false},
		"leaf of another CA":   {append(forge(t, other, Identity{"prod", Server, node}, func(*x509.Certificate) {}), ca.PEM()...), false},
		"agent's, server used": {append(forge(t, ca, Identity{"prod", Agent, node}, func(*x509.Certificate) {}), ca.PEM()...), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := connect(t, JoinTLS(tok), rawServer(t, tc.server))
			if (got.client == nil) != tc.ok {
				t.Errorf("client: %v, want ok %v", got.client, tc.ok)
			}
		})
	}
}
