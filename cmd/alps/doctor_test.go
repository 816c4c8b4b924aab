package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alps/agent"
	"alps/cmd/alps/internal/dev"
)

// TestDoctor breaks an agent in one way after the other and asks the doctor
// each time: it names what is broken, says what to do, and exits with 1.
func TestDoctor(t *testing.T) {
	c := ownCluster(t, dev.Options{})
	const node = "bj-e-hadoop01-11-203"
	p := c.Agent(node)

	got := alps(t, c, "doctor", "--config", p.ConfigPath())
	if got.code != exitOK || strings.Contains(got.stdout, "bad ") {
		t.Fatalf("doctor of a healthy agent = %v, want code 0 and nothing bad", got)
	}
	for _, topic := range []string{"config", "consul", "agent", "link", "clock", "cert", "spool", "exec", "jobs"} {
		if !strings.Contains(got.stdout, "ok    "+topic) {
			t.Errorf("doctor of a healthy agent does not say that %s is well:\n%s", topic, got.stdout)
		}
	}
	if f := doctor(t, c, p.ConfigPath(), exitOK)["consul"]; !strings.HasPrefix(f.Text, node+" of bj-e-01 answers") {
		t.Errorf("doctor says of Consul %q, want that %s answers", f.Text, node)
	}

	t.Run("no trust root", func(t *testing.T) {
		root := filepath.Join(p.Dir(), "identity", "root.pub")
		away := root + ".away"
		if err := os.Rename(root, away); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.Rename(away, root); err != nil {
				t.Fatal(err)
			}
		}()
		broken(t, c, p.ConfigPath(), agent.Finding{Topic: "exec", Text: "no trust root is installed: every job is refused", Hint: "root.pub"})
	})

	t.Run("no server", func(t *testing.T) {
		c.Server().Stop()
		p.Stop()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the agent has tried in vain", func() bool {
			s, err := agent.Ask(t.Context(), filepath.Join(p.Dir(), "agent.sock"))
			return err == nil && !s.Link.Connected && s.Link.LastError != nil && strings.Contains(s.Link.LastError.Message, "refused")
		})
		broken(t, c, p.ConfigPath(), agent.Finding{Topic: "link", Text: "connection refused", Hint: "no alps server listens there"})
	})

	t.Run("no agent", func(t *testing.T) {
		p.Stop()
		findings := broken(t, c, p.ConfigPath(), agent.Finding{Topic: "agent", Text: "no agent runs here: there is no socket at ", Hint: "alps agent --config"})
		for topic, says := range map[string]string{"cert": "enrolled in alps-dev as ", "exec": "would trust the root ", "consul": " answers"} {
			if f := findings[topic]; f.Grade != agent.Good || !strings.Contains(f.Text, says) {
				t.Errorf("doctor says of %s %s %q, want %q: the files are well", topic, f.Grade, f.Text, says)
			}
		}
	})

	t.Run("no agent, no trust root", func(t *testing.T) {
		config := variant(t, p, "\nexec { trust_root = \"/nonexistent/root.pub\" }\n")
		broken(t, c, config, agent.Finding{Topic: "exec", Text: "no trust root is installed", Hint: "/nonexistent/root.pub"})
	})

	t.Run("a trust root that is none", func(t *testing.T) {
		root := filepath.Join(t.TempDir(), "root.pub")
		if err := os.WriteFile(root, []byte("alps-pub:nonsense\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config := variant(t, p, "\nexec { trust_root = \""+root+"\" }\n")
		broken(t, c, config, agent.Finding{Topic: "exec", Text: root, Hint: ""})
	})

	t.Run("never enrolled", func(t *testing.T) {
		config := filepath.Join(t.TempDir(), "agent.hcl")
		hcl := "data_dir = \"" + t.TempDir() + "\"\nconsul { address = \"" + c.Consul().Node(node).HTTPAddr() + "\" }\n"
		if err := os.WriteFile(config, []byte(hcl), 0o600); err != nil {
			t.Fatal(err)
		}
		broken(t, c, config, agent.Finding{Topic: "cert", Text: "this node has not enrolled", Hint: "alps join-token create"})
	})

	t.Run("no Consul", func(t *testing.T) {
		c.Consul().Node(node).Kill()
		broken(t, c, p.ConfigPath(), agent.Finding{Topic: "consul", Text: "refused", Hint: ""})
	})

	t.Run("wrong config", func(t *testing.T) {
		config := variant(t, p, "\nlog_levell = \"info\"\n")
		got := alps(t, c, "doctor", "--config", config)
		if want := `unknown key "log_levell" (did you mean "log_level"?)`; got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("doctor = %v, want code %d and %q", got, exitUsage, want)
		}
	})
}

// doctor returns what the doctor finds, by topic.
func doctor(t *testing.T, c *dev.Cluster, config string, code int) map[string]agent.Finding {
	t.Helper()
	got := alps(t, c, "doctor", "--json", "--config", config)
	if got.code != code {
		t.Fatalf("doctor exits with %d, want %d: %v", got.code, code, got)
	}
	var list []agent.Finding
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil {
		t.Fatalf("read what the doctor says: %v: %v", err, got)
	}
	findings := make(map[string]agent.Finding)
	for _, f := range list {
		findings[f.Topic] = f
	}
	return findings
}

// broken asks the doctor, who must find one thing bad, in JSON and in words:
// the topic of want, and what its texts hold.
func broken(t *testing.T, c *dev.Cluster, config string, want agent.Finding) map[string]agent.Finding {
	t.Helper()
	findings := doctor(t, c, config, exitFailed)
	f := findings[want.Topic]
	if f.Grade != agent.Bad || !strings.Contains(f.Text, want.Text) || !strings.Contains(f.Hint, want.Hint) {
		t.Errorf("doctor finds %+v, want it bad and to hold %+v", f, want)
	}
	got := alps(t, c, "doctor", "--config", config)
	if got.code != exitFailed || !strings.Contains(got.stdout, "bad   "+want.Topic) || !strings.Contains(got.stdout, want.Text) {
		t.Errorf("doctor prints %v, want that %s is bad: %q", got, want.Topic, want.Text)
	}
	return findings
}

// variant is the config of a process with more behind it.
func variant(t *testing.T, p *dev.Process, more string) string {
	t.Helper()
	b, err := os.ReadFile(p.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, append(b, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
