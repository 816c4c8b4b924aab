package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// Catalog writes to the local Consul agent. All methods may be called again
// with the same arguments. One goroutine calls them, and gives each a
// deadline. Their errors have a mesh.Code; Unavailable means that Consul is
// away, and everything waits for it.
type Catalog interface {
	// Register makes the agent announce a service with exactly these checks.
	// With a nil service the checks are the node's, and others of the node stay.
	// What a check that stays says is kept.
	Register(ctx context.Context, service *mesh.ServiceDef, checks []CatalogCheck) error
	// Deregister ends what Register began: a service with its checks, or a
	// check of the node. The other one is empty. What is not there is a
	// mesh.NotFound.
	Deregister(ctx context.Context, service, check string) error
	// Update says how a TTL check is: passing, warning or critical. A
	// mesh.NotFound means that Consul has forgotten the check.
	Update(ctx context.Context, check string, status mesh.Health, output string) error
}

// CatalogCheck is a check as Consul is to hold it.
type CatalogCheck struct {
	// Def is the definition. If Native is true Consul runs it, or has it fed by
	// others if it is of kind ttl; else TTL is set and Update says how it is.
	Def    mesh.CheckDef
	Native bool
	TTL    time.Duration
	// Initial is its status until somebody has said one.
	Initial mesh.Health
}

// LocalCheck is what the local Consul agent thinks of one of its checks, in
// Consul's words.
type LocalCheck struct {
	Status mesh.Health
	Output string
}

// Local lists the checks of the local Consul agent by id, those of others
// included. It costs a request to this machine and is called every two seconds
// while there is a check of kind ttl or with runner "consul".
type Local func(ctx context.Context) (map[string]LocalCheck, error)

// Reports takes what is to be delivered to a server. It returns when the
// report is kept; a durable one survives a crash of the machine then. One
// goroutine calls it.
type Reports interface {
	Send(r mesh.CheckReport, durable bool) error
}

// Found is what a probe has found.
type Found struct {
	Status  mesh.Health
	Output  string
	Samples []mesh.Sample
	Disks   []string // that are broken, named as mesh.CheckResult says.
}

// Probes runs a probe of a pack. It may be called from several goroutines. It
// should return soon after ctx ends; one that does not is left alone and its
// check is unknown until it does.
type Probes func(ctx context.Context, probe string, settings map[string]string) Found

const (
	// DefaultConcurrency is how many checks run at once unless told otherwise.
	DefaultConcurrency = 8
	// DefaultSpread is the time over which first runs are spread.
	DefaultSpread = 10 * time.Second
	// ReportEvery is how often results are reported that change nothing.
	ReportEvery = 10 * time.Second
)

// Options is what an Engine is made of. Node, Dir, Catalog and Reports are
// required.
type Options struct {
	Node mesh.NodeID
	// Dir is for what must survive a restart. It is made when it is missing and
	// is the engine's alone.
	Dir     string
	Catalog Catalog
	// Local is required as soon as a check is of kind ttl or run by Consul.
	Local   Local
	Reports Reports
	Probes  Probes // nil: no probe is known.
	// Linked reports whether there is a link to a server. Nil means always.
	Linked func() bool
	// Concurrency bounds how many checks run at once; zero means
	// DefaultConcurrency.
	Concurrency int
	// Spread is over what time first runs are spread, at most the interval of
	// each; zero means DefaultSpread. Shorter suits a handful of nodes.
	Spread time.Duration
	Logger hclog.Logger // nil is silent.
}

func (o *Options) validate() error {
	switch {
	case o.Node == "":
		return errors.New("new check engine: no node id is given")
	case o.Dir == "":
		return errors.New("new check engine: no directory is given")
	case o.Catalog == nil || o.Reports == nil:
		return errors.New("new check engine: Catalog and Reports are both needed")
	case o.Concurrency < 0 || o.Spread < 0:
		return fmt.Errorf("new check engine: concurrency %d or spread %s is negative", o.Concurrency, o.Spread)
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Spread == 0 {
		o.Spread = DefaultSpread
	}
	if o.Linked == nil {
		o.Linked = func() bool { return true }
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return nil
}

// What servers take: a report with one check that is over it is refused whole.
const (
	maxID   = 256
	maxText = 4 << 10 // of a name, or notes.
)

// defaultTimeout bounds a check whose definition does not.
const defaultTimeout = 10 * time.Second

// validateDefinitions looks for what a reader of configuration should have
// refused. The engine takes all of a set of definitions or none.
func (o *Options) validateDefinitions(services []mesh.ServiceDef, checks []mesh.CheckDef) error {
	known := map[string]bool{"": true, mesh.AgentService: true}
	for i := range services {
		s := &services[i]
		if s.ID == "" || s.Name == "" || known[s.ID] {
			return mesh.Errorf(mesh.Invalid, "define service %q: its id is missing, reserved or defined twice%s", s.ID, at(s.Origin))
		}
		known[s.ID] = true
	}
	seen := map[string]bool{mesh.AgentCheck: true, mesh.SerfCheck: true}
	for i := range checks {
		d := &checks[i]
		bad := func(format string, args ...any) error {
			return mesh.Errorf(mesh.Invalid, "define check %q: %s%s", d.ID, fmt.Sprintf(format, args...), at(d.Origin))
		}
		if d.ID == "" || seen[d.ID] {
			return bad("its id is missing, reserved or defined twice")
		}
		seen[d.ID] = true
		if len(d.ID) > maxID || !utf8.ValidString(d.ID) || strings.ContainsFunc(d.ID, unicode.IsControl) {
			return bad("an id is at most %d bytes of plain text", maxID)
		}
		if !known[d.Service] {
			return bad("there is no service %q", d.Service)
		}
		if observed(d) && o.Local == nil {
			return bad("nobody reads what Consul says of it")
		}
		if why := faultOf(d); why != "" {
			return bad("%s", why)
		}
	}
	return nil
}

// faultOf says why a definition cannot be run, empty when it can.
func faultOf(d *mesh.CheckDef) string {
	switch d.Kind {
	case mesh.CheckScript:
		if len(d.Command) == 0 || d.Command[0] == "" {
			return "it has no command"
		}
	case mesh.CheckTTL:
		if d.TTL <= 0 {
			return "it has no ttl"
		}
		return ""
	case mesh.CheckProbe:
		if d.Runner == mesh.RunnerConsul {
			return "Consul cannot run a probe"
		}
	case mesh.CheckTCP, mesh.CheckHTTP:
	default:
		return fmt.Sprintf("kind %q is unknown", d.Kind)
	}
	if d.Interval <= 0 {
		return "it has no interval"
	}
	return ""
}

func at(origin string) string {
	if origin == "" {
		return ""
	}
	return " at " + origin
}

// observed reports whether somebody else runs the check: Consul itself, or
// whoever feeds it.
func observed(d *mesh.CheckDef) bool {
	return d.Kind == mesh.CheckTTL || d.Runner == mesh.RunnerConsul
}
