package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/frame"
	"alps/mesh/pki"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
)

// TestTrust attacks one cluster: first by what lies in Consul's KV, then by
// certificates, at last with a node's stolen identity, which is shut out.
func TestTrust(t *testing.T) {
	r := newTrustRig(t, ownCluster(t, dev.Options{Datacenters: trustNodes()}))
	t.Run("documents", func(t *testing.T) { testDocuments(t, r) })
	t.Run("announced again", func(t *testing.T) { testAnnouncedAgain(t, r) })
	t.Run("certificates", func(t *testing.T) { testCertificates(t, r) })
	t.Run("stolen identity", func(t *testing.T) { testStolenIdentity(t, r) })
}

// testDocuments submits one job for each way to tamper with it while the
// victim stands still, changes what lies in KV, and lets the victim look.
func testDocuments(t *testing.T, r *trustRig) {
	dir := t.TempDir()
	old := ran(t, r, filepath.Join(dir, "old"))
	oldEnv := r.envelope(t, old.ID)
	self := r.id(t, victimNode)
	root := r.c.RootKey()

	type grantChange = func(*sign.Grant)
	type specChange = func(*mesh.Spec)
	granted := func(grant grantChange, spec specChange) func(*testing.T, mesh.JobID, sign.Envelope) sign.Envelope {
		return func(t *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
			return r.grantTo(t, root, grant).seal(t, env, spec)
		}
	}
	scope := func(change func(*sign.Scope)) grantChange { return func(g *sign.Grant) { change(&g.Scope) } }
	parts := func(alter func([]byte) []byte) func(*testing.T, mesh.JobID, sign.Envelope) sign.Envelope {
		return func(t *testing.T, id mesh.JobID, env sign.Envelope) sign.Envelope {
			targets := []mesh.Target{{Node: self}}
			for len(targets) < 100 {
				targets = append(targets, mesh.Target{Node: mesh.NewNodeID()})
			}
			list, docs, err := dispatch.Split(targets)
			if err != nil {
				t.Fatal(err)
			}
			for shard, doc := range docs {
				r.write(t, dispatch.PartKey(id, 1, shard), alter(doc))
			}
			return r.grantTo(t, root, nil).seal(t, env, func(s *mesh.Spec) { s.Targets = list })
		}
	}
	good, evil := []byte("#!/bin/sh\ntrue\n"), []byte("#!/bin/sh\ntouch "+dir+"/evil\n")

	tests := []struct {
		name  string
		forge func(*testing.T, mesh.JobID, sign.Envelope) sign.Envelope
		want  string // the reason; empty when it must run.
	}{
		// Two that show that the forger's hand is good enough.
		{"signed by another who may", granted(nil, nil), ""},
		{"list in parts", parts(slices.Clone[[]byte]), ""},
		{
			"byte of the job changed",
			func(_ *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				env.Payload = bytes.Replace(env.Payload, []byte(`"touch"`), []byte(`"rouch"`), 1)
				return env
			},
			"the signature is not valid",
		},
		{
			"byte of the signature changed",
			func(_ *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				env.Sig[7] ^= 1
				return env
			},
			"the signature is not valid",
		},
		{
			"byte of the grant changed",
			func(_ *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				env.Grant.Payload = bytes.Replace(env.Grant.Payload, []byte(`alps dev`), []byte(`alps Dev`), 1)
				return env
			},
			"the grant was not made by the root",
		},
		{
			"no grant",
			func(_ *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				env.Grant = nil
				return env
			},
			"it carries no grant",
		},
		{
			"signed as something else",
			func(t *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				k := r.grantTo(t, root, nil)
				return k.key.Seal(sign.TypeCtl, env.Payload, &k.grant)
			},
			`it is of type "ctl", not "job"`,
		},
		{
			"grant of another root",
			func(t *testing.T, _ mesh.JobID, env sign.Envelope) sign.Envelope {
				return r.grantTo(t, sign.GenerateKey(), nil).seal(t, env, nil)
			},
			"the grant was not made by the root",
		},
		{
			"grant of another cluster",
			granted(func(g *sign.Grant) { g.Cluster = "other" }, nil),
			`it is for another cluster: the grant of thief is for "other", this is "alps-dev"`,
		},
		{
			"job of another cluster",
			granted(nil, func(s *mesh.Spec) { s.Cluster = "other" }),
			`the job is for the cluster "other", this node belongs to "alps-dev"`,
		},
		{
			"ended grant",
			granted(func(g *sign.Grant) { g.NotAfter = time.Now().Add(-time.Hour).Unix() }, nil),
			"the grant has expired",
		},
		{
			"command under a grant for a script",
			granted(scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest(good)} }), nil),
			"the grant of thief does not allow ad-hoc commands",
		},
		{
			"another script than the grant's",
			granted(scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest(good)} }), func(s *mesh.Spec) {
				s.Command, s.Script = nil, &mesh.Script{Name: "x", SHA256: mesh.Digest(evil), Size: len(evil), Body: evil}
			}),
			"the grant of thief does not allow the script " + mesh.Digest(evil),
		},
		{
			"another script under the digest of the grant's",
			granted(scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest(good)} }), func(s *mesh.Spec) {
				s.Command, s.Script = nil, &mesh.Script{Name: "x", SHA256: mesh.Digest(good), Size: len(evil), Body: evil}
			}),
			"the script is not the one that its digest names",
		},
		{
			"user that the grant does not name",
			granted(scope(func(s *sign.Scope) { s.RunAs = []string{"hdfs"} }), func(s *mesh.Spec) { s.RunAs = "daemon" }),
			`the grant of thief does not allow to run as "daemon"`,
		},
		{
			"user that the node does not allow",
			granted(nil, func(s *mesh.Spec) { s.RunAs = "daemon" }),
			`this node does not allow jobs to run as "daemon"`,
		},
		{
			"more nodes than granted",
			granted(scope(func(s *sign.Scope) { s.MaxNodes = 1 }), func(s *mesh.Spec) {
				s.Targets.Inline = append(s.Targets.Inline, mesh.Target{Node: mesh.NewNodeID()})
				s.Targets.Count = 2
			}),
			"the grant of thief allows 1 nodes a job, this one has 2",
		},
		{
			"grant for other nodes",
			granted(scope(func(s *sign.Scope) { s.Targets = "role=zookeeper" }), nil),
			"the grant of thief is for nodes with role=zookeeper, and this node is none of them",
		},
		{
			"part of the list changed",
			parts(func(doc []byte) []byte { return bytes.Replace(doc, []byte(" 0\n"), []byte(" 1\n"), 1) }),
			"of the target list: the document is not the one that was signed",
		},
		{
			"begins in an hour",
			granted(nil, func(s *mesh.Spec) { s.NotBefore, s.Expires = s.NotBefore+3600, s.Expires+3600 }),
			"they are more than 2m0s apart",
		},
		{
			"an old job under a new name",
			func(*testing.T, mesh.JobID, sign.Envelope) sign.Envelope { return oldEnv },
			"the document is that of job " + string(old.ID) + ", attempt 1",
		},
	}

	thaw := r.freeze(t, victimNode)
	jobs := make([]intercepted, len(tests))
	want := []string{}
	for i, tt := range tests {
		file := fmt.Sprintf("%02d", i)
		jobs[i] = r.submit(t, filepath.Join(dir, file))
		r.replace(t, jobs[i].id, tt.forge(t, jobs[i].id, r.envelope(t, jobs[i].id)))
		if tt.want == "" {
			want = append(want, file)
		}
	}
	thaw()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != "" {
				r.wantRejected(t, jobs[i], tt.want)
			} else if got := jobs[i].end(); got.code != exitOK {
				t.Errorf("exec = %v, want that it runs", got)
			}
		})
	}
	wantFiles(t, dir, append(want, "old")...)
	wantLines(t, filepath.Join(dir, "old"), 1)
}

// ran runs a job on the victim that adds a line to a file.
func ran(t *testing.T, r *trustRig, file string) v1.Job {
	t.Helper()
	if got := alps(t, r.c, "exec", "-t", victimNode, "--", "echo line >> "+file); got.code != exitOK {
		t.Fatalf("exec = %v", got)
	}
	return lastJob(t, r.c)
}

// testAnnouncedAgain announces a job that has run, to an agent that remembers
// it and to one that was started since.
func testAnnouncedAgain(t *testing.T, r *trustRig) {
	dir := t.TempDir()
	old := ran(t, r, filepath.Join(dir, "old"))
	self := r.id(t, victimNode)

	// What is announced later is looked at later: when the next job has run,
	// the node has passed the old one by.
	r.announce(t, self, old)
	ran(t, r, filepath.Join(dir, "next"))
	wantLines(t, filepath.Join(dir, "old"), 1)

	r.c.Agent(victimNode).Kill()
	r.announce(t, self, old)
	if err := r.c.Agent(victimNode).Start(); err != nil {
		t.Fatal(err)
	}
	ran(t, r, filepath.Join(dir, "next"))
	wantLines(t, filepath.Join(dir, "old"), 1)
	wantLines(t, filepath.Join(dir, "next"), 2)
	if job := getJob(t, r.c, old.ID); job.Counts[mesh.OK] != 1 || job.Counts.Total() != 1 {
		t.Errorf("the job that was announced again has counts %v, want 1 OK", job.Counts)
	}
}

// testCertificates dials the server's port for agents with certificates that
// are none of an agent of this cluster.
func testCertificates(t *testing.T, r *trustRig) {
	dir := filepath.Dir(r.c.CACert())
	ca, err := pki.LoadCA(r.c.CACert(), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := pki.NewCA("alps-dev", time.Now()) // of the same name.
	if err != nil {
		t.Fatal(err)
	}
	agentOf := func(cluster string) pki.Identity {
		return pki.Identity{Cluster: cluster, Kind: pki.Agent, NodeID: mesh.NewNodeID()}
	}
	tests := []struct {
		name  string
		text  func(pki.Identity) []byte // certificate and key.
		id    pki.Identity
		actor func(pki.Identity) string
		want  string
	}{
		{
			"wrong CA", func(id pki.Identity) []byte { return issued(t, foreign, id) }, agentOf("alps-dev"),
			func(pki.Identity) string { return "stranger" }, "certificate refused: tls: failed to verify certificate",
		},
		{
			"another cluster by the same CA", func(id pki.Identity) []byte { return forged(t, dir, id) }, agentOf("other"),
			func(id pki.Identity) string { return "node/" + string(id.NodeID) }, `is of cluster "other", this is cluster "alps-dev"`,
		},
		{
			"server's", func(id pki.Identity) []byte { return forged(t, dir, id) },
			pki.Identity{Cluster: "alps-dev", Kind: pki.Server, NodeID: mesh.NewNodeID()},
			func(id pki.Identity) string { return "node/" + string(id.NodeID) }, "is not an agent",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := r.knock(t, ca, tt.text(tt.id)); err == nil {
				t.Error("the server takes a hello under this certificate")
			}
			r.wantAudit(t, v1.AuditFilter{Actor: tt.actor(tt.id), Action: "link.open"}, mesh.OutcomeRefused, tt.want)
		})
	}
	// The same door opens for an agent of this CA.
	if err := r.knock(t, ca, issued(t, ca, agentOf("alps-dev"))); err != nil {
		t.Errorf("the server does not take an agent's hello: %v", err)
	}
}

// testStolenIdentity takes a copy of a node's identity, lies with it, and
// shuts the node out.
func testStolenIdentity(t *testing.T, r *trustRig) {
	dir := t.TempDir()
	agentDir := r.c.Agent(stolenNode).Dir()
	if err := os.CopyFS(filepath.Join(dir, "data", "identity"), os.DirFS(filepath.Join(agentDir, "identity"))); err != nil {
		t.Fatal(err)
	}
	self, other := r.id(t, stolenNode), r.id(t, victimNode)
	actor := "node/" + string(self)

	// The true agent is away while the thief speaks, and the victim stands
	// still in the middle of a job.
	r.c.Agent(stolenNode).Kill()
	thaw := r.freeze(t, victimNode)
	job := r.submit(t, filepath.Join(dir, "ran"))
	thief, stop := r.impersonate(t, filepath.Join(dir, "data"))
	for _, say := range []struct {
		name         string
		kind         frame.Kind
		what         any
		action, want string
	}{
		{
			"result in another's name", frame.Exec,
			mesh.Report{Job: job.id, Attempt: 1, Node: other, State: mesh.OK, At: time.Now()},
			"job.report", "report of " + string(self) + ` in the name of "` + string(other) + `"`,
		},
		{
			"result of a job that it is no target of", frame.Exec,
			mesh.Report{Job: job.id, Attempt: 1, Node: self, State: mesh.OK, At: time.Now()},
			"job.report", "the node is not in its list",
		},
		{
			"facts in another's name", frame.Fact,
			mesh.Observation{Node: other, Collector: "facts", At: time.Now(), Facts: mesh.Facts{Host: "lie", Name: victimNode, DC: "bj-e-01"}},
			"link.message", "sent facts of node " + string(other[:8]),
		},
	} {
		t.Run(say.name, func(t *testing.T) {
			payload, err := json.Marshal(say.what)
			if err != nil {
				t.Fatal(err)
			}
			before := thief.Status().Refused
			if err := thief.Send(say.kind, payload, true); err != nil {
				t.Fatal(err)
			}
			r.until(t, "the server has refused it", func() bool { return thief.Status().Refused > before })
			r.wantAudit(t, v1.AuditFilter{Actor: actor, Action: say.action}, mesh.OutcomeRefused, say.want)
		})
	}
	if j := getJob(t, r.c, job.id); j.Counts[mesh.Pending] != 1 {
		t.Errorf("after the lies the job has counts %v, want 1 PENDING", j.Counts)
	}
	thaw()
	if got := job.end(); got.code != exitOK {
		t.Errorf("exec = %v, want the victim's own word", got)
	}
	wantFiles(t, dir, "data", "ran")
	if n, err := r.c.Client().Node(t.Context(), victimNode); err != nil || n.Facts == nil || n.Facts.Host == "lie" {
		t.Errorf("the victim's facts are %+v, %v; want its own", n.Facts, err)
	}

	t.Run("revoked", func(t *testing.T) {
		if got := alps(t, r.c, "node", "revoke", stolenNode, "--reason", "its disk is for sale"); got.code != exitOK {
			t.Fatalf("node revoke = %v", got)
		}
		r.until(t, "the live link is cut", func() bool {
			st := thief.Status()
			return !st.Connected && st.LastError != nil && st.LastError.Code == mesh.Denied && strings.Contains(st.LastError.Message, "revoked")
		})
		stop()
		testRevokedNode(t, r, filepath.Join(dir, "data"))
	})
}

// testRevokedNode looks at what is left of a node that was shut out, whose
// identity lies in dataDir as well.
func testRevokedNode(t *testing.T, r *trustRig, dataDir string) {
	// It is no target from the moment on in which the revocation is
	// confirmed, and stays in the list, which is the denominator.
	file := filepath.Join(t.TempDir(), "ran")
	execOnOne := func() {
		t.Helper()
		got := alps(t, r.c, "exec", "-t", "role=hadoop", "--", "echo line >> "+file)
		line := "REJECTED     " + stolenNode + " (1)  the node's enrolment was revoked"
		if got.code != exitFailed || !strings.Contains(got.stderr, line) || !strings.Contains(got.stderr, "1 of 2 OK") {
			t.Errorf("exec = %v\nwant 1 of 2 OK and %q", got, line)
		}
	}
	execOnOne()
	r.wantAudit(t, v1.AuditFilter{Action: "node.revoke", Object: stolenNode}, mesh.OutcomeDone, "")

	// Neither the thief nor the node itself comes back.
	self := r.id(t, stolenNode)
	thief, stop := r.impersonate(t, dataDir)
	refused := func() bool { e := thief.Status().LastError; return e != nil && e.Code == mesh.Denied }
	r.until(t, "the thief is turned away", refused)
	stop()
	r.wantAudit(t, v1.AuditFilter{Actor: "node/" + string(self), Action: "link.open"}, mesh.OutcomeRefused, "is revoked")
	p := r.c.Agent(stolenNode)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the agent says in its log that it was revoked", func() bool {
		text, err := os.ReadFile(p.LogPath())
		return err == nil && bytes.Contains(text, []byte("the node was revoked"))
	})

	r.until(t, "the row of the node says that it was revoked", func() bool {
		row := strings.Fields(lastLine(alps(t, r.c, "node", "list", stolenNode).stdout))
		return len(row) >= 4 && row[0] == stolenNode && row[3] == string(mesh.AgentRevoked)
	})
	execOnOne() // its agent reads Consul's KV as before.
	wantLines(t, file, 2)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
