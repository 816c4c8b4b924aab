package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"alps/mesh"
)

func TestMigrationFiles(t *testing.T) {
	all := migrations()
	if len(all) == 0 {
		t.Fatal("there is no migration")
	}
	for i, m := range all {
		if m.version != i+1 || strings.TrimSpace(m.text) == "" || len(m.name) < 8 || m.name[4] != '_' {
			t.Errorf("migration %d is %q of version %d: name it NNNN_what.sql, without a gap", i+1, m.name, m.version)
		}
	}
}

// schema is every object of a database, to compare two of them.
func schema(t *testing.T, db *DB) string {
	t.Helper()
	list, err := query(t.Context(), db, text, "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// TestMigrateFromEach opens a history of each older version.
func TestMigrateFromEach(t *testing.T) {
	want := schema(t, open(t))
	all := migrations()
	for have := range all {
		t.Run(all[have].name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			old := &DB{path: path}
			var err error
			if old.writer, err = connect(path, 1, "_txlock=immediate"); err != nil {
				t.Fatal(err)
			}
			for _, m := range all[:have] {
				if err := old.apply(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if err := old.writer.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if got := schema(t, db); got != want {
				t.Errorf("schema after an upgrade from %d:\n%s\nwant\n%s", have, got, want)
			}
		})
	}
}

func TestMigrationFails(t *testing.T) {
	db := open(t)
	before := schema(t, db)
	bad := append(migrations(), migration{version: 999, name: "0999_bad.sql", text: "CREATE TABLE half (a); CREATE TABLE half (a);"})
	if err := db.migrate(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "0999_bad.sql") {
		t.Errorf("migrate = %v, want an error that names the file", err)
	}
	if got := schema(t, db); got != before {
		t.Errorf("a migration that failed has left something:\n%s", got)
	}
}

func TestNewerSchema(t *testing.T) {
	db := open(t)
	if _, err := db.writer.ExecContext(t.Context(), "PRAGMA user_version = 12345"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), db.path)
	if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(err.Error(), "schema 12345") {
		t.Errorf("Open of a newer schema = %v, want a refusal that says so", err)
	}
}
