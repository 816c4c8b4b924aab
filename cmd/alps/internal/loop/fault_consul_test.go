package loop_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
)

// frozenFor is longer than every TTL that is at stake: that of the leader's
// session, of the agents' own checks, and of the demo service's check.
const frozenFor = 60 * time.Second

// frozenRules has one rule that is mended and one that is not.
const frozenRules = `receiver "hook" {
  url = "HOOK"
}

rule "web-down" {
  check  = "web"
  target = "name!=` + loop.WebOne + `"
  notify = ["hook"]
}

rule "web-left-alone" {
  check  = "web"
  target = "name=` + loop.WebOne + `"
  notify = ["hook"]
}

policy "restart-web" {
  rule   = "web-down"
  script = "restart-service"
  args   = ["CTL"]
  mode   = "auto"
}
`

// TestConsulFrozen freezes Consul's servers for a minute. Names are answered
// and checks run, and what they find is acted on where Consul is not needed: the
// address of a service that dies meanwhile leaves DNS. One incident says that
// Consul is away; nothing is resolved, nothing is mended without the lock, and
// afterwards the same server goes on.
func TestConsulFrozen(t *testing.T) { //nolint:tparallel // its parts are moments of one story.
	t.Parallel() // it waits for most of its time.
	r := loop.Start(t, loop.Options{Rules: frozenRules})
	const leftAlone, victim = loop.WebOne, loop.WebTwo
	r.Web(leftAlone).Kill()
	r.AwaitIncident(t, "web-left-alone", "open", anyState)
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs(leftAlone)...)
	awaitNotices(t, r, "web-left-alone", "firing")

	names := map[string]watch{}
	for _, node := range []string{loop.Observer, loop.WebThree} {
		r.AwaitDNS(t, node, web, r.WebAddrs(leftAlone)...)
		names[node] = watchDNS(t, r, node, web)
	}
	froze := time.Now()
	consul := r.Consul().Node(loop.ServerNode)
	if err := consul.Freeze(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = consul.Thaw() }) // a frozen one would hold up the end.

	open := r.AwaitIncident(t, ruleConsul, "open", anyState)
	if open.Node != "" || open.Severity != "critical" {
		t.Errorf("the incident is %+v, want a critical one of the site", open)
	}
	awaitNotices(t, r, ruleConsul, "firing")

	r.Web(victim).Kill()
	died := time.Now()
	down := r.AwaitCheck(t, victim, "web", mesh.HealthCritical)
	if down.Source != mesh.SourceLink {
		t.Errorf("web of %s is known from %s, want the link", victim, down.Source)
	}
	for node := range names {
		r.AwaitDNS(t, node, web, r.WebAddrs(leftAlone, victim)...)
	}
	loop.Await(t, "Consul was frozen for long enough, and checks go on", func(ctx context.Context) error {
		if left := frozenFor - time.Since(froze); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		s, err := r.Check(ctx, loop.WebThree, "web")
		if err == nil && (s.Status != mesh.HealthPassing || s.Source != mesh.SourceLink || !s.Received.After(died)) {
			err = fmt.Errorf("web of %s is %s by %s, received %s", loop.WebThree, s.Status, s.Source, s.Received)
		}
		return err
	})
	t.Run("while it is frozen", func(t *testing.T) {
		if list := r.Incidents(t, ""); len(list) != 2 {
			t.Errorf("%d incidents, want those of Consul and of %s: %+v", len(list), leftAlone, list)
		}
		for _, i := range r.Incidents(t, "") {
			if closed(i) {
				t.Errorf("incident %s of %s was closed: nobody can have said that it is over", i.ID, i.Rule)
			}
		}
		if list := runs(t, r, "restart-web"); len(list) != 0 {
			t.Errorf("a policy has decided without the lock: %+v", list)
		}
		if n := jobs(t, r, "restart-web"); n != 0 {
			t.Errorf("%d jobs of the policy, want none without the lock", n)
		}
		if got := kinds(r.Hook.Notices()); len(got) != 2 {
			t.Errorf("notices are %v, want two that fire", got)
		}
	})

	if err := consul.Thaw(); err != nil {
		t.Fatal(err)
	}
	back := r.AwaitIncident(t, ruleConsul, "closed", closed)
	if back.ID != open.ID || back.Reopened != 0 {
		t.Errorf("closed is %s, reopened %d times; want %s and never", back.ID, back.Reopened, open.ID)
	}
	mended := r.AwaitIncident(t, "web-down", "closed", closed)
	if mended.Node != victim || len(r.Incidents(t, "web-down")) != 1 {
		t.Errorf("mended is %+v, want web of %s alone", mended, victim)
	}
	awaitNotices(t, r, ruleConsul, "firing", "resolved")
	awaitNotices(t, r, "web-down", "firing", "resolved")
	for node, w := range names {
		r.AwaitDNS(t, node, web, r.WebAddrs(leftAlone)...)
		w.want(t, node, r.WebAddrs(leftAlone), r.WebAddrs(leftAlone, victim), r.WebAddrs(leftAlone))
	}
	awaitSettled(t, r)
	t.Run("afterwards", func(t *testing.T) {
		if list := r.Incidents(t, ""); len(list) != 3 {
			t.Errorf("%d incidents, want 3: %+v", len(list), list)
		}
		if list := r.Incidents(t, "web-left-alone"); len(list) != 1 || closed(list[0]) {
			t.Errorf("nobody has mended web of %s, and its incidents are %+v", leftAlone, list)
		}
		if got := kinds(r.Hook.Notices()); len(got) != 5 {
			t.Errorf("%d notices, want 5: %v", len(got), got)
		}
		noRepeats(t, r)
		if n := jobs(t, r, "restart-web"); n != 1 {
			t.Errorf("%d jobs of the policy, want 1", n)
		}
		if n := logged(t, r.Server(), "server is ready"); n != 1 {
			t.Errorf("the server began to lead %d times, want once: nobody else led meanwhile", n)
		}
	})
}

// awaitSettled waits until the server has read everything that Consul has to
// say since now, so that what would come of it has come.
func awaitSettled(t *testing.T, r *loop.Rig) {
	t.Helper()
	since := time.Now()
	loop.Await(t, "Consul's word is taken in, and no agent is doubted", func(ctx context.Context) error {
		s, err := r.Client().Status(ctx)
		switch {
		case err != nil:
			return err
		case s.Detail == nil:
			return errors.New("the status has no detail")
		case s.Detail.AsOf.Sub(since) < 15*time.Second: // more than the alerts wait before they believe the catalog again.
			return fmt.Errorf("it is as of %s: %s", s.Detail.AsOf, strings.Join(s.Detail.Problems, "; "))
		}
		return nil
	})
}

// lostSoon is what agents and names outlive is cut short by.
const lostSoon = "alert { agent_lost = \"5s\" }\nzone { node_hold = \"1s\" }\n"

// TestAgentLost kills the agent of a node, and later the whole node. The one is
// a lost agent and no failed service, whose name stays; the other takes the
// node's names along, and says nothing of its agent.
func TestAgentLost(t *testing.T) { //nolint:tparallel // its parts share one cluster, one after the other.
	t.Parallel() // it waits for most of its time.
	r := loop.Start(t, loop.Options{Rules: loop.RulesOnly, For: time.Second, Dev: dev.Options{
		Configure: func(node, hcl string) string {
			if node == "" {
				hcl += lostSoon
			}
			return hcl
		},
	}})
	t.Run("the agent", func(t *testing.T) { agentKilled(t, r, loop.WebTwo) })
	t.Run("the node", func(t *testing.T) { nodeKilled(t, r, loop.WebThree) })
	if len(r.Incidents(t, "web-down")) != 0 {
		t.Errorf("no web was down, and there are %+v", r.Incidents(t, "web-down"))
	}
	noRepeats(t, r)
}

func agentKilled(t *testing.T, r *loop.Rig, victim string) {
	names := watchDNS(t, r, loop.Observer, web)
	r.Agent(victim).Kill()
	open := r.AwaitIncident(t, ruleAgentLost, "open", anyState)
	if string(open.Node) != victim {
		t.Errorf("the incident is about %q, want %s", open.Node, victim)
	}
	lost := r.AwaitCheck(t, victim, "web", mesh.HealthUnknown)
	if !lost.AgentLost {
		t.Errorf("web of %s is unknown, and it is not said that its agent is lost: %+v", victim, lost)
	}
	// In Consul the check of the service expires by and by. That must not
	// withdraw it.
	loop.Await(t, "web has expired in Consul", func(ctx context.Context) error {
		n, err := r.Client().Node(ctx, victim)
		if err != nil {
			return err
		}
		for _, c := range n.Checks {
			if c.ID == "web" && c.Status == mesh.HealthCritical && strings.HasPrefix(c.Output, mesh.TTLExpired) {
				return nil
			}
		}
		return fmt.Errorf("its checks are %+v", n.Checks)
	})
	awaitSettled(t, r)
	if list := r.Incidents(t, ""); len(list) != 1 {
		t.Errorf("%d incidents, want that of the agent alone: %+v", len(list), list)
	}

	if err := r.Agent(victim).Start(); err != nil {
		t.Fatal(err)
	}
	r.AwaitIncident(t, ruleAgentLost, "closed", closed)
	r.AwaitCheck(t, victim, "web", mesh.HealthPassing)
	awaitNotices(t, r, ruleAgentLost, "firing", "resolved")
	names.want(t, loop.Observer, r.WebAddrs())
}

func nodeKilled(t *testing.T, r *loop.Rig, victim string) {
	before := len(r.Incidents(t, ruleAgentLost))
	r.Agent(victim).Kill()
	r.Consul().Node(victim).Kill()
	failed := r.AwaitIncident(t, ruleNodeFailed, "open", anyState)
	if string(failed.Node) != victim {
		t.Errorf("the incident is about %q, want %s", failed.Node, victim)
	}
	for _, from := range []string{loop.ServerNode, loop.Observer, loop.WebOne, loop.WebTwo} {
		r.AwaitDNS(t, from, victim+".node."+dev.Domains()[0])
		r.AwaitDNS(t, from, web, r.WebAddrs(victim)...)
	}
	lost := r.AwaitCheck(t, victim, "web", mesh.HealthUnknown)
	if !lost.AgentLost {
		t.Errorf("web of %s is %+v, want it unknown with its agent", victim, lost)
	}
	awaitSettled(t, r)
	if list := r.Incidents(t, ruleAgentLost); len(list) != before {
		t.Errorf("beside the node its agent is told of: %+v", list)
	}

	if err := r.Consul().Node(victim).Restart(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := r.Agent(victim).Start(); err != nil {
		t.Fatal(err)
	}
	r.AwaitIncident(t, ruleNodeFailed, "closed", closed)
	awaitNotices(t, r, ruleNodeFailed, "firing", "resolved")
	for _, from := range []string{loop.ServerNode, loop.Observer} {
		r.AwaitDNS(t, from, victim+".node."+dev.Domains()[0], r.NodeAddr(victim))
		r.AwaitDNS(t, from, web, r.WebAddrs()...)
	}
}
