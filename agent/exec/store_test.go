package exec

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"alps/mesh"
)

func TestStoreSweep(t *testing.T) {
	s := store{dir: filepath.Join(t.TempDir(), "blobs"), most: 7}
	if err := s.sweep(time.Now()); err != nil {
		t.Errorf("sweep of a store that was never used: %v", err)
	}
	now := time.Now()
	for i, body := range []string{"old", "bbb", "ccc", "ddd"} {
		if err := s.put([]byte(body)); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(i-4) * time.Hour)
		if err := os.Chtimes(filepath.Join(s.dir, mesh.Digest([]byte(body))), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.put([]byte("bbb")); err != nil { // used again: the youngest now.
		t.Fatal(err)
	}
	if err := s.sweep(now.Add(-3 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]bool{"old": false, "bbb": true, "ccc": false, "ddd": true} {
		if _, got := s.get(mesh.Digest([]byte(body))); got != want {
			t.Errorf("%q is there: %v, want %v", body, got, want)
		}
	}
}

func TestStoreDoesNotReturnWhatWasChanged(t *testing.T) {
	s := store{dir: t.TempDir(), most: 100}
	if err := s.put([]byte("good")); err != nil {
		t.Fatal(err)
	}
	digest := mesh.Digest([]byte("good"))
	if err := os.WriteFile(filepath.Join(s.dir, digest), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, ok := s.get(digest); ok {
		t.Errorf("got %q", b)
	}
}
