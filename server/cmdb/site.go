package cmdb

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// serfCheck is the check by which a catalog tells whether gossip reaches a
// node.
const serfCheck = "serfHealth"

// site is what has been read of one datacenter. Its maps are replaced or
// changed under the CMDB's lock; the slices in them are never changed, so that
// snapshots may share them.
type site struct {
	dc       string
	loaded   bool
	contact  error     // nil: Consul answers.
	awayFrom time.Time // when contact became an error.
	told     bool      // the log has it that Consul is away.

	members  map[mesh.NodeName]mesh.Member // nil in a foreign datacenter.
	nodes    map[mesh.NodeName]CatalogNode
	services Services
	base     map[mesh.NodeName][]mesh.Check          // from AllChecks.
	critical map[mesh.NodeName]map[string]mesh.Check // by check id.
	warning  map[mesh.NodeName]map[string]mesh.Check
	checks   map[mesh.NodeName][]mesh.Check // what the three say together, by check id.
	records  map[mesh.NodeID]stored
	broken   map[mesh.NodeID]error // records that cannot be read.
}

// stored is a decoded document and the digest of what it was decoded from: of
// a shard that has changed, all but one document are as they were.
type stored struct {
	*record
	digest [sha256.Size]byte
}

func newSite(dc string, now time.Time) *site {
	return &site{
		dc: dc, contact: errNotRead, awayFrom: now,
		checks: make(map[mesh.NodeName][]mesh.Check), records: make(map[mesh.NodeID]stored), broken: make(map[mesh.NodeID]error),
	}
}

func (u Members) apply(s *site) bool {
	next := make(map[mesh.NodeName]mesh.Member, len(u))
	for _, m := range u {
		next[m.Name] = m
	}
	changed := s.members == nil || !maps.Equal(s.members, next)
	s.members = next
	return changed
}

func (u CatalogNodes) apply(s *site) bool {
	next := make(map[mesh.NodeName]CatalogNode, len(u))
	for _, n := range u {
		next[n.Name] = n
	}
	s.nodes = next
	return true
}

func (u Services) apply(s *site) bool {
	for _, l := range u {
		slices.SortFunc(l, func(a, b mesh.Service) int { return cmp.Compare(a.ID, b.ID) })
	}
	s.services = u
	return true
}

func (u AllChecks) apply(s *site) bool {
	s.base = make(map[mesh.NodeName][]mesh.Check)
	for _, c := range u {
		s.base[c.Node] = append(s.base[c.Node], c.Check)
	}
	s.checks = make(map[mesh.NodeName][]mesh.Check, len(s.base))
	for node := range s.base {
		s.overlay(node)
	}
	for _, bad := range []map[mesh.NodeName]map[string]mesh.Check{s.critical, s.warning} {
		for node := range bad {
			s.overlay(node)
		}
	}
	return true
}

func (u NodeChecks) apply(s *site) bool {
	if s.base == nil {
		return false // everything is yet to be read.
	}
	if len(u.Checks) == 0 {
		delete(s.base, u.Node)
	} else {
		s.base[u.Node] = u.Checks
	}
	s.overlay(u.Node)
	return true
}

func (u CriticalChecks) apply(s *site) bool { return s.replace(&s.critical, u) }
func (u WarningChecks) apply(s *site) bool  { return s.replace(&s.warning, u) }

// replace puts a new list of bad checks in the place of an old one and works
// out the nodes that either is about.
func (s *site) replace(list *map[mesh.NodeName]map[string]mesh.Check, checks []NodeCheck) bool {
	old := *list
	next := make(map[mesh.NodeName]map[string]mesh.Check)
	for _, c := range checks {
		if next[c.Node] == nil {
			next[c.Node] = make(map[string]mesh.Check)
		}
		next[c.Node][c.ID] = c.Check
	}
	*list = next
	changed := false
	for node := range old {
		if !maps.Equal(old[node], next[node]) {
			s.overlay(node)
			changed = true
		}
	}
	for node := range next {
		if old[node] == nil {
			s.overlay(node)
			changed = true
		}
	}
	return changed
}

// overlay works out the checks of one node. A check that is in neither list of
// bad ones is passing, whatever it was when everything was last read; what it
// said then is no longer true and is left out.
func (s *site) overlay(node mesh.NodeName) {
	bad := make(map[string]mesh.Check, len(s.critical[node])+len(s.warning[node]))
	maps.Copy(bad, s.warning[node])
	maps.Copy(bad, s.critical[node])
	out := make([]mesh.Check, 0, len(s.base[node])+len(bad))
	for _, c := range s.base[node] {
		if b, ok := bad[c.ID]; ok {
			delete(bad, c.ID)
			out = append(out, b)
			continue
		}
		if c.Status == mesh.HealthCritical || c.Status == mesh.HealthWarning {
			c.Status, c.Output = mesh.HealthPassing, ""
		}
		out = append(out, c)
	}
	out = slices.AppendSeq(out, maps.Values(bad))
	if len(out) == 0 {
		delete(s.checks, node)
		return
	}
	slices.SortFunc(out, func(a, b mesh.Check) int { return cmp.Compare(a.ID, b.ID) })
	s.checks[node] = out
}

func (u Documents) apply(s *site) bool {
	changed := false
	seen := make(map[mesh.NodeID]bool, len(u.Docs))
	for _, d := range u.Docs {
		id, ok := parseKey(d.Key)
		if !ok {
			continue
		}
		seen[id] = true
		digest := sha256.Sum256(d.Value)
		if have, ok := s.records[id]; ok && have.digest == digest {
			continue
		}
		changed = true
		r, err := decodeRecord(d.Value)
		if err != nil {
			s.broken[id] = err
			delete(s.records, id)
			continue
		}
		delete(s.broken, id)
		s.records[id] = stored{r, digest}
	}
	gone := func(id mesh.NodeID) bool { return !seen[id] && strings.HasPrefix(RecordKey(id), u.Prefix) }
	before := len(s.records) + len(s.broken)
	maps.DeleteFunc(s.records, func(id mesh.NodeID, _ stored) bool { return gone(id) })
	maps.DeleteFunc(s.broken, func(id mesh.NodeID, _ error) bool { return gone(id) })
	return changed || len(s.records)+len(s.broken) != before
}

func (Loaded) apply(s *site) bool {
	changed := !s.loaded
	s.loaded = true
	return changed
}

func (u Contact) apply(s *site) bool {
	changed := (u.Err == nil) != (s.contact == nil) || errors.Is(s.contact, errNotRead)
	s.contact = u.Err
	return changed
}

// names lists every node that the datacenter's Consul knows.
func (s *site) names() map[mesh.NodeName]bool {
	out := make(map[mesh.NodeName]bool, len(s.nodes))
	for n := range s.nodes {
		out[n] = true
	}
	for n := range s.members {
		out[n] = true
	}
	return out
}

// member returns a node's row of `consul members`. Where there is no gossip to
// read it is put together from the catalog, as far as that goes.
func (s *site) member(name mesh.NodeName) (mesh.Member, bool) {
	if m, ok := s.members[name]; ok {
		return m, true
	}
	n, ok := s.nodes[name]
	if !ok {
		return mesh.Member{}, false
	}
	m := mesh.Member{Name: name, Address: n.Address, DC: s.dc, Type: "client", Build: n.Meta["consul-version"]}
	for _, c := range s.checks[name] {
		if c.ID != serfCheck {
			continue
		}
		m.Status = mesh.MemberAlive
		if c.Status == mesh.HealthCritical {
			m.Status = mesh.MemberFailed
		}
	}
	if m.Status == "" {
		m.Type = "" // registered by hand: no agent of Consul runs there.
	}
	for _, svc := range s.services[name] {
		if svc.ID == "consul" {
			m.Type = "server"
		}
	}
	return m, true
}
