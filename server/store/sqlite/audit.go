package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"alps/mesh"
)

// AuditFilter limits a list of audit lines. The zero AuditFilter asks for all.
type AuditFilter struct {
	Actor  string
	Action string // exact, or a noun with all its verbs: "job.".
	Object string
	Since  time.Time // this time or later.
	Until  time.Time // before this time.
	Before int64     // only lines before this one, as returned with the page; 0 to begin.
	Limit  int       // 0 means no limit.
}

// Record adds an audit line.
func (db *DB) Record(ctx context.Context, a mesh.Audit) error {
	return db.write(ctx, "record the audit line", func(ctx context.Context, tx *sql.Tx) error { return addAudit(ctx, tx, a) })
}

func addAudit(ctx context.Context, tx *sql.Tx, a mesh.Audit) error {
	detail, err := json.Marshal(a.Detail)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit (at, actor, origin, action, object, outcome, reason, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		millis(a.Time), a.Actor, a.From, a.Action, a.Object, string(a.Outcome), a.Reason, string(detail))
	return err
}

// Audit lists audit lines, the newest first, and returns what to give as
// Before to have the next page, 0 at the end.
func (db *DB) Audit(ctx context.Context, f AuditFilter) ([]mesh.Audit, int64, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) { where, args = append(where, cond), append(args, arg) }
	if f.Actor != "" {
		add("actor = ?", f.Actor)
	}
	if strings.HasSuffix(f.Action, ".") {
		add("substr(action, 1, length(?)) = ?", f.Action)
		args = append(args, f.Action)
	} else if f.Action != "" {
		add("action = ?", f.Action)
	}
	if f.Object != "" {
		add("object = ?", f.Object)
	}
	if !f.Since.IsZero() {
		add("at >= ?", millis(f.Since))
	}
	if !f.Until.IsZero() {
		add("at < ?", millis(f.Until))
	}
	if f.Before > 0 {
		add("seq < ?", f.Before)
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	var last int64
	lines, err := query(ctx, db, func(r scanner) (mesh.Audit, error) {
		var a mesh.Audit
		var ms int64
		var detail []byte
		err := r.Scan(&last, &ms, &a.Actor, &a.From, &a.Action, &a.Object, &a.Outcome, &a.Reason, &detail)
		if err != nil {
			return a, err
		}
		a.Time = at(ms)
		return a, json.Unmarshal(detail, &a.Detail)
	}, "SELECT seq, at, actor, origin, action, object, outcome, reason, detail FROM audit"+
		conditions(where)+" ORDER BY seq DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, 0, db.failure("read the audit", err)
	}
	if limit < 0 || len(lines) < limit {
		last = 0
	}
	return lines, last, nil
}

// conditions makes the WHERE of a query.
func conditions(where []string) string {
	if len(where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(where, " AND ")
}
