package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/check"
	"alps/checks"
	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
)

// checkCatalog is check.Catalog on the local Consul agent.
type checkCatalog struct{ c *consul.Client }

func (k checkCatalog) Register(ctx context.Context, service *mesh.ServiceDef, list []check.CatalogCheck) error {
	if service == nil {
		var errs []error
		for _, cc := range list {
			if cc.Native {
				errs = append(errs, k.c.RegisterNative(ctx, cc.Def))
			} else {
				errs = append(errs, k.c.RegisterCheck(ctx, "", ttlCheck(cc)))
			}
		}
		return errors.Join(errs...)
	}
	reg := consul.Registration{
		ID: service.ID, Name: service.Name, Address: service.Address, Port: service.Port, Tags: service.Tags, Meta: service.Meta,
	}
	for _, cc := range list {
		if cc.Native {
			reg.Native = append(reg.Native, cc.Def)
		} else {
			reg.Checks = append(reg.Checks, ttlCheck(cc))
		}
	}
	return k.c.RegisterService(ctx, reg)
}

func ttlCheck(cc check.CatalogCheck) consul.TTLCheck {
	return consul.TTLCheck{
		ID: cc.Def.ID, Name: cc.Def.Name, Notes: cc.Def.Notes, TTL: cc.TTL,
		Status: string(cc.Initial), DeregisterAfter: cc.Def.DeregisterAfter,
	}
}

func (k checkCatalog) Deregister(ctx context.Context, service, id string) error {
	if service != "" {
		return k.c.DeregisterService(ctx, service)
	}
	return k.c.DeregisterCheck(ctx, id)
}

func (k checkCatalog) Update(ctx context.Context, id string, status mesh.Health, output string) error {
	return k.c.UpdateTTL(ctx, id, string(status), output)
}

// local is check.Local.
func (k checkCatalog) local(ctx context.Context) (map[string]check.LocalCheck, error) {
	list, err := k.c.AgentChecks(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]check.LocalCheck, len(list))
	for _, c := range list {
		out[c.ID] = check.LocalCheck{Status: mesh.Health(c.Status), Output: c.Output}
	}
	return out, nil
}

// asker is what the pack consul asks.
type asker struct{ c *consul.Client }

func (a asker) Leader(ctx context.Context) (string, error)  { return a.c.Leader(ctx) }
func (a asker) Peers(ctx context.Context) ([]string, error) { return a.c.Peers(ctx) }

func (a asker) Members(ctx context.Context) ([]mesh.Member, error) {
	list, err := a.c.Members(ctx, false)
	out := make([]mesh.Member, len(list))
	for i, m := range list {
		out[i] = mesh.Member{Name: m.Name, Address: m.Addr, Status: mesh.MemberStatus(m.Status), Type: m.Type, Build: m.Build, DC: m.Datacenter}
	}
	return out, err
}

// packTime is how long a start waits for packs to say whether they apply.
const packTime = 2 * time.Second

// packRetry is how often a pack that does not know yet whether it applies is
// asked again.
const packRetry = 30 * time.Second

// definer decides which checks run on the node: those of the files and those
// of the packs that apply, with the thresholds that the node's configuration
// has for them. Its methods may be called from any goroutine.
type definer struct {
	engine *check.Engine
	packs  []checks.Pack
	file   string // keeps the settings for a start without a server.
	log    hclog.Logger

	mu       sync.Mutex
	wanted   []string // packs that the config names.
	files    *config.Checks
	applies  map[string][]mesh.CheckDef // what has something to look at, of the packs that have said so.
	settings []mesh.Setting
}

// newDefiner reads the definitions and the settings of an earlier run.
func newDefiner(cfg *config.Agent, packs []checks.Pack, log hclog.Logger) (*definer, error) {
	d := &definer{packs: packs, file: filepath.Join(cfg.DataDir, "settings.json"), log: log, applies: map[string][]mesh.CheckDef{}}
	files, err := d.load(cfg)
	if err != nil {
		return nil, err
	}
	d.files, d.wanted = files, cfg.Check.Packs
	b, err := os.ReadFile(d.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, mesh.Errorf(mesh.Invalid, "read the node's settings: %w", err)
	case json.Unmarshal(b, &d.settings) != nil:
		log.Warn("the settings of the last run cannot be read; a server sends them again", "file", d.file)
	}
	return d, nil
}

// load reads the definitions that the config names, and says what of Consul's
// own keys ALPS does not use.
func (d *definer) load(cfg *config.Agent) (*config.Checks, error) {
	for _, name := range cfg.Check.Packs {
		if !slices.ContainsFunc(d.packs, func(p checks.Pack) bool { return p.Name == name }) {
			return nil, mesh.Errorf(mesh.Invalid, "check.packs: there is no pack %q", name).WithHint("host, consul and hdfs come with ALPS")
		}
	}
	files, err := config.LoadChecks(cfg.Check.Dir)
	if err != nil {
		return nil, err
	}
	for _, key := range files.Ignored {
		d.log.Warn("a key of Consul's is not used", "key", key)
	}
	return files, nil
}

// run asks packs whether they apply until all have said so or ctx ends.
func (d *definer) run(ctx context.Context) error {
	tick := time.NewTicker(packRetry)
	defer tick.Stop()
	for {
		if d.ask(ctx) {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ask reports whether every pack has said whether it applies.
func (d *definer) ask(ctx context.Context) bool {
	done, changed := true, false
	for _, p := range d.packs {
		d.mu.Lock()
		_, said := d.applies[p.Name]
		d.mu.Unlock()
		if said {
			continue
		}
		here, err := p.Here(ctx)
		if err != nil {
			d.log.Debug("whether a pack applies is not known yet", "pack", p.Name, "error", err)
			done = false
			continue
		}
		d.mu.Lock()
		d.applies[p.Name] = here
		d.mu.Unlock()
		changed = true
	}
	if changed {
		if err := d.define(); err != nil {
			d.log.Error("checks of packs are not run", "error", err)
		}
	}
	return done
}

// define hands the engine what is to be run now.
func (d *definer) define() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.engine.SetDefinitions(d.definitions(d.files, d.wanted))
}

// definitions are the checks of files, and of the packs that are wanted and
// apply. Those of packs belong to the agent's own service: a disk that is full
// must not take the services of its node out of discovery. A check of a file
// replaces one of a pack with its id. The caller holds the lock.
func (d *definer) definitions(files *config.Checks, wanted []string) ([]mesh.ServiceDef, []mesh.CheckDef) {
	setting := func(name string) (string, bool) {
		at := slices.IndexFunc(d.settings, func(s mesh.Setting) bool { return s.Name == name })
		if at < 0 {
			return "", false
		}
		return d.settings[at].Value, true
	}
	list := slices.Clone(files.Checks)
	for _, p := range d.packs {
		if !slices.Contains(wanted, p.Name) {
			continue
		}
		for _, def := range d.applies[p.Name] {
			if slices.ContainsFunc(files.Checks, func(c mesh.CheckDef) bool { return c.ID == def.ID }) {
				continue
			}
			def.Service, def.Initial = mesh.AgentService, mesh.HealthWarning // nobody is critical for having just started.
			list = append(list, def)
		}
	}
	for i := range list {
		list[i] = checks.Override(list[i], setting)
	}
	return files.Services, list
}

// reload reads the definitions again; on an error the old ones stay.
func (d *definer) reload(cfg *config.Agent) error {
	files, err := d.load(cfg)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.engine.SetDefinitions(d.definitions(files, cfg.Check.Packs)); err != nil {
		return err
	}
	d.files, d.wanted = files, cfg.Check.Packs
	return nil
}

// set takes over the node's configuration and keeps it for the next start.
func (d *definer) set(list []mesh.Setting) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.EqualFunc(d.settings, list, func(a, b mesh.Setting) bool { return a.Name == b.Name && a.Value == b.Value }) {
		return nil
	}
	before := d.settings
	d.settings = list
	if err := d.engine.SetDefinitions(d.definitions(d.files, d.wanted)); err != nil {
		d.settings = before
		return mesh.Errorf(mesh.Invalid, "take the configuration over: %w", err)
	}
	tmp := d.file + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return mesh.Errorf(mesh.Internal, "keep the configuration: %w", err)
	}
	return os.Rename(tmp, d.file)
}
