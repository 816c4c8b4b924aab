package agent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"alps/agent"
	"alps/agent/dns"
	"alps/agent/link"
	"alps/mesh"
)

// now is when the statuses of the tests are judged.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// well is the status of an agent that nothing is wrong with.
func well() agent.Status {
	s := agent.Status{PID: 42, Node: "ba856192f4a303db9f2774435660211e", Started: now.Add(-time.Hour)}
	s.Link = link.Status{
		Connected: true, Server: "bj-e-admin03", Addr: "127.0.11.1:8781", Since: now.Add(-90 * time.Second),
		Skew: 20 * time.Millisecond, CertNotAfter: now.Add(20 * 24 * time.Hour),
	}
	s.Exec.Enabled, s.Exec.TrustRoot = true, "a4f993219f27703f"
	s.Exec.LookedAt, s.Exec.LookedBy = now.Add(-40*time.Second), mesh.WokePoll
	return s
}

// TestDiagnose gives an agent one fault at a time: it is found under its
// topic, with its grade and what to do, and nothing else is found.
func TestDiagnose(t *testing.T) {
	away := &mesh.Error{Code: mesh.Unavailable, Message: "server 127.0.11.1:8781: connection refused", Hint: "is it running?"}
	tests := map[string]struct {
		topic string
		grade agent.Grade
		says  string
		hint  string
		fault func(s *agent.Status)
	}{
		"no fault": {"link", agent.Good, "linked to bj-e-admin03 at 127.0.11.1:8781 for 1m30s", "", func(*agent.Status) {}},
		"no link": {
			"link", agent.Bad, "no link for 1m30s: server 127.0.11.1:8781: connection refused", "is it running?",
			func(s *agent.Status) { s.Link.Connected, s.Link.LastError = false, away },
		},
		"no link yet": {
			"link", agent.Warn, "no link yet, trying for 1m30s", "",
			func(s *agent.Status) { s.Link.Connected = false },
		},
		"an error that is over": {
			"link", agent.Good, "linked to", "",
			func(s *agent.Status) { s.Link.LastError = away },
		},
		"Consul does not know the checks": {
			"checks", agent.Bad, "3 run, 2 passing, 1 critical; Consul does not know: permission denied", "agent-policy.hcl",
			func(s *agent.Status) {
				results := []mesh.CheckResult{{Status: mesh.HealthPassing}, {Status: mesh.HealthCritical}, {Status: mesh.HealthPassing}}
				s.Checks = agent.Count(results, errors.New("permission denied"))
			},
		},
		"old names": {
			"dns", agent.Warn, "5 nodes, 2 services, as they were 90 s ago", "",
			func(s *agent.Status) {
				s.Names = &dns.Status{Source: dns.SourceDisk, Nodes: 5, Services: 2, Age: 90, Stale: true}
			},
		},
		"no names yet": {
			"dns", agent.Warn, "by asking Consul", "",
			func(s *agent.Status) { s.Names = &dns.Status{Source: dns.SourceNone} },
		},
		"clock behind": {
			"clock", agent.Bad, "wrong by 2m1s; jobs are refused beyond 2m0s", "chronyc makestep",
			func(s *agent.Status) { s.Link.Skew = -121 * time.Second },
		},
		"clock ahead": {
			"clock", agent.Bad, "wrong by 1h0m0s", "timedatectl",
			func(s *agent.Status) { s.Link.Skew = time.Hour },
		},
		"clock drifts": {
			"clock", agent.Warn, "wrong by 31s", "chronyc",
			func(s *agent.Status) { s.Link.Skew = 31 * time.Second },
		},
		"clock within bounds": {
			"clock", agent.Good, "within 30s of the server's", "",
			func(s *agent.Status) { s.Link.Skew = 30 * time.Second },
		},
		"clock not compared": {
			"clock", agent.Warn, "not compared yet", "",
			func(s *agent.Status) { s.Link.Server, s.Link.Skew = "", 0 },
		},
		"certificate ended": {
			"cert", agent.Bad, "ended 2026-11-21", "enrol again",
			func(s *agent.Status) { s.Link.CertNotAfter = now },
		},
		"certificate not renewed": {
			"cert", agent.Warn, "not renewed: the server refuses", "ask it why",
			func(s *agent.Status) {
				s.Link.CertNotAfter = now.Add(4 * 24 * time.Hour)
				s.Link.RenewError = &mesh.Error{Code: mesh.Denied, Message: "the server refuses", Hint: "ask it why"}
			},
		},
		"certificate not renewed, with time left": {
			"cert", agent.Good, "good until", "",
			func(s *agent.Status) { s.Link.RenewError = away },
		},
		"spool without disk": {
			"spool", agent.Bad, "in memory only: no space left on device", "make room",
			func(s *agent.Status) { s.SpoolDisk = "no space left on device" },
		},
		"spool overrun": {
			"spool", agent.Warn, "7 messages wait for a server; 3 were lost for want of room", "",
			func(s *agent.Status) { s.Link.Spool.Waiting, s.Link.Spool.Dropped = 7, 3 },
		},
		"messages refused": {
			"spool", agent.Warn, "servers refused 2: this server takes no x messages", "same release",
			func(s *agent.Status) {
				s.Link.Refused = 2
				s.Link.LastRefusal = &mesh.Error{Code: mesh.Invalid, Message: "this server takes no x messages", Hint: "run the same release on both"}
			},
		},
		"exec turned off": {
			"exec", agent.Warn, "turned off by the config", `enabled = "auto"`,
			func(s *agent.Status) { s.Exec.Enabled = false },
		},
		"no trust root": {
			"exec", agent.Bad, "no trust root is installed: every job is refused", "root.pub",
			func(s *agent.Status) { s.Exec.TrustRoot = "" },
		},
		"never read": {
			"jobs", agent.Bad, "never read from Consul: permission denied", "its token",
			func(s *agent.Status) { s.Exec.LookedAt, s.Exec.LastError = time.Time{}, "permission denied" },
		},
		"not read for long": {
			"jobs", agent.Bad, "not read from Consul for 3m1s: connection refused", "consul members",
			func(s *agent.Status) {
				s.Exec.LookedAt, s.Exec.LastError = now.Add(-181*time.Second), "connection refused"
			},
		},
		"an error that was mended": {
			"jobs", agent.Good, "looked for 40s ago, by poll", "",
			func(s *agent.Status) { s.Exec.LastError = "connection refused" },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := well()
			tt.fault(&s)
			for _, f := range agent.Diagnose(s, now) {
				switch {
				case f.Topic != tt.topic:
					if f.Grade != agent.Good {
						t.Errorf("%s is %s (%s), want it to be well", f.Topic, f.Grade, f.Text)
					}
				case f.Grade != tt.grade, !strings.Contains(f.Text, tt.says):
					t.Errorf("%s is %s (%s), want %s and %q", f.Topic, f.Grade, f.Text, tt.grade, tt.says)
				case !strings.Contains(f.Hint, tt.hint), tt.hint == "" && f.Hint != "":
					t.Errorf("the hint is %q, want %q", f.Hint, tt.hint)
				}
			}
		})
	}
}

// TestDiagnoseTopics holds the list: each topic once, in the order in which
// one depends on the other.
func TestDiagnoseTopics(t *testing.T) {
	var got []string
	for _, f := range agent.Diagnose(well(), now) {
		got = append(got, f.Topic)
	}
	if got, want := strings.Join(got, " "), "agent link clock cert spool exec jobs checks"; got != want {
		t.Errorf("the topics are %q, want %q", got, want)
	}
}
