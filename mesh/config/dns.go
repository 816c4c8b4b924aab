package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// DNSForwardNone as the only word of DNS.Forward refuses what is not ours.
const DNSForwardNone = "none"

// DNS says which names an agent answers.
type DNS struct {
	// The address that names are answered on, by UDP and TCP. Empty means that
	// the agent answers none. Port 8600 is Consul's own.
	Listen string `key:"listen"`

	// The domains that are ours, as in web.service.alps. With ["consul"]
	// clients of Consul's own DNS need no change; several may be given.
	Domains []string `key:"domains"`

	// Whom to ask for all other names, as address:port, the first that
	// answers. Empty means the servers in resolv_conf; ["none"] refuses the
	// question.
	Forward []string `key:"forward"`

	// How long a client may keep an answer.
	TTL time.Duration `key:"ttl" min:"0s" max:"1h"`

	// How long a client may keep that there is no such name.
	NegativeTTL time.Duration `key:"negative_ttl" min:"0s" max:"1h"`

	// Whether the bare name of a node is answered too, as /etc/hosts would:
	// bj-e-hadoop01-11-203 without any domain.
	BareNames bool `key:"bare_names"`

	// The file in which the machine's DNS servers stand. It is read when
	// forward is empty.
	ResolvConf string `key:"resolv_conf"`
}

func defaultDNS() DNS {
	return DNS{
		// Not consul: whoever still asks Consul itself gets what Consul says.
		Domains: []string{"alps"},
		// Failover within seconds, and a busy client asks no more than once in
		// five: the answer comes from memory on the same machine.
		TTL: 5 * time.Second,
		// A node that joins is looked for at once; a name that is asked for
		// too early must not stay away for long.
		NegativeTTL: 2 * time.Second,
		// Hadoop knows its nodes by their bare names.
		BareNames: true,
		// Where Linux has it.
		ResolvConf: "/etc/resolv.conf",
	}
}

func (d *DNS) check(r *report) {
	if d.Listen != "" {
		if err := checkListen(d.Listen, 53); err != nil {
			r.addf("dns.listen", "%v", err)
		}
	}
	if len(d.Domains) == 0 {
		r.addf("dns.domains", "no domain is named: want at least one, such as [\"alps\"]")
	}
	for _, name := range d.Domains {
		if err := checkDomain(name); err != nil {
			r.addf("dns.domains", "%v", err)
		}
	}
	r.distinct("dns.domains", d.Domains, "domain")
	if slices.Equal(d.Forward, []string{DNSForwardNone}) {
		return
	}
	for _, s := range d.Forward {
		// A server by name could only be found by asking itself.
		if a, err := netip.ParseAddrPort(s); err != nil || a.Port() == 0 {
			r.addf("dns.forward", "%q: want address:port, such as 10.0.0.2:53, or none alone", s)
		}
	}
	r.distinct("dns.forward", d.Forward, "server")
}

var domainLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// maxDomain leaves room for a node's name and "node" in the 253 characters of
// a name.
const maxDomain = 128

func checkDomain(s string) error {
	if len(s) > maxDomain {
		return fmt.Errorf("%q has %d characters, at most %d leave room for names in it", s, len(s), maxDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if !domainLabel.MatchString(label) {
			return fmt.Errorf("%q is not a domain: want lower-case letters, digits and inner dashes between dots, such as alps or corp.example", s)
		}
	}
	return nil
}
