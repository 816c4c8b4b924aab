package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"alps/mesh"
)

// Fence remembers that term has begun: from now on whoever leads in an older
// one is refused with mesh.Conflict, and so is this call when a newer one has
// been seen. A new leader calls it before its first effect; it may be called
// again.
func (db *DB) Fence(ctx context.Context, term uint64) error {
	return db.fencedTx(ctx, term, "begin to lead", func(context.Context, *sql.Tx) error { return nil })
}

// FencedTerm returns the highest term that was seen, 0 before the first. A new
// leader needs a higher one.
func (db *DB) FencedTerm(ctx context.Context) (uint64, error) {
	term, err := highest(ctx, db.readers)
	return term, db.failure("read the term", err)
}

// fencedTx is write for what only the leader may write: fn runs when no newer
// term than term was seen, in one transaction with that look, and a term that
// is new itself is remembered with it. mesh.Conflict says that another server
// leads; fn has not run then. When fn fails, the term is not remembered
// either.
func (db *DB) fencedTx(ctx context.Context, term uint64, what string, fn func(context.Context, *sql.Tx) error) error {
	return db.write(ctx, what, func(ctx context.Context, tx *sql.Tx) error {
		if err := checkFence(ctx, tx, term); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// checkFence refuses a term that is older than the highest seen, and raises
// that to a newer one.
func checkFence(ctx context.Context, tx *sql.Tx, term uint64) error {
	seen, err := highest(ctx, tx)
	switch {
	case err != nil:
		return err
	case term < seen:
		return mesh.Errorf(mesh.Conflict, "another server leads: term %d is over, %d has begun", term, seen)
	case term == seen:
		return nil
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO fence (id, term) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET term = excluded.term", int64(term))
	return err
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

func highest(ctx context.Context, from rowQuerier) (uint64, error) {
	var term int64
	err := from.QueryRowContext(ctx, "SELECT term FROM fence").Scan(&term)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return uint64(term), err
}
