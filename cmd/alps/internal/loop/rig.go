package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/mesh/proc"
	v1 "alps/server/api/v1"
)

// Patience is how long anything may take before a test gives up: a machine
// that is starved must not look like a fault.
const Patience = 90 * time.Second

// The nodes of the deck's cluster by what they are for.
const (
	ServerNode = "bj-e-admin03" // Consul's server and the ALPS server.
	Observer   = "bj-e-admin01" // runs no demo service.
	WebOne     = "bj-e-hadoop01-11-203"
	WebTwo     = "bj-e-hadoop01-11-204"
	WebThree   = "bj-e-hadoop01-13-220"
)

// WebNodes run the demo service.
func WebNodes() []string { return []string{WebOne, WebTwo, WebThree} }

// Rules is one rule, one policy and the receiver HOOK. CTL is the demo
// service's control script. FOR is how long the rule waits.
const Rules = `receiver "hook" {
  url = "HOOK"
}

rule "web-down" {
  check    = "web"
  status   = "critical"
  for      = "FOR"
  severity = "critical"
  summary  = "web does not answer"
  notify   = ["hook"]
  owner    = "platform team"
}

policy "restart-web" {
  rule     = "web-down"
  script   = "restart-service"
  args     = ["CTL"]
  mode     = "auto"
  cooldown = "5s"
  verify   = "20s"
}
`

// RulesOnly is Rules without the policy: nobody mends anything.
const RulesOnly = `receiver "hook" {
  url = "HOOK"
}

rule "web-down" {
  check    = "web"
  status   = "critical"
  for      = "FOR"
  severity = "critical"
  summary  = "web does not answer"
  notify   = ["hook"]
}
`

// Options say what to bring up. The zero Options are the deck's cluster with
// the demo service on WebNodes and no rules.
type Options struct {
	Rules string        // with HOOK, CTL and FOR filled in.
	For   time.Duration // what FOR stands for.
	Web   []string      // nil: WebNodes.
	Dev   dev.Options   // what is set here goes into the cluster as it is.
}

// Rig is a running cluster. Its methods may be called from any goroutine.
type Rig struct {
	*dev.Cluster

	Hook *Hook
}

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "alps-loop-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "alps")
	out, err := exec.Command("go", "build", "-o", path, "alps/cmd/alps").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build alps: %w\n%s", err, out)
	}
	return path, nil
})

// Program is alps, built from the tree.
func Program(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CleanUp removes what Program has built. TestMain calls it last.
func CleanUp() error {
	path, err := program()
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Dir(path))
}

// Start brings a cluster up and has it taken down when the test ends. It
// returns when every demo service is known to be well everywhere.
func Start(t testing.TB, o Options) *Rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	r := &Rig{Hook: NewHook(t)}
	do := o.Dev
	do.Alps.Path = Program(t)
	do.Logger = hclog.New(&hclog.LoggerOptions{Name: "dev", Output: os.Stderr, Level: hclog.Error})
	do.Web = o.Web
	if do.Web == nil {
		do.Web = WebNodes()
	}
	if o.Rules != "" {
		do.Rules = func(c *dev.Cluster) string {
			return strings.NewReplacer("HOOK", r.Hook.URL(), "CTL", c.WebControl(), "FOR", o.For.String()).Replace(o.Rules)
		}
	}
	// Not the test's context: the cluster must outlive its cancellation to be
	// taken down in order.
	c, err := dev.Start(context.WithoutCancel(t.Context()), do)
	if err != nil {
		t.Fatal(err)
	}
	r.Cluster = c
	t.Cleanup(func() {
		if t.Failed() {
			r.logTails(t)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	for _, node := range do.Web {
		r.AwaitCheck(t, node, "web", mesh.HealthPassing)
	}
	if len(do.Web) > 0 {
		r.AwaitDNS(t, Observer, "web.service."+dev.Domains()[0], r.WebAddrs()...)
	}
	return r
}

func (r *Rig) logTails(t testing.TB) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(r.Dir(), "*", "server.log"))
	more, _ := filepath.Glob(filepath.Join(r.Dir(), "*", "*", "agent.log"))
	for _, path := range append(logs, more...) {
		t.Logf("the end of %s:\n%s", path, proc.Tail(path, 30))
	}
}

// NodeAddr is the address of a node.
func (r *Rig) NodeAddr(node string) string { return r.consulNode(node).Addr }

func (r *Rig) consulNode(name string) *cluster.Node { return r.Consul().Node(name) }

// WebAddrs are the addresses of the demo services, without those of some nodes.
func (r *Rig) WebAddrs(without ...string) []string {
	var out []string
	for _, w := range r.Webs() {
		if !slices.Contains(without, w.Node) {
			out = append(out, r.NodeAddr(w.Node))
		}
	}
	slices.Sort(out)
	return out
}

// Lookup asks the agent of one node for the addresses of a name, sorted; none
// when there is no such name.
func (r *Rig) Lookup(ctx context.Context, from, name string) ([]string, error) {
	server := dev.DNSAddr(r.consulNode(from))
	res := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	list, err := res.LookupHost(ctx, name+".")
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return nil, nil
	}
	slices.Sort(list)
	return list, err
}

// Await polls until ok says so, and fails the test with why it does not.
func Await(t testing.TB, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait until %s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// AwaitDNS waits until the agent of a node answers a name with exactly these
// addresses.
func (r *Rig) AwaitDNS(t testing.TB, from, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	Await(t, fmt.Sprintf("%s is %v at %s", name, want, from), func(ctx context.Context) error {
		got, err := r.Lookup(ctx, from, name)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it is %v", got)
		}
		return err
	})
}

// Check is how a check of a node is, by the server; the zero CheckState when
// the server knows nothing of it.
func (r *Rig) Check(ctx context.Context, node, check string) (mesh.CheckState, error) {
	list, err := r.Client().NodeChecks(ctx, node)
	if err != nil {
		return mesh.CheckState{}, err
	}
	for _, s := range list.Checks {
		if s.Result.Check == check {
			return s, nil
		}
	}
	return mesh.CheckState{}, nil
}

// AwaitCheck waits until the server holds a check of a node for want.
func (r *Rig) AwaitCheck(t testing.TB, node, check string, want mesh.Health) mesh.CheckState {
	t.Helper()
	var last mesh.CheckState
	Await(t, fmt.Sprintf("%s of %s is %s", check, node, want), func(ctx context.Context) error {
		s, err := r.Check(ctx, node, check)
		if err == nil && s.Status != want {
			err = fmt.Errorf("it is %q: %s", s.Status, s.Result.Output)
		}
		last = s
		return err
	})
	return last
}

// Incidents lists all incidents of a rule, open ones first.
func (r *Rig) Incidents(t testing.TB, rule string) []mesh.Incident {
	t.Helper()
	list, err := r.Client().Incidents(t.Context(), v1.IncidentFilter{Rule: rule, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return list.Incidents
}

// AwaitIncident waits until the newest incident of a rule is as wanted, and
// returns it with its story.
func (r *Rig) AwaitIncident(t testing.TB, rule, what string, ok func(mesh.Incident) bool) mesh.Incident {
	t.Helper()
	var last mesh.Incident
	Await(t, "an incident of "+rule+" is "+what, func(ctx context.Context) error {
		list, err := r.Client().Incidents(ctx, v1.IncidentFilter{Rule: rule, Limit: 1})
		if err != nil {
			return err
		}
		if len(list.Incidents) == 0 {
			return errors.New("there is none")
		}
		last, err = r.Client().Incident(ctx, string(list.Incidents[0].ID))
		if err == nil && !ok(last) {
			err = fmt.Errorf("it is %s: %s", last.Status, Story(last))
		}
		return err
	})
	return last
}

// Story is an incident's timeline in one line, for messages.
func Story(i mesh.Incident) string {
	var b strings.Builder
	for _, e := range i.Timeline {
		fmt.Fprintf(&b, "%s %s; ", e.Kind, e.Text)
	}
	return b.String()
}

// Kinds are the kinds of an incident's events in order.
func Kinds(i mesh.Incident) []mesh.IncidentEventKind {
	var out []mesh.IncidentEventKind
	for _, e := range i.Timeline {
		out = append(out, e.Kind)
	}
	return out
}

// Events is how many user events of a name the Consul agent of a node has
// heard.
func (r *Rig) Events(ctx context.Context, node, name string) (int, error) {
	c, err := consul.New(consul.Options{Address: r.consulNode(node).HTTPAddr()})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	list, _, err := c.Events(ctx, name, consul.Query{})
	return len(list), err
}
