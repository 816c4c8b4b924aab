package sign

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// chain is a root, the key it granted and that grant.
type chain struct {
	root, key PrivateKey
	grant     Envelope
}

func newChain(t *testing.T, change func(*Grant)) chain {
	t.Helper()
	c := chain{root: GenerateKey(), key: GenerateKey()}
	g := Grant{
		Cluster: "bj-e", Serial: "s1", Key: c.key.Public(), Holder: "liu",
		NotAfter: now.Add(time.Hour).Unix(),
		Scope:    Scope{Any: true, RunAs: []string{"hdfs"}, Targets: "all", MaxNodes: 3},
	}
	if change != nil {
		change(&g)
	}
	var err error
	if c.grant, err = c.root.SealGrant(g); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c chain) pinned() Root { return Root{Key: c.root.Public(), Cluster: "bj-e"} }

func TestOpen(t *testing.T) {
	payload := []byte(`{"v":1}`)
	tests := map[string]struct {
		grant  func(*Grant)
		root   func(chain) Root
		change func(chain, *Envelope)
		at     time.Duration
		want   error
	}{
		"sound":                        {},
		"a changed byte":               {change: func(_ chain, e *Envelope) { e.Payload[1] ^= 1 }, want: ErrSignature},
		"a changed signature":          {change: func(_ chain, e *Envelope) { e.Sig[0] ^= 1 }, want: ErrSignature},
		"no signature":                 {change: func(_ chain, e *Envelope) { e.Sig = nil }, want: ErrSignature},
		"no grant":                     {change: func(_ chain, e *Envelope) { e.Grant = nil }, want: ErrForm},
		"a changed grant":              {change: func(_ chain, e *Envelope) { e.Grant.Payload[20] ^= 1 }, want: ErrSignature},
		"a grant that grants itself":   {change: func(c chain, e *Envelope) { e.Grant.Grant = &c.grant }, want: ErrForm},
		"another root":                 {root: func(chain) Root { return Root{Key: GenerateKey().Public(), Cluster: "bj-e"} }, want: ErrSignature},
		"no root":                      {root: func(chain) Root { return Root{Cluster: "bj-e"} }, want: ErrSignature},
		"another type":                 {change: func(_ chain, e *Envelope) { e.Type = TypeCtl }, want: ErrForm},
		"signed as another type":       {change: func(c chain, e *Envelope) { *e = c.key.Seal(TypeCtl, payload, &c.grant); e.Type = TypeJob }, want: ErrSignature},
		"signed by the root directly":  {change: func(c chain, e *Envelope) { *e = c.root.Seal(TypeJob, payload, nil) }, want: ErrForm},
		"signed by another key":        {change: func(c chain, e *Envelope) { *e = GenerateKey().Seal(TypeJob, payload, &c.grant) }, want: ErrSignature},
		"another cluster":              {grant: func(g *Grant) { g.Cluster = "sh-a" }, want: ErrCluster},
		"expired":                      {at: time.Hour + mesh.MaxSkew + time.Second, want: ErrExpired},
		"expired within the skew":      {at: time.Hour + mesh.MaxSkew - time.Second},
		"revoked":                      {root: func(c chain) Root { r := c.pinned(); r.Revoked.Serials = []string{"s1"}; return r }, want: ErrRevoked},
		"another serial revoked":       {root: func(c chain) Root { r := c.pinned(); r.Revoked.Serials = []string{"s2"}; return r }},
		"a grant in place of a job":    {change: func(c chain, e *Envelope) { *e = c.grant; e.Type = TypeJob; e.Grant = &c.grant }, want: ErrSignature},
		"a revocation in place of one": {change: func(c chain, e *Envelope) { r, _ := c.root.SealRevocations(Revocations{}); e.Grant = &r }, want: ErrForm},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, tt.grant)
			env := c.key.Seal(TypeJob, append([]byte(nil), payload...), new(c.grant))
			if tt.change != nil {
				tt.change(c, &env)
			}
			root := c.pinned()
			if tt.root != nil {
				root = tt.root(c)
			}
			got, g, err := root.Open(env, TypeJob, now.Add(tt.at))
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open() error = %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if string(got) != string(payload) || g.Holder != "liu" {
				t.Errorf("Open() = %q by %q, want %q by liu", got, g.Holder, payload)
			}
		})
	}
}

func TestAllows(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	job := func(change func(*mesh.Spec)) *mesh.Spec {
		s := &mesh.Spec{Cluster: "bj-e", Command: []string{"true"}, Targets: mesh.TargetList{Count: 3}}
		if change != nil {
			change(s)
		}
		return s
	}
	script := func(s *mesh.Spec) { s.Command, s.Script = nil, &mesh.Script{SHA256: digest} }
	tests := map[string]struct {
		scope Scope
		spec  *mesh.Spec
		want  string // a part of the refusal; empty when it is allowed.
	}{
		"ad hoc":                {Scope{Any: true, MaxNodes: 3}, job(nil), ""},
		"ad hoc not allowed":    {Scope{Scripts: []string{digest}, MaxNodes: 3}, job(nil), "does not allow ad-hoc commands"},
		"zero scope":            {Scope{}, job(nil), "does not allow ad-hoc commands"},
		"script by digest":      {Scope{Scripts: []string{digest}, MaxNodes: 3}, job(script), ""},
		"another script":        {Scope{Scripts: []string{"cd"}, MaxNodes: 3}, job(script), "does not allow the script"},
		"too many nodes":        {Scope{Any: true, MaxNodes: 2}, job(nil), "allows 2 nodes a job, this one has 3"},
		"run as":                {Scope{Any: true, MaxNodes: 3, RunAs: []string{"hdfs"}}, job(func(s *mesh.Spec) { s.RunAs = "hdfs" }), ""},
		"run as every user":     {Scope{Any: true, MaxNodes: 3, RunAs: []string{"*"}}, job(func(s *mesh.Spec) { s.RunAs = "root" }), ""},
		"run as another user":   {Scope{Any: true, MaxNodes: 3, RunAs: []string{"hdfs"}}, job(func(s *mesh.Spec) { s.RunAs = "root" }), `does not allow to run as "root"`},
		"job of other cluster":  {Scope{Any: true, MaxNodes: 3}, job(func(s *mesh.Spec) { s.Cluster = "sh-a" }), "another cluster"},
		"no nodes are allowed":  {Scope{Any: true}, job(nil), "allows 0 nodes"},
		"as the agent's own":    {Scope{Any: true, MaxNodes: 3, RunAs: nil}, job(nil), ""},
		"script where any goes": {Scope{Any: true, MaxNodes: 3}, job(script), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := Grant{Cluster: "bj-e", Holder: "liu", Scope: tt.scope}.Allows(tt.spec)
			if got := fmt.Sprint(err); (tt.want == "") != (err == nil) || !strings.Contains(got, tt.want) {
				t.Errorf("Allows() = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRevokeKeepsTheHighestNumber(t *testing.T) {
	c := newChain(t, nil)
	r := c.pinned()
	for _, step := range []struct {
		list Revocations
		want uint64
	}{
		{Revocations{Cluster: "bj-e", Number: 2, Serials: []string{"s1"}}, 2},
		{Revocations{Cluster: "bj-e", Number: 1}, 2},
		{Revocations{Cluster: "bj-e", Number: 3, Serials: []string{"s1", "s2"}}, 3},
	} {
		env, err := c.root.SealRevocations(step.list)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.Revoke(env); err != nil || r.Revoked.Number != step.want {
			t.Fatalf("Revoke(list %d) is at %d, %v; want %d", step.list.Number, r.Revoked.Number, err, step.want)
		}
	}
	forged, err := c.key.SealRevocations(Revocations{Cluster: "bj-e", Number: 9})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Revoke(forged); !errors.Is(err, ErrSignature) {
		t.Errorf("Revoke(forged) = %v, want %v", err, ErrSignature)
	}
}

func TestKeysRoundTrip(t *testing.T) {
	k := GenerateKey()
	again, err := ParsePrivateKey(" " + k.Text() + "\n")
	if err != nil || again.Public() != k.Public() {
		t.Errorf("ParsePrivateKey(Text()) = %v, %v", again, err)
	}
	pub, err := ParsePublicKey(k.Public().String())
	if err != nil || pub != k.Public() {
		t.Errorf("ParsePublicKey(String()) = %v, %v", pub, err)
	}
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, k); strings.Contains(got, strings.TrimPrefix(k.Text(), privatePrefix)) {
			t.Errorf("%s prints the secret: %s", format, got)
		}
	}
	for _, bad := range []string{"", "alps-key:", "alps-key:AAAA", k.Public().String(), k.Text() + "x"} {
		if _, err := ParsePrivateKey(bad); err == nil {
			t.Errorf("ParsePrivateKey(%q) is accepted", bad)
		}
	}
}

func TestEnvelopeDocument(t *testing.T) {
	c := newChain(t, nil)
	env := c.key.Seal(TypeJob, []byte("payload"), &c.grant)
	doc, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEnvelope(doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(env, got); diff != "" {
		t.Errorf("DecodeEnvelope(Encode()) (-want +got):\n%s", diff)
	}
	big := c.key.Seal(TypeJob, make([]byte, mesh.MaxEnvelope), &c.grant)
	if _, err := big.Encode(); mesh.CodeOf(err) != mesh.TooLarge {
		t.Errorf("Encode(too large) = %v, want code %s", err, mesh.TooLarge)
	}
	if _, err := DecodeEnvelope(make([]byte, mesh.MaxEnvelope+1)); !errors.Is(err, ErrForm) {
		t.Errorf("DecodeEnvelope(too large) = %v, want %v", err, ErrForm)
	}
}

// FuzzOpen looks for a document that a root opens although no key of its
// grants sealed it, and for a panic.
func FuzzOpen(f *testing.F) {
	root, key := GenerateKey(), GenerateKey()
	grant, err := root.SealGrant(Grant{Cluster: "c", Key: key.Public(), NotAfter: now.Unix(), Scope: Scope{Any: true}})
	if err != nil {
		f.Fatal(err)
	}
	good, err := key.Seal(TypeJob, []byte("x"), &grant).Encode()
	if err != nil {
		f.Fatal(err)
	}
	stranger, err := json.Marshal(GenerateKey().Seal(TypeJob, []byte("y"), &grant))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(stranger)
	f.Add([]byte(`{"type":"job","grant":{"grant":{}}}`))
	pinned := Root{Key: root.Public(), Cluster: "c"}
	f.Fuzz(func(t *testing.T, doc []byte) {
		env, err := DecodeEnvelope(doc)
		if err != nil {
			return
		}
		if payload, _, err := pinned.Open(env, TypeJob, now); err == nil && string(payload) != "x" {
			t.Errorf("Open() believes %q", payload)
		}
	})
}
