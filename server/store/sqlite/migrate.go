package sqlite

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A migration brings the schema from the version before to its own.
type migration struct {
	version int
	name    string
	text    string
}

// migrations returns the embedded migrations by rising version. A file whose
// name is wrong is a mistake of the build; a test reads them all.
func migrations() []migration {
	entries, _ := migrationFiles.ReadDir("migrations")
	var out []migration
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, _ := strconv.Atoi(number)
		body, _ := migrationFiles.ReadFile(path.Join("migrations", e.Name()))
		out = append(out, migration{version, e.Name(), string(body)})
	}
	slices.SortFunc(out, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	return out
}

// migrate applies what the file has not seen, each in its own transaction with
// the note that it was applied.
func (db *DB) migrate(ctx context.Context, all []migration) error {
	var have int
	if err := db.writer.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if newest := all[len(all)-1].version; have > newest {
		return mesh.Errorf(mesh.Invalid, "the history %s has schema %d, this ALPS knows up to %d", db.path, have, newest).
			WithHint("it was written by a newer ALPS: run that one, or restore the backup that was made before the upgrade")
	}
	for _, m := range all {
		if m.version <= have {
			continue
		}
		if err := db.apply(ctx, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

func (db *DB) apply(ctx context.Context, m migration) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, m.text); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", m.version)); err != nil {
		return err
	}
	return tx.Commit()
}
