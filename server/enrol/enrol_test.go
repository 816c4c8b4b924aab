package enrol_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
	"alps/server/enrol"
	"alps/server/enrol/enroltest"
)

type fixture struct {
	*enrol.Registrar
	t       *testing.T
	ca      *pki.CA
	store   *enroltest.Memory
	changed []mesh.NodeID
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ca, err := pki.NewCA("prod", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, ca: ca, store: enroltest.NewMemory()}
	f.Registrar, err = enrol.New(t.Context(), enrol.Options{
		CA: ca, Store: f.store, Logger: hclog.NewNullLogger(), TrustRoot: "root",
		Servers:  []string{"10.0.0.1:8781"},
		OnChange: func(id mesh.NodeID) { f.changed = append(f.changed, id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) token(r enrol.TokenRequest) string {
	f.t.Helper()
	_, text, err := f.CreateToken(f.t.Context(), r)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func csr(t *testing.T) string {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f *fixture) enrol(token, csr string, e frame.Evidence) frame.EnrolResponse {
	f.t.Helper()
	out, err := f.Enrol(f.t.Context(), frame.EnrolRequest{Token: token, CSR: csr, Evidence: e})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) identity(cert string) pki.Identity {
	f.t.Helper()
	c, err := pki.ParseCert([]byte(cert))
	if err != nil {
		f.t.Fatal(err)
	}
	id, err := pki.IdentityOf(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func TestEnrolAndRenew(t *testing.T) {
	f := newFixture(t)
	out := f.enrol(f.token(enrol.TokenRequest{Role: "datanode"}), csr(t), frame.Evidence{Hostname: "h1", MachineID: "M1"})
	want := pki.Identity{Cluster: "prod", Kind: pki.Agent, NodeID: out.NodeID}
	if got := f.identity(out.Cert); got != want {
		t.Errorf("the certificate is of %v, want %v", got, want)
	}
	if out.CA != string(f.ca.PEM()) || out.Cluster != "prod" || out.TrustRoot != "root" || len(out.Servers) != 1 {
		t.Errorf("answer = %+v", out)
	}
	n, err := f.store.NodeByID(t.Context(), out.NodeID)
	if err != nil {
		t.Fatal(err)
	}
	if n.Role != "datanode" || n.Evidence.MachineID != "m1" || len(n.Notes) != 0 || time.Until(n.NotAfter) < pki.AgentLife-time.Hour {
		t.Errorf("stored node = %+v", n)
	}
	cert, err := f.Renew(t.Context(), want, []byte(csr(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.identity(string(cert)); got != want {
		t.Errorf("the renewed certificate is of %v, want %v", got, want)
	}
}

func TestTokens(t *testing.T) {
	f := newFixture(t)
	otherCA, err := pki.NewCA("prod", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	spent := f.token(enrol.TokenRequest{})
	f.enrol(spent, csr(t), frame.Evidence{})
	many := f.token(enrol.TokenRequest{Reusable: true})
	f.enrol(many, csr(t), frame.Evidence{})
	late := f.token(enrol.TokenRequest{})
	if tok, err := pki.ParseJoinToken(late); err != nil || f.ExpireToken(t.Context(), tok.ID) != nil {
		t.Fatal("the token could not be ended")
	}
	good := f.token(enrol.TokenRequest{})
	tok, err := pki.ParseJoinToken(good)
	if err != nil {
		t.Fatal(err)
	}
	wrong, unknown := tok, tok
	wrong.Secret = f.ca.NewJoinToken().Secret
	unknown.ID = "00000000"

	for name, tc := range map[string]struct {
		token string
		want  mesh.Code
	}{
		"good":          {good, ""},
		"reusable":      {many, ""},
		"spent":         {spent, mesh.Denied},
		"out of date":   {late, mesh.Denied},
		"wrong secret":  {wrong.String(), mesh.Denied},
		"unknown":       {unknown.String(), mesh.Denied},
		"of another CA": {otherCA.NewJoinToken().String(), mesh.Denied},
		"not a token":   {"please", mesh.Invalid},
	} {
		_, err := f.Enrol(t.Context(), frame.EnrolRequest{Token: tc.token, CSR: csr(t)})
		if got := mesh.CodeOf(err); got != tc.want {
			t.Errorf("%s: %v (code %q), want code %q", name, err, got, tc.want)
		}
	}
	_, err1 := f.Enrol(t.Context(), frame.EnrolRequest{Token: wrong.String(), CSR: csr(t)})
	_, err2 := f.Enrol(t.Context(), frame.EnrolRequest{Token: unknown.String(), CSR: csr(t)})
	if strings.ReplaceAll(err1.Error(), wrong.ID, "") != strings.ReplaceAll(err2.Error(), unknown.ID, "") {
		t.Errorf("a stranger can tell whether a token exists: %q, %q", err1, err2)
	}
	for _, ttl := range []time.Duration{-1, enrol.MaxTTL + 1} {
		if _, _, err := f.CreateToken(t.Context(), enrol.TokenRequest{TTL: ttl}); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("a token for %s: %v, want code %s", ttl, err, mesh.Invalid)
		}
	}
}

func TestEnrolAgainWithTheSameKey(t *testing.T) {
	f := newFixture(t)
	tok, req := f.token(enrol.TokenRequest{}), csr(t)
	first := f.enrol(tok, req, frame.Evidence{Hostname: "h1"})
	again := f.enrol(tok, req, frame.Evidence{Hostname: "h1"})
	if first.NodeID != again.NodeID {
		t.Errorf("asked again after a lost answer: node %s, then %s", first.NodeID, again.NodeID)
	}
	if err := f.Revoke(t.Context(), first.NodeID, "ann", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enrol(t.Context(), frame.EnrolRequest{Token: tok, CSR: req}); mesh.CodeOf(err) != mesh.Denied {
		t.Errorf("a revoked node came back by its old token: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	f := newFixture(t)
	tok := f.token(enrol.TokenRequest{})
	for name, r := range map[string]frame.EnrolRequest{
		"no request":     {Token: tok},
		"not a request":  {Token: tok, CSR: "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"},
		"long evidence":  {Token: tok, CSR: csr(t), Evidence: frame.Evidence{Hostname: strings.Repeat("x", 300)}},
		"odd characters": {Token: tok, CSR: csr(t), Evidence: frame.Evidence{MachineID: "a\nb"}},
	} {
		if _, err := f.Enrol(t.Context(), r); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("%s: %v, want code %s", name, err, mesh.Invalid)
		}
	}
	f.enrol(tok, csr(t), frame.Evidence{}) // none of it spent the token.
}

func TestNotes(t *testing.T) {
	old := frame.Evidence{MachineID: "m1", DMIUUID: "d1", Hostname: "h1"}
	for name, tc := range map[string]struct {
		e    frame.Evidence
		want string
	}{
		"new machine":           {frame.Evidence{MachineID: "m2", DMIUUID: "d2", Hostname: "h2"}, ""},
		"nothing known":         {frame.Evidence{}, ""},
		"same machine":          {old, "the machine of"},
		"cloned disk":           {frame.Evidence{MachineID: "m1", DMIUUID: "d2", Hostname: "h2"}, "a clone of"},
		"replaced under a name": {frame.Evidence{MachineID: "m2", DMIUUID: "d2", Hostname: "h1"}, "has the host name of"},
	} {
		f := newFixture(t)
		tok := f.token(enrol.TokenRequest{Reusable: true})
		f.enrol(tok, csr(t), old)
		n, err := f.store.NodeByID(t.Context(), f.enrol(tok, csr(t), tc.e).NodeID)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(n.Notes, "\n")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: noted %q, want %q", name, got, tc.want)
		}
	}
}

func TestRevoke(t *testing.T) {
	f := newFixture(t)
	out := f.enrol(f.token(enrol.TokenRequest{}), csr(t), frame.Evidence{})
	id := f.identity(out.Cert)
	if f.IsRevoked(out.NodeID) {
		t.Fatal("revoked from the start")
	}
	for range 2 {
		if err := f.Revoke(t.Context(), out.NodeID, "ann", "stolen"); err != nil {
			t.Fatal(err)
		}
	}
	if !f.IsRevoked(out.NodeID) || !slices.Equal(f.changed, []mesh.NodeID{out.NodeID, out.NodeID, out.NodeID}) {
		t.Errorf("revoked %v, told of %v, want once when enrolled and at each call", f.IsRevoked(out.NodeID), f.changed)
	}
	if _, err := f.Renew(t.Context(), id, []byte(csr(t))); mesh.CodeOf(err) != mesh.Denied {
		t.Errorf("a revoked node renewed its certificate: %v", err)
	}
	if err := f.Revoke(t.Context(), mesh.NewNodeID(), "ann", ""); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("an unknown node was revoked: %v", err)
	}
	// Another server on the same store learns of it.
	other, err := enrol.New(t.Context(), enrol.Options{CA: f.ca, Store: f.store, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if !other.IsRevoked(out.NodeID) {
		t.Error("another server does not know that the node is revoked")
	}
}
