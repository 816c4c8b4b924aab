package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"alps/mesh"
	"alps/server/job"
)

var _ job.History = (*DB)(nil)

const jobColumns = "id, attempt, author, signer, title, expr, created, expires, token, content, envelope, spec, plan, " +
	"phase, gen, wave, ctl, stopped, counts, woke, ended"

var insertJob = "INSERT INTO jobs (" + jobColumns + ") VALUES (" + marks(21) + ")"

func scanJob(r scanner) (job.Job, error) {
	var j job.Job
	var created, expires, ended int64
	var envelope, ctl, spec, plan, counts, woke []byte
	err := r.Scan(&j.ID, &j.Attempt, &j.Author, &j.Signer, &j.Title, &j.Expr, &created, &expires, &j.Token, &j.Content,
		&envelope, &spec, &plan, &j.Phase, &j.Gen, &j.Wave, &ctl, &j.Stopped, &counts, &woke, &ended)
	if err != nil {
		return j, err
	}
	j.Created, j.Expires, j.Ended, j.Envelope, j.Ctl = at(created), at(expires), at(ended), envelope, ctl
	for _, d := range []struct {
		doc []byte
		to  any
	}{{spec, &j.Spec}, {plan, &j.Plan}, {counts, &j.Counts}, {woke, &j.Woke}} {
		if err := json.Unmarshal(d.doc, d.to); err != nil {
			return j, err
		}
	}
	return j, nil
}

// documents encodes values as JSON, for columns of TEXT.
func documents(values ...any) ([]any, error) {
	out := make([]any, len(values))
	for i, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out[i] = string(b)
	}
	return out, nil
}

// Create implements job.Jobs.
func (db *DB) Create(ctx context.Context, n job.NewJob) error {
	j := n.Job
	docs, err := documents(j.Spec, j.Plan, j.Counts, j.Woke)
	if err != nil {
		return err
	}
	return db.write(ctx, "store the job "+string(j.ID), func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, insertJob,
			j.ID, j.Attempt, j.Author, j.Signer, j.Title, j.Expr, millis(j.Created), millis(j.Expires), j.Token, j.Content,
			[]byte(j.Envelope), docs[0], docs[1], j.Phase, j.Gen, j.Wave, []byte(j.Ctl), j.Stopped, docs[2], docs[3], millis(j.Ended))
		if taken(err) {
			return mesh.Errorf(mesh.Conflict, "store the job %s: its id or its submit token was used", j.ID)
		}
		if err != nil {
			return err
		}
		seq, err := res.LastInsertId()
		if err != nil {
			return err
		}
		if err := putTargets(ctx, tx, seq, n.Targets); err != nil {
			return err
		}
		for _, p := range n.Places {
			_, err := tx.ExecContext(ctx, "INSERT INTO places (job, dc, published, gen, cleaned) VALUES (?, ?, ?, ?, ?)",
				seq, p.DC, p.Published, p.Gen, p.Cleaned)
			if err != nil {
				return err
			}
		}
		if j.Spec.Script != nil && n.Script != nil {
			if err := putOutput(ctx, tx, j.Spec.Script.SHA256, n.Script); err != nil {
				return err
			}
		}
		return addAudit(ctx, tx, n.Audit)
	})
}

// Apply implements job.Jobs.
func (db *DB) Apply(ctx context.Context, c job.Change) error {
	return db.write(ctx, "store what has become of jobs", func(ctx context.Context, tx *sql.Tx) error {
		for _, j := range c.Jobs {
			if err := updateJob(ctx, tx, j); err != nil {
				return err
			}
		}
		for id, targets := range c.Targets {
			var seq int64
			if err := tx.QueryRowContext(ctx, "SELECT seq FROM jobs WHERE id = ?", id).Scan(&seq); err != nil {
				return err
			}
			if err := putTargets(ctx, tx, seq, targets); err != nil {
				return err
			}
		}
		for digest, body := range c.Outputs {
			if err := putOutput(ctx, tx, digest, body); err != nil {
				return err
			}
		}
		for digest, nodes := range c.Wanted {
			for _, n := range nodes {
				_, err := tx.ExecContext(ctx, "INSERT INTO wanted (digest, node) VALUES (?, ?) ON CONFLICT DO NOTHING", digest, n)
				if err != nil {
					return err
				}
			}
		}
		if err := applyBoards(ctx, tx, c); err != nil {
			return err
		}
		for _, a := range c.Audit {
			if err := addAudit(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

func updateJob(ctx context.Context, tx *sql.Tx, j job.Job) error {
	docs, err := documents(j.Counts, j.Woke)
	if err != nil {
		return err
	}
	return one(tx.ExecContext(ctx, `UPDATE jobs SET phase = ?, gen = ?, wave = ?, ctl = ?, stopped = ?, counts = ?, woke = ?, ended = ?
		WHERE id = ?`, j.Phase, j.Gen, j.Wave, []byte(j.Ctl), j.Stopped, docs[0], docs[1], millis(j.Ended), j.ID))
}

var putMarks = "INSERT INTO marks (dc, shard, epoch, seq) VALUES " + rows(mesh.Shards, 4) +
	" ON CONFLICT (dc, shard) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq"

func applyBoards(ctx context.Context, tx *sql.Tx, c job.Change) error {
	for _, p := range c.Places {
		_, err := tx.ExecContext(ctx, `UPDATE places SET published = ?, gen = ?, cleaned = ?
			WHERE job = (SELECT seq FROM jobs WHERE id = ?) AND dc = ?`, p.Published, p.Gen, p.Cleaned, p.Job, p.DC)
		if err != nil {
			return err
		}
	}
	for dc, list := range c.Marks {
		args := make([]any, 0, 4*len(list))
		for shard, m := range list {
			args = append(args, dc, shard, m.Epoch, int64(m.Seq))
		}
		_, err := tx.ExecContext(ctx, putMarks, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	targetColumns = "job, idx, node, name, dc, wave, listed, state, reason, code, signal, woke, inferred, at, started, ended, " +
		"out_bytes, out_cut, out_digest, err_bytes, err_cut, err_digest"
	targetWidth = 22
	// targetRows go into one statement. Parsing it is then shared, but the
	// driver's time to bind grows with the square of the parameters: 8 rows
	// are four times as fast as 100.
	targetRows = 8
)

// putTargets adds targets or, where they are, replaces State and what follows
// it: full statements first, then the rest one by one.
func putTargets(ctx context.Context, tx *sql.Tx, seq int64, targets []job.Target) error {
	full := len(targets) - len(targets)%targetRows
	if err := putChunks(ctx, tx, seq, targetRows, targets[:full]); err != nil {
		return err
	}
	return putChunks(ctx, tx, seq, 1, targets[full:])
}

// putChunks puts targets, n in each statement; n divides their number.
func putChunks(ctx context.Context, tx *sql.Tx, seq int64, n int, targets []job.Target) error {
	if len(targets) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO targets ("+targetColumns+") VALUES "+rows(n, targetWidth)+` ON CONFLICT (job, idx) DO UPDATE
		SET state = excluded.state, reason = excluded.reason, code = excluded.code, signal = excluded.signal, woke = excluded.woke,
		inferred = excluded.inferred, at = excluded.at, started = excluded.started, ended = excluded.ended,
		out_bytes = excluded.out_bytes, out_cut = excluded.out_cut, out_digest = excluded.out_digest,
		err_bytes = excluded.err_bytes, err_cut = excluded.err_cut, err_digest = excluded.err_digest`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	args := make([]any, 0, n*targetWidth)
	for ; len(targets) > 0; targets = targets[n:] {
		args = args[:0]
		for i := range n {
			args = append(args, targetRow(seq, &targets[i])...)
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func targetRow(seq int64, t *job.Target) []any {
	return []any{
		seq, t.Index, string(t.Node), string(t.Name), t.DC, t.Wave, t.Listed, string(t.State), t.Reason, t.Code, t.Signal, string(t.Woke),
		t.Inferred, millis(t.At), millis(t.Started), millis(t.Ended),
		t.Stdout.Bytes, t.Stdout.Truncated, t.Stdout.Digest, t.Stderr.Bytes, t.Stderr.Truncated, t.Stderr.Digest,
	}
}

func scanTarget(r scanner) (job.Target, error) {
	var t job.Target
	var entered, started, ended int64
	err := r.Scan(&t.Index, &t.Node, &t.Name, &t.DC, &t.Wave, &t.Listed, &t.State, &t.Reason, &t.Code, &t.Signal, &t.Woke, &t.Inferred,
		&entered, &started, &ended, &t.Stdout.Bytes, &t.Stdout.Truncated, &t.Stdout.Digest, &t.Stderr.Bytes, &t.Stderr.Truncated, &t.Stderr.Digest)
	t.At, t.Started, t.Ended = at(entered), at(started), at(ended)
	return t, err
}

// marks is n parameters of a statement; rows is n rows of them.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func rows(n, width int) string {
	return strings.TrimSuffix(strings.Repeat("("+marks(width)+"), ", n), ", ")
}

// Job implements job.Jobs.
func (db *DB) Job(ctx context.Context, id mesh.JobID) (job.Job, error) {
	j, err := scanJob(db.readers.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id))
	return j, db.failure("find the job "+string(id), err)
}

// JobByToken implements job.Jobs.
func (db *DB) JobByToken(ctx context.Context, author, token string) (job.Job, error) {
	j, err := scanJob(db.readers.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE author = ? AND token = ? AND token != ''", author, token))
	return j, db.failure("find the job of a submit token", err)
}

// Jobs implements job.Jobs.
func (db *DB) Jobs(ctx context.Context, f job.Filter) ([]job.Job, error) {
	var where []string
	var args []any
	add := func(cond string, values ...any) { where, args = append(where, cond), append(args, values...) }
	if f.Open {
		add("ended = 0")
	}
	if f.State != "" {
		add("json_extract(counts, '$.' || ?) > 0", f.State)
	}
	if f.Author != "" {
		add("author = ?", f.Author)
	}
	if f.Prefix != "" {
		add("substr(id, 1, length(?)) = ?", f.Prefix, f.Prefix)
	}
	if f.Node != "" {
		add("seq IN (SELECT job FROM targets WHERE node = ? AND node != '')", f.Node)
	}
	if f.Before != "" {
		// Behind it in the order of the list; an unknown one compares as NULL.
		const created = "(SELECT created FROM jobs WHERE id = ?)"
		add("(created < "+created+" OR created = "+created+" AND id > ?)", f.Before, f.Before, f.Before)
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	list, err := query(ctx, db, scanJob, "SELECT "+jobColumns+" FROM jobs"+conditions(where)+
		" ORDER BY created DESC, id LIMIT ?", append(args, limit)...)
	return list, db.failure("list the jobs", err)
}

// Targets implements job.Jobs.
func (db *DB) Targets(ctx context.Context, id mesh.JobID) ([]job.Target, error) {
	var seq int64
	err := db.readers.QueryRowContext(ctx, "SELECT seq FROM jobs WHERE id = ?", id).Scan(&seq)
	if err != nil {
		return nil, db.failure("find the job "+string(id), err)
	}
	list, err := query(ctx, db, scanTarget, "SELECT "+strings.TrimPrefix(targetColumns, "job, ")+" FROM targets WHERE job = ? ORDER BY idx", seq)
	return list, db.failure("read the targets of job "+string(id), err)
}

// Marks implements job.Boards.
func (db *DB) Marks(ctx context.Context, dc string) ([mesh.Shards]job.Mark, error) {
	type row struct {
		shard int
		mark  job.Mark
	}
	var out [mesh.Shards]job.Mark
	list, err := query(ctx, db, func(r scanner) (row, error) {
		var v row
		err := r.Scan(&v.shard, &v.mark.Epoch, &v.mark.Seq)
		return v, err
	}, "SELECT shard, epoch, seq FROM marks WHERE dc = ? AND shard BETWEEN 0 AND ?", dc, mesh.Shards-1)
	for _, r := range list {
		out[r.shard] = r.mark
	}
	return out, db.failure("read the marks of "+dc, err)
}

// Places implements job.Boards.
func (db *DB) Places(ctx context.Context, open bool, before time.Time) ([]job.Place, error) {
	cond, args := "ended = 0", []any{}
	if !open {
		cond, args = "expires < ?", []any{millis(before)}
	}
	list, err := query(ctx, db, func(r scanner) (job.Place, error) {
		var p job.Place
		err := r.Scan(&p.Job, &p.DC, &p.Published, &p.Gen, &p.Cleaned)
		return p, err
	}, "SELECT id, dc, published, p.gen, cleaned FROM places p JOIN jobs j ON j.seq = p.job WHERE cleaned = 0 AND "+cond, args...)
	return list, db.failure("read where jobs are announced", err)
}
