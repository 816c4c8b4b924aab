package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"alps/mesh"
	"alps/server/enrol"
)

var _ enrol.Store = (*DB)(nil)

const joinColumns = "id, secret_hash, role, reusable, created_by, created, expires, uses, last_used, used_by_key"

func scanJoinToken(r scanner) (enrol.JoinToken, error) {
	var t enrol.JoinToken
	var created, expires, used int64
	err := r.Scan(&t.ID, &t.SecretHash, &t.Role, &t.Reusable, &t.CreatedBy, &created, &expires, &t.Uses, &used, &t.UsedByKey)
	t.Created, t.Expires, t.LastUsed = at(created), at(expires), at(used)
	return t, err
}

// SaveJoinToken implements enrol.TokenStore.
func (db *DB) SaveJoinToken(ctx context.Context, t enrol.JoinToken) error {
	return db.write(ctx, "store the join token", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO join_tokens ("+joinColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.ID, t.SecretHash, t.Role, t.Reusable, t.CreatedBy, millis(t.Created), millis(t.Expires), t.Uses, millis(t.LastUsed), t.UsedByKey)
		if taken(err) {
			return mesh.Errorf(mesh.Conflict, "a join token %q exists", t.ID)
		}
		return err
	})
}

// JoinTokenByID implements enrol.TokenStore.
func (db *DB) JoinTokenByID(ctx context.Context, id string) (enrol.JoinToken, error) {
	t, err := scanJoinToken(db.readers.QueryRowContext(ctx, "SELECT "+joinColumns+" FROM join_tokens WHERE id = ?", id))
	return t, db.failure("find the join token "+id, err)
}

// JoinTokens implements enrol.TokenStore.
func (db *DB) JoinTokens(ctx context.Context) ([]enrol.JoinToken, error) {
	list, err := query(ctx, db, scanJoinToken, "SELECT "+joinColumns+" FROM join_tokens ORDER BY created DESC, id")
	return list, db.failure("list the join tokens", err)
}

// UseJoinToken implements enrol.TokenStore.
func (db *DB) UseJoinToken(ctx context.Context, id, key string, now time.Time) (enrol.JoinToken, error) {
	var t enrol.JoinToken
	err := db.write(ctx, "use the join token "+id, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		t, err = scanJoinToken(tx.QueryRowContext(ctx, "SELECT "+joinColumns+" FROM join_tokens WHERE id = ?", id))
		switch {
		case err != nil:
			return err
		case !now.Before(t.Expires):
			return mesh.Errorf(mesh.Denied, "the join token %q expired %s", id, t.Expires.Format(time.RFC3339))
		case !t.Reusable && t.Uses > 0 && t.UsedByKey == key:
			return nil // its answer was lost on the way; it is the same use.
		case !t.Reusable && t.Uses > 0:
			return mesh.Errorf(mesh.Denied, "the join token %q was used", id)
		}
		t.Uses++
		t.LastUsed, t.UsedByKey = at(millis(now)), key
		_, err = tx.ExecContext(ctx, "UPDATE join_tokens SET uses = ?, last_used = ?, used_by_key = ? WHERE id = ?",
			t.Uses, millis(now), key, id)
		return err
	})
	if err != nil {
		return enrol.JoinToken{}, err
	}
	return t, nil
}

// ExpireJoinToken implements enrol.TokenStore.
func (db *DB) ExpireJoinToken(ctx context.Context, id string, when time.Time) error {
	return db.write(ctx, "expire the join token "+id, func(ctx context.Context, tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, "UPDATE join_tokens SET expires = min(expires, ?) WHERE id = ?", millis(when), id))
	})
}

const nodeColumns = "id, machine_id, dmi_uuid, hostname, key, role, token_id, enrolled_at, not_after, notes, revoked_at, revoked_by, revoked_for"

func scanNode(r scanner) (enrol.Node, error) {
	var n enrol.Node
	var enrolled, notAfter, revoked int64
	var notes []byte
	e := &n.Evidence
	err := r.Scan(&n.ID, &e.MachineID, &e.DMIUUID, &e.Hostname, &e.Key, &n.Role, &n.TokenID, &enrolled, &notAfter, &notes,
		&revoked, &n.Revocation.By, &n.Revocation.Reason)
	if err != nil {
		return n, err
	}
	n.EnrolledAt, n.NotAfter, n.Revocation.At = at(enrolled), at(notAfter), at(revoked)
	return n, json.Unmarshal(notes, &n.Notes)
}

// SaveNode implements enrol.NodeStore.
func (db *DB) SaveNode(ctx context.Context, n enrol.Node) error {
	notes, err := json.Marshal(n.Notes)
	if err != nil {
		return err
	}
	return db.write(ctx, "store the node "+string(n.ID), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO nodes (id, machine_id, dmi_uuid, hostname, key, role, token_id, enrolled_at, not_after, notes)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET machine_id = excluded.machine_id, dmi_uuid = excluded.dmi_uuid, hostname = excluded.hostname,
			key = excluded.key, role = excluded.role, token_id = excluded.token_id, enrolled_at = excluded.enrolled_at,
			not_after = excluded.not_after, notes = excluded.notes`,
			n.ID, n.Evidence.MachineID, n.Evidence.DMIUUID, n.Evidence.Hostname, n.Evidence.Key, n.Role, n.TokenID,
			millis(n.EnrolledAt), millis(n.NotAfter), string(notes))
		return err
	})
}

// NodeByID implements enrol.NodeStore.
func (db *DB) NodeByID(ctx context.Context, id mesh.NodeID) (enrol.Node, error) {
	n, err := scanNode(db.readers.QueryRowContext(ctx, "SELECT "+nodeColumns+" FROM nodes WHERE id = ?", id))
	return n, db.failure("find the node "+string(id), err)
}

// Nodes lists every node that has enrolled, revoked ones too, by EnrolledAt,
// then by ID.
func (db *DB) Nodes(ctx context.Context) ([]enrol.Node, error) {
	list, err := query(ctx, db, scanNode, "SELECT "+nodeColumns+" FROM nodes ORDER BY enrolled_at, id")
	return list, db.failure("list the nodes", err)
}

// NodesByEvidence implements enrol.NodeStore.
func (db *DB) NodesByEvidence(ctx context.Context, e enrol.Evidence) ([]enrol.Node, error) {
	list, err := query(ctx, db, scanNode, "SELECT "+nodeColumns+` FROM nodes
		WHERE machine_id != '' AND machine_id = ? OR dmi_uuid != '' AND dmi_uuid = ?
		OR hostname != '' AND hostname = ? OR key != '' AND key = ? ORDER BY enrolled_at, id`,
		e.MachineID, e.DMIUUID, e.Hostname, e.Key)
	return list, db.failure("find nodes by evidence", err)
}

// Revoke implements enrol.NodeStore.
func (db *DB) Revoke(ctx context.Context, id mesh.NodeID, r enrol.Revocation) error {
	return db.write(ctx, "revoke the node "+string(id), func(ctx context.Context, tx *sql.Tx) error {
		var revoked bool
		if err := tx.QueryRowContext(ctx, "SELECT revoked FROM nodes WHERE id = ?", id).Scan(&revoked); err != nil || revoked {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE nodes SET revoked = 1, revoked_at = ?, revoked_by = ?, revoked_for = ? WHERE id = ?",
			millis(r.At), r.By, r.Reason, id)
		return err
	})
}

// Revoked implements enrol.NodeStore.
func (db *DB) Revoked(ctx context.Context) ([]mesh.NodeID, error) {
	list, err := query(ctx, db, func(r scanner) (mesh.NodeID, error) {
		s, err := text(r)
		return mesh.NodeID(s), err
	}, "SELECT id FROM nodes WHERE revoked = 1 ORDER BY id")
	return list, db.failure("list the revoked nodes", err)
}
