package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"alps/agent/link"
	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/mesh/dispatch"
	"alps/mesh/frame"
	"alps/mesh/pki"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
)

// Nodes of trustNodes.
const (
	adminNode  = "bj-e-admin03"
	victimNode = "bj-e-hadoop01-11-203"
	stolenNode = "bj-e-hadoop01-11-204"
)

// trustNodes is the smallest estate with two nodes of one role and one of
// another.
func trustNodes() []cluster.Datacenter {
	return []cluster.Datacenter{{Name: "bj-e-01", Nodes: []cluster.NodeSpec{
		{Name: adminNode, Server: true}, {Name: victimNode}, {Name: stolenNode},
	}}}
}

// trustRig is a cluster and somebody who may write whatever they like to
// Consul's KV store, as who has stolen a Consul token may.
type trustRig struct {
	c  *dev.Cluster
	kv *consul.Client
}

func newTrustRig(t *testing.T, c *dev.Cluster) *trustRig {
	t.Helper()
	kv, err := consul.New(consul.Options{Address: c.Consul().Nodes()[0].HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Close)
	return &trustRig{c: c, kv: kv}
}

// until polls until ok, and fails the test when that takes too long.
func (r *trustRig) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// freeze stops the agent of a node where it stands, and returns how to let it
// go on.
func (r *trustRig) freeze(t *testing.T, node string) (thaw func()) {
	t.Helper()
	p := r.c.Agent(node)
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	thaw = func() {
		if err := p.Thaw(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(thaw) // a stopped process could not be ended in peace.
	return thaw
}

// id is the identity of a node.
func (r *trustRig) id(t *testing.T, node string) mesh.NodeID {
	t.Helper()
	n, err := r.c.Client().Node(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}

// read returns a document that the server has written to KV.
func (r *trustRig) read(t *testing.T, key string) []byte {
	t.Helper()
	var doc []byte
	r.until(t, "there is "+key, func() bool {
		p, _, err := r.kv.Get(t.Context(), key, consul.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			doc = p.Value
		}
		return p != nil
	})
	return doc
}

func (r *trustRig) write(t *testing.T, key string, doc []byte) {
	t.Helper()
	if err := r.kv.Put(t.Context(), key, doc); err != nil {
		t.Fatal(err)
	}
}

// envelope is the signed document of a job.
func (r *trustRig) envelope(t *testing.T, id mesh.JobID) sign.Envelope {
	t.Helper()
	env, err := sign.DecodeEnvelope(r.read(t, dispatch.SpecKey(id, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// replace puts another document in the place of a job's.
func (r *trustRig) replace(t *testing.T, id mesh.JobID, env sign.Envelope) {
	t.Helper()
	doc, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, dispatch.SpecKey(id, 1), doc)
}

// announce adds a job to the head of a node's shard and fires the event, as
// who has no server can.
func (r *trustRig) announce(t *testing.T, node mesh.NodeID, job v1.Job) {
	t.Helper()
	key := dispatch.HeadKey(node.Shard())
	event := dispatch.Event{Shards: 1 << node.Shard()}
	r.until(t, "the reference is in the head", func() bool {
		p, _, err := r.kv.Get(t.Context(), key, consul.Query{})
		if err != nil || p == nil {
			t.Fatalf("read %s: %v, %v", key, p, err)
		}
		head, err := dispatch.DecodeHead(p.Value)
		if err != nil {
			t.Fatal(err)
		}
		event.Seq = head.Seq + 1
		next, segments := head.Append(dispatch.Ref{
			Seq: event.Seq, Kind: dispatch.KindJob, Job: job.ID, Attempt: job.Attempt, Expires: job.Expires.Unix(),
		})
		doc, err := next.Encode()
		if err != nil || len(segments) > 0 {
			t.Fatalf("append to %s: %d segments, %v", key, len(segments), err)
		}
		err = r.kv.CAS(t.Context(), key, doc, p.ModifyIndex)
		if err != nil && mesh.CodeOf(err) != mesh.Conflict {
			t.Fatal(err)
		}
		return err == nil
	})
	if _, err := r.kv.Fire(t.Context(), dispatch.EventName, []byte(event.String())); err != nil {
		t.Fatal(err)
	}
}

// keyholder has a key, and what the root has granted it.
type keyholder struct {
	key   sign.PrivateKey
	grant sign.Envelope
}

// grantTo makes a key and has a root grant it everything, but for what change
// says.
func (r *trustRig) grantTo(t *testing.T, root sign.PrivateKey, change func(*sign.Grant)) keyholder {
	t.Helper()
	key := sign.GenerateKey()
	g := sign.Grant{
		Cluster: "alps-dev", Serial: string(mesh.NewJobID()), Key: key.Public(), Holder: "thief",
		NotAfter: time.Now().Add(time.Hour).Unix(),
		Scope:    sign.Scope{Any: true, RunAs: []string{"*"}, Targets: "all", MaxNodes: 1000},
	}
	if change != nil {
		change(&g)
	}
	grant, err := root.SealGrant(g)
	if err != nil {
		t.Fatal(err)
	}
	return keyholder{key, grant}
}

// readKeyholder reads what `alps keys grant --out PREFIX` has written.
func readKeyholder(t *testing.T, prefix string) keyholder {
	t.Helper()
	key, err := readPrivateKey(prefix + ".key")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(prefix + ".grant")
	if err != nil {
		t.Fatal(err)
	}
	grant, err := sign.DecodeEnvelope(doc)
	if err != nil {
		t.Fatal(err)
	}
	return keyholder{key, grant}
}

// seal signs a job, changed, anew.
func (k keyholder) seal(t *testing.T, env sign.Envelope, change func(*mesh.Spec)) sign.Envelope {
	t.Helper()
	var spec mesh.Spec
	if err := json.Unmarshal(env.Payload, &spec); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&spec)
	}
	payload, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return k.key.Seal(sign.TypeJob, payload, &k.grant)
}

// begin starts the program as an admin of the cluster; end waits for it.
func (r *trustRig) begin(t *testing.T, args ...string) (end func() result) {
	t.Helper()
	token, err := r.c.Token()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "alps", args...)
	cmd.Env = append(os.Environ(), envAddr+"="+r.c.Address(), envToken+"="+token, envCACert+"="+r.c.CACert())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() result {
		t.Helper()
		defer cancel()
		err := cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
			t.Fatalf("alps %q: %v\n%s%s", args, err, &out, &errs)
		}
		return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	}
}

// An intercepted job is one whose document is changed in KV before its node
// has looked.
type intercepted struct {
	id  mesh.JobID
	end func() result // of the exec that follows it.
}

// submit begins an exec on the victim that, if it ran as it was meant, would
// make a file, and returns when the job is in KV. The victim must be frozen.
func (r *trustRig) submit(t *testing.T, file string, args ...string) intercepted {
	t.Helper()
	if len(args) == 0 {
		args = []string{"--", "touch", file}
	}
	before := r.newest(t)
	end := r.begin(t, append([]string{"exec", "-t", victimNode}, args...)...)
	var id mesh.JobID
	r.until(t, "the job is stored", func() bool { id = r.newest(t); return id != before })
	r.read(t, dispatch.SpecKey(id, 1))
	return intercepted{id, end}
}

// newest is the id of the newest job, empty when there is none.
func (r *trustRig) newest(t *testing.T) mesh.JobID {
	t.Helper()
	list, err := r.c.Client().Jobs(t.Context(), v1.JobFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Jobs) == 0 {
		return ""
	}
	return list.Jobs[0].ID
}

// wantRejected holds what an operator sees of a job against a refusal by the
// victim for a reason: the exec that followed it, and job show afterwards.
func (r *trustRig) wantRejected(t *testing.T, in intercepted, reason string) {
	t.Helper()
	got := in.end()
	line := "REJECTED     " + victimNode + " (1)  "
	if got.code != exitFailed || !strings.Contains(got.stderr, line) || !strings.Contains(got.stderr, reason) ||
		!strings.Contains(got.stderr, "0 of 1 OK") {
		t.Errorf("exec = %v\nwant code %d and %q with %q", got, exitFailed, line, reason)
	}
	got = alps(t, r.c, "job", "show", string(in.id))
	if got.code != exitFailed || !strings.Contains(got.stdout, "1 REJECTED of 1") || !strings.Contains(got.stdout, reason) {
		t.Errorf("job show = %v\nwant code %d and 1 REJECTED of 1 with %q", got, exitFailed, reason)
	}
}

// wantFiles fails unless a directory holds exactly these files.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(entries))
	for i, e := range entries {
		got[i] = e.Name()
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		t.Errorf("in %s are the files %q, want %q", filepath.Base(dir), g, w)
	}
}

// wantLines fails unless a file has so many lines.
func wantLines(t *testing.T, file string, want int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(b, []byte("\n")); got != want {
		t.Errorf("%s has %d lines, want %d", filepath.Base(file), got, want)
	}
}

// wantAudit waits for a line in `alps audit` with this outcome and a reason
// that contains the given one.
func (r *trustRig) wantAudit(t *testing.T, f v1.AuditFilter, outcome mesh.Outcome, reason string) {
	t.Helper()
	var last result
	defer func() {
		if t.Failed() {
			t.Logf("the last that alps audit has printed:\n%s", last.stdout)
		}
	}()
	args := []string{"audit", "--json", "--actor", f.Actor, "--action", f.Action, "--object", f.Object}
	r.until(t, fmt.Sprintf("the audit says %s of %s by %s with %q", outcome, f.Action, f.Actor, reason), func() bool {
		last = alps(t, r.c, args...)
		var list v1.AuditList
		if err := json.Unmarshal([]byte(last.stdout), &list); err != nil {
			t.Fatalf("%v: %v", last, err)
		}
		for _, l := range list.Lines {
			if l.Outcome == outcome && strings.Contains(l.Reason, reason) {
				return true
			}
		}
		return false
	})
}

// offline runs a verb that speaks to no server.
func offline(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "alps", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("alps %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// linkAddr is where the server takes links.
func (r *trustRig) linkAddr() string {
	return net.JoinHostPort(r.c.Consul().Nodes()[0].Addr, strconv.Itoa(dev.PortLink))
}

// impersonate keeps a link under an identity that was copied, until stop or
// the end of the test.
func (r *trustRig) impersonate(t *testing.T, dataDir string) (l *link.Link, stop func()) {
	t.Helper()
	id, err := link.LoadIdentity(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	l, err = link.New(link.Options{
		Identity: id, SpoolDir: t.TempDir(), Servers: link.Fixed(r.linkAddr()), Name: stolenNode, Spread: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

// knock says hello to the server under a certificate, and is an error unless
// the server opens a link.
func (r *trustRig) knock(t *testing.T, ca *pki.CA, text []byte) error {
	t.Helper()
	cert, err := pki.NewLive(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pki.ClientTLS(pki.ClientOptions{CA: ca.Certificate(), Certificate: cert, Protocols: []string{frame.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	hello, err := frame.JSON(frame.Hello, 0, frame.HelloPayload{
		Version: frame.Version, Boot: frame.NewBootID(1), Release: "test", Name: "bj-e-stranger01", Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", r.linkAddr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_ = frame.Write(conn, hello) // where it fails the read says why.
	m, err := frame.NewReader(conn).Next()
	if err == nil && m.Kind != frame.HelloOK {
		err = fmt.Errorf("the answer is %s: %s", m.Kind, m.Payload)
	}
	return err
}

// issued is a certificate, as a CA makes it for an agent, with its key.
func issued(t *testing.T, ca *pki.CA, id pki.Identity) []byte {
	t.Helper()
	key := newKey(t)
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.SignAgent(csr, id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return append(cert, keyPEM(t, key)...)
}

// forged is a certificate with its key that the CA's own methods refuse to
// make, signed with what lies in dir.
func forged(t *testing.T, dir string, id pki.Identity) []byte {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ca, err := pki.ParseCert(read("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := pki.ParseKey(read("ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{id.URI()}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM(t, key)...)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	text, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
