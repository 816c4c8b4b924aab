package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefusesNonsense(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		o    client.Options
		says string
	}{
		{"no address", client.Options{}, "no server is named"},
		{"plain HTTP", client.Options{Address: "http://127.0.0.1:1"}, "plain HTTP"},
		{"no port", client.Options{Address: "127.0.0.1"}, "not a host and a port"},
		{"no host", client.Options{Address: ":8443"}, "not a host and a port"},
		{"a path", client.Options{Address: "https://127.0.0.1:1/v1"}, "not a host and a port"},
		{"a user", client.Options{Address: "https://u:p@127.0.0.1:1"}, "not a host and a port"},
		{"another scheme", client.Options{Address: "ftp://127.0.0.1:1"}, "not a host and a port"},
		{"garbage", client.Options{Address: "127.0.0.1:%zz"}, "not a host and a port"},
		{"no such file", client.Options{Address: "127.0.0.1:1", CAFile: "/nonexistent/ca.pem"}, "read the CA certificate"},
		{"a file without a certificate", client.Options{Address: "127.0.0.1:1", CAFile: empty}, "no PEM certificate"},
		{"PEM that is none", client.Options{Address: "127.0.0.1:1", CAPEM: []byte("x")}, "no PEM certificate"},
		{"a token with a line break", client.Options{Address: "127.0.0.1:1", Token: "alps.x\n"}, "white space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client.New(tt.o)
			if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an invalid option that says %q", err, tt.says)
			}
		})
	}
	for _, good := range []string{"127.0.0.1:1", "https://127.0.0.1:1", "https://127.0.0.1:1/", "[::1]:1", "alps.example:8443"} {
		if _, err := client.New(client.Options{Address: good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func newClient(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// selfSigned makes a certificate as spoil wants it, and its PEM.
func selfSigned(t *testing.T, spoil func(*x509.Certificate)) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	spoil(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serveTLS answers every request with nothing, under the certificate.
func serveTLS(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestUnreachable(t *testing.T) {
	refused := listen(t)
	refused.Close()
	silent := listen(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	good, goodPEM := selfSigned(t, func(*x509.Certificate) {})
	_, otherPEM := selfSigned(t, func(*x509.Certificate) {})
	old, oldPEM := selfSigned(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	elsewhere, elsewherePEM := selfSigned(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 9, 9, 9)} })

	tests := []struct {
		name       string
		o          client.Options
		says, hint string
	}{
		{"nobody listens", client.Options{Address: refused.Addr().String()}, "no ALPS server answers at " + refused.Addr().String(), "alps dev"},
		{"nobody answers", client.Options{Address: silent.Addr().String(), Timeout: 50 * time.Millisecond}, "in time", "try again"},
		{"no TLS", client.Options{Address: plain.Listener.Addr().String()}, "does not speak TLS", "ALPS_ADDR"},
		{"no CA", client.Options{Address: serveTLS(t, good)}, "trusted here", "ALPS_CACERT"},
		{"another CA", client.Options{Address: serveTLS(t, good), CAPEM: otherPEM}, "trusted here", "ALPS_CACERT"},
		{"an expired certificate", client.Options{Address: serveTLS(t, old), CAPEM: oldPEM}, "not valid now", "clocks"},
		{"a certificate of another address", client.Options{Address: serveTLS(t, elsewhere), CAPEM: elsewherePEM}, "not for this address", "address"},
		{"no ALPS server", client.Options{Address: serveTLS(t, good), CAPEM: goodPEM}, "not by an ALPS server", "proxy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newClient(t, tt.o).Status(t.Context())
			e, ok := errors.AsType[*mesh.Error](err)
			if !ok || !strings.Contains(e.Message, tt.says) || !strings.Contains(e.Hint, tt.hint) {
				t.Fatalf("got %#v, want one that says %q and hints at %q", err, tt.says, tt.hint)
			}
			if want := mesh.Unavailable; tt.name != "no ALPS server" && e.Code != want {
				t.Errorf("code %q, want %q", e.Code, want)
			}
		})
	}
}

func TestACancelledCallIsNoFault(t *testing.T) {
	e := apitest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Client(t, auth.Viewer, "").Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

func TestErrorsAreRebuilt(t *testing.T) {
	e := apitest.Start(t)
	c := e.Client(t, auth.Viewer, "")
	for _, code := range []mesh.Code{
		mesh.Invalid, mesh.NotFound, mesh.Conflict, mesh.Denied, mesh.Unauthorized,
		mesh.NoTargets, mesh.NeedsKey, mesh.Unavailable, mesh.TooLarge,
	} {
		e.Fail(mesh.Errorf(code, "it is so").WithHint("do that"))
		_, err := c.Jobs(t.Context(), v1.JobFilter{})
		got, ok := errors.AsType[*mesh.Error](err)
		if !ok || got.Code != code || got.Message != "it is so" || got.Hint != "do that" {
			t.Errorf("%s came back as %#v", code, err)
		}
	}
}

func TestOneConnectionServesManyCalls(t *testing.T) {
	e := apitest.New(t)
	o := e.Options(t)
	counted := &countingListener{Listener: o.Listener}
	o.Listener = counted
	stop := make(chan struct{})
	var run sync.WaitGroup
	t.Cleanup(func() { close(stop); run.Wait() })
	e.Run(t, o, &run, stop)
	c := e.Client(t, auth.Viewer, "")
	for range 10 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := counted.count(); got != 1 {
		t.Errorf("%d connections for ten calls, want 1", got)
	}
}

// TestTheTokenStaysWithItsServer follows no redirect, which would hand the
// token to whoever it names.
func TestTheTokenStaysWithItsServer(t *testing.T) {
	asked := false
	thief := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(thief.Close)
	s := httptest.NewTLSServer(http.RedirectHandler(thief.URL+"/v1/status", http.StatusTemporaryRedirect))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	_, err := newClient(t, client.Options{Address: s.URL, CAPEM: ca, Token: "secret"}).Status(t.Context())
	if err == nil || asked {
		t.Errorf("got %v, asked the other server: %v", err, asked)
	}
}

func TestEventsEndForGood(t *testing.T) {
	e := apitest.Start(t)
	tests := []struct {
		name string
		c    *client.Client
		want mesh.Code
	}{
		{"without a token", e.Client(t, "", ""), mesh.Unauthorized},
		{"with a forged one", newClient(t, client.Options{Address: e.Address, CAPEM: e.CAPEM, Token: "alps.1.2"}), mesh.Unauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var errs []error
			for ev, err := range tt.c.Events(t.Context(), nil, "") {
				if err == nil {
					t.Fatalf("an event came: %+v", ev)
				}
				errs = append(errs, err)
			}
			if len(errs) != 1 || mesh.CodeOf(errs[0]) != tt.want {
				t.Errorf("got %v, want one error of code %q", errs, tt.want)
			}
		})
	}
}

func TestEventsEndWithTheirContext(t *testing.T) {
	e := apitest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for ev, err := range e.Client(t, auth.Viewer, "").Events(ctx, nil, "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if ev.Type != v1.EventReset {
			t.Errorf("got %+v, want a reset", ev)
		}
		cancel()
	}
	if n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestEventsTryAgain(t *testing.T) {
	l := listen(t)
	l.Close()
	c := newClient(t, client.Options{Address: l.Addr().String()})
	n := 0
	for _, err := range c.Events(t.Context(), nil, "") {
		if mesh.CodeOf(err) != mesh.Unavailable {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("it gave up after %d attempts", n)
	}
}

// TestTheCLIStaysLight keeps the HTTP framework out of what the CLI links.
func TestTheCLIStaysLight(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "alps/server/api/client").Output()
	if err != nil {
		t.Fatalf("list the imports: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("only %d imports are listed", len(deps))
	}
	for _, d := range deps {
		for _, heavy := range []string{"danielgtaylor/huma", "modernc.org", "consul/api", "alps/server/api\n", "alps/server/auth", "alps/server/stream"} {
			if strings.Contains(d+"\n", heavy) {
				t.Errorf("the client links %s", d)
			}
		}
	}
}
