package sqlite

import (
	"context"
	"database/sql"
	"time"

	"alps/mesh"
	"alps/server/auth"
)

var _ auth.Store = (*DB)(nil)

const tokenColumns = "id, secret_hash, name, role, scope, created_by, created, expires, last_used" //nolint:gosec // names of columns.

func scanToken(r scanner) (auth.Token, error) {
	var t auth.Token
	var created, expires, used int64
	err := r.Scan(&t.ID, &t.SecretHash, &t.Name, &t.Role, &t.Scope, &t.CreatedBy, &created, &expires, &used)
	t.Created, t.Expires, t.LastUsed = at(created), at(expires), at(used)
	return t, err
}

// SaveToken implements auth.Store.
func (db *DB) SaveToken(ctx context.Context, t auth.Token) error {
	return db.write(ctx, "store the token", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.ID, t.SecretHash, t.Name, t.Role, t.Scope, t.CreatedBy, millis(t.Created), millis(t.Expires), millis(t.LastUsed))
		if taken(err) {
			return mesh.Errorf(mesh.Conflict, "a token %q exists", t.ID)
		}
		return err
	})
}

// TokenByID implements auth.Store.
func (db *DB) TokenByID(ctx context.Context, id string) (auth.Token, error) {
	t, err := scanToken(db.readers.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM tokens WHERE id = ?", id))
	return t, db.failure("find the token "+id, err)
}

// Tokens implements auth.Store.
func (db *DB) Tokens(ctx context.Context) ([]auth.Token, error) {
	list, err := query(ctx, db, scanToken, "SELECT "+tokenColumns+" FROM tokens ORDER BY created DESC, id")
	return list, db.failure("list the tokens", err)
}

// DeleteToken implements auth.Store.
func (db *DB) DeleteToken(ctx context.Context, id string) error {
	return db.write(ctx, "delete the token "+id, func(ctx context.Context, tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, "DELETE FROM tokens WHERE id = ?", id))
	})
}

// TouchToken implements auth.Store.
func (db *DB) TouchToken(ctx context.Context, id string, when time.Time) error {
	return db.write(ctx, "touch the token "+id, func(ctx context.Context, tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, "UPDATE tokens SET last_used = max(last_used, ?) WHERE id = ?", millis(when), id))
	})
}
