package consul

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

func TestNativeSaysItInConsulsWords(t *testing.T) {
	base := mesh.CheckDef{ID: "c", Name: "C", Notes: "n", Interval: 10 * time.Second, Timeout: 2 * time.Second, Attempts: 1}
	with := func(f func(*mesh.CheckDef)) mesh.CheckDef { d := base; f(&d); return d }
	tests := map[string]struct {
		def  mesh.CheckDef
		want api.AgentServiceCheck
		code mesh.Code
	}{
		"a script": {
			def: with(func(d *mesh.CheckDef) {
				d.Kind, d.Command, d.Env = mesh.CheckScript, []string{"/bin/check", "-w", "1"}, map[string]string{"B": "2", "A": "1"}
				d.Attempts, d.Initial, d.DeregisterAfter = 3, mesh.HealthPassing, time.Hour
			}),
			want: api.AgentServiceCheck{
				Args: []string{"env", "A=1", "B=2", "/bin/check", "-w", "1"}, Interval: "10s", Timeout: "2s",
				FailuresBeforeCritical: 2, Status: "passing", DeregisterCriticalServiceAfter: "1h0m0s",
			},
		},
		"tcp": {
			def:  with(func(d *mesh.CheckDef) { d.Kind, d.Address = mesh.CheckTCP, "127.0.0.1:22" }),
			want: api.AgentServiceCheck{TCP: "127.0.0.1:22", Interval: "10s", Timeout: "2s"},
		},
		"http": {
			def: with(func(d *mesh.CheckDef) {
				d.Kind, d.URL, d.Method, d.Body, d.TLSSkipVerify = mesh.CheckHTTP, "https://x/h", "POST", "{}", true
				d.Header = map[string][]string{"X-A": {"1", "2"}}
				d.Initial = mesh.HealthUnknown
			}),
			want: api.AgentServiceCheck{
				HTTP: "https://x/h", Method: "POST", Body: "{}", TLSSkipVerify: true, Header: map[string][]string{"X-A": {"1", "2"}},
				Interval: "10s", Timeout: "2s",
			},
		},
		"ttl": {
			def:  with(func(d *mesh.CheckDef) { d.Kind, d.TTL, d.Attempts = mesh.CheckTTL, time.Minute, 2 }),
			want: api.AgentServiceCheck{TTL: "1m0s"},
		},
		"a probe":       {def: with(func(d *mesh.CheckDef) { d.Kind, d.Probe = mesh.CheckProbe, "host.disk" }), code: mesh.Invalid},
		"nothing known": {def: with(func(d *mesh.CheckDef) { d.Kind = "snmp" }), code: mesh.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := native(&tt.def)
			wantCode(t, "native", err, tt.code)
			if err != nil {
				return
			}
			tt.want.CheckID, tt.want.Name, tt.want.Notes = "c", "C", "n"
			if diff := cmp.Diff(&tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("check (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNativeChecks(t *testing.T) {
	cl, ctx := sharedCluster(t), t.Context()
	addr := cl.Node("bj-e-hadoop01-11-203").HTTPAddr()
	c := newClient(t, addr)
	tcp := func(id string) mesh.CheckDef {
		return mesh.CheckDef{ID: id, Name: id, Kind: mesh.CheckTCP, Address: addr, Interval: time.Second, Timeout: time.Second, Attempts: 1}
	}
	web := mesh.CheckDef{
		ID: "native-http", Name: "API", Notes: "of Consul", Kind: mesh.CheckHTTP, URL: "http://" + addr + "/v1/status/leader",
		Header: map[string][]string{"X-Test": {"1"}}, Interval: time.Second, Timeout: time.Second, Attempts: 1,
	}
	reg := Registration{
		ID: "native-1", Name: "native", Port: 80, Tags: []string{"t"}, Meta: map[string]string{"k": "v"},
		Checks: []TTLCheck{{ID: "native-ttl", Name: "ttl", TTL: time.Minute, Status: Passing}},
		Native: []mesh.CheckDef{tcp("native-tcp"), web},
	}
	if err := c.RegisterService(ctx, reg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.DeregisterService(context.WithoutCancel(ctx), "native-1") })
	own := tcp("native-node")
	if err := c.RegisterNative(ctx, own); err != nil {
		t.Fatal(err)
	}
	added := tcp("native-added")
	added.Service = "native-1"
	if err := c.RegisterNative(ctx, added); err != nil {
		t.Fatal(err)
	}
	mine := func() map[string]Check {
		t.Helper()
		list, err := c.AgentChecks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(list, func(a, b Check) int { return strings.Compare(a.ID, b.ID) }) {
			t.Errorf("checks are not sorted: %+v", list)
		}
		out := make(map[string]Check)
		for _, ch := range list {
			out[ch.ID] = ch
		}
		return out
	}
	eventually(t, "Consul runs the checks", func() error {
		for _, id := range []string{"native-ttl", "native-tcp", "native-http", "native-node", "native-added"} {
			if ch := mine()[id]; ch.Status != Passing {
				return mesh.Errorf(mesh.NotFound, "%s is %+v", id, ch)
			}
		}
		return nil
	})
	got := mine()["native-http"]
	got.Output = ""
	want := Check{
		Node: "bj-e-hadoop01-11-203", ID: "native-http", Name: "API", Notes: "of Consul", Status: Passing, Type: "http",
		ServiceID: "native-1", ServiceName: "native",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	services, err := c.AgentServices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(services, func(s Service) bool { return s.ID == "native-1" })
	if i < 0 {
		t.Fatalf("services = %+v, want native-1 among them", services)
	}
	wantService := Service{ID: "native-1", Name: "native", Port: 80, Tags: []string{"t"}, Meta: map[string]string{"k": "v"}}
	if diff := cmp.Diff(wantService, services[i]); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}

	// What is registered again has exactly the new checks.
	reg.Native = reg.Native[:1]
	if err := c.RegisterService(ctx, reg); err != nil {
		t.Fatal(err)
	}
	checks := mine()
	for id, want := range map[string]bool{"native-ttl": true, "native-tcp": true, "native-http": false, "native-added": false, "native-node": true} {
		if _, ok := checks[id]; ok != want {
			t.Errorf("after registering again %s is there: %v, want %v", id, ok, want)
		}
	}
	if err := c.DeregisterCheck(ctx, "native-node"); err != nil {
		t.Error(err)
	}
	bad := tcp("native-bad")
	bad.Kind = mesh.CheckProbe
	wantCode(t, "RegisterNative of a probe", c.RegisterNative(ctx, bad), mesh.Invalid)
}
