package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"alps/mesh"
)

// fencedPut writes value as the leader of term.
func fencedPut(ctx context.Context, db *DB, term uint64, value string) error {
	return db.fencedTx(ctx, term, "put", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO meta (key, value) VALUES ('fenced', ?)", value)
		return err
	})
}

func TestFence(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name     string
		do       func() error
		wantCode mesh.Code
		want     uint64
	}{
		{"nothing seen, no lock", func() error { return fencedPut(ctx, db, 0, "a") }, "", 0},
		{"the first term", func() error { return fencedPut(ctx, db, 3, "b") }, "", 3},
		{"the same again", func() error { return fencedPut(ctx, db, 3, "c") }, "", 3},
		{"an older one", func() error { return fencedPut(ctx, db, 2, "no") }, mesh.Conflict, 3},
		{"no lock any more", func() error { return fencedPut(ctx, db, 0, "no") }, mesh.Conflict, 3},
		{"a new leader says so", func() error { return db.Fence(ctx, 5) }, "", 5},
		{"it may say so twice", func() error { return db.Fence(ctx, 5) }, "", 5},
		{"the deposed one writes", func() error { return fencedPut(ctx, db, 3, "no") }, mesh.Conflict, 5},
		{"the deposed one begins again", func() error { return db.Fence(ctx, 3) }, mesh.Conflict, 5},
	} {
		if got := mesh.CodeOf(step.do()); got != step.wantCode {
			t.Errorf("%s: code %q, want %q", step.name, got, step.wantCode)
		}
		if got, err := db.FencedTerm(ctx); err != nil || got != step.want {
			t.Errorf("%s: highest term %d, %v, want %d", step.name, got, err, step.want)
		}
	}
	if got, err := db.Value(ctx, "fenced"); err != nil || got != "c" {
		t.Errorf("value %q, %v, want what the last leader in office wrote", got, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got := mesh.CodeOf(fencedPut(ctx, db, 4, "no")); got != mesh.Conflict {
		t.Errorf("an old term after a restart: code %q, want %q", got, mesh.Conflict)
	}
}

// TestFenceFailedWrite says that a write that fails begins no term.
func TestFenceFailedWrite(t *testing.T) {
	db, ctx := open(t), t.Context()
	boom := errors.New("boom")
	err := db.fencedTx(ctx, 9, "fail", func(context.Context, *sql.Tx) error { return boom })
	if !errors.Is(err, boom) {
		t.Errorf("fencedTx = %v, want %v", err, boom)
	}
	if got, err := db.FencedTerm(ctx); err != nil || got != 0 {
		t.Errorf("highest term %d, %v, want 0", got, err)
	}
}

// TestFenceProperty says that what is written comes from terms that never
// fall, whoever tries in whatever order.
func TestFenceProperty(t *testing.T) {
	db := open(t)
	var seen uint64
	rapid.Check(t, func(t *rapid.T) {
		term := rapid.Uint64Range(0, 1<<40).Draw(t, "term")
		err := fencedPut(context.WithoutCancel(t.Context()), db, term, "x")
		if (err == nil) != (term >= seen) {
			t.Fatalf("term %d after %d: %v", term, seen, err)
		}
		seen = max(seen, term)
	})
}
