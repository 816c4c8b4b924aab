package zone

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
	"alps/mesh/frame"
)

var built = time.UnixMilli(1_800_000_000_123).UTC()

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var compare = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func build(t testing.TB, nodes []Node, services ...Service) *Zone {
	t.Helper()
	z, err := Build(7, built, nodes, services)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestEntriesComeBack(t *testing.T) {
	nodes := []Node{
		{DC: "bj-e-01", Name: "plain", Addresses: []netip.Addr{addr("10.0.0.1")}},
		{DC: "bj-e-01", Name: "Mixed.Case", FQDN: "mixed.example.com", Addresses: []netip.Addr{addr("10.0.0.2"), addr("fd00::2")}},
		{DC: "dc2", Name: "bare"},
	}
	service := Service{DC: "bj-e-01", Name: "Web_1", Instances: []Instance{
		{Node: "Mixed.Case", Address: addr("10.0.0.2"), Port: 80, Weight: 1, Tags: []string{"a", "b.c"}},
		{Node: "Mixed.Case", ID: "web-2", Address: addr("fd00::9"), Own: true, Port: 65535, Weight: 65535},
		{Node: "plain", Host: "db.example.com", Port: 0, Weight: 1, Tags: []string{"a", "b.c"}},
	}}
	z := build(t, nodes, service, Service{DC: "dc2", Name: "none"})
	for _, want := range nodes {
		got, ok := z.Node(strings.ToUpper(want.DC), strings.ToUpper(want.Name))
		if d := cmp.Diff(want, got, compare); !ok || d != "" {
			t.Errorf("node %s: found %v: %s", want.Name, ok, d)
		}
	}
	got, ok := z.Service("bj-e-01", "web_1")
	if d := cmp.Diff(service, got, compare); !ok || d != "" {
		t.Errorf("service: found %v: %s", ok, d)
	}
	if s, ok := z.Service("dc2", "NONE"); !ok || len(s.Instances) != 0 {
		t.Errorf("a service without instances = %+v, %v", s, ok)
	}
	for _, name := range []string{"nobody", "plain/1", "", "../plain"} {
		if n, ok := z.Node("bj-e-01", name); ok {
			t.Errorf("node %q = %+v", name, n)
		}
	}
	if got, want := z.DCs(), []string{"bj-e-01", "dc2"}; !slices.Equal(got, want) {
		t.Errorf("DCs = %q, want %q", got, want)
	}
	if z.Nodes() != 3 || z.Services() != 2 || z.Serial() != 7 || !z.Built().Equal(built) {
		t.Errorf("%d nodes, %d services, serial %d, built %v", z.Nodes(), z.Services(), z.Serial(), z.Built())
	}
}

func TestByAddress(t *testing.T) {
	z := build(t, []Node{
		{DC: "dc1", Name: "b", Addresses: []netip.Addr{addr("10.0.0.1")}},
		{DC: "dc1", Name: "a", Addresses: []netip.Addr{addr("10.0.0.1"), addr("fd00::1")}},
		{DC: "dc2", Name: "z", Addresses: []netip.Addr{addr("10.0.0.1")}},
	}, Service{DC: "dc1", Name: "vip", Instances: []Instance{
		{Node: "a", Address: addr("10.9.9.9"), Own: true},
		{Node: "b", Address: addr("10.0.0.1"), Own: true},
		{Node: "b", ID: "x", Address: addr("10.8.8.8")},
	}})
	for _, tc := range []struct{ addr, dc, want string }{
		{"10.0.0.1", "dc1", "n/dc1/a"},
		{"10.0.0.1", "dc2", "n/dc2/z"},
		{"10.0.0.1", "", "n/dc1/a"},
		{"fd00::1", "dc2", "n/dc1/a"},
		{"::ffff:10.0.0.1", "dc1", "n/dc1/a"},
		{"10.9.9.9", "dc1", "s/dc1/vip"},
		{"10.8.8.8", "dc1", ""},
		{"10.0.0.2", "dc1", ""},
	} {
		got, ok := z.ByAddress(addr(tc.addr), tc.dc)
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("ByAddress(%s, %q) = %q, %v, want %q", tc.addr, tc.dc, got, ok, tc.want)
		}
	}
	z = z.Apply(Update{Drop: []string{"n/dc1/a", "n/dc2/z", "s/dc1/vip", "n/dc1/never"}})
	if got, _ := z.ByAddress(addr("10.0.0.1"), "dc2"); got != "n/dc1/b" {
		t.Errorf("after others have gone the address is of %q, want n/dc1/b", got)
	}
	if got, ok := z.ByAddress(addr("10.9.9.9"), "dc1"); ok {
		t.Errorf("an address of a service that has gone is of %q", got)
	}
}

func TestInvalidIsLeftOut(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, n := range map[string]Node{
		"no datacenter":    {Name: "a"},
		"dotted dc":        {DC: "a.b", Name: "a"},
		"no name":          {DC: "dc"},
		"slash":            {DC: "dc", Name: "a/b"},
		"space":            {DC: "dc", Name: "a b"},
		"long label":       {DC: "dc", Name: long},
		"empty label":      {DC: "dc", Name: "a..b"},
		"trailing dot":     {DC: "dc", Name: "a."},
		"bad FQDN":         {DC: "dc", Name: "a", FQDN: "ä"},
		"not an address":   {DC: "dc", Name: "a", Addresses: []netip.Addr{{}}},
		"no ASCII at all":  {DC: "dc", Name: "节点"},
		"Kelvin, not k":    {DC: "dc", Name: "\u212a"},
		"254 bytes":        {DC: "dc", Name: strings.Repeat(strings.Repeat("a", 62)+".", 4) + "aa"},
		"addresses galore": {DC: "dc", Name: "a", Addresses: slices.Repeat([]netip.Addr{addr("::1")}, MaxAddresses+1)},
	} {
		z, err := Build(1, built, []Node{n, {DC: "dc", Name: "good"}}, nil)
		if err == nil || mesh.CodeOf(err) == mesh.Internal {
			t.Errorf("%s: error %v", name, err)
		}
		if z.Nodes() != 1 {
			t.Errorf("%s: %d nodes, want the good one alone", name, z.Nodes())
		}
	}
	for name, i := range map[string]Instance{
		"no node":    {Address: addr("::1")},
		"no address": {Node: "a"},
		"bad host":   {Node: "a", Host: "a b"},
		"long id":    {Node: "a", Address: addr("::1"), ID: strings.Repeat("x", 256)},
		"long tag":   {Node: "a", Address: addr("::1"), Tags: []string{strings.Repeat("x", 254)}},
		"65 tags":    {Node: "a", Address: addr("::1"), Tags: slices.Repeat([]string{"x"}, 65)},
	} {
		z, err := Build(1, built, nil, []Service{{DC: "dc", Name: "s", Instances: []Instance{i, {Node: "good", Address: addr("::1")}}}})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if s, _ := z.Service("dc", "s"); len(s.Instances) != 1 || s.Instances[0].Node != "good" {
			t.Errorf("%s: instances %+v, want the good one alone", name, s.Instances)
		}
	}
}

// estate is n nodes, each with an instance of each of the services.
func estate(n int, services ...string) ([]Node, []Service) {
	nodes, list := make([]Node, n), make([]Service, len(services))
	for i, name := range services {
		list[i] = Service{DC: "bj-e-01", Name: name}
	}
	for i := range nodes {
		a := netip.AddrFrom4([4]byte{10, 17, byte(i >> 8), byte(i)})
		nodes[i] = Node{DC: "bj-e-01", Name: fmt.Sprintf("bj-e-hadoop%02d-%d-%d", i>>14, i>>8, i&255), Addresses: []netip.Addr{a}}
		for s := range list {
			list[s].Instances = append(list[s].Instances, Instance{Node: nodes[i].Name, Address: a, Port: uint16(8000 + s), Weight: 1, Tags: []string{"v1"}})
		}
	}
	return nodes, list
}

func send(t testing.TB, z *Zone, u Update) *Zone {
	t.Helper()
	var stage Stage
	docs := Split(u)
	for i, doc := range docs {
		if err := frame.CheckSize(frame.Zone, doc); err != nil {
			t.Fatal(err)
		}
		got, done, err := stage.Add(doc)
		if err != nil || done != (i == len(docs)-1) {
			t.Fatalf("document %d of %d: done %v, %v", i, len(docs), done, err)
		}
		if done {
			z = z.Apply(got)
		}
	}
	return z
}

func TestAServiceOnEveryNode(t *testing.T) {
	nodes, services := estate(5000, "datanode")
	z := build(t, nodes, services...)
	got, ok := z.Service("bj-e-01", "datanode")
	if !ok || len(got.Instances) != 5000 {
		t.Fatalf("%d instances, want 5000", len(got.Instances))
	}
	if s, ok := z.Service("bj-e-01", "datanode/1"); ok {
		t.Errorf("a part is taken for a service of %d instances", len(s.Instances))
	}
	if copied := send(t, new(Zone), z.Diff(Have{})); copied.Sum() != z.Sum() {
		t.Error("the copy differs")
	}

	services[0].Instances[42].Port = 9
	next := build(t, nodes, services...)
	change := Between(z, next)
	size := 0
	for _, doc := range Split(change) {
		size += len(doc)
	}
	if len(change.Set) != 1 || size > 8<<10 {
		t.Errorf("one changed instance moves %d entries, %d bytes", len(change.Set), size)
	}
	if got := send(t, z, change); got.Sum() != next.Sum() {
		t.Error("the change leads elsewhere")
	}
}

func TestAFullViewIsSmall(t *testing.T) {
	nodes, services := estate(5000, "datanode", "nodemanager", "regionserver")
	size := func(z *Zone) (n int) {
		for _, doc := range Split(z.Diff(Have{})) {
			n += len(doc)
		}
		return n
	}
	only := size(build(t, nodes))
	all := size(build(t, nodes, services...))
	t.Logf("5,000 nodes: %d bytes; with 15,000 instances: %d bytes", only, all)
	if only > 400_000 {
		t.Errorf("5,000 nodes take %d bytes, at most 400,000 are allowed", only)
	}
}

func TestHave(t *testing.T) {
	nodes, services := estate(300, "web")
	z := build(t, nodes, services...)
	h := z.Have("bj-e-01")
	b := h.Encode()
	if err := frame.CheckSize(frame.Have, b); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHave(b)
	if err != nil || got != h {
		t.Errorf("came back as %+v, %v", got, err)
	}
	if u := z.Diff(got); u.Changes() {
		t.Errorf("nothing differs, and %d buckets are sent", len(u.Clear))
	}
	for cut := range b {
		if _, err := DecodeHave(b[:cut]); mesh.CodeOf(err) != mesh.Invalid {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
	}
	if _, err := DecodeHave(append(b, 0)); err == nil {
		t.Error("a byte too many is taken")
	}
}

func TestStageRefuses(t *testing.T) {
	nodes, services := estate(5000, "web")
	docs := Split(build(t, nodes, services...).Diff(Have{}))
	if len(docs) < 3 {
		t.Fatalf("%d documents are too few for this test", len(docs))
	}
	var s Stage
	if _, _, err := s.Add(docs[1]); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("begun in the middle: %v", err)
	}
	if _, done, err := s.Add(docs[0]); done || err != nil {
		t.Fatalf("first: %v, %v", done, err)
	}
	if _, _, err := s.Add(docs[0][:len(docs[0])-1]); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("cut: %v", err)
	}
	if _, _, err := s.Add(docs[1]); err == nil {
		t.Error("it goes on after nonsense")
	}
	// The link broke, and the server begins anew.
	for i, doc := range slices.Concat(docs[:2], docs) {
		u, done, err := s.Add(doc)
		if err != nil || done != (i == len(docs)+1) {
			t.Fatalf("document %d: done %v, %v", i, done, err)
		}
		if done && new(Zone).Apply(u).Nodes() != 5000 {
			t.Error("nodes are missing")
		}
	}
}

func TestDisk(t *testing.T) {
	nodes, services := estate(50, "web")
	z := build(t, nodes, services...)
	b := z.Encode()
	got, err := Decode(b)
	if err != nil || got.Sum() != z.Sum() || got.Serial() != 7 || !got.Built().Equal(built) {
		t.Fatalf("came back with sum %x serial %d, %v", got.Sum(), got.Serial(), err)
	}
	if empty, err := Decode(new(Zone).Encode()); err != nil || !empty.Empty() || !empty.Built().IsZero() {
		t.Errorf("an empty zone came back as %+v, %v", empty, err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 4
		if _, err := Decode(bad); mesh.CodeOf(err) != mesh.Invalid {
			t.Fatalf("byte %d damaged: %v", i, err)
		}
	}
	if _, err := Decode(nil); err == nil {
		t.Error("nothing is taken for a zone")
	}
}

// TestApplyIsASet draws updates and compares a zone that went through all of
// them with a map, and with a zone that is built from that map.
func TestApplyIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, want := new(Zone), make(map[string]Entry)
		key := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("n%d", rapid.IntRange(0, 40).Draw(t, "n")) })
		for range rapid.IntRange(1, 8).Draw(t, "updates") {
			before := z.Encode()
			old := z
			u := Update{Serial: rapid.Uint64().Draw(t, "serial")}
			for _, name := range rapid.SliceOfDistinct(key, rapid.ID).Draw(t, "names") {
				entries := drawEntries(t, name)
				if rapid.Bool().Draw(t, "drop") {
					for _, e := range entries {
						u.Drop = append(u.Drop, e.Key)
						delete(want, e.Key)
					}
					continue
				}
				u.Set = append(u.Set, entries...)
			}
			if rapid.Bool().Draw(t, "clear") {
				at := rapid.IntRange(0, Buckets-1).Draw(t, "bucket")
				u.Clear = append(u.Clear, uint8(at))
				for k := range want {
					if bucketOf(k) == at {
						delete(want, k)
					}
				}
			}
			for _, e := range u.Set {
				want[e.Key] = e
			}
			z = z.Apply(u)
			if string(old.Encode()) != string(before) {
				t.Fatal("Apply has changed the zone that it began with")
			}
			same(t, z, want)
		}
	})
}

func drawEntries(t *rapid.T, name string) []Entry {
	a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 5).Draw(t, "addr"))})
	if rapid.Bool().Draw(t, "node") {
		e, err := NodeEntry(Node{DC: "dc", Name: name, Addresses: []netip.Addr{a}})
		if err != nil {
			t.Fatal(err)
		}
		return []Entry{e}
	}
	entries, err := ServiceEntries(Service{DC: "dc", Name: name, Instances: []Instance{{Node: "x", Address: a, Own: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// same compares a zone with what should be in it, its indexes included.
func same(t *rapid.T, z *Zone, want map[string]Entry) {
	var set []Entry
	for _, e := range want {
		set = append(set, e)
	}
	fresh := new(Zone).Apply(Update{Serial: z.serial, Set: set})
	if z.Digests() != fresh.Digests() || z.Nodes() != fresh.Nodes() || z.Services() != fresh.Services() {
		t.Fatalf("%d nodes and %d services, want %d and %d, or the digests differ", z.Nodes(), z.Services(), fresh.Nodes(), fresh.Services())
	}
	for _, other := range []*Zone{new(Zone), z} {
		if u := Between(other, fresh); other.Apply(u).Sum() != fresh.Sum() || other.Apply(fresh.Diff(other.Have(""))).Sum() != u.Sum {
			t.Fatal("Between and Diff do not lead there")
		}
	}
	for i := range 6 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		got, _ := z.ByAddress(a, "dc")
		if want, _ := fresh.ByAddress(a, "dc"); got != want {
			t.Fatalf("%s belongs to %q, want %q", a, got, want)
		}
	}
}

func FuzzStage(f *testing.F) {
	nodes, services := estate(3, "web")
	z, _ := Build(1, built, nodes, services)
	for _, doc := range Split(z.Diff(Have{})) {
		f.Add(doc)
	}
	f.Add(Split(Between(z, new(Zone)))[0])
	f.Add([]byte{1, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Stage
		u, done, err := s.Add(in)
		if err != nil && mesh.CodeOf(err) != mesh.Invalid {
			t.Fatalf("error %v is not Invalid", err)
		}
		if !done || err != nil {
			return
		}
		z := new(Zone).Apply(u)
		for s := range z.AllServices() {
			for _, i := range s.Instances {
				if err := CheckInstance(i); err != nil {
					t.Fatal(err)
				}
			}
		}
		again, err := Decode(z.Encode())
		if err != nil || again.Sum() != z.Sum() {
			t.Fatalf("by way of the disk: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	nodes, services := estate(3, "web")
	z, _ := Build(1, built, nodes, services)
	f.Add(z.Encode())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, in []byte) {
		if z, err := Decode(in); err == nil && string(z.Encode()) == "" || err != nil && mesh.CodeOf(err) != mesh.Invalid {
			t.Fatal(err)
		}
		if h, err := DecodeHave(in); err == nil && len(h.Encode()) > len(in) {
			t.Fatal("grew")
		}
	})
}

func BenchmarkApplyOne(b *testing.B) {
	nodes, services := estate(5000, "datanode", "nodemanager", "regionserver")
	z := build(b, nodes, services...)
	e, err := NodeEntry(Node{DC: "bj-e-01", Name: "new", Addresses: []netip.Addr{addr("10.1.1.1")}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		z.Apply(Update{Set: []Entry{e}})
	}
}

func BenchmarkBuild(b *testing.B) {
	nodes, services := estate(5000, "datanode", "nodemanager", "regionserver")
	for b.Loop() {
		build(b, nodes, services...)
	}
}
