package sqlite

import (
	"context"
	"database/sql"
)

// Value returns what is kept under a key, such as the cluster's id;
// mesh.NotFound when nothing is.
func (db *DB) Value(ctx context.Context, key string) (string, error) {
	v, err := text(db.readers.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", key))
	return v, db.failure("read "+key, err)
}

// SetValue keeps value under key.
func (db *DB) SetValue(ctx context.Context, key, value string) error {
	return db.write(ctx, "keep "+key, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
		return err
	})
}

// InitValue keeps value under key unless something is there, and returns what
// then is: of several that try at once, one wins.
func (db *DB) InitValue(ctx context.Context, key, value string) (string, error) {
	err := db.write(ctx, "keep "+key, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, value)
		return err
	})
	if err != nil {
		return "", err
	}
	return db.Value(ctx, key)
}
