package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"alps/mesh"
	"alps/server/alert"
	"alps/server/notify"
)

var (
	_ alert.Store   = (*DB)(nil)
	_ notify.Outbox = (*DB)(nil)
)

// SaveIncidents implements alert.Store.
func (db *DB) SaveIncidents(ctx context.Context, term uint64, changes []alert.Change) error {
	return db.fencedTx(ctx, term, "store incidents", func(ctx context.Context, tx *sql.Tx) error {
		for i := range changes {
			if err := saveIncident(ctx, tx, &changes[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func saveIncident(ctx context.Context, tx *sql.Tx, c *alert.Change) error {
	r := c.Record
	r.Timeline = nil
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var seq int64
	err = tx.QueryRowContext(ctx, `INSERT INTO incidents (id, problem, rule, status, closed, muted, doc) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET problem = excluded.problem, rule = excluded.rule, status = excluded.status,
			closed = excluded.closed, muted = excluded.muted, doc = excluded.doc
		RETURNING seq`,
		string(r.ID), r.Key(), r.Rule, string(r.Status), millis(r.Closed), r.Muted, string(doc)).Scan(&seq)
	if taken(err) {
		return mesh.Errorf(mesh.Conflict, "store the incident %s: another one of the same problem is open", r.ID)
	}
	if err != nil {
		return err
	}
	if err := addLines(ctx, tx, seq, c.Events); err != nil {
		return err
	}
	for _, d := range c.Deliveries {
		if err := addDelivery(ctx, tx, seq, d); err != nil {
			return err
		}
	}
	return nil
}

// addLines adds to the story of an incident, and leaves out of its middle what
// is too much.
func addLines(ctx context.Context, tx *sql.Tx, incident int64, lines []mesh.IncidentEvent) error {
	if len(lines) == 0 {
		return nil
	}
	var n int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(n), 0) FROM incident_events WHERE incident = ?", incident).Scan(&n)
	if err != nil {
		return err
	}
	for _, l := range lines {
		n++
		data, err := json.Marshal(l.Data)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO incident_events (incident, n, at, kind, actor, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
			incident, n, millis(l.At), string(l.Kind), l.Actor, l.Text, string(data))
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM incident_events WHERE incident = ? AND n > ? AND n <= ?",
		incident, alert.TimelineHead, n-alert.TimelineTail)
	return err
}

func addDelivery(ctx context.Context, tx *sql.Tx, incident int64, d alert.Delivery) error {
	d.Incident.Timeline = nil
	doc, err := json.Marshal(d.Incident)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (incident, n, receiver, kind, text, at, unleased, state, tries, next, settled, error, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', ?)`,
		incident, d.N, d.Receiver, string(d.Kind), d.Text, millis(d.At), d.Unleased, string(notify.Waiting), string(doc))
	return err
}

func scanRecord(r scanner) (alert.Record, error) {
	var rec alert.Record
	var doc []byte
	if err := r.Scan(&doc); err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(doc, &rec)
}

// OpenIncidents implements alert.Store.
func (db *DB) OpenIncidents(ctx context.Context, since time.Time) ([]alert.Record, error) {
	list, err := query(ctx, db, scanRecord,
		"SELECT doc FROM incidents WHERE status <> 'closed' OR muted <> 0 OR closed >= ? ORDER BY seq", millis(since))
	return list, db.failure("read the open incidents", err)
}

// IncidentRecord implements alert.Store.
func (db *DB) IncidentRecord(ctx context.Context, id mesh.IncidentID) (alert.Record, error) {
	rec, err := scanRecord(db.readers.QueryRowContext(ctx, "SELECT doc FROM incidents WHERE id = ?", string(id)))
	return rec, db.failure("read the incident "+string(id), err)
}

// Incident implements alert.Store.
func (db *DB) Incident(ctx context.Context, id string) (mesh.Incident, error) {
	// Ids are hexadecimal, so "g" is behind all that begin with id.
	list, err := query(ctx, db, scanRecord, "SELECT doc FROM incidents WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", id, id+"g")
	switch {
	case err != nil:
		return mesh.Incident{}, db.failure("read the incident "+id, err)
	case len(list) == 0:
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident %s", id)
	case len(list) > 1:
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "%s begins the ids of several incidents", id).WithHint("type more of it")
	}
	out := list[0].Incident
	out.Timeline, err = db.timeline(ctx, out.ID)
	return out, db.failure("read the story of the incident "+id, err)
}

// timeline reads the lines of an incident, and says where some were left out.
func (db *DB) timeline(ctx context.Context, id mesh.IncidentID) ([]mesh.IncidentEvent, error) {
	var out []mesh.IncidentEvent
	var last int64
	_, err := query(ctx, db, func(r scanner) (struct{}, error) {
		var l mesh.IncidentEvent
		var n, ms int64
		var data []byte
		if err := r.Scan(&n, &ms, &l.Kind, &l.Actor, &l.Text, &data); err != nil {
			return struct{}{}, err
		}
		l.At = at(ms)
		if err := json.Unmarshal(data, &l.Data); err != nil {
			return struct{}{}, err
		}
		if left := n - last - 1; left > 0 {
			out = append(out, mesh.IncidentEvent{
				At: l.At, Kind: mesh.EventComment, Actor: "alps", Text: fmt.Sprintf("%d lines are left out here", left),
			})
		}
		last = n
		out = append(out, l)
		return struct{}{}, nil
	}, `SELECT n, at, kind, actor, text, data FROM incident_events
		WHERE incident = (SELECT seq FROM incidents WHERE id = ?) ORDER BY n`, string(id))
	return out, err
}

// Incidents implements alert.Store.
func (db *DB) Incidents(ctx context.Context, f alert.Filter) ([]mesh.Incident, error) {
	var where []string
	var args []any
	add := func(cond string, arg ...any) { where, args = append(where, cond), append(args, arg...) }
	if len(f.Status) > 0 {
		add("status IN (" + marks(len(f.Status)) + ")")
		for _, s := range f.Status {
			args = append(args, string(s))
		}
	}
	if f.Rule != "" {
		add("rule = ?", f.Rule)
	}
	if f.Before != "" {
		var closed bool
		var seq int64
		err := db.readers.QueryRowContext(ctx, "SELECT status = 'closed', seq FROM incidents WHERE id = ?", string(f.Before)).Scan(&closed, &seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, mesh.Errorf(mesh.NotFound, "list incidents: there is no incident %s to begin after", f.Before)
		}
		if err != nil {
			return nil, db.failure("list incidents", err)
		}
		add("((status = 'closed') > ? OR (status = 'closed') = ? AND seq < ?)", closed, closed, seq)
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	list, err := query(ctx, db, func(r scanner) (mesh.Incident, error) {
		rec, err := scanRecord(r)
		return rec.Incident, err
	}, "SELECT doc FROM incidents"+conditions(where)+" ORDER BY status = 'closed', seq DESC LIMIT ?", append(args, limit)...)
	return list, db.failure("list incidents", err)
}

// WaitingDeliveries implements notify.Outbox.
func (db *DB) WaitingDeliveries(ctx context.Context, receiver string, after int64, limit int) ([]notify.Delivery, error) {
	list, err := query(ctx, db, func(r scanner) (notify.Delivery, error) {
		d := notify.Delivery{Receiver: receiver}
		var n, ms, next int64
		var doc []byte
		if err := r.Scan(&d.Seq, &n, &d.Kind, &d.Text, &ms, &d.Unleased, &d.Tries, &next, &doc); err != nil {
			return d, err
		}
		d.At, d.Next = at(ms), at(next)
		err := json.Unmarshal(doc, &d.Incident)
		d.ID = string(d.Incident.ID) + "/" + strconv.FormatInt(n, 10)
		return d, err
	}, `SELECT seq, n, kind, text, at, unleased, tries, next, doc FROM outbox
		WHERE state = 'waiting' AND receiver = ? AND seq > ? ORDER BY seq LIMIT ?`, receiver, after, limit)
	return list, db.failure("read the outbox", err)
}

// SettleDelivery implements notify.Outbox. What was settled needs its document
// no more.
func (db *DB) SettleDelivery(ctx context.Context, term uint64, o notify.Outcome) error {
	return db.fencedTx(ctx, term, "record the fate of a delivery", func(ctx context.Context, tx *sql.Tx) error {
		var settled int64
		if o.State != notify.Waiting {
			settled = millis(o.At)
		}
		var incident int64
		err := tx.QueryRowContext(ctx, `UPDATE outbox SET state = ?, tries = ?, next = ?, error = ?, settled = ?,
			doc = CASE ? WHEN 'waiting' THEN doc ELSE '' END WHERE seq = ? AND state = 'waiting' RETURNING incident`,
			string(o.State), o.Tries, millis(o.Next), o.Error, settled, string(o.State), o.Seq).Scan(&incident)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it was settled before.
		}
		if err != nil || o.Event == nil {
			return err
		}
		return addLines(ctx, tx, incident, []mesh.IncidentEvent{*o.Event})
	})
}
