package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"alps/mesh"
)

// DB is an open history. Its methods may be called from any goroutine.
type DB struct {
	path    string
	writer  *sql.DB // one connection.
	readers *sql.DB

	mu    sync.Mutex
	queue []*writing
	turn  sync.Mutex // held by whoever writes.
}

// Open opens the history at path and brings its schema up to date; a file
// that does not exist is made. It and its log files are readable by their
// owner alone. It must be closed.
func Open(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	err = errors.Join(f.Chmod(0o600), f.Close())
	if err != nil {
		return nil, fmt.Errorf("open the history %s: %w", path, err)
	}
	db := &DB{path: path}
	if db.writer, err = connect(path, 1, "_txlock=immediate"); err != nil {
		return nil, err
	}
	if db.readers, err = connect(path, 4, "_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(err, db.writer.Close())
	}
	if err := db.migrate(ctx, migrations()); err != nil {
		return nil, errors.Join(db.failure("open the history", err), db.Close())
	}
	return db, nil
}

func connect(path string, most int, option string) (*sql.DB, error) {
	source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + option}
	c, err := sql.Open("sqlite", source.String())
	if err != nil {
		return nil, fmt.Errorf("open the history %s: %w", path, err)
	}
	c.SetMaxOpenConns(most)
	c.SetMaxIdleConns(most)
	return c, nil
}

// Close closes the history. Methods that are under way fail.
func (db *DB) Close() error {
	// The writer goes last: the last connection to close folds the log into
	// the file, and a reader may not write.
	return errors.Join(db.readers.Close(), db.writer.Close())
}

// A writing waits for its turn in a transaction.
type writing struct {
	ctx  context.Context //nolint:containedctx // it lives as long as the call that it came with.
	fn   func(context.Context, *sql.Tx) error
	done bool
	err  error
}

// write runs fn in a transaction and returns when it is on disk. Whoever gets
// the turn takes along what the others want written, so that one sync serves
// them all. fn may be rolled back alone; it must not keep the Tx.
func (db *DB) write(ctx context.Context, what string, fn func(context.Context, *sql.Tx) error) error {
	w := &writing{ctx: ctx, fn: fn}
	db.mu.Lock()
	db.queue = append(db.queue, w)
	db.mu.Unlock()

	db.turn.Lock()
	defer db.turn.Unlock()
	if !w.done {
		db.mu.Lock()
		batch := db.queue
		db.queue = nil
		db.mu.Unlock()
		// One caller that gives up must not undo what it writes for others.
		db.commit(context.WithoutCancel(ctx), batch)
	}
	return db.failure(what, w.err)
}

// commit writes a batch, each part of it apart from the others.
func (db *DB) commit(ctx context.Context, batch []*writing) {
	err := db.transact(ctx, batch)
	for _, w := range batch {
		w.done = true
		if w.err == nil {
			w.err = err
		}
	}
}

func (db *DB) transact(ctx context.Context, batch []*writing) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	wrote := false
	for _, w := range batch {
		if w.err = w.ctx.Err(); w.err != nil {
			continue // nobody waits for it.
		}
		if _, err := tx.ExecContext(ctx, "SAVEPOINT part"); err != nil {
			return err
		}
		if w.err = w.fn(ctx, tx); w.err != nil {
			if _, err := tx.ExecContext(ctx, "ROLLBACK TO part"); err != nil {
				return fmt.Errorf("undo: %w", errors.Join(err, w.err))
			}
		} else {
			wrote = true
		}
		if _, err := tx.ExecContext(ctx, "RELEASE part"); err != nil {
			return err
		}
	}
	if !wrote {
		return nil
	}
	return tx.Commit()
}

// failure gives an error the code and the words that its reader can act on.
func (db *DB) failure(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return mesh.Errorf(mesh.NotFound, "%s: there is none", what)
	}
	if _, ok := errors.AsType[*mesh.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lib.SQLITE_FULL:
			return mesh.Errorf(mesh.Unavailable, "%s: the disk of %s is full: %w", what, db.path, err).
				WithHint("free some space; nothing that was confirmed is lost")
		case lib.SQLITE_IOERR, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
			return mesh.Errorf(mesh.Unavailable, "%s: %s cannot be read or written: %w", what, db.path, err).
				WithHint("see the owner of the file and the health of its disk")
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
			return mesh.Errorf(mesh.Unavailable, "%s: %s is locked by another process: %w", what, db.path, err)
		case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
			return mesh.Errorf(mesh.Internal, "%s: %s is damaged, or not a history of ALPS: %w", what, db.path, err).
				WithHint("stop the server and restore the file from a backup")
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// taken reports whether err says that a key exists already.
func taken(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// one says that a statement must have changed a row.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return sql.ErrNoRows
	}
	return err
}

// millis is how a time is kept; at is the way back.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// scanner is a row of either kind.
type scanner interface{ Scan(dest ...any) error }

// query reads all rows of a query.
func query[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// text scans a row of one string.
func text(r scanner) (string, error) {
	var s string
	err := r.Scan(&s)
	return s, err
}
