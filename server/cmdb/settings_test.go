package cmdb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

// settingDocs makes documents of keys, below the prefix, and values.
func settingDocs(m map[string]string) []Document {
	var docs []Document
	for k, v := range m {
		docs = append(docs, Document{Key: SettingPrefix + k, Value: []byte(v)})
	}
	slices.SortFunc(docs, func(a, b Document) int { return strings.Compare(a.Key, b.Key) })
	return docs
}

func settingNode(name, dc string) *mesh.Node {
	n := &mesh.Node{ID: mesh.NodeID("id-" + name), Name: mesh.NodeName(name), DC: dc}
	n.Naming, _ = mesh.ParseNaming(n.Name)
	return n
}

func TestSettingsNearestWins(t *testing.T) {
	tree := newSettingTree(settingDocs(map[string]string{
		"global/check/disk/warn":                     "80",
		"global/log_level":                           "info",
		"dc/bj-e-01/log_level":                       "warn",
		"dc/sh-w-01/only/there":                      "x",
		"role/hadoop/check/disk/warn":                "90",
		"role/es/log_level":                          "debug",
		"node/bj-e-hadoop01-11-203/check/disk/warn":  "95",
		"node/bj-e-hadoop01-11-203/empty":            "",
		"node/bj-e-hadoop01-11-203/two words":        "no",
		"node/bj-e-hadoop01-11-204/check/disk/warn/": "a folder",
	}))
	key := func(k string) string { return SettingPrefix + k }
	tests := map[string]struct {
		node *mesh.Node
		want []mesh.Setting
	}{
		"all four layers": {settingNode("bj-e-hadoop01-11-203", own), []mesh.Setting{
			{
				Name: "check/disk/warn", Value: "95", From: key("node/bj-e-hadoop01-11-203/check/disk/warn"),
				Over: []string{key("role/hadoop/check/disk/warn"), key("global/check/disk/warn")},
			},
			{Name: "empty", From: key("node/bj-e-hadoop01-11-203/empty")},
			{Name: "log_level", Value: "warn", From: key("dc/bj-e-01/log_level"), Over: []string{key("global/log_level")}},
		}},
		"another of the role": {settingNode("bj-e-hadoop01-11-204", own), []mesh.Setting{
			{Name: "check/disk/warn", Value: "90", From: key("role/hadoop/check/disk/warn"), Over: []string{key("global/check/disk/warn")}},
			{Name: "log_level", Value: "warn", From: key("dc/bj-e-01/log_level"), Over: []string{key("global/log_level")}},
		}},
		"another datacenter, no role": {settingNode("x", "sh-w-01"), []mesh.Setting{
			{Name: "check/disk/warn", Value: "80", From: key("global/check/disk/warn")},
			{Name: "log_level", Value: "info", From: key("global/log_level")},
			{Name: "only/there", Value: "x", From: key("dc/sh-w-01/only/there")},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tree.resolve(tt.node).list); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
	if len(tree.findings) != 1 || !strings.Contains(tree.findings[0].Text, "two words") {
		t.Errorf("findings = %+v, want the one bad name", tree.findings)
	}
}

func TestSettingKeys(t *testing.T) {
	tests := map[string]struct {
		l    layer
		name string
		ok   bool
		err  string
	}{
		"alps/config/global/a":                                 {layer{"global", ""}, "a", true, ""},
		"alps/config/global/a.b/c_d-e":                         {layer{"global", ""}, "a.b/c_d-e", true, ""},
		"alps/config/node/n1/a":                                {layer{"node", "n1"}, "a", true, ""},
		"alps/config/":                                         {},
		"alps/config/node/n1/":                                 {},
		"alps/config/node/n1/dir/":                             {},
		"alps/config/global":                                   {err: "not the name"},
		"alps/config/node/n1":                                  {err: "not the name"},
		"alps/config/node//a":                                  {err: "names no node"},
		"alps/config/rack/3/a":                                 {err: "none of global"},
		"alps/config/a":                                        {err: "none of global"},
		"alps/other/global/a":                                  {err: "not under"},
		"alps/config/global/a//b":                              {err: "not the name"},
		"alps/config/global/.a":                                {err: "not the name"},
		"alps/config/global/a b":                               {err: "not the name"},
		"alps/config/global/ü":                                 {err: "not the name"},
		"alps/config/global/" + strings.Repeat("a", 200):       {layer{"global", ""}, strings.Repeat("a", 200), true, ""},
		"alps/config/global/" + strings.Repeat("a", 200) + "b": {err: "not the name"},
	}
	for key, want := range tests {
		l, name, ok, err := parseSettingKey(key)
		if l != want.l && want.ok || name != want.name || ok != want.ok || (err == nil) != (want.err == "") {
			t.Errorf("%q = %+v, %q, %v, %v, want %+v", key, l, name, ok, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%q: error %q does not say %q", key, err, want.err)
		}
	}
}

func FuzzSettingKey(f *testing.F) {
	for _, s := range []string{"alps/config/global/a", "alps/config/node/n/a/b", "alps/config/role//x", "", "alps/config/dc/x/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		l, name, ok, err := parseSettingKey(key)
		if ok && (err != nil || l.key(name) != key) {
			t.Errorf("%q is read as %+v %q, %v, which is %q", key, l, name, err, l.key(name))
		}
	})
}

func TestSettingsBounds(t *testing.T) {
	many := make(map[string]string)
	for i := range MaxSettings + 5 {
		many[fmt.Sprintf("global/%04d", i)] = ""
	}
	big := map[string]string{"global/a": "1", "global/b": strings.Repeat("x", MaxSettingBytes), "global/c": "3"}
	for name, tt := range map[string]struct {
		keys       map[string]string
		list, over int
		first      string
	}{
		"too many": {many, 0, 0, ""}, // what fits is checked below.
		"too big":  {big, 2, 1, "b"},
	} {
		r := newSettingTree(settingDocs(tt.keys)).resolve(settingNode("x", own))
		if len(r.list)+r.over != len(tt.keys) || len(r.list) > MaxSettings || r.over == 0 {
			t.Errorf("%s: %d settings and %d left out of %d", name, len(r.list), r.over, len(tt.keys))
		}
		if tt.first != "" && (len(r.list) != tt.list || r.over != tt.over || r.firstOver != tt.first) {
			t.Errorf("%s: %d settings, %d left out, first %q", name, len(r.list), r.over, r.firstOver)
		}
	}
	bad := make([]Document, 30)
	for i := range bad {
		bad[i] = Document{Key: fmt.Sprintf("%sglobal/%d bad", SettingPrefix, i)}
	}
	bad = append(bad, Document{Key: SettingPrefix + "global/binary", Value: []byte{0xff}})
	tree := newSettingTree(bad)
	if len(tree.findings) != maxKeyFindings+1 || tree.resolve(settingNode("x", own)).list != nil {
		t.Errorf("%d findings, want %d", len(tree.findings), maxKeyFindings+1)
	}
}

// TestSettingsProperty compares with the plainest way to find one value.
func TestSettingsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names, layers := []string{"a", "b/c", "d"}, []string{"global/", "dc/" + own + "/", "dc/far/", "role/hadoop/", "role/zk/", "node/bj-e-hadoop01-1-1/", "node/x/"}
		keys := make(map[string]string)
		for _, l := range layers {
			for _, n := range names {
				if rapid.Bool().Draw(t, l+n) {
					keys[l+n] = l + n
				}
			}
		}
		tree := newSettingTree(settingDocs(keys))
		for _, n := range []*mesh.Node{settingNode("bj-e-hadoop01-1-1", own), settingNode("bj-e-hadoop01-1-2", "far"), settingNode("x", own), settingNode("y", "")} {
			near := []string{"node/" + string(n.Name) + "/", "role/" + n.Naming.Role + "/", "dc/" + n.DC + "/", "global/"}
			var want []mesh.Setting
			for _, name := range names {
				var found []string
				for _, l := range near {
					if _, ok := keys[l+name]; ok {
						found = append(found, SettingPrefix+l+name)
					}
				}
				if len(found) > 0 {
					s := mesh.Setting{Name: name, Value: strings.TrimPrefix(found[0], SettingPrefix), From: found[0]}
					if len(found) > 1 {
						s.Over = found[1:]
					}
					want = append(want, s)
				}
			}
			if diff := cmp.Diff(want, tree.resolve(n).list); diff != "" {
				t.Fatalf("settings of %s (-want +got):\n%s", n.Name, diff)
			}
		}
	})
}

// settingWorld is a SettingSource and the nodes.
type settingWorld struct {
	docs chan []Document

	mu    sync.Mutex
	nodes []mesh.Node
	told  []string
}

func (w *settingWorld) FollowSettings(ctx context.Context, fn func([]Document)) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-w.docs:
			fn(d)
		}
	}
}

func (w *settingWorld) Nodes() []mesh.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}

func (w *settingWorld) change(n mesh.Node, l []mesh.Setting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := string(n.Name)
	for _, s := range l {
		line += " " + s.Name + "=" + s.Value
	}
	w.told = append(w.told, line)
}

func TestSettingsTellOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, hadoop := settingNode("bj-e-zk-01", own), settingNode("bj-e-hadoop01-1-1", own)
		stranger := settingNode("bj-e-zk-02", own)
		stranger.ID = ""
		w := &settingWorld{docs: make(chan []Document), nodes: []mesh.Node{*zk, *hadoop, *stranger}}
		s, err := NewSettings(SettingsOptions{Source: w, Nodes: w.Nodes, OnChange: w.change})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(ctx) }()
		defer func() { cancel(); <-done }()
		want := func(when string, lines ...string) {
			t.Helper()
			time.Sleep(2 * buildEvery)
			w.mu.Lock()
			got := w.told
			w.told = nil
			w.mu.Unlock()
			if diff := cmp.Diff(lines, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		s.NodesChanged()
		want("before KV was read")
		if s.Ready() || s.For(*zk) != nil || s.Findings() != nil {
			t.Error("settings are known before KV was read")
		}
		w.docs <- settingDocs(map[string]string{"global/a": "1", "role/hadoop/b": "2"})
		want("the first read", "bj-e-zk-01 a=1", "bj-e-hadoop01-1-1 a=1 b=2")
		w.docs <- settingDocs(map[string]string{"global/a": "1", "role/hadoop/b": "3", "role/es/c": "4"})
		want("one role", "bj-e-hadoop01-1-1 a=1 b=3")
		w.docs <- settingDocs(map[string]string{"global/a": "1", "role/hadoop/b": "3"})
		want("a role that nobody has")
		w.mu.Lock()
		w.nodes = append(w.nodes, *settingNode("bj-e-hadoop01-1-2", own))
		w.mu.Unlock()
		s.NodesChanged()
		want("a new node", "bj-e-hadoop01-1-2 a=1 b=3")
		w.docs <- settingDocs(map[string]string{"role/hadoop/big": strings.Repeat("x", MaxSettingBytes), "global/a": "1"})
		want("one that does not fit", "bj-e-hadoop01-1-1 a=1", "bj-e-hadoop01-1-2 a=1")
		if f := s.Findings(); len(f) != 2 || f[0].Node != "bj-e-hadoop01-1-1" || !strings.Contains(f[0].Text, "big") {
			t.Errorf("findings = %+v, want one for each hadoop", f)
		}
		w.docs <- nil
		want("all gone", "bj-e-zk-01", "bj-e-hadoop01-1-1", "bj-e-hadoop01-1-2")
	})
}
