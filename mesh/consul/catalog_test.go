package consul

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/consul/cluster"
)

func TestSelfAndDatacenters(t *testing.T) {
	ctx := t.Context()
	got, err := agentClient(t).Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "bj-e-hadoop01-11-203" || got.Datacenter != "bj-e-01" || got.Server || got.Version == "" || got.NodeID == "" {
		t.Errorf("Self of the client = %+v", got)
	}
	if got, err := serverClient(t).Self(ctx); err != nil || !got.Server || got.Name != "bj-e-admin03" {
		t.Errorf("Self of the server = %+v, %v", got, err)
	}
	dcs, err := agentClient(t).Datacenters(ctx)
	if diff := cmp.Diff([]string{"bj-e-01"}, dcs); err != nil || diff != "" {
		t.Errorf("Datacenters: %v (-want +got):\n%s", err, diff)
	}
}

// TestMembersSayWhatConsulSays compares with what the program prints.
func TestMembersSayWhatConsulSays(t *testing.T) {
	cl, ctx := sharedCluster(t), t.Context()
	bin, err := cluster.Find(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, wan := range []bool{false, true} {
		c := serverClient(t)
		args := []string{"members", "-http-addr=" + cl.Node("bj-e-admin03").HTTPAddr()}
		if wan {
			args = append(args, "-wan")
		}
		out, err := exec.CommandContext(ctx, bin, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want [][]string
		for line := range strings.Lines(string(out)) {
			want = append(want, strings.Fields(line))
		}
		want = want[1:] // the heading.
		slices.SortFunc(want, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
		members, err := c.Members(ctx, wan)
		if err != nil {
			t.Fatal(err)
		}
		var got [][]string
		for _, m := range members {
			got = append(got, []string{
				string(m.Name), m.Addr, m.Status, m.Type, m.Build, m.Protocol, m.Datacenter, m.Partition, m.Segment,
			})
			if m.NodeID == "" {
				t.Errorf("%s has no id", m.Name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("members, wan %v (-consul +ours):\n%s", wan, diff)
		}
	}
}

func TestServicesAndChecks(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	const node = mesh.NodeName("bj-e-hadoop01-11-203")
	reg := Registration{
		ID: "dn-1", Name: "datanode", Port: 9866, Tags: []string{"rack-11"}, Meta: map[string]string{"v": "3.3"},
		Checks: []TTLCheck{
			{ID: "dn-1-port", Name: "port", TTL: time.Minute, Notes: "tcp 9866", Status: Passing},
			{ID: "dn-1-disk", Name: "disk", TTL: time.Minute, DeregisterAfter: time.Hour},
		},
	}
	if err := c.RegisterService(ctx, reg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.DeregisterService(t.Context(), reg.ID) }) // most runs have done it.
	addr := sharedCluster(t).Node(string(node)).Addr
	wantService := Service{
		Node: node, ID: "dn-1", Name: "datanode", Address: addr, Port: 9866,
		Tags: []string{"rack-11"}, Meta: map[string]string{"v": "3.3"},
	}
	status := func(passing bool) (string, error) {
		is, _, err := c.HealthService(ctx, "datanode", passing, Query{})
		if err != nil || len(is) != 1 {
			return "", fmt.Errorf("instances %v, %w", is, err)
		}
		return is[0].Status(), nil
	}
	wantStatus := func(want string) {
		t.Helper()
		eventually(t, "the service is "+want, func() error {
			if got, err := status(false); err != nil || got != want {
				return fmt.Errorf("status %q, %w", got, err)
			}
			return nil
		})
	}
	wantStatus(Critical) // one check has said nothing yet.
	if err := c.UpdateTTL(ctx, "dn-1-disk", Warning, "80 % full"); err != nil {
		t.Fatal(err)
	}
	wantStatus(Warning)
	eventually(t, "the check is among those that warn", func() error {
		checks, _, err := c.HealthState(ctx, Warning, Query{})
		if err != nil || len(checks) != 1 {
			return fmt.Errorf("checks %+v, %w", checks, err)
		}
		want := Check{
			Node: node, ID: "dn-1-disk", Name: "disk", Status: Warning, Output: "80 % full", Type: "ttl",
			ServiceID: "dn-1", ServiceName: "datanode", ServiceTags: []string{"rack-11"}, ModifyIndex: checks[0].ModifyIndex,
		}
		if diff := cmp.Diff(want, checks[0]); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	// Registering again keeps what is known of a check that stays, and drops
	// the other.
	reg.Checks = reg.Checks[1:]
	if err := c.RegisterService(ctx, reg); err != nil {
		t.Fatal(err)
	}
	wantStatus(Warning)
	if err := c.UpdateTTL(ctx, "dn-1-disk", Passing, "70 % full"); err != nil {
		t.Fatal(err)
	}
	wantStatus(Passing)
	if got, err := status(true); err != nil || got != Passing {
		t.Errorf("HealthService of what passes = %q, %v", got, err)
	}

	services, _, err := c.Instances(ctx, "datanode", Query{})
	if diff := cmp.Diff([]Service{wantService}, services); err != nil || diff != "" {
		t.Errorf("Instances: %v (-want +got):\n%s", err, diff)
	}
	services, _, err = c.NodeServices(ctx, node, Query{})
	if diff := cmp.Diff([]Service{wantService}, services); err != nil || diff != "" {
		t.Errorf("NodeServices: %v (-want +got):\n%s", err, diff)
	}
	if services, _, err := c.NodeServices(ctx, "nobody", Query{}); err != nil || len(services) != 0 {
		t.Errorf("NodeServices of an unknown node = %v, %v", services, err)
	}
	names, _, err := c.Services(ctx, Query{})
	if diff := cmp.Diff(map[string][]string{"consul": {}, "datanode": {"rack-11"}}, names); err != nil || diff != "" {
		t.Errorf("Services: %v (-want +got):\n%s", err, diff)
	}
	services, err = c.AllInstances(ctx, func(name string) bool { return name == "consul" })
	if diff := cmp.Diff([]Service{wantService}, services); err != nil || diff != "" {
		t.Errorf("AllInstances: %v (-want +got):\n%s", err, diff)
	}
	if services, err = c.AllInstances(ctx, nil); err != nil || len(services) != 2 || services[0].Name != "consul" {
		t.Errorf("AllInstances of all = %v, %v", services, err)
	}
	nodes, _, err := c.Nodes(ctx, Query{})
	if err != nil || len(nodes) != 2 || nodes[1].Name != node || nodes[1].Address != addr || nodes[1].ID == "" {
		t.Errorf("Nodes = %+v, %v", nodes, err)
	}

	if err := c.DeregisterService(ctx, "dn-1"); err != nil {
		t.Error(err)
	}
	wantCode(t, "Deregister of an unknown service", c.DeregisterService(ctx, "dn-1"), mesh.NotFound)
	wantCode(t, "UpdateTTL of a forgotten check", c.UpdateTTL(ctx, "dn-1-disk", Passing, ""), mesh.NotFound)
}

func TestNodeChecks(t *testing.T) {
	c, ctx := agentClient(t), t.Context()
	if err := c.RegisterCheck(ctx, "", TTLCheck{ID: "load", Name: "load", TTL: time.Minute, Status: Passing}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the catalog has the check", func() error {
		checks, _, err := c.HealthState(ctx, Any, Query{})
		if !slices.ContainsFunc(checks, func(k Check) bool { return k.ID == "load" && k.ServiceID == "" && k.Status == Passing }) {
			return fmt.Errorf("checks %+v, %w", checks, err)
		}
		return nil
	})
	if err := c.DeregisterCheck(ctx, "load"); err != nil {
		t.Error(err)
	}
	wantCode(t, "Deregister of an unknown check", c.DeregisterCheck(ctx, "load"), mesh.NotFound)
	err := c.RegisterCheck(ctx, "no-such-service", TTLCheck{ID: "x", Name: "x", TTL: time.Minute})
	if err == nil {
		t.Error("a check of an unknown service was registered")
	}
}

func TestInstanceStatus(t *testing.T) {
	cases := []struct {
		name   string
		checks []string
		want   string
	}{
		{"none", nil, Passing},
		{"all well", []string{Passing, Passing}, Passing},
		{"one warns", []string{Passing, Warning, Passing}, Warning},
		{"one is critical", []string{Warning, Critical, Passing}, Critical},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var i Instance
			for _, s := range c.checks {
				i.Checks = append(i.Checks, Check{Status: s})
			}
			if got := i.Status(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestUnknownDatacenter(t *testing.T) {
	_, _, err := agentClient(t).In("nowhere").Get(t.Context(), "k", Query{})
	if err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
		t.Errorf("Get in a datacenter that is not = %v", err)
	}
}
