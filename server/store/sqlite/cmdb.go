package sqlite

import (
	"context"
	"database/sql"
	"time"

	"alps/mesh"
	"alps/server/cmdb"
)

var (
	_ cmdb.History = (*DB)(nil)
	_ cmdb.Roster  = (*DB)(nil)
)

// Enrolled implements cmdb.Roster. It gives no names: what is kept of an
// enrolment is a host name, which agents on one host share.
func (db *DB) Enrolled(ctx context.Context) ([]cmdb.Enrolment, error) {
	list, err := query(ctx, db, func(r scanner) (cmdb.Enrolment, error) {
		var e cmdb.Enrolment
		var ms int64
		err := r.Scan(&e.ID, &ms, &e.Revoked)
		e.EnrolledAt = at(ms)
		return e, err
	}, "SELECT id, enrolled_at, revoked FROM nodes ORDER BY id")
	return list, db.failure("list the enrolled nodes", err)
}

// RecordChanges implements cmdb.History.
func (db *DB) RecordChanges(ctx context.Context, changes []cmdb.Change) error {
	return db.write(ctx, "record how nodes have changed", func(ctx context.Context, tx *sql.Tx) error {
		add, err := tx.PrepareContext(ctx, `INSERT INTO node_changes (node, name, field, old, new, at)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (node, at, field) DO NOTHING`)
		if err != nil {
			return err
		}
		defer add.Close()
		for _, c := range changes {
			if _, err := add.ExecContext(ctx, string(c.Node), string(c.Name), c.Field, c.Old, c.New, millis(c.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeFilter limits a list of changes. The zero ChangeFilter asks for all.
type ChangeFilter struct {
	Node  mesh.NodeID
	Field string
	Since time.Time // this time or later.
	Limit int       // 0 means no limit.
}

// Changes lists how nodes have changed, the newest first.
func (db *DB) Changes(ctx context.Context, f ChangeFilter) ([]cmdb.Change, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) { where, args = append(where, cond), append(args, arg) }
	if f.Node != "" {
		add("node = ?", string(f.Node))
	}
	if f.Field != "" {
		add("field = ?", f.Field)
	}
	if !f.Since.IsZero() {
		add("at >= ?", millis(f.Since))
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	list, err := query(ctx, db, func(r scanner) (cmdb.Change, error) {
		var c cmdb.Change
		var ms int64
		err := r.Scan(&c.Node, &c.Name, &c.Field, &c.Old, &c.New, &ms)
		c.At = at(ms)
		return c, err
	}, "SELECT node, name, field, old, new, at FROM node_changes"+conditions(where)+" ORDER BY at DESC, seq DESC LIMIT ?", append(args, limit)...)
	return list, db.failure("read how nodes have changed", err)
}
