package wire

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"alps/mesh"
	"alps/mesh/sign"
)

// TestPinned follows the revocations over restarts, an absent root and
// another root.
func TestPinned(t *testing.T) {
	root, other := sign.GenerateKey(), sign.GenerateKey()
	dir := t.TempDir()
	open := func() *pinned {
		t.Helper()
		p := &pinned{file: filepath.Join(dir, "root.pub"), list: filepath.Join(dir, "revoked.json"), cluster: "c"}
		if err := p.load(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	install := func(k sign.PrivateKey) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "root.pub"), []byte(k.Public().String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := func(k sign.PrivateKey, n uint64, serials ...string) sign.Envelope {
		t.Helper()
		env, err := k.SealRevocations(sign.Revocations{Cluster: "c", Number: n, Serials: serials})
		if err != nil {
			t.Fatal(err)
		}
		return env
	}
	want := func(p *pinned, trusted bool, serials ...string) {
		t.Helper()
		got, ok := p.root()
		if ok != trusted || !slices.Equal(got.Revoked.Serials, serials) {
			t.Errorf("root() trusts %v and has revoked %v, want %v and %v", ok, got.Revoked.Serials, trusted, serials)
		}
	}

	p := open()
	want(p, false)
	if err := p.revoke(list(root, 1, "a")); mesh.CodeOf(err) != mesh.Denied {
		t.Errorf("revoke without a root = %v, want code %s", err, mesh.Denied)
	}
	install(root)
	want(p, true)
	if err := p.revoke(list(other, 1, "a")); mesh.CodeOf(err) != mesh.Denied {
		t.Errorf("revoke by another root = %v, want code %s", err, mesh.Denied)
	}
	for _, n := range []uint64{2, 1} { // the older one changes nothing.
		if err := p.revoke(list(root, n, "a")); err != nil {
			t.Fatal(err)
		}
	}
	want(p, true, "a")

	p = open()
	want(p, true, "a")
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	p = open() // an agent starts without its root, and trusts nothing.
	want(p, false)
	install(root)
	want(p, true, "a")
	install(other)
	want(p, true)
}
