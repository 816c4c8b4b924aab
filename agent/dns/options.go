package dns

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/zone"
)

// Fallback looks a single name up at the local Consul agent. It is asked for
// names that the view lacks while no server keeps it. found is false when
// Consul knows that there is no such name; err means that it cannot say. It is
// called from many goroutines, at most once at a time for one name.
type Fallback interface {
	Node(ctx context.Context, dc, name string) (n zone.Node, found bool, err error)
	Service(ctx context.Context, dc, name string) (s zone.Service, found bool, err error)
}

// Reverse says which name a reverse lookup of a node's address gives.
type Reverse string

// The names of a reverse lookup. Where the name that is asked for is not
// known, it is ReverseNode.
const (
	ReverseNode Reverse = ""     // <node>.node.<dc>.<first domain>
	ReverseBare Reverse = "bare" // <node>, as a hosts file would say.
	ReverseFQDN Reverse = "fqdn" // what the machine itself says it is called.
)

// Options is what a Server is made from. Listen, Domains and DC are needed.
type Options struct {
	// Listen is the address for UDP and TCP, as ip:port. Port 0 lets the
	// kernel choose.
	Listen string
	// Domains are those that are answered here and nowhere else, without dot
	// at the end. The first is the one that answers are spelled with where
	// the question does not say.
	Domains []string
	DC      string // the node's own datacenter, for names that do not say.
	// Node is the node's own name: what ns.<domain> stands for. Empty: nothing.
	Node mesh.NodeName
	// TTL is how long an answer may be kept, NegativeTTL how long that there
	// is none, both in whole seconds.
	TTL, NegativeTTL time.Duration
	// Forward is whom to ask for all other names, as ip:port, the best first,
	// on behalf of clients on this machine, in its networks and in private
	// ones. Empty: such questions are refused. See Upstreams.
	Forward   []string
	BareNames bool // nodes are answered by their names alone, too.
	Reverse   Reverse
	// Dir is where the copy of the view lies that a start begins with. Empty:
	// no copy. It is made if it is missing.
	Dir string
	// Fallback is asked while no server is linked, and before one has sent or
	// confirmed the view; nil: nobody is.
	Fallback Fallback
	// Linked reports whether a server is there to keep the view up to date;
	// nil: always.
	Linked func() bool
	Logger hclog.Logger // nil: nothing is logged.

	sockets int           // for tests; 0: one a core.
	tick    time.Duration // for tests; 0: tickInterval.
}

// domain is one of Options.Domains.
type domain struct {
	wire   []byte // in lower case.
	labels []string
}

func (o *Options) validate() (listen netip.AddrPort, domains []domain, err error) {
	listen, err = netip.ParseAddrPort(o.Listen)
	if err != nil {
		return listen, nil, mesh.Errorf(mesh.Invalid, "dns: listen on %q: %w", o.Listen, err).WithHint("write an address and a port, such as 127.0.0.1:8600")
	}
	if len(o.Domains) == 0 {
		return listen, nil, mesh.Errorf(mesh.Invalid, "dns: no domain is named")
	}
	for _, name := range o.Domains {
		d, err := newDomain(name)
		if err != nil {
			return listen, nil, err
		}
		domains = append(domains, d)
	}
	if err := zone.CheckLabel("datacenter", o.DC); err != nil {
		return listen, nil, err
	}
	switch o.Reverse {
	case ReverseNode, ReverseBare, ReverseFQDN:
	default:
		return listen, nil, mesh.Errorf(mesh.Invalid, "dns: reverse names of kind %q are not known", o.Reverse)
	}
	o.DC = strings.ToLower(o.DC)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Linked == nil {
		o.Linked = func() bool { return true }
	}
	if o.tick == 0 {
		o.tick = tickInterval
	}
	return listen, domains, nil
}

func newDomain(name string) (domain, error) {
	if err := zone.CheckName("domain", name); err != nil {
		return domain{}, err
	}
	d := domain{labels: strings.Split(strings.ToLower(name), ".")}
	d.wire, _ = wireName(d.labels...) // CheckName has counted.
	return d, nil
}

func seconds(d time.Duration) uint32 { return uint32(max(d, 0) / time.Second) }
