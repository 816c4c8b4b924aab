package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
)

// TestOperatorKeys has a server whose own grant covers one script and nothing
// else, as on an estate that keeps its root offline.
func TestOperatorKeys(t *testing.T) {
	files := t.TempDir()
	library := writeScript(t, "#!/bin/sh\necho \"from the library\"\n")
	var rootDir string
	c := ownCluster(t, dev.Options{Datacenters: trustNodes(), Configure: func(node, hcl string) string {
		if node != "" {
			return hcl
		}
		rootDir = regexp.MustCompile(`"(.*)/root\.pub"`).FindStringSubmatch(hcl)[1]
		offline(t, "keys", "grant", rootDir, "--holder", "server", "--cluster", "alps-dev", "--script", library, "--out", filepath.Join(files, "server"))
		hcl = strings.ReplaceAll(hcl, rootDir+"/server.", files+"/server.")
		return strings.Replace(hcl, "keys {", fmt.Sprintf("keys {\n  revoked = %q", filepath.Join(files, "revoked")), 1)
	}})
	r := newTrustRig(t, c)
	for _, g := range [][]string{
		{"liu", "--any", "--targets", "role=hadoop"},
		{"wang", "--any", "--max-nodes", "1"},
	} {
		prefix := filepath.Join(files, g[0])
		offline(t, append([]string{"keys", "grant", rootDir, "--cluster", "alps-dev", "--holder", g[0], "--out", prefix}, g[1:]...)...)
	}
	with := func(key, grant string) []string {
		return []string{"--key", filepath.Join(files, key+".key"), "--grant", filepath.Join(files, grant+".grant")}
	}
	marker := filepath.Join(t.TempDir(), "ran")
	command := []string{"--", "echo line >> " + marker}
	changed := writeScript(t, "#!/bin/sh\necho \"From the library\"\n")

	tests := []struct {
		name string
		args []string
		code int
		want string // on stderr.
	}{
		{"script of the library", []string{"-t", "all", "--script", library}, exitOK, "3 of 3 OK"},
		{
			"script that differs by a byte",
			[]string{"-t", "all", "--script", changed},
			exitDenied, "the grant of server does not allow the script",
		},
		{
			"command without a key",
			slices.Concat([]string{"-t", "all"}, command),
			exitDenied, "the grant of server does not allow ad-hoc commands, and no key of yours is given\n  try: --key FILE --grant FILE",
		},
		{
			"command with a key",
			slices.Concat([]string{"-t", "role=hadoop"}, with("liu", "liu"), command),
			exitOK, "2 of 2 OK",
		},
		{
			"beyond the nodes of the grant",
			slices.Concat([]string{"-t", "all"}, with("liu", "liu"), command),
			exitDenied, "the grant of liu does not reach " + adminNode,
		},
		{
			"more nodes than granted",
			slices.Concat([]string{"-t", "all"}, with("wang", "wang"), command),
			exitDenied, "the grant of wang allows 1 nodes a job, this one has 3",
		},
		{
			"key of one with the grant of another",
			slices.Concat([]string{"-t", victimNode}, with("wang", "liu"), command),
			exitDenied, "the signature is not valid",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := alps(t, c, append([]string{"exec"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("exec = %v\nwant code %d and %q", got, tt.code, tt.want)
			}
		})
	}
	wantLines(t, marker, 2) // two nodes, once.
	r.wantAudit(t, v1.AuditFilter{Actor: "admin", Action: "job.sign"}, mesh.OutcomeRefused, "the grant of liu does not reach")

	t.Run("stolen server key", func(t *testing.T) {
		dir := t.TempDir()
		thaw := r.freeze(t, victimNode)
		job := r.submit(t, "", "--script", library)
		r.replace(t, job.id, readKeyholder(t, filepath.Join(files, "server")).seal(t, r.envelope(t, job.id), func(s *mesh.Spec) {
			s.Script, s.Command = nil, []string{"touch", filepath.Join(dir, "ran")}
		}))
		thaw()
		r.wantRejected(t, job, "the grant of server does not allow ad-hoc commands")
		wantFiles(t, dir)
	})
	t.Run("revoked grants", func(t *testing.T) {
		testRevokedGrants(t, r, revocations{rootDir: rootDir, files: files, library: library, liu: with("liu", "liu")})
	})
}

// revocations is what a test of revoked grants begins with.
type revocations struct {
	rootDir, files, library string
	liu                     []string // flags that sign with liu's key.
}

func (v revocations) serial(t *testing.T, holder string) string {
	t.Helper()
	g, err := readKeyholder(t, filepath.Join(v.files, holder)).grant.GrantUnverified()
	if err != nil {
		t.Fatal(err)
	}
	return g.Serial
}

// revoke signs a list and has the server read it.
func (v revocations) revoke(t *testing.T, r *trustRig, number string, serials ...string) {
	t.Helper()
	args := []string{"--cluster", "alps-dev", "--number", number, "--out", filepath.Join(v.files, "revoked")}
	offline(t, slices.Concat([]string{"keys", "revoke", v.rootDir}, serials, args)...)
	if err := r.c.Server().Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// holds reports whether an agent keeps the list of this number.
func (v revocations) holds(t *testing.T, r *trustRig, node string, number uint64) bool {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(r.c.Agent(node).Dir(), "revoked.json"))
	if err != nil {
		return false
	}
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		t.Fatal(err)
	}
	var list sign.Revocations
	if err := json.Unmarshal(env.Payload, &list); err != nil {
		t.Fatal(err)
	}
	return list.Number == number
}

// testRevokedGrants revokes an operator's grant while one node is away, and
// then the server's own.
func testRevokedGrants(t *testing.T, r *trustRig, v revocations) {
	dir := t.TempDir()
	liu := v.serial(t, "liu")
	command := []string{"--", "touch", filepath.Join(dir, "ran")}
	r.c.Agent(stolenNode).Kill()
	v.revoke(t, r, "1", liu)
	r.until(t, "the nodes with a link know", func() bool {
		return v.holds(t, r, adminNode, 1) && v.holds(t, r, victimNode, 1)
	})
	want := "the grant is revoked: serial " + liu + " of liu, by list 1"
	got := alps(t, r.c, slices.Concat([]string{"exec", "-t", victimNode}, v.liu, command)...)
	if got.code != exitDenied || !strings.Contains(got.stderr, want) {
		t.Errorf("exec with a revoked grant = %v\nwant code %d and %q", got, exitDenied, want)
	}

	// Who goes round the server meets the node's own list.
	thaw := r.freeze(t, victimNode)
	job := r.submit(t, "", "--script", v.library)
	r.replace(t, job.id, readKeyholder(t, filepath.Join(v.files, "liu")).seal(t, r.envelope(t, job.id), nil))
	thaw()
	r.wantRejected(t, job, want)

	// A node that was away is told when it comes back.
	if v.holds(t, r, stolenNode, 1) {
		t.Error("the node that was away knows already")
	}
	if err := r.c.Agent(stolenNode).Start(); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the node that was away knows", func() bool { return v.holds(t, r, stolenNode, 1) })

	// A list that is no newer would be followed by nobody.
	v.revoke(t, r, "1", liu, v.serial(t, "server"))
	r.until(t, "the server refuses the list in its log", func() bool {
		text, err := os.ReadFile(r.c.Server().LogPath())
		return err == nil && bytes.Contains(text, []byte("the list is not newer than list 1"))
	})
	if got := alps(t, r.c, "exec", "-t", victimNode, "--script", v.library); got.code != exitOK {
		t.Errorf("exec after a list that is refused = %v, want that it runs", got)
	}

	// The server's own grant can be revoked too, and the server lives on.
	v.revoke(t, r, "2", liu, v.serial(t, "server"))
	r.until(t, "all nodes know", func() bool {
		return v.holds(t, r, adminNode, 2) && v.holds(t, r, victimNode, 2) && v.holds(t, r, stolenNode, 2)
	})
	want = "of server, by list 2, and no key of yours is given"
	script := []string{"exec", "-t", victimNode, "--script", v.library}
	if got := alps(t, r.c, script...); got.code != exitDenied || !strings.Contains(got.stderr, want) {
		t.Errorf("exec under the server's revoked grant = %v\nwant code %d and %q", got, exitDenied, want)
	}
	r.c.Server().Stop()
	if err := r.c.Server().Start(); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the server says the same after a restart", func() bool {
		got := alps(t, r.c, script...)
		return got.code == exitDenied && strings.Contains(got.stderr, want)
	})
	wantFiles(t, dir)
}

// TestTokens holds the program against what a token may.
func TestTokens(t *testing.T) {
	r := newTrustRig(t, sharedCluster(t))
	c := r.c
	token := func(t *testing.T, name string, args ...string) (flags []string) {
		t.Helper()
		got := alps(t, c, append([]string{"token", "create", "--name", name}, args...)...)
		if got.code != exitOK {
			t.Fatalf("token create = %v", got)
		}
		text := strings.TrimSpace(got.stdout)
		t.Cleanup(func() {
			err := c.Client().DeleteToken(context.Background(), tokenID(text)) // the test's own context has ended.
			if err != nil && mesh.CodeOf(err) != mesh.NotFound {               // a test has deleted its own.
				t.Error(err)
			}
		})
		return []string{"--token", text}
	}
	file := filepath.Join(t.TempDir(), "ran")
	command := []string{"--", "echo line >> " + file}
	run := func(t *testing.T, tok []string, args ...string) result {
		t.Helper()
		return alps(t, c, slices.Concat(args[:1], tok, args[1:])...)
	}
	refused := func(t *testing.T, got result, want string) {
		t.Helper()
		if got.code != exitDenied || !strings.Contains(got.stderr, want) {
			t.Errorf("got %v\nwant code %d and %q", got, exitDenied, want)
		}
	}

	t.Run("viewer", func(t *testing.T) {
		tok := token(t, "trust-viewer", "--role", "viewer")
		if got := run(t, tok, "members"); got.code != exitOK {
			t.Errorf("members = %v", got)
		}
		refused(t, run(t, tok, slices.Concat([]string{"exec", "-t", "all"}, command)...), "viewer")
		r.wantAudit(t, v1.AuditFilter{Actor: "trust-viewer", Action: "job.submit"}, mesh.OutcomeRefused, "viewer")
	})
	t.Run("operator with a scope", func(t *testing.T) {
		const name = "trust-operator"
		tok := token(t, name, "--role", "operator", "--scope", "role=hadoop")
		const outside = "bj-e-admin[01,03]"
		refused(t, run(t, tok, slices.Concat([]string{"exec", "-t", "all"}, command)...), outside)
		r.wantAudit(t, v1.AuditFilter{Actor: name, Action: "job.submit"}, mesh.OutcomeRefused, outside)

		got := run(t, tok, slices.Concat([]string{"exec", "-t", "role=hadoop"}, command)...)
		if got.code != exitOK || !strings.Contains(got.stderr, "3 of 3 OK") {
			t.Fatalf("exec = %v, want 3 of 3 OK", got)
		}
		wantLines(t, file, 3)
		id := string(lastJob(t, c).ID)
		r.wantAudit(t, v1.AuditFilter{Actor: name, Action: "job.submit", Object: id}, mesh.OutcomeDone, "")
		r.wantAudit(t, v1.AuditFilter{Actor: "alps", Action: "job.end", Object: id}, mesh.OutcomeDone, "")
		if got := alps(t, c, "audit", "--object", id); got.code != exitOK || !strings.Contains(got.stdout, name) || !strings.Contains(got.stdout, "job.end") {
			t.Errorf("audit = %v, want who submitted the job and its end", got)
		}
		refused(t, run(t, tok, "audit"), "admin")
	})
	t.Run("expired", func(t *testing.T) {
		tok := token(t, "trust-expired", "--role", "viewer", "--ttl", "1s")
		var got result
		r.until(t, "the token has expired", func() bool { got = run(t, tok, "members"); return got.code != exitOK })
		refused(t, got, "expired at")
	})
	t.Run("deleted", func(t *testing.T) {
		tok := token(t, "trust-deleted", "--role", "operator")
		if got := run(t, tok, "members"); got.code != exitOK {
			t.Errorf("members = %v", got)
		}
		if got := alps(t, c, "token", "delete", tokenID(tok[1])); got.code != exitOK {
			t.Errorf("token delete = %v", got)
		}
		refused(t, run(t, tok, slices.Concat([]string{"exec", "-t", "all"}, command)...), "is not valid")
	})
	wantLines(t, file, 3) // of the one job that was allowed.
}

// tokenID is the part of a token's text that is no secret.
func tokenID(text string) string { return strings.Split(text, ".")[1] }
