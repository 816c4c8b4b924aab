package cmdb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
	"alps/mesh/query"
)

const own = "bj-e-01"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// estate makes the input of a build; its methods add to it.
type estate struct{ input }

func newEstate() *estate {
	return &estate{input{
		own: own, sites: map[string]*site{own: newSite(own, noon)}, linked: make(map[mesh.NodeID]time.Time),
		prev: &Snapshot{own: own}, now: noon,
	}}
}

func (e *estate) site(dc string) *site {
	if e.sites[dc] == nil {
		e.sites[dc] = newSite(dc, noon)
	}
	e.sites[dc].loaded, e.sites[dc].contact = true, nil
	return e.sites[dc]
}

func (e *estate) members(names ...mesh.NodeName) *estate {
	var l Members
	for i, n := range names {
		l = append(l, mesh.Member{Name: n, Address: fmt.Sprintf("10.0.0.%d", i+1), Status: mesh.MemberAlive, Type: "client"})
	}
	l.apply(e.site(own))
	return e
}

// enrol adds an agent that enrolled at minute m and, unless name is empty,
// has sent facts a minute later.
func (e *estate) enrol(id mesh.NodeID, m int, name mesh.NodeName, machine string) *estate {
	at := noon.Add(time.Duration(m) * time.Minute)
	e.roster = append(e.roster, Enrolment{ID: id, EnrolledAt: at})
	if name != "" {
		r := &record{At: at.Add(time.Minute), Facts: mesh.Facts{
			Name: name, DC: own, MachineID: machine, Addresses: []mesh.Interface{{Name: "eth0", Addresses: []string{"10.9.9.9/24"}}},
		}}
		e.site(own).records[id] = stored{record: r}
	}
	return e
}

// enrolAs adds an agent that gave a name when it enrolled and nothing since.
func (e *estate) enrolAs(id mesh.NodeID, name mesh.NodeName) *estate {
	e.roster = append(e.roster, Enrolment{ID: id, Name: name, EnrolledAt: noon})
	return e
}

func (e *estate) link(ids ...mesh.NodeID) *estate {
	for _, id := range ids {
		e.linked[id] = noon
	}
	return e
}

func (e *estate) unlink(id mesh.NodeID) *estate { delete(e.linked, id); return e }

func (e *estate) revoke(id mesh.NodeID) *estate {
	for i := range e.roster {
		if e.roster[i].ID == id {
			e.roster[i].Revoked = true
		}
	}
	return e
}

// build makes the next snapshot of the estate.
func (e *estate) build() *Snapshot {
	s := build(e.input)
	e.prev = s
	return s
}

// rows shows a snapshot's nodes as "name id agent".
func rows(s *Snapshot) []string {
	out := []string{}
	for _, n := range s.Nodes() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %.1s %s", n.Name, n.ID, n.Agent)))
	}
	return out
}

func kinds(s *Snapshot) []string {
	out := []string{}
	for _, f := range s.Findings() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", f.Kind, f.Node)))
	}
	return out
}

func TestBuild(t *testing.T) {
	const name = mesh.NodeName("bj-e-hadoop01-11-203")
	rival := func(d byte) string { return string(name) + "~" + strings.Repeat(string(d), 8) }
	tests := map[string]struct {
		estate   *estate
		rows     []string
		findings []string
	}{
		"nothing": {newEstate().members(), []string{}, []string{}},
		"members without agents": {
			newEstate().members("bj-e-admin10", "bj-e-admin9"),
			[]string{"bj-e-admin9  none", "bj-e-admin10  none"},
			[]string{},
		},
		"a member and its agent": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1").link(id('a')),
			[]string{string(name) + " a linked"},
			[]string{},
		},
		"an agent that has not connected": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1"),
			[]string{string(name) + " a lost"},
			[]string{},
		},
		"an agent that Consul does not know": {
			newEstate().members().enrol(id('a'), 0, name, "m1").link(id('a')),
			[]string{string(name) + " a linked"},
			[]string{},
		},
		"an agent that enrolled a minute ago and has not spoken": {
			newEstate().members().enrol(id('a'), -1, "", ""), []string{}, []string{},
		},
		"agents that have long been silent": {
			newEstate().members().enrol(id('a'), -5, "", "").enrol(id('b'), -5, "", "").revoke(id('b')),
			[]string{},
			[]string{"silent"},
		},
		"an agent that gave its name when it enrolled": {
			newEstate().members(name).enrolAs(id('a'), name),
			[]string{string(name) + " a lost"},
			[]string{},
		},
		"a revoked agent on a member": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1").revoke(id('a')),
			[]string{string(name) + " a revoked"},
			[]string{},
		},
		"a revoked agent that is history": {
			newEstate().members().enrol(id('a'), 0, name, "m1").revoke(id('a')),
			[]string{},
			[]string{},
		},
		"a revoked agent's successor": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1").revoke(id('a')).enrol(id('b'), 5, name, "m1").link(id('b')),
			[]string{string(name) + " b linked"},
			[]string{},
		},
		"two living claimants: the first to enrol holds it": {
			newEstate().members(name).enrol(id('b'), 5, name, "m2").enrol(id('a'), 0, name, "m1").link(id('a'), id('b')),
			[]string{string(name) + " a linked", rival('b') + " b linked"},
			[]string{"name_conflict " + rival('b')},
		},
		"two claimants: the living one holds it": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1").enrol(id('b'), 5, name, "m2").link(id('b')),
			[]string{string(name) + " b linked", rival('a') + " a lost"},
			[]string{"name_conflict " + rival('a')},
		},
		"two silent claimants: the last that was heard holds it": {
			newEstate().members(name).enrol(id('a'), 0, name, "m1").enrol(id('b'), 5, name, "m1"),
			[]string{string(name) + " b lost", rival('a') + " a lost"},
			[]string{"clone", "name_conflict " + rival('a')},
		},
		"three claimants that Consul does not know": {
			newEstate().members().enrol(id('a'), 0, name, "m1").enrol(id('b'), 1, name, "m2").enrol(id('c'), 2, name, "m3").link(id('b'), id('c')),
			[]string{string(name) + " b linked", rival('a') + " a lost", rival('c') + " c linked"},
			[]string{"name_conflict " + rival('a'), "name_conflict " + rival('c')},
		},
		"several agents on one machine": {
			newEstate().members("bj-e-kafka01", "bj-e-kafka02").enrol(id('a'), 0, "bj-e-kafka01", "m1").enrol(id('b'), 1, "bj-e-kafka02", "m1").link(id('a'), id('b')),
			[]string{"bj-e-kafka01 a linked", "bj-e-kafka02 b linked"},
			[]string{"clone"},
		},
		"a name outside of the convention": {
			newEstate().members("web1"),
			[]string{"web1  none"},
			[]string{"naming web1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := tt.estate.build()
			if diff := cmp.Diff(tt.rows, rows(s)); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.findings, kinds(s)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildJoins(t *testing.T) {
	const name = "bj-e-hadoop01-11-203"
	e := newEstate().members(name).enrol(id('a'), 0, name, "m1").link(id('a'))
	s := e.site(own)
	CatalogNodes{{Name: name, Address: "10.0.0.1", Meta: map[string]string{"rack": "r7"}}}.apply(s)
	Services{name: {{ID: "hdfs", Name: "hdfs-datanode", Port: 9866, Tags: []string{"prod"}}}}.apply(s)
	AllChecks{check(name, serfCheck, mesh.HealthPassing)}.apply(s)
	WarningChecks{check(name, "disk", mesh.HealthWarning)}.apply(s)
	s.records[id('a')].Facts.CPUs = 32

	n, ok := e.build().Node(name)
	if !ok {
		t.Fatal("the node is not there")
	}
	for field, want := range map[string]string{
		"name": name, "id": string(id('a')), "dc": own, "address": "10.0.0.1", "member": "alive", "status": "warning", "agent": "linked",
		"site": "bj-e", "role": "hadoop", "cluster": "01", "rack": "11", "number": "203",
		"service": "hdfs-datanode", "tag": "prod", "cpus": "32", "machine_id": "m1", "meta.rack": "r7",
	} {
		if got := n.Field(field); !slices.Equal(got, []string{want}) {
			t.Errorf("field %s = %q, want %q", field, got, want)
		}
	}
	if !n.Since.Equal(noon) || n.FactsAt.IsZero() {
		t.Errorf("since = %v, facts at %v", n.Since, n.FactsAt)
	}
}

func TestBuildStrangers(t *testing.T) {
	e := newEstate().members("bj-e-admin01").enrol(id('a'), 0, "bj-e-admin01", "m1")
	e.roster = nil // KV has the facts; nobody has enrolled.
	e.site(own).broken[id('b')] = errors.New("unpack node record: no gzip")
	s := e.build()
	if diff := cmp.Diff([]string{"bj-e-admin01  none"}, rows(s)); diff != "" {
		t.Errorf("a record in KV made a node of itself (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"stranger", "unreadable"}, kinds(s)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestBuildKeepsNames takes both claimants of a name away one after the other:
// the name must not move when a network breaks, nor back when it heals.
func TestBuildKeepsNames(t *testing.T) {
	const name = "bj-e-hadoop01-11-203"
	e := newEstate().members(name).enrol(id('a'), 0, name, "m1").enrol(id('b'), 5, name, "m2")
	steps := []struct {
		what   string
		do     func()
		holder mesh.NodeID
	}{
		{"both connected", func() { e.link(id('a'), id('b')) }, id('a')},
		{"both gone", func() { e.unlink(id('a')).unlink(id('b')) }, id('a')},
		{"still gone", func() {}, id('a')},
		{"the second is back first", func() { e.link(id('b')) }, id('b')},
		{"and gone again", func() { e.unlink(id('b')) }, id('b')},
		{"both back", func() { e.link(id('a'), id('b')) }, id('a')},
	}
	for _, step := range steps {
		step.do()
		n, _ := e.build().Node(name)
		if n.ID != step.holder {
			t.Errorf("%s: %.8s holds the name, want %.8s", step.what, n.ID, step.holder)
		}
	}
}

func TestBuildSince(t *testing.T) {
	const name = "bj-e-admin01"
	e := newEstate().members(name).enrol(id('a'), 0, name, "m1")
	since := func() time.Time { n, _ := e.build().Node(name); return n.Since }
	if got := since(); !got.IsZero() {
		t.Errorf("since = %v for an agent that was never seen, want zero", got)
	}
	e.link(id('a'))
	if got := since(); !got.Equal(noon) {
		t.Errorf("since = %v when it connected, want %v", got, noon)
	}
	e.unlink(id('a'))
	e.now = noon.Add(time.Minute)
	lost := e.now
	if got := since(); !got.Equal(lost) {
		t.Errorf("since = %v when it was lost, want %v", got, lost)
	}
	e.now = noon.Add(time.Hour)
	if got := since(); !got.Equal(lost) {
		t.Errorf("since = %v an hour later, want still %v", got, lost)
	}
}

func TestBuildSeveralDatacenters(t *testing.T) {
	e := newEstate().members("bj-e-admin01", "web")
	west := e.site("sh-w-01")
	CatalogNodes{{Name: "web", Address: "10.1.0.1"}, {Name: "sh-w-admin01", Address: "10.1.0.2"}}.apply(west)
	west.contact, west.awayFrom = errors.New("no path to datacenter"), noon
	e.sites["gz-s-01"] = newSite("gz-s-01", noon)
	s := e.build()

	want := []string{"bj-e-01/bj-e-admin01", "bj-e-01/web", "sh-w-01/sh-w-admin01", "sh-w-01/web"}
	var got []string
	for _, n := range s.Nodes() {
		got = append(got, n.DC+"/"+string(n.Name))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	for ref, dc := range map[string]string{"web": own, "web.sh-w-01": "sh-w-01", "web.bj-e-01": own, "sh-w-admin01": "sh-w-01"} {
		if n, ok := s.Node(ref); !ok || n.DC != dc {
			t.Errorf("Node(%q) is in %q, %v, want %q", ref, n.DC, ok, dc)
		}
	}
	for _, ref := range []string{"", ".", "web.gz-s-01", "nobody"} {
		if n, ok := s.Node(ref); ok {
			t.Errorf("Node(%q) = %s in %s, want none", ref, n.Name, n.DC)
		}
	}
	dcs := []Datacenter{
		{Name: own, Own: true, Loaded: true, Nodes: 2},
		{Name: "gz-s-01", Away: noon, Error: errNotRead.Error()},
		{Name: "sh-w-01", Loaded: true, Nodes: 2, Away: noon, Error: "no path to datacenter"},
	}
	if diff := cmp.Diff(dcs, s.Datacenters()); diff != "" {
		t.Errorf("datacenters (-want +got):\n%s", diff)
	}
	if m, err := s.Members("sh-w-01"); err != nil || len(m) != 2 || m[0].Name != "sh-w-admin01" {
		t.Errorf("members of sh-w-01 = %v, %v", m, err)
	}
	if m, err := s.Members(""); err != nil || len(m) != 2 || m[0].Name != "bj-e-admin01" {
		t.Errorf("members = %v, %v", m, err)
	}
	if _, err := s.Members("nowhere"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("members of nowhere: %v, want not found", err)
	}
}

// TestBuildMergesNothing makes random estates and wants what must hold in
// each: places are unique, every unrevoked agent that named its node is on
// exactly one, every member is there, and the same input makes the same nodes.
func TestBuildMergesNothing(t *testing.T) {
	names := []mesh.NodeName{"bj-e-admin01", "bj-e-admin02", "bj-e-admin03", ""}
	rapid.Check(t, func(t *rapid.T) {
		e := newEstate()
		members := rapid.SliceOfNDistinct(rapid.SampledFrom(names[:3]), 0, 3, rapid.ID).Draw(t, "members")
		e.members(members...)
		for i := range rapid.IntRange(0, 8).Draw(t, "agents") {
			id := id("0123456789abcdef"[i])
			e.enrol(id, rapid.IntRange(0, 3).Draw(t, "minute"), rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom([]string{"", "m1", "m2"}).Draw(t, "machine"))
			switch rapid.IntRange(0, 3).Draw(t, "state") {
			case 0:
				e.revoke(id)
			case 1, 2:
				e.link(id)
			}
		}
		if rapid.Bool().Draw(t, "followed") {
			e.build()
		}
		s := build(e.input)
		places, agents := make(map[place]int), make(map[mesh.NodeID]int)
		for i := range s.nodes {
			places[placeOf(&s.nodes[i])]++
			if s.nodes[i].ID != "" {
				agents[s.nodes[i].ID]++
			}
		}
		for p, n := range places {
			if n != 1 {
				t.Errorf("%d nodes are called %q", n, p.name)
			}
		}
		for _, a := range e.roster {
			n := agents[a.ID]
			named := e.site(own).records[a.ID].record != nil
			if named && !a.Revoked && n != 1 || n > 1 {
				t.Errorf("agent %.1s (revoked: %v) is on %d nodes", a.ID, a.Revoked, n)
			}
		}
		for _, m := range members {
			if places[place{own, m}] != 1 {
				t.Errorf("member %q is missing", m)
			}
		}
		if diff := cmp.Diff(s.Nodes(), build(e.input).Nodes()); diff != "" {
			t.Errorf("the same input made other nodes (-first +second):\n%s", diff)
		}
	})
}

func parse(tb testing.TB, text string) *query.Expr {
	tb.Helper()
	e, err := query.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// TestListPages walks lists of any length in pages of any length: each node
// is on one page, in order, also when the node that a page ended with is gone.
func TestListPages(t *testing.T) {
	all := parse(t, "all")
	rapid.Check(t, func(t *rapid.T) {
		var names []mesh.NodeName
		for i := range rapid.IntRange(0, 30).Draw(t, "nodes") {
			names = append(names, mesh.NodeName(fmt.Sprintf("bj-e-admin%d", i)))
		}
		s := newEstate().members(names...).build()
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		vanish := rapid.Bool().Draw(t, "vanish")
		var got []mesh.NodeName
		page := Page{Limit: limit}
		for {
			l := s.List(all, page)
			for _, n := range l.Nodes {
				got = append(got, n.Name)
			}
			if l.Next == "" {
				break
			}
			if vanish { // what was shown is gone when the next page is asked for.
				s = newEstate().members(names[len(got):]...).build()
			}
			page.After = l.Next
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	})
}

func TestListLimits(t *testing.T) {
	var names []mesh.NodeName
	for i := range DefaultLimit + 1 {
		names = append(names, mesh.NodeName(fmt.Sprintf("bj-e-admin%d", i)))
	}
	s := newEstate().members(names...).build()
	if l := s.List(parse(t, "all"), Page{}); len(l.Nodes) != DefaultLimit || l.Total != DefaultLimit+1 || l.Next == "" {
		t.Errorf("the zero page has %d of %d nodes, next %q", len(l.Nodes), l.Total, l.Next)
	}
	if l := s.List(parse(t, "name=bj-e-admin7"), Page{}); len(l.Nodes) != 1 || l.Total != 1 || l.Next != "" {
		t.Errorf("a list of one: %+v", l)
	}
	if l := s.List(parse(t, "all"), Page{After: "nonsense"}); len(l.Nodes) != DefaultLimit {
		t.Errorf("after nonsense come %d nodes, want the first page", len(l.Nodes))
	}
}

// BenchmarkBuild is one rebuild: 5,000 nodes with an agent, three services and
// five checks each.
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := large(n)
			e.build()
			b.ResetTimer()
			for b.Loop() {
				e.build()
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	s := large(5000).build()
	expr := parse(b, "role=hadoop cluster=01 status!=critical mem_gb>64")
	b.ResetTimer()
	for b.Loop() {
		if got := s.Match(expr); len(got) != 5000 {
			b.Fatal(len(got))
		}
	}
}

func large(n int) *estate {
	e := newEstate()
	var (
		names    []mesh.NodeName
		nodes    CatalogNodes
		checks   AllChecks
		services = make(Services)
	)
	for i := range n {
		name := mesh.NodeName(fmt.Sprintf("bj-e-hadoop01-%d-%d", 10+i/200, 10+i%200))
		names = append(names, name)
		nodes = append(nodes, CatalogNode{Name: name, Address: "10.0.0.1"})
		for _, c := range []string{serfCheck, "disk", "load", "hdfs", "yarn"} {
			checks = append(checks, check(name, c, mesh.HealthPassing))
		}
		services[name] = []mesh.Service{{ID: "hdfs", Name: "hdfs-datanode"}, {ID: "yarn", Name: "yarn-nodemanager"}, {ID: "x", Name: "x"}}
		id := mesh.NodeID(fmt.Sprintf("%032x", i))
		e.enrol(id, i, name, string(id)).link(id)
		e.site(own).records[id].Facts.Memory = 256 << 30
	}
	e.members(names...)
	for _, u := range []Update{nodes, services, checks} {
		u.apply(e.site(own))
	}
	return e
}

// TestOneHost tells several agents on one machine from a machine that was
// cloned: a clone has cards of its own and was booted by itself.
func TestOneHost(t *testing.T) {
	with := func(mac string, boot int64) *agent {
		a := &agent{record: &record{Facts: mesh.Facts{BootTime: boot}}}
		if mac != "" {
			a.record.Facts.Addresses = []mesh.Interface{{Name: "lo"}, {Name: "eth0", MAC: mac}}
		}
		return a
	}
	tests := map[string]struct {
		agents []*agent
		want   bool
	}{
		"one machine":                       {[]*agent{with("02:aa", 1000), with("02:aa", 1000), with("02:aa", 1000)}, true},
		"one machine, the clock was set":    {[]*agent{with("02:aa", 1000), with("02:aa", 1059)}, true},
		"a clone":                           {[]*agent{with("02:aa", 1000), with("02:bb", 5000)}, false},
		"a clone with the same card":        {[]*agent{with("02:aa", 1000), with("02:aa", 5000)}, false},
		"a clone that was booted with it":   {[]*agent{with("02:aa", 1000), with("02:bb", 1000)}, false},
		"machines that say nothing of it":   {[]*agent{with("", 0), with("", 0)}, false},
		"a clone beside two on one machine": {[]*agent{with("02:aa", 1000), with("02:aa", 1000), with("02:bb", 1000)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := oneHost(tt.agents); got != tt.want {
				t.Errorf("oneHost = %v, want %v", got, tt.want)
			}
		})
	}
}
