package exec

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"alps/agent/exec/exectest"
	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
)

func TestRefusals(t *testing.T) {
	rfc := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	spec := func(change func(*mesh.Spec)) func(*testing.T, *rig, *mesh.Spec) {
		return func(_ *testing.T, _ *rig, s *mesh.Spec) { change(s) }
	}
	scope := func(change func(*sign.Scope)) func(*testing.T, *rig, *mesh.Spec) {
		return func(_ *testing.T, r *rig, _ *mesh.Spec) {
			s := exectest.AnyScope()
			change(&s)
			r.clerk.Use(r.clerk.Grant(sign.Grant{Scope: s}))
		}
	}
	script := func(body string) *mesh.Script {
		return &mesh.Script{Name: "x", SHA256: mesh.Digest([]byte(body)), Size: len(body), Body: []byte(body)}
	}
	tests := []struct {
		name   string
		do     func(*testing.T, *rig, *mesh.Spec)
		state  mesh.State // zero is REJECTED.
		reason func() string
	}{
		{
			name:   "switched off",
			do:     func(_ *testing.T, r *rig, _ *mesh.Spec) { r.change = func(o *Options) { o.Disabled = true } },
			reason: func() string { return "jobs are switched off on this node" },
		},
		{
			name:   "no trust root",
			do:     func(_ *testing.T, r *rig, _ *mesh.Spec) { r.trusted = false },
			reason: func() string { return "no trust root is installed on this node" },
		},
		{
			name: "another cluster's grant",
			do: func(_ *testing.T, r *rig, _ *mesh.Spec) {
				r.clerk.Use(r.clerk.Grant(sign.Grant{Cluster: "other", Scope: exectest.AnyScope()}))
			},
			reason: func() string {
				return `the job's signature is not accepted: it is for another cluster: the grant of clerk is for "other", this is "lab"`
			},
		},
		{
			name:   "another cluster's job",
			do:     spec(func(s *mesh.Spec) { s.Cluster = "other" }),
			reason: func() string { return `the job is for the cluster "other", this node belongs to "lab"` },
		},
		{
			name: "ended grant",
			do: func(_ *testing.T, r *rig, _ *mesh.Spec) {
				r.clerk.Use(r.clerk.Grant(sign.Grant{NotAfter: time.Now().Unix() - 121, Scope: exectest.AnyScope()}))
			},
			reason: func() string {
				return "the job's signature is not accepted: the grant has expired: that of clerk ended " + rfc(-121*time.Second)
			},
		},
		{
			name:   "makes no sense",
			do:     spec(func(s *mesh.Spec) { s.Timeout = 0 }),
			reason: func() string { return "the job makes no sense: timeout 0 s and grace 5 s must both be positive" },
		},
		{
			name:   "too many nodes",
			do:     scope(func(s *sign.Scope) { s.MaxNodes = 0 }),
			reason: func() string { return "the grant of clerk allows 0 nodes a job, this one has 1" },
		},
		{
			name:   "ad-hoc command under a grant for scripts",
			do:     scope(func(s *sign.Scope) { s.Any = false }),
			reason: func() string { return "the grant of clerk does not allow ad-hoc commands" },
		},
		{
			name: "foreign script",
			do: func(t *testing.T, r *rig, s *mesh.Spec) {
				s.Command, s.Script = nil, script("echo evil")
				scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest([]byte("echo good"))} })(t, r, s)
			},
			reason: func() string {
				return "the grant of clerk does not allow the script " + mesh.Digest([]byte("echo evil"))
			},
		},
		{
			name: "script under another's digest",
			do: func(t *testing.T, r *rig, s *mesh.Spec) {
				s.Command, s.Script = nil, script("echo evil")
				s.Script.SHA256 = mesh.Digest([]byte("echo good"))
				scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest([]byte("echo good"))} })(t, r, s)
			},
			reason: func() string { return "the script is not the one that its digest names" },
		},
		{
			name: "variables under a grant for scripts",
			do: func(t *testing.T, r *rig, s *mesh.Spec) {
				s.Command, s.Script, s.Env = nil, script("echo good"), map[string]string{"ALPS_POLICY": "p", "BASH_ENV": "$(evil)"}
				scope(func(s *sign.Scope) { s.Any, s.Scripts = false, []string{mesh.Digest([]byte("echo good"))} })(t, r, s)
			},
			reason: func() string {
				return "the grant of clerk allows its scripts as they are, without the variable BASH_ENV in their environment"
			},
		},
		{
			name: "grant does not allow the user",
			do: func(t *testing.T, r *rig, s *mesh.Spec) {
				s.RunAs = "hdfs"
				scope(func(s *sign.Scope) { s.RunAs = nil })(t, r, s)
			},
			reason: func() string { return `the grant of clerk does not allow to run as "hdfs"` },
		},
		{
			name:   "node does not allow the user",
			do:     spec(func(s *mesh.Spec) { s.RunAs = "root" }),
			reason: func() string { return `this node does not allow jobs to run as "root"` },
		},
		{
			name: "grant is for other nodes",
			do:   scope(func(s *sign.Scope) { s.Targets = "role=zookeeper" }),
			reason: func() string {
				return "the grant of clerk is for nodes with role=zookeeper, and this node is none of them"
			},
		},
		{
			name: "grant asks what the node does not know",
			do:   scope(func(s *sign.Scope) { s.Targets = "mem_gb!=64" }),
			reason: func() string {
				return `the grant of clerk is for nodes with mem_gb!=64, and this node does not know its own "mem_gb"`
			},
		},
		{
			name: "node's clock is behind",
			do:   spec(func(s *mesh.Spec) { s.NotBefore += 121 }),
			reason: func() string {
				return "this node's clock says " + rfc(0) + " and the job begins at " + rfc(121*time.Second) + ": they are more than 2m0s apart"
			},
		},
		{
			name:  "expired, or the node's clock is ahead",
			state: mesh.Expired,
			do:    spec(func(s *mesh.Spec) { s.NotBefore, s.Expires = s.NotBefore-100, s.NotBefore-1 }),
			reason: func() string {
				return "it expired at " + rfc(-time.Second) + " and this node's clock says " + rfc(0)
			},
		},
		{
			name:   "issued before the journal",
			do:     spec(func(s *mesh.Spec) { s.NotBefore-- }),
			reason: func() string { return "issued before this agent's journal began" },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				s := r.clerk.Spec(r.node)
				tt.do(t, r, &s)
				r.start()
				r.publish(s)
				if tt.state == "" {
					tt.state = mesh.Rejected
				}
				r.wantLast(s, tt.state, tt.reason())
				r.wantStates(s, tt.state)
				r.wantStarts(s, 0)

				// Once per job, whatever looks again.
				r.end()
				r.start()
				settle(3 * time.Minute)
				r.wantStates(s, tt.state)
				r.end()
			})
		})
	}
}

// What is signed wrongly cannot be made by the clerk's own hand.
func TestForgedDocuments(t *testing.T) {
	stranger := exectest.NewClerk(exectest.NewBoard(), "lab", exectest.AnyScope())
	encode := func(t *testing.T, e sign.Envelope) []byte {
		t.Helper()
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name string
		doc  func(t *testing.T, r *rig, s mesh.Spec) []byte
		want string
	}{
		{"signed by a stranger", func(t *testing.T, _ *rig, s mesh.Spec) []byte {
			t.Helper()
			return encode(t, stranger.Seal(sign.TypeJob, s))
		}, "the job's signature is not accepted: the signature is not valid: the grant was not made by the root "},
		{"signed as something else", func(t *testing.T, r *rig, s mesh.Spec) []byte {
			t.Helper()
			e := r.clerk.Seal(sign.TypeCtl, s)
			e.Type = sign.TypeJob
			return encode(t, e)
		}, "the job's signature is not accepted: the signature is not valid: it was not made by the key "},
		{"changed afterwards", func(t *testing.T, r *rig, s mesh.Spec) []byte {
			t.Helper()
			e := r.clerk.Seal(sign.TypeJob, s)
			e.Payload = bytes.Replace(e.Payload, []byte(`"true"`), []byte(`"evil"`), 1)
			return encode(t, e)
		}, "the job's signature is not accepted: the signature is not valid: it was not made by the key "},
		{"too large", func(*testing.T, *rig, mesh.Spec) []byte {
			return bytes.Repeat([]byte("x"), mesh.MaxEnvelope+1)
		}, "the job's document cannot be read: the envelope is malformed: 8193 bytes are over the limit of 8192"},
		{"rubbish", func(*testing.T, *rig, mesh.Spec) []byte {
			return []byte("{")
		}, "the job's document cannot be read: the envelope is malformed: "},
		{"another job's document", func(t *testing.T, r *rig, s mesh.Spec) []byte {
			t.Helper()
			s.Job = "00000000000000aa"
			return encode(t, r.clerk.Seal(sign.TypeJob, s))
		}, "the document is that of job 00000000000000aa, attempt 1"},
		{"another attempt's document", func(t *testing.T, r *rig, s mesh.Spec) []byte {
			t.Helper()
			s.Attempt = 2
			return encode(t, r.clerk.Seal(sign.TypeJob, s))
		}, "the document is that of job "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.start()
				s := r.clerk.Spec(r.node)
				r.board.Set(dispatch.SpecKey(s.Job, s.Attempt), tt.doc(t, r, s))
				if err := r.clerk.Announce(exectest.Ref(s)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				got := r.reports.Last(s.Job)
				if got.State != mesh.Rejected || !strings.HasPrefix(got.Reason, tt.want) {
					t.Errorf("got %s %q, want REJECTED %q…", got.State, got.Reason, tt.want)
				}
				r.wantStarts(s, 0)
				r.end()
			})
		})
	}
}

func TestNodeThatIsNotNamedSaysNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start()
		s := r.clerk.Spec(mesh.NewNodeID())
		r.publish(s)
		r.trusted = false // nor does it complain of what is none of its business.
		r.publish(r.clerk.Spec(mesh.NewNodeID()))
		if got := r.reports.Len(); got != 0 {
			t.Errorf("got %d reports, want none", got)
		}
		r.end()
	})
}

func TestBusyNodeRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.change = func(o *Options) { o.Limits = Limits{Slots: 1, Queue: 2} }
		r.start()
		var specs []mesh.Spec
		for range 4 {
			specs = append(specs, r.clerk.Spec(r.node))
			r.publish(specs[len(specs)-1])
		}
		r.wantStates(specs[0], mesh.Acked, mesh.Running)
		r.wantStates(specs[1], mesh.Acked, mesh.Queued)
		r.wantLast(specs[2], mesh.Queued, "waits for a slot: 1 jobs run")
		r.wantLast(specs[3], mesh.Rejected, "busy: 1 jobs run and 2 wait on this node already")
		r.e.SetLimits(Limits{Slots: 3, Queue: 2})
		synctest.Wait()
		r.wantStates(specs[2], mesh.Acked, mesh.Queued, mesh.Running)
		if got := r.e.Status(); got.Running != 3 || got.Waiting != 0 {
			t.Errorf("status: got %+v", got)
		}
		settle(2 * time.Minute)
		r.wantLast(specs[2], mesh.OK, "")
		r.end()
	})
}

func TestForgedCtlIsIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.runner.Do = exectest.Sleep(time.Minute)
		r.start()
		s := r.clerk.Spec(r.node)
		r.publish(s)
		stranger := exectest.NewClerk(r.board, "lab", exectest.AnyScope())
		c := dispatch.Ctl{Cluster: "lab", Job: s.Job, Attempt: 1, Gen: 1, Phase: dispatch.PhaseCancel}
		doc, err := stranger.Seal(sign.TypeCtl, c).Encode()
		if err != nil {
			t.Fatal(err)
		}
		r.board.Set(dispatch.CtlKey(s.Job, 1), doc)
		ref := exectest.Ref(s)
		ref.Kind, ref.Gen = dispatch.KindCtl, 1
		if err := r.clerk.Announce(ref); err != nil {
			t.Fatal(err)
		}
		settle(2 * time.Minute)
		r.wantLast(s, mesh.OK, "")
		if got := r.e.Status().LastError; !strings.HasPrefix(got, "ctl refused: the ctl is not believed: ") {
			t.Errorf("last error: got %q", got)
		}
		r.end()
	})
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no node":            func(o *Options) { o.Node = "" },
		"no cluster":         func(o *Options) { o.Cluster = "" },
		"relative directory": func(o *Options) { o.Dir = "exec" },
		"no board":           func(o *Options) { o.Board = nil },
		"no trust":           func(o *Options) { o.Trust = nil },
		"negative limit":     func(o *Options) { o.Limits.Slots = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := exectest.NewBoard()
			o := Options{
				Node: mesh.NewNodeID(), Cluster: "lab", Dir: t.TempDir(), Board: b, Reports: &exectest.Reports{},
				Blobs: &exectest.Blobs{}, Runner: &exectest.Runner{}, Self: func() mesh.Node { return mesh.Node{} },
				Trust: func() (sign.Root, bool) { return sign.Root{}, false },
			}
			if _, err := New(o); err != nil {
				t.Fatalf("sound options: %v", err)
			}
			change(&o)
			if _, err := New(o); err == nil {
				t.Error("got no error")
			}
		})
	}
}
