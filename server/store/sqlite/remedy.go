package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"alps/mesh"
	"alps/server/remedy"
)

var _ remedy.Store = (*DB)(nil)

// PutRemedyRuns implements remedy.Store.
func (db *DB) PutRemedyRuns(ctx context.Context, term uint64, runs []remedy.Record) error {
	return db.fencedTx(ctx, term, "store what policies do", func(ctx context.Context, tx *sql.Tx) error {
		for i := range runs {
			if err := putRemedyRun(ctx, tx, &runs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func putRemedyRun(ctx context.Context, tx *sql.Tx, r *remedy.Record) error {
	docs, err := documents(r)
	if err != nil {
		return err
	}
	phase := phaseOf(r.State)
	if phase == phaseOpen {
		if err := mayOpen(ctx, tx, r); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO remedy_runs (id, policy, lane, place, incident, guard, acts, open, told, decided, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET guard = excluded.guard, acts = excluded.acts, open = excluded.open, told = excluded.told, doc = excluded.doc`,
		string(r.ID), r.Policy, r.Group, r.DC+"/"+string(r.Node), string(r.Incident), r.Guard, r.State.Acts(), phase, r.Told, millis(r.Decided), docs[0])
	if taken(err) {
		return mesh.Errorf(mesh.Conflict, "another run of its group, or on its node, is under way: one at a time")
	}
	return err
}

// What the column open says.
const (
	phaseEnded    = 0
	phaseOpen     = 1 // at most one row of a group, and of a node.
	phaseProposed = 2
)

func phaseOf(s mesh.RemedyState) int {
	switch {
	case s.Open():
		return phaseOpen
	case s == mesh.RemedyProposed:
		return phaseProposed
	}
	return phaseEnded
}

// mayOpen refuses a run that is not under way yet while it is paused.
func mayOpen(ctx context.Context, tx *sql.Tx, r *remedy.Record) error {
	var paused, known bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM remedy_pauses WHERE policy = '' AND lane = '' OR policy = ? OR policy = '' AND lane = ?),
		EXISTS (SELECT 1 FROM remedy_runs WHERE id = ? AND open = 1)`, r.Policy, r.Group, string(r.ID)).Scan(&paused, &known)
	if err == nil && paused && !known {
		return mesh.Errorf(mesh.Conflict, "the policy is paused")
	}
	return err
}

// RemedyRuns implements remedy.Store.
func (db *DB) RemedyRuns(ctx context.Context, f remedy.Filter) ([]remedy.Record, error) {
	var where []string
	var args []any
	add := func(cond string, values ...any) { where, args = append(where, cond), append(args, values...) }
	if f.ID != "" {
		add("id = ?", string(f.ID))
	}
	if f.Policy != "" {
		add("policy = ?", f.Policy)
	}
	if f.Incident != "" {
		add("incident = ?", string(f.Incident))
	}
	if f.Guard != "" {
		add("guard = ?", string(f.Guard))
	}
	for _, c := range []struct {
		wanted bool
		cond   string
	}{{f.Acts, "acts = 1"}, {f.Open, "open = 1"}, {f.Proposed, "open = 2"}, {f.Untold, "told = 0"}} {
		if c.wanted {
			add(c.cond)
		}
	}
	if !f.Since.IsZero() {
		add("decided >= ?", millis(f.Since))
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	list, err := query(ctx, db, document[remedy.Record],
		"SELECT doc FROM remedy_runs"+conditions(where)+" ORDER BY decided DESC, seq DESC LIMIT ?", append(args, limit)...)
	return list, db.failure("list what policies did", err)
}

// document scans a row of one JSON document.
func document[T any](r scanner) (T, error) {
	var v T
	var doc []byte
	if err := r.Scan(&doc); err != nil {
		return v, err
	}
	return v, json.Unmarshal(doc, &v)
}

// RemedySwitch implements remedy.Store.
func (db *DB) RemedySwitch(ctx context.Context) (remedy.Switch, error) {
	sw := remedy.Switch{Resumed: make(map[string]remedy.Pause)}
	var err error
	if sw.Paused, err = query(ctx, db, document[remedy.Pause], "SELECT doc FROM remedy_pauses"); err != nil {
		return sw, db.failure("read what is paused", err)
	}
	remedy.SortPauses(sw.Paused)
	type row struct {
		policy string
		doc    []byte
	}
	resumed, err := query(ctx, db, func(r scanner) (row, error) {
		var v row
		err := r.Scan(&v.policy, &v.doc)
		return v, err
	}, "SELECT policy, doc FROM remedy_resumed")
	for _, r := range resumed {
		var p remedy.Pause
		err = errors.Join(err, json.Unmarshal(r.doc, &p))
		sw.Resumed[r.policy] = p
	}
	return sw, db.failure("read what was resumed", err)
}

// PauseRemedy implements remedy.Store.
func (db *DB) PauseRemedy(ctx context.Context, p remedy.Pause) error {
	docs, err := documents(p)
	if err != nil {
		return err
	}
	return db.write(ctx, "pause remediation", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO remedy_pauses (policy, lane, doc) VALUES (?, ?, ?)", p.Policy, p.Group, docs[0])
		return err
	})
}

// ResumeRemedy implements remedy.Store.
func (db *DB) ResumeRemedy(ctx context.Context, p remedy.Pause) error {
	docs, err := documents(p)
	if err != nil {
		return err
	}
	return db.write(ctx, "resume remediation", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM remedy_pauses WHERE policy = ? AND lane = ?", p.Policy, p.Group)
		if err != nil || p.Policy == "" {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO remedy_resumed (policy, doc) VALUES (?, ?)", p.Policy, docs[0])
		return err
	})
}
