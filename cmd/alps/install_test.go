package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/mesh/dispatch"
)

// management is the token that may do everything in the tests' Consul.
const management = "5f1c9a80-0000-4000-8000-a1b2c3d4e5f6"

// withACLs is the configuration of a Consul that denies what no policy allows.
func withACLs() map[string]any {
	return map[string]any{"acl": map[string]any{
		"enabled": true, "default_policy": "deny",
		"tokens": map[string]any{"initial_management": management, "agent": management},
	}}
}

// project is a path of the project.
func project(elem ...string) string { return filepath.Join(append([]string{"..", ".."}, elem...)...) }

func readProject(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(project(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Parts of a configuration that package dev writes.
var (
	consulBlock = regexp.MustCompile(`consul { (address = .*) }`)
	ourServers  = regexp.MustCompile(`(?m)^ *servers +=.*\n`)
)

// uncommented is a policy with the rules that it offers too. Prose has one
// space behind its #.
func uncommented(policy string) string {
	var b strings.Builder
	for line := range strings.Lines(policy) {
		rule, ok := strings.CutPrefix(line, "#")
		if ok && (strings.HasPrefix(rule, "  policy") || !strings.HasPrefix(rule, " ")) {
			line = rule
		}
		b.WriteString(line)
	}
	return b.String()
}

// makeToken makes a policy and a token that has it alone, by Consul's API.
func makeToken(ctx context.Context, n *cluster.Node, name, rules string) (string, error) {
	if _, err := aclPut(ctx, n, "policy", map[string]any{"Name": name, "Rules": rules}); err != nil {
		return "", err
	}
	return aclPut(ctx, n, "token", map[string]any{"Policies": []map[string]string{{"Name": name}}})
}

// aclPut makes one thing of Consul's ACLs and returns its secret, if it has
// one.
func aclPut(ctx context.Context, n *cluster.Node, kind string, body any) (string, error) {
	doc, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+n.HTTPAddr()+"/v1/acl/"+kind, bytes.NewReader(doc))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Consul-Token", management)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("make a %s: %s: %s, %w", kind, resp.Status, b, err)
	}
	var answer struct{ SecretID string }
	return answer.SecretID, json.Unmarshal(b, &answer)
}

// TestConsulACLs runs a cluster on a Consul that denies by default, with the
// policies that we ship, and tries what an agent's token must not do. One
// agent does not hear the event, and another finds the server by its service.
func TestConsulACLs(t *testing.T) {
	const deaf, finder = victimNode, stolenNode
	agentPolicy := readProject(t, "deploy", "consul", "agent-policy.hcl")
	serverPolicy := readProject(t, "deploy", "consul", "server-policy.hcl")
	hint := "event \"alps\" {\n  policy = \"read\"\n}\n"
	if !strings.Contains(agentPolicy, hint) {
		t.Fatalf("agent-policy.hcl does not allow to read the event:\n%s", agentPolicy)
	}
	policies := map[string]string{
		"agent": agentPolicy, "server": serverPolicy,
		deaf:   strings.Replace(agentPolicy, hint, "", 1),
		finder: uncommented(agentPolicy),
	}
	tokens, files, dir := map[string]string{}, map[string]string{}, t.TempDir()
	c := ownCluster(t, dev.Options{
		Datacenters: trustNodes(), ConsulConfig: withACLs(), ConsulToken: management,
		Prepare: func(ctx context.Context, c *cluster.Cluster) error {
			for name, rules := range policies {
				secret, err := makeToken(ctx, c.Nodes()[0], name, rules)
				if err != nil {
					return err
				}
				tokens[name], files[name] = secret, filepath.Join(dir, name)
				if err := os.WriteFile(files[name], []byte(secret+"\n"), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Configure: func(node, hcl string) string {
			name := "agent"
			switch node {
			case "":
				name = "server"
			case deaf, finder:
				name = node
			}
			if node == finder {
				hcl = ourServers.ReplaceAllString(hcl, "")
			}
			return consulBlock.ReplaceAllString(hcl, fmt.Sprintf("consul {\n  $1\n  token_file = %q\n}", files[name]))
		},
	})

	got := alps(t, c, "exec", "-t", "all", "--", "true")
	if got.code != exitOK || !strings.HasPrefix(got.stderr, "3 of 3 OK in ") {
		t.Fatalf("exec = %v, want 3 of 3 OK", got)
	}
	job := lastJob(t, c)

	as := func(name string) *consul.Client {
		cc, err := consul.New(consul.Options{Address: c.Consul().Nodes()[0].HTTPAddr(), Token: tokens[name]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cc.Close)
		return cc
	}
	agent, ctx := as("agent"), t.Context()
	spec := dispatch.SpecKey(job.ID, 1)

	t.Run("an agent reads jobs", func(t *testing.T) {
		if p, _, err := agent.Get(ctx, spec, consul.Query{}); err != nil || p == nil {
			t.Errorf("Get(%s) = %v, %v, want the job", spec, p, err)
		}
	})
	t.Run("who may hear the event", func(t *testing.T) {
		for name, want := range map[string]bool{"agent": true, deaf: false} {
			es, _, err := as(name).Events(ctx, dispatch.EventName, consul.Query{})
			if err != nil || (len(es) > 0) != want {
				t.Errorf("Events as %s = %v, %v, want some: %v", name, es, err, want)
			}
		}
	})

	denied := map[string]func() error{
		"write a job's document": func() error { return agent.Put(ctx, spec, []byte("{}")) },
		"write a head":           func() error { return agent.Put(ctx, dispatch.HeadKey(0), []byte("{}")) },
		"delete a job":           func() error { return agent.Delete(ctx, spec) },
		"write by a transaction": func() error {
			_, err := agent.Txn(ctx, []consul.Op{{Verb: consul.OpSet, Key: spec, Value: []byte("{}")}})
			return err
		},
		"write another key": func() error { return agent.Put(ctx, "other/key", nil) },
		"read another key": func() error {
			_, _, err := agent.Get(ctx, "other/key", consul.Query{})
			return err
		},
		"fire the event": func() error {
			_, err := agent.Fire(ctx, dispatch.EventName, []byte("x"))
			return err
		},
		"fire another event": func() error {
			_, err := agent.Fire(ctx, "other", nil)
			return err
		},
		"pass for a server": func() error {
			return agent.RegisterService(ctx, consul.Registration{Name: "alps-server", Port: 1})
		},
		"register a check": func() error {
			return agent.RegisterCheck(ctx, "", consul.TTLCheck{ID: "x", Name: "x", TTL: 15 * time.Second})
		},
	}
	for name, try := range denied {
		t.Run("an agent cannot "+name, func(t *testing.T) {
			if err := try(); mesh.CodeOf(err) != mesh.Denied {
				t.Errorf("Consul answers %v, want code %s", err, mesh.Denied)
			}
		})
	}
	t.Run("the server writes nothing else", func(t *testing.T) {
		if err := as("server").Put(ctx, "other/key", nil); mesh.CodeOf(err) != mesh.Denied {
			t.Errorf("Put(other/key) = %v, want code %s", err, mesh.Denied)
		}
	})
	t.Run("the server misses nothing", func(t *testing.T) {
		s, err := c.Client().Status(ctx)
		if err != nil || s.Detail == nil {
			t.Fatalf("Status = %+v, %v", s, err)
		}
		for _, p := range s.Detail.Problems {
			if !strings.HasPrefix(p, "machine id ") { // all agents are on this machine.
				t.Errorf("the server says %q", p)
			}
		}
	})
}

// TestUnits checks the units of systemd with systemd's own eyes where they
// are there, and that what they start are commands that we have.
func TestUnits(t *testing.T) {
	alps, err := exec.LookPath("alps")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"alps-agent": {
			"ExecStart=/usr/local/bin/alps agent --config /etc/alps/agent.hcl", "Delegate=yes", "KillMode=mixed",
			"Restart=on-failure", "StateDirectory=alps", "LimitNOFILE=65536",
		},
		"alps-server": {
			"ExecStart=/usr/local/bin/alps server --config /etc/alps/server.hcl", "User=alps",
			"Restart=on-failure", "StateDirectory=alps-server", "LimitNOFILE=65536",
		},
	} {
		t.Run(name, func(t *testing.T) {
			unit := readProject(t, "deploy", "systemd", name+".service")
			lines := strings.Split(unit, "\n")
			for _, line := range append(want, "Type=simple", "ExecReload=/bin/kill -HUP $MAINPID", "WantedBy=multi-user.target") {
				if !slices.Contains(lines, line) {
					t.Errorf("there is no line %q", line)
				}
			}
			analyze, err := exec.LookPath("systemd-analyze")
			if err != nil {
				t.Log("no systemd-analyze on this machine: only the lines were looked at")
				return
			}
			// The user is made when ALPS is installed, and alps lies elsewhere here.
			path := filepath.Join(t.TempDir(), name+".service")
			unit = strings.NewReplacer("/usr/local/bin/alps", alps, "User=alps\n", "").Replace(unit)
			if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
			if err != nil || strings.Contains(string(out), name) {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

// TestInstallGuide does what docs/install.md says, on one machine that stands
// for all of them: its commands, with the files that it shows, under a root of
// our own. What systemctl would start we start, by the ExecStart of the unit.
func TestInstallGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	c := cluster.ForTest(t, cluster.Options{ExtraConfig: withACLs(), Token: management})
	r := newReader(t, c.Nodes()[0])
	doc := parseConsole(readProject(t, "docs", "install.md"))
	fence, file, ran := "", "", 0
	for i, p := range doc {
		switch {
		case p.command != "":
			ran++
			doc[i].output = r.run(t, p.command)
			if diff := cmp.Diff(normal(p.output), normal(doc[i].output)); diff != "" && !*update {
				t.Fatalf("$ %s (-written +printed):\n%s", p.command, diff)
			}
		case strings.HasPrefix(p.text, "```"):
			if fence == "hcl" {
				r.save(t, file)
			}
			fence, file = strings.TrimSpace(p.text[3:]), ""
		case fence == "hcl":
			file += p.text
		case fence == "sh":
			ran++
			if got := r.run(t, strings.TrimSpace(p.text)); strings.HasSuffix(got, "]\n") { // its exit status.
				t.Fatalf("%s%s", p.text, got)
			}
		}
	}
	if ran < 10 {
		t.Errorf("docs/install.md has %d commands: this test does not see them", ran)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(project("docs", "install.md"), []byte(doc.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reader does what a guide says. Its machine is a directory.
type reader struct {
	root string // the machine's /, and the project's directory.
	path string // PATH, the environment of a service.
	env  []string
	here *strings.Replacer // from the guide to our machine.
	back *strings.Replacer
}

// theirServer is the server's address in the guide.
const theirServer = "10.20.0.5"

func newReader(t *testing.T, n *cluster.Node) *reader {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "deploy"), os.DirFS(project("deploy"))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/alps", "etc/systemd/system", "var/lib", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, find := range map[string]func() (string, error){
		"alps":   func() (string, error) { return exec.LookPath("alps") },
		"consul": func() (string, error) { return cluster.Find(t.Context(), "") },
	} {
		path, err := find()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(root, "usr/local/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	path := "PATH=" + filepath.Join(root, "usr/local/bin") + ":" + os.Getenv("PATH")
	return &reader{
		root: root, path: path,
		env: []string{path, "HOME=" + root, "CONSUL_HTTP_ADDR=" + n.HTTPAddr(), "CONSUL_HTTP_TOKEN=" + management},
		here: strings.NewReplacer(
			"/etc/", root+"/etc/", "/var/lib/", root+"/var/lib/", "/usr/local/", root+"/usr/local/",
			theirServer, n.Addr, "consul { ", "consul {\n  address = \""+n.HTTPAddr()+"\"\n  ", ".token\" }", ".token\"\n}",
		),
		back: strings.NewReplacer(root, "", n.Addr, theirServer),
	}
}

// save writes a file of the guide: its first line names it.
func (r *reader) save(t *testing.T, text string) {
	t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	path, ok := strings.CutPrefix(first, "# /")
	if !ok {
		t.Fatalf("a file begins with %q, want its name", first)
	}
	if err := os.WriteFile(filepath.Join(r.root, path), []byte(r.here.Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command and returns what it prints. The next one has its
// environment.
func (r *reader) run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	switch words[0] {
	case "useradd":
		return "" // the machine is not ours.
	case "systemctl":
		r.start(t, words[len(words)-1])
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state := filepath.Join(r.root, "environment")
	cmd := exec.CommandContext(ctx, "sh", "-c", r.here.Replace(command)+"\nrc=$?\nenv -0 > "+state+"\nexit $rc")
	cmd.Dir, cmd.Env = r.root, r.env
	out, err := cmd.CombinedOutput()
	text := r.back.Replace(string(out))
	if err != nil {
		text += "[" + err.Error() + "]\n"
	}
	env, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	r.env = strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")
	return text
}

// start does what systemd does with a unit, and waits until the service works.
func (r *reader) start(t *testing.T, unit string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.root, "etc/systemd/system", unit+".service"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(b), "\nExecStart=")
	if !ok {
		t.Fatalf("%s has no ExecStart", unit)
	}
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(r.here.Replace(line))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = []string{r.path} // no token of an operator.
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", unit, &log)
		}
	})
	ready := map[string]func() bool{
		"alps-server": func() bool {
			_, err := os.Stat(filepath.Join(r.root, "var/lib/alps-server/admin.token")) // it listens already.
			return err == nil
		},
		"alps-agent": func() bool {
			return !strings.Contains(r.run(t, "alps doctor --config /etc/alps/agent.hcl"), "exit status") &&
				strings.Contains(r.run(t, "alps node list agent=linked"), " linked ")
		},
	}[unit]
	deadline := time.Now().Add(time.Minute)
	for !ready() {
		select {
		case <-ended:
			t.Fatalf("%s ended", unit)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready after a minute", unit)
		}
	}
}
