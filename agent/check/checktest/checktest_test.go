package checktest_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"alps/agent/check"
	"alps/agent/check/checktest"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConsulInMemory(t *testing.T) {
	checktest.Catalog(t, func(*testing.T) checktest.Subject {
		c := checktest.New()
		return checktest.Subject{Catalog: c, Local: c.Local}
	})
}

func TestConsul(t *testing.T) {
	c := cluster.ForTest(t, cluster.Options{Datacenters: []cluster.Datacenter{{
		Name: "bj-e-01", Nodes: []cluster.NodeSpec{{Name: "bj-e-admin03", Server: true}},
	}}})
	client, err := consul.New(consul.Options{Address: c.Node("bj-e-admin03").HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	t.Run("catalog", func(t *testing.T) {
		checktest.Catalog(t, func(*testing.T) checktest.Subject {
			r := local{client}
			return checktest.Subject{Catalog: r, Local: r.Local}
		})
	})
	t.Run("engine", func(t *testing.T) { testEngine(t, client) })
}

// local is the catalog over a Consul that runs.
type local struct{ c *consul.Client }

func (r local) Register(ctx context.Context, service *mesh.ServiceDef, checks []check.CatalogCheck) error {
	if service == nil {
		for _, k := range checks {
			if err := r.registerCheck(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}
	reg := consul.Registration{
		ID: service.ID, Name: service.Name, Address: service.Address, Port: service.Port, Tags: service.Tags, Meta: service.Meta,
	}
	for _, k := range checks {
		if k.Native {
			reg.Native = append(reg.Native, k.Def)
		} else {
			reg.Checks = append(reg.Checks, ttlOf(k))
		}
	}
	return r.c.RegisterService(ctx, reg)
}

func (r local) registerCheck(ctx context.Context, k check.CatalogCheck) error {
	if k.Native {
		return r.c.RegisterNative(ctx, k.Def)
	}
	return r.c.RegisterCheck(ctx, "", ttlOf(k))
}

func ttlOf(k check.CatalogCheck) consul.TTLCheck {
	return consul.TTLCheck{
		ID: k.Def.ID, Name: k.Def.Name, Notes: k.Def.Notes, TTL: k.TTL, Status: string(k.Initial), DeregisterAfter: k.Def.DeregisterAfter,
	}
}

func (r local) Deregister(ctx context.Context, service, check string) error {
	if service != "" {
		return r.c.DeregisterService(ctx, service)
	}
	return r.c.DeregisterCheck(ctx, check)
}

func (r local) Update(ctx context.Context, id string, status mesh.Health, output string) error {
	return r.c.UpdateTTL(ctx, id, string(status), output)
}

func (r local) Local(ctx context.Context) (map[string]check.LocalCheck, error) {
	list, err := r.c.AgentChecks(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]check.LocalCheck, len(list))
	for _, k := range list {
		all[k.ID] = check.LocalCheck{Status: mesh.Health(k.Status), Output: k.Output}
	}
	return all, nil
}
