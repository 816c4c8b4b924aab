package cmdb

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

func check(node mesh.NodeName, id string, status mesh.Health) NodeCheck {
	return NodeCheck{Node: node, Check: mesh.Check{ID: id, Name: id, Status: status, Output: "it is " + string(status)}}
}

func TestOverlay(t *testing.T) {
	const n = "bj-e-admin03"
	tests := map[string]struct {
		updates []Update
		want    map[string]mesh.Health
	}{
		"all that was read": {
			[]Update{AllChecks{check(n, "a", mesh.HealthPassing), check(n, "b", mesh.HealthPassing)}},
			map[string]mesh.Health{"a": mesh.HealthPassing, "b": mesh.HealthPassing},
		},
		"turned critical since": {
			[]Update{AllChecks{check(n, "a", mesh.HealthPassing)}, CriticalChecks{check(n, "a", mesh.HealthCritical)}},
			map[string]mesh.Health{"a": mesh.HealthCritical},
		},
		"recovered since": {
			[]Update{AllChecks{check(n, "a", mesh.HealthCritical)}, CriticalChecks{check(n, "a", mesh.HealthCritical)}, CriticalChecks{}},
			map[string]mesh.Health{"a": mesh.HealthPassing},
		},
		"gone while it was critical": {
			[]Update{
				AllChecks{check(n, "a", mesh.HealthCritical), check(n, "b", mesh.HealthPassing)},
				CriticalChecks{check(n, "a", mesh.HealthCritical)},
				NodeChecks{n, []mesh.Check{check(n, "b", mesh.HealthPassing).Check}},
				CriticalChecks{},
			},
			map[string]mesh.Health{"b": mesh.HealthPassing},
		},
		"recovered, and read again": {
			[]Update{
				AllChecks{check(n, "a", mesh.HealthCritical)},
				CriticalChecks{check(n, "a", mesh.HealthCritical)},
				NodeChecks{n, []mesh.Check{check(n, "a", mesh.HealthPassing).Check}},
				CriticalChecks{},
			},
			map[string]mesh.Health{"a": mesh.HealthPassing},
		},
		"of one node, before all were read": {
			[]Update{NodeChecks{n, []mesh.Check{check(n, "a", mesh.HealthPassing).Check}}},
			map[string]mesh.Health{},
		},
		"from warning to critical": {
			[]Update{
				AllChecks{check(n, "a", mesh.HealthPassing)},
				WarningChecks{check(n, "a", mesh.HealthWarning)},
				CriticalChecks{check(n, "a", mesh.HealthCritical)},
				WarningChecks{},
			},
			map[string]mesh.Health{"a": mesh.HealthCritical},
		},
		"from critical to warning, both said": {
			[]Update{WarningChecks{check(n, "a", mesh.HealthWarning)}, CriticalChecks{check(n, "a", mesh.HealthCritical)}, CriticalChecks{}},
			map[string]mesh.Health{"a": mesh.HealthWarning},
		},
		"new and critical": {
			[]Update{AllChecks{check(n, "a", mesh.HealthPassing)}, CriticalChecks{check(n, "b", mesh.HealthCritical)}},
			map[string]mesh.Health{"a": mesh.HealthPassing, "b": mesh.HealthCritical},
		},
		"a list older than the whole wins": {
			[]Update{CriticalChecks{}, AllChecks{check(n, "a", mesh.HealthCritical)}},
			map[string]mesh.Health{"a": mesh.HealthPassing},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite("bj-e-01", time.Now())
			for _, u := range tt.updates {
				u.apply(s)
			}
			got := make(map[string]mesh.Health)
			for _, c := range s.checks[n] {
				got[c.ID] = c.Status
				if want := "it is " + string(c.Status); c.Output != want && c.Output != "" {
					t.Errorf("check %s is %s and says %q", c.ID, c.Status, c.Output)
				}
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOverlayConverges changes checks at random, hands over the three lists in
// any order and at any time, and wants the truth once all were handed over.
func TestOverlayConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSite("bj-e-01", time.Now())
		truth := make(map[string]NodeCheck) // by node and id.
		list := func(status ...mesh.Health) []NodeCheck {
			out := []NodeCheck{}
			for _, c := range truth {
				if len(status) == 0 || slices.Contains(status, c.Status) {
					out = append(out, c)
				}
			}
			return out
		}
		hand := func(which int) {
			switch which {
			case 0:
				AllChecks(list()).apply(s)
			case 1:
				CriticalChecks(list(mesh.HealthCritical)).apply(s)
			case 2:
				WarningChecks(list(mesh.HealthWarning)).apply(s)
			}
		}
		states := []mesh.Health{mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			node := mesh.NodeName(rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "node"))
			id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "check")
			key := string(node) + "/" + id
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				delete(truth, key)
			case 1, 2:
				truth[key] = check(node, id, rapid.SampledFrom(states).Draw(t, "status"))
			case 3:
				hand(rapid.IntRange(0, 2).Draw(t, "list"))
			}
		}
		for _, which := range rapid.Permutation([]int{0, 1, 2}).Draw(t, "order") {
			hand(which)
		}
		want := make(map[mesh.NodeName][]mesh.Check)
		for _, c := range truth {
			want[c.Node] = append(want[c.Node], c.Check)
		}
		for _, l := range want {
			slices.SortFunc(l, func(a, b mesh.Check) int { return cmp.Compare(a.ID, b.ID) })
		}
		if diff := gocmp.Diff(want, s.checks); diff != "" {
			t.Errorf("checks (-want +got):\n%s", diff)
		}
	})
}

func document(t *testing.T, id mesh.NodeID, cpus int) Document {
	t.Helper()
	r := record{At: time.Unix(1, 0).UTC(), Facts: mesh.Facts{Name: "n", CPUs: cpus}}
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	return Document{RecordKey(id), b}
}

func TestDocuments(t *testing.T) {
	a, b := id('a'), id('b')
	if a.FactShard() == b.FactShard() {
		t.Fatal("the test wants ids of two shards")
	}
	s := newSite("bj-e-01", time.Now())
	shard := func(id mesh.NodeID, docs ...Document) Documents { return Documents{ShardPrefix(id.FactShard()), docs} }

	steps := []struct {
		name    string
		update  Documents
		changed bool
		want    map[mesh.NodeID]int // cpus.
		broken  int
	}{
		{"everything", Documents{RecordPrefix, []Document{document(t, a, 1), document(t, b, 2)}}, true, map[mesh.NodeID]int{a: 1, b: 2}, 0},
		{"the same", shard(a, document(t, a, 1)), false, map[mesh.NodeID]int{a: 1, b: 2}, 0},
		{"one changed", shard(a, document(t, a, 3)), true, map[mesh.NodeID]int{a: 3, b: 2}, 0},
		{"a foreign key beside it", shard(a, document(t, a, 3), Document{ShardPrefix(a.FactShard()) + "note", nil}), false, map[mesh.NodeID]int{a: 3, b: 2}, 0},
		{"one unreadable", shard(b, Document{RecordKey(b), []byte("?")}), true, map[mesh.NodeID]int{a: 3}, 1},
		{"readable again", shard(b, document(t, b, 4)), true, map[mesh.NodeID]int{a: 3, b: 4}, 0},
		{"one gone", shard(a), true, map[mesh.NodeID]int{b: 4}, 0},
		{"all gone", Documents{Prefix: RecordPrefix}, true, map[mesh.NodeID]int{}, 0},
	}
	for _, step := range steps {
		if got := step.update.apply(s); got != step.changed {
			t.Errorf("%s: changed = %v, want %v", step.name, got, step.changed)
		}
		got := make(map[mesh.NodeID]int)
		for id, r := range s.records {
			got[id] = r.Facts.CPUs
		}
		if diff := gocmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: records (-want +got):\n%s", step.name, diff)
		}
		if len(s.broken) != step.broken {
			t.Errorf("%s: %d broken records, want %d", step.name, len(s.broken), step.broken)
		}
	}
}

func TestMemberFromCatalog(t *testing.T) {
	s := newSite("sh-w-01", time.Now())
	build := map[string]string{"consul-version": "1.22.5"}
	CatalogNodes{
		{Name: "server", Address: "10.1.0.1", Meta: build},
		{Name: "alive", Address: "10.1.0.2", Meta: build},
		{Name: "failed", Address: "10.1.0.3", Meta: build},
		{Name: "external", Address: "10.1.0.4"},
	}.apply(s)
	Services{"server": {{ID: "consul", Name: "consul", Port: 8300}}}.apply(s)
	AllChecks{
		check("server", serfCheck, mesh.HealthPassing), check("alive", serfCheck, mesh.HealthPassing), check("failed", serfCheck, mesh.HealthPassing),
	}.apply(s)
	CriticalChecks{check("failed", serfCheck, mesh.HealthCritical)}.apply(s)

	want := map[mesh.NodeName]string{
		"server": "alive server 1.22.5", "alive": "alive client 1.22.5", "failed": "failed client 1.22.5", "external": "  ",
	}
	for name, w := range want {
		m, ok := s.member(name)
		if got := fmt.Sprintf("%s %s %s", m.Status, m.Type, m.Build); !ok || got != w {
			t.Errorf("member(%q) = %q, %v, want %q", name, got, ok, w)
		}
	}
	if _, ok := s.member("nobody"); ok {
		t.Error("a member was made of an unknown name")
	}
}
