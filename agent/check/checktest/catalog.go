package checktest

import (
	"context"
	"net"
	"testing"
	"time"

	"alps/agent/check"
	"alps/mesh"
)

// Subject is an implementation of the catalog and what reads it back.
type Subject struct {
	Catalog check.Catalog
	Local   check.Local
}

// Catalog is the suite for an implementation of check.Catalog. open returns
// one for a Consul agent which may hold other registrations, but none whose id
// begins with "ct-".
func Catalog(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	for name, run := range map[string]func(*rig){
		"a service with checks":              registersAService,
		"again keeps what a check says":      keepsStatus,
		"again without a check removes it":   replacesChecks,
		"checks of the node stand alone":     nodeChecks,
		"a check moves to a service":         movesCheck,
		"what is not there is not found":     notFound,
		"a ttl that others feed":             nativeTTL,
		"Consul runs a check":                nativeTCP,
		"a probe is refused":                 refusesProbe,
		"a service goes with its checks":     deregistersService,
		"text is kept as it was said":        keepsText,
		"what it says again is no new check": repeats,
	} {
		t.Run(name, func(t *testing.T) { run(&rig{t: t, Subject: open(t)}) })
	}
}

// rig is a Subject under test.
type rig struct {
	t *testing.T
	Subject
}

func ttlCheck(id string, initial mesh.Health) check.CatalogCheck {
	return check.CatalogCheck{
		Def: mesh.CheckDef{ID: id, Name: "check " + id, Kind: mesh.CheckScript, Notes: "for a test"},
		TTL: time.Minute, Initial: initial,
	}
}

func (r *rig) register(s *mesh.ServiceDef, checks ...check.CatalogCheck) {
	r.t.Helper()
	if s != nil {
		for i := range checks {
			checks[i].Def.Service = s.ID
		}
		r.t.Cleanup(func() { _ = r.Catalog.Deregister(context.Background(), s.ID, "") })
	} else {
		for _, c := range checks {
			r.t.Cleanup(func() { _ = r.Catalog.Deregister(context.Background(), "", c.Def.ID) })
		}
	}
	if err := r.Catalog.Register(r.t.Context(), s, checks); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) update(id string, h mesh.Health, text string) {
	r.t.Helper()
	if err := r.Catalog.Update(r.t.Context(), id, h, text); err != nil {
		r.t.Fatal(err)
	}
}

// want fails the test unless a check has the status, or with an empty status
// unless it is not there.
func (r *rig) want(id string, h mesh.Health) {
	r.t.Helper()
	all, err := r.Local(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if got := all[id].Status; got != h {
		r.t.Errorf("check %s is %q (%q), want %q", id, got, all[id].Output, h)
	}
}

func (r *rig) wantCode(what string, err error, want mesh.Code) {
	r.t.Helper()
	if got := mesh.CodeOf(err); got != want {
		r.t.Errorf("%s: error %v has code %q, want %q", what, err, got, want)
	}
}

func web(id string) *mesh.ServiceDef {
	return &mesh.ServiceDef{ID: id, Name: "ct-web", Port: 80, Tags: []string{"a"}, Meta: map[string]string{"k": "v"}}
}

func registersAService(r *rig) {
	r.register(web("ct-1"), ttlCheck("ct-1a", mesh.HealthCritical), ttlCheck("ct-1b", mesh.HealthPassing))
	r.want("ct-1a", mesh.HealthCritical)
	r.want("ct-1b", mesh.HealthPassing)
	for _, h := range []mesh.Health{mesh.HealthWarning, mesh.HealthCritical, mesh.HealthPassing} {
		r.update("ct-1a", h, "now "+string(h))
		r.want("ct-1a", h)
	}
}

func keepsStatus(r *rig) {
	s := web("ct-2")
	r.register(s, ttlCheck("ct-2a", mesh.HealthCritical))
	r.update("ct-2a", mesh.HealthWarning, "so so")
	s.Port = 81
	r.register(s, ttlCheck("ct-2a", mesh.HealthCritical), ttlCheck("ct-2b", mesh.HealthCritical))
	r.want("ct-2a", mesh.HealthWarning)
	r.want("ct-2b", mesh.HealthCritical)
}

func replacesChecks(r *rig) {
	r.register(web("ct-3"), ttlCheck("ct-3a", mesh.HealthPassing), ttlCheck("ct-3b", mesh.HealthPassing))
	r.register(web("ct-3x"), ttlCheck("ct-3xa", mesh.HealthPassing))
	r.register(web("ct-3"), ttlCheck("ct-3a", mesh.HealthPassing))
	r.want("ct-3a", mesh.HealthPassing)
	r.want("ct-3b", "")
	r.want("ct-3xa", mesh.HealthPassing)
	r.wantCode("update of a check that is gone", r.Catalog.Update(r.t.Context(), "ct-3b", mesh.HealthPassing, ""), mesh.NotFound)
}

func nodeChecks(r *rig) {
	r.register(nil, ttlCheck("ct-4a", mesh.HealthPassing))
	r.register(nil, ttlCheck("ct-4b", mesh.HealthWarning))
	r.want("ct-4a", mesh.HealthPassing)
	r.want("ct-4b", mesh.HealthWarning)
	if err := r.Catalog.Deregister(r.t.Context(), "", "ct-4a"); err != nil {
		r.t.Fatal(err)
	}
	r.want("ct-4a", "")
	r.want("ct-4b", mesh.HealthWarning)
}

func movesCheck(r *rig) {
	r.register(nil, ttlCheck("ct-5a", mesh.HealthPassing))
	if err := r.Catalog.Deregister(r.t.Context(), "", "ct-5a"); err != nil {
		r.t.Fatal(err)
	}
	r.register(web("ct-5"), ttlCheck("ct-5a", mesh.HealthPassing))
	r.want("ct-5a", mesh.HealthPassing)
	if err := r.Catalog.Deregister(r.t.Context(), "ct-5", ""); err != nil {
		r.t.Fatal(err)
	}
	r.want("ct-5a", "")
}

func notFound(r *rig) {
	ctx := r.t.Context()
	r.wantCode("update", r.Catalog.Update(ctx, "ct-none", mesh.HealthPassing, ""), mesh.NotFound)
	r.wantCode("deregister a service", r.Catalog.Deregister(ctx, "ct-none", ""), mesh.NotFound)
	r.wantCode("deregister a check", r.Catalog.Deregister(ctx, "", "ct-none"), mesh.NotFound)
}

func nativeTTL(r *rig) {
	c := ttlCheck("ct-6a", mesh.HealthCritical)
	c.Native, c.TTL = true, 0
	c.Def.Kind, c.Def.TTL = mesh.CheckTTL, time.Minute
	r.register(web("ct-6"), c)
	r.want("ct-6a", mesh.HealthCritical)
	r.update("ct-6a", mesh.HealthPassing, "fed")
	r.want("ct-6a", mesh.HealthPassing)
}

func nativeTCP(r *rig) {
	var lc net.ListenConfig
	l, err := lc.Listen(r.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	c := check.CatalogCheck{Native: true, Initial: mesh.HealthCritical, Def: mesh.CheckDef{
		ID: "ct-7a", Name: "tcp", Kind: mesh.CheckTCP, Address: l.Addr().String(), Runner: mesh.RunnerConsul,
		Interval: time.Hour, Timeout: time.Second, Attempts: 1,
	}}
	r.register(nil, c)
	r.want("ct-7a", mesh.HealthCritical)
}

func refusesProbe(r *rig) {
	c := check.CatalogCheck{Native: true, Initial: mesh.HealthCritical, Def: mesh.CheckDef{
		ID: "ct-8a", Name: "probe", Kind: mesh.CheckProbe, Probe: "host.disk", Interval: time.Second,
	}}
	r.wantCode("register a probe", r.Catalog.Register(r.t.Context(), nil, []check.CatalogCheck{c}), mesh.Invalid)
}

func deregistersService(r *rig) {
	r.register(web("ct-9"), ttlCheck("ct-9a", mesh.HealthPassing))
	if err := r.Catalog.Deregister(r.t.Context(), "ct-9", ""); err != nil {
		r.t.Fatal(err)
	}
	r.want("ct-9a", "")
	r.wantCode("a second time", r.Catalog.Deregister(r.t.Context(), "ct-9", ""), mesh.NotFound)
}

func keepsText(r *rig) {
	r.register(web("ct-10"), ttlCheck("ct-10a", mesh.HealthPassing))
	const text = "UNKNOWN: 磁盘 \"sda\"\nline two"
	r.update("ct-10a", mesh.HealthWarning, text)
	all, err := r.Local(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if got := all["ct-10a"].Output; got != text {
		r.t.Errorf("output %q, want %q", got, text)
	}
}

func repeats(r *rig) {
	for range 3 {
		r.register(web("ct-11"), ttlCheck("ct-11a", mesh.HealthPassing))
		r.update("ct-11a", mesh.HealthCritical, "down")
	}
	r.want("ct-11a", mesh.HealthCritical)
}
