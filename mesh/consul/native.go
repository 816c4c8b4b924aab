package consul

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// RegisterNative adds a check that Consul's own agent runs to the service
// d.Service of this node, or to the node itself if that is empty. A script
// needs enable_local_script_checks or enable_script_checks in Consul's
// configuration. A probe is mesh.Invalid: Consul knows none.
func (c *Client) RegisterNative(ctx context.Context, d mesh.CheckDef) error {
	check, err := native(&d)
	if err != nil {
		return err
	}
	return c.registerCheck(ctx, d.Service, check)
}

// native says a check in Consul's words.
func native(d *mesh.CheckDef) (*api.AgentServiceCheck, error) {
	s := &api.AgentServiceCheck{
		CheckID: d.ID, Name: d.Name, Notes: d.Notes,
		Interval: duration(d.Interval), Timeout: duration(d.Timeout),
		DeregisterCriticalServiceAfter: duration(d.DeregisterAfter),
	}
	if d.Initial != mesh.HealthUnknown {
		s.Status = string(d.Initial)
	}
	if d.Attempts > 1 {
		// Consul counts the failures that it forgives.
		s.FailuresBeforeCritical = d.Attempts - 1
	}
	switch d.Kind {
	case mesh.CheckScript:
		s.Args = withEnv(d.Env, d.Command)
	case mesh.CheckTCP:
		s.TCP = d.Address
	case mesh.CheckHTTP:
		s.HTTP, s.Method, s.Header, s.Body, s.TLSSkipVerify = d.URL, d.Method, d.Header, d.Body, d.TLSSkipVerify
	case mesh.CheckTTL:
		s.TTL, s.Interval, s.Timeout, s.FailuresBeforeCritical = duration(d.TTL), "", "", 0
	case mesh.CheckProbe:
		return nil, mesh.Errorf(mesh.Invalid, "register check %q: Consul cannot run the probe %q", d.ID, d.Probe).
			WithHint(`probes are run by the ALPS agent: runner = "agent"`)
	default:
		return nil, mesh.Errorf(mesh.Invalid, "register check %q: kind %q is unknown", d.ID, d.Kind)
	}
	return s, nil
}

// withEnv has env set the environment, because a check of Consul has none.
func withEnv(env map[string]string, command []string) []string {
	if len(env) == 0 {
		return command
	}
	args := []string{"env"}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		args = append(args, k+"="+env[k])
	}
	return append(args, command...)
}

// duration prints d as Consul reads it, zero as nothing at all.
func duration(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// AgentChecks returns the checks that are registered with the local agent, by
// id, with their status as the agent itself knows it: what has not reached the
// servers yet as well.
func (c *Client) AgentChecks(ctx context.Context) ([]Check, error) {
	var answer map[string]*api.AgentCheck
	err := c.limited(ctx, "list the agent's checks", func(ctx context.Context) (err error) {
		answer, err = c.api.Agent().ChecksWithFilterOpts("", new(api.QueryOptions).WithContext(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	checks := make([]Check, 0, len(answer))
	for _, id := range slices.Sorted(maps.Keys(answer)) {
		a := answer[id]
		checks = append(checks, Check{
			Node: mesh.NodeName(a.Node), ID: a.CheckID, Name: a.Name, Status: a.Status, Output: a.Output,
			Notes: a.Notes, Type: a.Type, ServiceID: a.ServiceID, ServiceName: a.ServiceName,
		})
	}
	return checks, nil
}

// AgentServices returns the services that are registered with the local
// agent, by id. Node is empty, and so is an Address that is the node's.
func (c *Client) AgentServices(ctx context.Context) ([]Service, error) {
	var answer map[string]*api.AgentService
	err := c.limited(ctx, "list the agent's services", func(ctx context.Context) (err error) {
		answer, err = c.api.Agent().ServicesWithFilterOpts("", new(api.QueryOptions).WithContext(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	services := make([]Service, 0, len(answer))
	for _, id := range slices.Sorted(maps.Keys(answer)) {
		a := answer[id]
		services = append(services, Service{ID: a.ID, Name: a.Service, Address: a.Address, Port: a.Port, Tags: a.Tags, Meta: a.Meta})
	}
	return services, nil
}
