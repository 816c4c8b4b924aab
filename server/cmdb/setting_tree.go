package cmdb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"alps/mesh"
)

// maxKeyFindings bounds how many keys are complained about one by one.
const maxKeyFindings = 20

// settingName is how a setting may be called: words of letters, digits and
// "._-", with slashes between them.
var settingName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

const maxSettingName = 200

// layer is whom a key of KV is for: everybody, or one of a kind.
type layer struct {
	kind string // global, dc, role or node.
	of   string // empty for global.
}

// parseSettingKey reads a whole key. A folder, as some tools make them, is no
// setting and no mistake: ok is false without an error.
func parseSettingKey(key string) (l layer, name string, ok bool, err error) {
	rest, under := strings.CutPrefix(key, SettingPrefix)
	if !under {
		return layer{}, "", false, fmt.Errorf("it is not under %s", SettingPrefix)
	}
	if rest == "" || strings.HasSuffix(rest, "/") {
		return layer{}, "", false, nil
	}
	kind, rest, _ := strings.Cut(rest, "/")
	l.kind = kind
	switch kind {
	case "global":
	case "dc", "role", "node":
		if l.of, rest, _ = strings.Cut(rest, "/"); l.of == "" {
			return layer{}, "", false, fmt.Errorf("it names no %s", kind)
		}
	default:
		return layer{}, "", false, fmt.Errorf("%q is none of global, dc, role and node", kind)
	}
	if len(rest) > maxSettingName || !settingName.MatchString(rest) {
		return layer{}, "", false, fmt.Errorf("%q is not the name of a setting", rest)
	}
	return l, rest, true, nil
}

// settingTree is what KV held at one time. It does not change but for what it
// remembers of its own answers.
type settingTree struct {
	layers   map[layer]map[string]string // values by name.
	findings []Finding                   // about keys.

	mu       sync.Mutex
	answered map[[3]string]*resolved // by dc, role and, if it has a layer of its own, node.
}

// resolved is the settings of a node.
type resolved struct {
	list      []mesh.Setting
	hash      string
	over      int // how many are left out.
	firstOver string
}

func newSettingTree(docs []Document) *settingTree {
	t := &settingTree{layers: make(map[layer]map[string]string), answered: make(map[[3]string]*resolved)}
	bad := 0
	for _, d := range docs {
		l, name, ok, err := parseSettingKey(d.Key)
		if err == nil && ok && !utf8.Valid(d.Value) {
			err = fmt.Errorf("its value is not text")
		}
		if err != nil {
			if bad++; bad <= maxKeyFindings {
				t.findings = append(t.findings, Finding{Kind: KindSetting, Text: fmt.Sprintf("the key %q is no setting: %v", d.Key, err)})
			}
			continue
		}
		if !ok {
			continue
		}
		if t.layers[l] == nil {
			t.layers[l] = make(map[string]string)
		}
		t.layers[l][name] = string(d.Value)
	}
	if more := bad - maxKeyFindings; more > 0 {
		t.findings = append(t.findings, Finding{Kind: KindSetting, Text: fmt.Sprintf("%d more keys under %s are no settings", more, SettingPrefix)})
	}
	sortFindings(t.findings)
	return t
}

// resolve returns the settings of a node. Nodes for which they come from the
// same keys share them.
func (t *settingTree) resolve(n *mesh.Node) *resolved {
	role := ""
	if l := n.Field("role"); len(l) > 0 {
		role = l[0]
	}
	key := [3]string{n.DC, role, string(n.Name)}
	if t.layers[layer{"node", string(n.Name)}] == nil {
		key[2] = ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.answered[key]
	if r == nil {
		r = t.merge([]layer{{"node", string(n.Name)}, {"role", role}, {"dc", n.DC}, {"global", ""}})
		t.answered[key] = r
	}
	return r
}

// merge lays layers over one another, the nearest first.
func (t *settingTree) merge(near []layer) *resolved {
	all := make(map[string]*mesh.Setting)
	for _, l := range near {
		for name, value := range t.layers[l] {
			if s := all[name]; s != nil {
				s.Over = append(s.Over, l.key(name))
				continue
			}
			all[name] = &mesh.Setting{Name: name, Value: value, From: l.key(name)}
		}
	}
	r := &resolved{}
	size := 0
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b, err := json.Marshal(all[name])
		if err != nil || len(r.list) == MaxSettings || size+len(b)+1 > MaxSettingBytes { // text always encodes.
			if r.over++; r.over == 1 {
				r.firstOver = name
			}
			continue
		}
		size += len(b) + 1
		r.list = append(r.list, *all[name])
		_, _ = sum.Write(append(b, '\n')) // never fails.
	}
	r.hash = hex.EncodeToString(sum.Sum(nil))
	return r
}

// key is the whole key of a setting in a layer.
func (l layer) key(name string) string {
	if l.of == "" {
		return SettingPrefix + l.kind + "/" + name
	}
	return SettingPrefix + l.kind + "/" + l.of + "/" + name
}
