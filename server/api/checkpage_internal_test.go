package api

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"alps/mesh"
)

// TestCheckPagesHoldEachOnce reads any list in pages of any length: each check
// is on one page, whatever dc, node and check are called.
func TestCheckPagesHoldEachOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[ab/% \x00é-]{0,3}`)
		keys := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) checkKey {
			return checkKey{name.Draw(t, "dc"), mesh.NodeName(name.Draw(t, "node")), name.Draw(t, "check")}
		}), func(k checkKey) checkKey { return k }).Draw(t, "keys")
		keys = slices.DeleteFunc(keys, func(k checkKey) bool { return k == checkKey{} })
		all := make([]mesh.CheckState, len(keys))
		for i, k := range keys {
			all[i] = mesh.CheckState{DC: k.dc, Node: k.node, Result: mesh.CheckResult{Check: k.check}}
		}
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		var got []checkKey
		after := checkKey{}
		for range len(all) + 1 {
			page := checkPage(all, after, limit)
			for i := range page.Checks {
				got = append(got, keyOf(&page.Checks[i]))
			}
			if page.Next == "" {
				break
			}
			var err error
			if after, err = parseCheckKey(page.Next); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(keys, checkKey.compare)
		if !slices.Equal(keys, got) {
			t.Fatalf("got %q, want %q", got, keys)
		}
	})
}

func FuzzParseCheckKey(f *testing.F) {
	for _, seed := range []string{"", "dc1/web1/disk", "a/b", "//", "dc1/%2F/%zz", "dc1/a%20b/http:%2F%2Fx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseCheckKey(text)
		if err != nil {
			if mesh.CodeOf(err) != mesh.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := parseCheckKey(k.String())
		if k != (checkKey{}) && (err != nil || again != k) {
			t.Fatalf("%q is read as %q, and written and read again as %q, %v", text, k, again, err)
		}
	})
}
