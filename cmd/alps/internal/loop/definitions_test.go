package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	"alps/mesh/consul"
	v1 "alps/server/api/v1"
)

// TestDefinitions is the files of a team: what loads, what is refused with a
// reason, and that a refusal changes nothing.
func TestDefinitions(t *testing.T) {
	r := loop.Start(t, loop.Options{
		Web: []string{loop.WebOne}, Rules: loop.RulesOnly, Dev: dev.Options{Datacenters: fewNodes()},
	})
	c, err := consul.New(consul.Options{Address: r.Consul().Node(loop.WebOne).HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d := &definitions{Rig: r, consul: c, agent: r.Agent(loop.WebOne)}
	t.Run("the files of Consul", d.testConsulFiles)
	t.Run("checks that others run", d.testOthersRun)
	t.Run("reload", d.testReload)
	t.Run("refused", d.testRefused)
	t.Run("rules", d.testRules)
}

// definitions is the node whose files the test writes.
type definitions struct {
	*loop.Rig

	consul *consul.Client
	agent  *dev.Process
}

func (d *definitions) file(name string) string {
	return filepath.Join(d.agent.Dir(), "checks.d", name)
}

// write puts a file among the agent's definitions until the test ends; the
// agent is told of neither.
func (d *definitions) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

func (d *definitions) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(d.file(name)); err != nil {
		t.Fatal(err)
	}
}

// hangUp sends SIGHUP and returns what the process then says: that it has
// reloaded, or that it has refused to.
func hangUp(t *testing.T, p *dev.Process) (text string, taken bool) {
	t.Helper()
	size := func() int { b, _ := os.ReadFile(p.LogPath()); return len(b) }
	before := size()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	loop.Await(t, "the process says what it makes of its files", func(context.Context) error {
		b, err := os.ReadFile(p.LogPath())
		if err != nil {
			return err
		}
		text = string(b[before:])
		taken = strings.Contains(text, "config reloaded")
		if !taken && !strings.Contains(text, "reload refused") {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	return text, taken
}

func mustReload(t *testing.T, p *dev.Process) {
	t.Helper()
	if text, taken := hangUp(t, p); !taken {
		t.Fatalf("the reload was refused: %s", text)
	}
}

// await has a check run now and waits for a status of it, which it returns.
func (d *definitions) await(t *testing.T, check string, want mesh.Health) mesh.CheckState {
	t.Helper()
	// A check that was defined a moment ago is not known to the server yet.
	loop.Await(t, "the server knows "+check, func(ctx context.Context) error {
		_, err := d.Client().RunCheck(ctx, v1.RunCheckRequest{Check: check, Target: "name=" + loop.WebOne})
		return err
	})
	return d.AwaitCheck(t, loop.WebOne, check, want)
}

// awaitGone waits until neither Consul nor the server has a check.
func (d *definitions) awaitGone(t *testing.T, check string) {
	t.Helper()
	loop.Await(t, check+" is gone", func(ctx context.Context) error {
		list, err := d.consul.AgentChecks(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(c consul.Check) bool { return c.ID == check }) {
			return errors.New("Consul has it")
		}
		s, err := d.Check(ctx, loop.WebOne, check)
		if err == nil && s.Result.Check != "" {
			err = fmt.Errorf("the server has it: %s, %s", s.Status, s.Result.Output)
		}
		return err
	})
}

func (d *definitions) services(t *testing.T) []string {
	t.Helper()
	list, err := d.consul.AgentServices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s %s:%d", s.ID, s.Name, s.Port))
	}
	slices.Sort(out)
	return out
}

// healthy serves 200 on loopback until it is closed.
func healthy(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("well")) }))
	t.Cleanup(s.Close)
	return s
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testConsulFiles loads definitions as Consul's users have them: those of the
// deck, without interval and name, and others in HCL and JSON.
func (d *definitions) testConsulFiles(t *testing.T) {
	s := healthy(t)
	addr := s.Listener.Addr().String()
	at := func(text string) string { return strings.ReplaceAll(text, "localhost:8080", addr) }
	d.write(t, "1.json", `{"check":{"script":"echo it is well; exit 1"}}`)
	d.write(t, "2.json", at(`{"check":{"url":"http://localhost:8080/health"}}`))
	d.write(t, "3.json", at(`{"check":{"tcp":"localhost:8080"}}`))
	d.write(t, "4.json", at(`{"services": [{"id": "red0", "name": "red", "token": "secret", "port": 6000, "tags": ["a"],
 "checks": [{"CheckID": "red-tcp", "TCP": "localhost:8080", "Interval": "1s"}, {"id": "red-script", "args": ["/bin/true"], "interval": "1s"}]}]}`))
	d.write(t, "5.hcl", at(`service {
  name = "blue"
  port = 7000
  check {
    id = "blue-http"
    http = "http://localhost:8080/"
    interval = "1s"
  }
}
`))
	text, taken := hangUp(t, d.agent)
	if !taken {
		t.Fatalf("Consul's own files are refused: %s", text)
	}
	if want := "4.json:1: service.token"; !strings.Contains(text, want) {
		t.Errorf("the log does not say what is not used, %q: %s", want, text)
	}
	if strings.Contains(text, "secret") {
		t.Errorf("the log holds a token: %s", text)
	}
	var script string
	loop.Await(t, "the server knows the script", func(ctx context.Context) error {
		list, err := d.Client().NodeChecks(ctx, loop.WebOne)
		if err != nil {
			return err
		}
		for _, s := range list.Checks {
			if strings.HasPrefix(s.Result.Check, "script echo ") {
				script = s.Result.Check
				return nil
			}
		}
		return errors.New("it does not")
	})
	if got := d.await(t, script, mesh.HealthWarning); got.Result.Output != "it is well" {
		t.Errorf("the script says %q", got.Result.Output)
	}
	for _, check := range []string{"http " + addr + "/health", "tcp " + addr, "red-tcp", "red-script", "blue-http"} {
		d.await(t, check, mesh.HealthPassing)
	}
	for _, want := range []string{"red0 red:6000", "blue blue:7000"} {
		if got := d.services(t); !slices.Contains(got, want) {
			t.Errorf("Consul has no %q: %q", want, got)
		}
	}
	d.AwaitDNS(t, loop.WebTwo, "a.red.service.yixia", d.NodeAddr(loop.WebOne))
}

// testOthersRun has Consul run one check, and a user's program feed another.
func (d *definitions) testOthersRun(t *testing.T) {
	s := healthy(t)
	d.write(t, "native.hcl", fmt.Sprintf("check \"native\" {\n  http     = %q\n  interval = \"1s\"\n  runner   = \"consul\"\n}\n", s.URL))
	d.write(t, "ttl.json", `{"check":{"ttl":"1h"}}`)
	mustReload(t, d.agent)
	d.AwaitCheck(t, loop.WebOne, "native", mesh.HealthPassing)
	s.Close()
	down := d.AwaitCheck(t, loop.WebOne, "native", mesh.HealthCritical)
	if !strings.Contains(down.Result.Output, "refused") {
		t.Errorf("Consul's check says %q", down.Result.Output)
	}

	const fed = "ttl 1h"
	for _, say := range []struct {
		what, note string
		want       mesh.Health
	}{{"pass", "backup done", mesh.HealthPassing}, {"warn", "backup slow", mesh.HealthWarning}, {"fail", "no backup", mesh.HealthCritical}} {
		loop.Await(t, "Consul takes it", func(ctx context.Context) error {
			return feed(ctx, d.Consul().Node(loop.WebOne).HTTPAddr(), say.what, fed, say.note)
		})
		got := d.AwaitCheck(t, loop.WebOne, fed, say.want)
		if got.Result.Output != say.note {
			t.Errorf("it says %q, want %q", got.Result.Output, say.note)
		}
	}
}

// feed speaks to Consul's own API, as a user's program does.
func feed(ctx context.Context, consul, what, check, note string) error {
	u := "http://" + consul + "/v1/agent/check/" + what + "/" + url.PathEscape(check) + "?note=" + url.QueryEscape(note)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return errors.Join(err, res.Body.Close())
}

// testReload adds, changes and removes a service and a check.
func (d *definitions) testReload(t *testing.T) {
	good, bad := healthy(t).Listener.Addr().String(), closedPort(t)
	def := func(port int, tcp string) string {
		return fmt.Sprintf("service \"extra\" {\n  port = %d\n\n  check \"extra-tcp\" {\n    tcp      = %q\n    interval = \"1s\"\n  }\n}\n", port, tcp)
	}
	addr := d.NodeAddr(loop.WebOne)
	const name = "extra.service.yixia"

	d.write(t, "extra.hcl", def(1001, good))
	mustReload(t, d.agent)
	d.await(t, "extra-tcp", mesh.HealthPassing)
	d.AwaitDNS(t, loop.WebTwo, name, addr)

	d.write(t, "extra.hcl", def(1002, bad))
	mustReload(t, d.agent)
	down := d.await(t, "extra-tcp", mesh.HealthCritical)
	if !strings.Contains(down.Result.Output, bad) || !strings.Contains(down.Result.Output, "connection refused") {
		t.Errorf("the check says %q", down.Result.Output)
	}
	if got := d.services(t); !slices.Contains(got, "extra extra:1002") {
		t.Errorf("Consul has %q", got)
	}
	d.AwaitDNS(t, loop.WebTwo, name)

	d.remove(t, "extra.hcl")
	mustReload(t, d.agent)
	d.awaitGone(t, "extra-tcp")
	loop.Await(t, "the service is gone", func(context.Context) error {
		if got := d.services(t); slices.Contains(got, "extra extra:1002") {
			return fmt.Errorf("Consul has %q", got)
		}
		return nil
	})
	d.AwaitCheck(t, loop.WebOne, "web", mesh.HealthPassing)
}

// testRefused writes files that make no sense: each is told with its place,
// and everything stays as it was.
func (d *definitions) testRefused(t *testing.T) {
	mustReload(t, d.agent) // the files of the tests before are gone.
	before := d.services(t)
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"one id twice": {
			"service \"a\" {\n  id = \"one\"\n}\nservice \"b\" {\n  id = \"one\"\n}\n",
			[]string{"bad.hcl:4: ", `"one"`, "bad.hcl:1"},
		},
		"the id of another file": {`service "web" {}`, []string{"web.hcl:1: ", `"web"`, "bad.hcl:1"}},
		"no interval":            {"check \"c\" {\n  tcp = \"localhost:1\"\n  interval = \"0s\"\n}\n", []string{"bad.hcl:3: check.interval", "200ms"}},
		"an unknown key":         {"check \"c\" {\n  tcpp = \"localhost:1\"\n}\n", []string{`bad.hcl:2: unknown key "tcpp"`, `"tcp"`}},
		"no container":           {"check {\n  docker { name = \"mem-util\" }\n}\n", []string{"bad.hcl:2: check.docker: the check names no container", "docker"}},
		"gRPC":                   {`check "g" { grpc = "127.0.0.1:12345" }`, []string{"bad.hcl:1: check.grpc", "grpc_health_probe"}},
		"asks nothing":           {`check "c" {}`, []string{"bad.hcl:1: ", "script"}},
		"a wrong port":           {`service "s" { port = 70000 }`, []string{"bad.hcl:1: service.port", "65535"}},
		"no HCL":                 {"check \"c\" {\n  tcp = \n}\n", []string{"bad.hcl:2"}},
		"an open block":          {"check \"c\" {", []string{"bad.hcl:1"}},
		"a rule":                 {`rule "r" { check = "web" }`, []string{"bad.hcl:1: ", "rule"}},
	} {
		t.Run(name, func(t *testing.T) {
			d.write(t, "bad.hcl", tt.text)
			d.write(t, "good.hcl", "service \"beside\" {}\n")
			text, taken := hangUp(t, d.agent)
			if taken {
				t.Error("it was taken over")
			}
			for _, w := range tt.want {
				if !strings.Contains(text, w) {
					t.Errorf("the log does not say %q:\n%s", w, text)
				}
			}
			if got := d.services(t); !slices.Equal(got, before) {
				t.Errorf("the services are %q, want %q", got, before)
			}
		})
	}
	d.await(t, "web", mesh.HealthPassing)
	mustReload(t, d.agent)
}

// testRules is the server's side: a rule for a check that nobody has is a
// problem that is shown, a policy for a script that is not there is refused,
// by a reload and by a start.
func (d *definitions) testRules(t *testing.T) {
	file := filepath.Join(d.Server().Dir(), "rules.d", "more.hcl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rule \"phantom\" {\n  check = \"nosuch\"\n}\n")
	mustReload(t, d.Server())
	got := cli(t, d.Rig, "alert", "rules")
	if want := "problem: rule phantom: no node has a check nosuch\n"; got.stderr != want || !strings.Contains(got.stdout, "\nphantom ") {
		t.Errorf("alert rules prints %+v, want the problem %q", got, want)
	}
	loop.Await(t, "the server's log warns of the rule", func(context.Context) error {
		b, err := os.ReadFile(d.Server().LogPath())
		if err == nil && !strings.Contains(string(b), "rule phantom: no node has a check nosuch") {
			err = errors.New("it does not")
		}
		return err
	})

	const bad = "rule \"other\" {\n  check = \"web\"\n}\n\npolicy \"mend\" {\n  rule   = \"other\"\n  script = \"nosuch\"\n}\n"
	words := []string{"more.hcl:5: there is no script", "mend", "scripts/nosuch/run"}
	write(bad)
	text, taken := hangUp(t, d.Server())
	if taken {
		t.Error("a policy without a script was taken over")
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the log of the reload does not say %q:\n%s", w, text)
		}
	}
	rules, err := d.Client().Rules(t.Context())
	if err != nil || !slices.ContainsFunc(rules.Rules, func(r mesh.Rule) bool { return r.Name == "phantom" }) {
		t.Errorf("the rules before are not in force: %+v, %v", rules.Rules, err)
	}
	for _, r := range rules.Rules {
		if r.Name == "other" {
			t.Error("half of what was refused is in force")
		}
	}

	d.Server().Stop()
	if err := d.Server().Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Server().Done():
	case <-t.Context().Done():
	}
	b, err := os.ReadFile(d.Server().LogPath())
	if err != nil {
		t.Fatal(err)
	}
	last := string(b[max(0, strings.LastIndex(string(b), "alps: ")):])
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("the server that does not start does not say %q:\n%s", w, last)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := d.Server().Start(); err != nil {
		t.Fatal(err)
	}
	d.AwaitCheck(t, loop.WebOne, "web", mesh.HealthPassing)
}
