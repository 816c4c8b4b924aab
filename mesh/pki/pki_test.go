package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/mesh"
)

const node = mesh.NodeID("00112233445566778899aabbccddeeff")

func newCA(t testing.TB, cluster string) *CA {
	t.Helper()
	ca, err := NewCA(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// agentPEM enrols an agent of ca at a time and returns its key and certificate.
func agentPEM(t testing.TB, ca *CA, id mesh.NodeID, now time.Time) []byte {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.SignAgent(csr, Identity{Cluster: ca.Cluster(), Kind: Agent, NodeID: id}, now)
	if err != nil {
		t.Fatal(err)
	}
	return append(cert, keyPEM(t, key)...)
}

func serverPEM(t testing.TB, ca *CA, now time.Time) []byte {
	t.Helper()
	text, err := ca.IssueServer(ServerRequest{
		ID:       Identity{Cluster: ca.Cluster(), Kind: Server, NodeID: mesh.NewNodeID()},
		DNSNames: []string{"alps.example"},
		IPs:      []net.IP{net.IPv4(127, 0, 0, 1)},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keyPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	text, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSaveAndLoadCA(t *testing.T) {
	ca := newCA(t, "prod")
	cert, key := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "ca-key.pem")
	if err := ca.Save(cert, key); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the key = %o, want 600", got)
	}
	back, err := LoadCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := back.Fingerprint(), ca.Fingerprint(); got != want {
		t.Errorf("fingerprint after loading = %s, want %s", got, want)
	}
	if got := back.Cluster(); got != "prod" {
		t.Errorf("cluster after loading = %q, want prod", got)
	}

	other := filepath.Join(t.TempDir(), "ca-key.pem")
	if err := newCA(t, "prod").Save(filepath.Join(t.TempDir(), "ca.pem"), other); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(cert, other); err == nil {
		t.Error("a CA was loaded with the key of another one")
	}
}

func TestCertificates(t *testing.T) {
	ca, now := newCA(t, "prod"), time.Now()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	for name, tc := range map[string]struct {
		text []byte
		kind Kind
		life time.Duration
		use  x509.ExtKeyUsage
		dns  string
	}{
		"agent":  {agentPEM(t, ca, node, now), Agent, AgentLife, x509.ExtKeyUsageClientAuth, ""},
		"server": {serverPEM(t, ca, now), Server, ServerLife, x509.ExtKeyUsageServerAuth, ServerName},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := NewLive(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			c := l.Leaf()
			id := l.Identity()
			if id.Kind != tc.kind || id.Cluster != "prod" {
				t.Errorf("identity = %v, want %s of prod", id, tc.kind)
			}
			opts := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{tc.use}, DNSName: tc.dns, CurrentTime: now.Add(-time.Minute)}
			if _, err := c.Verify(opts); err != nil {
				t.Errorf("a clock one minute behind does not believe it: %v", err)
			}
			if got := c.NotAfter.Sub(c.NotBefore); got != tc.life+Backdate {
				t.Errorf("life = %v, want %v", got, tc.life+Backdate)
			}
			if NeedsRenewal(c, now.Add(tc.life/2)) {
				t.Error("to be renewed after half of its life")
			}
			if !NeedsRenewal(c, now.Add(tc.life*3/4)) {
				t.Error("not to be renewed after three quarters of its life")
			}
		})
	}
}

func TestRequestWithLies(t *testing.T) {
	ca := newCA(t, "prod")
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "root"},
		DNSNames:    []string{ServerName},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        []*url.URL{Identity{"prod", Server, node}.URI()},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: requestType, Bytes: der})
	want := Identity{"prod", Agent, node}
	text, err := ca.SignAgent(csr, want, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCert(text)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := IdentityOf(c); err != nil || got != want {
		t.Errorf("identity = %v, %v, want %v", got, err, want)
	}
	if len(c.DNSNames)+len(c.IPAddresses) != 0 || c.Subject.CommonName != string(node) || c.IsCA {
		t.Errorf("the certificate repeats lies: names %v, addresses %v, subject %v", c.DNSNames, c.IPAddresses, c.Subject)
	}

	der[len(der)-1] ^= 1
	csr = pem.EncodeToMemory(&pem.Block{Type: requestType, Bytes: der})
	if _, err := ca.SignAgent(csr, want, time.Now()); err == nil {
		t.Error("a request that is not signed by its key was accepted")
	}
}

func TestSignRefuses(t *testing.T) {
	ca := newCA(t, "prod")
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]Identity{
		"server identity": {"prod", Server, node},
		"other cluster":   {"test", Agent, node},
		"no node id":      {"prod", Agent, ""},
		"bad node id":     {"prod", Agent, "../../etc"},
	} {
		if _, err := ca.SignAgent(csr, id, time.Now()); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := ca.SignAgent([]byte("nothing"), Identity{"prod", Agent, node}, time.Now()); err == nil {
		t.Error("a request that is none was signed")
	}
}

func TestIdentityOf(t *testing.T) {
	good := "alps://prod/agent/" + string(node)
	for name, tc := range map[string]struct {
		uris []string
		want Identity
		ok   bool
	}{
		"agent":           {[]string{good}, Identity{"prod", Agent, node}, true},
		"server":          {[]string{strings.Replace(good, "agent", "server", 1)}, Identity{"prod", Server, node}, true},
		"none":            {nil, Identity{}, false},
		"two":             {[]string{good, good}, Identity{}, false},
		"other scheme":    {[]string{strings.Replace(good, "alps:", "spiffe:", 1)}, Identity{}, false},
		"other kind":      {[]string{strings.Replace(good, "agent", "admin", 1)}, Identity{}, false},
		"port":            {[]string{strings.Replace(good, "prod", "prod:1", 1)}, Identity{}, false},
		"user":            {[]string{strings.Replace(good, "prod", "me@prod", 1)}, Identity{}, false},
		"query":           {[]string{good + "?x=1"}, Identity{}, false},
		"fragment":        {[]string{good + "#x"}, Identity{}, false},
		"longer":          {[]string{good + "/x"}, Identity{}, false},
		"upper case node": {[]string{strings.ToUpper(good)}, Identity{}, false},
		"escaped":         {[]string{strings.Replace(good, "agent", "%61gent", 1)}, Identity{}, false},
		"the CA's":        {[]string{"alps://prod/ca"}, Identity{}, false},
	} {
		c := new(x509.Certificate)
		for _, s := range tc.uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		got, err := IdentityOf(c)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%s: got %v, %v, want %v, ok %v", name, got, err, tc.want, tc.ok)
		}
	}
}

func TestCheckCluster(t *testing.T) {
	for name, ok := range map[string]bool{
		"prod": true, "bj-e-01": true, "1": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "A": false, "a.b": false, "a/b": false, strings.Repeat("a", 64): false,
	} {
		if err := CheckCluster(name); (err == nil) != ok {
			t.Errorf("CheckCluster(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestJoinToken(t *testing.T) {
	ca := newCA(t, "prod")
	tok := ca.NewJoinToken()
	got, err := ParseJoinToken(tok.String())
	if err != nil || got != tok {
		t.Fatalf("ParseJoinToken(String()) = %v, %v, want the same token", got, err)
	}
	if !tok.Pins(ca.Certificate()) || tok.Pins(newCA(t, "prod").Certificate()) {
		t.Error("the token does not pin its own CA alone")
	}
	if !tok.Secret.Matches(tok.Secret.Hash()) || tok.Secret.Matches(ca.NewJoinToken().Secret.Hash()) {
		t.Error("the secret does not match its own hash alone")
	}
	for _, verb := range []string{"%v", "%s", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb, struct{ S Secret }{tok.Secret}); strings.Contains(s, string(tok.Secret)) {
			t.Errorf("%s prints the secret: %s", verb, s)
		}
	}
	for _, s := range []string{"", "alps-join", "alps-join...", tok.String() + ".x", "x" + tok.String(), strings.ToUpper(tok.String()), tok.String()[:40]} {
		if _, err := ParseJoinToken(s); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("ParseJoinToken(%q) = %v, want code %s", s, err, mesh.Invalid)
		}
	}
}

func FuzzParseJoinToken(f *testing.F) {
	f.Add("alps-join.00112233.00112233445566778899aabbccddeeff.00112233445566778899aabbccddeeff")
	f.Add("alps-join...")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseJoinToken(s)
		if err == nil && tok.String() != s {
			t.Errorf("%q parses to %q", s, tok.String())
		}
		if err != nil && len(s) > 60 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the token: %v", err)
		}
	})
}

func FuzzIdentityOf(f *testing.F) {
	f.Add("alps://prod/agent/" + string(node))
	f.Add("alps://prod/server/" + string(node) + "?x#y")
	f.Add("alps://prod/ca")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := IdentityOf(&x509.Certificate{URIs: []*url.URL{u}})
		if err == nil && id.String() != u.String() {
			t.Errorf("%q is read as %q", u, id)
		}
	})
}
